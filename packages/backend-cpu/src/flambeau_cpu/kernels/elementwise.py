"""Elementwise kernels: mostly NumPy's own ufuncs, called with `out=...` (a new array) or with an array to write.

What NumPy does otherwise than PyTorch, or slower than it could, is written out here. Times are for 2,000 float32
elements on one core with AVX-512.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core import umath as _umath
from numpy.lib.stride_tricks import as_strided

from flambeau.errors import DivisionByZeroError, DTypeError

Array = np.ndarray[Any, Any]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)


def _two_passes(a: Any, low: Any, high: Any, out: Any = ...) -> Any:
    return np.minimum(np.maximum(a, low, out=...), high, out=out)


#: np.clip's ufunc, which is not public; np.clip itself takes 3 us longer.
_clip: Any = getattr(_umath, "clip", _two_passes)


# ---- constants and widths
class Number(dict[Any, Array]):
    """A number as a 0-d array of any dtype: NumPy takes 0.2 us to convert a Python number, at every call."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __missing__(self, d: np.dtype[Any]) -> Array:
        made = self[d] = np.array(self.value, d)
        made.setflags(write=False)
        return made


ZERO, ONE = Number(0), Number(1)


def is_half(d: np.dtype[Any]) -> bool:
    """Whether it is one of the floating-point types of 16 bits."""
    return d.itemsize == 2 and d.kind in "fV"


def in_float32(kernel: Callable[..., Any], arrays: tuple[Array, ...], rest: Any, out: Any) -> Any:
    """A kernel's result for 16-bit floats, computed in float32 and rounded once, as PyTorch does."""
    y = kernel(*[a.astype(FLOAT32) for a in arrays], *rest)
    return deliver(y, arrays[0].dtype, out)


def deliver(y: Array, d: np.dtype[Any], out: Any) -> Any:
    """An array that was computed in another dtype as a new array of dtype d, or in `out`."""
    if out is ...:
        return np.asarray(y).astype(d, copy=False)
    np.copyto(out, y, casting="unsafe")
    return out


#: Elements of one piece, and those from which kernels of several passes work piece by piece.
BLOCK, LARGE = 1 << 15, 1 << 18


def splits(out: Any, *arrays: Array) -> bool:
    """Whether large arrays, and out, are flat stretches of memory that pieces can be cut from."""
    shape = arrays[0].shape
    given = arrays if out is ... else (*arrays, out)
    return all(a.shape == shape and a.flags.c_contiguous for a in given)


def in_blocks(kernel: Callable[..., Any], arrays: tuple[Array, ...], rest: Any, out: Any) -> Any:
    """An elementwise kernel piece by piece, so that what it keeps between passes stays in the cache."""
    y = np.empty(arrays[0].shape, arrays[0].dtype) if out is ... else out
    flat, target = [a.reshape(-1) for a in arrays], y.reshape(-1)
    for i in range(0, y.size, BLOCK):
        kernel(*[a[i : i + BLOCK] for a in flat], *rest, out=target[i : i + BLOCK])
    return y


# ---- selection
_INTEGER: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.int8),
    2: np.dtype(np.int16),
    4: np.dtype(np.int32),
    8: np.dtype(np.int64),
}
#: Elements from which arithmetic on bits beats np.where, which takes 3.7 ns for every element that it mispredicts:
#: multiplying by 0 or 1 where the other choice is zero, selecting where it is not.
_ZERO_PAYS, _BITS_PAY = 512, 1024


def where(c: Array, a: Array, b: Array, out: Any = ...) -> Any:
    """a where c, else b."""
    if c.size >= _ZERO_PAYS:
        integer = _INTEGER.get(a.dtype.itemsize)
        if integer is not None:
            if not b.ndim and a.ndim and b.item() == 0 and not b.view(integer):
                return deliver(np.multiply(a.view(integer), c, out=...).view(a.dtype), a.dtype, out)
            if c.size >= _BITS_PAY:
                return deliver(
                    _select(c, a.view(integer), b.view(integer), integer).view(a.dtype),
                    a.dtype,
                    out,
                )
    y = np.where(c, a, b)
    return y if out is ... else deliver(y, a.dtype, out)


