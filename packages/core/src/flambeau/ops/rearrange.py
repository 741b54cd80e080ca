"""Copies in another order: repeat, tile, repeat_interleave, flip, roll, rot90."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.errors import DTypeError, ShapeError
from flambeau.ops import positions
from flambeau.ops._op import op, same
from flambeau.ops._public import Public
from flambeau.ops.casting import convert
from flambeau.ops.creation import arange, tensor
from flambeau.ops.join import join
from flambeau.ops.movement import (
    _expand,
    _view,
    narrow,
    reshape,
    transpose,
    unsqueeze,
)
from flambeau.ops.reduce import reduce_sum
from flambeau.shape import Shape, as_shape, check_sizes, wrap_dim, wrap_dims
from flambeau.tensor import Tensor, describe, wrap


# ---- repetition
@op(
    shape=lambda x, sizes: tuple(n * m for n, m in zip(x, sizes)),
    kernel="repeat",
    node="RepeatBackward0",
)
def _repeat(input: Tensor, sizes: Shape) -> Tensor:
    """The whole tensor repeated along each dimension; sizes has input's rank."""
    apart, spread = _pairs(input._a.shape, sizes)
    whole = tuple(n * m for n, m in zip(input._a.shape, sizes))
    return reshape(_expand(reshape(input, apart), spread), whole)


def _pairs(shape: Shape, sizes: Shape) -> tuple[Shape, Shape]:
    """Shapes with two dimensions for each: before and after the repetition."""
    apart = tuple(n for size in shape for n in (1, size))
    spread = tuple(n for size, times in zip(shape, sizes) for n in (times, size))
    return apart, spread


def _repeat_input(g: Tensor, sizes: Shape, input_shape: Shape) -> Tensor:
    if 0 in sizes:
        return positions.zeros(input_shape, g._kind)
    spread = _pairs(input_shape, sizes)[1]
    return reduce_sum(reshape(g, spread), tuple(range(0, len(spread), 2)), False) if spread else g


_repeat.vjp(input=_repeat_input)


def repeat(input: Tensor, *args: Any, repeats: Any = None) -> Tensor:
    """A copy in which the whole tensor is repeated along each dimension; more numbers add dimensions in front.

    Raises: ShapeError: fewer numbers than dimensions, or a negative one.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([1, 2]).repeat(2, 2)
        tensor([[1, 2, 1, 2],
                [1, 2, 1, 2]])
    """
    sizes, shape = as_shape(args if repeats is None else (repeats,), "repeat"), input._a.shape
    if len(sizes) < len(shape):
        raise ShapeError(
            "repeat: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor, got "
            f"{list(sizes)} ({describe(input)})"
        )
    check_sizes(sizes, "repeat")
    if len(sizes) > len(shape):
        input = (
            _view(input, (1,) * (len(sizes) - len(shape)) + shape)
            if shape
            else _expand(input, (1,) * len(sizes))
        )
    return _repeat(input, sizes)


def tile(input: Tensor, *args: Any, dims: Any = None) -> Tensor:
    """The tensor repeated along the last dimensions; further dimensions stay single."""
    sizes = as_shape(args if dims is None else (dims,), "tile")
    return repeat(input, (1,) * (len(input._a.shape) - len(sizes)) + sizes)


@op(
    shape=lambda x, times, dim: (*x[:dim], x[dim] * times, *x[dim + 1 :]),
    kernel="repeat_each",
    node="RepeatInterleaveBackward0",
)
def _repeat_each(input: Tensor, times: int, dim: int) -> Tensor:
    """Every element repeated in place along dim."""
    shape = input._a.shape
    spread = _expand(unsqueeze(input, dim + 1), (*shape[: dim + 1], times, *shape[dim + 1 :]))
    return reshape(spread, (*shape[:dim], shape[dim] * times, *shape[dim + 1 :]))


def _repeat_each_input(g: Tensor, times: int, dim: int, input_shape: Shape) -> Tensor:
    apart = (*input_shape[: dim + 1], times, *input_shape[dim + 1 :])
    return reduce_sum(reshape(g, apart), (dim + 1,), False)


_repeat_each.vjp(input=_repeat_each_input)


