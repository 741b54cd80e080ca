"""Every declared op of core: has samples, is differentiated rightly twice, and equals its own decomposition."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import dtypes
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ops._op import OPS
from flambeau.ops._recover import decompose
from flambeau.tensor import wrap
from flambeau.testing.samples import INTEGER, samples

CORE = {n: f for n, f in OPS.items() if f.op.fn.__module__.startswith("flambeau.ops.")}
DIFFERENTIABLE = [n for n, f in CORE.items() if f.op.rules or f.op.joint]


def dtype_for(name):
    return fb.int64 if name in INTEGER else fb.float64


@pytest.mark.parametrize("name", CORE)
def test_every_op_has_samples_and_runs_on_them(name):
    found = samples(CORE[name], dtype_for(name))
    assert found, f"{name} has no samples: add them to flambeau/testing/samples.py"
    for args, kwargs in found:
        assert isinstance(CORE[name](*args, **kwargs), fb.Tensor)


def differentiable_inputs(args):
    return tuple(
        a.detach().requires_grad_()
        if isinstance(a, fb.Tensor) and a.dtype.category >= dtypes.FLOATING
        else a
        for a in args
    )


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name):
    fn = CORE[name]
    for args, kwargs in samples(fn, fb.float64):
        inputs = differentiable_inputs(args)
        call = lambda *a, kwargs=kwargs: fn(*a, **kwargs)  # noqa: E731
        assert gradcheck(call, inputs)
        assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("name", [n for n, f in CORE.items() if f.op.body is not None])
@pytest.mark.parametrize("dtype", [fb.float32, fb.float64], ids=str)
def test_the_decomposition_computes_what_the_kernel_computes(name, dtype):
    record = CORE[name].op
    dtype = fb.int64 if name in INTEGER else dtype
    # atan2, erf and what stands on them are approximated in float32 by their default
    tolerance = 2e-5 if dtype is fb.float32 else 1e-6
    for args, kwargs in samples(CORE[name], dtype):
        with fb.no_grad():
            expected = CORE[name](*args, **kwargs)
            values = {p.name: v for p, v in zip(record.params, args, strict=False)} | kwargs
            native, kind = decompose(
                record,
                tuple(values[p.name] for p in record.operands),
                tuple(values[p.name] for p in record.attrs),
            )
            found = wrap(native, kind)
        assert found.shape == expected.shape
        assert np.allclose(found.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance), name
