"""Sorting, elements at positions along a dimension, running operations, counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.reduce import F32, F64, row_starts

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_LOW = np.uint64(0xFFFFFFFF)
_SMALL = 32  # shorter rows sort faster as they are


# ---- sorting
def _keys(a: Array) -> Array | None:
    """Unsigned 32-bit integers in the same order as a (nan last, -0.0 equal to 0.0); None for wider types."""
    kind, size = a.dtype.kind, a.dtype.itemsize
    if kind in "biu":
        if size > 4:
            return None
        if kind == "b" or kind == "u":
            return a.astype(np.uint32)
        return (a.astype(np.int32).view(np.uint32)) ^ np.uint32(0x80000000)
    if size > 4:
        return None
    bits = (a.astype(F32, copy=False) + np.float32(0)).view(np.int32)
    keys = (bits ^ ((bits >> 31) | np.int32(-0x80000000))).view(np.uint32)
    unordered = a != a
    if unordered.any():
        keys[unordered] = 0xFFFFFFFF
    return keys


def _packed(keys: Array, n: int) -> Array:
    """Positions in the order of unsigned 32-bit keys: a sort of (key, position) in one word, stable and vectorised."""
    words = keys.astype(np.uint64)
    words <<= np.uint64(32)
    words |= np.arange(n, dtype=np.uint64)
    words.sort(axis=-1)
    words &= _LOW
    return words.view(np.int64)


def _argsort_rows(a: Array) -> Array:
    """Stable ascending order along the last axis."""
    n = a.shape[-1]
    if n <= _SMALL or n > 1 << 32:
        return a.argsort(axis=-1, kind="stable")
    keys = _keys(a)
    if keys is not None:
        return _packed(keys, n)
    order = a.argsort(axis=-1)  # vectorised; equals come in any order
    ranked = np.take_along_axis(a, order, -1)
    differ = (ranked[..., 1:] != ranked[..., :-1]) & ~(
        (ranked[..., 1:] != ranked[..., 1:]) & (ranked[..., :-1] != ranked[..., :-1])
    )
    if differ.all():
        return order
    group = np.zeros(a.shape, np.uint64)
    np.cumsum(differ, axis=-1, out=group[..., 1:])
    group <<= np.uint64(32)
    group |= order.view(np.uint64)
    group.sort(axis=-1)
    group &= _LOW
    return group.view(np.int64)


def _along_last(fn: Any, a: Array, dim: int) -> Array:
    """fn on contiguous rows, for any axis."""
    if a.ndim == 0:
        return fn(a.reshape(1)).reshape(())
    if dim == a.ndim - 1:
        return fn(a)
    moved = fn(np.ascontiguousarray(a.swapaxes(dim, -1)))
    return np.ascontiguousarray(moved.swapaxes(dim, -1))


def argsort(a: Array, dim: int, descending: bool) -> Array:
    """Stable order along dim; nan counts as the largest."""
    if not descending:
        return _along_last(_argsort_rows, a, dim)

    def backwards(rows: Array) -> Any:
        order = _argsort_rows(rows[..., ::-1])[..., ::-1]
        return rows.shape[-1] - 1 - order

    return _along_last(backwards, a, dim)


def arg_topk(a: Array, k: int, dim: int, largest: bool) -> Array:
    """Positions of the k largest or smallest along dim, in order."""

    def rows_of(rows: Array) -> Array:
        n = rows.shape[-1]
        if k == 0 or n <= _SMALL or 4 * k > n:
            return np.ascontiguousarray(argsort(rows, rows.ndim - 1, largest)[..., :k])
        part = rows.argpartition(n - k if largest else k - 1, axis=-1)
        part = part[..., n - k :] if largest else part[..., :k]
        part = np.sort(part, axis=-1)  # so that equals come in the order of their positions
        order = argsort(np.take_along_axis(rows, part, -1), rows.ndim - 1, largest)
        return np.take_along_axis(part, order, -1)

    return _along_last(rows_of, a, dim)


def arg_kth(a: Array, k: int, dim: int, keepdim: bool) -> Array:
    """Position of the k-th smallest (from 0) along dim."""

    def rows_of(rows: Array) -> Array:
        return rows.argpartition(k, axis=-1)[..., k : k + 1]

    return _one(rows_of, a, dim, keepdim)


def _one(fn: Any, a: Array, dim: int, keepdim: bool) -> Array:
    found = _along_last(fn, a, dim)
    return found if keepdim or a.ndim == 0 else found.squeeze(dim)


def arg_median(a: Array, dim: int, keepdim: bool, ignore_nan: bool) -> Array:
    """Position of the lower median along dim: of the first nan if there is one, or of what is not nan."""

    def rows_of(rows: Array) -> Array:
        n = rows.shape[-1]
        if rows.dtype.kind in "fV":
            unordered = rows != rows
            if unordered.any():
                if ignore_nan:
                    middle = np.maximum(n - unordered.sum(axis=-1, keepdims=True) - 1, 0) // 2
                    return np.take_along_axis(_argsort_rows(rows), middle, -1)
                found = rows.argpartition((n - 1) // 2, axis=-1)[..., (n - 1) // 2, None]
                return np.where(
                    unordered.any(axis=-1, keepdims=True),
                    unordered.argmax(axis=-1)[..., None],
                    found,
                )
        return rows.argpartition((n - 1) // 2, axis=-1)[..., (n - 1) // 2, None]

    return _one(rows_of, a, dim, keepdim)


def arg_mode(a: Array, dim: int, keepdim: bool) -> Array:
    """Last position of the most frequent along dim; of equally frequent ones, of the smallest."""

    def rows_of(rows: Array) -> Array:
        n = rows.shape[-1]
        order = _argsort_rows(rows)
        ranked = np.take_along_axis(rows, order, -1)
        starts = np.ones(rows.shape, bool)
        np.not_equal(ranked[..., 1:], ranked[..., :-1], out=starts[..., 1:])
        place = np.arange(n)
        length = place - np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
        return np.take_along_axis(order, length.argmax(axis=-1)[..., None], -1)

    return _one(rows_of, a, dim, keepdim)


def median(a: Array, dims: Any, keepdim: bool) -> Array:
    """The lower median of all elements; nan if there is one."""
    flat = a.reshape(-1)
    if flat.dtype.kind in "fV":
        top = flat.max()
        if top != top:
            return np.asarray(top)
    middle = (flat.size - 1) // 2
    return np.asarray(np.partition(flat, middle)[middle])


def nanmedian(a: Array, dims: Any, keepdim: bool) -> Array:
    """The lower median of the elements that are not nan."""
    flat = a.reshape(-1)
    return flat[arg_median(flat, 0, False, True)].reshape(())


# ---- positions along a dimension
_offsets: dict[tuple[int, int, int], Array] = {}


def _flat(shape: Shape, index: Array, dim: int) -> Array:
    """Flat positions, (outer, k, inner), of an index along dim of a contiguous array."""
    n = shape[dim]
    outer, inner = math.prod(shape[:dim]), math.prod(shape[dim + 1 :])
    key = (outer, n, inner)
    start = _offsets.get(key)
    if start is None:
        rows = np.arange(outer, dtype=np.int64).reshape(outer, 1, 1) * (n * inner)
        start = rows + np.arange(inner, dtype=np.int64)
        if start.size <= 1 << 14:
            if len(_offsets) >= 256:
                _offsets.clear()
            _offsets[key] = start
    index = index.reshape(outer, index.size // (outer * inner), inner)
    return (index if inner == 1 else index * inner) + start


def pick(a: Array, index: Array, dim: int) -> Array:
    """Elements at positions along dim, which index may lack."""
    if a.ndim == 0:
        return np.full(index.shape, a)
    if index.size == 0:
        return np.empty(index.shape, a.dtype)
    if index.ndim < a.ndim and dim in (0, a.ndim - 1):  # one position in each row or column
        if dim:
            at = index.reshape(-1) + row_starts(index.size, a.shape[dim])
        else:
            at = index.reshape(-1) * index.size
            at += row_starts(index.size, 1)
        return a.reshape(-1).take(at).reshape(index.shape)
    return a.reshape(-1).take(_flat(a.shape, index, dim)).reshape(index.shape)


def pick_backward(g: Array, index: Array, dim: int, shape: Shape, distinct: bool) -> Array:
    """Zeros with g added at positions along dim; distinct: no position stands twice."""
    if not shape:
        return np.asarray(g.sum(dtype=g.dtype)).reshape(())
    out = np.zeros(shape, g.dtype)
    if index.size:
        at = _flat(shape, index, dim).reshape(-1)
        if distinct:
            out.reshape(-1)[at] = g.reshape(-1)
        else:
            np.add.at(out.reshape(-1), at, g.reshape(-1))
    return out


# ---- running operations
_WIDE: dict[str, Any] = {"e": F32, "E": F32, "F": np.dtype(np.complex128)}  # E: bfloat16
_SCANS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def scan(a: Array, dim: int, how: str, reverse: bool) -> Array:
    """Running sum, prod, max or min along dim; sums and products of floats are kept in twice the precision."""
    if reverse:
        a = np.flip(a, dim)
    d = a.dtype
    wide = d if how in ("max", "min") else F64 if d is F32 else _WIDE.get(d.char, d)
    y = _SCANS[how].accumulate(a, axis=dim, dtype=wide)
    if wide is not d:
        y = y.astype(d)
    return np.ascontiguousarray(np.flip(y, dim)) if reverse else y


def arg_scan(a: Array, dim: int, how: str) -> Array:
    """Where the running extreme stands: the last of equals."""
    best = _SCANS[how].accumulate(a, axis=dim)
    place = np.arange(a.shape[dim]).reshape((-1,) + (1,) * (a.ndim - dim - 1))
    return np.maximum.accumulate(np.where((a == best) | (a != a), place, 0), axis=dim)


def logcumsumexp(a: Array, dim: int, reverse: bool) -> Array:
    """log(cumsum(exp(a))), without overflow."""
    if reverse:
        a = np.flip(a, dim)
    wide = F64 if a.dtype == F32 else F32 if a.dtype.itemsize == 2 else a.dtype
    y = np.logaddexp.accumulate(a.astype(wide, copy=False), axis=dim).astype(a.dtype, copy=False)
    return np.ascontiguousarray(np.flip(y, dim)) if reverse else y


# ---- counts
def tally(weights: Array, index: Array, size: int) -> Array:
    """The sum of the weights at each index."""
    if index.size == 0:
        return np.zeros(size, weights.dtype)
    return np.bincount(index, weights, size).astype(weights.dtype, copy=False)


def unique(a: Array, ordered: bool) -> tuple[Array, Array, Array]:
    """Distinct elements (in order, or without repeats of the one before), each element's number, and counts."""
    flat = a.reshape(-1)
    n = flat.size
    order = _argsort_rows(flat) if ordered else np.arange(n)
    ranked = flat[order]
    starts = np.ones(n, bool)
    np.not_equal(ranked[1:], ranked[:-1], out=starts[1:])
    inverse = np.empty(n, np.int64)
    inverse[order] = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    return ranked[first], inverse.reshape(a.shape), np.diff(first, append=n)


TABLE: dict[str, Callable[..., Any]] = {
    "argsort": argsort, "arg_topk": arg_topk, "arg_kth": arg_kth, "arg_median": arg_median, "arg_mode": arg_mode,
    "median": median, "nanmedian": nanmedian, "pick": pick, "pick_backward": pick_backward, "scan": scan,
    "arg_scan": arg_scan, "logcumsumexp": logcumsumexp, "tally": tally, "unique": unique,
}  # fmt: skip