def _select(c: Array, a: Array, b: Array, integer: np.dtype[Any]) -> Array:
    """b ^ ((a ^ b) & mask): no branches."""
    mask = np.negative(c.view(np.int8)).astype(integer)
    y = np.bitwise_xor(a, b, out=...)
    y = np.bitwise_and(y, mask, out=y if y.shape == mask.shape else ...)
    return np.bitwise_xor(y, b, out=y)


# ---- division
def trunc_divide(a: Array, b: Array, out: Any = ...) -> Any:
    """Quotient towards zero."""
    if a.dtype.kind not in "iub":
        y = np.divide(a, b, out=out)
        return np.trunc(y, out=y)
    _check_integers(b)
    return np.floor_divide(np.subtract(a, np.fmod(a, b)), b, out=out)


def floor_divide(a: Array, b: Array, out: Any = ...) -> Any:
    """Quotient towards minus infinity."""
    if a.dtype.kind in "iub":
        _check_integers(b)
    return np.floor_divide(a, b, out=out)


def remainder(a: Array, b: Array, out: Any = ...) -> Any:
    """Remainder with the sign of b."""
    if a.dtype.kind in "iub":
        _check_integers(b)
    return np.remainder(a, b, out=out)


def fmod(a: Array, b: Array, out: Any = ...) -> Any:
    """Remainder with the sign of a."""
    if a.dtype.kind in "iub":
        _check_integers(b)
    return np.fmod(a, b, out=out)


def _check_integers(b: Array) -> None:
    if b.dtype.kind == "b":
        raise TypeError("bool has no division with rest")
    if np.count_nonzero(b) != b.size:
        raise DivisionByZeroError(
            "ZeroDivisionError: integers divided by zero. Hint: x.float() gives inf or nan there"
        )


# ---- powers
def pow_(a: Array, e: Array, out: Any = ...) -> Any:
    """a ** e; small whole exponents are multiplied out: np.power takes 50 times as long for them."""
    kind = a.dtype.kind
    if not e.ndim:
        short = _SHORT_POWERS.get(e.item())
        if short is not None and (short[0] or kind in "fc"):
            return short[1](a, out)
    if kind == "i" and np.count_nonzero(np.less(e, 0)):
        return _integer_pow(a, e, out)
    if kind == "b":
        raise TypeError("not defined for bool")
    return np.power(a, e, out=out)


def _cube(a: Array, out: Any) -> Any:
    y = np.multiply(a, a, out=...)
    return np.multiply(y, a, out=y if out is ... else out)


def _fourth(a: Array, out: Any) -> Any:
    y = np.multiply(a, a, out=...)
    return np.multiply(y, y, out=y if out is ... else out)


def _inverse_square(a: Array, out: Any) -> Any:
    y = np.multiply(a, a, out=out)
    return np.reciprocal(y, out=y)


#: exponent: (whether for integers too, kernel); PyTorch takes these short cuts as well, so -0.5 of -inf is nan, not 0.
_SHORT_POWERS: dict[Any, tuple[bool, Callable[[Array, Any], Any]]] = {
    2: (True, lambda a, out: np.multiply(a, a, out=out)),
    3: (True, _cube),
    4: (True, _fourth),
    1: (True, lambda a, out: deliver(np.array(a), a.dtype, out)),
    0.5: (False, lambda a, out: np.sqrt(a, out=out)),
    -0.5: (False, lambda a, out: rsqrt(a, out)),
    -1: (False, lambda a, out: np.reciprocal(a, out=out)),
    -2: (False, _inverse_square),
}


def _integer_pow(a: Array, e: Array, out: Any) -> Any:
    """Integer powers where some exponents are negative: 1 / a**|e| rounded to zero, so 0 unless a is 1 or -1."""
    if not (e.ndim or e.flags.writeable):  # a Python number
        raise DTypeError(
            "pow: Integers to negative integer powers are not allowed. Hint: x.float() ** exponent"
        )
    y = np.power(a, np.maximum(e, 0))
    negative = np.less(e, 0)
    units = np.where(np.equal(a, 1), 1, np.where(np.equal(a, -1), 1 - 2 * (e % 2), 0))
    return deliver(np.where(negative, units, y), a.dtype, out)


def rsqrt(a: Array, out: Any = ...) -> Any:
    """1 / sqrt(a)."""
    y = np.sqrt(a, out=out)
    return np.reciprocal(y, out=y)


# ---- signs and rounding
def _numeric(fn: Any) -> Any:
    """A ufunc that NumPy offers for bool, and PyTorch does not."""

    def run(a: Array, out: Any = ...) -> Any:
        if a.dtype.kind == "b":
            raise TypeError("not defined for bool")
        return fn(a, out=out)

    return run


