"""Reductions.

Sums of float32 and float64 are products with ones: BLAS takes a half to a tenth of np.add.reduce's time (2,000
elements: 0.42 against 0.89 us; (1000, 4) along the last axis: 1.2 against 13 us). A product adds in as many lanes as
the processor has, each one after the other, so its rounding error grows with the length: long axes are added in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Dims = Shape | None

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
_scalar32: Callable[[], Array] = np.empty((), F32).copy
_scalar64: Callable[[], Array] = np.empty((), F64).copy
#: Longest array that one dot product adds, and longest axis that one matrix-vector product does.
_DOT, _ROW = 4096, 1024
_BLOCK = 256
_THREADS = 1 << 19
#: All dimensions but the second, by rank: what normalisation and biases of convolutions sum over.
_BUT_CHANNELS = {3: (0, 2), 4: (0, 2, 3), 5: (0, 2, 3, 4)}
#: Arrays of ones up to this size are kept.
_KEPT = 1 << 14


class _Ones(dict[Any, Array]):
    """Arrays of ones by length or shape."""

    def __init__(self, d: Any) -> None:
        self.dtype = d

    def __missing__(self, shape: Any) -> Array:
        made = np.ones(shape, self.dtype)
        made.setflags(write=False)
        if made.size <= _KEPT:
            if len(self) >= 256:
                self.clear()
            self[shape] = made
        return made


_ones32, _ones64 = _Ones(F32), _Ones(F64)


def _half(a: Array) -> bool:
    """Whether sums need more precision than the elements have."""
    return a.dtype.itemsize == 2 and a.dtype.kind not in "iu"


# ---- sums
def sum_all(a: Array) -> Array:
    """Sum of all elements."""
    n = a.size
    if n <= _DOT:
        if a.dtype is F32:
            if a.ndim != 1:
                a = a.ravel("K")
            a.dot(_ones32[n], out := _scalar32())  # dot itself returns a NumPy scalar
            return out
        if a.dtype is F64:
            a.ravel("K").dot(_ones64[n], out := _scalar64())
            return out
    elif a.flags.c_contiguous:
        if a.dtype is F32:
            return _sum_long(a, _ones32)
        if a.dtype is F64:
            return _sum_long(a, _ones64)
    return _sum_plain(a, None, False)


def _sum_long(a: Array, ones: _Ones) -> Array:
    """Dot products of blocks; from half a million elements on a matrix-vector product, which BLAS splits on threads."""
    n = a.size
    add: Any = np.dot if n >= _THREADS else np.vecdot
    block = _BLOCK if n >= _THREADS else 1000 if n % 1000 == 0 else 784 if n % 784 == 0 else _ROW
    rows = n // block
    if rows * block == n:
        return sum_all(add(a.reshape(rows, block), ones[block]))
    flat, end = a.reshape(-1), rows * block
    total = sum_all(add(flat[:end].reshape(rows, block), ones[block]))
    total += flat[end:].dot(ones[n - end])
    return total


def _row_sums(a: Array, ones: _Ones) -> Any:
    """(rows, n) -> (rows,)."""
    rows, n = a.shape
    if n <= _ROW:
        return a.dot(ones[n])
    blocks = n // _ROW
    end = blocks * _ROW
    total = _row_sums(np.vecdot(a[:, :end].reshape(rows, blocks, _ROW), ones[_ROW]), ones)
    return total if end == n else total + a[:, end:].dot(ones[n - end])


def _sum_plain(a: Array, dims: Dims, keepdim: bool) -> Array:
    if _half(a):
        return np.add.reduce(a, axis=dims, dtype=F32, keepdims=keepdim, out=...).astype(a.dtype)
    return np.add.reduce(a, axis=dims, dtype=a.dtype, keepdims=keepdim, out=...)


def _shape(a: Array, dims: Dims, keepdim: bool) -> Shape:
    if dims is None:
        return (1,) * a.ndim if keepdim else ()
    if keepdim:
        return tuple([1 if i in dims else n for i, n in enumerate(a.shape)])
    return tuple([n for i, n in enumerate(a.shape) if i not in dims])


def reduce_sum(a: Array, dims: Dims, keepdim: bool) -> Any:
    """Sum over dims."""
    ones = _ones32 if a.dtype is F32 else _ones64
    if ones is _ones64 and a.dtype is not F64:
        return _sum_plain(a, dims, keepdim)
    if dims is None or len(dims) == a.ndim:
        total = sum_all(a)
        return total.reshape((1,) * a.ndim) if keepdim else total
    if a.ndim == 2:
        (dim,) = dims
        n = a.shape[dim]
        if n <= _ROW:
            r = a.dot(ones[n]) if dim else ones[n].dot(a)
            return r if not keepdim else r.reshape((-1, 1) if dim else (1, -1))
    if not a.flags.c_contiguous:
        return _sum_plain(a, dims, keepdim)
    if not keepdim and dims == _BUT_CHANNELS.get(a.ndim):
        n, c = a.shape[:2]
        area = math.prod(a.shape[2:])
        if n <= _ROW and area <= _ROW:
            return ones[n].dot(a.reshape(n * c, area).dot(ones[area]).reshape(n, c))
    return _sum_groups(a, dims, ones).reshape(_shape(a, dims, keepdim))


def _sum_groups(a: Array, dims: Shape, ones: _Ones) -> Array:
    """Sum over each run of neighbouring axes as over one axis, the last run first."""
    sizes, left = list(a.shape), list(dims)
    while left:
        stop = left.pop() + 1
        start = stop - 1
        while left and left[-1] == start - 1:
            start = left.pop()
        n = math.prod(sizes[start:stop])
        a = _sum_middle(a.reshape(math.prod(sizes[:start]), n, math.prod(sizes[stop:])), ones)
        sizes[start:stop] = [1] * (stop - start)
    return a


def _sum_middle(a: Array, ones: _Ones) -> Any:
    """(outer, n, inner) -> (outer, inner)."""
    outer, n, inner = a.shape
    if inner == 1:
        return _row_sums(a[:, :, 0], ones)[:, None]
    if n > _ROW:
        blocks = n // _BLOCK
        end = blocks * _BLOCK
        part = np.matmul(ones[_BLOCK], a[:, :end].reshape(outer, blocks, _BLOCK, inner))
        total = _sum_middle(part, ones)
        return total if end == n else total + _sum_middle(a[:, end:], ones)
    if outer == 1:
        return ones[n].dot(a[0])[None]
    return np.matmul(ones[n], a)


def sum_int64(a: Array, dims: Dims, keepdim: bool) -> Array:
    """Sum of integers or truth values over dims as int64."""
    if dims is None and a.dtype.kind == "b":
        return np.array(np.count_nonzero(a), np.int64).reshape((1,) * a.ndim if keepdim else ())
    return np.add.reduce(a, axis=dims, dtype=np.int64, keepdims=keepdim, out=...)


def sum_backward(g: Array, shape: Shape) -> Array:
    """The number in g at every place; copying kept ones takes half the time of filling."""
    if g.dtype is F32:
        ones = _ones32[shape]
    elif g.dtype is F64:
        ones = _ones64[shape]
    else:
        return np.full(shape, g)
    return ones.copy() if g.item() == 1 else np.multiply(ones, g, out=...)


# ---- means and variances
def _divided(total: Array, n: float) -> Any:
    if total.ndim == 0:
        total.fill(total.item() / n if n else math.nan)
        return total
    return np.divide(total, n, out=total)


def _count(a: Array, dims: Dims) -> int:
    return a.size if dims is None else math.prod([a.shape[d] for d in dims])


def mean(a: Array, dims: Dims, keepdim: bool) -> Any:
    """Mean over dims."""
    if dims is None and not keepdim and (a.dtype is F32 or a.dtype is F64):
        return _divided(sum_all(a), a.size)
    if _half(a):
        return np.asarray(mean(a.astype(F32), dims, keepdim).astype(a.dtype))
    return _divided(reduce_sum(a, dims, keepdim), _count(a, dims))


def _sum_squares(a: Array, dims: Dims, keepdim: bool) -> Any:
    """Sum of squared magnitudes."""
    if a.dtype.kind == "c":
        return reduce_sum(np.add(np.square(a.real), np.square(a.imag), out=...), dims, keepdim)
    if dims is None and not keepdim and a.size <= _DOT:
        a = a.ravel("K")
        return np.asarray(a.dot(a))
    return reduce_sum(np.multiply(a, a, out=...), dims, keepdim)


def var(a: Array, dims: Dims, correction: float, keepdim: bool) -> Any:
    """Sum of squared distances from the mean, divided by count - correction."""
    if _half(a):
        return np.asarray(var(a.astype(F32), dims, correction, keepdim).astype(a.dtype))
    n = _count(a, dims)
    center = _divided(sum_all(a), n) if dims is None else _divided(reduce_sum(a, dims, True), n)
    total = _sum_squares(np.subtract(a, center, out=...), dims, keepdim)
    n = max(n - correction, 0)  # type: ignore[assignment]
    return np.divide(total, n if n else total * 0, out=total)


def std(a: Array, dims: Dims, correction: float, keepdim: bool) -> Any:
    """Square root of the variance."""
    if _half(a):
        return np.asarray(std(a.astype(F32), dims, correction, keepdim).astype(a.dtype))
    spread = var(a, dims, correction, keepdim)
    return np.sqrt(spread, out=spread)


def vector_norm(a: Array, ord: float, dims: Dims, keepdim: bool) -> Any:
    """sum(|a| ** ord) ** (1 / ord); the largest for inf, the smallest for -inf, the count of non-zeros for 0."""
    if _half(a):
        return np.asarray(vector_norm(a.astype(F32), ord, dims, keepdim).astype(a.dtype))
    if ord == 2:
        total = _sum_squares(a, dims, keepdim)
        return np.sqrt(total, out=total)
    size = np.absolute(a, out=...)
    if math.isinf(ord):
        return (reduce_max if ord > 0 else reduce_min)(size, dims, keepdim)
    if ord == 1:
        return reduce_sum(size, dims, keepdim)
    if ord == 0:
        return reduce_sum((size != 0).astype(size.dtype), dims, keepdim)
    return np.power(reduce_sum(np.power(size, ord), dims, keepdim), 1 / ord, out=...)


def logsumexp(a: Array, dims: Dims, keepdim: bool) -> Any:
    """log(sum(exp(a))) without overflow."""
    if _half(a):
        return np.asarray(logsumexp(a.astype(F32), dims, keepdim).astype(a.dtype))
    if _count(a, dims) == 0:
        return np.log(reduce_sum(a, dims, keepdim), out=...)
    top = reduce_max(a.real if a.dtype.kind == "c" else a, dims, True)
    top[np.isinf(top)] = 0
    away = np.subtract(a, top, out=...)
    total = reduce_sum(np.exp(away, out=away), dims, True)
    np.log(total, out=total)
    total += top
    return total.reshape(_shape(a, dims, keepdim))


# ---- products and logic
def reduce_prod(a: Array, dims: Dims, keepdim: bool) -> Array:
    """Product over dims."""
    if _half(a):
        return np.multiply.reduce(a, axis=dims, dtype=F32, keepdims=keepdim, out=...).astype(
            a.dtype
        )
    return np.multiply.reduce(a, axis=dims, dtype=a.dtype, keepdims=keepdim, out=...)


def reduce_any(a: Array, dims: Dims, keepdim: bool) -> Array:
    """Whether any element is not 0."""
    return np.logical_or.reduce(a, axis=dims, keepdims=keepdim, out=...)


def reduce_all(a: Array, dims: Dims, keepdim: bool) -> Array:
    """Whether no element is 0."""
    return np.logical_and.reduce(a, axis=dims, keepdims=keepdim, out=...)


# ---- extremes
def reduce_max(a: Array, dims: Dims, keepdim: bool) -> Array:
    """Largest over dims; nan wins."""
    if dims is None:
        if not keepdim and 0 < a.size <= _KEPT:
            if a.dtype is F32:
                (out := _scalar32()).fill(
                    a.item(a.argmax())
                )  # 0.5 us where np.maximum.reduce takes 0.8
                return out
            if a.dtype is F64:
                (out := _scalar64()).fill(a.item(a.argmax()))
                return out
    elif len(dims) == 1 and a.size >= 256:
        return _extreme(np.maximum, np.ndarray.argmax, a, dims[0], keepdim)
    return np.maximum.reduce(a, axis=dims, keepdims=keepdim, out=...)


def reduce_min(a: Array, dims: Dims, keepdim: bool) -> Array:
    """Smallest over dims; nan wins."""
    if dims is None:
        if not keepdim and 0 < a.size <= _KEPT:
            if a.dtype is F32:
                (out := _scalar32()).fill(a.item(a.argmin()))
                return out
            if a.dtype is F64:
                (out := _scalar64()).fill(a.item(a.argmin()))
                return out
    elif len(dims) == 1 and a.size >= 256:
        return _extreme(np.minimum, np.ndarray.argmin, a, dims[0], keepdim)
    return np.minimum.reduce(a, axis=dims, keepdims=keepdim, out=...)


def _extreme(ufunc: Any, locate: Any, a: Array, dim: int, keepdim: bool) -> Array:
    """ufunc.reduce along dim, by other ways where NumPy spends 30 to 80 ns on every short row."""
    n = a.shape[dim]
    last = dim == a.ndim - 1
    short = n <= 512 and a.size > n if last else dim == 0 and n >= 256 and a.size <= 64 * n
    if not short or not a.flags.c_contiguous:
        return ufunc.reduce(a, axis=dim, keepdims=keepdim, out=...)
    if not last:
        return _folded(ufunc, a, n).reshape(_shape(a, (0,), keepdim))
    rows = a.reshape(-1, n)
    if n <= 8:
        found = ufunc.reduce(rows.T.copy(), axis=0)
    else:
        at = locate(rows, 1)
        at += row_starts(a.size // n, n)
        found = rows.reshape(-1).take(at)
    return found.reshape(_shape(a, (dim,), True) if keepdim else a.shape[:-1])


def _folded(ufunc: Any, a: Array, n: int) -> Array:
    """ufunc.reduce along the first axis where the others are short: many rows side by side make long ones."""
    inner = a.size // n
    fold = 512 // inner
    end = n // fold * fold
    part = ufunc.reduce(a[:end].reshape(-1, fold * inner), axis=0).reshape(fold, inner)
    found = ufunc.reduce(part, axis=0)
    if end != n:
        found = ufunc(found, ufunc.reduce(a[end:].reshape(-1, inner), axis=0))
    return found


_ROWS: dict[tuple[int, int], Array] = {}


def row_starts(count: int, step: int) -> Array:
    """0, step, 2 step ...: where rows start."""
    found = _ROWS.get((count, step))
    if found is None:
        found = np.arange(0, count * step, step, dtype=np.int64)
        if count <= _KEPT:
            if len(_ROWS) >= 256:
                _ROWS.clear()
            _ROWS[count, step] = found
    return found


def arg_max(a: Array, dim: int | None, keepdim: bool) -> Array:
    """Position of the largest; the first of equals, and of nans."""
    return _position(a.argmax, a.ndim, dim, keepdim)


def arg_min(a: Array, dim: int | None, keepdim: bool) -> Array:
    """Position of the smallest; the first of equals, and of nans."""
    return _position(a.argmin, a.ndim, dim, keepdim)


def _position(locate: Any, rank: int, dim: int | None, keepdim: bool) -> Array:
    if rank <= 1:
        dim = None
    r = locate(dim, keepdims=True) if keepdim else locate(dim)
    return r if r.__class__ is np.ndarray else np.array(r, np.int64)


TABLE: dict[str, Callable[..., Any]] = {
    "sum": sum_all, "reduce_sum": reduce_sum, "sum_int64": sum_int64, "sum_backward": sum_backward, "mean": mean,
    "var": var, "std": std, "vector_norm": vector_norm, "logsumexp": logsumexp, "reduce_prod": reduce_prod,
    "any": reduce_any, "all": reduce_all, "reduce_max": reduce_max, "reduce_min": reduce_min, "arg_max": arg_max,
    "arg_min": arg_min,
}  # fmt: skip
