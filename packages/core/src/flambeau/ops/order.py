"""Sorting and what depends on order: top elements, medians, quantiles, modes."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes, return_types
from flambeau.errors import IndexRangeError, ShapeError, UnsupportedOpError
from flambeau.ops._op import op
from flambeau.ops._pick import pick, picker, results
from flambeau.ops._public import Public
from flambeau.ops._recover import write_out
from flambeau.ops.casting import convert
from flambeau.ops.creation import arange
from flambeau.ops.elementwise import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    eq,
    floor_divide,
    isnan,
    lt,
    maximum,
    ne,
    sub,
    where,
)
from flambeau.ops.extremes import arg_max, positions, reduce_max, share_all
from flambeau.ops.movement import _expand, _permute, _slice, _slice_backward, _view, reshape
from flambeau.ops.reduce import (
    Dims,
    filled,
    one_dim,
    reduce_sum,
    reduced,
    reduction,
)
from flambeau.ops.scan import scan, shifted
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe, wrap


# ---- positions in order
def _extremes_of(d: Any) -> tuple[Any, Any]:
    """What sorts first and last among numbers of a dtype; nan counts as the largest."""
    if d is dtypes.bool_:
        return False, True
    if d.is_floating_point:
        return -math.inf, math.nan
    info = dtypes.iinfo(d)
    return info.min, info.max


def _padded(x: Tensor, size: int, value: Any) -> Tensor:
    """x with its last dimension filled up to a size."""
    n = x._a.shape[-1]
    shape = (*x._a.shape[:-1], size)
    key = (slice(None),) * (len(shape) - 1) + (slice(0, n),)
    return where(
        lt(arange(size, device=x.device), n), _slice_backward(x, key, shape), filled((), value, x)
    )


def _precedes(a: Tensor, b: Tensor, i: Tensor, j: Tensor, descending: bool) -> Tensor:
    """Whether element a at position i comes before b at j: a total order, so that sorting is stable."""
    less, same = lt(a, b), eq(a, b)
    if a._kind.inexact is not None:
        a_nan, b_nan = ne(a, a), ne(b, b)
        less = bitwise_or(less, bitwise_and(b_nan, bitwise_not(a_nan)))
        same = bitwise_or(same, bitwise_and(a_nan, b_nan))
    if descending:
        less = bitwise_not(bitwise_or(less, same))
    return bitwise_or(less, bitwise_and(same, lt(i, j)))


def _bitonic(x: Tensor, descending: bool) -> Tensor:
    """Positions of the elements in order along the last dimension, by a bitonic sorting network."""
    n = x._a.shape[-1]
    size = 1 << max(n - 1, 0).bit_length()
    values = _padded(x, size, _extremes_of(x._kind.dtype)[0 if descending else 1])
    last = len(values._a.shape) - 1
    place = arange(size, device=x.device)
    index = _expand(place, values._a.shape)
    block = 2
    while block <= size:
        step = block // 2
        while step:
            partner = _expand(bitwise_xor(place, step), values._a.shape)
            other, other_index = pick(values, partner, last), pick(index, partner, last)
            first = _precedes(values, other, index, other_index, descending)
            # the lower of two places keeps the first element, in blocks that ascend; else the other one
            low = eq(bitwise_and(place, step), 0)
            keep = bitwise_not(bitwise_xor(first, eq(eq(bitwise_and(place, block), 0), low)))
            values, index = where(keep, values, other), where(keep, index, other_index)
            step //= 2
        block *= 2
    return _slice(index, (slice(None),) * last + (slice(0, n),))


@op(dtype="int64", whole=True, kernel="argsort")
def arg_sort(input: Tensor, dim: int, descending: bool) -> Tensor:
    """Positions of the elements along dim in order; equals keep their order; nan counts as the largest."""
    if not input._a.shape:
        return filled((), 0, wrap(input._a, input._kind.int64))
    last = len(input._a.shape) - 1
    order = tuple(last if d == dim else dim if d == last else d for d in range(last + 1))
    return _permute(_bitonic(_permute(input, order), descending), order).contiguous()


def _sized(x: Shape, dim: int, k: int) -> Shape:
    return (*x[:dim], k, *x[dim + 1 :]) if x else x


@op(shape=lambda x, count, dim, largest: _sized(x, dim, count), dtype="int64", kernel="arg_topk")
def arg_topk(input: Tensor, count: int, dim: int, largest: bool) -> Tensor:
    """Positions of the `count` largest or smallest elements along dim, in order."""
    found = arg_sort(input, dim, largest)
    return _slice(found, (slice(None),) * dim + (slice(0, count),)) if input._a.shape else found


@op(
    shape=lambda x, nth, dim, keepdim: reduced(x, (dim,) if x else None, keepdim),
    dtype="int64",
    kernel="arg_kth",
)
def arg_kth(input: Tensor, nth: int, dim: int, keepdim: bool) -> Tensor:
    """Position of the element that stands nth (from 0) along dim in ascending order."""
    if not input._a.shape:
        return arg_sort(input, 0, False)
    return _slice(
        arg_sort(input, dim, False),
        (slice(None),) * dim + (slice(nth, nth + 1) if keepdim else nth,),
    )


@op(
    shape=lambda x, dim, keepdim, ignore: reduced(x, (dim,) if x else None, keepdim),
    dtype="int64",
    kernel="arg_median",
)
def arg_median(input: Tensor, dim: int, keepdim: bool, ignore_nan: bool) -> Tensor:
    """Position of the lower median along dim: of the first nan if there is one, or of what is not nan."""
    if not input._a.shape:
        return arg_sort(input, 0, False)
    n = input._a.shape[dim]
    if input._kind.inexact is None:
        return arg_kth(input, (n - 1) // 2, dim, keepdim)
    if ignore_nan:
        count = reduce_sum(convert(eq(input, input), input._kind.int64), (dim,), True)
        middle = maximum(floor_divide(sub(count, 1), 2), 0)
        found = pick(arg_sort(input, dim, False), middle, dim)
    else:
        first = arg_max(input, dim, True)  # the first nan, if there is one
        found = where(
            isnan(pick(input, first, dim)), first, arg_kth(input, (n - 1) // 2, dim, True)
        )
    return _view(found, reduced(input._a.shape, (dim,), keepdim))


@op(
    shape=lambda x, dim, keepdim: reduced(x, (dim,) if x else None, keepdim),
    dtype="int64",
    kernel="arg_mode",
)
def arg_mode(input: Tensor, dim: int, keepdim: bool) -> Tensor:
    """Last position of the most frequent element along dim; of equally frequent ones, of the smallest."""
    if not input._a.shape:
        return arg_sort(input, 0, False)
    order = arg_sort(input, dim, False)
    x = pick(input, order, dim)
    at = positions(x, dim)
    starts = bitwise_or(ne(x, shifted(x, dim, 1)), eq(at, 0))
    length = sub(at, scan(where(starts, at, 0), dim, "max", False))  # grows along a run of equals
    longest = reduce_max(length, (dim,), True)
    end = arg_max(convert(eq(length, longest), at._kind), dim, True)
    return _view(pick(order, end, dim), reduced(input._a.shape, (dim,), keepdim))


# ---- what users call
_values = {name: picker(name) for name in ("sort", "topk", "kthvalue", "mode")}
_values |= {
    name: picker(name, node=f"{name.capitalize()}Backward1") for name in ("median", "nanmedian")
}


def _ordered(name: str, input: Tensor, dim: Any, *, empty: bool = False) -> int:
    """The dimension, once input has an order and elements along it."""
    at = one_dim(dim, len(input._a.shape), name)
    if input._kind.dtype.is_complex:
        raise UnsupportedOpError(
            f"{name}(): complex numbers have no order, got {describe(input)}. Hint: x.abs()"
        )
    if not empty and input._a.shape and input._a.shape[at] == 0:
        raise IndexRangeError(
            f"{name}(): Expected reduction dim {at} to have non-zero size, got {describe(input)}"
        )
    return at


def _with_values(name: str, input: Tensor, index: Tensor, dim: int, out: Any) -> Any:
    return results(getattr(return_types, name), (_values[name](input, index, dim), index), out)


@reduction
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None
) -> Any:
    """Elements in ascending or descending order along dim, and their positions before; nan counts as the largest.

    Equal elements keep their order whether stable is set or not.

    Example:
        >>> import flambeau as fb
        >>> values, indices = fb.sort(fb.tensor([3, 1, 2]))
        >>> values, indices
        (tensor([1, 2, 3]), tensor([1, 2, 0]))
    """
    at = _ordered("sort", input, dim, empty=True)
    return _with_values("sort", input, arg_sort(input, at, bool(descending)), at, out)


@reduction
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The positions that put the elements along dim in order.

    Example:
        >>> import flambeau as fb
        >>> fb.argsort(fb.tensor([3, 1, 2]), descending=True)
        tensor([0, 2, 1])
    """
    at = _ordered("argsort", input, dim, empty=True)
    found: Tensor = arg_sort(input, at, bool(descending))
    return found