def rint(a: Array, out: Any = ...) -> Any:
    """The nearest integer, ties to even; integers as they are."""
    if a.dtype.kind in "iu":
        return np.positive(a, out=out)
    if a.dtype.kind == "b":
        raise TypeError("not defined for bool")
    return np.rint(a, out=out)


def sign(a: Array, out: Any = ...) -> Any:
    """-1, 0 or 1; 0 for nan, where NumPy answers nan."""
    kind = a.dtype.kind
    if kind == "b":
        return np.positive(a.view(np.int8), out=out if out is ... else out.view(np.int8)).view(
            np.bool_
        )
    if kind in "iuc":
        return np.sign(a, out=out)
    if a.size < 2048:
        y = np.sign(a, out=out)
        odd = np.not_equal(y, y, out=...)
        if np.count_nonzero(odd):
            y[odd] = 0
        return y
    zero = ZERO[a.dtype]
    return deliver(
        np.subtract(np.greater(a, zero).view(np.int8), np.less(a, zero).view(np.int8)), a.dtype, out
    )


def conj_physical(a: Array, out: Any = ...) -> Any:
    """The complex conjugate; a copy of anything else."""
    if a.dtype.kind == "c":
        return np.conjugate(a, out=out)
    return np.array(a) if out is ... else deliver(a, a.dtype, out)


def _shift(fn: Any, saturate: bool) -> Any:
    """A shift in which counts outside the type's bits shift everything out, as PyTorch has it."""

    def run(a: Array, b: Array, out: Any = ...) -> Any:
        if a.dtype.kind == "b":
            raise TypeError("not defined for bool")
        bits = 8 * a.dtype.itemsize
        if not b.ndim and 0 <= b.item() < bits:
            return fn(a, b, out=out)
        far = np.logical_or(np.less(b, 0), np.greater_equal(b, bits))
        if not np.count_nonzero(far):
            return fn(a, b, out=out)
        inside = np.where(far, bits - 1 if saturate else 0, b).astype(b.dtype)
        y = fn(a, inside)
        return deliver(y if saturate and a.dtype.kind == "i" else np.where(far, 0, y), a.dtype, out)

    return run


# ---- compositions that are one kernel here
def clamp(a: Array, low: Array, high: Array, out: Any = ...) -> Any:
    """min(max(a, low), high); nan stays, and is what a bound of nan gives."""
    if a.dtype.kind == "V":
        return np.minimum(np.maximum(a, low), high, out=out)
    return _clip(a, low, high, out=out)


def lerp(a: Array, b: Array, w: Array, out: Any = ...) -> Any:
    """a + w (b - a), from the nearer end."""
    if is_half(a.dtype):
        return in_float32(lerp, (a, b, w), (), out)
    y = np.subtract(b, a, out=...)
    if w.ndim or w.dtype.kind == "c":
        near = np.less(np.abs(w), 0.5)
        return deliver(where(near, a + w * y, b - y * (1 - w)), a.dtype, out)
    if w < 0.5:
        np.multiply(y, w, out=y)
        return np.add(a, y, out=y if out is ... else out)
    np.multiply(y, ONE[w.dtype] - w, out=y)
    return np.subtract(b, y, out=y if out is ... else out)


def addcmul(a: Array, b: Array, c: Array, value: Any, out: Any = ...) -> Any:
    """a + value b c."""
    y = np.multiply(b, c, out=...)
    if value != 1:
        np.multiply(y, value, out=y)
    return np.add(a, y, out=y if out is ... and y.shape == a.shape else out)


def addcdiv(a: Array, b: Array, c: Array, value: Any, out: Any = ...) -> Any:
    """a + value b / c."""
    y = np.divide(b, c, out=...)
    if value != 1:
        np.multiply(y, value, out=y)
    return np.add(a, y, out=y if out is ... and y.shape == a.shape else out)


def complex_(re: Array, im: Array, out: Any = ...) -> Any:
    """re + i im."""
    if out is ...:
        out = np.empty(
            np.broadcast_shapes(re.shape, im.shape),
            np.complex64 if re.dtype == FLOAT32 else np.complex128,
        )
    out.real, out.imag = re, im
    return out


