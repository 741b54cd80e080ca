"""Indexing: `x[key]`, `x[key] = value` and index_put.

A key is split in two. Ints, slices, None and Ellipsis make a view; index tensors and masks then read or write at
positions in that view. As in PyTorch, an int is taken before an index tensor and so does not move the result's
dimensions.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.inplace import bump
from flambeau.autograd.state import state
from flambeau.errors import ArgumentError, DTypeError, FlambeauError, IndexRangeError, ShapeError
from flambeau.kinds import Kind
from flambeau.ops import positions
from flambeau.ops._public import Public
from flambeau.ops._recover import common_device
from flambeau.ops.casting import convert, copy_
from flambeau.ops.creation import tensor
from flambeau.ops.elementwise import ne
from flambeau.ops.masking import masked_fill_
from flambeau.ops.movement import _permute, _slice, _view
from flambeau.ops.positions import scalar
from flambeau.tensor import Tensor, describe

_PLAIN = frozenset({int, type(None)})
_ALL = slice(None)
_KINDS_OF_KEY = "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices"


def getitem(self: Tensor, key: Any) -> Tensor:
    """Part of a tensor: a view for ints, slices, None and Ellipsis, a copy where index tensors or masks take part.

    Raises: IndexRangeError: a position or the number of indices is out of range, a mask or index tensor does not fit.
        ValueError (ShapeError): a slice with a negative step.

    Example:
        >>> import flambeau as fb
        >>> x = fb.arange(6).reshape(2, 3)
        >>> x[:, 1], x[x > 3], x[[1, 0], [0, 2]]
        (tensor([1, 4]), tensor([4, 5]), tensor([3, 2]))
    """
    c = key.__class__
    if c is tuple:
        for k in key:
            c = k.__class__
            if c is int or k is None:
                continue
            if (
                c is slice
                and k.step is None
                and k.start.__class__ in _PLAIN
                and k.stop.__class__ in _PLAIN
            ):
                continue
            return _get(self, key)
    elif (
        c is int
        or key is None
        or (
            c is slice
            and key.step is None
            and key.start.__class__ in _PLAIN
            and key.stop.__class__ in _PLAIN
        )
    ):
        key = (key,)
    elif c is Tensor and key._kind is self._kind.int64 and key._a.shape and self._a.shape:
        return positions.take(self, key, 0, True)
    else:
        return _get(self, _as_tuple(key))
    try:
        return _slice(self, key)
    except IndexError as error:
        raise _range_error(error, self, key) from None


def _is_basic(key: tuple[Any, ...]) -> bool:
    """Whether `getitem` would make a view without looking further."""
    for k in key:
        c = k.__class__
        if c is int or k is None:
            continue
        if (
            c is slice
            and k.step is None
            and k.start.__class__ in _PLAIN
            and k.stop.__class__ in _PLAIN
        ):
            continue
        return False
    return True


def _range_error(error: IndexError, x: Tensor, key: tuple[Any, ...]) -> IndexError:
    """What to tell about a key of ints, slices and None that NumPy refused."""
    if isinstance(error, FlambeauError):
        return error
    rank = len(x._a.shape)
    if rank == 0 and any(isinstance(k, int) for k in key):
        return IndexRangeError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim tensor to a number"
        )
    if rank == 0:
        return IndexRangeError("slice() cannot be applied to a 0-dim tensor.")
    return IndexRangeError(f"too many indices for tensor of dimension {rank}, got {len(key)}")


def _get(x: Tensor, key: tuple[Any, ...]) -> Tensor:
    k = key[0] if key else None
    if k is Ellipsis and _is_basic(key[1:]):
        skipped = len(x._a.shape) - len(key) + 1 + key.count(None)
        if skipped >= 0:
            return getitem(x, (_ALL,) * skipped + key[1:])
    elif k.__class__ is Tensor or k.__class__ is slice:
        if _is_whole_mask(x, key):
            return positions.masked_select(x, k, 0)
        at = _plain_positions(x, key)
        if at is not None:
            return positions.read(x, *at)
    view, found = _parse(x, key)
    if not found:
        return view
    if len(found) == 1 and found[0][1]._kind.dtype is dtypes.bool_:
        dim, mask = found[0]
        return positions.masked_select(view, mask, dim)
    view, indices, dim = _neighbours(view, found)
    return positions.read(view, indices, dim)


def _is_whole_mask(x: Tensor, key: tuple[Any, ...]) -> bool:
    """Whether a key is one mask of x's shape, with at least one dimension."""
    k = key[0] if len(key) == 1 else None
    if k.__class__ is not Tensor or k._kind is not x._kind.boolean:
        return False
    return bool(k._a.shape) and k._a.shape == x._a.shape


