"""Search: positions in sorted sequences, membership, coordinates of flat positions."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.errors import ArgumentError, ShapeError
from flambeau.ops import elementwise as ew, positions
from flambeau.ops._op import op
from flambeau.ops._public import Public
from flambeau.ops._recover import result_type, write_out
from flambeau.ops.casting import convert
from flambeau.ops.creation import tensor
from flambeau.ops.movement import _slice, reshape, unsqueeze
from flambeau.ops.reduce import reduce_sum
from flambeau.shape import Shape, as_shape
from flambeau.tensor import Tensor, describe, wrap

Index = Tensor  # an operand that must be int64


# ---- search
def _inserted(sequence: Shape, values: Shape, right: bool) -> Shape:
    return values


@op(shape=_inserted, dtype="int64", kernel="searchsorted")
def _searchsorted(sequence: Tensor, values: Tensor, right: bool) -> Tensor:
    """How many elements of each sequence are below (right: not above) each value."""
    rank = len(sequence._a.shape)
    row = sequence if rank == 1 else _slice(sequence, (slice(None),) * (rank - 1) + (None,))
    value = unsqueeze(values, -1)
    below = ew.le(row, value) if right else ew.lt(row, value)
    return reduce_sum(convert(below, below._kind.int64), (len(values._a.shape),), False)


def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, out: Tensor | None = None, sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where values would go into sequences sorted along the last dimension so that these stay sorted.

    Args: right: behind equal elements instead of before them (side="right" says the same).
        sorter: positions that sort sorted_sequence, if it is not sorted itself.
    Raises: ShapeError: the leading dimensions differ.  ArgumentError: side and right contradict each other.

    Example:
        >>> import flambeau as fb
        >>> fb.searchsorted(fb.tensor([1, 3, 5]), fb.tensor([3, 4]), right=True)
        tensor([2, 2])
    """
    if side not in (None, "left", "right"):
        raise ShapeError(f"searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise ShapeError(
            "searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    values = input if isinstance(input, Tensor) else tensor(input, device=sorted_sequence.device)
    have, wanted = sorted_sequence._a.shape, values._a.shape
    if not isinstance(input, Tensor) and len(have) != 1:
        raise ShapeError(
            "searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got "
            f"boundaries tensor dim({len(have)})"
        )
    if not have or (len(have) > 1 and (len(have) != len(wanted) or have[:-1] != wanted[:-1])):
        raise ShapeError(
            "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
            f"and input value tensor must match, but we got boundaries tensor {list(have)} and input value tensor "
            f"{list(wanted)}"
        )
    if sorter is not None:
        sorted_sequence = positions.gather(sorted_sequence, sorter, len(have) - 1)
    d = dtypes.promote_types(sorted_sequence.dtype, values.dtype)
    if not isinstance(input, Tensor):
        d = result_type(sorted_sequence, input)
    kind = sorted_sequence._kind.of(d)
    found = _searchsorted(
        convert(sorted_sequence.detach(), kind),
        convert(values.detach(), kind),
        right or side == "right",
    )
    found = convert(found, found._kind.of(dtypes.int32)) if out_int32 else found
    return found if out is None else write_out(found, out)


def bucketize(
    input: Any,
    boundaries: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """The bucket between sorted boundaries into which each value falls.

    Raises: ShapeError: boundaries has not one dimension.
    """
    if len(boundaries._a.shape) != 1:
        raise ShapeError(
            f"bucketize(): boundaries tensor must be 1 dimension, but got {describe(boundaries)}"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is one of test_elements; invert: whether it is none of them.

    Example:
        >>> import flambeau as fb
        >>> fb.isin(fb.tensor([1, 2, 3]), fb.tensor([2, 4]))
        tensor([False,  True, False])
    """
    if not isinstance(elements, Tensor):
        elements = tensor(elements, device=test_elements.device)
    if not isinstance(test_elements, Tensor):
        test_elements = tensor(test_elements, device=elements.device)
    kind = elements._kind.of(dtypes.promote_types(elements.dtype, test_elements.dtype))
    a, among = (
        convert(elements.detach(), kind),
        reshape(convert(test_elements.detach(), kind), (-1,)),
    )
    kernel = kind.k["isin"]
    if kernel is not None:
        found = wrap(kernel(a._a, among._a), kind.boolean)
    elif among.numel() == 0:
        found = positions.zeros(a._a.shape, kind.boolean)
    else:
        same = ew.eq(unsqueeze(a, -1), among)
        found = wrap(kind.k["reduce_max"](same._a, (len(a._a.shape),), False), kind.boolean)
    return ew.bitwise_not(found) if invert else found


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Positions in the flattened form of a shape as one tensor of positions for each dimension.

    Raises: ArgumentError: indices are no integers.  ShapeError: a size is negative.
    """
    if not isinstance(indices, Tensor) or indices._kind.dtype.category != dtypes.INTEGER:
        got = describe(indices) if isinstance(indices, Tensor) else type(indices).__name__
        raise ArgumentError(f"unravel_index: expected 'indices' to be integer dtype, but got {got}")
    sizes = as_shape(
        (tuple(shape.tolist()) if isinstance(shape, Tensor) else shape,), "unravel_index"
    )
    if any(n < 0 for n in sizes):
        raise ShapeError(f"unravel_index: 'shape' cannot have negative values, but got {sizes}")
    found: list[Tensor] = []
    rest = convert(indices, indices._kind.int64)
    for n in reversed(sizes):
        found.append(ew.remainder(rest, n))
        rest = ew.floor_divide(rest, n)
    return tuple(reversed(found))


PUBLIC = Public(functions="searchsorted bucketize isin unravel_index")
