"""Error, gamma and related functions that PyTorch offers without a prefix."""

from __future__ import annotations

import math
from typing import Any

from flambeau.errors import ArgumentError
from flambeau.ops._op import broadcast, op
from flambeau.ops._public import Public
from flambeau.ops.composite import clamp, pick
from flambeau.ops.elementwise import (
    _times,
    abs,
    add,
    bitwise_and,
    bitwise_or,
    cos,
    div,
    eq,
    erf,
    exp,
    exp2,
    floor,
    gt,
    isinf,
    isnan,
    le,
    log,
    log1p,
    lt,
    maximum,
    mul,
    neg,
    pow,
    rdiv,
    rint,
    rsub,
    sigmoid,
    sign,
    sin,
    sqrt,
    sub,
    tan,
    where,
)
from flambeau.tensor import Tensor


def _horner(x: Tensor, *coefficients: float) -> Tensor:
    """c0 x**n + c1 x**(n-1) + ... + cn."""
    y = mul(x, coefficients[0])
    for c in coefficients[1:-1]:
        y = mul(add(y, c), x)
    return add(y, coefficients[-1])


# ---- logarithms and exponentials of two
@op(shape=broadcast, dtype="inexact")
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)), without overflow."""
    top = maximum(input, other)
    return where(
        eq(input, other), add(top, math.log(2)), add(top, log1p(exp(neg(abs(sub(input, other))))))
    )


logaddexp.vjp(
    input=lambda g, input, other: div(g, add(exp(sub(other, input)), 1)),
    other=lambda g, input, other: div(g, add(exp(sub(input, other)), 1)),
)


@op(shape=broadcast, dtype="inexact")
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2**input + 2**other), without overflow."""
    top = maximum(input, other)
    rest = mul(log1p(exp2(neg(abs(sub(input, other))))), 1 / math.log(2))
    return where(eq(input, other), add(top, 1.0), add(top, rest))


logaddexp2.vjp(
    input=lambda g, input, other: div(g, add(exp2(sub(other, input)), 1)),
    other=lambda g, input, other: div(g, add(exp2(sub(input, other)), 1)),
)


@op(shape=broadcast, dtype="inexact")
def xlogy(input: Tensor, other: Tensor) -> Tensor:
    """input * log(other), and 0 where input is 0 unless other is nan."""
    return pick(isnan(other), math.nan, pick(eq(input, 0), 0.0, mul(input, log(other))))


xlogy.vjp(
    input=lambda g, input, other: where(
        bitwise_and(eq(input, 0), le(other, 0)), 0, xlogy(g, other)
    ),
    other=lambda g, input, other: div(mul(g, input), other),
)


# ---- sinc, logit
@op(dtype="inexact")
def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = mul(pick(eq(input, 0), 1, input), math.pi)
    return pick(eq(input, 0), 1, div(sin(x), x))


def _sinc_back(g: Tensor, input: Tensor) -> Tensor:
    flat = eq(input, 0)
    x = mul(pick(flat, 1, input), math.pi)
    slope = mul(div(sub(mul(x, cos(x)), sin(x)), mul(x, x)), math.pi)
    return pick(flat, 0, _times(g, slope))


sinc.vjp(input=_sinc_back)


