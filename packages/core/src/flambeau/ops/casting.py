"""Changes of dtype, device and memory: to, float, clone, contiguous, copy_."""

from __future__ import annotations

from typing import Any

import flambeau.autograd.node as _node
from flambeau import dtypes
from flambeau.autograd.node import Grads, Node
from flambeau.autograd.state import state
from flambeau.device import canonical, device as device_type
from flambeau.dtypes import dtype, dtype as dtype_type
from flambeau.errors import ArgumentError
from flambeau.kinds import Kind, as_dtype, kind_of
from flambeau.ops._op import Primitive, op
from flambeau.ops._public import Public
from flambeau.ops._recover import no_room
from flambeau.tensor import Tensor, host, wrap


@op(kernel="copy", node="CloneBackward0")
def _copy(input: Tensor) -> Tensor:
    """A copy of the elements in new, contiguous memory."""
    raise Primitive


_copy.vjp(input=lambda g: g)


def convert(input: Tensor, kind: Kind) -> Tensor:
    """input as a tensor of another kind; itself if it is of that kind already."""
    have = input._kind
    if have is kind:
        return input
    try:
        if have.dev is kind.dev:
            native = have.k["cast"](input._a, kind.dtype)
        else:
            array = have.k["to_host"](input._a)
            native = kind.k["from_host"](
                array if have.dtype is kind.dtype else _host_cast(array, have, kind)
            )
    except MemoryError as error:
        raise no_room("to", kind, error) from None
    t = wrap(native, kind)
    if input._g is not None and kind.inexact is not None and state.grad:
        t._g = ToCopyBackward0(input._g, t)
    return t


def _host_cast(array: Any, have: Kind, kind: Kind) -> Any:
    from flambeau.device import device

    cpu = kind_of(device("cpu"), have.dtype)
    return cpu.k["to_host"](cpu.k["cast"](cpu.k["from_host"](array), kind.dtype))


class ToCopyBackward0(Node):
    """History of a conversion: the gradient is converted back."""

    __slots__ = ()

    def __init__(self, edge: Node, t: Tensor) -> None:
        self.edges, self.saved, self.hooks = (edge,), (), None
        self.seq, self.shape, self.kind = _node.next_seq(), t._a.shape, t._kind

    def apply(self, g: Tensor) -> Grads:
        """The gradient in the kind of what was converted."""
        kind = self.edges[0].kind
        if g._kind.dtype.is_complex and not kind.dtype.is_complex:
            g = g.real
        return (convert(g, kind),)


class CopyBackwards(ToCopyBackward0):
    """History of `copy_`: the gradient goes to the source."""

    __slots__ = ()


