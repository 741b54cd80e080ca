"""Fused kernels of layers and losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.elementwise import is_half
from flambeau_cpu.kernels.half import through_float32

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely

_add, _mul, _sub, _exp, _log = np.add, np.multiply, np.subtract, np.exp, np.log
_sum, _max = np.add.reduce, np.maximum.reduce


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """x @ weight.T + bias."""
    if x.itemsize == 2 and is_half(
        x.dtype
    ):  # asked here: a wrapper's call is dear for so short a kernel
        return _half_linear(x, weight, bias)
    if x.ndim == 2 and weight.ndim == 2:
        if x.shape[0] <= 48 and weight.shape[0] >= 64 and bias is not None:
            # OpenBLAS is a quarter faster the other way round where rows are few (32x784 by 784x128: 74 against 94 us)
            return _add(np.dot(weight, x.T).T, bias, order="C")
        y = np.dot(x, weight.T)
    elif weight.ndim == 1:
        y = np.asarray(np.dot(x, weight))
    elif x.ndim == 1:
        y = np.dot(weight, x)
    else:
        y = np.dot(x.reshape(-1, x.shape[-1]), weight.T).reshape(*x.shape[:-1], weight.shape[0])
    if bias is None:
        return y
    return _add(y, bias, out=y) if y.ndim else _add(y, bias, out=...)


def linear_weight_grad(g: Array, x: Array) -> Array:
    """Sum over leading indices of g[..., o] * x[..., i]."""
    if g.itemsize == 2 and is_half(g.dtype):
        return _half_weight_grad(g, x)
    if x.ndim != 2:
        g, x = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
    return np.dot(g.T, x)


_half_linear, _half_weight_grad = through_float32(linear), through_float32(linear_weight_grad)


def dropout(x: Array, mask: Array, scale: float) -> Array:
    """x * mask * scale."""
    y = _mul(x, mask, out=...)
    return _mul(y, x.dtype.type(scale), out=y)


# ---- cross entropy
_OFFSETS: dict[tuple[int, int], Array] = {}


def _offsets(n: int, c: int) -> Array:
    """Where each row of an (n, c) array starts."""
    found = _OFFSETS.get((n, c))
    if found is None:
        if len(_OFFSETS) > 64:
            _OFFSETS.clear()
        found = _OFFSETS[n, c] = np.arange(0, n * c, c) if c else np.zeros(n, np.int64)
    return found


def _outside(target: Array, classes: int) -> bool:
    """Whether a target is negative or too large; as unsigned numbers, negative ones are too large."""
    return (
        bool(target.size)
        and int(
            _max(target.view(np.uint64) if target.flags.c_contiguous else target.astype(np.uint64))
        )
        >= classes
    )


def cross_entropy(x: Array, target: Array, ignore: int) -> tuple[Array, Array, Array]:
    """Mean cross entropy of (n, c) logits; with it exp(x - row maximum) and its row sums, for the backward kernel."""
    n, c = x.shape
    z = _sub(x, _max(x, 1, keepdims=True)) if c else x.copy()
    e = _exp(z)
    total = _sum(e, 1)
    if 0 <= ignore < c or _outside(target, c):
        return _with_ignored(z, e, total, target, ignore)
    picked = z.reshape(-1).take(_add(_offsets(n, c), target))
    loss = _sub(_log(total), picked)
    if not n:
        return np.asarray(np.nan, x.dtype), e, total
    return _mul(_sum(loss), x.dtype.type(1.0 / n), out=...), e, total


def _with_ignored(
    z: Array, e: Array, total: Array, target: Array, ignore: int
) -> tuple[Array, Array, Array]:
    keep = target != ignore
    kept = target[keep]
    if _outside(kept, z.shape[1]):
        raise IndexError("target out of range")
    loss = np.log(total[keep]) - z[keep, kept]
    with np.errstate(all="ignore"):
        return np.asarray(loss.mean(dtype=z.dtype) if loss.size else np.nan, z.dtype), e, total


def cross_entropy_backward(g: Array, e: Array, total: Array, target: Array, ignore: int) -> Array:
    """(softmax - one-hot) * g, over the number of targets that count."""
    n, c = e.shape
    if 0 <= ignore < c or _outside(target, c):
        keep = target != ignore
        p = e / total[:, None]
        p[keep, target[keep]] -= 1
        count = keep.sum()
        p *= (keep * (g / count if count else np.nan)).astype(e.dtype)[:, None]
        return p
    p = e / total[:, None]
    at = _add(_offsets(n, c), target)
    flat = p.reshape(-1)
    flat[at] -= 1
    scale = g.dtype.type(1.0 / n) if n else g.dtype.type(0)
    return _mul(p, _mul(g, scale), out=p)


# ---- losses between values of one shape
def _check_nan(loss: Array, target: Array, name: str) -> Array:
    if loss != loss and np.isnan(target).any():
        from flambeau.errors import ShapeError

        raise ShapeError(
            f"{name}: target contains nan ({tuple(target.shape)} {target.dtype.name} cpu), so the loss would be nan. "
            "Hint: mask those elements with reduction='none'"
        )
    return loss


def mse_loss(x: Array, target: Array, mean: bool) -> Array:
    """Mean or sum of (x - target)^2."""
    d = _sub(x, target, out=...).reshape(-1)
    total = np.dot(d, d) if d.dtype.kind == "f" and d.size < 1 << 16 else _sum(_mul(d, d))
    if total != total:
        _check_nan(total, target, "mse_loss")
    if mean:
        return _mul(total, x.dtype.type(1.0 / d.size if d.size else np.nan), out=...)
    return np.asarray(total, x.dtype)


def mse_loss_backward(g: Array, x: Array, target: Array, mean: bool) -> Array:
    """2 (x - target) g, over the element count for a mean."""
    d = _sub(x, target, out=...)
    return _mul(d, _mul(g, d.dtype.type(2.0 / d.size if mean and d.size else 2.0)), out=d)


def bce_terms(p: Array, target: Array) -> Array:
    """-(t log p + (1 - t) log(1 - p)); logarithms end at -100."""
    low = p.dtype.type(-100)
    yes = np.maximum(_log(p), low)
    no = np.maximum(np.log1p(np.negative(p)), low)
    # t (no - yes) - no
    d = _sub(no, yes, out=...)
    return _sub(_mul(d, target, out=d), no, out=d)


def bce_loss(p: Array, target: Array, mean: bool) -> Array:
    """Mean or sum of bce_terms. Probabilities outside [0, 1] show as nan, so they are looked for only then."""
    total = _sum(bce_terms(p, target), None)
    if total != total:
        _explain_bce(p, target)
    if mean:
        return _mul(total, p.dtype.type(1.0 / p.size if p.size else np.nan), out=...)
    return np.asarray(total, p.dtype)


def _explain_bce(p: Array, target: Array) -> None:
    from flambeau.errors import ShapeError

    if not np.isnan(p).any() and (p.min() < 0 or p.max() > 1):
        raise ShapeError(
            f"binary_cross_entropy: all elements of input should be between 0 and 1, got {p.min():g} to {p.max():g} "
            f"({tuple(p.shape)} {p.dtype.name} cpu). Hint: binary_cross_entropy_with_logits takes raw scores"
        )
    if np.isnan(target).any():
        raise ShapeError(
            f"binary_cross_entropy: target contains nan ({tuple(target.shape)} {target.dtype.name} cpu). "
            "Hint: target.isnan().any()"
        )


def bce_loss_backward(g: Array, p: Array, target: Array, mean: bool) -> Array:
    """g (p - t) / max(p (1 - p), 1e-12), over the element count for a mean."""
    d = p.dtype
    width = _mul(p, _sub(d.type(1), p), out=...)
    np.maximum(width, d.type(1e-12), out=width)
    slope = _sub(p, target, out=...)
    np.divide(slope, width, out=slope)
    return _mul(slope, _mul(g, d.type(1.0 / p.size if mean and p.size else 1.0)), out=slope)


def bce_with_logits(x: Array, target: Array) -> Array:
    """max(x, 0) - x t + log(1 + exp(-|x|))."""
    tail = np.log1p(_exp(np.negative(np.abs(x))))
    y = _sub(np.maximum(x, x.dtype.type(0)), _mul(x, target), out=...)
    return _add(y, tail, out=y)


TABLE: dict[str, Callable[..., Any]] = {
    "linear": linear, "linear_weight_grad": linear_weight_grad, "dropout": dropout, "cross_entropy": cross_entropy,
    "cross_entropy_backward": cross_entropy_backward, "mse_loss": mse_loss, "mse_loss_backward": mse_loss_backward,
    "bce_terms": bce_terms, "bce_loss": bce_loss, "bce_loss_backward": bce_loss_backward,
    "bce_with_logits": bce_with_logits,
}  # fmt: skip
