"""Where tensors live, in CUDA's words."""

import importlib
import sys
from pathlib import Path

import pytest

import flambeau as fb
from flambeau.backend.registry import register_backend, unregister_backend

TEMPLATE = Path(__file__).resolve().parents[3] / "examples" / "backend-template"
X = fb.ones(2)


@pytest.fixture
def box(monkeypatch):
    """A device of the sample backend behind `cuda`, by a name of its own."""
    if not TEMPLATE.is_dir():
        pytest.skip("the template is in the repository only")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(TEMPLATE))
    toy = importlib.import_module("toy")
    register_backend(type("BoxBackend", (toy.ToyBackend,), {"name": "box"})())
    monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", "box:0")
    yield
    unregister_backend("box")
    sys.modules.pop("toy", None)


def test_on_the_cpu():
    assert X.is_cpu
    assert not X.is_cuda
    assert X.get_device() == fb.get_device(X) == -1
    assert X.pin_memory() is X
    assert not X.is_pinned()
    assert X.record_stream(None) is None


def test_on_what_stands_behind_cuda(box):
    x = X.cuda(non_blocking=True)
    assert x.is_cuda
    assert not x.is_cpu
    assert x.get_device() == fb.cuda.current_device() == 0
    assert str(X.type_as(x).device) == "box:0"
    assert x.type_as(X).is_cpu
    with fb.cuda.device_of(x), fb.cuda.device_of(X):
        assert fb.cuda.current_device() == 0


def test_memory_is_counted(box):
    x = fb.ones(1000, device="cuda")
    held = fb.cuda.memory_allocated()
    assert held >= x.nbytes
    y = x + 1
    assert fb.cuda.max_memory_allocated() >= held + y.nbytes
    del y
    fb.cuda.reset_peak_memory_stats()
    assert fb.cuda.max_memory_allocated() == fb.cuda.memory_allocated() == held


def test_type_as():
    w = fb.tensor([1.0, 2.0], requires_grad=True)
    y = w.type_as(fb.zeros(1, dtype=fb.float64))
    assert y.dtype is fb.float64
    y.sum().backward()
    assert w.grad.dtype is fb.float32
    assert w.type_as(w) is w
    with pytest.raises(TypeError, match=r"type_as: other must be a Tensor, got .*Hint: x.to"):
        w.type_as(fb.float64)
