"""Tensors of given strides and sizes, views that replace a tensor, copies of views, subclasses."""

from __future__ import annotations

from typing import Any

from flambeau.backend._views import contiguous_strides
from flambeau.errors import ArgumentError, GradError, ShapeError
from flambeau.ops import complex_parts
from flambeau.ops.casting import clone
from flambeau.ops.creation import _fill, _finish, _kind
from flambeau.ops.movement import _reshaping, _view, as_strided, narrow
from flambeau.ops.storage import _reach
from flambeau.shape import Shape, as_shape, check_sizes
from flambeau.tensor import Tensor, _as_class, describe, wrap

as_strided_ = _reshaping(as_strided)


def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of the given sizes and strides, in elements, whose values nobody should rely on (they are zeros here).

    Raises: ShapeError: there are not as many strides as sizes, or one is negative.

    Example:
        >>> import flambeau as fb
        >>> fb.empty_strided((2, 3), (1, 2)).stride()
        (1, 2)
    """
    shape = check_sizes(as_shape((size,), "empty_strided"), "empty_strided")
    steps = as_shape((stride,), "empty_strided")
    if len(shape) != len(steps):
        raise ShapeError(
            f"empty_strided: dimensionality of sizes ({len(shape)}) must match dimensionality of strides "
            f"({len(steps)}), got {list(shape)} and {list(steps)}"
        )
    if steps and min(steps) < 0:
        raise ShapeError(f"empty_strided: strides must not be negative, got {list(steps)}")
    kind = _kind(dtype, device)
    reach = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, steps))
    flat = _fill("empty_strided", (reach,), 0, kind)
    return _finish(kind.k["as_strided"](flat, shape, steps, 0), kind, requires_grad)


def new_empty_strided(
    input: Tensor,
    size: Any,
    stride: Any,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`empty_strided` with input's dtype and device."""
    return empty_strided(
        size,
        stride,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def empty_permuted(
    size: Any,
    physical_layout: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor without gaps whose dimensions lie in memory in the given order, the slowest first.

    Raises: ShapeError: the order does not name every dimension once.
    """
    shape, order = as_shape((size,), "empty_permuted"), tuple(physical_layout)
    if sorted(order) != list(range(len(shape))):
        raise ShapeError(
            f"empty_permuted: physical_layout must name each of the {len(shape)} dimensions once, got {list(order)}"
        )
    steps, step = [0] * len(shape), 1
    for d in reversed(order):
        steps[d] = step
        step *= max(shape[d], 1)
    return empty_strided(
        shape, tuple(steps), dtype=dtype, device=device, requires_grad=requires_grad
    )


def narrow_copy(input: Tensor, dim: int, start: int, length: int, *, out: Any = None) -> Tensor:
    """`narrow` as a copy.

    Raises: IndexRangeError: start and length reach outside of the dimension.
    """
    copy = clone(narrow(input, dim, start, length))
    return copy if out is None else _into(copy, out)


def _into(result: Tensor, out: Any) -> Tensor:
    from flambeau.ops._recover import write_out

    return write_out(result, out)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    mine: Shape = input._a.shape
    return bool(mine == other._a.shape)


def as_subclass(input: Tensor, cls: type) -> Any:
    """The same memory and history as an instance of a subclass of Tensor, whose constructor is not called.

    Raises: ArgumentError: cls is no subclass of Tensor.
    """
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise ArgumentError(
            f"as_subclass: cls must be a class that inherits from Tensor, got {cls!r}"
        )
    seen = _view(input, input._a.shape)
    made: Tensor = _as_class(wrap(seen._a, seen._kind), cls)
    made._g, made._s, made._v = seen._g, seen._s, seen._v
    if made._s is not None:
        made._s.track(made)
    return made


# ---- another size
def _may_resize(x: Tensor) -> None:
    if x._g is not None:
        raise GradError(
            f"resize_: cannot resize variables that require grad, got {describe(x)}. "
            "Hint: x.detach().resize_(...), or a new tensor"
        )


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Change this tensor's sizes, whatever its elements: it becomes a contiguous view of the start of its memory.

    Where the memory is too small, the tensor moves to a larger one, and elements beyond the old ones are undefined;
    other views keep the old memory, unlike PyTorch's.

    Raises: GradError: it requires grad.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[1, 2], [3, 4], [5, 6]]).resize_(2, 2)
        tensor([[1, 2],
                [3, 4]])
    """
    _may_resize(self)
    shape = check_sizes(as_shape(sizes, "resize_"), "resize_")
    kind, offset = self._kind, self.storage_offset()
    try:
        self._a = kind.k["as_strided"](self._a, shape, contiguous_strides(shape), offset)
    except (ValueError, TypeError, RuntimeError):
        self._a, self._s, self._v = _grown(self, shape), None, None
    return self


def _grown(x: Tensor, shape: Shape) -> Any:
    """A larger native array that starts with what x reaches of its memory."""
    k, offset = x._kind.k, x.storage_offset()
    native = _fill("resize_", shape, 0, x._kind)
    kept = _reach(x) - offset if x.numel() else 0
    if kept:
        flat = k["as_strided"](native, (kept,), (1,), 0)
        k["copy"](k["as_strided"](x._a, (kept,), (1,), offset), out=flat)
    return native


def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`resize_` to the sizes of another tensor.

    Raises: GradError: it requires grad.
    """
    return resize_(self, the_template._a.shape)


# ---- copies of views
def _copying(name: str) -> Any:
    view = getattr(Tensor, name, None) or getattr(complex_parts, name)

    def copy(input: Tensor, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        made = view(input, *args, **kwargs)
        if isinstance(made, tuple):
            copies = tuple([clone(t) for t in made])
            return copies if out is None else tuple([_into(c, o) for c, o in zip(copies, out)])
        return clone(made) if out is None else _into(clone(made), out)

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"A copy of what `{name}` gives."
    return copy


_VIEWS = (
    "as_strided detach diagonal expand permute select split split_with_sizes squeeze t transpose unbind unfold "
    "unsqueeze view view_as_complex view_as_real"
).split()
globals().update({f"{name}_copy": _copying(name) for name in _VIEWS})


def alias_copy(input: Tensor, *, out: Any = None) -> Tensor:
    """A copy."""
    return clone(input) if out is None else _into(clone(input), out)
