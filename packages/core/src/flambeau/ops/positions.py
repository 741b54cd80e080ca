"""What indexing stands on: operations that read and write at positions, and their derivatives.

`take` has one index tensor for one dimension, `read` several for neighbouring dimensions, `gather` and `scatter` one
that has a position for every element. Everything public that indexes is made of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.autograd import node as _node
from flambeau.autograd.inplace import bump, update
from flambeau.autograd.node import Grads, Node, stale
from flambeau.autograd.state import state
from flambeau.errors import (
    ArgumentError,
    DTypeError,
    FlambeauError,
    IndexRangeError,
    ShapeError,
    UnsupportedOpError,
    out_of_bounds,
)
from flambeau.kinds import Kind
from flambeau.ops import elementwise as ew, movement
from flambeau.ops._op import Primitive, op, same
from flambeau.ops._recover import common_device, no_room, sum_to
from flambeau.ops.casting import convert
from flambeau.shape import Shape, broadcast_two
from flambeau.tensor import Tensor, describe, host, wrap

Index = Tensor  # an operand that must be int64
Mask = Tensor  # an operand that must be bool


def zeros(shape: Shape, kind: Kind, value: Any = 0) -> Tensor:
    """New zeros of a kind, or another value everywhere."""
    return wrap(kind.k["fill"](shape, value, kind.dtype), kind)


def zero(like: Tensor) -> Tensor:
    """A 0-d zero of like's kind."""
    return zeros((), like._kind)


_CASTS = (bool, int, float, complex)


def scalar(value: Any, kind: Kind) -> Tensor:
    """A number as a 0-d tensor of a kind, truncated where that is what a cast would do.

    Raises: ArgumentError: value is no number.  DTypeError: a complex number for a real dtype.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, _CASTS):
        raise ArgumentError(
            f"can't assign a {type(value).__name__} to a {kind.dtype.name} Tensor. Hint: flambeau.tensor(value)"
        )
    if isinstance(value, complex) and not kind.dtype.is_complex:
        raise DTypeError(
            f"value cannot be converted to type {kind.dtype.name} without overflow, got {value}"
        )
    if not isinstance(value, complex):
        value = _CASTS[kind.dtype.category](value)
    return wrap(kind.k["fill"]((), value, kind.dtype), kind)


def zero_dim(op: str, value: Any, kind: Kind) -> Tensor:
    """A number or a 0-d tensor as a 0-d tensor of a kind.

    Raises: ShapeError: a tensor with dimensions.
    """
    if not isinstance(value, Tensor):
        return scalar(value, kind)
    if value._a.shape:
        raise ShapeError(
            f"{op} only supports a 0-dimensional value tensor, but got {describe(value)}"
        )
    return convert(value, kind)


def at_least_1d(x: Tensor) -> Tensor:
    """x, or a 0-d x as a vector of one element that shares its memory."""
    return x if x._a.shape else movement._view(x, (1,))


def overlapping(name: str, x: Tensor) -> ShapeError:
    """The error of writing to an expanded tensor."""
    return ShapeError(
        f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
        f"location ({describe(x)}). Hint: clone() the tensor before"
    )


def count(shape: Shape) -> int:
    """Number of elements."""
    n = 1
    for s in shape:
        n *= s
    return n


# ---- one position for every element
@op(shape=lambda x, index, dim: index, kernel="gather", node="GatherBackward0")
def gather(input: Tensor, index: Index, dim: int) -> Tensor:
    """out[i..] = input[.. index[i..] ..]."""
    raise Primitive


@op(shape=lambda g, index, dim, shape: shape)
def gather_backward(grad: Tensor, index: Index, dim: int, shape: Shape) -> Tensor:
    """Zeros of a shape with grad added at index: the derivative of `gather`."""
    whole, kind = zeros(shape, grad._kind), grad._kind
    kind.k["scatter"](whole._a, index._a, grad._a, dim, "add", out=whole._a)
    return whole


gather.vjp(input=lambda g, index, dim, input_shape: gather_backward(g, index, dim, input_shape))
gather_backward.vjp(grad=lambda g, index, dim: gather(g, index, dim))


@op(shape=same, kernel="scatter", node="ScatterBackward0")
def scatter_set(input: Tensor, index: Index, src: Tensor, dim: int, reduce: str) -> Tensor:
    """input with src's elements put at index along dim; reduce is "set"."""
    raise Primitive


