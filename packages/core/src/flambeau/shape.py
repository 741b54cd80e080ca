"""Shapes: the Size type and the rules that combine shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

from flambeau.errors import ArgumentError, IndexRangeError, ShapeError

Shape = tuple[int, ...]


class Size(tuple[int, ...]):
    """A tensor's shape: a tuple that knows its element count.

    Example:
        >>> import flambeau as fb
        >>> fb.zeros(3, 4).shape
        flambeau.Size([3, 4])
    """

    __slots__ = ()

    def numel(self) -> int:
        """Number of elements: the product of the sizes."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"flambeau.Size({list(self)})"

    def __getitem__(self, key: Any) -> Any:
        got = tuple.__getitem__(self, key)
        return Size(got) if isinstance(key, slice) else got

    def __add__(self, other: Any) -> Any:
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: Any) -> Any:
        return Size(tuple(other) + tuple(self))

    def __mul__(self, n: SupportsIndex) -> Size:
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__


def broadcast_two(a: Shape, b: Shape) -> Shape:
    """The shape that a and b broadcast to; ValueError when there is none."""
    if a == b:
        return a
    if len(a) < len(b):
        a, b = b, a
    lead = len(a) - len(b)
    out = list(a)
    for i, n in enumerate(b):
        m = a[lead + i]
        if m != n and n != 1:
            if m != 1:
                raise ValueError(lead + i)
            out[lead + i] = n
    return tuple(out)


def broadcast_shapes(*shapes: Any) -> Size:
    """The common shape of broadcasting.

    Raises: ShapeError: two sizes differ and neither is 1.

    Example:
        >>> import flambeau as fb
        >>> fb.broadcast_shapes((3, 1), (4,))
        flambeau.Size([3, 4])
    """
    out: Shape = ()
    tuples = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    for shape in tuples:
        try:
            out = broadcast_two(out, shape)
        except ValueError:
            raise ShapeError(broadcast_complaint("broadcast_shapes", tuples)) from None
    return Size(out)


def broadcast_complaint(op: str, shapes: Sequence[Shape]) -> str:
    """What to tell a user whose shapes do not broadcast: the rule, the clash, a picture with aligned dimensions."""
    out: Shape = ()
    for shape in shapes:
        try:
            out = broadcast_two(out, shape)
        except ValueError as clash:
            lead = max(len(out), len(shape))
            dim = clash.args[0]
            a = ((1,) * (lead - len(out)) + tuple(out))[dim]
            b = ((1,) * (lead - len(shape)) + tuple(shape))[dim]
            rows = [[str(n) for n in s] for s in shapes]
            width = max((len(c) for row in rows for c in row), default=1)
            picture = "".join(
                "\n    ("
                + ", ".join([" " * width] * (lead - len(r)) + [c.rjust(width) for c in r])
                + ")"
                for r in rows
            )
            return (
                f"{op}: the size of tensor a ({a}) must match the size of tensor b ({b}) at "
                f"non-singleton dimension {dim}, "
                f"got shapes {' and '.join(str(tuple(s)) for s in shapes)}; aligned from the right:{picture}"
            )
    return f"{op}: cannot combine shapes {shapes}"


def wrap_dim(dim: int, rank: int, op: str) -> int:
    """A dimension counted from the end as one counted from the start.

    Raises: IndexRangeError: outside [-rank, rank - 1] (a 0-d tensor counts as having one dimension).
    """
    limit = rank or 1
    if not -limit <= dim < limit:
        raise IndexRangeError(
            f"{op}: Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})"
        )
    return dim + limit if dim < 0 else dim


def wrap_dims(dims: Any, rank: int, op: str) -> Shape:
    """Sorted, distinct, non-negative dimensions from an int or a sequence of ints.

    Raises: ShapeError: a dimension stands twice.  IndexRangeError: one is out of range.
    """
    if isinstance(dims, int):
        return (wrap_dim(dims, rank, op),)
    wrapped = sorted(wrap_dim(int(d), rank, op) for d in dims)
    for d, e in itertools.pairwise(wrapped):
        if d == e:
            raise ShapeError(
                f"{op}: dim {d} appears multiple times in the list of dims {tuple(dims)}"
            )
    return tuple(wrapped)


def as_shape(args: Sequence[Any], op: str) -> Shape:
    """A shape given as ints or as one sequence: f(2, 3) and f((2, 3)) mean the same.

    Raises: ArgumentError: something in it is not an integer.
    """
    if len(args) == 1 and not isinstance(args[0], int):
        first = args[0]
        if hasattr(first, "__index__") and not isinstance(first, Iterable):
            return (first.__index__(),)
        if not hasattr(first, "__iter__"):
            raise ArgumentError(
                f"{op}: size must be ints or a sequence of ints, got {type(first).__name__}"
            )
        args = tuple(first) if getattr(first, "ndim", 1) else (first.__index__(),)
    try:
        return tuple([n if n.__class__ is int else n.__index__() for n in args])
    except AttributeError:
        bad = next(n for n in args if not hasattr(n, "__index__"))
        raise ArgumentError(
            f"{op}: size must be ints or a sequence of ints, got {bad!r} ({type(bad).__name__})"
        ) from None


def check_sizes(shape: Shape, op: str) -> Shape:
    """The shape itself, once no size is negative."""
    if shape and min(shape) < 0:
        raise ShapeError(
            f"{op}: Trying to create tensor with negative dimension {min(shape)}: {list(shape)}"
        )
    return shape


def infer_size(shape: Shape, numel: int, op: str) -> Shape:
    """Replace one -1 in shape so that it has numel elements.

    Raises: ShapeError: the sizes do not multiply to numel, or -1 is ambiguous.
    """
    known, at = 1, -1
    for i, n in enumerate(shape):
        if n >= 0:
            known *= n
        elif n == -1 and at < 0:
            at = i
        else:
            rule = (
                "only one dimension can be inferred" if n == -1 else f"invalid shape dimension {n}"
            )
            raise ShapeError(f"{op}: {rule}, got {list(shape)}")
    if at >= 0:
        if known == 0:
            raise ShapeError(
                f"{op}: cannot reshape tensor of {numel} elements into shape {list(shape)} because the unspecified "
                "dimension size -1 can be any value and is ambiguous"
            )
        if numel % known == 0:
            return (*shape[:at], numel // known, *shape[at + 1 :])
    elif known == numel:
        return shape
    raise ShapeError(f"{op}: shape '{list(shape)}' is invalid for input of size {numel}")