def to(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor with another dtype, on another device, or both; itself where nothing changes.

    Takes `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`, and copy=True to copy in any case.
    non_blocking and memory_format are accepted and change nothing.
    """
    device, d, copy = parse_to(args, kwargs)
    kind = input._kind
    if device is not None:
        where = canonical(device)
        kind = kind_of(kind.device if where == kind.device else where, d or kind.dtype)
    elif d is not None:
        kind = kind.of(d)
    out = convert(input, kind)
    return _copy(input) if copy and out is input else out


def parse_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dtype | None, bool]:
    """Device, dtype and the copy flag from the arguments of `to`."""
    kwargs = dict(kwargs)
    device, d = kwargs.pop("device", None), kwargs.pop("dtype", None)
    copy = bool(kwargs.pop("copy", False))
    kwargs.pop("non_blocking", None), kwargs.pop("memory_format", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise ArgumentError(
            f"to(): unexpected argument {next(iter(kwargs))!r}; it takes device, dtype, copy, non_blocking"
        )
    flags = 0
    for a in (*args, *(() if other is None else (other,))):
        if isinstance(a, dtype):
            d = a
        elif isinstance(a, type):
            d = as_dtype(a)
        elif isinstance(a, Tensor):
            device, d = a._kind.device, a._kind.dtype
        elif isinstance(a, bool):
            copy = copy or (flags == 1 and a)
            flags += 1
        elif isinstance(a, str | int | device_type):
            device = a
        elif a is not None:
            raise ArgumentError(
                f"to(): received {a!r}; it takes a dtype, a device or a Tensor. Hint: x.to(flambeau.float32)"
            )
    return device, d, copy


def type_(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The tensor with another dtype, given as FloatTensor or its name too; without one, its own name of that kind.

    Raises: ArgumentError: dtype is none of these.

    Example:
        >>> import flambeau as fb
        >>> fb.ones(1).type("torch.LongTensor").type()
        'flambeau.LongTensor'
    """
    if dtype.__class__ is dtype_type:
        return to(input, dtype)
    from flambeau._typed import dtype_of, name_of

    if dtype is None:
        return name_of(input)
    found = dtype_of(dtype)
    if found is None and isinstance(dtype, str):
        raise ArgumentError(f"type: invalid type: {dtype!r}. Hint: x.type(flambeau.float32)")
    return to(input, dtype if found is None else found)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy in new memory; gradients pass through it.

    Example:
        >>> import flambeau as fb
        >>> x = fb.zeros(2); y = x.clone(); y[0] = 1; x
        tensor([0., 0.])
    """
    return _copy(input)


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor in row-major memory without gaps: itself if it is so already, else a copy."""
    return input if input.is_contiguous() else _copy(input)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Overwrite this tensor's elements with src's, broadcasting and converting; gradients flow to src.

    Raises: ShapeError: src does not broadcast to this shape.  GradError: this is a leaf that requires grad.
    """
    from flambeau.autograd.inplace import _fits, check_writable, store
    from flambeau.ops.creation import tensor

    if not isinstance(src, Tensor):
        src = tensor(src)
    check_writable("copy_", self)
    src = convert(src, self._kind)
    _fits("copy_", self, src._a.shape)
    if src._a.shape != self._a.shape and src._g is not None:
        from flambeau.ops.movement import expand

        src = expand(src, self._a.shape)
    # Two tensors on one edge would share hooks, and a leaf would stay a leaf.
    if src._g is not None and state.grad:
        node, src = CopyBackwards(src._g, src), wrap(src._a, src._kind)
        src._g = node
    store("copy_", self, src)
    return self


def view_as_dtype(input: Tensor, d: dtype) -> Tensor:
    """The same bytes read as another dtype of the same element size (cpu)."""
    if d is input._kind.dtype:
        return input
    if input._kind.device.type != "cpu":
        raise ArgumentError(
            f"view(dtype): only on the cpu, got a tensor on {input._kind.device}. Hint: x.cpu()"
        )
    kind = input._kind.of(d)
    array = host(input)
    try:
        seen = array.view(d.numpy)
    except ValueError as error:
        raise ArgumentError(
            f"view(dtype): cannot read {input._kind.dtype.name} elements as {d.name}: {error}"
        ) from error
    return wrap(kind.k["from_host"](seen), kind)


def _caster(name: str, d: dtype) -> Any:
    def cast(input: Tensor, memory_format: Any = None) -> Tensor:
        return convert(input, input._kind.of(d))

    cast.__name__ = cast.__qualname__ = name
    cast.__doc__ = f"The tensor with dtype {d.name}."
    return cast


CASTERS = {
    name: _caster(name, d)
    for name, d in {
        "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
        "long": dtypes.int64, "int": dtypes.int32, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8,
        "bool": dtypes.bool_, "cfloat": dtypes.complex64, "cdouble": dtypes.complex128,
    }.items()
}  # fmt: skip


def cpu(input: Tensor) -> Tensor:
    """The tensor on the cpu."""
    return to(input, "cpu")


def cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on the first GPU-like device, or on the given one.

    Raises: CudaUnavailableError: no installed backend offers a GPU-like device.
    """
    return to(input, "cuda" if device is None else device)


PUBLIC = Public(
    both="clone",
    methods="to contiguous copy_ cpu cuda",
    made_methods={**CASTERS, "type": type_},
)