scatter_set.op.label = "scatter"  # what messages call it


def scatter_zero(g: Tensor, index: Tensor, dim: int) -> Tensor:
    """g with 0 at index along dim."""
    return scatter_set(g, index, movement._expand(zero(g), index._a.shape), dim, "set")


scatter_set.vjp(
    input=lambda g, index, dim: scatter_zero(g, index, dim),
    src=lambda g, index, dim: gather(g, index, dim),
)


@op(shape=same, kernel="scatter", node="ScatterAddBackward0")
def scatter_add(input: Tensor, index: Index, src: Tensor, dim: int, reduce: str) -> Tensor:
    """input with src's elements added at index along dim; reduce is "add"."""
    raise Primitive


scatter_add.vjp(input=lambda g: g, src=lambda g, index, dim: gather(g, index, dim))


@op(shape=same, kernel="scatter", node="ScatterReduceBackward0")
def scatter_mul(input: Tensor, index: Index, src: Tensor, dim: int, reduce: str) -> Tensor:
    """input with src's elements multiplied in at index along dim; reduce is "mul"."""
    raise Primitive


def _mul_input(g: Tensor, input: Tensor, src: Tensor, index: Tensor, dim: int) -> Tensor:
    """The product of the factors alone is the slope, whatever input is."""
    ones = zeros(g._a.shape, g._kind, 1)
    return ew.mul(g, scatter_mul(ones, index, src, dim, "mul"))


def _mul_src(g: Tensor, input: Tensor, src: Tensor, index: Tensor, dim: int) -> Tensor:
    """g times the product of all other factors; one zero among them leaves only its own slope."""
    none = ew.eq(src, 0)
    as_number = convert(none, g._kind)
    zeros_here = scatter_add(zeros(g._a.shape, g._kind), index, as_number, dim, "add")
    filled = ew.where(none, 1, src)
    others = scatter_mul(input, index, filled, dim, "mul")
    share = ew.div(gather(ew.mul(g, others), index, dim), filled)
    met = gather(zeros_here, index, dim)
    return ew.where(ew.eq(met, as_number), share, 0)


scatter_mul.vjp(input=_mul_input, src=_mul_src)


@op(shape=same, kernel="scatter", node="ScatterReduceBackward0")
def scatter_extreme(input: Tensor, index: Index, src: Tensor, dim: int, reduce: str) -> Tensor:
    """The largest or smallest of input's and src's elements at index along dim; reduce is "max" or "min"."""
    raise Primitive


@scatter_extreme.vjp_joint
def _scatter_extreme(
    g: Tensor,
    input: Tensor,
    index: Tensor,
    src: Tensor,
    y: Tensor,
    dim: int,
    needs: tuple[bool, ...],
) -> Grads:
    """g shared evenly among all elements that are equal to the extreme."""
    here = convert(ew.eq(input, y), g._kind)
    there = convert(ew.eq(src, gather(y, index, dim)), g._kind)
    share = ew.div(g, scatter_add(here, index, there, dim, "add"))
    return (
        ew.mul(share, here) if needs[0] else None,
        ew.mul(gather(share, index, dim), there) if needs[1] else None,
    )


# ---- one index tensor for one dimension
def _taken(x: Shape, index: Shape, dim: int, wrap: bool) -> Shape:
    return (*x[:dim], *index, *x[dim + 1 :])


