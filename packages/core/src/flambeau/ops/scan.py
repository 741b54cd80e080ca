"""Running sums, products and extremes; differences and trapezoids."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes, return_types
from flambeau.errors import ShapeError, UnsupportedOpError
from flambeau.ops import join, movement
from flambeau.ops._op import op
from flambeau.ops._pick import picker, results
from flambeau.ops._public import Public
from flambeau.ops._recover import write_out
from flambeau.ops.casting import convert
from flambeau.ops.elementwise import (
    abs as magnitude,
    add,
    bitwise_or,
    conj_physical,
    div,
    eq,
    exp,
    ge,
    gt,
    log,
    log1p,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    sub,
    where,
)
from flambeau.ops.extremes import positions
from flambeau.ops.movement import _slice, _slice_backward, _view
from flambeau.ops.reduce import one_dim, reduce_any, reduction, sum
from flambeau.tensor import Tensor, describe

_COMBINE: dict[str, Any] = {"sum": add, "prod": mul, "max": maximum, "min": minimum}


# ---- scans
def _part(dim: int, start: int, stop: int) -> tuple[slice, ...]:
    return (slice(None),) * dim + (slice(start, stop),)


def shifted(x: Tensor, dim: int, step: int) -> Tensor:
    """x moved by step places along dim, zeros where nothing moved in."""
    n = x._a.shape[dim]
    if abs(step) >= n:
        return mul(x, 0)
    if step > 0:
        return _slice_backward(_slice(x, _part(dim, 0, n - step)), _part(dim, step, n), x._a.shape)
    return _slice_backward(_slice(x, _part(dim, -step, n)), _part(dim, 0, n + step), x._a.shape)


def _passes(x: Tensor, dim: int, combine: Any, reverse: bool) -> Tensor:
    """An inclusive scan in log2(n) passes: after pass k an element holds its 2^k nearest predecessors."""
    n, at, step = x._a.shape[dim], positions(x, dim), 1
    while step < n:
        whole = ge(at, n - step) if reverse else lt(at, step)
        x = where(whole, x, combine(x, shifted(x, dim, -step if reverse else step)))
        step *= 2
    return x


def _scan(input: Tensor, dim: int, how: str, reverse: bool) -> Tensor:
    return _passes(input, dim, _COMBINE[how], reverse)


@op(whole=True, kernel="scan")
def scan(input: Tensor, dim: int, how: str, reverse: bool) -> Tensor:
    """Running "sum", "prod", "max" or "min" along dim, from the end if reverse."""
    return _scan(input, dim, how, reverse)


@op(whole=True, kernel="scan", node="CumsumBackward0")
def _cumsum(input: Tensor, dim: int, how: str, reverse: bool) -> Tensor:
    """Running sum along dim."""
    return _scan(input, dim, how, reverse)


@op(whole=True, kernel="scan", node="CumprodBackward0")
def _cumprod(input: Tensor, dim: int, how: str, reverse: bool) -> Tensor:
    """Running product along dim."""
    return _scan(input, dim, how, reverse)


_cumsum.vjp(input=lambda g, dim, reverse: _cumsum(g, dim, "sum", not reverse))


def _before(x: Tensor, dim: int, reverse: bool) -> Tensor:
    """The product of the elements before each one; 1 for the first."""
    n, at = x._a.shape[dim], positions(x, dim)
    first = eq(at, n - 1 if reverse else 0)
    x = where(first, 1.0, shifted(x, dim, -1 if reverse else 1))
    return _cumprod(x, dim, "prod", reverse)


def product_of_others(x: Tensor, dim: int) -> Tensor:
    """The product of all elements along dim but each one itself, without dividing."""
    return mul(_before(x, dim, False), _before(x, dim, True))


def _recurrence(g: Tensor, x: Tensor, dim: int, reverse: bool) -> Tensor:
    """s with s[k] = g[k] + x[k+1] s[k+1], in log2(n) passes over pairs (factor, term)."""
    step = 1 if reverse else -1
    factor = shifted(x, dim, step)
    while abs(step) < x._a.shape[dim]:
        g = add(g, mul(factor, shifted(g, dim, step)))
        factor = mul(factor, shifted(factor, dim, step))
        step *= 2
    return g


def _cumprod_back(g: Tensor, input: Tensor, y: Tensor, dim: int, reverse: bool) -> Tensor:
    if input._kind.dtype.is_complex:
        input, y = conj_physical(input), conj_physical(y)
    if not bool(reduce_any(eq(input, 0), None, False)):
        return div(_cumsum(mul(g, y), dim, "sum", not reverse), input)
    return mul(_before(input, dim, reverse), _recurrence(g, input, dim, reverse))


_cumprod.vjp(input=_cumprod_back)


def _along(fn: Any, input: Tensor, dim: int, *rest: Any) -> Any:
    """fn along dim; a 0-d tensor counts as one of one element."""
    if input._a.shape:
        return fn(input, dim, *rest)
    return _view(fn(_view(input, (1,)), 0, *rest), ())


def _accumulated(
    name: str, fn: Any, how: str, input: Tensor, dim: Any, dtype: Any, out: Any
) -> Tensor:
    at = one_dim(dim, len(input._a.shape), name)
    if dtype is not None:
        input = convert(input, input._kind.of(dtype))
    elif input._kind.inexact is None:
        input = convert(input, input._kind.int64)
    y = fn(input, at, how, False) if input._a.shape else _along(fn, input, at, how, False)
    return y if out is None else write_out(y, out)


@reduction
def cumsum(input: Tensor, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Running sum along dim; bool and integers add up as int64.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([1, 2, 3]).cumsum(0)
        tensor([1, 3, 6])
    """
    return _accumulated("cumsum", _cumsum, "sum", input, dim, dtype, out)


