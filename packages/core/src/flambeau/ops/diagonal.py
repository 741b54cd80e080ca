"""Triangles and diagonals, writing into a part (select_scatter and its like), windows and constant padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.device import canonical
from flambeau.errors import IndexRangeError, ShapeError
from flambeau.kinds import kind_of
from flambeau.ops import elementwise as ew, positions
from flambeau.ops._op import inplace_of, op, same
from flambeau.ops._public import Public
from flambeau.ops._recover import write_out
from flambeau.ops.casting import clone, copy_
from flambeau.ops.creation import arange
from flambeau.ops.movement import _as_strided, _permute, _slice, _view, reshape, select
from flambeau.shape import Shape, wrap_dim
from flambeau.tensor import Tensor, describe, wrap


# ---- triangles
def _in_triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    rows, columns = input._a.shape[-2:]
    i = _view(arange(rows, device=input.device), (rows, 1))
    j = ew.sub(arange(columns, device=input.device), diagonal)
    return ew.where(ew.le(j, i) if lower else ew.ge(j, i), input, 0)


@op(shape=same, kernel="tril", node="TrilBackward0")
def _tril(input: Tensor, diagonal: int) -> Tensor:
    """Zero above a diagonal of the last two dimensions."""
    return _in_triangle(input, diagonal, True)


@op(shape=same, kernel="triu", node="TriuBackward0")
def _triu(input: Tensor, diagonal: int) -> Tensor:
    """Zero below a diagonal of the last two dimensions."""
    return _in_triangle(input, diagonal, False)


_tril.vjp(input=lambda g, diagonal: _tril(g, diagonal))
_triu.vjp(input=lambda g, diagonal: _triu(g, diagonal))
_tril.op.label = "tril"  # what messages call it
_triu.op.label = "triu"
_tril_, _triu_ = inplace_of(_tril), inplace_of(_triu)


def _check_matrix(op: str, x: Tensor) -> None:
    if len(x._a.shape) < 2:
        raise ShapeError(f"{op}: input tensor must have at least 2 dimensions, got {describe(x)}")


def tril(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Zero above a diagonal of the last two dimensions: 0 the main one, positive ones above it.

    Raises: ShapeError: fewer than two dimensions.

    Example:
        >>> import flambeau as fb
        >>> fb.tril(fb.ones(2, 3))
        tensor([[1., 0., 0.],
                [1., 1., 0.]])
    """
    _check_matrix("tril", input)
    return _tril(input, diagonal, out=out)


