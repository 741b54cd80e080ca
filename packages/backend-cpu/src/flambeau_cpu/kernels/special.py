"""Error and gamma functions, which NumPy lacks, by rational approximations and series in whole-array arithmetic.

All but the float32 error function are computed in float64 and rounded once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.elementwise import (
    BLOCK,
    FLOAT32,
    FLOAT64,
    LARGE,
    deliver,
    in_blocks,
    in_float32,
    is_half,
    splits,
)

Array = np.ndarray[Any, Any]

#: Elements up to which the C library's function, called for each, is faster than whole-array arithmetic.
_FEW = 48


def _horner(coefficients: Any, x: Array) -> Array:
    """c0 x**n + c1 x**(n-1) + ... + cn."""
    y = np.multiply(x, coefficients[0], out=...)
    for c in coefficients[1:-1]:
        np.add(y, c, y)
        np.multiply(y, x, y)
    np.add(y, coefficients[-1], y)
    return y


def _float64(fn: Callable[..., Array]) -> Callable[..., Any]:
    """A kernel from a function of a flat float64 array, applied block by block."""

    @functools.wraps(fn)
    def kernel(a: Array, *attrs: Any, out: Any = ...) -> Any:
        if a.dtype.kind == "c":
            raise TypeError("needs real numbers")
        flat = a.reshape(-1)
        y = np.empty(flat.shape, a.dtype)
        for i in range(0, flat.size, BLOCK):
            y[i : i + BLOCK] = fn(flat[i : i + BLOCK].astype(FLOAT64), *attrs)
        return deliver(y.reshape(a.shape), a.dtype, out)

    return kernel


def _pieces(x: Array, *pieces: tuple[Array, Callable[[Array], Array]]) -> Array:
    """Functions applied where their masks hold."""
    y = np.empty_like(x)
    for mask, fn in pieces:
        count = np.count_nonzero(mask)
        if count == x.size:
            return fn(x)
        if count:
            y[mask] = fn(x[mask])
    return y


# ---- erf, erfc
#: -log(erfc(a)) / a - 1 on [0, 4.05], highest power first: a least-squares fit reweighted to equal extremes, with an
#: error in erf of 3.5e-8 relative. The negative of it, as the kernel needs -log(erfc).
_ERF32 = [
    np.array(-c, FLOAT32)
    for c in (
        4.07079296e-05, -3.81000686e-04, 1.25174681e-03, 2.05715731e-04, -1.93217157e-02, 1.02814411e-01,
        6.36616497e-01, 0.12837921,
    )
]  # fmt: skip


def erf(a: Array, out: Any = ...) -> Any:
    """2/sqrt(pi) times the integral of exp(-t^2) from 0 to a; float32 within 2.5 ulp, float64 within 1e-15."""
    d = a.dtype
    if a.size <= _FEW and d.kind == "f":
        return deliver(
            np.array([math.erf(x) for x in a.ravel().tolist()], d).reshape(a.shape), d, out
        )
    if d != FLOAT32:
        return in_float32(erf, (a,), (), out) if is_half(d) else _erf64(a, out=out)
    if a.size > LARGE and splits(out, a):
        return in_blocks(_erf32, (a,), (), out)
    return _erf32(a, out)


def _erf32(a: Array, out: Any = ...) -> Any:
    """erf(a) = -expm1(log(erfc(a))), with the sign of a: no branches and no cancellation."""
    x = np.absolute(a, out=...)
    y = _horner(_ERF32, x)
    np.multiply(y, x, y)
    np.subtract(y, x, y)
    np.expm1(y, y)
    return np.copysign(y, a, out=y if out is ... else out)


# W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969), with the coefficients of
# his program CALERF: erf(x) below 0.46875; erfc(x) exp(x^2) up to 4; its asymptotic form beyond.
_SMALL_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_SMALL_Q = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
_MIDDLE_P = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
    8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
)  # fmt: skip
_MIDDLE_Q = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip
_FAR_P = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4,
)  # fmt: skip
_FAR_Q = (
    1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
    2.33520497626869185e-3,
)  # fmt: skip


def _erf_small(x: Array) -> Array:
    u = x * x
    return x * (_horner(_SMALL_P, u) / _horner(_SMALL_Q, u))


def _gaussian(x: Array) -> Array:
    """exp(-x^2) with x^2 split in two, as its rounding error would be multiplied by x^2."""
    head = np.trunc(x * 16) / 16
    y: Array = np.exp(-head * head) * np.exp(-(x - head) * (x + head))
    return y


def _erfc_middle(x: Array) -> Array:
    return _gaussian(x) * (_horner(_MIDDLE_P, x) / _horner(_MIDDLE_Q, x))


def _erfc_far(x: Array) -> Array:
    x = np.minimum(x, 30.0)  # where it is 0
    u = 1 / (x * x)
    rest = u * (_horner(_FAR_P, u) / _horner(_FAR_Q, u))
    return _gaussian(x) * ((1 / math.sqrt(math.pi) - rest) / x)


@_float64
def _erf64(x: Array) -> Array:
    a = np.abs(x)
    y = _pieces(
        a,
        (a <= 0.46875, _erf_small),
        ((a > 0.46875) & (a <= 4), lambda v: 1 - _erfc_middle(v)),
        ((a > 4) | np.isnan(a), lambda v: 1 - _erfc_far(v)),
    )
    return np.copysign(y, x)


@_float64
def erfc(x: Array) -> Array:
    """1 - erf(x), to full relative accuracy where x is large."""
    a = np.abs(x)
    tail = _pieces(
        a,
        (a <= 0.46875, lambda v: v),
        ((a > 0.46875) & (a <= 4), _erfc_middle),
        ((a > 4) | np.isnan(a), _erfc_far),
    )
    return np.where(
        a <= 0.46875,
        1 - _erf_small(np.minimum(np.maximum(x, -1), 1)),
        np.where(x < 0, 2 - tail, tail),
    )


@_float64
def erfinv(y: Array) -> Array:
    """The x with erf(x) = y; a rational approximation improved by two of Halley's steps."""
    a = np.abs(y)
    x = _pieces(a, (a <= 0.7, _erfinv_center), (~(a <= 0.7), _erfinv_tail))
    for _ in range(2):
        # the residual by erfc where erf(x) is near 1 and would lose it
        residual = np.where(a <= 0.7, np.asarray(_erf64(x)) - a, (1 - a) - np.asarray(erfc(x)))
        step = residual / (2 / math.sqrt(math.pi) * np.exp(-x * x))
        x = x - step / (1 + x * step)
    x = np.where(a < 1, x, np.where(a == 1, np.inf, np.nan))
    return np.copysign(x, y)


