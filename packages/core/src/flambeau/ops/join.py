"""Joins and splits: cat, stack, hstack, block_diag, combinations, tensor_split."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from flambeau import dtypes
from flambeau.autograd import node as _node
from flambeau.autograd.node import Grads, Node
from flambeau.autograd.state import state
from flambeau.errors import ArgumentError, ShapeError
from flambeau.kinds import Kind, kind_of
from flambeau.ops import positions
from flambeau.ops._public import Public
from flambeau.ops._recover import common_device, no_room, result_type, write_out
from flambeau.ops.casting import convert
from flambeau.ops.creation import meshgrid, tensor, zeros
from flambeau.ops.diagonal import constant_pad_nd
from flambeau.ops.movement import (
    _slice,
    _view,
    chunk,
    reshape,
    split,
    unsqueeze,
)
from flambeau.shape import Shape, wrap_dim
from flambeau.tensor import Tensor, describe, wrap


# ---- cat and stack
class CatBackward0(Node):
    """History of joined tensors: each gets its part of the gradient."""

    __slots__ = ()
    attrs: tuple[int, Sequence[int]]

    def apply(self, g: Tensor) -> Grads:
        """The parts of g, as views."""
        dim, sizes = self.attrs
        lead, start = (slice(None),) * dim, 0
        parts: list[Tensor | None] = []
        for edge, n in zip(self.edges, sizes):
            if edge is None:
                parts.append(None)
            elif len(edge.shape) != len(g._a.shape):  # an empty vector, which fits anything
                parts.append(positions.zeros(edge.shape, g._kind))
            else:
                parts.append(_slice(g, (*lead, slice(start, start + n))))
            start += n
        return tuple(parts)


class StackBackward0(Node):
    """History of stacked tensors: each gets its slice of the gradient."""

    __slots__ = ()
    attrs: int

    def apply(self, g: Tensor) -> Grads:
        """The slices of g, as views."""
        lead = (slice(None),) * self.attrs
        return tuple(
            [None if edge is None else _slice(g, (*lead, i)) for i, edge in enumerate(self.edges)]
        )


def _record(
    node: CatBackward0 | StackBackward0, t: Tensor, tensors: Sequence[Tensor], attrs: Any
) -> None:
    node.edges, node.attrs, node.saved, node.hooks = tuple([x._g for x in tensors]), attrs, (), None
    node.seq, node.shape, node.kind = _node.next_seq(), t._a.shape, t._kind
    t._g = node


def _alike(op: str, tensors: Any) -> tuple[Sequence[Tensor], Kind]:
    """The tensors brought to one kind by promotion, and that kind."""
    if isinstance(tensors, Tensor) or not isinstance(tensors, list | tuple):
        raise ArgumentError(
            f"{op}(): argument 'tensors' must be tuple of Tensors, not {type(tensors).__name__}"
        )
    if not tensors:
        raise ShapeError(f"{op}(): expected a non-empty list of Tensors")
    kind: Kind | None = None
    mixed = False
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise ArgumentError(
                f"{op}(): expected Tensor as element {i} in argument 0, but got {type(x).__name__}"
            )
        if x._kind is not kind:
            mixed, kind = kind is not None, x._kind
    if not mixed and kind is not None:
        return tensors, kind
    kind = kind_of(common_device(op, list(tensors)), result_type(*tensors))
    return [convert(x, kind) for x in tensors], kind


def join(tensors: Sequence[Tensor], dim: int = 0, out: Tensor | None = None) -> Tensor:
    """Tensors joined along an existing dimension, after promotion to one dtype; empty vectors fit anything.

    Raises: ShapeError: no tensors, a 0-d one, or shapes that differ in another dimension than dim.
    """
    if tensors.__class__ is not list and tensors.__class__ is not tuple:
        return _join(tensors, dim, out)
    try:
        kind: Kind = tensors[0]._kind
        want = tensors[0]._a.shape
        alike = out is None and bool(want)
        taped = False
        for x in tensors:
            if x._kind is not kind or x._a.shape != want:
                alike = False
                break
            if x._g is not None:
                taped = True
    except (AttributeError, IndexError, TypeError):
        alike = False
    if not alike:
        return _join(tensors, dim, out)
    at = dim if 0 <= dim < len(want) else wrap_dim(dim, len(want), "cat")
    kernel = kind.k["cat"]
    if kernel is None:
        return _join(tensors, dim, out)
    try:
        t = wrap(kernel(*[x._a for x in tensors], at), kind)
    except MemoryError as error:
        raise no_room("cat", kind, error) from None
    if taped and state.grad:
        _record(CatBackward0(), t, tensors, (at, (want[at],) * len(tensors)))
    return t


def _join(tensors: Sequence[Tensor], dim: int, out: Tensor | None) -> Tensor:
    """`join` of any tensors; shapes that do not fit are explained here."""
    tensors, kind = _alike("cat", tensors)
    model = next((x for x in tensors if x._a.shape != (0,)), tensors[0])
    want = model._a.shape
    at = wrap_dim(dim, len(want), "cat")
    sizes: list[int] = []
    rest = want[:at] + want[at + 1 :]
    for i, x in enumerate(tensors):
        shape = x._a.shape
        if shape == (0,):
            sizes.append(0)
            continue
        if len(shape) != len(want) or not shape or shape[:at] + shape[at + 1 :] != rest:
            raise _misfit(tensors, i, model, at)
        sizes.append(shape[at])
    parts = tensors if len(want) < 2 else [x for x in tensors if x._a.shape != (0,)]
    kernel = kind.k["cat"]
    try:
        if kernel is not None:
            native = kernel(*[x._a for x in parts], at)
        else:
            native = _side_by_side(parts, at, (*want[:at], sum(sizes), *want[at + 1 :]), kind)
    except MemoryError as error:
        raise no_room("cat", kind, error) from None
    t = wrap(native, kind)
    if state.grad and any(x._g is not None for x in tensors):
        _record(CatBackward0(), t, tensors, (at, sizes))
    return t if out is None else write_out(t, out)


def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors joined along an existing dimension, after promotion to one dtype; empty vectors fit anything.

    Raises: ShapeError: no tensors, a 0-d one, or shapes that differ in another dimension than dim.

    Example:
        >>> import flambeau as fb
        >>> fb.cat([fb.tensor([1, 2]), fb.tensor([3])])
        tensor([1, 2, 3])
    """
    return join(tensors, dim, out)


