"""The cpu's sorts, picks and scans."""

import numpy as np
import pytest

from flambeau_cpu.kernels import order as k


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?"])
@pytest.mark.parametrize("shape", [(33,), (1000,), (3, 50), (2, 40, 3)], ids=str)
def test_argsort_is_stable(dtype, shape):
    rng = np.random.default_rng(0)
    for high in (3, 10**4):
        a = (rng.integers(-high, high, shape)).astype(dtype)
        for dim in range(len(shape)):
            found = k.argsort(a, dim, False)
            np.testing.assert_array_equal(found, a.argsort(axis=dim, kind="stable"))
            assert found.dtype == np.int64
            assert found.flags.c_contiguous


def test_sort_keys_of_floats():
    a = np.array(
        [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, -np.nan] * 5, np.float32
    )
    ranked = a[k.argsort(a, 0, False)]
    np.testing.assert_array_equal(ranked, np.sort(a))
    assert k.argsort(a, 0, False).tolist() == a.argsort(kind="stable").tolist()


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_pick_and_its_backward(dim, count):
    rng = np.random.default_rng(1)
    a = rng.random((3, 4, 5))
    shape = list(a.shape)
    shape[dim] = count
    index = rng.integers(0, a.shape[dim], shape)
    expected = np.take_along_axis(a, index, dim)
    for x in (a, np.asfortranarray(a)):
        np.testing.assert_array_equal(k.pick(x, index, dim), expected)
    back = k.pick_backward(expected, index, dim, a.shape, False)
    again = np.zeros_like(a)
    at = list(np.indices(shape))
    at[dim] = index
    np.add.at(again, tuple(at), expected)
    np.testing.assert_allclose(back, again)


def test_pick_without_the_dimension():
    a = np.random.default_rng(2).random((3, 4, 5))
    for dim in range(3):
        index = a.argmax(dim)
        np.testing.assert_array_equal(k.pick(a, index, dim), a.max(dim))
        back = k.pick_backward(np.ones(index.shape), index, dim, a.shape, True)
        np.testing.assert_array_equal(back, a == a.max(dim, keepdims=True))
    assert k.pick(np.array(3.0), np.array(0), 0) == 3
    assert k.pick_backward(np.array(2.0), np.array(0), 0, (), True) == 2


@pytest.mark.parametrize("how", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "c8"])
def test_scans_from_both_ends(how, dtype):
    a = np.random.default_rng(3).integers(1, 4, (3, 4)).astype(dtype)
    ufunc = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[how]
    for dim in (0, 1):
        forward, backward = k.scan(a, dim, how, False), k.scan(a, dim, how, True)
        np.testing.assert_array_equal(forward, ufunc.accumulate(a, dim))
        np.testing.assert_array_equal(
            backward, np.flip(ufunc.accumulate(np.flip(a, dim), dim), dim)
        )
        assert forward.dtype == backward.dtype == a.dtype
        assert backward.flags.c_contiguous


def test_unique():
    values, inverse, counts = k.unique(np.array([[2, 1], [2, 5]]), True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == (
        [1, 2, 5],
        [[1, 0], [1, 2]],
        [1, 2, 1],
    )
    values, inverse, counts = k.unique(np.array([2, 2, 1, 2]), False)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == (
        [2, 1, 2],
        [0, 0, 1, 2],
        [2, 1, 1],
    )
    assert k.unique(np.empty(0), True)[0].size == 0
