"""Indexing one dimension with a vector: index_select and its like; and positions in the flattened tensor: take, put."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.inplace import update
from flambeau.errors import (
    ArgumentError,
    DTypeError,
    IndexRangeError,
    ShapeError,
    out_of_bounds,
)
from flambeau.ops import elementwise as ew, positions
from flambeau.ops._public import Public
from flambeau.ops._recover import common_device, write_out
from flambeau.ops.casting import convert
from flambeau.ops.masking import masked_fill, masked_fill_
from flambeau.ops.movement import _expand, _view, reshape
from flambeau.ops.positions import at_least_1d, zero_dim
from flambeau.ops.scatter import _REDUCTIONS, _check_reduction, _reduced
from flambeau.shape import broadcast_shapes, wrap_dim
from flambeau.tensor import Tensor, describe

Index = Tensor  # an operand that must be int64


# ---- one dimension, indexed with a vector
def _vector(op: str, input: Tensor, dim: int, index: Any) -> tuple[int, Tensor]:
    """The wrapped dimension, and index as a vector."""
    if not isinstance(index, Tensor):
        raise ArgumentError(f"{op}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if len(index._a.shape) > 1:
        raise IndexRangeError(f"{op}(): Index is supposed to be a vector, got {describe(index)}")
    if index._kind.dtype.category != dtypes.INTEGER:
        raise DTypeError(
            f"{op}(): Expected dtype int32 or int64 for index, got {describe(index)}. Hint: index.long()"
        )
    if not index._a.shape:
        index = _view(index, (1,))
    return wrap_dim(dim, len(input._a.shape), op), index


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices of input at a vector of positions along dim, as a copy.

    Raises: IndexRangeError: index has several dimensions, or a position is outside [0, size).

    Example:
        >>> import flambeau as fb
        >>> fb.index_select(fb.tensor([[1, 2, 3], [4, 5, 6]]), 1, fb.tensor([2, 0]))
        tensor([[3, 1],
                [6, 4]])
    """
    dim, index = _vector("index_select", input, dim, index)
    if input._a.shape:
        return positions.index_select(input, index, dim, False, out=out)
    picked = _view(positions.index_select(_view(input, (1,)), index, 0, False), ())
    return picked if out is None else write_out(picked, out)


def _checked_source(
    op: str, input: Tensor, dim: int, index: Tensor, source: Any
) -> tuple[int, Tensor, Tensor]:
    """Dimension, index vector and source of an op that puts source's slices at index."""
    dim, index = _vector(op, input, dim, index)
    if not isinstance(source, Tensor):
        raise ArgumentError(
            f"{op}(): argument 'source' must be Tensor, not {type(source).__name__}"
        )
    if source._kind is not input._kind:
        common_device(op, (input, source))
        if source._kind.dtype is not input._kind.dtype:
            raise DTypeError(
                f"{op}(): self and source must have the same scalar type, got {describe(input)} and "
                f"{describe(source)}. Hint: source.to({input.dtype!r})"
            )
        source = convert(source, input._kind)  # a number on the cpu
    have, want = source._a.shape or (1,), input._a.shape or (1,)
    n = index._a.shape[0]
    if len(have) != len(want) or have[:dim] + have[dim + 1 :] != want[:dim] + want[dim + 1 :]:
        raise ShapeError(
            f"{op}(): source tensor shape must match self tensor shape, excluding the specified dimension. Got "
            f"self.shape = {list(input._a.shape)} source.shape = {list(source._a.shape)}"
        )
    if have[dim] != n:
        raise ShapeError(
            f"{op}(): Number of indices ({n}) should be equal to source.size(dim): ({have[dim]}), for dim: {dim}"
        )
    return dim, index, source


def _not_negative(op: str, x: Tensor, index: Tensor, dim: int) -> Tensor:
    """index as int64, once no position is negative: writing would take those as counted from the end."""
    index = convert(index, index._kind.int64)
    kind = index._kind
    if kind.device.type != "meta" and index._a.shape != (0,):
        low = -kind.k["item"](kind.k["reduce_max"](kind.k["neg"](index._a, out=...), None, False))
        if low < 0:
            raise out_of_bounds(low, dim, x._a.shape[dim], 0, op, describe(x))
    return index


