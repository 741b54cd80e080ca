# mypy: disable-error-code=has-type
# (a derivative names ops that stand further down the file, which mypy cannot follow inside a lambda)
"""Sums, products, quotients, powers, extremes of two operands."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import FLOATING
from flambeau.ops._op import Primitive, broadcast, op
from flambeau.tensor import Tensor


# ---- arithmetic
@op(shape=broadcast, dtype="promote")
def add(input: Tensor, other: Tensor) -> Tensor:
    """Sum, element by element; bool counts as or.

    Example:
        >>> import flambeau as fb
        >>> fb.add(fb.tensor([1, 2]), 10)
        tensor([11, 12])
    """
    raise Primitive


add.vjp(input=lambda g: g, other=lambda g: g)


@op(shape=broadcast, dtype="promote")
def sub(input: Tensor, other: Tensor) -> Tensor:
    """Difference, element by element."""
    raise Primitive


sub.vjp(input=lambda g: g, other=lambda g: neg(g))


@op(shape=broadcast, dtype="promote", kernel="sub", swap=True)
def rsub(input: Tensor, other: Tensor) -> Tensor:
    """other - input, element by element."""
    raise Primitive


rsub.vjp(input=lambda g: neg(g), other=lambda g: g)


def _conj(x: Any) -> Any:
    """The conjugate of a tensor or of a Python number."""
    return conj_physical(x) if isinstance(x, Tensor) else x.conjugate()


def _times(g: Tensor, x: Any) -> Tensor:
    """g * conj(x)."""
    return mul(g, _conj(x)) if g._kind.dtype.is_complex else mul(g, x)


@op(shape=broadcast, dtype="promote")
def mul(input: Tensor, other: Tensor) -> Tensor:
    """Product, element by element; bool counts as and."""
    raise Primitive


def _mul_input(g: Tensor, other: Any) -> Tensor:
    return _times(g, other) if g._kind.dtype.is_complex else mul(g, other)


def _mul_other(g: Tensor, input: Any) -> Tensor:
    return _times(g, input) if g._kind.dtype.is_complex else mul(g, input)


mul.vjp(input=_mul_input, other=_mul_other)


@op(shape=broadcast, dtype="inexact")
def div(input: Tensor, other: Tensor) -> Tensor:
    """Quotient, element by element; integers are divided as floats."""
    raise Primitive


def _div_other(g: Tensor, input: Any, other: Any) -> Tensor:
    if g._kind.dtype.is_complex:
        other = conj_physical(other)
        return neg(mul(div(g, other), div(_conj(input), other)))
    return neg(mul(div(g, other), div(input, other)))


div.vjp(
    input=lambda g, other: div(g, _conj(other) if g._kind.dtype.is_complex else other),
    other=_div_other,
)


@op(shape=broadcast, dtype="inexact", kernel="div", swap=True)
def rdiv(input: Tensor, other: Tensor) -> Tensor:
    """other / input, element by element."""
    raise Primitive


rdiv.vjp(
    input=lambda g, input, other: _div_other(g, other, input),
    other=lambda g, input: div(g, input),
)


@op(shape=broadcast, dtype="promote")
def floor_divide(input: Tensor, other: Tensor) -> Tensor:
    """Quotient rounded towards minus infinity."""
    if input._kind.dtype.category >= FLOATING:
        rest = fmod(
            input, other
        )  # floor(input / other) would be off by one where the quotient rounds up to a whole number
        whole = div(sub(input, rest), other)
        wrong = bitwise_and(ne(rest, 0), ne(lt(rest, 0), lt(other, 0)))
        whole = rint(where(wrong, sub(whole, 1), whole))
        return where(eq(other, 0), div(input, other), whole)
    quotient = trunc_divide(input, other)
    wrong = bitwise_and(ne(mul(quotient, other), input), ne(lt(input, 0), lt(other, 0)))
    return where(wrong, sub(quotient, 1), quotient)


def _nothing(g: Tensor) -> Tensor:
    return mul(g, 0)


floor_divide.vjp(input=lambda g: _nothing(g), other=lambda g: _nothing(g))


@op(shape=broadcast, dtype="promote")
def trunc_divide(input: Tensor, other: Tensor) -> Tensor:
    """Quotient rounded towards zero."""
    if input._kind.dtype.category >= FLOATING:
        return trunc(div(input, other))
    return _integer_divide(input, other)


trunc_divide.vjp(input=lambda g: _nothing(g), other=lambda g: _nothing(g))


@op(shape=broadcast, dtype="promote", kernel="div")
def _integer_divide(input: Tensor, other: Tensor) -> Tensor:
    raise Primitive


@op(shape=broadcast, dtype="promote")
def remainder(input: Tensor, other: Tensor) -> Tensor:
    """Remainder of division, with the sign of other (Python's %)."""
    rest = fmod(input, other)
    wrong = bitwise_and(ne(rest, 0), ne(lt(rest, 0), lt(other, 0)))
    return where(wrong, add(rest, other), rest)


remainder.vjp(
    input=lambda g: g, other=lambda g, input, other: neg(mul(g, floor_divide(input, other)))
)


@op(shape=broadcast, dtype="promote", kernel="remainder", swap=True)
def rremainder(input: Tensor, other: Tensor) -> Tensor:
    """Remainder of other / input."""
    return remainder(other, input)


@op(shape=broadcast, dtype="promote")
def fmod(input: Tensor, other: Tensor) -> Tensor:
    """Remainder of division, with the sign of input (C's fmod)."""
    raise Primitive


fmod.vjp(input=lambda g: g, other=lambda g, input, other: neg(mul(g, trunc(div(input, other)))))


@op(shape=broadcast, dtype="promote")
def pow(input: Tensor, exponent: Tensor) -> Tensor:
    """Power, element by element.

    Raises: DTypeError: integers to a negative integer power.
    """
    raise Primitive


def _pow_input(g: Tensor, input: Any, exponent: Any) -> Tensor:
    if not isinstance(exponent, Tensor):
        if exponent == 2:
            return _times(g, mul(input, 2))
        if exponent == 0:
            return mul(g, 0)
        return _times(g, mul(pow(input, exponent - 1), exponent))
    slope = mul(exponent, pow(input, sub(exponent, 1)))
    return _times(g, where(eq(exponent, 0), 0.0, slope))


def _pow_exponent(g: Tensor, input: Any, y: Tensor, exponent: Any) -> Tensor:
    if not isinstance(input, Tensor):
        return (
            mul(g, 0)
            if input == 0
            else _times(g, mul(y, math.log(input) if input > 0 else math.nan))
        )
    # 0 ** e is 0 for e > 0 whatever e does, and log 0 would spoil it
    flat = bitwise_and(eq(input, 0), ge(exponent, 0)) if not input.is_complex() else eq(input, 0)
    return _times(g, where(flat, 0.0, mul(y, log(input))))


pow.vjp(input=_pow_input, exponent=_pow_exponent)


@op(shape=broadcast, dtype="promote", kernel="pow", swap=True)
def rpow(input: Tensor, other: Tensor) -> Tensor:
    """other ** input, element by element."""
    raise Primitive


rpow.vjp(
    input=lambda g, input, other, y: _pow_exponent(g, other, y, input),
    other=lambda g, input, other: _pow_input(g, other, input),
)


@op(shape=broadcast, dtype="inexact")
def atan2(input: Tensor, other: Tensor) -> Tensor:
    """Angle of the point (other, input), in radians, in [-pi, pi]."""
    # Three half-angle steps bring the ratio under 0.2, where the series converges fast.
    big = maximum(abs(input), abs(other))
    small = minimum(abs(input), abs(other))
    t = where(eq(big, 0), 0.0, where(eq(big, small), 1.0, div(small, big)))  # inf / inf is nan
    for _ in range(3):
        t = div(t, add(1, sqrt(add(1, mul(t, t)))))
    u = mul(t, t)
    series = Tensor.__mul__(t, 1)
    power = t
    for k in range(1, 8):
        power = mul(power, neg(u))
        series = add(series, div(power, 2 * k + 1))
    angle = mul(series, 8.0)
    angle = where(gt(abs(input), abs(other)), rsub(angle, math.pi / 2), angle)
    angle = where(signbit(other), rsub(angle, math.pi), angle)
    return where(signbit(input), neg(angle), angle)


atan2.vjp(
    input=lambda g, input, other: mul(g, div(other, add(mul(input, input), mul(other, other)))),
    other=lambda g, input, other: mul(
        g, neg(div(input, add(mul(input, input), mul(other, other))))
    ),
)


def _share(g: Tensor, wins: Tensor, ties: Tensor) -> Tensor:
    """g where this side won, half of it on ties."""
    return where(ties, mul(g, 0.5), where(wins, g, 0.0))


@op(shape=broadcast, dtype="promote")
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger element; nan wins. On ties each side gets half of the gradient."""
    raise Primitive


maximum.vjp(
    input=lambda g, input, other: _share(g, gt(input, other), eq(input, other)),
    other=lambda g, input, other: _share(g, lt(input, other), eq(input, other)),
)


@op(shape=broadcast, dtype="promote")
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller element; nan wins. On ties each side gets half of the gradient."""
    if input._kind.dtype.category >= FLOATING:
        return neg(maximum(neg(input), neg(other)))
    return bitwise_not(maximum(bitwise_not(input), bitwise_not(other)))


minimum.vjp(
    input=lambda g, input, other: _share(g, lt(input, other), eq(input, other)),
    other=lambda g, input, other: _share(g, gt(input, other), eq(input, other)),
)


@op(shape=broadcast, dtype="promote")
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger element; a number wins over nan."""
    return where(bitwise_or(ge(input, other), ne(other, other)), input, other)


fmax.vjp(
    input=lambda g, input, other: where(bitwise_or(ge(input, other), ne(other, other)), g, 0.0),
    other=lambda g, input, other: where(bitwise_or(ge(input, other), ne(other, other)), 0.0, g),
)


@op(shape=broadcast, dtype="promote")
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller element; a number wins over nan."""
    return where(bitwise_or(le(input, other), ne(other, other)), input, other)


fmin.vjp(
    input=lambda g, input, other: where(bitwise_or(le(input, other), ne(other, other)), g, 0.0),
    other=lambda g, input, other: where(bitwise_or(le(input, other), ne(other, other)), 0.0, g),
)


@op(shape=broadcast, dtype="inexact")
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """Length of the vector (input, other)."""
    a, b = abs(input), abs(other)
    big = maximum(a, b)
    ratio = where(eq(big, 0), 0.0, div(minimum(a, b), big))  # squares of large numbers overflow
    length = mul(big, sqrt(add(mul(ratio, ratio), 1)))
    return where(bitwise_or(isinf(a), isinf(b)), math.inf, length)


hypot.vjp(
    input=lambda g, input, y: mul(g, div(input, y)),
    other=lambda g, other, y: mul(g, div(other, y)),
)


@op(shape=broadcast, dtype="inexact")
def copysign(input: Tensor, other: Tensor) -> Tensor:
    """Magnitude of input with the sign of other."""
    return where(signbit(other), neg(abs(input)), abs(input))


copysign.vjp(input=lambda g, input, y: mul(g, mul(sign(input), sign(y))), other=lambda g: mul(g, 0))


# The families call one another inside functions only, so that importing at the end is not circular.
from flambeau.ops._comparison import (  # noqa: E402
    bitwise_and,
    bitwise_not,
    bitwise_or,
    eq,
    ge,
    gt,
    isinf,
    le,
    lt,
    ne,
    signbit,
    where,
)
from flambeau.ops._unary import abs, conj_physical, log, neg, rint, sign, sqrt, trunc  # noqa: E402