def _take_body(input: Tensor, index: Tensor, dim: int, wrap: bool) -> Tensor:
    shape = input._a.shape
    if wrap:
        index = ew.where(ew.lt(index, 0), ew.add(index, shape[dim]), index)
    at = _along(movement.reshape(index, (-1,)), shape, dim)
    return movement.reshape(gather(input, at, dim), _taken(shape, index._a.shape, dim, wrap))


def _along(index: Tensor, shape: Shape, dim: int) -> Tensor:
    """A vector of positions expanded to the other dimensions of shape."""
    n = index._a.shape[0]
    upright = movement._view(index, (n,) + (1,) * (len(shape) - dim - 1))
    return movement._expand(upright, (*shape[:dim], n, *shape[dim + 1 :]))


@op(shape=_taken, kernel="index_select", node="IndexBackward0")
def take(input: Tensor, index: Index, dim: int, wrap: bool) -> Tensor:
    """input's slices at index, of any rank, along dim; wrap lets negative positions count from the end."""
    return _take_body(input, index, dim, wrap)


@op(shape=_taken, kernel="index_select", node="IndexSelectBackward0")
def index_select(input: Tensor, index: Index, dim: int, wrap: bool) -> Tensor:
    """`take` under the name that its public function has on the tape."""
    return _take_body(input, index, dim, wrap)


@op(shape=lambda g, index, dim, wrap, shape: shape, kernel="index_select_backward")
def take_backward(grad: Tensor, index: Index, dim: int, wrap: bool, shape: Shape) -> Tensor:
    """Zeros of a shape with grad's slices added at index along dim: the derivative of `take`."""
    whole = zeros(shape, grad._kind)
    return write(whole, (index,), grad, dim, accumulate=True, own=True)


def _take_input(g: Tensor, index: Tensor, dim: int, wrap: bool, input_shape: Shape) -> Tensor:
    return take_backward(g, index, dim, wrap, input_shape)


take.vjp(input=_take_input)
index_select.vjp(input=_take_input)
take_backward.vjp(grad=lambda g, index, dim, wrap: take(g, index, dim, wrap))


# ---- several index tensors for neighbouring dimensions
def _complain(op: str, error: Exception, tensors: Sequence[Tensor], dim: int) -> Exception:
    """The error of a failed read or write: which position is out of range in which dimension.

    Args: tensors: what is indexed, the index tensors, and the value that was to be written.
    """
    common_device(op, tensors)
    input, indices = tensors[0], tensors[1 : -1 if op == "index_put" else None]
    if isinstance(error, MemoryError):
        return no_room(op, input._kind, error)
    if not isinstance(error, IndexError | ValueError):
        return error
    _indexed(input._a.shape, indices, dim)
    for d, i in enumerate(indices):
        size, at = input._a.shape[dim + d], host(i)
        wrong = at[(at < -size) | (at >= size)]
        if wrong.size:
            from flambeau._live import located

            return located(out_of_bounds(wrong.flat[0], dim + d, size, -size), input)
    return error


def _indexed(shape: Shape, indices: Sequence[Tensor], dim: int) -> Shape:
    """The shape of what is read; also the rule that index tensors broadcast."""
    shapes = [i._a.shape for i in indices]
    common: Shape = ()
    for s in shapes:
        try:
            common = broadcast_two(common, s)
        except ValueError:
            raise IndexRangeError(
                "shape mismatch: indexing tensors could not be broadcast together with shapes "
                + ", ".join(str(list(s)) for s in shapes)
            ) from None
    return (*shape[:dim], *common, *shape[dim + len(indices) :])


def _merged(input: Tensor, indices: Sequence[Tensor], dim: int) -> tuple[Tensor, Any]:
    """input with the indexed dimensions merged into one, and the position in it."""
    shape, end = input._a.shape, dim + len(indices)
    flat: Tensor | None = None
    for i, n in zip(indices, shape[dim:end]):
        wrapped = ew.where(ew.lt(i, 0), ew.add(i, n), i)
        flat = wrapped if flat is None else ew.add(ew.mul(flat, n), wrapped)
    whole = (*shape[:dim], count(shape[dim:end]), *shape[end:])
    return movement.reshape(input, whole), flat