def _put_slices(
    op: str, x: Tensor, dim: int, index: Tensor, value: Tensor, accumulate: bool
) -> Tensor:
    whole = at_least_1d(x)
    index = _not_negative(op, whole, index, dim)
    try:
        return _as(positions.write(whole, (index,), value, dim, accumulate=accumulate), x)
    except IndexRangeError as error:
        raise _from_zero(op, error, x) from None


def _put_slices_(
    op: str, x: Tensor, dim: int, index: Tensor, value: Tensor, accumulate: bool
) -> Tensor:
    whole = at_least_1d(x)
    index = _not_negative(op, whole, index, dim)
    try:
        positions.write_(op, whole, (index,), value, dim, accumulate)
    except IndexRangeError as error:
        raise _from_zero(op, error, x) from None
    return x


def _from_zero(op: str, error: IndexRangeError, x: Tensor) -> IndexRangeError:
    """The error of a write, in an operation where no position counts from the end."""
    if error.where is None:
        return error
    index, dim, size, _ = error.where
    return out_of_bounds(index, dim, size, 0, op, describe(x))


def _as(y: Tensor, x: Tensor) -> Tensor:
    return y if y._a.shape == x._a.shape else _view(y, x._a.shape)


def _scaled(source: Tensor, alpha: Any) -> Tensor:
    return at_least_1d(source if alpha == 1 else ew.mul(source, alpha))


