"""Views and moves: reshape, permute, expand, slices, joins and splits."""

from __future__ import annotations

from typing import Any

from flambeau import _late
from flambeau.dtypes import dtype
from flambeau.errors import GradError, IndexRangeError, ShapeError, out_of_bounds
from flambeau.ops._op import Primitive, op
from flambeau.ops._public import Public
from flambeau.ops._recover import sum_to
from flambeau.shape import Shape, as_shape, broadcast_shapes, infer_size, wrap_dim
from flambeau.tensor import Tensor, describe, wrap


def _given(x: Shape, shape: Shape) -> Shape:
    return infer_size(shape, _count(x), "view")


def _count(shape: Shape) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


# ---- the view kernels
@op(shape=_given, view=True, kernel="view", node="ViewBackward0")
def _view(input: Tensor, shape: Shape) -> Tensor:
    """The same memory under another shape."""
    raise Primitive


_view.vjp(input=lambda g, input_shape: reshape(g, input_shape))


def _permuted(x: Shape, dims: Shape) -> Shape:
    return tuple(x[d] for d in dims)


@op(shape=_permuted, view=True, kernel="permute", node="PermuteBackward0")
def _permute(input: Tensor, dims: Shape) -> Tensor:
    """Dimensions in another order."""
    raise Primitive


def _inverse(dims: Shape) -> Shape:
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d] = i
    return tuple(inverse)


_permute.vjp(input=lambda g, dims: _permute(g, _inverse(dims)))


def _expanded(x: Shape, shape: Shape) -> Shape:
    lead = len(shape) - len(x)
    if lead < 0:
        raise ShapeError(
            f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the "
            f"number of dimensions in "
            f"the tensor ({len(x)}), got {list(x)} -> {list(shape)}"
        )
    for i, n in enumerate(x):
        if n not in (1, shape[lead + i]):
            raise ShapeError(
                f"expand: the expanded size of the tensor ({shape[lead + i]}) must match the existing size ({n}) at "
                f"non-singleton dimension {lead + i}. Target sizes: {list(shape)}. Tensor sizes: {list(x)}"
            )
    return shape


@op(shape=_expanded, view=True, kernel="expand", node="ExpandBackward0")
def _expand(input: Tensor, shape: Shape) -> Tensor:
    """Dimensions of size 1 repeated without copying."""
    raise Primitive


def _sum_back(g: Tensor, input_shape: Shape) -> Tensor:
    return sum_to(g, input_shape) if g._a.shape != input_shape else g


_expand.vjp(input=_sum_back)


def sliced_shape(x: Shape, key: tuple[Any, ...]) -> Shape:
    """Shape rule of basic indexing: key has an int or a slice (step >= 1) for every dimension, and None for
    new ones.
    """
    out: list[int] = []
    dim = 0
    for k in key:
        if k is None:
            out.append(1)
            continue
        if isinstance(k, slice):
            out.append(len(range(*k.indices(x[dim]))))
        elif not -x[dim] <= k < x[dim]:
            raise out_of_bounds(k, dim, x[dim], -x[dim])
        dim += 1
    return (*out, *x[dim:])


@op(shape=sliced_shape, view=True, kernel="slice", node="SliceBackward0")
def _slice(input: Tensor, key: tuple[Any, ...]) -> Tensor:
    """Part of a tensor by ints, slices and None."""
    raise Primitive


@op(shape=lambda g, key, shape: shape, kernel="slice_backward", node="SliceBackwardBackward0")
def _slice_backward(grad: Tensor, key: tuple[Any, ...], shape: Shape) -> Tensor:
    """Zeros of a shape with grad at a slice: the derivative of `_slice`."""
    kind = grad._kind
    whole = wrap(kind.k["fill"](shape, 0, kind.dtype), kind)
    kind.k["copy"](grad._a, out=kind.k["slice"](whole._a, key))
    return whole


_slice_backward.vjp(grad=lambda g, key: _slice(g, key))
_slice.vjp(input=lambda g, key, input_shape: _slice_backward(g, key, input_shape))


@op(
    shape=lambda x, size, stride, offset: size,
    view=True,
    kernel="as_strided",
    node="AsStridedBackward0",
)
def _as_strided(input: Tensor, size: Shape, stride: Shape, offset: int) -> Tensor:
    """Any view of the same memory by element strides."""
    raise Primitive


