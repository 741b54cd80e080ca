"""The threads of NumPy's matrix products."""

import numpy as np
import pytest

from flambeau_cpu import threads


@pytest.fixture(autouse=True)
def as_before():
    before = threads.threads()
    yield
    threads.set_threads(before)


def _blas():
    return np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


@pytest.mark.skipif("openblas" not in _blas(), reason="NumPy uses another library here")
def test_openblas_is_found_and_told():
    assert threads._calls() is not None
    for n in (1, 2, 1):
        threads.set_threads(n)
        assert threads.threads() == n


def test_another_library(monkeypatch):
    monkeypatch.setattr(threads, "_calls", lambda: None)
    threads.set_threads(5)
    assert threads.threads() == 1


def test_a_library_that_cannot_be_loaded(monkeypatch):
    monkeypatch.setattr(threads, "_candidates", lambda: iter(["/nowhere/libopenblas.so"]))
    assert threads._calls.__wrapped__() is None
