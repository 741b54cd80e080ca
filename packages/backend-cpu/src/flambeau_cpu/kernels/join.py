"""Kernels that join and rearrange: cat, flip, roll, repeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_ALL, _BACKWARDS = slice(None), slice(None, None, -1)


def cat(*rest: Any) -> Array:
    """The arrays joined along dim."""
    *arrays, dim = rest
    joined: Array = np.concatenate(arrays, dim)
    return joined


def stack(*rest: Any) -> Array:
    """The arrays, of one shape, joined along a new dimension dim."""
    *arrays, dim = rest
    first = arrays[0]
    if dim == 0 and first.ndim:
        # half the time of joining views with a new dimension: no array is made for each operand
        return np.concatenate(arrays).reshape(len(arrays), *first.shape)
    lead = (slice(None),) * dim
    joined: Array = np.concatenate([a[*lead, None] for a in arrays], dim)
    return joined


def flip(a: Array, dims: Shape) -> Array:
    """The order of elements along dims reversed."""
    key: list[Any] = [_ALL] * a.ndim
    for d in dims:
        key[d] = _BACKWARDS
    return a[(*key, ...)].copy("C")


def roll(a: Array, shifts: Shape, dims: Shape) -> Array:
    """Elements moved along dims; those that leave at one end enter at the other."""
    result = a
    for shift, dim in zip(shifts, dims, strict=True):
        n = a.shape[dim]
        cut = -shift % n if n else 0
        if cut:
            lead = (slice(None),) * dim
            parts = (result[*lead, slice(cut, None)], result[*lead, slice(cut)])
            result = np.concatenate(parts, dim)
    return a.copy("C") if result is a else result


def repeat(a: Array, sizes: Shape) -> Array:
    """The whole array repeated sizes[d] times along each dimension d; sizes has a's rank."""
    if not sizes:
        return a.copy("C")
    apart, spread, whole = [], [], []
    for n, times in zip(a.shape, sizes, strict=True):
        apart += [1, n]
        spread += [times, n]
        whole.append(n * times)
    out = np.empty(spread, a.dtype)
    out[...] = a.reshape(apart)
    return out.reshape(whole)


def repeat_each(a: Array, times: int, dim: int) -> Array:
    """Every element repeated in place along dim."""
    return a.repeat(times, dim)


def constant_pad_nd(a: Array, pad: Shape, value: Any) -> Array:
    """value around `a`: pad holds the amounts before and behind, from the last dimension; negative ones cut off."""
    shape = list(a.shape)
    inner, outer = [_ALL] * a.ndim, [_ALL] * a.ndim
    for i in range(len(pad) // 2):
        d, low, high = a.ndim - 1 - i, pad[2 * i], pad[2 * i + 1]
        inner[d] = slice(max(-low, 0), shape[d] - max(-high, 0))
        shape[d] += low + high
        outer[d] = slice(max(low, 0), shape[d] - max(high, 0))
    if value == 0:
        out = np.zeros(shape, a.dtype)
    else:
        out = np.empty(shape, a.dtype)
        out.fill(value)
    out[tuple(outer)] = a[tuple(inner)]
    return out


TABLE: dict[str, Callable[..., Any]] = {
    "cat": cat, "stack": stack, "flip": flip, "roll": roll, "repeat": repeat,
    "repeat_each": repeat_each, "constant_pad_nd": constant_pad_nd,
}  # fmt: skip
