"""Kernels that read and write at positions: gather, scatter, fancy indexing, masks, triangles.

NumPy's fancy indexing takes negative positions; where PyTorch refuses them, the kernel does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.errors import IndexRangeError, out_of_bounds

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

#: Elements up to which np.where beats bit masks, which do not suffer from unpredictable branches (measured).
_SMALL = 1 << 13
#: Elements that one np.add.at call gets: index and values then fit into the second-level cache.
_CHUNK = 1 << 15
#: Entries up to which position tables are kept.
_KEPT = 1 << 14
_BITS = {1: np.dtype(np.int8), 2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}
#: Two neighbouring floats are added at once as a complex number: half as many positions to look up.
_PAIRS = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}
_ONE = np.array(1, np.int8)


def _out_of_range(index: Array, size: int, dim: int, low: int) -> IndexRangeError:
    """The error of a position outside [low, size)."""
    bad = index[(index < low) | (index >= size)].flat[0]
    return out_of_bounds(bad, dim, size, low)


def _check(index: Array, size: int, dim: int) -> None:
    """Refuse positions outside [0, size): read as unsigned, a negative number is a huge one."""
    if index.size and np.maximum.reduce(index.view(np.uint64), axis=None) >= size:
        raise _out_of_range(index, size, dim, 0)


@functools.lru_cache(maxsize=256)
def _plan(shape: Shape, sizes: Shape, dim: int) -> tuple[int, Array | None]:
    """The step along dim of an array of `shape`, and flat positions of the open grid of `sizes` without dim."""
    step = math.prod(shape[dim + 1 :])
    total: Array | None = None
    below = 1
    for d in range(len(shape) - 1, -1, -1):
        if d != dim and sizes[d] != 1:
            part = (np.arange(sizes[d]) * below).reshape((-1,) + (1,) * (len(sizes) - d - 1))
            total = part if total is None else total + part
        below *= shape[d]
    return step, total


def _flat(shape: Shape, index: Array, dim: int) -> Array:
    """Positions in the flattened array of `shape` that index means along dim."""
    plan = _plan if index.size <= _KEPT else _plan.__wrapped__
    step, offsets = plan(shape, index.shape, dim)
    flat = index if step == 1 else index * step
    return flat if offsets is None else flat + offsets


def _grid(index: Array, dim: int) -> tuple[Array, ...]:
    """Index arrays of all dimensions that together mean index along dim."""
    n = index.ndim
    return tuple(
        index if d == dim else np.arange(index.shape[d]).reshape((-1,) + (1,) * (n - d - 1))
        for d in range(n)
    )


def gather(a: Array, index: Array, dim: int) -> Array:
    """out[i..] = a[.. index[i..] ..]."""
    if a.ndim == 0 or index.ndim == 0:
        return gather(a.reshape(-1), index.reshape(-1), dim).reshape(index.shape)
    _check(index, a.shape[dim], dim)
    if not a.flags.c_contiguous:
        if a.size > 4 * index.size:
            return a[_grid(index, dim)].copy("C")
        a = a.copy("C")
    return a.reshape(-1).take(_flat(a.shape, index, dim))


def gather_backward(g: Array, index: Array, dim: int, shape: Shape) -> Array:
    """Zeros of a shape with g added at index along dim."""
    out = np.zeros(shape, g.dtype)
    return scatter(out, index, g, dim, "add", out=out)


_REDUCE: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def scatter(a: Array, index: Array, src: Any, dim: int, reduce: str, out: Any = ...) -> Array:
    """`a` with src put at index along dim, or combined with what is there.

    src is at least as large as index, or one number.
    """
    result = _start(a, out)
    src = np.asarray(src, a.dtype)
    if src.ndim and src.shape != index.shape:
        src = src[tuple(slice(n) for n in index.shape)]
    if a.ndim == 0 or index.ndim == 0:
        flat = result.reshape(-1)
        scatter(flat, index.reshape(-1), src.reshape(-1), dim, reduce, out=flat)
        return result
    _check(index, a.shape[dim], dim)
    at: Any
    if result.flags.c_contiguous:
        target = result.reshape(-1)
        at = _flat(a.shape, index, dim).reshape(-1)
        src = src.reshape(-1) if src.ndim else src
    else:
        target, at = result, _grid(index, dim)
    if reduce == "set":
        target[at] = src
    elif reduce == "add" and result.dtype.itemsize == 2 and result.dtype.kind not in "iu":
        wide = target.astype(np.float32)
        np.add.at(wide, at, src.astype(np.float32))
        target[...] = wide
    else:
        _REDUCE[reduce].at(target, at, src)
    return result


def _start(a: Array, out: Any) -> Array:
    """The array to change: a copy of `a`, or out holding a's elements."""
    if out is ...:
        return a.copy("C")
    if not out.flags.writeable:  # ufunc.at would write all the same
        raise ValueError("assignment destination is read-only")
    if out is not a:
        out[...] = a
    result: Array = out
    return result


