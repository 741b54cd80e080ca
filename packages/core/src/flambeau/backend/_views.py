"""The algebra of strided views, in plain integers: all numbers count elements, strides are >= 0.

A geometry is (shape, strides, offset). Nothing here knows tensors or devices; what strides cannot
express is a ValueError.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

Shape = tuple[int, ...]
Geometry = tuple[Shape, Shape, int]


def count(shape: Shape) -> int:
    """Number of elements.

    Example:
        >>> count((2, 3)), count(()), count((2, 0))
        (6, 1, 0)
    """
    n = 1
    for size in shape:
        n *= size
    return n


@functools.lru_cache(4096)
def contiguous_strides(shape: Shape) -> Shape:
    """Row-major strides; sizes of 0 count as 1, as in PyTorch.

    Example:
        >>> contiguous_strides((2, 3, 4))
        (12, 4, 1)
    """
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size or 1
    return tuple(reversed(strides))


def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """Whether the elements follow each other in row-major order without gaps."""
    if strides == contiguous_strides(shape) or 0 in shape:
        return True
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides)):
        if size != 1:
            if step != expected:
                return False
            expected *= size
    return True


def bounds(shape: Shape, strides: Shape, offset: int) -> tuple[int, int]:
    """The range of positions that a view touches: the first, and the last plus one.

    Example:
        >>> bounds((2, 3), (10, 2), 5)
        (5, 20)
    """
    end = offset + 1
    for size, step in zip(shape, strides):
        if size == 0:
            return offset, offset
        end += (size - 1) * step
    return offset, end


def overlaps_itself(shape: Shape, strides: Shape) -> bool:
    """Whether a repeated dimension (stride 0) gives one position to several elements.

    As in PyTorch, overlap by other strides (windows) is not looked for: a write there leaves one of the values.
    """
    return (
        0 in strides
        and any(step == 0 and size > 1 for size, step in zip(shape, strides))
        and 0 not in shape
    )


def as_strided(
    shape: Sequence[int], strides: Sequence[int], offset: int, room: int | None = None
) -> Geometry:
    """Any view by its numbers.

    Args: room: elements of the memory block, None where it is not known.
    Raises: ValueError: lengths differ, a number is negative, or the view leaves the block.
    """
    shape, strides = tuple(shape), tuple(strides)
    if len(shape) != len(strides):
        raise ValueError(
            f"as_strided: mismatch in length of strides and shape, {len(strides)} and {len(shape)}"
        )
    if min((*shape, *strides, offset), default=0) < 0:
        raise ValueError(
            "as_strided: sizes, strides and offset must not be negative, "
            f"got {shape}, {strides}, {offset}"
        )
    end = bounds(shape, strides, offset)[1]
    if room is not None and end > room:
        raise ValueError(
            f"as_strided: sizes {list(shape)}, strides {list(strides)} and offset {offset} reach "
            f"element {end - 1} of a memory block of {room}: out of bounds"
        )
    return shape, strides, offset


def permute(shape: Shape, strides: Shape, dims: Shape) -> tuple[Shape, Shape]:
    """Dimensions in another order.

    Raises: ValueError: dims is no permutation.
    """
    if len(dims) != len(shape) or set(dims) != set(range(len(shape))):
        raise ValueError(f"permute: {dims} is no order of {len(shape)} dimensions")
    return tuple([shape[d] for d in dims]), tuple([strides[d] for d in dims])


def expand(shape: Shape, strides: Shape, wanted: Shape) -> Shape:
    """Strides of the view that repeats dimensions of size 1, and adds leading ones, to reach `wanted`.

    Raises: ValueError: a size other than 1 would change.

    Example:
        >>> expand((3, 1), (1, 1), (2, 3, 4))
        (0, 1, 0)
    """
    if shape == wanted:
        return strides
    lead = len(wanted) - len(shape)
    if lead < 0:
        raise ValueError(f"expand: {shape} has more dimensions than {wanted}")
    steps = [0] * lead
    for size, step, target in zip(shape, strides, wanted[lead:]):
        if size == target:
            steps.append(step)
        elif size == 1:
            steps.append(0)
        else:
            raise ValueError(f"expand: cannot expand {shape} to {wanted}")
    return tuple(steps)


def slice_(shape: Shape, strides: Shape, offset: int, key: tuple[Any, ...]) -> Geometry:
    """Basic indexing: an int, a slice (step >= 1) or None for each dimension; the rest is kept.

    Raises: IndexError: an int outside its dimension.  ValueError: a step below 1, or too many entries.

    Example:
        >>> slice_((4, 5), (5, 1), 0, (1, slice(0, 5, 2), None))
        ((3, 1), (2, 1), 5)
    """
    sizes: list[int] = []
    steps: list[int] = []
    dim = 0
    for k in key:
        if k is None:
            sizes.append(1)
            steps.append(-1)
            continue
        if dim == len(shape):
            raise ValueError(f"slice: too many indices for {len(shape)} dimensions")
        size, step = shape[dim], strides[dim]
        if k.__class__ is slice:
            start, stop, stride = k.indices(size)
            if stride < 1:
                raise ValueError(f"slice: step must be greater than zero, got {stride}")
            sizes.append((stop - start + stride - 1) // stride if stop > start else 0)
            steps.append(step * stride)
            offset += start * step
        else:
            if not -size <= k < size:
                raise IndexError(f"index {k} is out of bounds for dimension {dim} with size {size}")
            offset += (k + size if k < 0 else k) * step
        dim += 1
    sizes += shape[dim:]
    steps += strides[dim:]
    if None in key:  # as in PyTorch, a new dimension goes on from the one behind it
        for i in range(len(steps) - 1, -1, -1):
            if steps[i] < 0:
                steps[i] = sizes[i + 1] * steps[i + 1] if i + 1 < len(steps) else 1
    return tuple(sizes), tuple(steps), offset


def view(shape: Shape, strides: Shape, wanted: Shape) -> Shape:
    """Strides under which the same memory has the shape `wanted`, elements in the same row-major order.

    Raises: ValueError: the element counts differ, or strides cannot express it.

    Example:
        >>> view((2, 3, 4), (12, 4, 1), (6, 2, 2))
        (4, 2, 1)
    """
    n = count(shape)
    if n != count(wanted):
        raise ValueError(f"view: {shape} and {wanted} have different element counts")
    if shape == wanted:
        return strides
    if n == 0 or not shape or is_contiguous(shape, strides):
        return contiguous_strides(wanted)
    steps = [0] * len(wanted)
    at = len(wanted) - 1
    # Walk over the longest runs of dimensions that one stride describes; each must split into whole new dimensions.
    step, run, made = strides[-1], 1, 1
    for d in range(len(shape) - 1, -1, -1):
        run *= shape[d]
        if d and (shape[d - 1] == 1 or strides[d - 1] == run * step):
            continue
        while at >= 0 and (made < run or wanted[at] == 1):
            steps[at] = made * step
            made *= wanted[at]
            at -= 1
        if made != run:
            raise ValueError(f"view: strides {strides} of {shape} cannot express shape {wanted}")
        if d:
            step, run, made = strides[d - 1], 1, 1
    return tuple(steps)


def coalesce(
    shape: Shape, strides: Sequence[Shape], groups: Sequence[Any] | None = None
) -> tuple[Shape, list[Shape], tuple[Any, ...]]:
    """Fewer dimensions for the same elements: sizes of 1 dropped, neighbours merged where every operand allows it.

    Args: strides: one tuple for each operand.  groups: a label for each dimension; only equal labels merge.
    Returns: shape, strides and labels of the dimensions that are left, none of them for a single element.

    Example:
        >>> coalesce((2, 3, 4), [(12, 4, 1), (0, 4, 1)])
        ((2, 12), [(12, 1), (0, 1)], (None, None))
    """
    sizes: list[int] = []
    labels: list[Any] = []
    columns: list[Any] = []
    for d in range(len(shape) - 1, -1, -1):
        size = shape[d]
        if size == 1:
            continue
        label = None if groups is None else groups[d]
        column = [s[d] for s in strides]
        if sizes and labels[-1] == label:
            inner, below = sizes[-1], columns[-1]
            for step, low in zip(column, below):
                if step != low * inner:
                    break
            else:
                sizes[-1] = inner * size
                continue
        sizes.append(size)
        labels.append(label)
        columns.append(column)
    sizes.reverse()
    labels.reverse()
    columns.reverse()
    return (
        tuple(sizes),
        [tuple([c[i] for c in columns]) for i in range(len(strides))],
        tuple(labels),
    )


def matrix_strides(shape: Shape, strides: Shape) -> Shape | None:
    """The strides if the last two dimensions are a matrix that BLAS takes, else None.

    One of the two strides is 1 and the other at least the extent of that dimension; strides of
    sizes of 1, which mean nothing, are made to fit that. All others are free.
    """
    rows, columns = shape[-2:]
    row, column = strides[-2:]
    if columns == 1:
        column = 1
        if rows == 1:
            row = 1
    elif rows == 1:
        row = columns if column == 1 else 1
    if (column == 1 and row >= columns) or (row == 1 and column >= rows):
        return (*strides[:-2], row, column)
    return None
