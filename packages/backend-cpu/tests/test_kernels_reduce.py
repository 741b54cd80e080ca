"""The cpu's reductions: what they return, the layouts they take, and the accuracy of sums by products with ones."""

import math

import numpy as np
import pytest

from flambeau_cpu.kernels import reduce as k

F4, F8 = np.float32, np.float64


def layouts(a):
    """The same values in several memory layouts."""
    yield a
    yield np.asfortranarray(a)
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    yield wide[..., ::2]
    yield a[::-1].copy()[::-1]
    yield np.broadcast_to(a, a.shape)


@pytest.mark.parametrize(
    "shape", [(3, 4), (5, 3000), (3000, 5), (2, 1500, 3), (4, 5, 6, 7)], ids=str
)
@pytest.mark.parametrize("dtype", [F4, F8, np.float16, np.int64, np.complex64])
def test_sums_of_every_layout(shape, dtype):
    a = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)
    rank = len(shape)
    choices = [None, (0,), (rank - 1,), (0, rank - 1), tuple(range(1, rank)), tuple(range(rank))]
    choices += [(0, *range(2, rank))] if rank > 2 else []
    for x in layouts(a):
        for dims in choices:
            for keepdim in (False, True):
                found = k.reduce_sum(x, dims, keepdim)
                np.testing.assert_array_equal(
                    found, a.sum(axis=dims, keepdims=keepdim, dtype=dtype)
                )
                assert type(found) is np.ndarray
                assert found.dtype == dtype


REDUCTIONS = {
    "reduce_sum": (), "mean": (), "reduce_prod": (), "any": (), "all": (), "reduce_max": (), "reduce_min": (),
    "logsumexp": (),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", [F4, F8, np.float16])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 5), (40, 30)], ids=str)
def test_results_are_new_arrays(name, dtype, shape):
    a = np.ones(shape, dtype)
    for dims in (None, *[(d,) for d in range(len(shape))]):
        for keepdim in (False, True):
            found = k.TABLE[name](a, dims, keepdim)
            assert type(found) is np.ndarray
            assert found.flags.writeable
            assert not np.shares_memory(found, a)
            assert found.dtype == (np.bool_ if name in ("any", "all") else dtype)
            found[...] = 0  # changes no array that the kernels keep
    assert k.sum_all(np.ones(7, F4)) == 7


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize("n", [1, 1000, 4096, 4097, 8000, 8192, 50_000, 65_537, 1_000_000])
def test_long_sums_are_accurate(dtype, n):
    eps = np.finfo(dtype).eps
    rng = np.random.default_rng(n)
    for a in (rng.random(n).astype(dtype), np.full(n, 0.1, dtype)):
        exact = math.fsum(a.tolist())
        assert abs(float(k.sum_all(a)) - exact) <= 24 * eps * exact
        rows = np.broadcast_to(a, (2, n)).copy()
        assert abs(k.reduce_sum(rows, (1,), False).astype(F8) - exact).max() <= 100 * eps * exact
        columns = np.ascontiguousarray(rows.T)
        assert (
            abs(k.reduce_sum(columns, (0,), False).astype(F8) - exact).max() <= 1100 * eps * exact
        )


def test_ones_are_kept_only_when_small():
    ones = k._Ones(np.dtype(F4))
    assert ones[(2, 3)] is ones[(2, 3)]
    assert ones[(200, 200)] is not ones[(200, 200)]
    for n in range(1000):
        ones[n]
    assert len(ones) <= 256
    with pytest.raises(ValueError, match="read-only"):
        ones[5][0] = 2


@pytest.mark.parametrize("value", [1.0, -0.0, 2.5, math.inf, math.nan])
def test_sum_backward(value):
    for dtype in (F4, F8, np.float16, np.complex64):
        g = np.array(value, dtype)
        for shape in ((), (3,), (2, 3), (200, 200), (0, 3)):
            found = k.sum_backward(g, shape)
            np.testing.assert_array_equal(found, np.full(shape, g))
            assert found.dtype == dtype
            assert found.flags.writeable
    assert np.signbit(k.sum_backward(np.array(-0.0, F4), (2,))).all()


def test_extremes_of_short_rows():
    rng = np.random.default_rng(1)
    for shape in (
        (300, 2),
        (300, 8),
        (300, 9),
        (50, 512),
        (50, 513),
        (257, 3),
        (1000, 1),
        (70, 4, 5),
        (4, 70, 5),
    ):
        for dtype in (F4, F8, np.int32):
            a = rng.permutation(math.prod(shape)).reshape(shape).astype(dtype)
            for x in layouts(a):
                for d in range(a.ndim):
                    for keepdim in (False, True):
                        np.testing.assert_array_equal(
                            k.reduce_max(x, (d,), keepdim), a.max(d, keepdims=keepdim)
                        )
                        np.testing.assert_array_equal(
                            k.reduce_min(x, (d,), keepdim), a.min(d, keepdims=keepdim)
                        )
            if dtype is not np.int32:
                a.flat[7] = math.nan
                for d in range(a.ndim):
                    np.testing.assert_array_equal(k.reduce_max(a, (d,), False), a.max(d))
                assert np.isnan(k.reduce_max(a, None, False))


def test_half_precision_is_summed_in_single():
    a = np.full(70_000, 1, np.float16)
    assert k.mean(a, None, False) == 1
    assert k.reduce_sum(np.full(4000, 0.1, np.float16), None, False) == np.float16(
        4000 * np.float16(0.1).astype(F8)
    )
    assert k.vector_norm(np.full(300, 300, np.float16), 2.0, None, False) == np.float16(
        300 * math.sqrt(300)
    )