def _repeat_positions(counts: Tensor, output_size: int | None) -> Tensor:
    """0 counts[0] times, 1 counts[1] times and so on."""
    if counts._kind.dtype.category != dtypes.INTEGER:
        raise DTypeError(f"repeat_interleave: repeats must be int or long, got {describe(counts)}")
    counts = convert(counts, counts._kind.int64)
    kernel = counts._kind.k["repeat_positions"]
    lowest = min(counts.tolist(), default=0)
    if lowest < 0:
        raise ShapeError(f"repeat_interleave: repeats can not be negative, got {lowest}")
    if kernel is not None:
        found = wrap(kernel(counts._a), counts._kind)
    else:
        listed = [i for i, n in enumerate(counts.tolist()) for _ in range(n)]
        found = tensor(listed, dtype=dtypes.int64, device=counts.device)
    if output_size is not None and output_size != found._a.shape[0]:
        raise ShapeError(
            f"repeat_interleave: allocated size does not match required size, got output_size {output_size} for "
            f"{found._a.shape[0]} elements"
        )
    return found


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element repeated in place, along dim or of the flattened tensor.

    Args: repeats: how often, for all or (a tensor) for each; without it, input holds these numbers and the positions
        come back.  output_size: the resulting size, if it is known; it is checked.
    Raises: ShapeError: a negative number, or not one number for each element.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([1, 2]).repeat_interleave(2)
        tensor([1, 1, 2, 2])
    """
    if repeats is None:
        if len(input._a.shape) != 1:
            raise ShapeError(
                f"repeat_interleave: only accept 1D vector as repeat, got {describe(input)}"
            )
        return _repeat_positions(input, output_size)
    if dim is None:
        input, dim = reshape(input, (-1,)), 0
    x = positions.at_least_1d(input)
    at = wrap_dim(dim, len(x._a.shape), "repeat_interleave")
    size = x._a.shape[at]
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        if repeats._a.shape != (size,):
            raise ShapeError(
                f"repeat_interleave: repeats must have the same size as input along dim, but got repeats.size(0) = "
                f"{repeats._a.shape[0]} and input.size({at}) = {size}"
            )
        return positions.take(x, _repeat_positions(repeats, output_size), at, False)
    times = int(repeats.item() if isinstance(repeats, Tensor) else repeats)
    if times < 0:
        raise ShapeError(f"repeat_interleave: Repeats must be non-negative, got {times}")
    return _repeat_each(x, times, at)


# ---- other orders
@op(shape=same, whole=True, kernel="flip", node="FlipBackward0")
def _flip(input: Tensor, dims: Shape) -> Tensor:
    """The order of elements along dims reversed."""
    for d in dims:
        n = input._a.shape[d]
        input = positions.take(input, arange(n - 1, -1, -1, device=input.device), d, False)
    return input


_flip.vjp(input=lambda g, dims: _flip(g, dims))


def flip(input: Tensor, *args: Any, dims: Any = None) -> Tensor:
    """A copy with the order of elements along the given dimensions reversed.

    Raises: ShapeError: a dimension stands twice.  IndexRangeError: one is out of range.
    """
    wanted = as_shape(args if dims is None else (dims,), "flip")
    at = wrap_dims(wanted, len(input._a.shape), "flip")
    return _flip(input, at if input._a.shape else ())


def fliplr(input: Tensor) -> Tensor:
    """A copy with the order of columns reversed.

    Raises: ShapeError: fewer than two dimensions.
    """
    if input.dim() < 2:
        raise ShapeError(f"fliplr: Input must be >= 2-d, got {describe(input)}")
    return _flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """A copy with the order of rows reversed.

    Raises: ShapeError: 0-d.
    """
    if input.dim() < 1:
        raise ShapeError(f"flipud: Input must be >= 1-d, got {describe(input)}")
    return _flip(input, (0,))


@op(shape=same, whole=True, kernel="roll", node="RollBackward0")
def _roll(input: Tensor, shifts: Shape, dims: Shape) -> Tensor:
    """Elements moved along dims; those that leave at one end enter at the other."""
    for shift, dim in zip(shifts, dims):
        n = input._a.shape[dim]
        cut = -shift % n if n else 0
        if cut:
            input = join([narrow(input, dim, cut, n - cut), narrow(input, dim, 0, cut)], dim)
    return input


_roll.vjp(input=lambda g, shifts, dims: _roll(g, tuple(-s for s in shifts), dims))


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved by shifts along dims, or in the flattened tensor; those that leave at one end enter at the other.

    Raises: ShapeError: shifts and dims differ in number.

    Example:
        >>> import flambeau as fb
        >>> fb.roll(fb.tensor([1, 2, 3]), 1)
        tensor([3, 1, 2])
    """
    by = as_shape((shifts,), "roll")
    where = () if dims is None else as_shape((dims,), "roll")
    if not by:
        raise ShapeError("roll: `shifts` required")
    if not where and len(by) == 1:
        return reshape(_roll(reshape(input, (-1,)), by, (0,)), input._a.shape)
    if len(by) != len(where):
        raise ShapeError(
            f"roll: shifts and dimensions must align. shifts: {len(by)}, dims:{len(where)}"
        )
    rank = len(input._a.shape)
    at = tuple(wrap_dim(d, rank, "roll") for d in where)
    return _roll(input, by, at) if rank else _roll(input, (), ())


def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """A copy turned k times by 90 degrees, from the first towards the second of two dimensions.

    Raises: ShapeError: not two different dimensions, or fewer than two in input.
    """
    rank = len(input._a.shape)
    if len(dims) != 2:
        raise ShapeError(f"rot90: expected total rotation dims == 2, but got dims = {len(dims)}")
    if rank < 2:
        raise ShapeError(f"rot90: expected total dims >= 2, but got total dims = {rank}")
    a, b = (wrap_dim(d, rank, "rot90") for d in dims)
    if a == b:
        raise ShapeError(
            f"rot90: expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    turns = k % 4
    if turns == 1:
        return transpose(_flip(input, (b,)), a, b)
    if turns == 2:
        return _flip(input, (a, b))
    if turns == 3:
        return transpose(_flip(input, (a,)), a, b)
    return _flip(input, ())


PUBLIC = Public(
    both="repeat_interleave tile roll flip fliplr flipud rot90",
    methods="repeat",
)