@reduction
def cumprod(input: Tensor, dim: int, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Running product along dim; bool and integers multiply as int64.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([1, 2, 3]).cumprod(0)
        tensor([1, 2, 6])
    """
    return _accumulated("cumprod", _cumprod, "prod", input, dim, dtype, out)


# ---- running extremes
@op(dtype="int64", whole=True, kernel="arg_scan")
def _arg_scan(input: Tensor, dim: int, how: str) -> Tensor:
    """Where the running extreme stands: the last of equals; the last nan once there is one."""
    best = scan(input, dim, how, False)
    hit = bitwise_or(eq(input, best), ne(input, input))
    return scan(where(hit, positions(input, dim), 0), dim, "max", False)


_running = {"max": picker("cummax", distinct=False), "min": picker("cummin", distinct=False)}


def _cumulative(how: str, input: Tensor, dim: Any, out: Any) -> Any:
    name = "cum" + how
    at = one_dim(dim, len(input._a.shape), name)
    if input._kind.dtype.is_complex:
        raise UnsupportedOpError(f"{name}(): complex numbers have no order, got {describe(input)}")
    index = _along(_arg_scan, input, at, how)
    return results(getattr(return_types, name), (_running[how](input, index, at), index), out)


@reduction
def cummax(input: Tensor, dim: int, *, out: Any = None) -> Any:
    """Running maximum along dim, and where it stands; nan wins.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([1, 3, 2]).cummax(0).values
        tensor([1, 3, 3])
    """
    return _cumulative("max", input, dim, out)


@reduction
def cummin(input: Tensor, dim: int, *, out: Any = None) -> Any:
    """Running minimum along dim, and where it stands; nan wins."""
    return _cumulative("min", input, dim, out)


# ---- log-sum-exp
def _log_add(a: Tensor, b: Tensor) -> Tensor:
    top = maximum(a, b)
    total = add(top, log1p(exp(neg(magnitude(sub(a, b))))))
    return where(eq(a, b), add(a, math.log(2)), total)


@op(whole=True, kernel="logcumsumexp", node="LogcumsumexpBackward0")
def _logcumsumexp(input: Tensor, dim: int, reverse: bool) -> Tensor:
    """log(cumsum(exp(input))) along dim, without overflow."""
    return _passes(input, dim, _log_add, reverse)


def _logcumsumexp_back(g: Tensor, input: Tensor, y: Tensor, dim: int, reverse: bool) -> Tensor:
    # In logarithms, as exp(input) alone may overflow; positive and negative gradients apart.
    def share(sign: Tensor, size: Tensor) -> Tensor:
        safe = log(where(sign, size, 1.0))
        lowest = dtypes.finfo(g._kind.dtype).min
        weight = where(sign, safe, lowest)
        return exp(add(_logcumsumexp(sub(weight, y), dim, not reverse), input))

    return sub(share(gt(g, 0), g), share(lt(g, 0), neg(g)))


_logcumsumexp.vjp(input=_logcumsumexp_back)


@reduction
def logcumsumexp(input: Tensor, dim: int, *, out: Any = None) -> Tensor:
    """log(cumsum(exp(input))) along dim, without overflow.

    Raises: UnsupportedOpError: integer or complex input.
    """
    at = one_dim(dim, len(input._a.shape), "logcumsumexp")
    if not input._kind.dtype.is_floating_point:
        raise UnsupportedOpError(
            f"logcumsumexp(): not implemented for {input._kind.dtype.name}, got {describe(input)}. "
            "Hint: x.float()"
        )
    y = _along(_logcumsumexp, input, at, False)
    return y if out is None else write_out(y, out)


# ---- differences and trapezoids
@reduction
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Any = None,
    append: Any = None,
    *,
    out: Any = None,
) -> Tensor:
    """Differences of neighbours along dim, taken n times.

    Args: prepend, append: tensors to join to input before.
    Raises: ShapeError: a 0-d tensor, or n < 0.

    Example:
        >>> import flambeau as fb
        >>> fb.diff(fb.tensor([1, 3, 2]))
        tensor([ 2, -1])
    """
    if not input._a.shape:
        raise ShapeError(
            f"diff expects input to be at least one-dimensional, got {describe(input)}"
        )
    if n < 0:
        raise ShapeError(f"diff: order must be non-negative but got {n}")
    at = one_dim(dim, len(input._a.shape), "diff")
    parts = [t for t in (prepend, input, append) if t is not None] if n else [input]
    x = join.cat(parts, at) if len(parts) > 1 else input
    for _ in range(min(n, x._a.shape[at])):
        x = _difference(x, at)
    return x if out is None else write_out(x, out)


def _ends(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """All elements along dim but the first, and all but the last."""
    n = x._a.shape[dim]
    return _slice(x, _part(dim, 1, n)), _slice(x, _part(dim, 0, max(n - 1, 0)))


def _difference(x: Tensor, dim: int) -> Tensor:
    later, earlier = _ends(x, dim)
    return ne(later, earlier) if x._kind.dtype is dtypes.bool_ else sub(later, earlier)


def _steps(name: str, y: Tensor, x: Tensor, dim: int) -> Tensor:
    """Distances of the sample points x, in a shape that broadcasts against y's neighbours."""
    rank = len(y._a.shape)
    if len(x._a.shape) == 1:
        if x._a.shape[0] != y._a.shape[dim]:
            raise ShapeError(
                f"{name}: There must be one `x` value for each sample point, got x: {describe(x)}, y: {describe(y)}"
            )
        return _view(_difference(x, 0), (-1 if x._a.shape[0] > 1 else 0,) + (1,) * (rank - dim - 1))
    if len(x._a.shape) < rank:
        x = movement.reshape(x, (1,) * (rank - len(x._a.shape)) + x._a.shape)
    return _difference(x, dim + len(x._a.shape) - rank)


def _trapezoids(name: str, y: Tensor, x: Any, dx: Any, dim: int) -> tuple[Tensor, int]:
    """Twice the area of every trapezoid along dim, and that dimension."""
    at = one_dim(dim, len(y._a.shape), name)
    later, earlier = _ends(y, at)
    both = add(later, earlier)
    if x is not None:
        return mul(both, _steps(name, y, x, at)), at
    return mul(both, 1 if dx is None else dx), at


@reduction
def trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Integral of samples y along dim by the trapezoidal rule.

    Args: x: where the samples stand.  dx: their distance, 1 unless x or dx is given.
    Raises: ShapeError: x has one dimension and not as many elements as y has along dim.

    Example:
        >>> import flambeau as fb
        >>> fb.trapezoid(fb.tensor([1.0, 2.0, 3.0]))
        tensor(4.)
    """
    areas, at = _trapezoids("trapezoid", y, x, dx, dim)
    return div(sum(areas, at), 2)


@reduction
def cumulative_trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Running integral of samples y along dim by the trapezoidal rule; arguments as in `trapezoid`.

    Raises: ShapeError: x has one dimension and not as many elements as y has along dim.
    """
    areas, at = _trapezoids("cumulative_trapezoid", y, x, dx, dim)
    return div(cumsum(areas, at), 2)


PUBLIC = Public(
    both="cumsum cumprod cummax cummin logcumsumexp diff",
    functions="trapezoid cumulative_trapezoid",
    inplace="cumsum cumprod",
    aliases={"trapz": "trapezoid"},
)