@op(dtype="inexact")
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x first clamped to [eps, 1 - eps] if eps is given; nan outside [0, 1].

    Example:
        >>> import flambeau as fb
        >>> fb.logit(fb.tensor([0.5, 1.0]), eps=0.25)
        tensor([0.0000, 1.0986])
    """
    x = input if eps is None else clamp(input, eps, 1 - eps)
    return log(div(x, rsub(x, 1)))


def _logit_back(g: Tensor, input: Tensor, eps: float | None) -> Tensor:
    slope = div(g, mul(input, rsub(input, 1)))
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    outside = bitwise_or(lt(input, low), gt(input, high))
    return where(outside, math.nan if eps is None else 0.0, slope)


logit.vjp(input=_logit_back)
expit = sigmoid


# ---- error functions
@op(dtype="inexact")
def erfc(input: Tensor) -> Tensor:
    """1 - erf(input), to full relative accuracy for large input.

    Numerics: the default has a relative error below 1.2e-7 (and that of exp(-x^2)).
    Reference: the Chebyshev fit of Numerical Recipes (Press et al., 2nd edition, section 6.2).
    """
    a = abs(input)
    t = rdiv(add(mul(a, 0.5), 1), 1)
    series = _horner(
        t, 0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196,
        1.00002368, -1.26551223,
    )  # fmt: skip
    # the square of a in two parts, as its rounding error would be multiplied
    head = div(floor(mul(a, 16)), 16)
    square = mul(exp(neg(mul(head, head))), exp(neg(mul(sub(a, head), add(a, head)))))
    tail = pick(isinf(a), 0.0, mul(t, mul(square, exp(series))))
    return where(lt(a, 0.5), rsub(erf(input), 1), where(lt(input, 0), rsub(tail, 2), tail))


erfc.vjp(input=lambda g, input: mul(g, mul(exp(neg(mul(input, input))), -2 / math.sqrt(math.pi))))


@op(dtype="inexact")
def erfinv(input: Tensor) -> Tensor:
    """The x with erf(x) = input; inf at 1, nan outside [-1, 1].

    Numerics: the default has a relative error below 1e-6 in float32.
    Reference: Giles 2010, "Approximating the erfinv function", single precision.
    """
    w = neg(log(mul(rsub(input, 1), add(input, 1))))
    near = _horner(
        sub(w, 2.5), 2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
        -0.00417768164, 0.246640727, 1.50140941,
    )  # fmt: skip
    far = _horner(
        sub(sqrt(maximum(w, 0)), 3), -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
        -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
    )  # fmt: skip
    x = mul(where(lt(w, 5), near, far), input)
    return where(eq(abs(input), 1), mul(sign(input), math.inf), x)


erfinv.vjp(input=lambda g, y: mul(g, mul(exp(mul(y, y)), math.sqrt(math.pi) / 2)))


# ---- gamma functions
def _log_gamma_stirling(z: Tensor) -> Tensor:
    u = rdiv(mul(z, z), 1)
    series = div(_horner(u, 1 / 1260, -1 / 360, 1 / 12), z)
    return add(add(sub(mul(sub(z, 0.5), log(z)), z), series), 0.5 * math.log(2 * math.pi))


def _sin_pi(a: Tensor) -> Tensor:
    """|sin(pi a)| for a >= 0, reduced before it is multiplied by pi."""
    rest = sub(a, floor(a))
    return sin(mul(where(gt(rest, 0.5), rsub(rest, 1), rest), math.pi))


@op(dtype="inexact")
def lgamma(input: Tensor) -> Tensor:
    """log |gamma(input)|; inf at 0 and the negative integers.

    Numerics: the default has an absolute error of about 1e-6 in float32.
    """
    a = abs(input)
    product, z = add(mul(a, 0), 1), a
    for _ in range(6):
        small = lt(z, 6)
        product, z = where(small, mul(product, z), product), where(small, add(z, 1), z)
    y = sub(_log_gamma_stirling(z), log(product))
    reflected = sub(rsub(add(log(_sin_pi(a)), log(a)), math.log(math.pi)), y)
    pole = bitwise_and(le(input, 0), eq(floor(input), input))
    return where(bitwise_or(pole, isinf(input)), math.inf, where(lt(input, 0), reflected, y))


@op(dtype="inexact")
def digamma(input: Tensor) -> Tensor:
    """Derivative of log gamma; nan at the negative integers, -inf at 0.

    Numerics: the default has an absolute error of about 1e-6 in float32.
    """
    low = lt(input, 0.5)
    z = where(low, rsub(input, 1), input)
    y = mul(z, 0)
    for _ in range(6):
        small = lt(z, 6)
        y, z = where(small, sub(y, rdiv(z, 1)), y), where(small, add(z, 1), z)
    u = rdiv(mul(z, z), 1)
    y = add(y, sub(sub(log(z), rdiv(mul(z, 2), 1)), mul(u, _horner(u, 1 / 252, -1 / 120, 1 / 12))))
    rest = sub(input, rint(input))
    turn = rdiv(tan(mul(rest, math.pi)), math.pi)
    y = where(low, pick(eq(rest, 0), math.nan, sub(y, turn)), y)
    y = pick(eq(input, math.inf), math.inf, y)
    return where(eq(input, 0), neg(div(1, input)), y)


def _trigamma_low(x: Tensor) -> Tensor:
    """Trigamma left of 1/2, by reflection."""
    s = _sin_pi(abs(x))
    return sub(rdiv(mul(s, s), math.pi**2), _hurwitz(2, rsub(x, 1)))


def _hurwitz(s: int, q: Tensor) -> Tensor:
    """The sum of (q + k)**-s over k = 0, 1, 2, ..., by Euler-Maclaurin from 8 on."""
    total, z = mul(q, 0), q
    while bool(lt(z, 8).any()):
        small = lt(z, 8)
        total, z = where(small, add(total, pow(z, -s)), total), where(small, add(z, 1), z)
    tail = add(mul(pow(z, 1 - s), 1 / (s - 1)), mul(pow(z, -s), 0.5))
    factor = float(s)
    for k, c in enumerate((1 / 12, -1 / 720, 1 / 30240, -1 / 1209600)):
        tail = add(tail, mul(pow(z, -s - 1 - 2 * k), c * factor))
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2)
    return pick(isinf(q), 0.0, add(total, tail))


@op(dtype="inexact", kernel="polygamma", node="PolygammaBackward0")
def _polygamma(input: Tensor, order: int) -> Tensor:
    if order == 1:
        low = lt(input, 0.5)
        return where(
            low, _trigamma_low(where(low, input, 0.25)), _hurwitz(2, pick(low, 1.0, input))
        )
    pole = bitwise_and(le(input, 0), eq(floor(input), input))
    y = pick(pole, math.inf, _hurwitz(order + 1, pick(pole, 1.0, input)))
    return mul(y, (-1.0) ** (order + 1) * math.factorial(order))


lgamma.vjp(input=lambda g, input: mul(g, digamma(input)))
digamma.vjp(input=lambda g, input: mul(g, _polygamma(input, 1)))
_polygamma.vjp(input=lambda g, input, order: mul(g, _polygamma(input, order + 1)))


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The n-th derivative of digamma.

    Raises: ArgumentError: n is negative.
    """
    if isinstance(n, Tensor):  # the method: x.polygamma(n)
        n, input = input, n
    if n < 0:
        raise ArgumentError(f"polygamma(n, x) does not support negative n, got {n}")
    return digamma(input, out=out) if n == 0 else _polygamma(input, n, out=out)


def mvlgamma(input: Tensor, p: int, *, out: Tensor | None = None) -> Tensor:
    """Logarithm of the p-dimensional gamma function: p (p - 1) / 4 log(pi) + the sum of lgamma(x - j / 2), j < p.

    Raises: ArgumentError: p < 1.
    """
    if p < 1:
        raise ArgumentError(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    total: Any = p * (p - 1) / 4 * math.log(math.pi)
    for j in range(p):
        total = add(lgamma(sub(input, j / 2)), total)
    return total if out is None else add(total, 0, out=out)


PUBLIC = Public(
    both="logaddexp logaddexp2 xlogy sinc logit erfc erfinv lgamma digamma polygamma mvlgamma",
    inplace="xlogy sinc logit erfc erfinv lgamma digamma polygamma mvlgamma",
)
