"""Largest and smallest elements, and where they are."""

from __future__ import annotations

from typing import Any

from flambeau import return_types
from flambeau.dtypes import FLOATING
from flambeau.errors import ArgumentError, IndexRangeError, ShapeError, UnsupportedOpError
from flambeau.ops import elementwise
from flambeau.ops._op import Primitive, op
from flambeau.ops._pick import picker, results
from flambeau.ops._public import Public
from flambeau.ops.casting import convert
from flambeau.ops.creation import arange
from flambeau.ops.elementwise import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    div,
    eq,
    isnan,
    mul,
    ne,
    neg,
    where,
)
from flambeau.ops.movement import _view, reshape
from flambeau.ops.reduce import (
    Dims,
    aligned,
    dims_of,
    needs_tensor,
    one_dim,
    reduce_sum,
    reduced,
    reduction,
)
from flambeau.shape import Shape, wrap_dims
from flambeau.tensor import Tensor, describe

_pair = tuple.__new__


# ---- the kernels
@op(shape=reduced, node="AmaxBackward0")
def reduce_max(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Largest over dims (None: all); nan wins."""
    raise Primitive


@op(shape=reduced, node="AminBackward0")
def reduce_min(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Smallest over dims (None: all); nan wins."""
    turn = neg if input._kind.dtype.category >= FLOATING else bitwise_not
    return turn(reduce_max(turn(input), dims, keepdim))


@op(shape=reduced, kernel="reduce_max", node="MaxBackward1")
def _max_all(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Largest of all elements; nan wins."""
    return reduce_max(input, dims, keepdim)


@op(shape=reduced, kernel="reduce_min", node="MinBackward1")
def _min_all(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """Smallest of all elements; nan wins."""
    return reduce_min(input, dims, keepdim)


def share(g: Tensor, input: Tensor, y: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """The gradient of an extreme, in equal parts for all elements that are equal to it."""
    return _parts(g, eq(input, aligned(y, dims, keepdim, input._a.shape)), dims, keepdim)


def share_all(g: Tensor, input: Tensor, y: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """`share` over all elements; where the extreme is nan, the elements that are nan get it."""
    hit = eq(input, y)
    hit = bitwise_or(hit, bitwise_and(isnan(input), isnan(y)))
    return _parts(g, hit, dims, keepdim)


def _parts(g: Tensor, hit: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    one = convert(hit, g._kind)
    part = div(g, reduce_sum(one, dims, keepdim))
    return mul(one, aligned(part, dims, keepdim, hit._a.shape))


for _fn in (reduce_max, reduce_min):
    _fn.vjp(input=share)
for _fn in (_max_all, _min_all):
    _fn.vjp(input=share_all)


def positions(x: Tensor, dim: int) -> Tensor:
    """0, 1, 2 ... along dim, in a shape that broadcasts against x."""
    n, rank = x._a.shape[dim], len(x._a.shape)
    return _view(arange(n, device=x.device), (1,) * dim + (n,) + (1,) * (rank - dim - 1))


def _located(x: Shape, dim: int | None, keepdim: bool) -> Shape:
    return reduced(x, None if dim is None or not x else (dim,), keepdim)


def _locate(extreme: Any, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    """Default of argmax and argmin: the first position that holds the extreme."""
    shape = input._a.shape
    x = reshape(input, (-1,)) if dim is None or not shape else input
    at = dim or 0
    y = extreme(x, (at,), True)
    hit = bitwise_or(eq(x, y), ne(x, x)) if x._kind.inexact is not None else eq(x, y)
    found = reduce_min(where(hit, positions(x, at), x._a.shape[at]), (at,), True)
    return _view(found, _located(shape, dim, keepdim))


@op(shape=_located, dtype="int64", kernel="arg_max")
def arg_max(input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    """Position of the largest along dim (None: among all); the first of equals, and of nans."""
    return _locate(reduce_max, input, dim, keepdim)


@op(shape=_located, dtype="int64", kernel="arg_min")
def arg_min(input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    """Position of the smallest along dim (None: among all); the first of equals, and of nans."""
    return _locate(reduce_min, input, dim, keepdim)


_max_values, _min_values = picker("max"), picker("min")


# ---- what users call
def _refuse(name: str, input: Any, keepdim: bool = False) -> Exception:
    """Why there is no extreme of all elements."""
    if input._kind.dtype.is_complex:
        return UnsupportedOpError(
            f"{name}(): complex numbers have no order, got {describe(input)}. Hint: x.abs()"
        )
    if keepdim and 0 not in input._a.shape:
        return ArgumentError(f"{name}(): keepdim needs a dim. Hint: a{name}(x, keepdim=True)")
    rule = f"{name}(): Expected reduction dim to be specified for input.numel() == 0"
    if name.startswith("arg"):
        return IndexRangeError(f"{rule}, got {describe(input)}")
    return ShapeError(
        f"{rule}. Specify the reduction dim with the 'dim' argument, got {describe(input)}"
    )


def _check_dim(name: str, input: Tensor, dim: int) -> None:
    if input._kind.dtype.is_complex:
        raise _refuse(name, input)
    if input._a.shape[dim] == 0:
        raise IndexRangeError(
            f"{name}(): Expected reduction dim {dim} to have non-zero size, got {describe(input)}"
        )


def _extreme(name: str, doc: str, everything: Any, pairwise: Any, locate: Any, values: Any) -> Any:
    """max or min."""
    cls = getattr(return_types, name)

    def extreme(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        out: Any = None,
        other: Any = None,
        axis: Any = None,
        keepdims: bool = False,
    ) -> Any:
        try:
            shape = input._a.shape
        except AttributeError:
            raise needs_tensor(name, input) from None
        if dim is None:
            dim = axis if other is None else other
            if dim is None:
                if 0 in shape or keepdim or input._kind.dtype.is_complex:
                    raise _refuse(name, input, keepdim)
                return (
                    everything(input, None, False)
                    if out is None
                    else everything(input, None, False, out=out)
                )
        if isinstance(dim, Tensor):
            return pairwise(input, dim, out=out)
        at = one_dim(dim, len(shape), name)
        if 0 in shape or input._kind.dtype.is_complex:
            _check_dim(name, input, at)
        index = locate(input, at, keepdim or keepdims)
        found = (values(input, index, at), index)
        return _pair(cls, found) if out is None else results(cls, found, out)

    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = doc
    return extreme


max = _extreme(
    "max",
    """The largest element; with dim, the largest along it and their positions; with a tensor, `maximum`.

    nan wins. The gradient goes to the position found, or in equal parts to all that are largest if dim is not given.

    Raises: ShapeError: no elements and no dim.  IndexRangeError: dim is out of range or has size 0.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor([[1.0, 5.0], [4.0, 2.0]])
        >>> x.max()
        tensor(5.)
        >>> values, indices = x.max(dim=1)
        >>> indices
        tensor([1, 0])
    """,
    _max_all,
    elementwise.maximum,
    arg_max,
    _max_values,
)
min = _extreme(
    "min",
    """The smallest element; with dim, the smallest along it and their positions; with a tensor, `minimum`.

    nan wins; the rest is as in `max`.
    """,
    _min_all,
    elementwise.minimum,
    arg_min,
    _min_values,
)


def _positions_of(name: str, word: str, locate: Any) -> Any:
    """argmax or argmin."""

    def arg(
        input: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        *,
        out: Any = None,
        axis: Any = None,
        keepdims: bool = False,
    ) -> Tensor:
        if dim is None:
            dim = axis
        try:
            shape = input._a.shape
        except AttributeError:
            raise needs_tensor(name, input) from None
        if dim is not None:
            dim = one_dim(dim, len(shape), name)
        if 0 in shape or input._kind.dtype.is_complex:
            if dim is None:
                raise _refuse(name, input)
            _check_dim(name, input, dim)
        return locate(input, dim, keepdim or keepdims, out=out)  # type: ignore[no-any-return]

    arg.__name__ = arg.__qualname__ = name
    arg.__doc__ = f"""Position of the {word} element, among all or along dim; the first of equals, and of nans.

    Raises: IndexRangeError: no elements, or dim is out of range.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[1.0, 5.0], [4.0, 2.0]]).{name}(dim=1)
        tensor({[1, 0] if name == "argmax" else [0, 1]})
    """
    return arg


argmax = _positions_of("argmax", "largest", arg_max)
argmin = _positions_of("argmin", "smallest", arg_min)


def _over(name: str, fn: Any, input: Tensor, dim: Any, keepdim: bool, out: Any) -> Tensor:
    shape = input._a.shape
    dims = dims_of(dim, len(shape), name)
    if 0 in shape or input._kind.dtype.is_complex:
        if dim is None or dim in ((), []):
            raise _refuse(name, input)
        for d in wrap_dims(dim, len(shape), name):
            _check_dim(name, input, d)
    return fn(input, dims, keepdim, out=out)  # type: ignore[no-any-return]


def _shared(name: str, doc: str, fn: Any) -> Any:
    """amax or amin."""

    def extreme(
        input: Tensor,
        dim: Any = (),
        keepdim: bool = False,
        *,
        out: Any = None,
        axis: Any = (),
        keepdims: bool = False,
    ) -> Tensor:
        try:
            return _over(name, fn, input, axis if dim == () else dim, keepdim or keepdims, out)
        except AttributeError:
            if isinstance(input, Tensor):
                raise
            raise needs_tensor(name, input) from None

    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = doc
    return extreme


amax = _shared(
    "amax",
    """Largest over the given dimensions (all by default); equals share the gradient in equal parts.

    Raises: ShapeError: no elements and no dim.  IndexRangeError: dim is out of range or has size 0.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[1.0, 5.0], [4.0, 2.0]]).amax(1)
        tensor([5., 4.])
    """,
    reduce_max,
)
amin = _shared(
    "amin",
    """Smallest over the given dimensions (all by default); equals share the gradient in equal parts.

    Raises: as `amax`.
    """,
    reduce_min,
)


@reduction
def aminmax(input: Tensor, *, dim: Any = None, keepdim: bool = False, out: Any = None) -> Any:
    """Smallest and largest elements, of all or along dim.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([3, 1, 2]).aminmax()
        flambeau.return_types.aminmax(
        min=tensor(1),
        max=tensor(3))
    """
    low = _over("aminmax", reduce_min, input, dim, keepdim, None)
    return results(
        return_types.aminmax, (low, _over("aminmax", reduce_max, input, dim, keepdim, None)), out
    )


PUBLIC = Public(both="max min argmax argmin amax amin aminmax")
