"""Distinct elements, bin counts and histograms against NumPy, with the cpu's kernels and with core's decompositions."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import ArgumentError, ShapeError, UnsupportedOpError

OPTIONAL = ["unique", "tally", "argsort", "pick", "scan"]


@pytest.fixture(autouse=True, params=["kernels", "decompositions"])
def kernels(request, monkeypatch):
    """Every test runs with the cpu's kernels, and with the required ones alone."""
    if request.param == "decompositions":
        table = fb.ones(1)._kind.k
        for name in OPTIONAL:
            monkeypatch.setitem(table, name, None)


def numbers(shape, high=5, dtype="i8"):
    return np.random.default_rng(11).integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["i8", "u1", "f4", "f8", "?"])
@pytest.mark.parametrize("shape", [(9,), (4, 6), (0,), ()], ids=str)
def test_unique(dtype, shape):
    a = numbers(shape, dtype=dtype)
    found, inverse, counts = fb.unique(fb.tensor(a), return_inverse=True, return_counts=True)
    expected = np.unique(a, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(found.numpy(), expected[0])
    np.testing.assert_array_equal(inverse.numpy(), expected[1].reshape(a.shape))
    np.testing.assert_array_equal(counts.numpy(), expected[2])
    np.testing.assert_array_equal(fb.tensor(a).unique(sorted=False).numpy(), expected[0])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_unique_slices(dim):
    a = numbers((6, 2, 2), 2)
    found, inverse, counts = fb.unique(
        fb.tensor(a), return_inverse=True, return_counts=True, dim=dim
    )
    expected = np.unique(a, return_inverse=True, return_counts=True, axis=dim)
    np.testing.assert_array_equal(found.numpy(), expected[0])
    np.testing.assert_array_equal(inverse.numpy(), expected[1].reshape(-1))
    np.testing.assert_array_equal(counts.numpy(), expected[2])


def test_what_is_asked_for_comes_back():
    x = fb.tensor([3, 1, 3])
    assert isinstance(fb.unique(x), fb.Tensor)
    values, counts = fb.unique(x, return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([1, 3], [1, 2])
    assert fb.unique(fb.tensor([math.nan, math.nan])).numel() == 2
    assert not fb.unique(fb.ones(2, requires_grad=True)).requires_grad


def test_unique_consecutive():
    x = fb.tensor([1, 1, 2, 2, 2, 1])
    values, inverse, counts = fb.unique_consecutive(x, True, True)
    assert values.tolist() == [1, 2, 1]
    assert inverse.tolist() == [0, 0, 1, 1, 1, 2]
    assert counts.tolist() == [2, 3, 1]
    rows = fb.tensor([[1, 2], [1, 2], [0, 2]])
    assert rows.unique_consecutive(dim=0).tolist() == [[1, 2], [0, 2]]


def test_bincount():
    a = numbers((40,), 7)
    x, w = fb.tensor(a), np.linspace(0, 1, 40)
    np.testing.assert_array_equal(fb.bincount(x).numpy(), np.bincount(a))
    np.testing.assert_array_equal(x.bincount(minlength=20).numpy(), np.bincount(a, minlength=20))
    np.testing.assert_allclose(x.bincount(fb.tensor(w)).numpy(), np.bincount(a, w))
    assert x.bincount().dtype is fb.int64
    assert x.bincount(fb.ones(40)).dtype is fb.float32
    assert x.bincount(x).dtype is fb.float64
    assert fb.bincount(fb.tensor([], dtype=fb.int64), minlength=2).tolist() == [0, 0]
    assert fb.tensor([1], dtype=fb.uint8).bincount().tolist() == [0, 1]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_histc_and_histogram(dtype):
    a = np.random.default_rng(12).standard_normal((30, 7)).astype(dtype)
    x = fb.tensor(a)
    np.testing.assert_array_equal(x.histc(6).numpy(), np.histogram(a, 6)[0])
    np.testing.assert_array_equal(x.histc(5, -1, 1).numpy(), np.histogram(a, 5, (-1, 1))[0])
    hist, edges = fb.histogram(x, 6)
    np.testing.assert_array_equal(hist.numpy(), np.histogram(a, 6)[0])
    np.testing.assert_allclose(edges.numpy(), np.histogram(a, 6)[1], rtol=1e-5)
    given = np.array([-1, 0, 0.5, 2], dtype)
    for density in (False, True):
        found = x.histogram(fb.tensor(given), weight=x.abs(), density=density)
        expected = np.histogram(a, given, weights=np.abs(a), density=density)[0]
        np.testing.assert_allclose(found.hist.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(
            fb.histogram(x, 4, range=(-1.0, 2.0), density=density).hist.numpy(),
            np.histogram(a, 4, (-1, 2), density=density)[0],
            rtol=1e-5,
        )


def test_edges_of_bins():
    assert fb.tensor([0.0, 1.0, 2.0]).histc(2, 0, 2).tolist() == [1, 2]
    assert fb.tensor([2.0, 2.0]).histc(4).tolist() == [0, 0, 2, 0]
    assert fb.tensor([-1.0, math.nan, 5.0]).histc(2, 0, 2).tolist() == [0, 0]
    assert fb.histogram(fb.tensor([3.0]), 2).bin_edges.tolist() == [2.5, 3.0, 3.5]
    assert fb.histogram(fb.empty(0), 2).bin_edges.tolist() == [0, 0.5, 1]
    fb.histc(fb.ones(3), 2, 0, 2, out=(out := fb.empty(2)))
    assert out.tolist() == [0, 3]


def test_histogramdd():
    a = np.random.default_rng(13).standard_normal((50, 2))
    x = fb.tensor(a)
    for density in (False, True):
        hist, edges = fb.histogramdd(x, [3, 4], density=density)
        expected = np.histogramdd(a, [3, 4], density=density)
        np.testing.assert_allclose(hist.numpy(), expected[0])
        for ours, numpys in zip(edges, expected[1], strict=True):
            np.testing.assert_allclose(ours.numpy(), numpys)
    limits = [(-1.0, 1.0), (0.0, 2.0)]
    hist = fb.histogramdd(x, 3, range=[-1.0, 1.0, 0.0, 2.0], weight=x[:, 0].abs()).hist
    np.testing.assert_allclose(
        hist.numpy(), np.histogramdd(a, 3, limits, weights=np.abs(a[:, 0]))[0]
    )


def test_errors():
    i, x = fb.tensor([1, 2]), fb.ones(2)
    with pytest.raises(
        UnsupportedOpError, match=r"bincount\(\): not implemented for float32, got \(2,\) float32"
    ):
        x.bincount()
    for bad in (fb.tensor([[1]]), fb.tensor([-1])):
        with pytest.raises(
            ShapeError, match=r"bincount\(\) only supports 1-d non-negative integral inputs"
        ):
            bad.bincount()
    with pytest.raises(ShapeError, match=r"bincount\(\): minlength should be >= 0, got -1"):
        i.bincount(minlength=-1)
    with pytest.raises(
        ShapeError, match=r"bincount\(\): weights should have the same shape as input, got \(3,\)"
    ):
        i.bincount(fb.ones(3))
    for fn in (fb.histc, fb.histogram):
        with pytest.raises(
            UnsupportedOpError,
            match=rf"{fn.__name__}\(\): not implemented for int64, got \(2,\) int64 cpu. Hint: x.float",
        ):
            fn(i, 3)
        with pytest.raises(ShapeError, match=rf"{fn.__name__}\(\): bins must be > 0, but got 0"):
            fn(x, 0)
    with pytest.raises(
        ShapeError, match=r"histc\(\): max must be larger than min, got min=2 and max=1"
    ):
        x.histc(3, 2, 1)
    with pytest.raises(ShapeError, match=r"histc\(\): range of \[.*\] is not finite"):
        fb.tensor([math.inf, 1]).histc(3)
    for fn in (fb.unique, fb.unique_consecutive, fb.bincount):
        with pytest.raises(
            ArgumentError,
            match=rf"{fn.__name__}\(\): argument 'input' \(position 1\) must be Tensor, not list",
        ):
            fn([1])