def _misfit(tensors: Sequence[Tensor], i: int, model: Tensor, dim: int) -> ShapeError:
    """Why tensor i does not go with the others."""
    have, want = tensors[i]._a.shape, model._a.shape
    if not have:
        return ShapeError(
            f"cat: zero-dimensional tensor (at position {i}) cannot be concatenated, got {describe(tensors[i])}. "
            "Hint: stack"
        )
    if len(have) != len(want):
        rule = f"Tensors must have same number of dimensions: got {len(want)} and {len(have)}"
    else:
        d = next(d for d in range(len(want)) if d != dim and have[d] != want[d])
        rule = (
            f"Sizes of tensors must match except in dimension {dim}. Expected size {want[d]} but got size {have[d]} "
            f"for tensor number {i} in the list"
        )
    return ShapeError(
        f"cat: {rule} ({describe(model)}; {describe(tensors[i])}). Hint: {_fitting(have, want, i)}"
    )


def _fitting(have: Shape, want: Shape, i: int) -> str:
    """What would make a tensor of shape `have`, at place i, go with the others."""
    fits = [d for d in range(len(want)) if have[:d] + have[d + 1 :] == want[:d] + want[d + 1 :]]
    if len(have) == len(want):
        return f"dim={fits[0]}" if fits else f"cut or pad tensors[{i}] to the others' sizes"
    if len(have) + 1 == len(want):
        return f"tensors[{i}].unsqueeze(dim) if it is one entry of that dimension"
    return "flatten(), squeeze() or unsqueeze() until all have the same number of dimensions"


