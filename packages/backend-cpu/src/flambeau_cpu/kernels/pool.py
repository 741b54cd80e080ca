"""Pooling: every kernel position contributes one strided slice of the padded input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
Ints = tuple[int, ...]


def _slices(out: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> list[tuple[Any, ...]]:
    return [
        (
            ...,
            *(
                slice(k * d, k * d + s * (n - 1) + 1, s)
                for k, d, s, n in zip(position, dilation, stride, out)
            ),
        )
        for position in itertools.product(*(range(k) for k in kernel))
    ]


def _padded(
    x: Array, out: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, value: Any
) -> Array:
    """x with `padding` on the left and as much on the right as the last window needs; x itself if that is nothing."""
    size = x.shape[-len(out) :]
    need = tuple((n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(out, stride, dilation, kernel))
    if not any(padding) and all(a <= b for a, b in zip(need, size)):
        return x
    whole = tuple(max(a, p + n) for a, p, n in zip(need, padding, size))
    padded: Array = np.full((*x.shape[: -len(out)], *whole), value, x.dtype)
    padded[(..., *(slice(p, p + n) for p, n in zip(padding, size)))] = x
    return padded


def _low(x: Array) -> Any:
    return -np.inf if x.dtype.kind in "fV" else np.iinfo(x.dtype).min


def max_pool(
    x: Array, out: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    """Maxima (N, C, *out); nan wins."""
    padded = _padded(x, out, kernel, stride, padding, dilation, _low(x))
    first, *rest = _slices(out, kernel, stride, dilation)
    if not rest:
        return padded[first].copy()
    y = np.maximum(padded[first], padded[rest[0]])
    for at in rest[1:]:
        np.maximum(y, padded[at], out=y)
    return y


def _winners(
    x: Array, y: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Iterator[tuple[Any, Array]]:
    """For each kernel position its slice, and where it holds the maximum that no earlier position holds."""
    out = y.shape[-len(kernel) :]
    padded = _padded(x, out, kernel, stride, padding, dilation, _low(x))
    lost = np.isnan(y) if y.dtype.kind == "f" else None
    if lost is not None and not lost.any():
        lost = None
    places = _slices(out, kernel, stride, dilation)
    free: Any = None
    for at in places:
        if at is places[-1] and free is not None:
            yield at, free  # whoever has not won before wins now
            return
        won = np.equal(padded[at], y)
        if lost is not None:
            won |= lost & np.isnan(padded[at])
        if free is None:
            free = np.logical_not(won)
        else:
            won &= free
            free ^= won
        yield at, won


def max_pool_backward(
    g: Array, x: Array, y: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    """Every gradient goes to the element that was the maximum, the first of equals."""
    size, out = x.shape[-len(kernel) :], y.shape[-len(kernel) :]
    need = tuple((n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(out, stride, dilation, kernel))
    whole = tuple(max(a, p + n) for a, p, n in zip(need, padding, size))
    apart = all(s >= d * (k - 1) + 1 for s, d, k in zip(stride, dilation, kernel))
    full = apart and stride == kernel and need == whole
    make = np.empty if full else np.zeros
    gx: Array = make((*g.shape[: -len(size)], *whole), g.dtype)
    for at, won in _winners(x, y, kernel, stride, padding, dilation):
        if apart:
            np.multiply(g, won, out=gx[at])
        else:
            gx[at] += g * won
    if whole == size:
        return gx
    return np.ascontiguousarray(gx[(..., *(slice(p, p + n) for p, n in zip(padding, size)))])


def pool_indices(
    x: Array, y: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    """Flat positions of the maxima in the input plane, int64."""
    size, out = x.shape[-len(kernel) :], y.shape[-len(kernel) :]
    which = np.zeros(y.shape, np.int64)
    for k, (_, won) in enumerate(_winners(x, y, kernel, stride, padding, dilation)):
        np.putmask(which, won, k)
    at = np.unravel_index(which, kernel)
    flat = np.zeros(y.shape, np.int64)
    for i, n in enumerate(size):
        start = (np.arange(out[i]) * stride[i] - padding[i]).reshape(
            -1, *(1,) * (len(size) - 1 - i)
        )
        flat = flat * n + start + at[i] * dilation[i]
    return flat


def _counts(
    size: Ints,
    out: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    include: bool,
    divisor: int,
    dtype: Any,
) -> Any:
    """1 / the number of elements in each window, a number where all have as many."""
    if divisor:
        return dtype.type(1.0 / divisor)
    full = math.prod(kernel)
    if all(
        (n - 1) * s + k <= m + (2 * p if include else 0) and (include or not p)
        for n, s, k, m, p in zip(out, stride, kernel, size, padding)
    ):
        return dtype.type(1.0 / full)
    total = np.ones((), np.float64)
    for n, s, k, m, p in zip(out, stride, kernel, size, padding):
        start = np.arange(n) * s - p
        end = np.minimum(start + k, m + p)
        count = end - start if include else np.minimum(end, m) - np.maximum(start, 0)
        total = np.multiply.outer(total, count)
    return (1.0 / total).astype(dtype)


def avg_pool(
    x: Array, out: Ints, kernel: Ints, stride: Ints, padding: Ints, include: bool, divisor: int
) -> Array:
    """Means of windows; `include` counts padding, `divisor` (if not 0) replaces the count."""
    ones = (1,) * len(kernel)
    padded = _padded(x, out, kernel, stride, padding, ones, 0)
    first, *rest = _slices(out, kernel, stride, ones)
    y = padded[first].copy()
    for at in rest:
        y += padded[at]
    y *= _counts(x.shape[-len(out) :], out, kernel, stride, padding, include, divisor, x.dtype)
    return y


def avg_pool_backward(
    g: Array, size: Ints, kernel: Ints, stride: Ints, padding: Ints, include: bool, divisor: int
) -> Array:
    """Every gradient is shared out equally over its window."""
    out = g.shape[-len(size) :]
    need = tuple((n - 1) * s + k for n, s, k in zip(out, stride, kernel))
    whole = tuple(max(a, p + n) for a, p, n in zip(need, padding, size))
    gx: Array = np.zeros((*g.shape[: -len(size)], *whole), g.dtype)
    share = g * _counts(size, out, kernel, stride, padding, include, divisor, g.dtype)
    for at in _slices(out, kernel, stride, (1,) * len(kernel)):
        gx[at] += share
    if whole == size:
        return gx
    return np.ascontiguousarray(gx[(..., *(slice(p, p + n) for p, n in zip(padding, size)))])


TABLE: dict[str, Callable[..., Any]] = {
    "max_pool": max_pool, "max_pool_backward": max_pool_backward, "pool_indices": pool_indices, "avg_pool": avg_pool,
    "avg_pool_backward": avg_pool_backward,
}  # fmt: skip
