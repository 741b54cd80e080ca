"""Sums and what is made of them: means, products, logic, log-sum-exp."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

from flambeau import dtypes
from flambeau.dtypes import FLOATING
from flambeau.errors import ArgumentError, DTypeError, FlambeauError, ShapeError
from flambeau.ops._op import Primitive, op
from flambeau.ops._public import Public
from flambeau.ops._recover import sum_to, write_out
from flambeau.ops.casting import convert
from flambeau.ops.elementwise import (
    add,
    bitwise_not,
    conj_physical,
    div,
    eq,
    exp,
    isinf,
    log,
    mul,
    ne,
    sub,
    where,
)
from flambeau.ops.movement import _expand, _slice, _view, reshape
from flambeau.shape import Shape, as_shape, wrap_dim, wrap_dims
from flambeau.tensor import Tensor, describe, wrap

Dims = tuple[int, ...] | None
F = TypeVar("F", bound=Callable[..., Any])

#: Up to this many elements a sum's gradient is an array of its own; larger ones are a view that repeats one number.
_FILL = 1 << 14


# ---- what reductions share
def reduced(x: Shape, dims: Dims, keepdim: bool) -> Shape:
    """Shape rule of reductions; dims None means all."""
    if dims is None:
        return (1,) * len(x) if keepdim else ()
    if keepdim:
        return tuple(1 if i in dims else n for i, n in enumerate(x))
    return tuple(n for i, n in enumerate(x) if i not in dims)


def spread(g: Tensor, dims: Dims, keepdim: bool, shape: Shape) -> Tensor:
    """A reduced tensor expanded back to the shape before the reduction."""
    if not g._a.shape:
        return sum_backward(g, shape) if math.prod(shape) <= _FILL else _expand(g, shape)
    if dims is not None and not keepdim:
        g = _view(g, reduced(shape, dims, True))
    return _expand(g, shape)


def aligned(g: Tensor, dims: Dims, keepdim: bool, shape: Shape) -> Tensor:
    """A reduced tensor in a shape that broadcasts against the shape before the reduction."""
    if keepdim or not g._a.shape:
        return g
    return _view(g, reduced(shape, dims, True))


def dims_of(dim: Any, rank: int, name: str) -> Dims:
    """The dimensions that dim names, sorted; None for all (dim None or empty, or each one named).

    Raises: ArgumentError: neither int nor ints.  IndexRangeError: out of range.  ShapeError: one twice.
    """
    if dim is None:
        return None
    if dim.__class__ is int and -rank <= dim < rank:
        return (dim + rank if dim < 0 else dim,) if rank > 1 else None
    try:
        dims = wrap_dims(dim, rank, name)
    except (TypeError, ValueError) as error:
        if isinstance(error, FlambeauError):
            raise
        raise ArgumentError(
            f"{name}(): argument 'dim' must be int or tuple of ints, not {type(dim).__name__}"
        ) from error
    return dims if 0 < len(dims) < rank else None


def one_dim(dim: Any, rank: int, name: str) -> int:
    """The one dimension that dim names, counted from the start.

    Raises: ArgumentError: no int.  IndexRangeError: out of range.
    """
    if dim.__class__ is int and -rank <= dim < rank:
        return dim + rank if dim < 0 else dim
    try:
        return wrap_dim(dim.__index__(), rank, name)
    except AttributeError as error:
        raise ArgumentError(
            f"{name}(): argument 'dim' must be int, not {type(dim).__name__}"
        ) from error


def count_of(shape: Shape, dims: Dims) -> int:
    """How many elements go into one element of the result."""
    return math.prod(shape if dims is None else [shape[d] for d in dims])


def needs_tensor(name: str, value: Any) -> ArgumentError:
    """The error for an input that is no tensor."""
    return ArgumentError(
        f"{name}(): argument 'input' (position 1) must be Tensor, not {type(value).__name__}. "
        "Hint: flambeau.tensor(...) makes one"
    )


def reduction(fn: F) -> F:
    """Let `axis` and `keepdims` stand for dim and keepdim, as PyTorch does; refuse what is no tensor."""
    name = fn.__name__

    @functools.wraps(fn)
    def checked(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor):
            raise needs_tensor(name, input)
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
        if "keepdims" in kwargs:
            kwargs["keepdim"] = kwargs.pop("keepdims")
        return fn(input, *args, **kwargs)

    return checked  # type: ignore[return-value]


def filled(shape: Shape, value: Any, like: Tensor) -> Tensor:
    """A tensor of one value, of like's kind."""
    kind = like._kind
    return wrap(kind.k["fill"](shape, value, kind.dtype), kind)