def _erfinv_center(a: Array) -> Array:
    u = a * a
    top = _horner((-0.140543331, 0.914624893, -1.645349621, 0.886226899), u)
    return a * top / _horner((0.012229801, -0.329097515, 1.442710462, -2.118377725, 1.0), u)


def _erfinv_tail(a: Array) -> Array:
    z = np.sqrt(-np.log((1 - a) / 2))
    return _horner((1.641345311, 3.429567803, -1.624906493, -1.970840454), z) / _horner(
        (1.637067800, 3.543889200, 1.0), z
    )


# ---- gamma
def _bernoulli_series(coefficients: Any, x: Array) -> Array:
    """c0 / x + c1 / x^3 + c2 / x^5 + ..."""
    u = 1 / (x * x)
    return _horner(coefficients[::-1], u) / x


#: B(2k) / (2k (2k - 1)): Stirling's series of log gamma.
_STIRLING = (
    1 / 12,
    -1 / 360,
    1 / 1260,
    -1 / 1680,
    1 / 1188,
    -691 / 360360,
    1 / 156,
    -3617 / 122400,
)
#: B(2k) / (2k): the series of digamma.
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def _zeta_minus_1(k: int, n: int = 100) -> float:
    """The sum of i**-k over i = 2, 3, ..., by Euler-Maclaurin from n on."""
    rest = float(n) ** -k * (
        n / (k - 1) + 0.5 + k / (12 * n) - k * (k + 1) * (k + 2) / (720 * n**3)
    )
    return math.fsum([float(i) ** -k for i in range(2, n)]) + rest


#: Coefficients of t^2, t^3, ... in the Taylor series of log gamma(2 + t), highest power first.
_LGAMMA_2 = [_zeta_minus_1(k) * (-1) ** k / k for k in range(39, 1, -1)]


def _lgamma_near_2(t: Array) -> Array:
    """log gamma(2 + t) for |t| <= 0.5: (1 - gamma) t + sum of (zeta(k) - 1) (-t)^k / k."""
    return t * ((1 - np.euler_gamma) + t * _horner(_LGAMMA_2, t))


