"""Normalisations and their gradients; each forward kernel also returns the normalised values and 1 / deviation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.half import through_float32

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
Ints = tuple[int, ...]
_sum, _mul, _sub, _add = np.add.reduce, np.multiply, np.subtract, np.add


def _row_dot(a: Array, b: Array) -> Array:
    return np.einsum("rd,rd->r", a, b)


def _row_sums(a: Array) -> Array:
    """A product with ones: 6 us for 768 rows of 128, where np.add.reduce takes 26."""
    return np.dot(a, np.ones(a.shape[1], a.dtype))


def _per_channel(a: Array, b: Array | None, layout: Ints) -> Array:
    """Sum over all but the channels of a (or a * b), seen as (outer, channels, inner)."""
    outer, channels, inner = layout
    if inner == 1:
        a = a.reshape(outer, channels)
        return np.dot(np.ones(outer, a.dtype), a if b is None else a * b.reshape(outer, channels))
    a = a.reshape(outer, channels, inner)
    if b is None:
        return _sum(_sum(a, 2), 0)
    return _sum(np.einsum("ncl,ncl->nc", a, b.reshape(outer, channels, inner)), 0)


def _affine(xhat: Array, weight: Array | None, bias: Array | None, layout: Ints) -> Array:
    y = xhat if layout[2] == 1 else xhat.reshape(layout)
    if layout[2] == 1:
        y = y.reshape(layout[:2])
    else:
        weight = None if weight is None else weight[:, None]
        bias = None if bias is None else bias[:, None]
    if weight is not None:
        y = _mul(y, weight)
        return y if bias is None else _add(y, bias, out=y)
    return y.copy() if bias is None else _add(y, bias)


def normalize(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    rows: int,
    layout: Ints,
    eps: float,
    centred: bool,
) -> tuple[Array, Array, Array]:
    """Each of the `rows` equal parts of x to mean 0 (if centred) and variance 1, then weight and bias for each channel.

    layout: x as (outer, channels, inner) for weight and bias. Returns y, the normalised x, and 1 / deviation.
    """
    flat = x.reshape(rows, x.size // rows if rows else 0)
    d = x.dtype.type
    n = flat.shape[1]
    if centred:
        flat = _sub(flat, _mul(_row_sums(flat), d(1.0 / n if n else 0))[:, None])
    rstd = _row_dot(flat, flat)
    rstd *= d(1.0 / n if n else 0)
    rstd += d(eps)
    np.sqrt(rstd, out=rstd)
    np.reciprocal(rstd, out=rstd)
    xhat = _mul(flat, rstd[:, None], out=flat if centred else None)
    return (
        _affine(
            xhat,
            weight.reshape(-1) if weight is not None else None,
            bias.reshape(-1) if bias is not None else None,
            layout,
        ).reshape(x.shape),
        xhat,
        rstd,
    )


def normalize_backward(
    g: Array,
    xhat: Array,
    rstd: Array,
    weight: Array | None,
    rows: int,
    layout: Ints,
    centred: bool,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of x, weight and bias."""
    gw = _per_channel(g, xhat, layout) if needs[1] else None
    gb = _per_channel(g, None, layout) if needs[2] else None
    if not needs[0]:
        return None, gw, gb
    d = g.dtype.type
    n = xhat.shape[1]
    if weight is not None:
        w = weight.reshape(-1)
        gh = (
            _mul(g.reshape(layout[:2]), w)
            if layout[2] == 1
            else _mul(g.reshape(layout), w[:, None])
        ).reshape(rows, n)
    else:
        gh = g.reshape(rows, n)
    scale = d(1.0 / n if n else 0)
    along = _mul(_row_dot(gh, xhat), scale)
    gx = _mul(xhat, -along[:, None])
    gx += gh
    if centred:
        gx -= _mul(_row_sums(gh), scale)[:, None]
    gx *= rstd[:, None]
    return gx.reshape(g.shape), gw, gb


def batch_norm(
    x: Array, weight: Array | None, bias: Array | None, layout: Ints, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Each channel of x, seen as (outer, channels, inner), to mean 0 and variance 1.

    Returns y, the normalised x, 1 / deviation, mean and (biased) variance.
    """
    outer, channels, inner = layout
    d = x.dtype.type
    count = outer * inner
    scale = d(1.0 / count if count else np.nan)
    shaped = x.reshape(outer, channels) if inner == 1 else x.reshape(layout)
    mean = _mul(_per_channel(x, None, layout), scale)
    xhat = _sub(shaped, mean if inner == 1 else mean[:, None])
    var = _mul(_per_channel(xhat, xhat, layout), scale)
    rstd = np.reciprocal(np.sqrt(_add(var, d(eps))))
    xhat *= rstd if inner == 1 else rstd[:, None]
    return _affine(xhat, weight, bias, layout).reshape(x.shape), xhat, rstd, mean, var


def batch_norm_backward(
    g: Array, xhat: Array, rstd: Array, weight: Array | None, layout: Ints, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of x, weight and bias."""
    outer, _, inner = layout
    gw = _per_channel(g, xhat, layout)
    gb = _per_channel(g, None, layout)
    if not needs[0]:
        return None, gw, gb
    d = g.dtype.type
    scale = d(1.0 / (outer * inner) if outer * inner else 0)
    factor = rstd if weight is None else _mul(rstd, weight)
    a, b = _mul(gw, scale), _mul(gb, scale)
    shaped = g.reshape(xhat.shape)
    if inner != 1:
        a, b, factor = a[:, None], b[:, None], factor[:, None]
    gx = _mul(xhat, a)
    _sub(shaped, gx, out=gx)
    gx -= b
    gx *= factor
    return gx.reshape(g.shape), gw, gb


def blend_(running: Array, value: Array, share: float, factor: float) -> None:
    """running = (1 - share) * running + share * factor * value, in place."""
    d = running.dtype.type
    running *= d(1 - share)
    running += _mul(value.astype(running.dtype, copy=False), d(share * factor))


TABLE: dict[str, Callable[..., Any]] = {
    "normalize": through_float32(normalize, rounded=1),
    "normalize_backward": through_float32(normalize_backward),
    "batch_norm": through_float32(batch_norm, rounded=1),
    "batch_norm_backward": through_float32(batch_norm_backward),
    "blend_": blend_,
}