def index_select(a: Array, index: Array, dim: int, wrap: bool) -> Array:
    """The elements of `a` at index (of any rank) along dim; wrap lets negative positions count from the end."""
    if not wrap:
        _check(index, a.shape[dim], dim)
    try:
        if a.flags.c_contiguous or a.ndim == 1:
            result = a.take(index, dim)
        else:
            result = a[(slice(None),) * dim + (index,)]
    except IndexError:
        raise _out_of_range(index, a.shape[dim], dim, -a.shape[dim]) from None
    if not isinstance(result, np.ndarray):
        return np.asarray(result)
    return result if result.flags.c_contiguous else result.copy("C")


def _wrapped(index: Array, size: int) -> Array:
    """Positions in [0, size) from positions of which negative ones count from the end.

    Raises: IndexError: outside [-size, size).
    """
    if not index.size or np.maximum.reduce(index.view(np.uint64), axis=None) < size:
        return index
    np.broadcast_to(_ONE, (size,))[index]  # raises where a position is out of range
    return np.where(index < 0, index + size, index)


def index_select_backward(g: Array, index: Array, dim: int, wrap: bool, shape: Shape) -> Array:
    """Zeros of a shape with g's slices added at index along dim."""
    out = np.zeros(shape, g.dtype)
    _add_at(out, _wrapped(index, shape[dim]), g, dim, 1)
    return out


def _add_at(out: Array, index: Array, value: Array, dim: int, spans: int) -> None:
    """Add value at flat positions within dimensions dim .. dim + spans of a contiguous array."""
    n = index.size
    if not (n and out.size):
        return
    shape = out.shape
    size, rest = (
        shape[dim] if spans == 1 else math.prod(shape[dim : dim + spans]),
        math.prod(shape[dim + spans :]),
    )
    at = index.reshape(-1)
    if dim == 0:
        _add_rows(out.reshape(size, rest), at, value.reshape(n, rest))
        return
    lead = math.prod(shape[:dim])
    moved = out.reshape(lead, size, rest).transpose(1, 0, 2)
    rows = np.array(moved, order="C").reshape(size, lead * rest)
    _add_rows(rows, at, value.reshape(lead, n, rest).transpose(1, 0, 2).reshape(n, lead * rest))
    moved[...] = rows.reshape(size, lead, rest)


_columns = functools.lru_cache(maxsize=64)(np.arange)


