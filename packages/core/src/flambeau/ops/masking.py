"""Masks and fills: masked_fill and its relatives, where, nonzero, fill_, zero_."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.inplace import bump, update
from flambeau.autograd.state import state
from flambeau.errors import ArgumentError, DTypeError, ShapeError
from flambeau.kinds import Kind
from flambeau.ops import elementwise as ew, positions, reduce
from flambeau.ops._op import broadcast, inplace_of, op, same
from flambeau.ops._public import Public
from flambeau.ops._recover import write_out
from flambeau.ops.casting import convert
from flambeau.ops.creation import arange
from flambeau.ops.movement import _expand, _slice, _view, reshape, unsqueeze
from flambeau.shape import broadcast_shapes
from flambeau.tensor import Tensor, describe, wrap

Mask = Tensor  # an operand that must be bool


# ---- filling where a mask is true
@op(shape=broadcast, kernel="masked_fill", node="MaskedFillBackward0")
def _masked_fill(input: Tensor, mask: Mask, value: Tensor) -> Tensor:
    """value (a number or 0-d) where mask is true, else input."""
    return ew.where(mask, value, input)


_masked_fill.vjp(
    input=lambda g, mask: _masked_fill(g, mask, 0),
    value=lambda g, mask: ew.where(mask, g, 0),
)
_masked_fill.op.label = "masked_fill"  # what messages call it
_masked_fill_ = inplace_of(_masked_fill)


def _checked(op: str, input: Tensor, mask: Any, value: Any) -> Any:
    """value as the kernel takes it: a Python number that has input's dtype, or a 0-d tensor."""
    if not isinstance(mask, Tensor) or mask._kind.dtype is not dtypes.bool_:
        got = describe(mask) if isinstance(mask, Tensor) else type(mask).__name__
        raise DTypeError(
            f"{op} only supports boolean masks, but got mask: {got}. Hint: mask.bool()"
        )
    if value.__class__ in input._kind.weak:
        return value
    return positions.zero_dim(op, value, input._kind)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """value, a number or 0-d tensor, where mask is true, else input.

    Raises: DTypeError: mask is not bool.  ShapeError: value has dimensions, or mask does not broadcast.

    Example:
        >>> import flambeau as fb
        >>> fb.ones(3).masked_fill(fb.tensor([False, True, False]), -1)
        tensor([ 1., -1.,  1.])
    """
    return _masked_fill(input, mask, _checked("masked_fill", input, mask, value))


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place version of masked_fill."""
    return _masked_fill_(self, mask, _checked("masked_fill_", self, mask, value))  # type: ignore[no-any-return]


def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements where mask is true, in one dimension; input and mask broadcast.

    Raises: DTypeError: mask is not bool.
    """
    _checked("masked_select", input, mask, 0)
    shape = tuple(broadcast_shapes(input._a.shape, mask._a.shape))
    whole = positions.at_least_1d(_expand(input, shape))
    return positions.masked_select(whole, positions.at_least_1d(_expand(mask, shape)), 0, out=out)