def index_add(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    *,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """input with the slices of alpha * source added at a vector of positions along dim.

    Raises: ShapeError: source has not input's shape with len(index) at dim.  IndexRangeError: a position is out of
        range.
    """
    dim, index, source = _checked_source("index_add", input, dim, index, source)
    done = _put_slices("index_add", input, dim, index, _scaled(source, alpha), True)
    return done if out is None else write_out(done, out)


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """In-place version of index_add."""
    dim, index, source = _checked_source("index_add_", self, dim, index, source)
    return _put_slices_("index_add_", self, dim, index, _scaled(source, alpha), True)


def index_copy(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """input with the slices of source put at a vector of positions along dim.

    Raises: ShapeError: source has not input's shape with len(index) at dim.  IndexRangeError: a position is out of
        range.
    """
    dim, index, source = _checked_source("index_copy", input, dim, index, source)
    done = _put_slices("index_copy", input, dim, index, at_least_1d(source), False)
    return done if out is None else write_out(done, out)


def index_copy_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """In-place version of index_copy."""
    dim, index, source = _checked_source("index_copy_", self, dim, index, source)
    return _put_slices_("index_copy_", self, dim, index, at_least_1d(source), False)


def _mask_of(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """True at index along dim, ready to broadcast to x."""
    shape, kind = x._a.shape, x._kind.boolean
    flags = positions.zeros((shape[dim] if shape else 1,), kind)
    flags = positions.write(flags, (index,), positions.zeros((), kind, True), 0, accumulate=False)
    return _view(flags, (shape[dim],) + (1,) * (len(shape) - dim - 1) if shape else ())


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with a number or 0-d tensor at a vector of positions along dim."""
    dim, index = _vector("index_fill", input, dim, index)
    index = convert(index, input._kind.int64)
    filling = zero_dim("index_fill", value, input._kind)
    if (
        filling._g is not None
    ):  # each place counts once in its gradient, however often index names it
        return masked_fill(input, _mask_of(input, dim, index), filling)
    done = positions.write(at_least_1d(input), (index,), filling, dim, accumulate=False)
    return _as(done, input)


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """In-place version of index_fill."""
    dim, index = _vector("index_fill_", self, dim, index)
    index = convert(index, self._kind.int64)
    filling = zero_dim("index_fill_", value, self._kind)
    if filling._g is not None:
        return masked_fill_(self, _mask_of(self, dim, index), filling)
    positions.write_("index_fill_", at_least_1d(self), (index,), filling, dim, False)
    return self


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """input with source's slices combined in at a vector of positions along dim: reduce is prod, mean, amax or amin.

    Raises: ShapeError: another reduction; index or source does not fit.  IndexRangeError: a position is out of range.
    """
    _check_reduction("index_reduce", reduce, _REDUCTIONS[1:])
    dim, index, source = _checked_source("index_reduce", input, dim, index, source)
    shape = source._a.shape
    upright = _view(index, (-1,) + (1,) * (len(shape or (1,)) - dim - 1))
    spread = _expand(upright, shape) if shape else _view(index, ())
    done = _reduced(input, spread, source, dim, reduce, include_self)
    return done if out is None else write_out(done, out)


def index_reduce_(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """In-place version of index_reduce."""
    return update(
        "index_reduce_", self,
        lambda x: index_reduce(x, dim, index, source, reduce, include_self=include_self), saves=True,
    )  # fmt: skip


# ---- positions in the flattened tensor
def _long(op: str, index: Any, like: Tensor) -> Tensor:
    if not isinstance(index, Tensor) or index._kind.dtype.category != dtypes.INTEGER:
        got = describe(index) if isinstance(index, Tensor) else type(index).__name__
        raise DTypeError(
            f"{op}(): Expected a long tensor for index, but got {got}. Hint: index.long()"
        )
    return convert(index, like._kind.int64)


def take(input: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements of the flattened input at index, in index's shape; negative positions count from the end."""
    index = _long("take", index, input)
    return positions.take(reshape(input, (-1,)), index, 0, True, out=out)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with source's elements put at (or added to) positions in its flattened form.

    Raises: ShapeError: index and source differ in their number of elements.
    """
    index = reshape(_long("put", index, input), (-1,))
    if source._kind.dtype is not input._kind.dtype:
        raise DTypeError(
            f"put_(): self and source expected to have the same dtype, got {describe(input)} and {describe(source)}"
        )
    if source.numel() != index.numel():
        raise ShapeError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.numel()}, index.numel() = {index.numel()}"
        )
    flat = reshape(input, (-1,))
    done = positions.write(flat, (index,), reshape(source, (-1,)), 0, accumulate=accumulate)
    return reshape(done, input._a.shape)


def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """In-place version of put."""
    return update("put_", self, lambda x: put(x, index, source, accumulate), saves=False)


def take_along_dim(
    input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """The elements at indices along dim, the other dimensions broadcast; without dim, of the flattened input.

    Raises: ShapeError: input and indices differ in rank.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor([[3, 1, 2]])
        >>> fb.take_along_dim(x, fb.argsort(x, 1), 1)
        tensor([[1, 2, 3]])
    """
    indices = _long("take_along_dim", indices, input)
    if dim is None:
        return positions.take(reshape(input, (-1,)), reshape(indices, (-1,)), 0, True, out=out)
    have, sizes = input._a.shape, indices._a.shape
    if len(have) != len(sizes):
        raise ShapeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{len(have)} dimensions for input, and {len(sizes)} dimensions for indices"
        )
    dim = wrap_dim(dim, len(have), "take_along_dim")
    common = list(
        broadcast_shapes(have[:dim] + (1,) + have[dim + 1 :], sizes[:dim] + (1,) + sizes[dim + 1 :])
    )
    whole = _expand(input, (*common[:dim], have[dim], *common[dim + 1 :]))
    at = _expand(indices, (*common[:dim], sizes[dim], *common[dim + 1 :]))
    at = ew.where(ew.lt(at, 0), ew.add(at, have[dim]), at)
    return positions.gather(whole, at, dim, out=out)


PUBLIC = Public(
    both="index_select index_add index_copy index_fill index_reduce take put take_along_dim",
    methods="index_add_ index_copy_ index_fill_ index_reduce_ put_",
)
