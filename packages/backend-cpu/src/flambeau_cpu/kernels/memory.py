"""Kernels that make, move and look at memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided as np_as_strided

from flambeau.dtypes import dtype

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def from_host(array: Array) -> Array:
    """The array itself: host memory is this device's memory."""
    return array


def item(a: Array) -> Any:
    """The only element as a Python number."""
    return a.item()


def fill(shape: Shape, value: Any, d: dtype) -> Array:
    """A new array of one value."""
    numpy_dtype = d.numpy
    if value == 0 and value.__class__ is int:
        return np.zeros(shape, numpy_dtype)
    out = np.empty(shape, numpy_dtype)
    try:
        out[...] = value
    except OverflowError:  # integers wrap around, as in PyTorch
        out[...] = np.array(value & ((1 << 8 * d.itemsize) - 1), np.uint64).astype(numpy_dtype)
    return out


def iota(n: int, start: Any, step: Any, d: dtype) -> Array:
    """start, start + step, ...: n values, computed in float64 or int64 before they are rounded."""
    if isinstance(start, int) and isinstance(step, int):
        return (start + step * np.arange(n, dtype=np.int64)).astype(d.numpy, copy=False)
    return (start + step * np.arange(n, dtype=np.float64)).astype(d.numpy)


def copy(a: Array, out: Any = ...) -> Array:
    """A row-major copy, or a copy into `out`, which a is broadcast to."""
    if out is ...:
        return a.copy("C")
    out[...] = a
    return out


def cast(a: Array, d: dtype) -> Array:
    """The elements converted: floats to integers by truncation, anything but 0 to True."""
    if a.dtype.kind == "c" and d.category < 3:
        a = (a != 0) if d.category == 0 else a.real
    return a.astype(d.numpy)


def as_strided(a: Array, shape: Shape, strides: Shape, offset: int) -> Array:
    """A view by element strides and offset from the start of the memory block; positions outside it are refused."""
    base = a
    while isinstance(base.base, np.ndarray):
        base = base.base
    size = a.itemsize
    steps = tuple(s * size for s in strides)
    if base.flags.f_contiguous and not base.flags.c_contiguous:
        base = base.T
    if base.flags.c_contiguous:
        return np.ndarray(shape, a.dtype, base, offset * size, steps)
    block = np_as_strided(base, (base.size,), (base.itemsize,)).view(
        a.dtype
    )  # host memory with gaps
    return np_as_strided(block[offset:], shape, steps)


def strides(a: Array) -> tuple[Shape, int]:
    """Element strides, and the offset from the start of the memory block."""
    base = a
    while isinstance(base.base, np.ndarray):
        base = base.base
    start = (
        a.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        if a is not base
        else 0
    )
    return tuple(s // a.itemsize for s in a.strides), start // a.itemsize


def is_contiguous(a: Array) -> bool:
    """Whether elements follow each other in row-major order without gaps."""
    return a.flags.c_contiguous


def view(a: Array, shape: Shape) -> Array:
    """The same memory under another shape; ValueError where strides cannot express it."""
    if a.flags.c_contiguous:
        return a.reshape(shape)
    return a.reshape(shape, copy=False)


def expand(a: Array, shape: Shape) -> Array:
    """Sizes of 1 repeated with stride 0, read-only as one place stands for many; np.broadcast_to takes 5 us for it."""
    lead = len(shape) - a.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(a.shape, shape[lead:], strict=True)):
        return np.broadcast_to(a, shape)  # for its error
    if not a.flags.c_contiguous or not a.size:
        return np.broadcast_to(a, shape)
    steps = tuple(
        0 if n != m else s for n, m, s in zip(a.shape, shape[lead:], a.strides, strict=True)
    )
    out: Array = np.ndarray(shape, a.dtype, a, 0, (0,) * lead + steps)
    if out.shape != a.shape:
        out.setflags(write=False)
    return out


def slice_(a: Array, key: tuple[Any, ...]) -> Array:
    """Basic indexing; always a view, of 0 dimensions too."""
    return a[(*key, ...)]


TABLE: dict[str, Callable[..., Any]] = {
    "from_host": from_host,
    "to_host": from_host,
    "item": item,
    "fill": fill,
    "iota": iota,
    "copy": copy,
    "cast": cast,
    "as_strided": as_strided,
    "strides": strides,
    "is_contiguous": is_contiguous,
    "view": view,
    "permute": np.ndarray.transpose,
    "expand": expand,
    "slice": slice_,
}