def view_as_real(a: Array) -> Array:
    """The parts of complex numbers along a new last dimension, in the same memory."""
    return as_strided(a.real, (*a.shape, 2), (*a.strides, a.itemsize // 2))


def view_as_complex(a: Array) -> Array:
    """Pairs along the last dimension read as complex numbers; ValueError where memory does not allow it."""
    return a.view(np.complex64 if a.dtype == FLOAT32 else np.complex128)[..., 0]


# ---- activations that are one kernel
#: 0 and the largest value of a dtype: clipping to them reads one array less than a maximum with zeros.
_HALFLINE: dict[Any, tuple[Array, Array]] = {}


def relu(a: Array, out: Any = ...) -> Any:
    """max(a, 0); nan stays."""
    try:
        low, high = _HALFLINE[a.dtype]
    except KeyError:
        return _first_relu(a, out)
    return _clip(a, low, high, out=out)


def _first_relu(a: Array, out: Any) -> Any:
    d = a.dtype
    if d.kind == "V":
        return np.maximum(a, ZERO[d], out=out)
    if d.kind not in "fiu":
        raise TypeError("needs real numbers")
    _HALFLINE[d] = (ZERO[d], np.array(np.inf if d.kind == "f" else np.iinfo(d).max, d))
    return relu(a, out)


class _BitMask(dict[Any, tuple[Array, Any]]):
    """Zero, and the integer type of the same width."""

    def __missing__(self, d: np.dtype[Any]) -> tuple[Array, Any]:
        found = self[d] = (ZERO[d], _INTEGER[d.itemsize])
        return found


_BITMASK = _BitMask()


def threshold_backward(g: Array, a: Array, out: Any = ...) -> Any:
    """0 where a <= 0, else g; multiplying g's bits by 0 or 1 gives 0 for inf and nan too."""
    zero, integer = _BITMASK[a.dtype]
    keep = np.less_equal(a, zero, out=...)
    np.logical_not(keep, keep)
    bits = np.multiply(g.view(integer), keep, out=out if out is ... else out.view(integer))
    return bits.view(a.dtype)


def sigmoid(a: Array, out: Any = ...) -> Any:
    """1 / (1 + exp(-a)), to full relative accuracy on both sides."""
    d = a.dtype
    if d.itemsize == 2:
        return in_float32(sigmoid, (a,), (), out)
    size = a.size
    if size > LARGE and splits(out, a):
        return in_blocks(sigmoid, (a,), (), out)
    y = np.negative(a, out=out)
    if size == 1 and out is ...:
        # NumPy takes twice as long to overwrite an operand of one element
        return np.reciprocal(np.add(np.exp(y), ONE[d]), out=...)
    np.exp(y, y)
    np.add(y, ONE[d], y)
    return np.reciprocal(y, y)


TABLE: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "trunc_divide": trunc_divide,
    "floor_divide": floor_divide, "remainder": remainder, "fmod": fmod, "pow": pow_, "atan2": np.arctan2,
    "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin, "hypot": np.hypot,
    "copysign": np.copysign, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite,
    "signbit": np.signbit, "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
    "bitwise_not": np.invert, "shl": _shift(np.left_shift, False), "shr": _shift(np.right_shift, True),
    "neg": np.negative, "abs": _numeric(np.absolute), "sign": sign, "sgn": sign, "floor": _numeric(np.floor),
    "ceil": _numeric(np.ceil), "trunc": _numeric(np.trunc), "rint": rint, "sqrt": np.sqrt, "rsqrt": rsqrt,
    "reciprocal": np.reciprocal, "square": np.square, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log,
    "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "conj_physical": conj_physical, "relu": relu,
    "threshold_backward": threshold_backward, "sigmoid": sigmoid, "where": where, "clamp": clamp,
    "clamp_min": np.maximum, "clamp_max": np.minimum, "lerp": lerp, "addcmul": addcmul, "addcdiv": addcdiv,
    "logaddexp": np.logaddexp, "logaddexp2": np.logaddexp2, "logical_and": np.logical_and,
    "logical_or": np.logical_or, "logical_xor": np.logical_xor, "logical_not": np.logical_not,
    "nextafter": np.nextafter, "gcd": np.gcd, "lcm": np.lcm, "complex": complex_, "real": lambda a: a.real,
    "imag": lambda a: a.imag, "view_as_real": view_as_real,
    "view_as_complex": view_as_complex,
}  # fmt: skip