@reduction
def msort(input: Tensor, *, out: Any = None) -> Tensor:
    """Elements in ascending order along the first dimension."""
    found: Tensor = sort(input, 0).values
    return found if out is None else write_out(found, out)


@reduction
def topk(
    input: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    out: Any = None,
) -> Any:
    """The k largest (or smallest) elements along dim in order, and their positions.

    Raises: ShapeError: k is negative or larger than the dimension.

    Example:
        >>> import flambeau as fb
        >>> fb.topk(fb.tensor([3, 1, 2]), 2).values
        tensor([3, 2])
    """
    at = _ordered("topk", input, dim, empty=True)
    least, size = (0, input._a.shape[at]) if input._a.shape else (1, 1)
    if not least <= k <= size:
        raise ShapeError(
            f"topk(): selected index k out of range, got k={k} for dimension {at} of {describe(input)}"
        )
    return _with_values("topk", input, arg_topk(input, int(k), at, bool(largest)), at, out)


@reduction
def kthvalue(
    input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None
) -> Any:
    """The k-th smallest element along dim (counted from 1), and its position.

    Raises: ShapeError: k is out of range.
    """
    at = _ordered("kthvalue", input, dim)
    if not 1 <= k <= (input._a.shape[at] if input._a.shape else 1):
        raise ShapeError(
            f"kthvalue(): selected number k out of range for dimension {at}, got k={k} for {describe(input)}"
        )
    return _with_values("kthvalue", input, arg_kth(input, int(k) - 1, at, keepdim), at, out)


