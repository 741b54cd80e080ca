"""Elementwise functions made of the elementwise operations: bounds, blends, comparisons, logic, number theory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau import dtypes, return_types
from flambeau.autograd.inplace import update
from flambeau.dtypes import FLOATING, INTEGER
from flambeau.errors import ArgumentError, DTypeError
from flambeau.ops import elementwise as _elementwise
from flambeau.ops._op import Primitive, broadcast, inplace_of, op
from flambeau.ops._public import Public
from flambeau.ops._recover import result_type
from flambeau.ops.casting import convert
from flambeau.ops.elementwise import (
    _times,
    abs,
    add,
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    div,
    eq,
    exp2,
    floor,
    ge,
    gt,
    isfinite,
    isnan,
    le,
    log2,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    remainder,
    sub,
    where,
)
from flambeau.ops.reduce import all as _all
from flambeau.tensor import Tensor, describe

_rsub = _elementwise.rsub


# ---- bounds
@op(shape=broadcast, dtype="promote")
def clamp_min(input: Tensor, min: Tensor) -> Tensor:
    """The elements, or min where they are smaller; nan stays. The gradient is 1 down to min itself."""
    return maximum(input, min)


clamp_min.vjp(
    input=lambda g, input, min: where(ge(input, min), g, 0),
    min=lambda g, input, min: where(lt(input, min), g, 0),
)


@op(shape=broadcast, dtype="promote")
def clamp_max(input: Tensor, max: Tensor) -> Tensor:
    """The elements, or max where they are larger; nan stays. The gradient is 1 up to max itself."""
    return minimum(input, max)


clamp_max.vjp(
    input=lambda g, input, max: where(le(input, max), g, 0),
    max=lambda g, input, max: where(gt(input, max), g, 0),
)


@op(shape=broadcast, dtype="promote", kernel="clamp", node="ClampBackward1")
def _clamp(input: Tensor, min: Tensor, max: Tensor) -> Tensor:
    """The elements limited to [min, max]; max where min > max."""
    return minimum(maximum(input, min), max)


_clamp.vjp(
    input=lambda g, input, min, max: where(bitwise_and(ge(input, min), le(input, max)), g, 0),
    min=lambda g, input, min, max: where(bitwise_and(lt(input, min), lt(min, max)), g, 0),
    max=lambda g, input, min, max: where(bitwise_or(gt(input, max), lt(max, min)), g, 0),
)
_clamp_: Callable[..., Tensor] = inplace_of(_clamp)
_clamp_min_: Callable[..., Tensor] = inplace_of(clamp_min)
_clamp_max_: Callable[..., Tensor] = inplace_of(clamp_max)


def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """The elements limited to [min, max]; the gradient is 1 inside, the bounds included, and 0 outside.

    Args:
        input: any shape.
        min, max: numbers, or tensors that broadcast with input; None is no limit.
        out: where to put the result.
    Raises: ArgumentError: neither min nor max is given.

    Example:
        >>> import flambeau as fb
        >>> fb.clamp(fb.tensor([-1.0, 0.5, 2.0]), min=0, max=1)
        tensor([0.0000, 0.5000, 1.0000])
    """
    if max is None:
        if min is None:
            raise _no_bounds("clamp")
        return clamp_min(input, min, out=out)
    if min is None:
        return clamp_max(input, max, out=out)
    return _clamp(input, min, max, out=out)


def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place version of clamp: the result replaces this tensor's values."""
    if max is None:
        if min is None:
            raise _no_bounds("clamp_")
        return _clamp_min_(self, min)
    if min is None:
        return _clamp_max_(self, max)
    return _clamp_(self, min, max)


def _no_bounds(name: str) -> Exception:
    return ArgumentError(
        f"{name}: At least one of 'min' or 'max' must not be None. Hint: x.{name}(min=0)"
    )


@op(kernel="nan_to_num")
def _nan_to_num(input: Tensor, nan: float, posinf: float, neginf: float) -> Tensor:
    finite = pick(eq(input, math.inf), posinf, pick(eq(input, -math.inf), neginf, input))
    return pick(isnan(input), nan, finite)


_nan_to_num.vjp(input=lambda g, input: where(isfinite(input), g, 0))