def _side_by_side(parts: Sequence[Tensor], dim: int, shape: Shape, kind: Kind) -> Any:
    """cat by copies into slices, on devices without a kernel for it."""
    k, lead, start = kind.k, (slice(None),) * dim, 0
    whole = k["fill"](shape, 0, kind.dtype)
    for x in parts:
        n = x._a.shape[dim]
        if x.numel():
            k["copy"](x._a, out=k["slice"](whole, (*lead, slice(start, start + n))))
        start += n
    return whole


def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape joined along a new dimension.

    Raises: ShapeError: no tensors, or shapes differ.

    Example:
        >>> import flambeau as fb
        >>> fb.stack([fb.tensor([1, 2]), fb.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    tensors, kind = _alike("stack", tensors)
    first = tensors[0]._a.shape
    taped = False
    for i, x in enumerate(tensors):
        if x._g is not None:
            taped = True
        if x._a.shape != first:
            raise ShapeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and "
                f"{list(x._a.shape)} at entry {i}"
            )
    at = wrap_dim(dim, len(first) + 1, "stack")
    kernel = kind.k["stack"]
    if kernel is None:
        return join([unsqueeze(x, at) for x in tensors], at, out)
    try:
        t = wrap(kernel(*[x._a for x in tensors], at), kind)
    except MemoryError as error:
        raise no_room("stack", kind, error) from None
    if taped and state.grad:
        _record(StackBackward0(), t, tensors, at)
    return t if out is None else write_out(t, out)


def _all_of(fn: Any, tensors: tuple[Any, ...]) -> Any:
    """fn of the one tensor, or of each of several."""
    if len(tensors) == 1:
        return (
            fn(tensors[0]) if isinstance(tensors[0], Tensor) else tuple(fn(x) for x in tensors[0])
        )
    return tuple(fn(x) for x in tensors)


def atleast_1d(*tensors: Any) -> Any:
    """Each tensor with at least one dimension, as a view."""
    return _all_of(positions.at_least_1d, tensors)


def _matrix(x: Tensor) -> Tensor:
    shape = x._a.shape
    return x if len(shape) > 1 else _view(x, (1, *(shape or (1,))))


def atleast_2d(*tensors: Any) -> Any:
    """Each tensor with at least two dimensions, new ones in front, as a view."""
    return _all_of(_matrix, tensors)


def _cube(x: Tensor) -> Tensor:
    shape = x._a.shape
    return x if len(shape) > 2 else unsqueeze(_matrix(x), -1)


def atleast_3d(*tensors: Any) -> Any:
    """Each tensor with at least three dimensions: a matrix gets a last one, a vector one on either side."""
    return _all_of(_cube, tensors)


def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the second dimension, vectors along their only one."""
    tensors = [positions.at_least_1d(x) for x in _several("hstack", tensors)]
    return join(tensors, 0 if len(tensors[0]._a.shape) == 1 else 1, out)


def _several(op: str, tensors: Any) -> Sequence[Tensor]:
    _alike(op, tensors)
    found: Sequence[Tensor] = tensors
    return found


def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the first dimension, vectors as rows.

    Example:
        >>> import flambeau as fb
        >>> fb.vstack([fb.tensor([1, 2]), fb.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    return join([_matrix(x) for x in _several("vstack", tensors)], 0, out)


def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the third dimension."""
    return join([_cube(x) for x in _several("dstack", tensors)], 2, out)


def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the second dimension, vectors as columns."""
    upright = [
        x if len(x._a.shape) > 1 else _view(x, (x.numel(), 1))
        for x in _several("column_stack", tensors)
    ]
    return join(upright, 1, out)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given matrices along its diagonal and zeros elsewhere; vectors count as rows.

    Raises: ShapeError: more than two dimensions.
    """
    if not tensors:
        return zeros(1, 0)  # type: ignore[no-any-return]
    for i, x in enumerate(tensors):
        if len(x._a.shape) > 2:
            raise ShapeError(
                f"block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {x.dim()} dimensions"
            )
    blocks = [_matrix(x) for x in _alike("block_diag", tensors)[0]]
    columns = [x._a.shape[1] for x in blocks]
    before = [0, *itertools.accumulate(columns)]
    rows = [constant_pad_nd(x, (a, before[-1] - a - n)) for x, a, n in zip(blocks, before, columns)]
    return join(rows, 0)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one element from each vector, one per row; of a single vector, the vector.

    Raises: ShapeError: a tensor without exactly one dimension.
    """
    for x in tensors:
        if len(x._a.shape) != 1:
            raise ShapeError(f"cartesian_prod: Expect a 1D vector, but got {describe(x)}")
    if len(tensors) == 1:
        return tensors[0]  # type: ignore[no-any-return]
    return stack([reshape(x, (-1,)) for x in meshgrid(*tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector in their order, one per row.

    Raises: ShapeError: input is no vector, or r is negative.

    Example:
        >>> import flambeau as fb
        >>> fb.combinations(fb.tensor([1, 2, 3]))
        tensor([[1, 2],
                [1, 3],
                [2, 3]])
    """
    if len(input._a.shape) != 1:
        raise ShapeError(f"combinations: Expect a 1D vector, but got {describe(input)}")
    if r < 0:
        raise ShapeError(f"combinations: Expect a non-negative number, but got {r}")
    if r == 0:
        return positions.zeros((0,), input._kind)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input._a.shape[0]), r))
    if rows:
        index = tensor(rows, dtype=dtypes.int64, device=input.device)
    else:
        index = positions.zeros((0, r), input._kind.int64)
    return positions.take(input, index, 0, False)