def _median_of(input: Tensor, ignore_nan: bool) -> Tensor:
    flat = reshape(input, (-1,))
    return _view(pick(flat, arg_median(flat, 0, False, ignore_nan), 0), ())


@op(shape=lambda x, dims, keepdim: (), kernel="median", node="MedianBackward0")
def _median_all(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """The lower median of all elements."""
    return _median_of(input, False)


@op(shape=lambda x, dims, keepdim: (), kernel="nanmedian", node="NanmedianBackward0")
def _nanmedian_all(input: Tensor, dims: Dims, keepdim: bool) -> Tensor:
    """The lower median of the elements that are not nan."""
    return _median_of(input, True)


for _all in (_median_all, _nanmedian_all):
    _all.vjp(input=share_all)


def _middle(name: str, input: Tensor, dim: Any, keepdim: bool, out: Any, ignore_nan: bool) -> Any:
    if dim is None:
        if input.numel() == 0:
            if input._kind.inexact is None:
                raise ShapeError(f"{name}(): needs at least one element, got {describe(input)}")
            return filled((), math.nan, input)
        _ordered(name, input, -1)
        return (_nanmedian_all if ignore_nan else _median_all)(input, None, False, out=out)
    at = _ordered(name, input, dim)
    return _with_values(name, input, arg_median(input, at, keepdim, ignore_nan), at, out)


@reduction
def median(input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The median, the lower one of two; with dim, the medians along it and their positions. nan wins.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([4, 1, 3, 2]).median()
        tensor(2)
    """
    return _middle("median", input, dim, keepdim, out, False)


@reduction
def nanmedian(input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """`median` of the elements that are not nan."""
    return _middle("nanmedian", input, dim, keepdim, out, True)


@reduction
def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent element along dim (the smallest of several), and the last of its positions.

    Example:
        >>> import flambeau as fb
        >>> fb.mode(fb.tensor([2, 1, 2, 1, 3]))
        flambeau.return_types.mode(
        values=tensor(1),
        indices=tensor(3))
    """
    at = _ordered("mode", input, dim)
    return _with_values("mode", input, arg_mode(input, at, keepdim), at, out)


PUBLIC = Public(
    both="sort argsort msort topk kthvalue median nanmedian mode",
)
