"""Rows by index, and padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.errors import out_of_bounds

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely


def embedding(weight: Array, index: Array, padding: int, scale: bool) -> Array:
    """Rows of weight."""
    if index.size and (index.min() < 0 or index.max() >= weight.shape[0]):
        bad = index[(index < 0) | (index >= weight.shape[0])].flat[0]
        raise out_of_bounds(bad, 0, weight.shape[0], 0)
    return weight.take(index, axis=0)


def embedding_backward(g: Array, index: Array, rows: int, padding: int, scale: bool) -> Array:
    """Sum of the gradients of each row: sorted by row, so that each row's are neighbours."""
    inner = g.shape[index.ndim :]
    gw = np.zeros((rows, *inner), g.dtype)
    flat = index.reshape(-1)
    g = g.reshape(flat.size, *inner)
    if padding >= 0:
        keep = flat != padding
        if not keep.all():
            flat, g = flat[keep], g[keep]
    if not flat.size:
        return gw
    order = flat.argsort(kind="stable")
    ordered = flat[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sums = np.add.reduceat(g[order], first, axis=0)
    if scale:
        sums /= np.diff(np.append(first, flat.size)).reshape(-1, *(1,) * len(inner)).astype(g.dtype)
    gw[ordered[first]] = sums
    return gw


def pad_constant(x: Array, start: tuple[int, ...], size: tuple[int, ...], value: Any) -> Array:
    """An array of one value with x in it."""
    whole = np.full(size, value, x.dtype) if value else np.zeros(size, x.dtype)
    whole[tuple(slice(a, a + n) for a, n in zip(start, x.shape))] = x
    return whole


TABLE: dict[str, Callable[..., Any]] = {
    "embedding": embedding, "embedding_backward": embedding_backward, "pad_constant": pad_constant,
}  # fmt: skip