# ---- splits
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces along dim: as many as given, the first ones larger by 1 where it does not divide; or cut at positions.

    Raises: ShapeError: fewer than one piece.
    """
    if not input._a.shape:
        raise ShapeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    at = wrap_dim(dim, len(input._a.shape), "tensor_split")
    size = input._a.shape[at]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        sections = indices_or_sections
        if sections <= 0:
            raise ShapeError(
                f"tensor_split: number of sections must be larger than 0, got {sections}"
            )
        small, more = divmod(size, sections)
        return split(input, [small + (i < more) for i in range(sections)], at)
    lead = (slice(None),) * at
    cuts: list[int | None] = [0, *map(int, indices_or_sections), None]
    return tuple([_slice(input, (*lead, slice(a, b))) for a, b in itertools.pairwise(cuts)])


def _split_along(op: str, input: Tensor, how: Any, dim: int, rank: int) -> tuple[Tensor, ...]:
    if len(input._a.shape) < rank:
        raise ShapeError(
            f"{op} requires a tensor with at least {rank} dimension, but got a tensor with {input.dim()} dimensions!"
        )
    if isinstance(how, int) and (how < 1 or input._a.shape[dim] % how):
        raise ShapeError(
            f"{op} attempted to split along dimension {dim}, but the size of the dimension {input._a.shape[dim]} "
            f"is not divisible by the split_size {how}!"
        )
    return tensor_split(input, how, dim)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces along the second dimension (of a vector: its only one), equal ones or cut at positions.

    Raises: ShapeError: 0-d, or the size is not divisible.
    """
    return _split_along("hsplit", input, indices_or_sections, 1 if input.dim() > 1 else 0, 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces along the first dimension, equal ones or cut at positions.

    Raises: ShapeError: fewer than two dimensions, or the size is not divisible.
    """
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Pieces along the third dimension, equal ones or cut at positions.

    Raises: ShapeError: fewer than three dimensions, or the size is not divisible.
    """
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of the given sizes along dim."""
    return split(input, list(split_sizes), dim)


def unsafe_split(input: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """`split`; PyTorch's version leaves out what makes in-place changes of the pieces safe."""
    return split(input, split_size, dim)


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`chunk`; PyTorch's version leaves out what makes in-place changes of the pieces safe."""
    return chunk(input, chunks, dim)


PUBLIC = Public(
    both="tensor_split hsplit vsplit dsplit split_with_sizes unsafe_split unsafe_chunk",
    functions="cat stack hstack vstack dstack column_stack block_diag cartesian_prod combinations "
    "atleast_1d atleast_2d atleast_3d",
    aliases={
        "row_stack": "vstack",
        "concat": "cat",
        "concatenate": "cat",
        "unsafe_split_with_sizes": "split_with_sizes",
    },
)
