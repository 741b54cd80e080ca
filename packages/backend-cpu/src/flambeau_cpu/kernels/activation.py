"""Softmax and activation functions as chains of ufuncs that work in place on one intermediate array."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.elementwise import (
    BLOCK,
    LARGE,
    ONE,
    ZERO,
    Number,
    clamp,
    in_blocks,
    in_float32,
    is_half,
    splits,
    where,
)
from flambeau_cpu.kernels.special import erf

Array = np.ndarray[Any, Any]

_add, _sub, _mul, _div, _exp = np.add, np.subtract, np.multiply, np.divide, np.exp
_max, _sum, _min = np.maximum.reduce, np.add.reduce, np.minimum.reduce

_NUMBERS: dict[tuple[float, Any], Array] = {}


def _number(value: float, d: np.dtype[Any]) -> Array:
    """An attribute as a 0-d array."""
    found = _NUMBERS.get((value, d))
    if found is None:
        if len(_NUMBERS) > 256:
            _NUMBERS.clear()
        found = _NUMBERS[value, d] = np.array(value, d)
    return found


# ---- softmax
class _Ones(dict[tuple[int, Any], Array]):
    """Vectors of ones: a dot product with one sums rows in half the time of np.add.reduce."""

    def __missing__(self, key: tuple[int, Any]) -> Array:
        if len(self) > 256:
            self.clear()
        made = self[key] = np.ones(*key)
        return made


_ONES = _Ones()
#: A row whose exponentials sum to less, when the largest element of all was subtracted, is computed again by itself:
#: below it the rounding of the difference would show.
_ENOUGH = 1e-3


def _row_sums(a: Array) -> Array:
    sums: Array = a.dot(_ONES[a.shape[-1], a.dtype])[..., None]
    return sums


def _shifted(a: Array, dim: int) -> tuple[Array, Array, Array]:
    """a minus its maximum over dim (or over all, where that serves), the exponential of that, and its sum over dim."""
    if dim == a.ndim - 1:
        # the largest of all takes a fifth of the time of one for each row of 64
        y = _sub(a, _max(a, None))
        e = _exp(y)
        total = _row_sums(e)
        if dim == 0 or _min(total, None) >= _ENOUGH:
            return y, e, total
    y = _sub(a, _max(a, axis=dim, keepdims=True))
    e = _exp(y)
    return y, e, _sum(e, axis=dim, keepdims=True)


def softmax(a: Array, dim: int) -> Array:
    """exp(a) over its sum along dim."""
    if is_half(a.dtype) or a.ndim == 0 or a.size == 0:
        return _unusual(softmax, a, dim)
    if a.size > LARGE and _has_rows(a, dim):
        return _by_rows(softmax, a)
    _, e, total = _shifted(a, dim)
    return _div(e, total, e)


def log_softmax(a: Array, dim: int) -> Array:
    """a minus the logarithm of the sum of exp(a) along dim."""
    if is_half(a.dtype) or a.ndim == 0 or a.size == 0:
        return _unusual(log_softmax, a, dim)
    if a.size > LARGE and _has_rows(a, dim):
        return _by_rows(log_softmax, a)
    y, _, total = _shifted(a, dim)
    return _sub(y, np.log(total), y)


def _has_rows(a: Array, dim: int) -> bool:
    return dim == a.ndim - 1 and a.shape[-1] <= BLOCK and a.flags.c_contiguous


def _by_rows(fn: Callable[..., Array], a: Array) -> Array:
    """Softmax of as many rows at once as stay in the cache."""
    y = np.empty(a.shape, a.dtype)
    rows, target = a.reshape(-1, a.shape[-1]), y.reshape(-1, a.shape[-1])
    step = BLOCK // a.shape[-1]
    for i in range(0, len(rows), step):
        target[i : i + step] = fn(rows[i : i + step], 1)
    return y


def _unusual(fn: Callable[..., Array], a: Array, dim: int) -> Array:
    if a.size == 0:
        return a.copy()
    if a.ndim == 0:
        return fn(a.reshape(1), 0).reshape(())
    return np.asarray(in_float32(fn, (a,), (dim,), ...))


def _summed(a: Array, dim: int) -> Array:
    if dim == a.ndim - 1:
        return _row_sums(a)
    return _sum(a, axis=dim, keepdims=True)


def softmax_backward(g: Array, y: Array, dim: int) -> Array:
    """y (g - sum of g y along dim)."""
    if is_half(g.dtype) or g.ndim == 0:
        return (
            np.asarray(in_float32(softmax_backward, (g, y), (dim,), ...))
            if g.ndim
            else np.zeros_like(g)
        )
    t = _mul(g, y)
    _sub(g, _summed(t, dim), t)
    return _mul(t, y, t)


def log_softmax_backward(g: Array, y: Array, dim: int) -> Array:
    """g - exp(y) times the sum of g along dim."""
    if is_half(g.dtype) or g.ndim == 0:
        return (
            np.asarray(in_float32(log_softmax_backward, (g, y), (dim,), ...))
            if g.ndim
            else np.zeros_like(g)
        )
    t = _exp(y)
    _mul(t, _summed(g, dim), t)
    return _sub(g, t, t)


# ---- smooth
_HALF, _THREE, _SIXTH = Number(0.5), Number(3), Number(1 / 6)
_ROOT_HALF = Number(math.sqrt(0.5))
_INV_ROOT_2PI = Number(1 / math.sqrt(2 * math.pi))
#: Hendrycks and Gimpel 2016, arXiv:1606.08415: the tanh approximation's sqrt(2 / pi) and 0.044715 times it.
_GELU_LINEAR, _GELU_CUBIC = (
    Number(math.sqrt(2 / math.pi)),
    Number(math.sqrt(2 / math.pi) * 0.044715),
)
_GELU_SLOPE = Number(3 * math.sqrt(2 / math.pi) * 0.044715)


def _twice_phi(a: Array, approximate: str) -> Array:
    """1 + erf(a / sqrt 2), or 1 + tanh of the cubic: twice the normal distribution function."""
    d = a.dtype
    if approximate == "tanh":
        t = _mul(a, a, out=...)
        _mul(t, _GELU_CUBIC[d], t)
        _add(t, _GELU_LINEAR[d], t)
        _mul(t, a, t)
        np.tanh(t, t)
    else:
        t = _mul(a, _ROOT_HALF[d], out=...)
        t = erf(t, out=t)
    return _add(t, ONE[d], t)


#: atanh(erf(x / sqrt 2)) / x in powers of x^2 for |x| < 5.6, highest first: a least-squares fit reweighted to equal
#: extremes. tanh of it errs by 5.8e-8, and is 1 in float32 beyond.
_GELU32 = [
    np.array(c, np.float32)
    for c in (
        1.75630072e-09, -1.32267036e-07, 3.96478169e-06, -5.53063581e-05, -3.25946583e-05, 3.63330843e-02,
        7.97884942e-01,
    )
]  # fmt: skip


def _gelu32(a: Array, y: Array, slope: Array | None) -> None:
    """gelu of flat float32 numbers, and its derivative if wanted, piece by piece."""
    d = a.dtype
    half, density, minus_half = _HALF[d], _INV_ROOT_2PI[d], _number(-0.5, d)
    squares = np.empty(min(a.size, BLOCK), d)
    scratch = np.empty_like(squares)
    for start in range(0, a.size, BLOCK):
        x = a[start : start + BLOCK]
        t, phi = squares[: x.size], scratch[: x.size]
        _mul(x, x, t)
        _mul(t, _GELU32[0], phi)
        for c in _GELU32[1:-1]:
            _add(phi, c, phi)
            _mul(phi, t, phi)
        _add(phi, _GELU32[-1], phi)
        _mul(phi, x, phi)
        np.tanh(phi, phi)
        _add(phi, ONE[d], phi)
        _mul(phi, half, phi)
        _mul(phi, x, y[start : start + BLOCK])
        if slope is not None:
            _mul(t, minus_half, t)
            _exp(t, t)
            _mul(t, density, t)
            _mul(t, x, t)
            _add(t, phi, slope[start : start + BLOCK])


def gelu_slope(a: Array) -> tuple[Array, Array]:
    """gelu and its derivative, which the backward pass then only multiplies with."""
    if a.dtype != np.float32:
        return gelu(a, "none"), gelu_backward(np.ones_like(a), a, "none")
    y, slope = np.empty(a.shape, a.dtype), np.empty(a.shape, a.dtype)
    _gelu32(a.reshape(-1), y.reshape(-1), slope.reshape(-1))
    return y, slope


def gelu(a: Array, approximate: str, out: Any = ...) -> Any:
    """a times the normal distribution function of a."""
    if is_half(a.dtype):
        return in_float32(gelu, (a,), (approximate,), out)
    if a.dtype == np.float32 and approximate == "none":
        y = np.empty(a.shape, a.dtype) if out is ... or not splits(out, a) else out
        _gelu32(a.reshape(-1), y.reshape(-1), None)
        if out is not ... and y is not out:
            np.copyto(out, y)
            return out
        return y
    t = _twice_phi(a, approximate)
    _mul(t, _HALF[a.dtype], t)
    return _mul(t, a, out=t if out is ... else out)


def gelu_backward(g: Array, a: Array, approximate: str, out: Any = ...) -> Any:
    """g times the derivative of gelu at a."""
    if is_half(a.dtype):
        return in_float32(gelu_backward, (g, a), (approximate,), out)
    if a.size > LARGE and splits(out, g, a):
        return in_blocks(gelu_backward, (g, a), (approximate,), out)
    d = a.dtype
    t = _twice_phi(a, approximate)
    s = _mul(a, a, out=...)
    if approximate == "tanh":
        _mul(s, _GELU_SLOPE[d], s)
        _add(s, _GELU_LINEAR[d], s)
        _mul(s, a, s)
        _mul(s, t, s)
        _mul(s, _sub(_number(2, d), t), s)  # 1 - tanh^2
        _add(t, s, t)
        _mul(t, _HALF[d], t)
    else:
        _mul(t, _HALF[d], t)
        _mul(s, _number(-0.5, d), s)
        _exp(s, s)
        _mul(s, _INV_ROOT_2PI[d], s)
        _mul(s, a, s)
        _add(t, s, t)
    return _mul(t, g, out=out)


def silu(a: Array, out: Any = ...) -> Any:
    """a / (1 + exp(-a))."""
    if is_half(a.dtype):
        return in_float32(silu, (a,), (), out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(silu, (a,), (), out)
    t = np.negative(a, out=...)
    _exp(t, t)
    _add(t, ONE[a.dtype], t)
    return _div(a, t, out=t if out is ... else out)


def silu_backward(g: Array, a: Array, out: Any = ...) -> Any:
    """g s (1 + a (1 - s)) with s = sigmoid(a)."""
    if is_half(a.dtype):
        return in_float32(silu_backward, (g, a), (), out)
    if a.size > LARGE and splits(out, g, a):
        return in_blocks(silu_backward, (g, a), (), out)
    one = ONE[a.dtype]
    s = np.negative(a, out=...)
    _exp(s, s)
    _add(s, one, s)
    np.reciprocal(s, s)
    t = _sub(one, s, out=...)
    _mul(t, a, t)
    _add(t, one, t)
    _mul(t, s, t)
    return _mul(t, g, out=out)


def mish(a: Array, out: Any = ...) -> Any:
    """a tanh(log(1 + exp(a))) = a n / (n + 2) with n = e (e + 2), e = exp(a)."""
    if is_half(a.dtype):
        return in_float32(mish, (a,), (), out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(mish, (a,), (), out)
    d = a.dtype
    e = np.minimum(a, _number(20, d), out=...)  # where the factor is 1
    _exp(e, e)
    n = _add(e, _number(2, d), out=...)
    _mul(n, e, n)
    _add(n, _number(2, d), e)
    _div(n, e, n)
    return _mul(n, a, out=n if out is ... else out)


def softplus(a: Array, beta: float, threshold: float, out: Any = ...) -> Any:
    """log(1 + exp(beta a)) / beta, and a where beta a > threshold."""
    if is_half(a.dtype):
        return in_float32(softplus, (a,), (beta, threshold), out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(softplus, (a,), (beta, threshold), out)
    d = a.dtype
    z = a if beta == 1 else _mul(a, _number(beta, d), out=...)
    linear = np.greater(z, _number(threshold, d), out=...)
    t = _exp(z, out=...)
    np.log1p(t, t)
    if beta != 1:
        _div(t, _number(beta, d), t)
    if np.count_nonzero(linear):
        return where(linear, a, t, out)
    return t if out is ... else np.positive(t, out=out)


def logsigmoid(a: Array, out: Any = ...) -> Any:
    """min(a, 0) - log(1 + exp(-|a|))."""
    if is_half(a.dtype):
        return in_float32(logsigmoid, (a,), (), out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(logsigmoid, (a,), (), out)
    t = np.absolute(a, out=...)
    np.negative(t, t)
    _exp(t, t)
    np.log1p(t, t)
    return _sub(np.minimum(a, ZERO[a.dtype]), t, out=t if out is ... else out)


def elu(a: Array, alpha: float, scale: float, input_scale: float, out: Any = ...) -> Any:
    """scale a where a > 0, else scale alpha (exp(input_scale a) - 1)."""
    if is_half(a.dtype):
        return in_float32(elu, (a,), (alpha, scale, input_scale), out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(elu, (a,), (alpha, scale, input_scale), out)
    d = a.dtype
    t = np.minimum(a, ZERO[d], out=...)
    if input_scale != 1:
        _mul(t, _number(input_scale, d), t)
    np.expm1(t, t)
    if alpha * scale != 1:
        _mul(t, _number(alpha * scale, d), t)
    p = np.maximum(a, ZERO[d], out=...)
    if scale != 1:
        _mul(p, _number(scale, d), p)
    return _add(p, t, out=p if out is ... else out)


# ---- piecewise linear
def leaky_relu(a: Array, slope: float, out: Any = ...) -> Any:
    """a where a > 0, else slope a: the larger of both, or the smaller where the slope exceeds 1."""
    t = _mul(a, _number(slope, a.dtype), out=...)
    return (np.maximum if slope <= 1 else np.minimum)(t, a, out=t if out is ... else out)


def hardtanh(a: Array, low: float, high: float, out: Any = ...) -> Any:
    """a clipped to [low, high]."""
    return clamp(a, _number(low, a.dtype), _number(high, a.dtype), out)


def hardsigmoid(a: Array, out: Any = ...) -> Any:
    """min(max(a + 3, 0), 6) / 6."""
    if is_half(a.dtype):
        return in_float32(hardsigmoid, (a,), (), out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(hardsigmoid, (a,), (), out)
    d = a.dtype
    t = _add(a, _THREE[d], out=...)
    t = clamp(t, ZERO[d], _number(6, d), t)
    return _mul(t, _SIXTH[d], out=t if out is ... else out)


def hardswish(a: Array, out: Any = ...) -> Any:
    """a min(max(a + 3, 0), 6) / 6."""
    if is_half(a.dtype):
        return in_float32(hardswish, (a,), (), out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(hardswish, (a,), (), out)
    t = hardsigmoid(a)
    return _mul(t, a, out=t if out is ... else out)


TABLE: dict[str, Callable[..., Any]] = {
    "softmax": softmax, "log_softmax": log_softmax, "softmax_backward": softmax_backward,
    "log_softmax_backward": log_softmax_backward, "gelu": gelu, "gelu_slope": gelu_slope,
    "gelu_backward": gelu_backward, "silu": silu,
    "silu_backward": silu_backward, "mish": mish, "softplus": softplus, "logsigmoid": logsigmoid, "elu": elu,
    "leaky_relu": leaky_relu, "hardtanh": hardtanh, "hardsigmoid": hardsigmoid, "hardswish": hardswish,
}  # fmt: skip