def _mask_positions(
    op: str, input: Tensor, mask: Any, source: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Where mask, expanded to input, is true, and as many elements of source."""
    _checked(op, input, mask, 0)
    if source._kind.dtype is not input._kind.dtype:
        raise DTypeError(
            f"{op}: expected self and source to have same dtypes but got {describe(input)} and {describe(source)}"
        )
    columns = positions.nonzero_columns(_expand(mask, input._a.shape))
    n, have = columns[0]._a.shape[0], source.numel()
    if have < n:
        raise ShapeError(
            f"{op}: Number of elements of source < number of ones in mask, got {have} and {n} ({describe(source)})"
        )
    flat = reshape(source, (have,))
    return columns, _slice(flat, (slice(0, n),)) if have != n else flat


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements where mask is true replaced by the first elements of source, in order.

    Raises: ShapeError: source has too few elements.  DTypeError: mask is not bool, or the dtypes differ.
    """
    shape = tuple(broadcast_shapes(input._a.shape, mask._a.shape))
    whole = input if input._a.shape == shape else _expand(input, shape)
    columns, values = _mask_positions("masked_scatter", whole, mask, source)
    done = positions.write(positions.at_least_1d(whole), columns, values, 0, accumulate=False)
    return done if done._a.shape == shape else _view(done, shape)


def masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """In-place version of masked_scatter."""
    columns, values = _mask_positions("masked_scatter_", self, mask, source)
    positions.write_("masked_scatter_", positions.at_least_1d(self), columns, values, 0, False)
    return self


# ---- where and nonzero
def where(
    condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None
) -> Any:
    """input where condition is true, else other; with condition alone, the positions where it is true.

    Example:
        >>> import flambeau as fb
        >>> fb.where(fb.tensor([True, False]), fb.tensor([1.0, 2.0]), 0.0)
        tensor([1., 0.])
        >>> fb.where(fb.tensor([0, 3, 5]))
        (tensor([1, 2]),)
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise ArgumentError(
            "where(): needs both input and other, or neither. Hint: where(condition, x, 0)"
        )
    if condition._kind.dtype is dtypes.uint8:
        condition = ew.ne(condition, 0)
    return ew.where(condition, input, other, out=out)


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """This tensor where condition is true, else other."""
    chosen: Tensor = where(condition, self, other)
    return chosen


def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False) -> Any:
    """The positions of elements that are not 0: one row each, or (as_tuple) one vector for each dimension.

    How many there are depends on the values, so a device without a kernel for it answers through the host.

    Example:
        >>> import flambeau as fb
        >>> fb.nonzero(fb.tensor([[1, 0], [0, 2]]))
        tensor([[0, 0],
                [1, 1]])
    """
    if as_tuple:
        return tuple(positions.nonzero_columns(input))
    found = positions.nonzero_positions(input)
    return found if out is None else write_out(found, out)


def argwhere(input: Tensor) -> Tensor:
    """The positions of elements that are not 0, one row each."""
    return positions.nonzero_positions(input)


def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not 0, in all or along the given dimensions."""
    ones = convert(ew.ne(input, 0), input._kind.int64)
    return reduce.sum(ones, dim)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """0s with a 1 at each class number, along a new last dimension of num_classes (-1: the largest class + 1).

    Raises: DTypeError: not int64.  ShapeError: a class is negative or too large, or cannot be inferred from nothing.
    """
    if tensor._kind.dtype is not dtypes.int64:
        raise DTypeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {describe(tensor)}. Hint: x.long()"
        )
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise ShapeError("one_hot: Can not infer total number of classes from empty tensor.")
        return positions.zeros((*tensor._a.shape, num_classes), tensor._kind)
    k = tensor._kind.k
    if tensor._kind.device.type != "meta":
        top = k["item"](k["reduce_max"](tensor._a, None, False))
        if k["item"](k["reduce_max"](k["neg"](tensor._a, out=...), None, False)) > 0:
            raise ShapeError(f"one_hot: Class values must be non-negative, got {describe(tensor)}")
        if num_classes == -1:
            num_classes = top + 1
        elif top >= num_classes:
            raise ShapeError(
                f"one_hot: Class values must be smaller than num_classes ({num_classes}), got {top}"
            )
    classes = arange(num_classes, device=tensor._kind.device)
    return convert(ew.eq(unsqueeze(tensor, -1), classes), tensor._kind)


# ---- fills
@op(shape=same, whole=True, kernel="filled", node="FillBackward0")
def _filled(input: Tensor, value: Tensor) -> Tensor:
    """value, a 0-d tensor, in input's shape; the derivative with respect to input is 0."""
    spread = wrap(input._kind.k["expand"](value._a, input._a.shape), input._kind)
    return wrap(input._kind.k["copy"](spread._a), input._kind)


_filled.vjp(input=lambda g: positions.zeros(g._a.shape, g._kind), value=lambda g: reduce.sum_all(g))


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of input's shape and dtype with one value, a number or 0-d tensor, everywhere."""
    return _filled(input, _fill_value(value, input._kind))


def _fill_value(value: Any, kind: Kind) -> Tensor:
    if isinstance(value, Tensor) and value._a.shape:
        raise ShapeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {value.dim()} dimensions."
        )
    return positions.zero_dim("fill_", value, kind)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Overwrite every element with a number or 0-d tensor.

    Raises: ShapeError: a tensor with dimensions.  GradError: this is a leaf that requires grad.
    """
    if value.__class__ in self._kind.weak and (self._g is None or not state.grad):
        return _overwrite("fill_", self, value)
    filling = _fill_value(value, self._kind)
    return update("fill_", self, lambda src: _filled(src, filling), saves=False)


def zero_(self: Tensor) -> Tensor:
    """Overwrite every element with 0.

    Raises: GradError: this is a leaf that requires grad.
    """
    if self._g is None or not state.grad:
        return _overwrite("zero_", self, 0)
    filling = positions.zeros((), self._kind)
    return update("zero_", self, lambda src: _filled(src, filling), saves=False)


def _overwrite(name: str, x: Tensor, value: Any) -> Tensor:
    """Write a number that x's dtype takes everywhere, off the tape."""
    kind = x._kind
    kernel = kind.k["fill_"]
    try:
        if kernel is not None:
            kernel(x._a, value)
        else:
            kind.k["copy"](kind.k["fill"]((), value, kind.dtype), out=x._a)
    except ValueError as error:
        raise positions.overlapping(name, x) from error
    bump(x)
    return x


PUBLIC = Public(
    both="masked_fill masked_select masked_scatter nonzero argwhere count_nonzero",
    functions="where fill fill_ zero_",
    methods="masked_fill_ masked_scatter_ fill_ zero_",
    made_methods={"where": _where_method},
)
