"""Sums, means, products, logic and log-sum-exp against NumPy, with the cpu's kernels and with core's decompositions."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError

DIMS = [None, 0, 1, -1, (0, 2), (1, 2), [0, 1, 2], ()]
OPTIONAL = [
    "sum",
    "sum_int64",
    "sum_backward",
    "mean",
    "logsumexp",
    "reduce_prod",
    "any",
    "all",
    "reduce_min",
]


@pytest.fixture(autouse=True, params=["kernels", "decompositions"])
def kernels(request, monkeypatch):
    """Every test runs with the cpu's kernels, and with the required ones alone."""
    if request.param == "decompositions":
        table = fb.ones(1)._kind.k
        for name in OPTIONAL:
            monkeypatch.setitem(table, name, None)
    return request.param


def axis(dim):
    return None if dim in (None, ()) else tuple(dim) if isinstance(dim, list) else dim


def values(shape, dtype="f8"):
    return np.random.default_rng(3).uniform(0.5, 2.0, shape).astype(dtype)


def logsumexp(a, axis=None, keepdims=False):
    return np.log(np.exp(a).sum(axis=axis, keepdims=keepdims))


CASES = {
    "sum": (fb.sum, np.sum),
    "nansum": (fb.nansum, np.nansum),
    "mean": (fb.mean, np.mean),
    "nanmean": (fb.nanmean, np.nanmean),
    "logsumexp": (fb.logsumexp, logsumexp),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", DIMS, ids=str)
def test_values_as_numpy(name, dim, keepdim):
    ours, numpys = CASES[name]
    a = values((2, 3, 4))
    found = ours(fb.tensor(a), dim, keepdim)
    expected = numpys(a, axis=axis(dim), keepdims=keepdim)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (5000,), (9, 1100), (1100, 9), (3, 2000, 2), (2, 3, 4, 5), (0, 3)]
)
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_sums_of_all_sizes(shape, dtype):
    a = values(shape, dtype)
    x = fb.tensor(a)
    for dim in (None, *range(len(shape)), *([(0, len(shape) - 1)] if len(shape) > 1 else [])):
        expected = a.astype("c16" if dtype == "c16" else "f8").sum(axis=dim)
        np.testing.assert_allclose(
            x.sum(dim).numpy(), expected, rtol=3e-6 if dtype == "f4" else 1e-12
        )
        assert x.sum(dim).dtype is x.dtype
    if len(shape) > 1:
        np.testing.assert_allclose(x.mT.sum(-1).numpy(), a.sum(-2), rtol=3e-6)
        np.testing.assert_allclose(x[..., ::2].sum(0).numpy(), a[..., ::2].sum(0), rtol=3e-6)


def test_float32_sums_keep_pairwise_accuracy():
    for n in (2000, 4096, 5000, 100_000):
        constant = fb.full((n,), 0.1)
        exact = math.fsum([float(np.float32(0.1))] * n)
        # a sum from left to right is wrong by about n/4 units in the last place here
        assert abs(constant.sum().item() - exact) <= 24 * np.finfo("f4").eps * exact


def test_infinities_and_nan_pass_through():
    x = fb.tensor([1.0, math.inf, 2.0])
    assert x.sum().item() == math.inf
    assert x.mean().item() == math.inf
    assert math.isnan(fb.tensor([math.inf, -math.inf]).sum().item())
    assert math.isnan(fb.tensor([1.0, math.nan]).sum().item())
    assert fb.tensor([1.0, math.nan]).nansum().item() == 1.0
    assert fb.tensor([1.0, math.nan]).nanmean().item() == 1.0
    assert fb.logsumexp(fb.tensor([-math.inf, -math.inf]), 0).item() == -math.inf
    assert fb.logsumexp(fb.tensor([1e4, 1e4]), 0).item() == pytest.approx(1e4 + math.log(2))