class _Positions(Node):
    """A node that keeps index tensors, each with the version it was used at."""

    __slots__ = ()

    def __init__(
        self, t: Tensor, edges: tuple[Any, ...], indices: Sequence[Tensor], dim: Any
    ) -> None:
        self.edges, self.attrs, self.hooks = edges, dim, None
        self.saved = tuple([(i, 0 if i._s is None else i._s.version) for i in indices])
        self.seq, self.shape, self.kind = _node.next_seq(), t._a.shape, t._kind
        if _node.packer is not None:
            _node.packer(self)

    def indices(self) -> tuple[Tensor, ...]:
        """The index tensors, provided nobody changed them."""
        if self.saved is None:
            raise _node.freed(self)
        for i, then in self.saved:
            now = 0 if i._s is None else i._s.version
            if now != then:
                raise stale(self, i._a.shape, then, now)
        return tuple([i for i, _ in self.saved])


class IndexBackward0(_Positions):
    """History of reading at several index tensors."""

    __slots__ = ()

    def apply(self, g: Tensor) -> Grads:
        """Zeros with g added at the positions that were read."""
        whole = zeros(self.edges[0].shape, g._kind)
        return (write(whole, self.indices(), g, self.attrs, accumulate=True, own=True),)


def read(input: Tensor, indices: Sequence[Tensor], dim: int) -> Tensor:
    """input at int64 index tensors that broadcast together, for the dimensions dim, dim + 1, ..; negatives wrap."""
    if len(indices) == 1:
        return take(input, indices[0], dim, True)
    kind = input._kind
    kernel = kind.k["index"]
    if kernel is None:
        _indexed(input._a.shape, indices, dim)
        merged, flat = _merged(input, indices, dim)
        return take(merged, flat, dim, False)
    try:
        t = wrap(kernel(input._a, *[i._a for i in indices], dim), kind)
    except Exception as error:
        raise _complain("index", error, (input, *indices), dim) from None
    if input._g is not None and state.grad:
        t._g = IndexBackward0(t, (input._g,), indices, dim)
    return t


class IndexPutBackward0(_Positions):
    """History of writing at index tensors."""

    __slots__ = ()

    def apply(self, g: Tensor) -> Grads:
        """What was overwritten loses its gradient; the value gets it."""
        indices, (dim, accumulate) = self.indices(), self.attrs
        input_g, value_g = self.edges
        to_input = to_value = None
        if input_g is not None:
            to_input = g if accumulate else write(g, indices, zero(g), dim, accumulate=False)
        if value_g is not None:
            to_value = read(g, indices, dim)
            if to_value._a.shape != value_g.shape:
                to_value = sum_to(to_value, value_g.shape)
        return to_input, to_value


def write(
    input: Tensor,
    indices: Sequence[Tensor],
    value: Tensor,
    dim: int,
    *,
    accumulate: bool,
    own: bool = False,
) -> Tensor:
    """input with value put at (or added to) the positions that `read` gives; own: input may be overwritten."""
    kind = input._kind
    kernel = kind.k["index_put"]
    if kernel is None:
        shape = _target(input, indices, value, dim)
        return _write_merged(input, indices, movement._expand(value, shape), dim, accumulate)
    natives = [i._a for i in indices]
    rank = len(input._a.shape) - len(indices) + max([len(a.shape) for a in natives])
    if len(value._a.shape) > rank:
        _target(input, indices, value, dim)
    try:
        out = input._a if own else ...
        t = wrap(kernel(input._a, *natives, value._a, dim, accumulate, out=out), kind)
    except Exception as error:
        if isinstance(error, IndexError | ValueError):
            _target(input, indices, value, dim)
        raise _complain("index_put", error, (input, *indices, value), dim) from None
    if (input._g is not None or value._g is not None) and state.grad:
        t._g = IndexPutBackward0(t, (input._g, value._g), indices, (dim, accumulate))
    return t