def triu(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Zero below a diagonal of the last two dimensions: 0 the main one, positive ones above it.

    Raises: ShapeError: fewer than two dimensions.
    """
    _check_matrix("triu", input)
    return _triu(input, diagonal, out=out)


def tril_(self: Tensor, diagonal: int = 0) -> Tensor:
    """In-place version of tril."""
    _check_matrix("tril_", self)
    return _tril_(self, diagonal)  # type: ignore[no-any-return]


def triu_(self: Tensor, diagonal: int = 0) -> Tensor:
    """In-place version of triu."""
    _check_matrix("triu_", self)
    return _triu_(self, diagonal)  # type: ignore[no-any-return]


def _triangle_positions(
    name: str, row: int, col: int, offset: int, dtype: Any, device: Any
) -> Tensor:
    if row < 0 or col < 0:
        raise ShapeError(f"{name}: row and col must be non-negative, got {row} and {col}")
    found = (np.tril_indices if name == "tril_indices" else np.triu_indices)(row, offset, col)
    kind = kind_of(canonical(device), dtypes.int64 if dtype is None else dtype)
    array = np.stack(found).astype(kind.dtype.numpy)
    return wrap(kind.k["from_host"](array), kind)


def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
) -> Tensor:
    """Row and column positions of the lower triangle of a row x col matrix, as the two rows of a tensor."""
    return _triangle_positions("tril_indices", row, col, offset, dtype, device)


def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
) -> Tensor:
    """Row and column positions of the upper triangle of a row x col matrix, as the two rows of a tensor."""
    return _triangle_positions("triu_indices", row, col, offset, dtype, device)


# ---- diagonals
def _diagonal_length(x: Shape, offset: int, dim1: int, dim2: int) -> int:
    rows, columns = x[dim1], x[dim2]
    return max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)


def _on_diagonal(x: Shape, offset: int, dim1: int, dim2: int) -> Shape:
    rest = tuple(n for d, n in enumerate(x) if d not in (dim1, dim2))
    return (*rest, _diagonal_length(x, offset, dim1, dim2))


@op(shape=_on_diagonal, view=True, kernel="diagonal", node="DiagonalBackward0")
def _diagonal(input: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """A view of a diagonal."""
    shape, stride = _on_diagonal(input._a.shape, offset, dim1, dim2), input.stride()
    start = input.storage_offset()
    if shape[-1]:
        start += offset * stride[dim2] if offset >= 0 else -offset * stride[dim1]
    rest = tuple(s for d, s in enumerate(stride) if d not in (dim1, dim2))
    return _as_strided(input, shape, (*rest, stride[dim1] + stride[dim2]), start)


@op(shape=lambda g, shape, offset, dim1, dim2: shape)
def _diagonal_backward(grad: Tensor, shape: Shape, offset: int, dim1: int, dim2: int) -> Tensor:
    """Zeros of a shape with grad on a diagonal: the derivative of `_diagonal`."""
    whole = positions.zeros(shape, grad._kind)
    grad._kind.k["copy"](grad._a, out=_diagonal(whole, offset, dim1, dim2)._a)
    return whole


_diagonal.vjp(
    input=lambda g, input_shape, offset, dim1, dim2: _diagonal_backward(
        g, input_shape, offset, dim1, dim2
    )
)
_diagonal_backward.vjp(grad=lambda g, offset, dim1, dim2: _diagonal(g, offset, dim1, dim2))


def _two_dims(op: str, dim1: int, dim2: int, rank: int) -> tuple[int, int]:
    a, b = wrap_dim(dim1, rank, op), wrap_dim(dim2, rank, op)
    if a == b:
        raise ShapeError(f"{op}: diagonal dimensions cannot be identical {dim1}, {dim2}")
    return a, b


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A diagonal of two dimensions as the last dimension, sharing memory; offset counts upwards from the main one.

    Raises: ShapeError: dim1 and dim2 are the same.
    """
    return _diagonal(input, offset, *_two_dims("diagonal", dim1, dim2, len(input._a.shape)))


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices of zeros with the last dimension of input on a diagonal.

    Raises: ShapeError: dim1 and dim2 are the same.
    """
    rank = len(input._a.shape) + 1
    a, b = _two_dims("diag_embed", dim1, dim2, rank)
    rest = iter(input._a.shape[:-1])
    side = input._a.shape[-1] + abs(offset)
    shape = tuple(side if d in (a, b) else next(rest) for d in range(rank))
    return _diagonal_backward(input, shape, offset, a, b)


def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """A matrix with a vector on its diagonal, or the diagonal of a matrix, as a copy.

    Raises: ShapeError: neither one nor two dimensions.
    """
    rank = len(input._a.shape)
    if rank == 1:
        side = input._a.shape[0] + abs(diagonal)
        return _diagonal_backward(input, (side, side), diagonal, 0, 1, out=out)
    if rank != 2:
        raise ShapeError(f"diag(): Supports 1D or 2D tensors. Got {describe(input)}")
    part = clone(_diagonal(input, diagonal, 0, 1))
    if out is None:
        return part
    return write_out(part, out)


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of input on its diagonal."""
    return diag(reshape(input, (-1,)), offset)


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal; with wrap, again below it after every square block of a tall matrix.

    Raises: ShapeError: fewer than two dimensions, or more than two of different sizes.
    """
    shape = self._a.shape
    if len(shape) < 2:
        raise ShapeError(f"fill_diagonal_: dimensions must larger than 1, got {describe(self)}")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise ShapeError(
            f"fill_diagonal_: all dimensions of input must be of equal length, got {describe(self)}"
        )
    value = positions.scalar(fill_value, self._kind)
    if len(shape) > 2:
        line = _diagonal(self, 0, 0, 1)
        while len(line._a.shape) > 1:
            line = _diagonal(line, 0, 0, len(line._a.shape) - 1)
        copy_(line, value)
        return self
    rows, columns = shape
    for start in range(0, rows if wrap else 1, columns + 1):
        copy_(_diagonal(_slice(self, (slice(start, None),)), 0, 0, 1), value)
    return self


# ---- writing into a part of a copy
def _into(op: str, input: Tensor, src: Tensor, view: Any) -> Tensor:
    whole = clone(input)
    part = view(whole)
    if part._a.shape != src._a.shape:
        raise ShapeError(
            f"{op}: expected src to have a size equal to the slice of self. src size = {list(src._a.shape)}, "
            f"slice size = {list(part._a.shape)}"
        )
    copy_(part, src)
    return whole


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """input with src on a diagonal.

    Raises: ShapeError: src has not the diagonal's shape.
    """
    return _into("diagonal_scatter", input, src, lambda x: diagonal(x, offset, dim1, dim2))


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with src at one index along dim.

    Raises: ShapeError: src has not the shape of that part.
    """
    return _into("select_scatter", input, src, lambda x: select(x, dim, index))


def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """input with src at the slice start:end:step along dim.

    Raises: ShapeError: src has not the shape of that part.
    """
    at = wrap_dim(dim, len(input._a.shape), "slice_scatter")
    key = (slice(None),) * at + (slice(start, end, step),)
    return _into("slice_scatter", input, src, lambda x: _slice(x, key))


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """input with src at the elements that `as_strided` of a contiguous input shows.

    Raises: ShapeError: src has not that shape.  IndexRangeError: an element outside of input.
    """
    size, stride, start = tuple(size), tuple(stride), storage_offset or 0
    if src._a.shape != size:
        raise ShapeError(
            "as_strided_scatter: expected src to have a size equal to the slice of self. src size = "
            f"{list(src._a.shape)}, slice size = {list(size)}"
        )
    last = start + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if last >= input.numel() and 0 not in size:
        raise IndexRangeError(
            f"as_strided_scatter: size {list(size)} and stride {list(stride)} reach element {last} ({describe(input)})"
        )
    at = reshape(
        _as_strided(arange(input.numel(), device=input.device), size, stride, start), (-1,)
    )
    done = positions.write(reshape(input, (-1,)), (at,), reshape(src, (-1,)), 0, accumulate=False)
    return reshape(done, input._a.shape)


# ---- windows
def _windows(x: Shape, dim: int, size: int, step: int) -> Shape:
    return (*x[:dim], (x[dim] - size) // step + 1, *x[dim + 1 :], size)


@op(shape=_windows, view=True, kernel="unfold", node="UnfoldBackward0")
def _unfold(input: Tensor, dim: int, size: int, step: int) -> Tensor:
    """Windows along a dimension, as a view."""
    stride = input.stride()
    steps = (*stride[:dim], stride[dim] * step, *stride[dim + 1 :], stride[dim])
    shape = _windows(input._a.shape, dim, size, step)
    return _as_strided(input, shape, steps, input.storage_offset())


def _unfold_input(g: Tensor, dim: int, size: int, step: int, input_shape: Shape) -> Tensor:
    """Every window's gradient added where the window was taken."""
    index = _unfold(arange(input_shape[dim], device=g.device), 0, size, step)
    rank = len(g._a.shape)
    order = (*range(dim + 1), rank - 1, *range(dim + 1, rank - 1))
    return positions.take_backward(_permute(g, order), clone(index), dim, False, input_shape)


_unfold.vjp(input=_unfold_input)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of a size along a dimension, every step elements, as a new last dimension; shares memory.

    Raises: ShapeError: size is larger than the dimension, or step is not positive.

    Example:
        >>> import flambeau as fb
        >>> fb.arange(5).unfold(0, 3, 1)
        tensor([[0, 1, 2],
                [1, 2, 3],
                [2, 3, 4]])
    """
    dim = wrap_dim(dimension, len(input._a.shape), "unfold")
    lone = not input._a.shape
    x = positions.at_least_1d(input)
    if size < 0 or size > x._a.shape[dim]:
        raise ShapeError(
            f"unfold: maximum size for tensor at dimension {dim} is {x._a.shape[dim]} but size is {size}"
        )
    if step <= 0:
        raise ShapeError(f"unfold: step is {step} but must be > 0")
    windows = _unfold(x, dim, size, step)
    return select(windows, 0, 0) if lone else windows


# ---- padding
def _padded(x: Shape, pad: tuple[int, ...], value: Any) -> Shape:
    grown = list(x)
    for i in range(len(pad) // 2):
        grown[-1 - i] += pad[2 * i] + pad[2 * i + 1]
    return tuple(grown)


@op(shape=_padded, kernel="constant_pad_nd", node="ConstantPadNdBackward0")
def _pad(input: Tensor, pad: tuple[int, ...], value: Any) -> Tensor:
    """value around input, and negative amounts cut off."""
    kind, shape = input._kind, input._a.shape
    whole = positions.zeros(_padded(shape, pad, value), kind, value)
    inner: list[slice] = [slice(None)] * len(shape)
    outer: list[slice] = [slice(None)] * len(shape)
    for i in range(len(pad) // 2):
        d, low, high = len(shape) - 1 - i, pad[2 * i], pad[2 * i + 1]
        inner[d] = slice(max(-low, 0), shape[d] - max(-high, 0))
        outer[d] = slice(max(low, 0), whole._a.shape[d] - max(high, 0))
    if 0 not in shape and 0 not in whole._a.shape:
        k = kind.k
        k["copy"](k["slice"](input._a, tuple(inner)), out=k["slice"](whole._a, tuple(outer)))
    return whole


_pad.vjp(input=lambda g, pad: _pad(g, tuple(-n for n in pad), 0))


def constant_pad_nd(input: Tensor, pad: Any, value: Any = 0) -> Tensor:
    """value around input: pad is (left, right, top, bottom, ...), from the last dimension; negative amounts cut off.

    Raises: ShapeError: pad has an odd length, is too long, or cuts off more than there is.

    Example:
        >>> import flambeau as fb
        >>> fb.constant_pad_nd(fb.ones(2), (1, 2), 5)
        tensor([5., 1., 1., 5., 5.])
    """
    pad, shape = tuple(int(n) for n in pad), input._a.shape
    if len(pad) % 2:
        raise ShapeError(
            f"constant_pad_nd: Length of pad must be even but instead it equals {len(pad)}"
        )
    if len(pad) > 2 * len(shape):
        raise ShapeError(
            "constant_pad_nd: Length of pad should be no more than twice the number of dimensions of the input. "
            f"Pad length is {len(pad)} while the input has {len(shape)} dimensions."
        )
    if any(n < 0 for n in _padded(shape, pad, value)) or any(
        -min(pad[2 * i], 0) - min(pad[2 * i + 1], 0) > shape[-1 - i] for i in range(len(pad) // 2)
    ):
        raise ShapeError(
            f"constant_pad_nd: The input size {list(shape)}, plus negative padding {list(pad)}, resulted in a negative "
            f"output size, which is invalid ({describe(input)})"
        )
    if not isinstance(value, bool | int | float | complex):
        value = positions.zero_dim("constant_pad_nd", value, input._kind).item()
    elif value.__class__ not in input._kind.weak:
        value = positions.scalar(value, input._kind).item()
    return _pad(input, pad, value)


PUBLIC = Public(
    both="tril triu diagonal diag diag_embed diagflat diagonal_scatter select_scatter slice_scatter "
    "as_strided_scatter",
    functions="tril_indices triu_indices constant_pad_nd",
    methods="tril_ triu_ fill_diagonal_ unfold",
)