def _as_strided_back(
    g: Tensor, input: Tensor, size: Shape, stride: Shape, offset: int, input_shape: Shape
) -> Tensor:
    from flambeau.ops.creation import arange, zeros
    from flambeau.ops.index_more import index_add

    count = _count(input_shape)
    places = arange(count, device=g.device)
    try:
        if not input.is_contiguous():
            raise ValueError("the input is not contiguous")
        where = _as_strided(places, size, stride, offset - input.storage_offset())
    except ValueError as error:
        raise GradError(
            f"as_strided: the gradient needs a contiguous input and positions within it, got {describe(input)} with "
            f"strides {input.stride()} ({error}). Hint: x.contiguous().as_strided(...)"
        ) from error
    flat = zeros(count, dtype=g.dtype, device=g.device)
    return index_add(flat, 0, reshape(where, (-1,)), reshape(g, (-1,))).view(input_shape)


_as_strided.vjp(input=_as_strided_back)


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of the same memory with the given sizes and strides, in elements.

    The gradient is defined for contiguous inputs, as the positions refer to memory.
    """
    offset = input.storage_offset() if storage_offset is None else storage_offset
    try:
        return _as_strided(input, tuple(size), tuple(stride), offset)
    except (ValueError, IndexError) as error:
        raise ShapeError(
            f"as_strided: size {tuple(size)}, stride {tuple(stride)} and storage_offset {offset} reach outside the "
            f"memory of {describe(input)}: {error}"
        ) from error


# ---- shapes
def view(input: Tensor, *shape: Any) -> Tensor:
    """The same memory under another shape; one size may be -1.

    Raises: ShapeError: sizes do not multiply to the element count, or the memory layout does not allow a view.
    """
    wanted = shape
    if len(shape) == 1 and shape[0].__class__ is not int:
        wanted = shape[0]
        if wanted.__class__ is not tuple:
            if isinstance(wanted, dtype):
                from flambeau.ops.casting import view_as_dtype

                return view_as_dtype(input, wanted)
            wanted = as_shape(shape, "view")
    if -1 in wanted:
        wanted = infer_size(wanted, input.numel(), "view")
    try:
        return _view(input, wanted)
    except ShapeError:
        raise
    except ValueError as error:
        raise ShapeError(
            f"view: size {list(wanted)} is not compatible with the input's size and stride, as at "
            f"least one dimension spans across two contiguous subspaces ({describe(input)}, "
            f"strides {input.stride()}). Hint: reshape() instead"
        ) from error


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements under another shape; a view where the memory layout allows it, else a copy.

    Raises: ShapeError: sizes do not multiply to the element count.

    Example:
        >>> import flambeau as fb
        >>> fb.arange(6).reshape(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """
    wanted = shape
    if len(shape) == 1 and shape[0].__class__ is not int:
        wanted = shape[0] if shape[0].__class__ is tuple else as_shape(shape, "reshape")
    if -1 in wanted:
        wanted = infer_size(wanted, input.numel(), "reshape")
    try:
        return _view(input, wanted)
    except ShapeError as error:
        raise ShapeError(f"reshape{str(error).removeprefix('view')} ({describe(input)})") from None
    except ValueError:  # strides cannot express it
        copied = _view(_late.clone(input), wanted)
        copied._v = None  # nobody else sees the clone, so this is no view of anything
        return copied


def permute(input: Tensor, *dims: Any) -> Tensor:
    """Dimensions in another order, sharing memory.

    Raises: ShapeError: dims is not a permutation of the dimensions.
    """
    wanted = as_shape(dims, "permute")
    rank = len(input._a.shape)
    wanted = tuple(wrap_dim(d, rank, "permute") for d in wanted)
    if len(wanted) != rank or len(set(wanted)) != rank:
        raise ShapeError(
            f"permute: needs every one of the {rank} dimensions once, got {dims} ({describe(input)})"
        )
    return _permute(input, wanted)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged, sharing memory.

    Example:
        >>> import flambeau as fb
        >>> fb.zeros(2, 3, 4).transpose(0, 2).shape
        flambeau.Size([4, 3, 2])
    """
    rank = len(input._a.shape)
    a, b = wrap_dim(dim0, rank, "transpose"), wrap_dim(dim1, rank, "transpose")
    dims = list(range(rank))
    if rank:
        dims[a], dims[b] = b, a
    return _permute(input, tuple(dims))


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors stay as they are.

    Raises: ShapeError: more than two dimensions.
    """
    rank = len(input._a.shape)
    if rank > 2:
        raise ShapeError(
            f"t: expects a tensor with <= 2 dimensions, got {describe(input)}. Hint: x.mT"
        )
    return _permute(input, (1, 0) if rank == 2 else tuple(range(rank)))