def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """nan replaced by a number (0 unless given), and infinities by others (the dtype's limits unless given).

    Example:
        >>> import flambeau as fb
        >>> fb.nan_to_num(fb.tensor([float("nan"), 1.0, float("inf")]), posinf=9)
        tensor([0., 1., 9.])
    """
    d = input._kind.dtype
    if d.is_complex:
        from flambeau.ops.complex_parts import view_as_complex, view_as_real

        return add(
            view_as_complex(nan_to_num(view_as_real(input), nan, posinf, neginf)), 0, out=out
        )
    if d.category < FLOATING:
        return mul(input, 1, out=out) if out is not None else input.clone()
    limits = dtypes.finfo(d)
    values = (
        0.0 if nan is None else nan,
        limits.max if posinf is None else posinf,
        limits.min if neginf is None else neginf,
    )
    return _nan_to_num(input, *values, out=out)


# ---- blends
@op(shape=broadcast, dtype="floating")
def lerp(input: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """input + weight (end - input), computed from the nearer end.

    Example:
        >>> import flambeau as fb
        >>> fb.lerp(fb.tensor([0.0, 10.0]), fb.tensor([4.0, 20.0]), 0.5)
        tensor([ 2., 15.])
    """
    way = sub(end, input)
    near, far = add(input, mul(way, weight)), sub(end, mul(way, 1 - weight))
    if isinstance(weight, Tensor):
        return where(lt(abs(weight), 0.5), near, far)
    return near if weight.__abs__() < 0.5 else far


lerp.vjp(
    input=lambda g, weight: _times(g, 1 - weight),
    end=lambda g, weight: _times(g, weight),
    weight=lambda g, input, end: _times(g, sub(end, input)),
)


@op(shape=broadcast, dtype="promote")
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    product = mul(tensor1, tensor2)
    return add(input, product if value == 1 else mul(product, value))


addcmul.vjp(
    input=lambda g: g,
    tensor1=lambda g, tensor2, value: _times(g, tensor2 if value == 1 else mul(tensor2, value)),
    tensor2=lambda g, tensor1, value: _times(g, tensor1 if value == 1 else mul(tensor1, value)),
)


@op(shape=broadcast, dtype="floating")
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    quotient = div(tensor1, tensor2)
    return add(input, quotient if value == 1 else mul(quotient, value))


addcdiv.vjp(
    input=lambda g: g,
    tensor1=lambda g, tensor2, value: _times(g, div(value, tensor2)),
    tensor2=lambda g, tensor1, tensor2, value: neg(
        _times(g, div(mul(tensor1, value), mul(tensor2, tensor2)))
    ),
)


def pick(condition: Tensor, number: Any, other: Tensor) -> Tensor:
    """number where condition is true, else other; `where` with a number first takes the long way through promotion."""
    return where(bitwise_not(condition), other, number)


# ---- tests
def isposinf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Whether elements are +inf."""
    return eq(input, math.inf, out=out) if _real("isposinf", input) else ne(input, input, out=out)


def isneginf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Whether elements are -inf."""
    return eq(input, -math.inf, out=out) if _real("isneginf", input) else ne(input, input, out=out)


def _real(name: str, input: Tensor) -> bool:
    """Whether it is floating-point; complex numbers are refused."""
    if input._kind.dtype.is_complex:
        raise DTypeError(
            f"{name} does not support complex inputs, got {describe(input)}. Hint: x.abs()"
        )
    return input._kind.dtype.is_floating_point


def isreal(input: Tensor) -> Tensor:
    """Whether the imaginary part is 0; always so for real dtypes."""
    if input._kind.dtype.is_complex:
        return eq(input.imag, 0)
    return bitwise_or(eq(input, input), ne(input, input))


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether |input - other| <= atol + rtol |other|, element by element.

    Args:
        input, other: tensors of one dtype whose shapes broadcast.
        rtol, atol: relative and absolute tolerance, not negative.
        equal_nan: nan equals nan.
    Raises: DTypeError: the dtypes differ.  ArgumentError: a negative tolerance.
    """
    if input._kind.dtype is not other._kind.dtype:
        raise DTypeError(
            f"isclose: {other._kind.dtype.name} did not match {input._kind.dtype.name} "
            f"(input: {describe(input)}; other: {describe(other)}). Hint: other.to(input.dtype)"
        )
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise ArgumentError(
                f"isclose: {name} must be greater than or equal to zero, but got {value}"
            )
    close = eq(input, other)
    if equal_nan and input._kind.inexact is not None:
        close = bitwise_or(close, bitwise_and(isnan(input), isnan(other)))
    if rtol == 0 and atol == 0:
        return close
    if input._kind.inexact is None:
        input, other = input.to(dtypes.float64), other.to(dtypes.float64)
    gap = abs(sub(input, other))
    near = le(gap, add(abs(mul(other, rtol)), atol))
    return bitwise_or(close, bitwise_and(isfinite(gap), near))


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether isclose holds for all elements.

    Example:
        >>> import flambeau as fb
        >>> fb.allclose(fb.tensor([1.0, 2.0]), fb.tensor([1.0, 2.000001]))
        True
    """
    return bool(_all(isclose(input, other, rtol, atol, equal_nan)))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both tensors have the same shape and elements.

    Example:
        >>> import flambeau as fb
        >>> fb.equal(fb.tensor([1, 2]), fb.tensor([1, 2]))
        True
    """
    if not isinstance(other, Tensor):
        raise ArgumentError(f"equal(): argument 'other' must be Tensor, not {type(other).__name__}")
    return input._a.shape == other._a.shape and bool(_all(eq(input, other)))


# ---- logic
@op(shape=broadcast, dtype="compare")
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Whether both elements are not 0."""
    return bitwise_and(ne(input, 0), ne(other, 0))


@op(shape=broadcast, dtype="compare")
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Whether an element of either is not 0."""
    return bitwise_or(ne(input, 0), ne(other, 0))


@op(shape=broadcast, dtype="compare")
def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Whether exactly one of both elements is not 0."""
    return bitwise_xor(ne(input, 0), ne(other, 0))


@op(dtype="boolean")
def logical_not(input: Tensor) -> Tensor:
    """Whether elements are 0."""
    return eq(input, 0)


# ---- powers and steps
def float_power(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """Power in float64, or in complex128 where an operand is complex.

    Example:
        >>> import flambeau as fb
        >>> fb.float_power(fb.tensor([2, 3]), -1)
        tensor([0.5000, 0.3333], dtype=flambeau.float64)
    """
    d = dtypes.complex128 if result_type(input, exponent).is_complex else dtypes.float64
    base, e = (convert(v, v._kind.of(d)) if isinstance(v, Tensor) else v for v in (input, exponent))
    return pow(base, e, out=out)


def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """In-place version of float_power, for float64 and complex128 tensors.

    Raises: DTypeError: another dtype.
    """
    d = dtypes.complex128 if result_type(self, exponent).is_complex else dtypes.float64
    if self._kind.dtype is not d:
        raise DTypeError(
            f"float_power_: the base has dtype {self._kind.dtype.name} but the operation's result requires dtype "
            f"{d.name} ({describe(self)}). Hint: x = x.float_power(exponent)"
        )
    return update("float_power_", self, lambda src: float_power(src, exponent), saves=True)


def ldexp(input: Tensor, other: Any, *, out: Tensor | None = None) -> Tensor:
    """input * 2 ** other."""
    return mul(input, pow(2.0, other), out=out)


def frexp(input: Tensor, *, out: Any = None) -> Any:
    """Mantissa in [0.5, 1) and int32 exponent, with input = mantissa * 2 ** exponent.

    Raises: DTypeError: not a floating-point tensor.

    Example:
        >>> import flambeau as fb
        >>> fb.frexp(fb.tensor([3.0])).exponent
        tensor([2], dtype=flambeau.int32)
    """
    if not input._kind.dtype.is_floating_point:
        raise DTypeError(
            f"frexp: only supports floating-point dtypes, got {describe(input)}. Hint: x.float()"
        )
    size = abs(input.detach())
    flat = bitwise_or(bitwise_not(isfinite(size)), eq(size, 0))
    scale = 2.0 ** (24 if input._kind.dtype.itemsize > 2 else 11)
    tiny = lt(
        size, dtypes.finfo(input._kind.dtype).tiny
    )  # lifted: half powers of them are not representable
    lifted = where(tiny, mul(size, scale), size)
    e = pick(flat, 0.0, add(floor(log2(pick(flat, 1.0, lifted))), 1))
    # log2 may be off by one in either direction next to powers of two
    m = _scaled(lifted, neg(e))
    e = pick(flat, 0.0, add(e, sub(convert(ge(m, 1), e._kind), convert(lt(m, 0.5), e._kind))))
    e = where(bitwise_and(tiny, bitwise_not(flat)), sub(e, math.log2(scale)), e)
    mantissa = where(flat, input, _scaled(input, neg(e)))
    exponent = e.to(dtypes.int32)
    if out is not None:
        mantissa, exponent = add(mantissa, 0, out=out[0]), out[1].copy_(exponent)
    return return_types.frexp(mantissa, exponent)


def _scaled(input: Tensor, e: Tensor) -> Tensor:
    """input * 2**e in three steps, as one factor could leave the range."""
    third = floor(div(e, 3))
    step = exp2(third)
    return mul(mul(mul(input, step), step), exp2(sub(e, mul(third, 2))))


@op(shape=broadcast, dtype="promote")
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, and values at 0; it has no derivative."""
    return where(eq(input, 0), values, convert(gt(input, 0), input._kind))


@op(shape=broadcast, dtype="floating")
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next representable number after input in the direction of other."""
    raise Primitive


nextafter.vjp(
    input=lambda g, input, other: where(ne(input, other), g, 0), other=lambda g: mul(g, 0)
)


def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    return _rsub(input if alpha == 1 else mul(input, alpha), other)


def positive(input: Tensor) -> Tensor:
    """The tensor itself.

    Raises: DTypeError: a bool tensor.
    """
    if input._kind.dtype is dtypes.bool_:
        raise DTypeError(
            "positive: The `+` operator, on a bool tensor is not supported. Hint: x.int()"
        )
    return input


def deg2rad(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Degrees as radians."""
    return mul(input, math.pi / 180, out=out)


def rad2deg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Radians as degrees."""
    return mul(input, 180 / math.pi, out=out)


# ---- integers
def _integers(name: str, *operands: Any) -> None:
    for x in operands:
        if isinstance(x, Tensor) and x._kind.dtype.category != INTEGER:
            raise DTypeError(
                f"{name}: not implemented for {x._kind.dtype.name}, got {describe(x)}. Hint: x.long()"
            )


@op(shape=broadcast, dtype="promote")
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor of integers; not negative, and 0 for two zeros."""
    _integers("gcd", input, other)
    a, b = abs(add(input, mul(other, 0))), abs(add(mul(input, 0), other))
    while bool((b != 0).any()):
        rest = remainder(a, pick(eq(b, 0), 1, b))
        a, b = where(eq(b, 0), a, b), pick(eq(b, 0), 0, rest)
    return a


@op(shape=broadcast, dtype="promote")
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """Least common multiple of integers; not negative, and 0 where an operand is 0."""
    _integers("lcm", input, other)
    divisor = gcd(input, other)
    return abs(mul(_elementwise.trunc_divide(input, pick(eq(divisor, 0), 1, divisor)), other))


def _rlshift(self: Tensor, other: Any) -> Tensor:
    return bitwise_left_shift(other, self)


def _rrshift(self: Tensor, other: Any) -> Tensor:
    return bitwise_right_shift(other, self)


# ---- questions about a tensor
def is_tensor(obj: Any) -> bool:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is floating-point."""
    return input._kind.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input._kind.dtype.is_complex


def is_signed(input: Tensor) -> bool:
    """Whether the dtype holds negative numbers."""
    return input._kind.dtype.is_signed


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0.

    Raises: ShapeError: there is not exactly one element.
    """
    return bool(input)


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.numel()


PUBLIC = Public(
    both="clamp clamp_min clamp_max nan_to_num lerp addcmul addcdiv isposinf isneginf isreal isclose allclose equal "
    "logical_and logical_or logical_xor logical_not float_power ldexp frexp heaviside nextafter rsub positive deg2rad "
    "rad2deg gcd lcm is_nonzero",
    inplace="clamp_min clamp_max nan_to_num lerp addcmul addcdiv logical_and logical_or logical_xor logical_not ldexp "
    "heaviside nextafter deg2rad rad2deg gcd lcm",
    functions="is_tensor is_floating_point is_complex is_signed numel",
    aliases={"clip": "clamp"},
    made_methods={
        "clamp_": clamp_, "clip_": clamp_, "float_power_": float_power_,
        "__rlshift__": _rlshift, "__rrshift__": _rrshift,
    },
)  # fmt: skip
