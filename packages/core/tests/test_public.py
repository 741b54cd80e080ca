"""Families of operations that are imported when one of their names is used."""

import importlib
import subprocess
import sys
import types

import pytest

import flambeau as fb
from flambeau.ops._attach import FAMILIES, LATER


@pytest.mark.parametrize("family", LATER)
def test_every_postponed_name_is_there(family):
    module, public = importlib.import_module(f"flambeau.ops.{family}"), LATER[family]
    for name in (public.functions + " " + public.both).split():
        assert getattr(fb, name) is getattr(module, name) and name in dir(fb)
    for name in (public.methods + " " + public.both).split():
        assert getattr(fb.Tensor, name) is getattr(module, name)
        assert isinstance(vars(fb.Tensor)[name], types.FunctionType)
    assert family not in FAMILIES and not hasattr(module, "PUBLIC")


def test_they_are_imported_at_first_use():
    code = (
        "import sys, flambeau as fb\n"
        "loaded = lambda: [m for m in sys.modules if m.startswith('flambeau.ops.') "
        f"and m[13:] in {list(LATER)}]\n"
        "assert loaded() == [], loaded()\n"
        "x = fb.arange(3)\n"
        "assert x.is_same_size(x) and 'flambeau.ops.strides' in loaded()\n"
        "assert 'flambeau.ops.numeric' not in loaded()\n"
        "assert fb.can_cast(fb.int64, fb.float32) and 'flambeau.ops.legacy' in loaded()\n"
        "assert 'flambeau.nn' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_subclasses_have_them():
    class Mine(fb.Tensor):
        pass

    x = fb.ones(3).as_subclass(Mine)
    assert x.data_ptr() and Mine.cauchy_ is fb.Tensor.cauchy_