def _target(input: Tensor, indices: Sequence[Tensor], value: Tensor, dim: int) -> Shape:
    """The shape that is written to, once value broadcasts to it."""
    shape = _indexed(input._a.shape, indices, dim)
    if not _covers(shape, value._a.shape):
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(value._a.shape)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}"
        )
    return shape


def _covers(shape: Shape, part: Shape) -> bool:
    try:
        return broadcast_two(shape, part) == shape
    except ValueError:
        return False


def _write_merged(
    input: Tensor, indices: Sequence[Tensor], value: Tensor, dim: int, accumulate: bool
) -> Tensor:
    """`write` by scatter along the merged dimensions."""
    merged, flat = _merged(input, indices, dim)
    n = flat.numel()
    shape = merged._a.shape
    at = _along(movement.reshape(flat, (n,)), shape, dim)
    src = movement.reshape(value, (*shape[:dim], n, *shape[dim + 1 :]))
    if accumulate:
        done = scatter_add(merged, at, src, dim, "add")
    else:
        done = scatter_set(merged, at, src, dim, "set")
    return movement.reshape(done, input._a.shape)


def write_(
    name: str, x: Tensor, indices: Sequence[Tensor], value: Tensor, dim: int, accumulate: bool
) -> Tensor:
    """`write` into x's own memory."""
    taped = state.grad and (x._g is not None or value._g is not None)
    if taped or x._kind.k["index_put"] is None:
        return update(
            name, x, lambda src: write(src, indices, value, dim, accumulate=accumulate), saves=False
        )
    try:
        write(x, indices, value, dim, accumulate=accumulate, own=True)
    except ValueError as error:
        if isinstance(error, FlambeauError):
            raise
        raise overlapping(name, x) from error
    bump(x)
    return x


# ---- masks
def _no_rule(x: Shape, mask: Shape, dim: int) -> Shape:
    raise UnsupportedOpError(
        f"masked_select: the number of elements where a mask of shape {list(mask)} is true depends on its values, and "
        "a tensor without data has none. Hint: where(mask, x, 0) keeps the shape"
    )


@op(shape=_no_rule, kernel="masked_select", node="MaskedSelectBackward0")
def masked_select(input: Tensor, mask: Mask, dim: int) -> Tensor:
    """The slices of input where mask, over dimensions dim .. dim + mask.ndim, is true."""
    merged, at = _merged(input, nonzero_columns(mask), dim)
    return take(merged, at, dim, False)


@op(shape=lambda g, mask, dim, shape: shape)
def masked_select_backward(grad: Tensor, mask: Mask, dim: int, shape: Shape) -> Tensor:
    """Zeros of a shape with grad where mask is true: the derivative of `masked_select`."""
    return _write_merged(zeros(shape, grad._kind), nonzero_columns(mask), grad, dim, False)


def _masked_select_input(g: Tensor, mask: Tensor, dim: int, input_shape: Shape) -> Tensor:
    return masked_select_backward(g, mask, dim, input_shape)


masked_select.vjp(input=_masked_select_input)
masked_select_backward.vjp(grad=lambda g, mask, dim: masked_select(g, mask, dim))


def nonzero_positions(x: Tensor) -> Tensor:
    """One row of int64 positions for each element that is not 0.

    How many there are is known only to the host, so a device without a kernel answers through it.
    """
    kind = x._kind
    kernel = kind.k["nonzero"]
    if kernel is not None:
        return wrap(kernel(x._a), kind.int64)
    found = np.argwhere(host(x)).astype(np.int64)
    return wrap(kind.k["from_host"](found), kind.int64)


def nonzero_columns(x: Tensor) -> list[Tensor]:
    """The positions of elements that are not 0, a vector for each dimension."""
    x = at_least_1d(x)
    rows = nonzero_positions(x)
    return [movement._slice(rows, (slice(None), d)) for d in range(len(x._a.shape))]