def test_nothing_sums_to_0_multiplies_to_1_and_has_no_mean():
    e = fb.empty(0, 3)
    assert e.sum().item() == 0
    assert e.sum(0).tolist() == [0, 0, 0]
    assert e.sum(1).shape == (0,)
    assert e.prod().item() == 1
    assert e.prod(0).tolist() == [1, 1, 1]
    assert math.isnan(e.mean().item())
    assert np.isnan(e.mean(0).numpy()).all()
    assert not e.any()
    assert e.all()
    assert e.all(0).tolist() == [True] * 3
    assert fb.logsumexp(e, 0).tolist() == [-math.inf] * 3


def test_integers_and_truth_values_become_int64():
    for dtype in (fb.bool, fb.uint8, fb.int8, fb.int32, fb.int64):
        x = fb.ones(300, dtype=dtype)
        assert x.sum().dtype is fb.int64
        assert x.sum().item() == 300
        assert x.reshape(3, 100).sum(1).tolist() == [100] * 3
        assert x.prod().dtype is fb.int64
    assert fb.full((5,), 200, dtype=fb.uint8).sum().item() == 1000


def test_dtype_converts_first():
    x = fb.tensor([1.75, 2.75])
    assert x.sum(dtype=fb.int32).dtype is fb.int32
    assert x.sum(dtype=fb.int32).item() == 3
    assert x.sum(dtype=fb.bool).item() is True
    assert fb.tensor([1, 2]).mean(dtype=fb.float64).item() == 1.5
    assert fb.tensor([1, 2]).prod(dtype=fb.float32).dtype is fb.float32
    assert fb.full((70_000,), 1.0, dtype=fb.float16).mean().item() == 1.0


def test_numpys_argument_names():
    x = fb.tensor(values((2, 3)))
    for fn in (fb.sum, fb.mean, fb.any, fb.all, fb.nansum, fb.logsumexp):
        assert fn(x, axis=1, keepdims=True).shape == (2, 1)


def test_out():
    x = fb.ones(2, 3)
    out = fb.empty(2)
    assert fb.sum(x, 1, out=out) is out
    assert out.tolist() == [3, 3]
    fb.mean(x, out=(whole := fb.empty(())))
    assert whole.item() == 1
    fb.any(x, 1, out=(truth := fb.empty(2, dtype=fb.bool)))
    assert truth.tolist() == [True, True]


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_prod(dim, keepdim):
    a = values((2, 3, 4))
    found = fb.tensor(a).prod() if dim is None else fb.tensor(a).prod(dim, keepdim)
    expected = a.prod() if dim is None else a.prod(axis=dim, keepdims=keepdim)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_logic():
    a = np.array([[0, 0, 1], [1, 1, 1], [0, 0, 0]])
    for dtype in (fb.bool, fb.int64, fb.float32, fb.complex64):
        x = fb.tensor(a).to(dtype)
        assert x.any().item() is True
        assert x.all().item() is False
        assert x.any(1).tolist() == [True, True, False]
        assert x.all(dim=1, keepdim=True).tolist() == [[False], [True], [False]]
        assert x.any((0, 1)).item() is True
        assert x.any(dim=()).tolist() == a.astype(bool).tolist()
    assert fb.tensor([math.nan]).all().item() is True
    assert fb.tensor(a, dtype=fb.uint8).all(1).dtype is fb.uint8


def test_sum_to_size():
    x = fb.tensor(values((2, 3, 4)))
    assert x.sum_to_size(2, 3, 4) is x
    np.testing.assert_allclose(x.sum_to_size(3, 1).numpy(), x.numpy().sum((0, 2))[:, None])
    with pytest.raises(
        ShapeError, match=r"sum_to_size: size \[2, 4\] is not expandable to size \[2, 3, 4\]"
    ):
        x.sum_to_size((2, 4))