def T(input: Tensor) -> Tensor:
    """All dimensions in reverse order."""
    return _permute(input, tuple(range(len(input._a.shape) - 1, -1, -1)))


def mT(input: Tensor) -> Tensor:
    """The last two dimensions exchanged.

    Raises: ShapeError: fewer than two dimensions.
    """
    if len(input._a.shape) < 2:
        raise ShapeError(f"mT: needs at least 2 dimensions, got {describe(input)}")
    return transpose(input, -2, -1)


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Dimensions of size 1 repeated without copying; -1 keeps a size."""
    wanted = as_shape(sizes, "expand")
    have = input._a.shape
    lead = len(wanted) - len(have)
    if lead >= 0:
        wanted = tuple(have[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(wanted))
    if wanted and min(wanted) < 0:
        raise ShapeError(
            f"expand: a size of -1 keeps an existing dimension, got {list(wanted)} for {describe(input)}"
        )
    return _expand(input, _expanded(have, wanted))


def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """input expanded to a shape."""
    return expand(input, tuple(size))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """input expanded to other's shape."""
    return expand(input, other._a.shape)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """input viewed under other's shape."""
    return view(input, other._a.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """input reshaped to other's shape."""
    return reshape(input, other._a.shape)


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the dimensions of size 1, or without those named in dim that have size 1."""
    shape = input._a.shape
    dims = (
        range(len(shape))
        if dim is None
        else [wrap_dim(d, len(shape), "squeeze") for d in _listed(dim)]
    )
    return _slice(
        input, tuple(0 if n == 1 and i in dims else slice(None) for i, n in enumerate(shape))
    )


def _listed(dim: Any) -> Any:
    return (dim,) if isinstance(dim, int) else dim


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1 at dim."""
    at = wrap_dim(dim, len(input._a.shape) + 1, "unsqueeze")
    return _slice(input, (slice(None),) * at + (None,))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim (both included) merged into one.

    Example:
        >>> import flambeau as fb
        >>> fb.zeros(2, 3, 4).flatten(1).shape
        flambeau.Size([2, 12])
    """
    shape = input._a.shape
    rank = len(shape)
    a, b = wrap_dim(start_dim, rank, "flatten"), wrap_dim(end_dim, rank, "flatten")
    if a > b:
        raise ShapeError(
            f"flatten: start_dim cannot come after end_dim, got {start_dim} and {end_dim} ({describe(input)})"
        )
    if rank and a == b:
        return input
    return reshape(input, (*shape[:a], _count(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """One dimension split into several; one of the sizes may be -1."""
    shape = _with_dims("unflatten", input)
    at = wrap_dim(dim, len(shape), "unflatten")
    return view(
        input, (*shape[:at], *infer_size(tuple(sizes), shape[at], "unflatten"), *shape[at + 1 :])
    )


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(input if input.is_contiguous() else _late.clone(input), (-1,))


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other positions, the rest in order."""
    rank = len(input._a.shape) or 1
    src = [wrap_dim(d, rank, "movedim") for d in ((source,) if isinstance(source, int) else source)]
    dst = [
        wrap_dim(d, rank, "movedim")
        for d in ((destination,) if isinstance(destination, int) else destination)
    ]
    if len(src) != len(dst) or len(set(src)) != len(src) or len(set(dst)) != len(dst):
        raise ShapeError(
            f"movedim: source {source} and destination {destination} must be distinct and equally many"
        )
    order = [-1] * rank
    for s, d in zip(src, dst, strict=True):
        order[d] = s
    if not input._a.shape:
        return _permute(input, ())
    rest = iter(i for i in range(rank) if i not in src)
    return _permute(input, tuple(next(rest) if d < 0 else d for d in order))


def _with_dims(name: str, x: Tensor) -> Shape:
    shape: Shape = x._a.shape
    if not shape:
        raise ShapeError(
            f"{name}: needs at least a 1-dimensional tensor, got {describe(x)}. Hint: x.unsqueeze(0)"
        )
    return shape


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """length elements from start along dim, sharing memory."""
    shape = _with_dims("narrow", input)
    at = wrap_dim(dim, len(shape), "narrow")
    first = int(start)
    if first < 0:
        first += shape[at]
    if length < 0 or first < 0 or first + length > shape[at]:
        raise IndexRangeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({shape[at]}) of dim "
            f"{dim} ({describe(input)})"
        )
    return _slice(input, (slice(None),) * at + (slice(first, first + length),))


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One index along dim, which disappears; shares memory."""
    shape = input._a.shape
    if not shape:
        raise IndexRangeError("select() cannot be applied to a 0-dim tensor.")
    at = wrap_dim(dim, len(shape), "select")
    if not -shape[at] <= index < shape[at]:
        raise IndexRangeError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {at} "
            f"(valid: {-shape[at]} to {shape[at] - 1}; {describe(input)})"
        )
    return _slice(input, (slice(None),) * at + (int(index),))


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All indices along dim as a tuple of views."""
    if not input._a.shape:
        raise IndexRangeError(f"unbind: a 0-d tensor has no dimensions, got {describe(input)}")
    at = wrap_dim(dim, len(input._a.shape), "unbind")
    lead = (slice(None),) * at
    return tuple([_slice(input, (*lead, i)) for i in range(input._a.shape[at])])


