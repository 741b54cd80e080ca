"""Quantiles against NumPy."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import DTypeError, IndexRangeError, ShapeError


def values(shape=(3, 4, 5)):
    return np.random.default_rng(10).standard_normal(shape)


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_values_as_numpy(interpolation, dim, keepdim):
    a = values()
    x = fb.tensor(a)
    for q in (0.0, 0.33, 0.5, 1.0):
        found = fb.quantile(x, q, dim, keepdim, interpolation=interpolation)
        expected = np.quantile(a, q, axis=dim, keepdims=keepdim, method=interpolation)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    q = np.array([0.1, 0.7])
    found = x.quantile(fb.tensor(q), dim, keepdim, interpolation=interpolation)
    expected = np.quantile(a, q, axis=dim, keepdims=keepdim, method=interpolation)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_nan():
    a = values((3, 5))
    a[0, 2] = a[1, 0] = a[1, 3] = math.nan
    x = fb.tensor(a)
    np.testing.assert_allclose(x.quantile(0.4, 1).numpy(), np.quantile(a, 0.4, 1))
    np.testing.assert_allclose(x.nanquantile(0.4, 1).numpy(), np.nanquantile(a, 0.4, 1), rtol=1e-12)
    np.testing.assert_allclose(
        x.nanquantile(fb.tensor([0.4], dtype=fb.float64)).numpy(), np.nanquantile(a, [0.4])
    )
    assert math.isnan(fb.full((3,), math.nan).nanquantile(0.5).item())


def test_zero_dimensional_and_out():
    assert fb.tensor(2.0).quantile(0.3).item() == 2
    assert fb.tensor(2.0).quantile(fb.tensor([0.3]), 0).tolist() == [2]
    fb.quantile(fb.tensor([1.0, 3.0]), 0.5, out=(out := fb.empty(())))
    assert out.item() == 2


def test_derivatives():
    x = fb.tensor(values((4, 3)), requires_grad=True)
    q = fb.tensor([0.2, 0.45], dtype=fb.float64, requires_grad=True)
    assert gradcheck(lambda t, p: t.quantile(p, 0), (x, q))
    assert gradgradcheck(lambda t, p: t.quantile(p, 0), (x, q))
    assert gradcheck(lambda t: t.nanquantile(0.3), x)


def test_errors():
    x = fb.ones(3)
    for q in (1.5, -0.1):
        with pytest.raises(
            ShapeError, match=rf"quantile\(\) q must be in the range \[0, 1\] but got {q}"
        ):
            x.quantile(q)
    with pytest.raises(
        ShapeError, match=r"quantile\(\) q values must be in the range \[0, 1\], got \[2.0\]"
    ):
        x.quantile(fb.tensor([2.0]))
    with pytest.raises(
        ShapeError, match=r"quantile\(\) q must be a scalar or 1D tensor, got \(1, 1\)"
    ):
        x.quantile(fb.ones(1, 1))
    with pytest.raises(
        DTypeError, match=r"quantile\(\) q tensor must be same dtype as the input tensor"
    ):
        x.quantile(fb.tensor(0.5, dtype=fb.float64))
    with pytest.raises(
        DTypeError,
        match=r"nanquantile\(\) input tensor must be either float or double dtype, got \(2,\) int64",
    ):
        fb.tensor([1, 2]).nanquantile(0.5)
    with pytest.raises(
        ShapeError, match=r"quantile\(\) input tensor must be non-empty, got \(0,\)"
    ):
        fb.empty(0).quantile(0.5)
    with pytest.raises(
        ShapeError,
        match=r"quantile\(\) interpolation must be one of linear, lower, higher, midpoint, nearest, but got 'x'",
    ):
        x.quantile(0.5, interpolation="x")
    with pytest.raises(IndexRangeError, match="quantile: Dimension out of range"):
        x.quantile(0.5, 1)