def _add_rows(out: Array, index: Array, rows: Array) -> None:
    """out[index[i]] += rows[i]: NumPy's loop for one dimension, fed with cache-sized pieces."""
    if out.dtype.itemsize == 2 and out.dtype.kind not in "iu":
        wide = out.astype(np.float32)
        _add_rows(wide, index, rows.astype(np.float32))
        out[...] = wide
        return
    width = out.shape[1]
    pair = _PAIRS.get(out.dtype)
    if pair is not None and width % 2 == 0:
        out, rows = out.view(pair), np.ascontiguousarray(rows).view(pair)
        width //= 2
    target = out.reshape(-1)
    if width == 1:
        np.add.at(target, index, rows.reshape(-1))
        return
    columns = _columns(width)
    step = max(1, _CHUNK // width)
    for i in range(0, len(index), step):
        part = index[i : i + step]
        flat = (part[:, None] * width + columns).reshape(-1)
        np.add.at(target, flat, rows[i : i + step].reshape(-1))


def index(a: Array, *rest: Any) -> Array:
    """a[:, .., i, j, ..] with the index arrays i, j, .. at dimensions dim, dim + 1, ..; negative positions wrap."""
    *indices, dim = rest
    result = a[(*(slice(None),) * dim, *indices)]
    if not isinstance(result, np.ndarray):
        return np.asarray(result)
    return result if result.flags.c_contiguous else result.copy("C")


def index_put(a: Array, *rest: Any, out: Any = ...) -> Array:
    """`a` with value put at (or added to) the positions that `index` reads."""
    *indices, value, dim, accumulate = rest
    result = _start(a, out)
    at = (*(slice(None),) * dim, *indices)
    if not accumulate:
        result[at] = value
    elif result.flags.c_contiguous:
        end = dim + len(indices)
        flat = _merge(indices, result.shape[dim:end])
        full = (*result.shape[:dim], *flat.shape, *result.shape[end:])
        if value.shape != full:
            value = np.broadcast_to(value, full)
        _add_at(result, flat, value, dim, len(indices))
    else:
        np.add.at(result, at, value)
    return result


def _merge(indices: list[Array], sizes: Shape) -> Array:
    """One array of positions in the merged dimensions, from an array for each."""
    flat: Any = _wrapped(indices[0], sizes[0])
    for i, n in zip(indices[1:], sizes[1:]):
        flat = flat * n + _wrapped(i, n)
    merged: Array = flat
    return merged


def masked_select(a: Array, mask: Array, dim: int) -> Array:
    """The elements where mask, over dimensions dim .. dim + mask.ndim, is true."""
    at = mask.reshape(-1).nonzero()[0]
    shape = (*a.shape[:dim], mask.size, *a.shape[dim + mask.ndim :])
    return a.reshape(shape).take(at, dim)


def masked_select_backward(g: Array, mask: Array, dim: int, shape: Shape) -> Array:
    """Zeros of a shape with g where mask is true."""
    out = np.zeros((*shape[:dim], mask.size, *shape[dim + mask.ndim :]), g.dtype)
    at: Any = (*(slice(None),) * dim, mask.reshape(-1).nonzero()[0])
    out[at] = g
    return out.reshape(shape)


def masked_fill(a: Array, mask: Array, value: Array, out: Any = ...) -> Array:
    """value (0-d) where mask is true, else a."""
    bits: Any = _BITS.get(a.itemsize)
    if bits is None or a.size <= _SMALL:
        if out is ...:
            result = np.where(mask, value, a)
            return result if isinstance(result, np.ndarray) else np.asarray(result)
        if out is not a:
            out[...] = a
        if mask.shape == out.shape:
            np.putmask(out, mask, value)  # half of copyto's time
        else:
            np.copyto(out, value, where=mask)
        return out
    keep = np.subtract(mask.view(np.int8), _ONE).astype(bits)  # -1, all bits set, where a stays
    raw = np.bitwise_and(a.view(bits), keep, out=out if out is ... else out.view(bits))
    put = value.astype(a.dtype, copy=False).view(bits)
    if put.any():
        np.invert(keep, out=keep)
        np.bitwise_and(keep, put, out=keep)
        np.bitwise_or(raw, keep, out=raw)
    filled: Array = raw.view(a.dtype)
    return filled


@functools.lru_cache(maxsize=8)
def _triangle(rows: int, columns: int, k: int, lower: bool, d: Any) -> Array:
    mask = np.tri(rows, columns, k, dtype=bool)
    return (mask if lower else ~mask) if d is bool else -(mask if lower else ~mask).astype(d)


def _keep_triangle(a: Array, k: int, lower: bool) -> Array:
    bits: Any = _BITS.get(a.itemsize)
    rows, columns = a.shape[-2:]
    make = _triangle if rows * columns <= 1 << 18 else _triangle.__wrapped__
    k = max(-rows - 1, min(k, columns + 1))
    if bits is None:
        result: Array = np.where(make(rows, columns, k, lower, bool), a, np.zeros((), a.dtype))
        return result
    kept: Array = np.bitwise_and(a.view(bits), make(rows, columns, k, lower, bits)).view(a.dtype)
    return kept


def tril(a: Array, diagonal: int, out: Any = ...) -> Array:
    """Zero above the diagonal of the last two dimensions."""
    return _into(_keep_triangle(a, diagonal, True), out)


def triu(a: Array, diagonal: int, out: Any = ...) -> Array:
    """Zero below the diagonal of the last two dimensions."""
    return _into(_keep_triangle(a, diagonal - 1, False), out)


def _into(result: Array, out: Any) -> Array:
    if out is ...:
        return result
    out[...] = result
    return out


def nonzero(a: Array) -> Array:
    """Positions of the elements that are not 0, one row each; a column is contiguous."""
    if a.ndim == 0:
        return np.zeros((1 if a else 0, 0), np.int64)
    found = a.nonzero()
    return found[0][:, None] if a.ndim == 1 else np.array(found).T


def searchsorted(sequence: Array, values: Array, right: bool) -> Array:
    """Where values would be inserted into sequence, sorted along its last dimension."""
    side: Any = "right" if right else "left"
    if sequence.ndim == 1:
        return np.asarray(sequence.searchsorted(values, side))
    out = np.zeros(values.shape, np.int64)
    if not (out.size and sequence.size):
        return out
    length = sequence.shape[-1]
    rows = zip(
        sequence.reshape(-1, length), values.reshape(-1, values.shape[-1]),
        out.reshape(-1, values.shape[-1]), strict=True,
    )  # fmt: skip
    for row, wanted, target in rows:
        target[...] = row.searchsorted(wanted, side)
    return out


def isin(a: Array, among: Array) -> Array:
    """Whether elements of `a` are in the 1-D array `among`."""
    return np.asarray(np.isin(a, among))


def repeat_positions(counts: Array) -> Array:
    """0 counts[0] times, then 1 counts[1] times, and so on."""
    return np.repeat(np.arange(counts.size), counts)


def fill_(a: Array, value: Any) -> None:
    """Every element overwritten by a Python number."""
    try:
        a.fill(value)
    except OverflowError:
        a[...] = np.array(value).astype(a.dtype)  # wrap around, as PyTorch does


def diagonal(a: Array, offset: int, dim1: int, dim2: int) -> Array:
    """A view of the elements a[.. i .. i + offset ..]; the diagonal is its last dimension."""
    view = a.diagonal(offset, dim1, dim2)
    view.flags.writeable = a.flags.writeable
    return view


def unfold(a: Array, dim: int, size: int, step: int) -> Array:
    """A view of windows of a size along dim, every step elements; the window is the last dimension."""
    shape = (*a.shape[:dim], (a.shape[dim] - size) // step + 1, *a.shape[dim + 1 :], size)
    strides = (*a.strides[:dim], a.strides[dim] * step, *a.strides[dim + 1 :], a.strides[dim])
    if a.flags.c_contiguous:
        return np.ndarray(shape, a.dtype, a, 0, strides)
    return np.lib.stride_tricks.as_strided(a, shape, strides)


TABLE: dict[str, Callable[..., Any]] = {
    "gather": gather, "gather_backward": gather_backward, "scatter": scatter, "index_select": index_select,
    "index_select_backward": index_select_backward, "index": index, "index_put": index_put,
    "masked_select": masked_select, "masked_select_backward": masked_select_backward, "masked_fill": masked_fill,
    "tril": tril, "triu": triu, "nonzero": nonzero, "searchsorted": searchsorted, "isin": isin,
    "repeat_positions": repeat_positions, "fill_": fill_, "diagonal": diagonal,
    "unfold": unfold,
}  # fmt: skip