def split(input: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces along dim: of one size (the last may be smaller), or of the given sizes.

    Raises: ShapeError: the sizes do not add up.
    """
    at = wrap_dim(dim, len(_with_dims("split", input)), "split")
    size = input._a.shape[at]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 0 or (step == 0 and size):
            raise ShapeError(
                f"split expects split_size be non-negative and fit the dimension, but got {step}"
            )
        sizes = [min(step, size - i) for i in range(0, size, step)] if size else [0]
    else:
        sizes = [int(n) for n in split_size_or_sections]
        if sum(sizes) != size or min(sizes, default=0) < 0:
            raise ShapeError(
                f"split: split_sizes must sum exactly to {size} (the size of dimension {dim}), got "
                f"{sizes} ({describe(input)})"
            )
    pieces, start = [], 0
    for n in sizes:
        pieces.append(narrow(input, at, start, n))
        start += n
    return tuple(pieces)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along dim; the last may be smaller."""
    if chunks <= 0:
        raise ShapeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = _with_dims("chunk", input)[wrap_dim(dim, len(input._a.shape), "chunk")]
    return split(input, max(-(-size // chunks), 1), dim)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape.

    Raises: ShapeError: they do not broadcast.
    """
    given = (
        tuple(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    )
    shape = broadcast_shapes(*(t._a.shape for t in given))
    return tuple(expand(t, tuple(shape)) for t in given)


def _reshaping(fn: Any) -> Any:
    """The variant of a view function that turns the tensor itself into the view."""

    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        from flambeau.autograd.inplace import check_writable

        check_writable(change.__name__, self)
        before = wrap(self._a, self._kind, self._g)
        before._s, before._v = self._s, self._v
        view = fn(before, *args, **kwargs)
        self._a, self._g, self._s, self._v = view._a, view._g, view._s, view._v
        return self

    change.__name__ = change.__qualname__ = f"{fn.__name__}_"
    change.__doc__ = f"In-place version of {fn.__name__}: this tensor becomes the view."
    return change


squeeze_, unsqueeze_, transpose_, t_ = (_reshaping(f) for f in (squeeze, unsqueeze, transpose, t))

PUBLIC = Public(
    both="reshape permute transpose t squeeze unsqueeze flatten unflatten ravel movedim "
    "narrow select unbind split chunk "
    "broadcast_to as_strided",
    functions="broadcast_tensors",
    methods="squeeze_ unsqueeze_ transpose_ t_ view expand expand_as view_as reshape_as",
    properties="T mT",
    aliases={
        "swapaxes": "transpose",
        "swapdims": "transpose",
        "swapaxes_": "transpose_",
        "swapdims_": "transpose_",
        "moveaxis": "movedim",
    },
)
