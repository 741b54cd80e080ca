"""Attention: softmax(q k^T * scale + mask) v, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
_add, _mul, _sub, _exp = np.add, np.multiply, np.subtract, np.exp
_max = np.maximum.reduce


def _row_sums(a: Array) -> Array:
    """Sums of the rows, kept as size 1: a product with ones is several times faster than a reduction of short rows."""
    return np.dot(a.reshape(-1, a.shape[-1]), np.ones(a.shape[-1], a.dtype)).reshape(
        *a.shape[:-1], 1
    )


def sdpa(
    q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """softmax(q k^T * scale + mask) v, and the softmax; mask: added, or bool with True where attention may go."""
    d = q.dtype.type
    p = np.matmul(_mul(q, d(scale)), k.swapaxes(-1, -2))
    low = d(-np.inf)
    if causal:
        rows, columns = p.shape[-2:]
        np.add(p, _causal(rows, columns, p.dtype), out=p)
    if mask is not None:
        if mask.dtype == np.bool_:
            np.putmask(p, np.broadcast_to(~mask, p.shape), low)
        else:
            _add(p, mask, out=p)
    top = _max(p, -1, keepdims=True)
    if mask is not None:
        np.copyto(top, 0, where=np.isneginf(top))  # rows that may attend to nothing give 0
    _sub(p, top, out=p)
    _exp(p, out=p)
    total = _row_sums(p)
    _mul(p, np.reciprocal(total), out=p)
    if mask is not None:
        np.copyto(p, 0, where=total == 0)
    return np.matmul(p, v), p


_MASKS: dict[Any, Array] = {}


def _causal(rows: int, columns: int, dtype: Any) -> Array:
    found = _MASKS.get((rows, columns, dtype))
    if found is None:
        if len(_MASKS) > 16:
            _MASKS.clear()
        found = _MASKS[rows, columns, dtype] = np.triu(np.full((rows, columns), -np.inf, dtype), 1)
    return found


def sdpa_backward(
    g: Array, q: Array, k: Array, v: Array, p: Array, scale: float, needs: tuple[bool, ...]
) -> tuple[Array | None, ...]:
    """Gradients of q, k, v, and of an added mask."""
    gv = np.matmul(p.swapaxes(-1, -2), g) if needs[2] else None
    if not (needs[0] or needs[1] or needs[3]):
        return None, None, gv, None
    ds = np.matmul(g, v.swapaxes(-1, -2))
    _mul(ds, p, out=ds)
    ds -= _mul(p, _row_sums(ds))
    factor = q.dtype.type(scale)
    gmask = ds.copy() if needs[3] else None
    _mul(ds, factor, out=ds)
    gq = np.matmul(ds, k) if needs[0] else None
    gk = np.matmul(ds.swapaxes(-1, -2), q) if needs[1] else None
    return gq, gk, gv, gmask


TABLE: dict[str, Callable[..., Any]] = {"sdpa": sdpa, "sdpa_backward": sdpa_backward}
