"""Elementwise operations: the three families under one name, and functions made of them."""

from __future__ import annotations

from typing import Any

from flambeau.errors import ArgumentError
from flambeau.ops._arithmetic import (
    _times as _times,
    add as add,
    atan2 as atan2,
    copysign as copysign,
    div as div,
    floor_divide as floor_divide,
    fmax as fmax,
    fmin as fmin,
    fmod as fmod,
    hypot as hypot,
    maximum as maximum,
    minimum as minimum,
    mul as mul,
    pow as pow,
    rdiv as rdiv,
    remainder as remainder,
    rpow as rpow,
    rremainder as rremainder,
    rsub as rsub,
    sub as sub,
    trunc_divide as trunc_divide,
)
from flambeau.ops._comparison import (
    bitwise_and as bitwise_and,
    bitwise_left_shift as bitwise_left_shift,
    bitwise_not as bitwise_not,
    bitwise_or as bitwise_or,
    bitwise_right_shift as bitwise_right_shift,
    bitwise_xor as bitwise_xor,
    eq as eq,
    ge as ge,
    gt as gt,
    isfinite as isfinite,
    isinf as isinf,
    isnan as isnan,
    le as le,
    lt as lt,
    ne as ne,
    signbit as signbit,
    where as where,
)
from flambeau.ops._op import inplace_of
from flambeau.ops._public import Public
from flambeau.ops._unary import (
    abs as abs,
    acos as acos,
    acosh as acosh,
    asin as asin,
    asinh as asinh,
    atan as atan,
    atanh as atanh,
    ceil as ceil,
    conj_physical as conj_physical,
    cos as cos,
    cosh as cosh,
    erf as erf,
    exp as exp,
    exp2 as exp2,
    expm1 as expm1,
    floor as floor,
    frac as frac,
    log as log,
    log1p as log1p,
    log2 as log2,
    log10 as log10,
    neg as neg,
    reciprocal as reciprocal,
    relu as relu,
    rint as rint,
    rsqrt as rsqrt,
    sgn as sgn,
    sigmoid as sigmoid,
    sign as sign,
    sin as sin,
    sinh as sinh,
    sqrt as sqrt,
    square as square,
    tan as tan,
    tanh as tanh,
    threshold_backward as threshold_backward,
    trunc as trunc,
)
from flambeau.tensor import Tensor


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
