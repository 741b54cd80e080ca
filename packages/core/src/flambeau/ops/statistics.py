"""Spread and size: variances, standard deviations, norms, distances."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import FLOATING
from flambeau.errors import ArgumentError, DTypeError, ShapeError
from flambeau.ops._op import op
from flambeau.ops._public import Public
from flambeau.ops.casting import convert
from flambeau.ops.elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_or,
    div,
    eq,
    gt,
    isnan,
    mul,
    ne,
    pow,
    rdiv,
    sgn,
    sqrt,
    square,
    sub,
    where,
)
from flambeau.ops.extremes import reduce_max, reduce_min
from flambeau.ops.reduce import (
    Dims,
    aligned,
    count_of,
    dims_of,
    filled,
    in_float32,
    is_half,
    one_dim,
    reduce_mean,
    reduce_sum,
    reduced,
    reduction,
)
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe


# ---- variance
def _freedom(shape: Shape, dims: Dims, correction: float) -> float:
    """What the sum of squares is divided by."""
    return max(count_of(shape, dims) - correction, 0)


def _moment(x: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    if is_half(x):
        return in_float32(_moment, x, dims, correction, keepdim)
    away = sub(x, reduce_mean(x, dims, True))
    squares = square(abs(away) if x._kind.dtype.is_complex else away)
    total = reduce_sum(squares, dims, keepdim)
    n = _freedom(x._a.shape, dims, correction)
    return div(total, n) if n else div(total, mul(total, 0))


@op(
    shape=lambda x, dims, c, keepdim: reduced(x, dims, keepdim),
    dtype="real",
    kernel="var",
    node="VarBackward0",
)
def _var(input: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    """Sum of squared distances from the mean over dims, divided by count - correction."""
    return _moment(input, dims, correction, keepdim)


@op(
    shape=lambda x, dims, c, keepdim: reduced(x, dims, keepdim),
    dtype="real",
    kernel="std",
    node="StdBackward0",
)
def _std(input: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    """Square root of the variance."""
    return sqrt(_var(input, dims, correction, keepdim))


def _var_back(g: Tensor, input: Tensor, dims: Dims, correction: float, keepdim: bool) -> Tensor:
    shape = input._a.shape
    n = _freedom(shape, dims, correction)
    away = sub(input, reduce_mean(input, dims, True))
    return mul(away, aligned(mul(g, 2 / n if n else math.inf), dims, keepdim, shape))


def _std_back(
    g: Tensor, input: Tensor, y: Tensor, dims: Dims, correction: float, keepdim: bool
) -> Tensor:
    # where the deviation is 0 it has a kink, and the gradient is 0 as PyTorch's
    slope = where(eq(y, 0), 0.0, div(g, mul(y, 2)))
    return _var_back(slope, input, dims, correction, keepdim)


_var.vjp(input=_var_back)
_std.vjp(input=_std_back)


def _arguments(
    name: str, input: Tensor, dim: Any, unbiased: Any, correction: Any
) -> tuple[Dims, float]:
    """Dimensions and correction from PyTorch's two ways to call var: (unbiased), or (dim, ..., correction=)."""
    if input._kind.inexact is None:
        raise DTypeError(
            f"{name}(): std and var only support floating point and complex dtypes, got "
            f"{describe(input)}. Hint: x.float().{name}()"
        )
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        if correction is not None:
            raise ArgumentError(f"{name}(): takes unbiased or correction, not both")
        correction = int(unbiased)
    return dims_of(dim, len(input._a.shape), name), 1 if correction is None else correction


@reduction
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
) -> Tensor:
    """Variance of all elements, or over the given dimensions.

    sum((x - mean)^2) / max(0, n - correction)

    Args: unbiased: True for correction=1, False for correction=0, PyTorch's older spelling.
        correction: what is subtracted from the count; 1 unless given (Bessel's correction).
    Raises: DTypeError: integer input.

    Example:
        >>> import flambeau as fb
        >>> fb.var(fb.tensor([1.0, 2.0, 3.0]), correction=0)
        tensor(0.6667)
    """
    dims, c = _arguments("var", input, dim, unbiased, correction)
    return _var(input, dims, c, keepdim, out=out)


@reduction
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
) -> Tensor:
    """Standard deviation: the square root of `var`, with the same arguments.

    Raises: DTypeError: integer input.
    """
    dims, c = _arguments("std", input, dim, unbiased, correction)
    return _std(input, dims, c, keepdim, out=out)


@reduction
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean; the arguments are those of `var`.

    Raises: DTypeError: integer input.
    """
    dims, c = _arguments("var_mean", input, dim, unbiased, correction)
    return _var(input, dims, c, keepdim), reduce_mean(input, dims, keepdim)


@reduction
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean; the arguments are those of `var`.

    Raises: DTypeError: integer input.
    """
    dims, c = _arguments("std_mean", input, dim, unbiased, correction)
    return _std(input, dims, c, keepdim), reduce_mean(input, dims, keepdim)