def _lgamma_positive(x: Array) -> Array:
    """log gamma for x > 0: Stirling's series from 8 on, below it the recurrence to the series around 2."""
    return _pieces(
        x,
        (x < 8, _lgamma_low),
        (
            ~(x < 8),
            lambda v: (
                (v - 0.5) * np.log(v)
                - v
                + 0.5 * math.log(2 * math.pi)
                + _bernoulli_series(_STIRLING, v)
            ),
        ),
    )


def _lgamma_low(x: Array) -> Array:
    product = np.ones_like(x)
    while np.count_nonzero(high := x > 2.5):
        x = np.where(high, x - 1, x)
        product = np.where(high, product * x, product)
    y = np.log(product)
    y = np.where(x < 1.5, y - np.log(x), y)
    y = np.where(x < 0.5, y - np.log(x + 1), y)
    return y + _lgamma_near_2(np.where(x < 0.5, x, np.where(x < 1.5, x - 1, x - 2)))


def _sin_pi(x: Array) -> Array:
    """sin(pi x) for x >= 0, with x reduced before it is multiplied by pi."""
    rest = x - np.floor(x)
    return np.sin(np.pi * np.where(rest > 0.5, 1 - rest, rest)) * np.where(
        np.floor(x) % 2 == 1, -1.0, 1.0
    )


@_float64
def lgamma(x: Array) -> Array:
    """log |gamma(x)|; inf at 0 and the negative integers."""
    a = np.abs(x)
    y = _lgamma_positive(np.where(a == 0, 1.0, a))
    reflected = math.log(math.pi) - np.log(np.abs(_sin_pi(a))) - np.log(a) - y
    pole = (x <= 0) & (np.floor(x) == x)
    y = np.where(pole | np.isinf(x), np.inf, np.where(x < 0, reflected, y))
    return np.where(np.isnan(x), np.nan, y)


@_float64
def digamma(x: Array) -> Array:
    """Derivative of log gamma; nan at the negative integers, -inf at 0 and inf at -0."""
    low = x < 0.5
    y, z = np.zeros_like(x), np.where(low, 1 - x, x)
    while np.count_nonzero(small := z < 10):
        y = np.where(small, y - 1 / z, y)
        z = np.where(small, z + 1, z)
    y = y + np.log(z) - 0.5 / z - _bernoulli_series(_DIGAMMA, z) / z
    rest = x - np.rint(x)
    y = np.where(low, y - np.pi / np.tan(np.pi * rest), y)
    y = np.where(low & (rest == 0), np.nan, y)
    y = np.where(np.isinf(x), np.where(x > 0, np.inf, np.nan), y)
    return np.where(x == 0, np.copysign(np.inf, -x), y)


#: B(2k) / (2k)!: the Euler-Maclaurin series of the zeta function.
_EULER_MACLAURIN = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000,
)  # fmt: skip


def _zeta(s: int, q: Array) -> Array:
    """Hurwitz zeta: the sum of (q + k)**-s over k = 0, 1, 2 ..., by Euler-Maclaurin from 12 on; nan below -10,000."""
    total, n = np.zeros_like(q), np.where(q < -1e4, np.nan, q)
    while np.count_nonzero(low := n < 12):
        total = np.where(low, total + n ** -float(s), total)
        n = np.where(low, n + 1, n)
    total = total + n ** (1.0 - s) / (s - 1) + 0.5 * n ** -float(s)
    factor, power = float(s), n ** -(s + 1.0)
    for k, c in enumerate(_EULER_MACLAURIN):
        total = total + c * factor * power
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2)
        power = power / (n * n)
    return np.asarray(np.where(np.isinf(q), 0.0, total))


@_float64
def polygamma(x: Array, n: int) -> Array:
    """The n-th derivative of digamma: (-1)^(n+1) n! zeta(n + 1, x)."""
    if n == 0:
        return np.asarray(digamma(x))
    if n == 1:  # reflection
        y = _zeta(2, np.where(x < 0.5, 1 - x, x))
        return np.asarray(np.where(x < 0.5, (np.pi / _sin_pi(np.abs(x))) ** 2 - y, y))
    pole = (x <= 0) & (np.floor(x) == x)
    y = np.where(pole, np.inf, _zeta(n + 1, x))
    return (-1.0) ** (n + 1) * math.factorial(n) * y


TABLE: dict[str, Callable[..., Any]] = {
    "erf": erf,
    "erfc": erfc,
    "erfinv": erfinv,
    "lgamma": lgamma,
    "digamma": digamma,
    "polygamma": polygamma,
}
