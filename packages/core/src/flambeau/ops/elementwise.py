# mypy: disable-error-code=has-type
# (a derivative names ops that stand further down the file, which mypy cannot follow inside a lambda)
"""Elementwise operations: arithmetic, powers, exponentials, trigonometry, rounding, bits, and ternary selection."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import BOOL, FLOATING, float64
from flambeau.errors import ArgumentError
from flambeau.ops._op import Primitive, broadcast, inplace_of, op
from flambeau.ops._public import Public
from flambeau.tensor import Tensor

Mask = Tensor  # an operand that must be bool


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


# ---- comparison
@op(shape=broadcast, dtype="compare")
def eq(input: Tensor, other: Tensor) -> Tensor:
    """Whether elements are equal."""
    raise Primitive


@op(shape=broadcast, dtype="compare")
def ne(input: Tensor, other: Tensor) -> Tensor:
    """Whether elements differ."""
    return bitwise_not(eq(input, other))


@op(shape=broadcast, dtype="compare")
def lt(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is less."""
    raise Primitive


@op(shape=broadcast, dtype="compare")
def le(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is less or equal."""
    return bitwise_or(lt(input, other), eq(input, other))


@op(shape=broadcast, dtype="compare")
def gt(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is greater."""
    return bitwise_not(bitwise_or(le(input, other), bitwise_or(ne(input, input), ne(other, other))))


@op(shape=broadcast, dtype="compare")
def ge(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is greater or equal."""
    return bitwise_not(bitwise_or(lt(input, other), bitwise_or(ne(input, input), ne(other, other))))


@op(dtype="boolean")
def isnan(input: Tensor) -> Tensor:
    """Whether elements are not a number."""
    return ne(input, input)


@op(dtype="boolean")
def isfinite(input: Tensor) -> Tensor:
    """Whether elements are neither infinite nor nan."""
    return eq(mul(input, 0), 0)


@op(dtype="boolean")
def isinf(input: Tensor) -> Tensor:
    """Whether elements are infinite."""
    return eq(abs(input), math.inf) if input._kind.dtype.category >= FLOATING else ne(input, input)


@op(dtype="boolean")
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set."""
    if input._kind.dtype.category < FLOATING:
        return lt(input, 0)
    return bitwise_or(
        lt(input, 0), lt(rdiv(where(eq(input, 0), input, 1.0), 1.0), 0)
    )  # 1 / -0.0 is -inf


# ---- bits and logic
@op(shape=broadcast, dtype="promote")
def bitwise_and(input: Tensor, other: Tensor) -> Tensor:
    """Bits set in both; logical and for bool."""
    raise Primitive


@op(shape=broadcast, dtype="promote")
def bitwise_or(input: Tensor, other: Tensor) -> Tensor:
    """Bits set in either; logical or for bool."""
    raise Primitive


@op(shape=broadcast, dtype="promote")
def bitwise_xor(input: Tensor, other: Tensor) -> Tensor:
    """Bits set in one of both."""
    raise Primitive


@op()
def bitwise_not(input: Tensor) -> Tensor:
    """All bits flipped; logical not for bool."""
    raise Primitive


@op(shape=broadcast, dtype="promote", kernel="shl")
def bitwise_left_shift(input: Tensor, other: Tensor) -> Tensor:
    """input shifted left by other bits."""
    raise Primitive


@op(shape=broadcast, dtype="promote", kernel="shr")
def bitwise_right_shift(input: Tensor, other: Tensor) -> Tensor:
    """input shifted right by other bits, keeping the sign."""
    raise Primitive


# ---- one operand
@op()
def neg(input: Tensor) -> Tensor:
    """The negative."""
    raise Primitive


neg.vjp(input=lambda g: neg(g))


@op(dtype="real")
def abs(input: Tensor) -> Tensor:
    """The magnitude."""
    size = where(lt(input, 0), neg(input), input)
    return add(size, 0) if input._kind.dtype.category >= FLOATING else size  # -0.0 + 0 is 0.0


abs.vjp(input=lambda g, input: mul(g, sgn(input)))


@op()
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; nan stays nan."""
    if input._kind.dtype.category == BOOL:
        return bitwise_or(input, input)
    return sub(gt(input, 0).to(input.dtype), lt(input, 0).to(input.dtype))


sign.vjp(input=lambda g: mul(g, 0))


@op()
def sgn(input: Tensor) -> Tensor:
    """sign for real numbers, input / |input| for complex ones."""
    return sign(input)


def _sgn_input(g: Tensor, input: Tensor, y: Tensor) -> Tensor:
    if not input.is_complex():
        return mul(g, 0)
    size = abs(input)
    along = mul(y, mul(g, conj_physical(y)).real)
    return where(eq(size, 0), 0.0, div(sub(g, along), size))


sgn.vjp(input=_sgn_input)


@op()
def floor(input: Tensor) -> Tensor:
    """The largest integer not above."""
    raise Primitive


@op()
def ceil(input: Tensor) -> Tensor:
    """The smallest integer not below."""
    return neg(floor(neg(input)))


@op()
def trunc(input: Tensor) -> Tensor:
    """The integer part."""
    return where(lt(input, 0), ceil(input), floor(input))


@op()
def rint(input: Tensor) -> Tensor:
    """The nearest integer, ties to even."""
    low = floor(input)
    rest = sub(input, low)
    odd = ne(mul(floor(mul(low, 0.5)), 2), low)
    up = bitwise_or(gt(rest, 0.5), bitwise_and(eq(rest, 0.5), odd))
    return where(up, add(low, 1), low)


for _flat in (floor, ceil, trunc, rint):
    _flat.vjp(input=lambda g: mul(g, 0))


@op(dtype="floating")
def frac(input: Tensor) -> Tensor:
    """The part after the point, with the sign of input."""
    return sub(input, trunc(input))


frac.vjp(input=lambda g: g)


@op(dtype="inexact")
def sqrt(input: Tensor) -> Tensor:
    """The square root; nan for negative numbers."""
    raise Primitive


sqrt.vjp(input=lambda g, y: div(g, mul(conj_physical(y) if y.is_complex() else y, 2)))


@op(dtype="inexact")
def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(input)."""
    return rdiv(sqrt(input), 1)


rsqrt.vjp(input=lambda g, y: _times(g, mul(mul(mul(y, y), y), -0.5)))


@op(dtype="inexact")
def reciprocal(input: Tensor) -> Tensor:
    """1 / input."""
    return rdiv(input, 1)


reciprocal.vjp(input=lambda g, y: neg(_times(g, mul(y, y))))


@op()
def square(input: Tensor) -> Tensor:
    """input * input."""
    return mul(input, input)


square.vjp(input=lambda g, input: _times(g, mul(input, 2)))


@op(dtype="inexact")
def exp(input: Tensor) -> Tensor:
    """e to the power of input."""
    raise Primitive


exp.vjp(input=lambda g, y: _times(g, y))


@op(dtype="inexact")
def exp2(input: Tensor) -> Tensor:
    """2 to the power of input."""
    return rpow(input, 2.0)


exp2.vjp(input=lambda g, y: _times(g, mul(y, math.log(2))))


@op(dtype="inexact")
def expm1(input: Tensor) -> Tensor:
    """exp(input) - 1, accurate near 0."""
    # Kahan: (u - 1) x / log u undoes the rounding of u = exp(x).
    u = exp(input)
    small = sub(u, 1)
    corrected = mul(small, div(input, log(u)))
    return where(eq(small, 0), input, where(bitwise_or(eq(small, -1), isinf(u)), small, corrected))


expm1.vjp(input=lambda g, y: _times(g, add(y, 1)))


@op(dtype="inexact")
def log(input: Tensor) -> Tensor:
    """Natural logarithm; nan below 0, -inf at 0."""
    raise Primitive


log.vjp(input=lambda g, input: div(g, conj_physical(input) if input.is_complex() else input))


@op(dtype="inexact")
def log2(input: Tensor) -> Tensor:
    """Logarithm to base 2."""
    return mul(log(input), 1 / math.log(2))


log2.vjp(
    input=lambda g, input: div(
        g, mul(conj_physical(input) if input.is_complex() else input, math.log(2))
    )
)


@op(dtype="inexact")
def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return mul(log(input), 1 / math.log(10))


log10.vjp(
    input=lambda g, input: div(
        g, mul(conj_physical(input) if input.is_complex() else input, math.log(10))
    )
)


@op(dtype="inexact")
def log1p(input: Tensor) -> Tensor:
    """log(1 + input), accurate near 0."""
    u = add(input, 1)
    corrected = mul(log(u), div(input, sub(u, 1)))
    return where(eq(u, 1), input, where(isinf(u), log(u), corrected))


log1p.vjp(
    input=lambda g, input: div(g, add(conj_physical(input) if input.is_complex() else input, 1))
)


@op(dtype="inexact")
def sin(input: Tensor) -> Tensor:
    """Sine of an angle in radians."""
    raise Primitive


sin.vjp(input=lambda g, input: _times(g, cos(input)))


@op(dtype="inexact")
def cos(input: Tensor) -> Tensor:
    """Cosine of an angle in radians."""
    raise Primitive


cos.vjp(input=lambda g, input: neg(_times(g, sin(input))))


@op(dtype="inexact")
def tan(input: Tensor) -> Tensor:
    """Tangent of an angle in radians."""
    return div(sin(input), cos(input))


tan.vjp(input=lambda g, y: _times(g, add(mul(y, y), 1)))


@op(dtype="inexact")
def asin(input: Tensor) -> Tensor:
    """Angle in radians whose sine is input."""
    return atan2(input, sqrt(mul(rsub(input, 1), add(input, 1))))


asin.vjp(input=lambda g, input: _times(g, rsqrt(rsub(mul(input, input), 1))))


@op(dtype="inexact")
def acos(input: Tensor) -> Tensor:
    """Angle in radians whose cosine is input."""
    return atan2(sqrt(mul(rsub(input, 1), add(input, 1))), input)


acos.vjp(input=lambda g, input: neg(_times(g, rsqrt(rsub(mul(input, input), 1)))))


@op(dtype="inexact")
def atan(input: Tensor) -> Tensor:
    """Angle in radians whose tangent is input."""
    return atan2(input, 1.0)


atan.vjp(input=lambda g, input: _times(g, reciprocal(add(mul(input, input), 1))))


def _half_exp(a: Tensor) -> Tensor:
    """exp(a) / 2 for large a, which overflows later than exp(a)."""
    root = exp(mul(a, 0.5))
    return mul(mul(root, 0.5), root)


@op(dtype="inexact")
def sinh(input: Tensor) -> Tensor:
    """Hyperbolic sine."""
    a = abs(input)
    e = expm1(a)
    near = mul(add(e, div(e, add(e, 1))), 0.5)
    return mul(sign(input), where(gt(a, 20), _half_exp(a), where(isnan(a), a, near)))


sinh.vjp(input=lambda g, input: _times(g, cosh(input)))


@op(dtype="inexact")
def cosh(input: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    a = abs(input)
    return where(gt(a, 20), _half_exp(a), mul(add(exp(a), exp(neg(a))), 0.5))


cosh.vjp(input=lambda g, input: _times(g, sinh(input)))


@op(dtype="inexact")
def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    t = expm1(mul(abs(input), -2.0))
    return mul(sign(input), neg(div(t, add(t, 2))))


tanh.vjp(input=lambda g, y: _times(g, rsub(mul(y, y), 1)))


@op(dtype="inexact")
def asinh(input: Tensor) -> Tensor:
    """Inverse hyperbolic sine."""
    a = abs(input)
    r = rdiv(a, 1)  # squares of large numbers overflow
    return mul(sign(input), log1p(add(a, div(a, add(sqrt(add(mul(r, r), 1)), r)))))


asinh.vjp(input=lambda g, input: _times(g, rsqrt(add(mul(input, input), 1))))


@op(dtype="inexact")
def acosh(input: Tensor) -> Tensor:
    """Inverse hyperbolic cosine; nan below 1."""
    return log(add(input, mul(sqrt(sub(input, 1)), sqrt(add(input, 1)))))


acosh.vjp(
    input=lambda g, input: _times(g, reciprocal(mul(sqrt(sub(input, 1)), sqrt(add(input, 1)))))
)


@op(dtype="inexact")
def atanh(input: Tensor) -> Tensor:
    """Inverse hyperbolic tangent; nan outside [-1, 1]."""
    return mul(sub(log1p(input), log1p(neg(input))), 0.5)


atanh.vjp(input=lambda g, input: _times(g, reciprocal(rsub(mul(input, input), 1))))


#: exp(z^2) * erfc(z) for 0.5 <= z <= 6 as a polynomial in (t - 0.525) / 0.275, t = 2 / (2 + z): the interpolant at 18
#: Chebyshev nodes, computed with 50 digits.
_ERFC_SCALED = (
    0.27736900762083944, 0.24857010886981212, 0.07669952688522333, 0.013234851812971184, 0.00017899240474147853,
    -0.00036235876006448267, -1.39010310703438e-05, 1.4983397378462156e-05, -2.6196651215586053e-07,
    -7.239385201902468e-07, 1.0224905283348485e-07, 2.6598926218998246e-08, -1.081340119590608e-08,
    3.7476486135706884e-10, 6.636087384177822e-10, -1.7177446620741577e-10, -1.5749986416924072e-11,
    1.270006584131873e-11,
)  # fmt: skip
_ERF_TAYLOR = tuple((-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(12))


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """The polynomial with these coefficients, the constant one first, by Horner's rule."""
    y = add(mul(x, coefficients[-1]), coefficients[-2])
    for c in coefficients[-3::-1]:
        y = add(mul(y, x), c)
    return y


def _erf_double(input: Tensor) -> Tensor:
    """erf within 4 units in the last place of float64: a Taylor series below 0.5, above it 1 - erfc."""
    a = abs(input)
    near = mul(mul(a, _polynomial(mul(a, a), _ERF_TAYLOR)), 2 / math.sqrt(math.pi))
    z = minimum(maximum(a, 0.5), 6.0)  # erfc(6) is below half a unit in the last place of 1
    t = rdiv(add(z, 2), 2)
    far = rsub(
        mul(_polynomial(mul(sub(t, 0.525), 1 / 0.275), _ERFC_SCALED), exp(neg(mul(z, z)))), 1
    )
    return mul(sign(input), where(lt(a, 0.5), near, far))


@op(dtype="inexact")
def erf(input: Tensor) -> Tensor:
    """Error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to input.

    Numerics: the default is accurate to 2e-7 absolute in float32, to 1e-15 relative in float64 (see `_erf_double`).
    Reference: Abramowitz and Stegun, eq. 7.1.26 extended by the Taylor series below 0.5, where 7.1.26 loses relative
    accuracy.
    """
    if input._kind.dtype is float64:
        return _erf_double(input)
    a = abs(input)
    t = rdiv(add(mul(a, 0.3275911), 1), 1)
    poly = mul(
        add(
            mul(
                add(
                    mul(add(mul(add(mul(t, 1.061405429), -1.453152027), t), 1.421413741), t),
                    -0.284496736,
                ),
                t,
            ),
            0.254829592,
        ),
        t,
    )
    far = rsub(mul(poly, exp(neg(mul(a, a)))), 1)
    u = mul(a, a)
    series = add(
        mul(
            add(
                mul(add(mul(add(mul(add(mul(u, -1 / 1320), 1 / 216), u), -1 / 42), u), 1 / 10), u),
                -1 / 3,
            ),
            u,
        ),
        1,
    )
    near = mul(mul(a, series), 2 / math.sqrt(math.pi))
    return mul(sign(input), where(lt(a, 0.5), near, far))


erf.vjp(input=lambda g, input: mul(g, mul(exp(neg(mul(input, input))), 2 / math.sqrt(math.pi))))


@op()
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate; real numbers unchanged."""
    return input.clone()


conj_physical.vjp(input=lambda g: conj_physical(g))


# ---- activations that are one kernel
@op()
def relu(input: Tensor) -> Tensor:
    """max(input, 0)."""
    return maximum(input, 0)


relu.vjp(input=lambda g, y: threshold_backward(g, y))


@op(shape=broadcast, dtype="promote")
def threshold_backward(grad: Tensor, input: Tensor) -> Tensor:
    """grad where input is above 0, else 0: the derivative of relu."""
    return where(bitwise_not(le(input, 0)), grad, 0)


threshold_backward.vjp(grad=lambda g, input: threshold_backward(g, input))


@op(dtype="inexact")
def sigmoid(input: Tensor) -> Tensor:
    """Logistic function 1 / (1 + exp(-input))."""
    return rdiv(add(exp(neg(input)), 1), 1)  # by tanh it would lose the small values


sigmoid.vjp(input=lambda g, y: _times(g, mul(y, rsub(y, 1))))


# ---- three operands
@op(shape=broadcast, dtype="promote")
def where(condition: Mask, input: Tensor, other: Tensor) -> Tensor:
    """input where condition is true, else other.

    Example:
        >>> import flambeau as fb
        >>> fb.where(fb.tensor([True, False]), fb.tensor([1.0, 2.0]), 0.0)
        tensor([1., 0.])
    """
    raise Primitive


where.vjp(
    input=lambda g, condition: where(condition, g, 0),
    other=lambda g, condition: where(
        bitwise_not(condition), g, 0
    ),  # a number first would take the long way
)


def round(input: Tensor, decimals: int = 0) -> Tensor:
    """Rounded to a number of decimals, ties to even."""
    if decimals == 0 or input._kind.inexact is None:
        return rint(input)
    scale = 10.0**decimals
    return div(rint(mul(input, scale)), scale)


def true_divide(
    input: Tensor, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """Quotient; rounding_mode "trunc" or "floor" rounds it.

    Raises: ArgumentError: another rounding mode.
    """
    if rounding_mode is None:
        return div(input, other, out=out)
    if rounding_mode == "floor":
        return floor_divide(input, other, out=out)
    if rounding_mode == "trunc":
        return trunc_divide(input, other, out=out)
    raise ArgumentError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
    )


def _with_alpha(fn: Any) -> Any:
    """add and sub with PyTorch's `alpha`, a factor on other, as functions and as in-place methods."""

    def scaled(input: Tensor, other: Any, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
        return fn(input, other if alpha == 1 else mul(other, alpha), out=out)  # type: ignore[no-any-return]

    change = inplace_of(fn)

    def scaled_(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return change(self, other if alpha == 1 else mul(other, alpha))  # type: ignore[no-any-return]

    for made, name in ((scaled, fn.__name__), (scaled_, fn.__name__ + "_")):
        made.__name__ = made.__qualname__ = name
        made.__doc__ = fn.__doc__
    return scaled, scaled_


_add, _add_ = _with_alpha(add)
_sub, _sub_ = _with_alpha(sub)


def true_divide_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """In-place quotient."""
    from flambeau.autograd.inplace import update

    if rounding_mode is None:
        return _div_(self, other)  # type: ignore[no-any-return]
    return update(
        "div_", self, lambda src: true_divide(src, other, rounding_mode=rounding_mode), saves=True
    )


_div_ = inplace_of(div)

PUBLIC = Public(
    both="rsub mul floor_divide remainder fmod pow atan2 maximum minimum fmax fmin hypot copysign "
    "eq ne lt le gt ge isnan isinf isfinite signbit bitwise_and bitwise_or bitwise_xor bitwise_not "
    "bitwise_left_shift bitwise_right_shift neg abs sign sgn floor ceil trunc frac round sqrt rsqrt reciprocal square "
    "exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf conj_physical "
    "relu sigmoid",
    inplace="mul floor_divide remainder fmod pow atan2 hypot copysign eq ne lt le gt ge bitwise_and "
    "bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift neg abs sign sgn "
    "floor ceil trunc frac round sqrt rsqrt "
    "reciprocal square exp exp2 expm1 log log2 log10 log1p sin cos tan "
    "asin acos atan sinh cosh tanh asinh acosh atanh erf "
    "conj_physical relu sigmoid",
    functions="where",
    aliases={
        "multiply": "mul", "arctan2": "atan2", "not_equal": "ne",
        "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "negative": "neg", "absolute": "abs",
        "fix": "trunc", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh",
        "arctanh": "atanh",
    },
    made_both={
        "add": _add, "sub": _sub, "subtract": _sub,
        "div": true_divide, "divide": true_divide, "true_divide": true_divide,
    },
    made_methods={
        "add_": _add_, "sub_": _sub_, "subtract_": _sub_, "div_": true_divide_, "divide_": true_divide_,
        "true_divide_": true_divide_,
    },
)  # fmt: skip
