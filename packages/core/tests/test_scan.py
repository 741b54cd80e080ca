"""Running sums, products and extremes, differences, trapezoids: the cpu's kernels and core's decompositions."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, IndexRangeError, ShapeError, UnsupportedOpError

OPTIONAL = ["scan", "arg_scan", "logcumsumexp", "pick", "pick_backward"]


@pytest.fixture(autouse=True, params=["kernels", "decompositions"])
def kernels(request, monkeypatch):
    """Every test runs with the cpu's kernels, and with the required ones alone."""
    if request.param == "decompositions":
        table = fb.ones(1)._kind.k
        for name in OPTIONAL:
            monkeypatch.setitem(table, name, None)


def values(shape, dtype="f8"):
    return np.random.default_rng(7).uniform(0.5, 1.5, shape).astype(dtype)


SHAPES = [(1,), (7,), (8, 3), (2, 33, 3), (0, 3), (3, 0)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_as_numpy(shape):
    a = values(shape)
    x = fb.tensor(a)
    for dim in range(-len(shape), len(shape)):
        np.testing.assert_allclose(x.cumsum(dim).numpy(), a.cumsum(dim), rtol=1e-12)
        np.testing.assert_allclose(x.cumprod(dim).numpy(), a.cumprod(dim), rtol=1e-12)
        np.testing.assert_allclose(
            x.logcumsumexp(dim).numpy(), np.log(np.exp(a).cumsum(dim)), rtol=1e-12
        )
        np.testing.assert_array_equal(x.cummax(dim).values.numpy(), np.maximum.accumulate(a, dim))
        np.testing.assert_array_equal(x.cummin(dim).values.numpy(), np.minimum.accumulate(a, dim))


def test_dtypes():
    x = fb.tensor([1, 2, 3], dtype=fb.int32)
    assert x.cumsum(0).dtype is fb.int64
    assert fb.tensor([True, True]).cumsum(0).tolist() == [1, 2]
    assert x.cumsum(0, dtype=fb.float32).tolist() == [1.0, 3.0, 6.0]
    assert x.cumprod(0, dtype=fb.int32).dtype is fb.int32
    assert fb.tensor([1 + 1j, 2j]).cumprod(0).tolist() == [1 + 1j, -2 + 2j]
    assert x.clone().cumsum_(0).dtype is fb.int32
    assert fb.tensor(2.0).cumsum(0).item() == 2
    assert fb.tensor(2.0).cummax(0).indices.item() == 0


def test_float32_sums_stay_accurate():
    n = 20_000
    found = fb.full((n,), 0.1).cumsum(0)[-1].item()
    assert found == pytest.approx(n * float(np.float32(0.1)), rel=1e-6)


def test_the_last_of_equals_and_nan_hold_the_running_extreme():
    x = fb.tensor([1.0, 3.0, 3.0, 2.0, math.nan, 5.0, math.nan])
    values_, indices = x.cummax(0)
    assert indices.tolist() == [0, 1, 2, 2, 4, 4, 6]
    assert values_.tolist()[:4] == [1, 3, 3, 3]
    assert np.isnan(values_.numpy()[4:]).all()
    assert fb.tensor([2, 1, 1, 3]).cummin(0).indices.tolist() == [0, 1, 2, 2]


def test_logcumsumexp_neither_overflows_nor_loses_small_terms():
    x = fb.tensor([-1000.0, 0.0, 1000.0, -math.inf])
    np.testing.assert_allclose(x.logcumsumexp(0).numpy(), [-1000, 0, 1000, 1000])
    assert fb.tensor([-math.inf, -math.inf]).logcumsumexp(0).tolist() == [-math.inf] * 2
    y = fb.tensor([0.0, 1000.0], requires_grad=True)
    y.logcumsumexp(0)[1].backward()
    assert y.grad.tolist() == [0, 1]


CASES = {
    "cumsum": lambda x: x.cumsum(1),
    "cumsum 0": lambda x: x.cumsum(0) ** 2,
    "cumprod": lambda x: x.cumprod(1),
    "cumprod of complex": lambda x: (x + 1j * x.flip(0)).cumprod(1).abs(),
    "cummax": lambda x: x.cummax(0).values,
    "cummin": lambda x: x.cummin(1).values,
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "diff": lambda x: x.diff(2, 0),
    "trapezoid": lambda x: fb.trapezoid(x, x[0].cumsum(0)),
    "cumulative_trapezoid": lambda x: fb.cumulative_trapezoid(x, dx=0.3, dim=0),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    x = fb.tensor(values((4, 5)), requires_grad=True)
    assert gradcheck(CASES[name], x)
    assert gradgradcheck(CASES[name], x)


@pytest.mark.parametrize("zeros", [[1], [0, 1], [4], [0, 2, 4]])
def test_cumprod_is_differentiated_rightly_where_factors_are_0(zeros):
    a = values((2, 5))
    a[0, zeros] = 0
    x = fb.tensor(a, requires_grad=True)
    assert gradcheck(lambda t: t.cumprod(1), x)
    assert gradgradcheck(lambda t: t.cumprod(1), x)


def test_negative_gradients_through_logcumsumexp():
    x = fb.tensor(values((6,)), requires_grad=True)
    weights = fb.tensor([1.0, -2.0, 0.0, 0.5, -1.0, 3.0], dtype=fb.float64)
    assert gradcheck(lambda t: (t.logcumsumexp(0) * weights).sum(), x)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_diff(n):
    a = values((4, 5))
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            fb.diff(fb.tensor(a), n, axis).numpy(), np.diff(a, min(n, a.shape[axis]), axis)
        )
    assert fb.diff(fb.tensor([True, False, False])).tolist() == [True, False]


def test_diff_joins_what_comes_before_and_after():
    x = fb.tensor([1, 4])
    assert fb.diff(x, prepend=fb.tensor([0])).tolist() == [1, 3]
    assert x.diff(append=fb.tensor([9, 9])).tolist() == [3, 5, 0]


def test_trapezoids():
    a, at = values((3, 4)), np.array([0.0, 1.0, 3.0, 7.0])
    y, x = fb.tensor(a), fb.tensor(at)
    np.testing.assert_allclose(fb.trapezoid(y).numpy(), np.trapezoid(a))
    np.testing.assert_allclose(fb.trapz(y, x).numpy(), np.trapezoid(a, at))
    np.testing.assert_allclose(
        fb.trapezoid(y, dx=0.5, dim=0).numpy(), np.trapezoid(a, dx=0.5, axis=0)
    )
    np.testing.assert_allclose(fb.trapezoid(y, y.exp()).numpy(), np.trapezoid(a, np.exp(a)))
    np.testing.assert_allclose(fb.cumulative_trapezoid(y, x)[:, -1].numpy(), np.trapezoid(a, at))
    assert fb.trapezoid(fb.tensor([1, 2])).item() == 1.5
    assert fb.trapezoid(fb.empty(0)).item() == 0


def test_out_and_numpys_names():
    x = fb.tensor([[1.0, 2.0], [3.0, 4.0]])
    fb.cumsum(x, 0, out=(out := fb.empty(2, 2)))
    assert out.tolist() == [[1, 2], [4, 6]]
    assert x.cumprod(axis=1).tolist() == [[1, 2], [3, 12]]
    where = (fb.empty(2, 2), fb.empty(2, 2, dtype=fb.int64))
    assert fb.cummax(x, 1, out=where).indices is where[1]
    assert x.cumsum(0).requires_grad is False


def test_errors():
    x = fb.ones(2, 3)
    for fn in (fb.cumsum, fb.cumprod, fb.cummax, fb.cummin, fb.logcumsumexp):
        with pytest.raises(IndexRangeError, match=rf"{fn.__name__}: Dimension out of range"):
            fn(x, 2)
        with pytest.raises(
            ArgumentError, match=rf"{fn.__name__}\(\): argument 'dim' must be int, not tuple"
        ):
            fn(x, (0, 1))
        with pytest.raises(
            ArgumentError,
            match=rf"{fn.__name__}\(\): argument 'input' \(position 1\) must be Tensor",
        ):
            fn([1.0], 0)
    with pytest.raises(UnsupportedOpError, match=r"cummax\(\): complex numbers have no order"):
        fb.ones(2, dtype=fb.complex64).cummax(0)
    with pytest.raises(
        UnsupportedOpError,
        match=r"logcumsumexp\(\): not implemented for int64, got \(1,\) int64 cpu. Hint: x.float",
    ):
        fb.tensor([1]).logcumsumexp(0)
    with pytest.raises(ShapeError, match="diff expects input to be at least one-dimensional"):
        fb.diff(fb.tensor(1.0))
    with pytest.raises(ShapeError, match="diff: order must be non-negative but got -1"):
        fb.diff(x, -1)
    with pytest.raises(
        ShapeError, match="trapezoid: There must be one `x` value for each sample point"
    ):
        fb.trapezoid(x, fb.ones(2))
