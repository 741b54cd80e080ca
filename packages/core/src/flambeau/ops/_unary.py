# mypy: disable-error-code=has-type
# (a derivative names ops that stand further down the file, which mypy cannot follow inside a lambda)
"""Functions of one operand: rounding, roots, exponentials, trigonometry, and the simplest activations."""

from __future__ import annotations

import math

from flambeau.dtypes import BOOL, FLOATING, float64
from flambeau.ops._op import Primitive, broadcast, op
from flambeau.tensor import Tensor


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


# The families call one another inside functions only, so that importing at the end is not circular.
from flambeau.ops._arithmetic import (  # noqa: E402
    _times,
    add,
    atan2,
    div,
    maximum,
    minimum,
    mul,
    rdiv,
    rpow,
    rsub,
    sub,
)
from flambeau.ops._comparison import (  # noqa: E402
    bitwise_and,
    bitwise_not,
    bitwise_or,
    eq,
    gt,
    isinf,
    isnan,
    le,
    lt,
    ne,
    where,
)
