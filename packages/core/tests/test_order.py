"""Sorting, top elements, medians and modes, with the cpu's kernels and with core's decompositions."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, IndexRangeError, ShapeError, UnsupportedOpError

OPTIONAL = [
    "argsort", "arg_topk", "arg_kth", "arg_median", "arg_mode", "median", "nanmedian", "pick", "pick_backward", "scan",
    "arg_max",
]  # fmt: skip


@pytest.fixture(autouse=True, params=["kernels", "decompositions"])
def kernels(request, monkeypatch):
    """Every test runs with the cpu's kernels, and with the required ones alone."""
    if request.param == "decompositions":
        table = fb.ones(1)._kind.k
        for name in OPTIONAL:
            monkeypatch.setitem(table, name, None)


def distinct(shape, dtype="f8"):
    a = np.random.default_rng(8).permutation(math.prod(shape)).reshape(shape)
    return (a - a.size // 2).astype(dtype)


def ties(shape, dtype="f4"):
    return np.random.default_rng(9).integers(0, 4, shape).astype(dtype)


def stable_order(a, dim, descending):
    if not descending:
        return a.argsort(axis=dim, kind="stable")
    turned = np.flip(a, dim).argsort(axis=dim, kind="stable")
    return a.shape[dim] - 1 - np.flip(turned, dim)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i1", "i2", "i4", "i8", "?"])
@pytest.mark.parametrize("shape", [(7,), (0,), (1,), (100,), (5, 40), (2, 35, 3)], ids=str)
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_is_stable(dtype, shape, descending):
    a = ties(shape, dtype)
    x = fb.tensor(a)
    for dim in range(-1, len(shape)):
        order = stable_order(a, dim, descending)
        found = x.sort(dim, descending)
        np.testing.assert_array_equal(found.indices.numpy(), order)
        np.testing.assert_array_equal(found.values.numpy(), np.take_along_axis(a, order, dim))
        np.testing.assert_array_equal(x.argsort(dim, descending, stable=True).numpy(), order)
    np.testing.assert_array_equal(fb.msort(x).numpy(), np.sort(a, 0))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("repeat", [1, 20])
def test_nan_is_the_largest_and_zeros_are_equal(dtype, repeat):
    a = np.array([0.0, math.nan, -0.0, math.inf, -math.inf, -math.nan, 1.0] * repeat, dtype)
    values, indices = fb.tensor(a).sort()
    assert np.isnan(values.numpy()[-2 * repeat :]).all()
    assert values.numpy()[0] == -math.inf
    assert indices.numpy()[repeat : 3 * repeat].tolist() == np.flatnonzero(a == 0).tolist()
    assert np.isnan(fb.tensor(a).sort(descending=True).values.numpy()[: 2 * repeat]).all()


@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "i1"])
def test_the_ends_of_integer_ranges_sort(dtype):
    info = np.iinfo(dtype)
    a = np.array([info.max, info.min, 0, info.min, info.max, 1] * 10, dtype)
    assert fb.tensor(a).sort().values.tolist() == sorted(a.tolist())
    assert fb.tensor(a).sort(descending=True).values.tolist() == sorted(a.tolist(), reverse=True)


@pytest.mark.parametrize("k", [0, 1, 3, 40])
@pytest.mark.parametrize("largest", [True, False])
def test_topk(k, largest):
    a = distinct((3, 40))
    for dim, count in ((1, k), (0, min(k, 3))):
        values, indices = fb.tensor(a).topk(count, dim, largest)
        order = stable_order(a, dim, largest)
        order = order[:, :count] if dim else order[:count]
        np.testing.assert_array_equal(indices.numpy(), order)
        np.testing.assert_array_equal(values.numpy(), np.take_along_axis(a, order, dim))
    big = distinct((2, 500))
    values = fb.tensor(big).topk(5, largest=largest).values
    np.testing.assert_array_equal(
        values.numpy(), np.take_along_axis(big, stable_order(big, 1, largest)[:, :5], 1)
    )


def test_topk_counts_nan_as_largest_and_sorted_is_only_accepted():
    x = fb.tensor([1.0, math.nan, 3.0] * 30)
    assert np.isnan(x.topk(20).values.numpy()).all()
    assert x.topk(2, largest=False).values.tolist() == [1, 1]
    assert fb.tensor([1, 3, 2]).topk(2, sorted=False).values.tolist() == [3, 2]
    assert fb.tensor(5.0).topk(1).values.item() == 5


def test_kthvalue():
    a = distinct((4, 9))
    x = fb.tensor(a)
    for k in (1, 4, 9):
        values, indices = x.kthvalue(k)
        np.testing.assert_array_equal(values.numpy(), np.sort(a, 1)[:, k - 1])
        np.testing.assert_array_equal(indices.numpy(), a.argsort(1)[:, k - 1])
    assert x.kthvalue(2, 0, True).values.shape == (1, 9)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 101])
