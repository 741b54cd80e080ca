"""Attention: softmax(q k^T * scale + mask) v, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.half import through_float32

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
_add, _mul, _sub, _exp = np.add, np.multiply, np.subtract, np.exp
_max = np.maximum.reduce


def _row_sums(a: Array) -> Array:
    """Sums of the rows, kept as size 1: a product with ones is several times faster than a reduction of short rows."""
    return np.dot(a.reshape(-1, a.shape[-1]), np.ones(a.shape[-1], a.dtype)).reshape(
        *a.shape[:-1], 1
    )


#: Scores within this of 0 need no shift by their row's maximum: exp(60) and its sums are finite in float32, exp(-60)
#: keeps all digits. One maximum over all takes a tenth of the time of one for each row of 64.
_SAFE = 60.0


def sdpa(
    q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """softmax(q k^T * scale + mask) v, and the softmax; mask: added, or bool with True where attention may go."""
    d = q.dtype.type
    p = np.matmul(_mul(q, d(scale)), k.swapaxes(-1, -2))
    if (
        (mask is None or mask.dtype == np.bool_)
        and p.dtype.itemsize >= 4
        and p.size
        and _max(p, None) <= _SAFE
        and np.minimum.reduce(p, None) >= -_SAFE
    ):
        _softmax_unshifted(p, mask, causal)
    else:
        _softmax(p, mask, causal)
    return np.matmul(p, v), p


def _softmax_unshifted(p: Array, mask: Array | None, causal: bool) -> None:
    """Moderate scores to their softmax, in place; mask: bool."""
    _exp(p, out=p)
    if causal:
        _mul(p, _allowed(p.shape[-2], p.shape[-1], p.dtype), out=p)
    if mask is not None:
        _mul(p, mask, out=p)
    total = _row_sums(p)
    if mask is not None:
        np.copyto(total, 1, where=total == 0)  # rows that may attend to nothing give 0
    np.reciprocal(total, out=total)
    _mul(p, total, out=p)


def _softmax(p: Array, mask: Array | None, causal: bool) -> None:
    """Any scores to their softmax, in place."""
    low = p.dtype.type(-np.inf)
    if causal:
        np.putmask(
            p, np.broadcast_to(_allowed(p.shape[-2], p.shape[-1], p.dtype) == 0, p.shape), low
        )
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
    np.divide(p, total, out=p)
    if mask is not None:
        np.copyto(p, 0, where=total == 0)


_MASKS: dict[Any, Array] = {}


def _allowed(rows: int, columns: int, dtype: Any) -> Array:
    """1 where the column is not after the row, else 0."""
    found = _MASKS.get((rows, columns, dtype))
    if found is None:
        if len(_MASKS) > 16:
            _MASKS.clear()
        found = _MASKS[rows, columns, dtype] = np.tri(rows, columns, dtype=dtype)
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


TABLE: dict[str, Callable[..., Any]] = {
    "sdpa": through_float32(sdpa, rounded=1),
    "sdpa_backward": through_float32(sdpa_backward),
}