REDUCTIONS = {
    "sum": lambda x: x.sum(),
    "sum dim": lambda x: x.sum((0, 2)),
    "sum keepdim": lambda x: x.sum(1, keepdim=True),
    "mean": lambda x: x.mean(),
    "mean dim": lambda x: x.mean((0, -1), keepdim=True),
    "prod": lambda x: x.prod(),
    "prod dim": lambda x: x.prod(1),
    "logsumexp": lambda x: x.logsumexp((0, 1)),
    "logsumexp keepdim": lambda x: x.logsumexp(2, keepdim=True),
    "nansum": lambda x: x.nansum(0),
    "nanmean": lambda x: x.nanmean(),
    "sum_to_size": lambda x: x.sum_to_size(3, 1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_derivatives(name):
    x = fb.tensor(values((2, 3, 4)), requires_grad=True)
    assert gradcheck(REDUCTIONS[name], x)
    assert gradgradcheck(REDUCTIONS[name], x)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_prod_is_differentiated_rightly_where_factors_are_0(zeros):
    a = values((3, 4))
    a.reshape(-1)[[5, 6, 9][:zeros]] = 0
    for product in (lambda t: t.prod(), lambda t: t.prod(1)):
        x = fb.tensor(a, requires_grad=True)
        assert gradcheck(product, x)
        assert gradgradcheck(product, x)


def test_complex_sums_are_differentiated():
    x = fb.tensor(values((2, 3)) + 1j * values((2, 3)), requires_grad=True)
    for fn in (fb.sum, fb.mean, fb.prod):
        assert gradcheck(lambda t, fn=fn: fn(t).abs(), x)


def test_the_gradient_of_a_large_sum():
    x = fb.ones(300, 300, requires_grad=True)
    (x.sum() * 3).backward()
    assert x.grad.unique().tolist() == [3.0]
    x.grad[0, 0] = 7  # its elements are its own
    assert x.grad.sum().item() == 3 * 90_000 + 4
    y = fb.ones(20, requires_grad=True)
    y.sum().backward()
    y.sum().backward()
    assert y.grad.tolist() == [2.0] * 20


def test_what_is_recorded():
    x = fb.ones(2, 2, requires_grad=True)
    assert x.sum().grad_fn.name() == "SumBackward0"
    assert x.sum(0).grad_fn.name() == "SumBackward1"
    assert x.mean().grad_fn.name() == "MeanBackward0"
    assert x.mean(0).grad_fn.name() == "MeanBackward1"
    assert x.prod().grad_fn.name() == "ProdBackward0"
    assert x.detach().sum().grad_fn is None


def test_errors():
    x = fb.ones(2, 3)
    for fn in (fb.sum, fb.mean, fb.prod, fb.any, fb.all, fb.nansum):
        with pytest.raises(
            ArgumentError,
            match=rf"{fn.__name__}\(\): argument 'input' \(position 1\) must be Tensor, not list",
        ):
            fn([1.0])
        with pytest.raises(
            IndexRangeError,
            match=r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)",
        ):
            fn(x, 2)
        with pytest.raises(
            ArgumentError, match=rf"{fn.__name__}\(\): argument 'dim' must be int.*, not str"
        ):
            fn(x, "rows")
    with pytest.raises(ShapeError, match="sum: dim 0 appears multiple times in the list of dims"):
        x.sum((0, -2))
    with pytest.raises(
        DTypeError,
        match=r"mean\(\): could not infer output dtype.*got \(2,\) int64 cpu. Hint: x.float\(\)",
    ):
        fb.tensor([1, 2]).mean()
    with pytest.raises(
        DTypeError, match=r"nanmean\(\): expected input and dtype to be floating point"
    ):
        fb.tensor([1, 2]).nanmean()
    with pytest.raises(DTypeError, match="nansum does not support complex inputs"):
        fb.ones(2, dtype=fb.complex64).nansum()
    with pytest.raises(ArgumentError, match=r"prod\(\): argument 'dim' must be int, not tuple"):
        x.prod((0, 1))