def test_median_is_the_lower_one(n):
    a = distinct((3, n))
    x = fb.tensor(a)
    middle = (n - 1) // 2
    values, indices = x.median(1)
    np.testing.assert_array_equal(values.numpy(), np.sort(a, 1)[:, middle])
    np.testing.assert_array_equal(indices.numpy(), a.argsort(1)[:, middle])
    assert x.median().item() == np.sort(a.ravel())[(3 * n - 1) // 2]
    assert x.long().median().item() == x.median().item()
    assert x.median(0, True).values.shape == (1, n)


def test_medians_and_nan():
    x = fb.tensor([[3.0, math.nan, 1.0, math.nan], [4.0, 2.0, 1.0, 3.0], [math.nan] * 4])
    values, indices = x.median(1)
    assert indices.tolist() == [1, 1, 0]
    assert math.isnan(values[0].item())
    assert values[1].item() == 2
    assert math.isnan(x.median().item())
    values, indices = x.nanmedian(1)
    assert values.tolist()[:2] == [1, 2]
    assert indices.tolist()[:2] == [2, 1]
    assert math.isnan(values[2].item())
    assert x.nanmedian().item() == 2
    assert math.isnan(fb.empty(0).median().item())
    assert fb.tensor(3.0).median(0).values.item() == 3


def test_mode():
    x = fb.tensor([[2, 1, 2, 1, 3], [5, 4, 3, 2, 1], [7, 7, 0, 7, 0]])
    values, indices = x.mode()
    assert values.tolist() == [1, 1, 7]
    assert indices.tolist() == [3, 4, 3]
    assert x.mode(0, True).values.shape == (1, 5)
    assert fb.tensor(3.0).mode().indices.item() == 0


CASES = {
    "sort": lambda x: x.sort(1).values,
    "sort descending": lambda x: x.sort(0, descending=True).values,
    "topk": lambda x: x.topk(2, 1).values,
    "kthvalue": lambda x: x.kthvalue(2, 0).values,
    "median": lambda x: x.median(),
    "median dim": lambda x: x.median(1, True).values,
    "nanmedian": lambda x: x.nanmedian(),
    "mode": lambda x: x.mode(1).values,
    "msort": lambda x: x.msort(),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    x = fb.tensor(distinct((4, 5)) / 7, requires_grad=True)
    assert gradcheck(CASES[name], x)
    assert gradgradcheck(CASES[name], x)


def test_equal_medians_share_the_gradient():
    x = fb.tensor([1.0, 2.0, 2.0, 3.0], requires_grad=True)
    x.median().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, 0]
    assert x.median().grad_fn.name() == "MedianBackward0"
    assert x.median(0).values.grad_fn.name() == "MedianBackward1"
    assert x.sort().values.grad_fn.name() == "SortBackward0"
    assert not x.sort().indices.requires_grad


def test_out_and_numpys_names():
    x = fb.tensor([[3.0, 1.0], [2.0, 4.0]])
    out = (fb.empty(2, 2), fb.empty(2, 2, dtype=fb.int64))
    assert fb.sort(x, 1, out=out).values is out[0]
    assert out[1].tolist() == [[1, 0], [0, 1]]
    assert x.sort(axis=0).values.tolist() == [[2, 1], [3, 4]]
    assert x.median(axis=1, keepdims=True).values.shape == (2, 1)


def test_errors():
    x, e, c = fb.ones(2, 3), fb.empty(0, 3), fb.ones(2, dtype=fb.complex64)
    for fn in (fb.sort, fb.argsort, fb.median, fb.nanmedian, fb.mode):
        with pytest.raises(IndexRangeError, match=rf"{fn.__name__}: Dimension out of range"):
            fn(x, 2)
        with pytest.raises(
            UnsupportedOpError,
            match=rf"{fn.__name__}\(\): complex numbers have no order, got \(2,\) complex64",
        ):
            fn(c, 0)
        with pytest.raises(
            ArgumentError,
            match=rf"{fn.__name__}\(\): argument 'input' \(position 1\) must be Tensor, not list",
        ):
            fn([1.0])
    for fn in (fb.median, fb.nanmedian, fb.mode):
        with pytest.raises(
            IndexRangeError,
            match=rf"{fn.__name__}\(\): Expected reduction dim 0 to have non-zero size, got \(0, 3\)",
        ):
            fn(e, 0)
    assert e.sort(0).values.shape == (0, 3)
    for k in (-1, 4):
        with pytest.raises(
            ShapeError,
            match=rf"topk\(\): selected index k out of range, got k={k} for dimension 1 of \(2, 3\)",
        ):
            x.topk(k)
    for k in (0, 4):
        with pytest.raises(
            ShapeError,
            match=rf"kthvalue\(\): selected number k out of range for dimension 1, got k={k}",
        ):
            x.kthvalue(k)
    with pytest.raises(
        ShapeError, match=r"median\(\): needs at least one element, got \(0,\) int64"
    ):
        fb.empty(0, dtype=fb.int64).median()