# ---- norms
@op(
    shape=lambda x, ord, dims, keepdim: reduced(x, dims, keepdim),
    dtype="real",
    kernel="vector_norm",
    node="LinalgVectorNormBackward0",
)
def vector_norm(input: Tensor, ord: float, dims: Dims, keepdim: bool) -> Tensor:
    """sum(|x|^ord)^(1/ord) over dims; the largest for inf, the smallest for -inf, the count of non-zeros for 0."""
    if is_half(input):
        return in_float32(vector_norm, input, ord, dims, keepdim)
    size = abs(input)
    if ord == 0:
        return reduce_sum(convert(ne(size, 0), size._kind), dims, keepdim)
    if ord == 1:
        return reduce_sum(size, dims, keepdim)
    if ord == 2:
        return sqrt(reduce_sum(square(size), dims, keepdim))
    if math.isinf(ord):
        return (reduce_max if ord > 0 else reduce_min)(size, dims, keepdim)
    return pow(reduce_sum(pow(size, ord), dims, keepdim), 1 / ord)


def _norm_back(
    g: Tensor, input: Tensor, y: Tensor, ord: float, dims: Dims, keepdim: bool
) -> Tensor:
    shape = input._a.shape
    if ord == 0:
        return filled(shape, 0, input)
    if ord == 1:
        return mul(sgn(input), aligned(g, dims, keepdim, shape))
    if math.isinf(ord):
        size, norm = abs(input), aligned(y, dims, keepdim, shape)
        hit = bitwise_or(eq(size, norm), bitwise_and(isnan(size), isnan(norm)))
        one = convert(hit, g._kind)
        part = div(g, reduce_sum(one, dims, keepdim))
        return mul(sgn(input), mul(one, aligned(part, dims, keepdim, shape)))
    # where the norm is 0 it has a kink, and the gradient is 0 as PyTorch's
    if ord < 1:
        scale = mul(g, pow(y, 1 - ord))
    else:
        scale = where(eq(y, 0), 0.0, div(g, y if ord == 2 else pow(y, ord - 1)))
    scale = aligned(scale, dims, keepdim, shape)
    if ord == 2:
        return mul(input, scale)
    size = abs(input)
    if ord < 1:
        return mul(where(eq(size, 0), 0.0, mul(sgn(input), pow(size, ord - 1))), scale)
    if ord < 2:
        return mul(mul(sgn(input), pow(size, ord - 1)), scale)
    return mul(mul(input, pow(size, ord - 2)), scale)


vector_norm.vjp(input=_norm_back)


@reduction
def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Any = None,
    dtype: Any = None,
) -> Tensor:
    """The p-norm of all elements, or over the given dimensions.

    Args: p: a number, inf, -inf, "fro" (the 2-norm) or "nuc" (sum of singular values of a matrix).
    Raises: DTypeError: integer input.  ShapeError: no elements to take the largest of, or p is unknown.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([3.0, 4.0]).norm()
        tensor(5.)
    """
    if input._kind.dtype.category < FLOATING:
        raise DTypeError(
            f"norm(): Expected a floating point or complex tensor as input, got {describe(input)}. "
            "Hint: x.float().norm()"
        )
    if dtype is not None:
        if input._kind.dtype.is_complex > dtype.is_complex:
            raise DTypeError(
                f"norm(): dtype should be complex for complex inputs, got dtype={dtype} for {describe(input)}"
            )
        input = convert(input, input._kind.of(dtype))
    if p == "nuc":
        import flambeau

        found: Tensor = flambeau.linalg.matrix_norm(  # type: ignore[attr-defined]
            input, "nuc", (-2, -1) if dim is None else dim, keepdim, out=out
        )
        return found
    ord = 2.0 if p is None or p == "fro" else p
    if isinstance(ord, str):
        raise ShapeError(f"norm(): Order {p} not supported. Hint: a number, 'fro' or 'nuc'")
    dims = dims_of(dim, len(input._a.shape), "norm")
    if (ord < 0 or math.isinf(ord)) and count_of(input._a.shape, dims) == 0:
        raise ShapeError(
            f"norm(): cannot compute the {ord} norm on an empty tensor because the operation does "
            f"not have an identity, got {describe(input)}"
        )
    return vector_norm(input, float(ord), dims, keepdim, out=out)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other.

    Example:
        >>> import flambeau as fb
        >>> fb.dist(fb.zeros(2), fb.tensor([3.0, 4.0]))
        tensor(5.)
    """
    return norm(sub(input, other), p)


@reduction
def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out: Any = None) -> Tensor:
    """Every slice along dim scaled down to a p-norm of at most maxnorm.

    Raises: ShapeError: fewer than 2 dimensions, p <= 0, or maxnorm < 0.
    """
    shape = input._a.shape
    if len(shape) < 2:
        raise ShapeError(f"renorm: input needs at least 2 dimensions, got {describe(input)}")
    if p <= 0:
        raise ShapeError(f"renorm: non-positive-norm not supported, got p={p}")
    if maxnorm < 0:
        raise ShapeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    at = one_dim(dim, len(shape), "renorm")
    size = vector_norm(input, float(p), tuple(d for d in range(len(shape)) if d != at), True)
    # 1e-7 keeps PyTorch's numbers
    return mul(input, where(gt(size, maxnorm), rdiv(add(size, 1e-7), maxnorm), 1.0), out=out)


PUBLIC = Public(both="var std norm dist renorm", functions="var_mean std_mean", inplace="renorm")