def is_half(x: Tensor) -> bool:
    """Whether neither a sum of x's elements nor their count need fit into its dtype."""
    return x._kind.dtype.itemsize == 2 and x._kind.inexact is not None


def in_float32(fn: Callable[..., Tensor], x: Tensor, *rest: Any) -> Tensor:
    """fn of x in float32, rounded to x's dtype at the end."""
    kind = x._kind
    return convert(fn(convert(x, kind.of(dtypes.float32)), *rest), kind)


# ---- sums
@op(shape=reduced, node="SumBackward1")
def reduce_sum(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Sum over dims (None: all), kept as size 1 if keepdim."""
    raise Primitive


reduce_sum.vjp(input=lambda g, dims, keepdim, input_shape: spread(g, dims, keepdim, input_shape))


@op(shape=lambda x: (), kernel="sum", node="SumBackward0")
def sum_all(input: Tensor) -> Tensor:
    """Sum of all elements."""
    return reduce_sum(input, None, False)


sum_all.vjp(input=lambda g, input_shape: spread(g, None, False, input_shape))


@op(shape=lambda g, shape: shape)
def sum_backward(grad: Tensor, shape: Shape) -> Tensor:
    """A 0-d tensor's number at every place of a shape."""
    return _expand(grad, shape).clone()


sum_backward.vjp(grad=lambda g: sum_all(g))


@op(shape=reduced, dtype="int64", kernel="sum_int64")
def _sum_integers(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Sum of integers or truth values as int64."""
    return reduce_sum(convert(input, input._kind.int64), dims, keepdim)


def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """Sum of all elements, or over the given dimensions; bool and integers add up as int64.

    Args: dim: an int or several; None or () for all.  keepdim: keep reduced dimensions as size 1.
        dtype: convert to it first.  axis, keepdims: NumPy's names for dim and keepdim.

    Example:
        >>> import flambeau as fb
        >>> fb.ones(2, 3).sum(dim=1)
        tensor([3., 3.])
    """
    try:
        floating = input._kind.inexact is not None
    except AttributeError:
        raise needs_tensor("sum", input) from None
    if floating and dim is None and dtype is None and not keepdim and out is None and axis is None:
        return sum_all(input)
    dims = dims_of(axis if dim is None else dim, len(input._a.shape), "sum")
    if dtype is not None:
        if dtype is dtypes.bool_:
            return convert(sum(input, dims, keepdim or keepdims), input._kind.boolean)
        input = convert(input, input._kind.of(dtype))
    elif not floating:
        return _sum_integers(input, dims, keepdim or keepdims, out=out)
    elif dims is None and out is None and not (keepdim or keepdims):
        return sum_all(input)
    return reduce_sum(input, dims, keepdim or keepdims, out=out)


@reduction
def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """Sum in which nan counts as 0.

    Raises: DTypeError: complex input.
    """
    if input._kind.dtype.is_complex:
        raise DTypeError(f"nansum does not support complex inputs, got {describe(input)}")
    if input._kind.inexact is not None:
        input = where(eq(input, input), input, 0.0)
    dim = dims_of(dim, len(input._a.shape), "nansum")
    return sum(input, dim, keepdim, dtype=dtype, out=out)


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Sum over dimensions so that the result has a size which input is a broadcast of.

    Raises: ShapeError: size does not broadcast to input's shape.
    """
    wanted, have = as_shape(size, "sum_to_size"), input._a.shape
    lead = len(have) - len(wanted)
    if lead < 0 or [n for i, n in enumerate(wanted) if n not in (1, have[lead + i])]:
        raise ShapeError(
            f"sum_to_size: size {list(wanted)} is not expandable to size {list(have)} "
            f"({describe(input)})"
        )
    return input if wanted == have else sum_to(input, wanted)


# ---- means
def _mean(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    if is_half(input):
        return in_float32(_mean, input, dims, keepdim)
    n = count_of(input._a.shape, dims)
    total = reduce_sum(input, dims, keepdim)
    return div(total, n) if n else mul(total, math.nan)


def _mean_back(g: Tensor, dims: Dims, keepdim: bool, input_shape: Shape) -> Tensor:
    return spread(div(g, count_of(input_shape, dims) or 1), dims, keepdim, input_shape)


@op(shape=reduced, kernel="mean", node="MeanBackward1")
def reduce_mean(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Mean over dims (None: all)."""
    return _mean(input, dims, keepdim)


@op(shape=reduced, kernel="mean", node="MeanBackward0")
def mean_all(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Mean of all elements."""
    return _mean(input, dims, keepdim)


reduce_mean.vjp(input=_mean_back)
mean_all.vjp(input=_mean_back)


def mean(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """Mean of all elements, or over the given dimensions; nan where there are none.

    Args: as those of `sum`.
    Raises: DTypeError: integer input and no floating-point dtype given.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[1.0, 2.0], [3.0, 4.0]]).mean(0)
        tensor([2., 3.])
    """
    try:
        floating = input._kind.inexact is not None
    except AttributeError:
        raise needs_tensor("mean", input) from None
    if floating and dim is None and dtype is None and not keepdim and out is None and axis is None:
        return mean_all(input, None, False)
    if dtype is not None:
        input = convert(input, input._kind.of(dtype))
    if input._kind.dtype.category < FLOATING:
        raise DTypeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype, got {describe(input)}. Hint: x.float().mean()"
        )
    dims = dims_of(axis if dim is None else dim, len(input._a.shape), "mean")
    return reduce_mean(input, dims, keepdim or keepdims, out=out)


@reduction
def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """Mean of the elements that are not nan.

    Raises: DTypeError: input or dtype is an integer type.
    """
    if input._kind.inexact is None or (dtype is not None and dtype.category < FLOATING):
        raise DTypeError(
            "nanmean(): expected input and dtype to be floating point or complex, got "
            f"{describe(input)} and dtype={dtype}. Hint: x.float().nanmean()"
        )
    dim = dims_of(dim, len(input._a.shape), "nanmean")
    present = eq(input, input)
    total = sum(where(present, input, 0.0), dim, keepdim, dtype=dtype)
    return div(total, sum(present, dim, keepdim), out=out)


# ---- products
@op(shape=reduced, kernel="reduce_prod", node="ProdBackward0")
def reduce_prod(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Product over dims (None: all)."""
    shape = input._a.shape
    for d in range(len(shape)) if dims is None else dims:
        input = _halved(input, d)
    return _view(input, reduced(shape, dims, keepdim))


def _halved(x: Tensor, dim: int) -> Tensor:
    """The product along dim (kept as size 1): halves are multiplied until one element is left."""
    lead = (slice(None),) * dim
    n = x._a.shape[dim]
    if n == 0:
        return filled((*x._a.shape[:dim], 1, *x._a.shape[dim + 1 :]), 1, x)
    odd = []
    while n > 1:
        if n % 2:
            odd.append(_slice(x, (*lead, slice(n - 1, n))))
        n //= 2
        x = mul(_slice(x, (*lead, slice(0, n))), _slice(x, (*lead, slice(n, 2 * n))))
    return functools.reduce(mul, odd, x)


def _prod_back(g: Tensor, input: Tensor, y: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    shape = input._a.shape
    if not bool(reduce_any(eq(input, 0), None, False)):
        slope = div(aligned(y, dims, keepdim, shape), input)
    else:
        from flambeau.ops.scan import product_of_others

        if dims is None:
            slope = reshape(product_of_others(reshape(input, (-1,)), 0), shape)
        else:
            slope = product_of_others(input, dims[0])
    return mul(aligned(g, dims, keepdim, shape), _conj(slope))


reduce_prod.vjp(input=_prod_back)


def _conj(x: Tensor) -> Tensor:
    return conj_physical(x) if x._kind.dtype.is_complex else x


@reduction
def prod(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """Product of all elements, or along one dimension; bool and integers multiply as int64.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[1, 2], [3, 4]]).prod(1)
        tensor([ 2, 12])
    """
    dims = None if dim is None else (one_dim(dim, len(input._a.shape), "prod"),)
    if dtype is not None:
        input = convert(input, input._kind.of(dtype))
    elif input._kind.inexact is None:
        input = convert(input, input._kind.int64)
    return reduce_prod(input, dims if input._a.shape else None, keepdim, out=out)


# ---- logic
@op(shape=reduced, dtype="boolean", kernel="any")
def reduce_any(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Whether any element over dims is not 0."""
    from flambeau.ops.extremes import reduce_max

    truth = input if input._kind.dtype is dtypes.bool_ else ne(input, 0)
    if count_of(input._a.shape, dims) == 0:
        return filled(reduced(input._a.shape, dims, keepdim), False, truth)
    return reduce_max(truth, dims, keepdim)


@op(shape=reduced, dtype="boolean", kernel="all")
def reduce_all(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Whether no element over dims is 0."""
    return bitwise_not(reduce_any(eq(input, 0), dims, keepdim))


def _logic(name: str, doc: str, fn: Any) -> Any:
    """any or all."""

    def logic(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        out: Any = None,
        axis: Any = None,
        keepdims: bool = False,
    ) -> Tensor:
        try:
            kind = input._kind
        except AttributeError:
            raise needs_tensor(name, input) from None
        if dim is None:
            dim = axis
        if dim == () or dim == []:
            truth = ne(input, 0)  # reduces nothing here, unlike elsewhere
        else:
            truth = fn(input, dims_of(dim, len(input._a.shape), name), keepdim or keepdims)
        if kind.dtype is dtypes.uint8:
            truth = convert(truth, kind)
        return truth if out is None else write_out(truth, out)

    logic.__name__ = logic.__qualname__ = name
    logic.__doc__ = doc
    return logic


any = _logic(
    "any",
    """Whether any element is not 0, in all or over the given dimensions; uint8 input gives uint8.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[False, True], [False, False]]).any(dim=1)
        tensor([ True, False])
    """,
    reduce_any,
)
all = _logic(
    "all",
    """Whether no element is 0, in all or over the given dimensions; uint8 input gives uint8.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[False, True], [True, True]]).all(dim=1)
        tensor([False,  True])
    """,
    reduce_all,
)


# ---- log-sum-exp
@op(shape=reduced, dtype="inexact", kernel="logsumexp", node="LogsumexpBackward0")
def _logsumexp(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """log(sum(exp(input))) over dims, without overflow."""
    from flambeau.ops.extremes import reduce_max

    shape = input._a.shape
    if count_of(shape, dims) == 0:
        return log(reduce_sum(input, dims, keepdim))
    real = input.real if input._kind.dtype.is_complex else input
    top = reduce_max(real, dims, True)
    top = where(isinf(top), 0.0, top)
    total = log(reduce_sum(exp(sub(input, top)), dims, True))
    return _view(add(total, top), reduced(shape, dims, keepdim))


def _logsumexp_back(g: Tensor, input: Tensor, y: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    shape = input._a.shape
    share = exp(sub(input, aligned(y, dims, keepdim, shape)))
    return mul(aligned(g, dims, keepdim, shape), _conj(share))


_logsumexp.vjp(input=_logsumexp_back)


@reduction
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """log(sum(exp(input))) over dim, computed without overflow.

    Example:
        >>> import flambeau as fb
        >>> fb.logsumexp(fb.tensor([1000.0, 1000.0]), 0)
        tensor(1000.6932)
    """
    return _logsumexp(input, dims_of(dim, len(input._a.shape), "logsumexp"), keepdim, out=out)


PUBLIC = Public(both="sum nansum mean nanmean prod any all logsumexp", methods="sum_to_size")