def _plain_positions(x: Tensor, key: tuple[Any, ...]) -> tuple[Sequence[Tensor], int] | None:
    """Index tensors and where they begin, if a key is int64 vectors for neighbouring dimensions and nothing else."""
    want, dim = x._kind.int64, 0
    for k in key:
        if k.__class__ is not slice or not (k.start is k.stop is k.step is None):
            break
        dim += 1
    indices = key[dim:]
    for k in indices:
        if k.__class__ is not Tensor or k._kind is not want or not k._a.shape:
            return None
    return (indices, dim) if indices and len(key) <= len(x._a.shape) else None


# ---- reading a key
def _as_tuple(key: Any) -> tuple[Any, ...]:
    """The key as a tuple; a short list that holds sequences, slices or tensors means a tuple, as in PyTorch."""
    if isinstance(key, tuple):
        return key
    if isinstance(key, list) and len(key) < 32:
        for k in key:
            if (
                k is None
                or k is Ellipsis
                or isinstance(k, slice | Tensor | list | tuple | np.ndarray)
            ):
                return tuple(key)
    return (key,)


def _bound(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(
            "slice indices must be integers or None or have an __index__ method"
        ) from None


def _item(k: Any, kind: Kind) -> Any:
    """One entry of a key as int, slice, None, Ellipsis, bool, or a tensor of int64 or bool."""
    if k is None or k is Ellipsis or k.__class__ is int:
        return k
    if isinstance(k, slice):
        step = _bound(k.step)
        if step is not None and step <= 0:
            raise ShapeError(
                f"step must be greater than zero, got {k}. Hint: flambeau.flip(x, (dim,))"
            )
        return slice(_bound(k.start), _bound(k.stop), step)
    if isinstance(k, bool | np.bool_):
        return bool(k)
    if isinstance(k, Tensor):
        return _index_tensor(k, kind)
    if isinstance(k, np.ndarray | list | tuple | range):
        k = tensor(k if isinstance(k, np.ndarray) else list(k))
        return _index_tensor(convert(k, k._kind.int64) if k.numel() == 0 else k, kind)
    if hasattr(k, "__index__"):
        return operator.index(k)
    raise IndexRangeError(f"{_KINDS_OF_KEY} (got {type(k).__name__})")


def _index_tensor(k: Tensor, kind: Kind) -> Any:
    d = k._kind.dtype
    if d is dtypes.uint8:
        warnings.warn(
            "indexing with dtype uint8 is deprecated, please use a dtype bool instead.",
            UserWarning,
            stacklevel=5,
        )
        k = ne(k, 0)
    elif d.category > dtypes.INTEGER:
        raise IndexRangeError(
            f"tensors used as indices must be long, int, byte or bool tensors, got {describe(k)}. Hint: x.long()"
        )
    if not k._a.shape:
        value = k.item()
        return value if isinstance(value, bool) else int(value)
    want = kind.boolean if k._kind.dtype is dtypes.bool_ else kind.int64
    return convert(k, want)


def _parse(x: Tensor, key: tuple[Any, ...]) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """The view that the plain part of a key makes, and the index tensors and masks with their dimensions in it."""
    kind, shape = x._kind, x._a.shape
    items = [_item(k, kind) for k in key]
    used = 0
    for k in items:
        if isinstance(k, Tensor):
            used += len(k._a.shape) if k._kind.dtype is dtypes.bool_ else 1
        elif k is not None and k is not Ellipsis and not isinstance(k, bool):
            used += 1
    if used > len(shape):
        raise _range_error(IndexError(), x, key)
    plain: list[Any] = []
    at: list[tuple[int, Tensor]] = []
    dim = out = 0  # dimensions of x read so far, and of the view made so far
    for k in items:
        if k is Ellipsis:
            skipped, used = len(shape) - used, len(shape)
            plain += [_ALL] * skipped
            dim, out = dim + skipped, out + skipped
        elif isinstance(k, bool):
            plain.append(None)
            at.append((out, tensor([0] if k else [], dtype=dtypes.int64, device=kind.device)))
            out += 1
        elif isinstance(k, Tensor):
            n = _fit(k, shape, dim, len(at))
            at.append((out, k))
            plain += [_ALL] * n
            dim, out = dim + n, out + n
        else:
            plain.append(k)
            dim += k is not None
            out += k.__class__ is not int
    if all(k == _ALL for k in plain) and at:
        return x, at
    try:
        return _slice(x, tuple(plain)), at
    except IndexError as error:
        raise _range_error(error, x, key) from None


def _fit(k: Tensor, shape: tuple[int, ...], dim: int, nth: int) -> int:
    """How many dimensions an index tensor or mask indexes; a mask must have their sizes."""
    if k._kind.dtype is not dtypes.bool_:
        return 1
    mask = k._a.shape
    for d, n in enumerate(mask):
        if shape[dim + d] != n:
            raise IndexRangeError(
                f"The shape of the mask {list(mask)} at index {d} does not match the shape of the indexed tensor "
                f"{list(shape)} at index {dim + d}"
            )
    return len(mask)


def _neighbours(view: Tensor, at: list[tuple[int, Tensor]]) -> tuple[Tensor, list[Tensor], int]:
    """Masks as positions, and the indexed dimensions made neighbours: if they are not, they go to the front."""
    dims: list[int] = []
    indices: list[Tensor] = []
    for dim, k in at:
        found = positions.nonzero_columns(k) if k._kind.dtype is dtypes.bool_ else [k]
        indices += found
        dims += range(dim, dim + len(found))
    if dims[-1] - dims[0] == len(dims) - 1:
        return view, indices, dims[0]
    rest = [d for d in range(len(view._a.shape)) if d not in dims]
    return _permute(view, (*dims, *rest)), indices, 0


# ---- assignment
def setitem(self: Tensor, key: Any, value: Any) -> None:
    """Overwrite part of a tensor with a number or a tensor that broadcasts to it.

    Raises: IndexRangeError: see `x[key]`.  ShapeError: value does not broadcast.
        ArgumentError: value is no number or Tensor.  GradError: this is a leaf that requires grad.
    """
    key = _as_tuple(key)
    if _is_basic(key) and (not state.grad or self._g is None):
        kernels = self._kind.k
        try:
            if value.__class__ in self._kind.weak:
                kernels["fill_"](kernels["slice"](self._a, key), value)
                return bump(self)
            if value._kind is self._kind and (value._g is None or not state.grad):
                kernels["copy"](value._a, out=kernels["slice"](self._a, key))
                return bump(self)
        except Exception:
            pass
    _set(self, key, value)
    return None


def _set(x: Tensor, key: tuple[Any, ...], value: Any) -> None:
    if _is_whole_mask(x, key) and not (isinstance(value, Tensor) and value._a.shape):
        masked_fill_(x, key[0], value)
        return
    if not isinstance(value, Tensor):
        value = scalar(value, x._kind)
    quick = _plain_positions(x, key)
    if quick is not None and value._kind is x._kind:
        positions.write_("index_put_", x, quick[0], _without_leading_ones(value), quick[1], False)
        return
    view, at = _parse(x, key)
    if not at:
        copy_(view, _without_leading_ones(value))
        return
    if value._kind is not x._kind:
        common_device("setitem", (x, value))
        if value._kind.dtype is not x._kind.dtype:
            raise DTypeError(
                f"Index put requires the source and destination dtypes match, got {describe(x)} for the destination "
                f"and {describe(value)} for the source. Hint: value.to({x.dtype!r})"
            )
        value = convert(value, x._kind)  # a number on the cpu
    if len(at) == 1 and not value._a.shape and at[0][1]._kind.dtype is dtypes.bool_:
        dim, mask = at[0]
        below = len(view._a.shape) - dim - len(mask._a.shape)
        masked_fill_(view, _view(mask, (*mask._a.shape, *(1,) * below)), value)
        return
    view, indices, dim = _neighbours(view, at)
    value = _without_leading_ones(value)
    positions.write_("index_put_", view, indices, value, dim, False)


def _without_leading_ones(value: Tensor) -> Tensor:
    """Assignment ignores leading dimensions of size 1, as NumPy's does."""
    shape = value._a.shape
    extra = 0
    while extra < len(shape) and shape[extra] == 1:
        extra += 1
    return _slice(value, (0,) * extra) if extra else value


# ---- index_put
def _listed(indices: Any, x: Tensor, op: str) -> list[tuple[int, Tensor]]:
    if not isinstance(indices, tuple | list):
        raise ArgumentError(
            f"{op}(): argument 'indices' (position 1) must be tuple of Tensors, not {type(indices).__name__}"
        )
    at: list[tuple[int, Tensor]] = []
    dim = 0
    for i, k in enumerate(indices):
        if k is None:
            dim += 1
            continue
        if not isinstance(k, Tensor):
            raise ArgumentError(
                f"{op}(): expected Tensor as element {i} in argument 0, but got {type(k).__name__}"
            )
        n = len(k._a.shape) if k._kind.dtype is dtypes.bool_ else 1
        if dim + n > len(x._a.shape):
            raise IndexRangeError(f"too many indices for tensor of dimension {len(x._a.shape)}")
        found = _index_tensor(k, x._kind)
        if not isinstance(found, Tensor):
            found = tensor(found, device=x.device)
        _fit(found, x._a.shape, dim, len(at))
        at.append((dim, found))
        dim += n
    return at


def _check_put(op: str, input: Tensor, values: Any) -> None:
    if not isinstance(values, Tensor):
        raise ArgumentError(
            f"{op}(): argument 'values' must be Tensor, not {type(values).__name__}. Hint: flambeau.tensor(...)"
        )
    if values._kind is not input._kind:
        common_device(op, (input, values))
        if values._kind.dtype is not input._kind.dtype:
            raise DTypeError(
                f"{op}: Index put requires the source and destination dtypes match, got {describe(input)} for the "
                f"destination and {describe(values)} for the source. Hint: values.to({input.dtype!r})"
            )


def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """input with values put at the positions that a tuple of index tensors gives; accumulate adds instead.

    Raises: IndexRangeError, ShapeError, DTypeError: index tensors or values do not fit.
    """
    _check_put("index_put", input, values)
    at = _listed(indices, input, "index_put")
    view, found, dim = _neighbours(input, at)
    done = positions.write(view, found, convert(values, input._kind), dim, accumulate=accumulate)
    if view is input:
        return done
    dims = [d for d, _ in at]
    order = [*dims, *(d for d in range(len(input._a.shape)) if d not in dims)]
    return _permute(done, tuple(order.index(d) for d in range(len(order))))


def index_put_(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """In-place version of index_put."""
    _check_put("index_put_", self, values)
    view, found, dim = _neighbours(self, _listed(indices, self, "index_put_"))
    positions.write_("index_put_", view, found, convert(values, self._kind), dim, accumulate)
    return self


PUBLIC = Public(
    both="index_put",
    methods="index_put_",
    functions="index_put_",
    made_methods={"__getitem__": getitem, "__setitem__": setitem},
)
