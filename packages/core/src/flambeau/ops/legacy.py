"""Names that older programs use: element-wise Python callbacks, buffers, casts asked about, types by name."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.errors import ArgumentError, DTypeError, GradError, ShapeError
from flambeau.kinds import as_dtype
from flambeau.ops.creation import _finish, _kind, from_numpy, full
from flambeau.ops.movement import expand
from flambeau.ops.random import _overwrite
from flambeau.tensor import Tensor, describe, host


# ---- made from something
def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A 0-d tensor of a number, of the default dtype unless another one is given.

    Raises: ArgumentError: s is no number.
    """
    if not isinstance(s, bool | int | float | complex):
        raise ArgumentError(
            f"scalar_tensor(): argument 's' must be Number, not {type(s).__name__}. Hint: flambeau.tensor(s)"
        )
    if isinstance(s, complex) and not _kind(dtype, device).dtype.is_complex:
        raise ArgumentError(
            f"scalar_tensor: {s} cannot be converted to {_kind(dtype, device).dtype.name}. "
            "Hint: dtype=flambeau.complex64"
        )
    made: Tensor = full(
        (),
        s,
        dtype=dtype or dtypes.get_default_dtype(),
        device=device,
        requires_grad=requires_grad,
    )
    return made


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-D tensor on the cpu that shares the memory of an object with Python's buffer protocol.

    Args: count: elements, as many as there are if negative.  offset: bytes to skip.
    Raises: ArgumentError: no such object, or count and offset do not fit its size.

    Example:
        >>> import flambeau as fb
        >>> fb.frombuffer(bytearray(b"abcd"), dtype=fb.uint8, count=2, offset=1)
        tensor([98, 99], dtype=flambeau.uint8)
    """
    try:
        view = memoryview(buffer).cast("B")
    except TypeError:
        raise ArgumentError(
            f"frombuffer: object does not implement Python buffer protocol, got {type(buffer).__name__}"
        ) from None
    d, size = as_dtype(dtype), view.nbytes
    if not size or not count:
        raise ArgumentError(
            f"frombuffer: both buffer length ({size}) and count ({count}) must not be 0"
        )
    if not 0 <= offset < size:
        raise ArgumentError(
            f"frombuffer: offset ({offset} bytes) must be non-negative and no greater than buffer length ({size} "
            "bytes) minus 1"
        )
    if count < 0 and (size - offset) % d.itemsize:
        raise ArgumentError(
            f"frombuffer: buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple of "
            f"element size ({d.itemsize}). Hint: count="
        )
    if offset + max(count, 0) * d.itemsize > size:
        raise ArgumentError(
            f"frombuffer: requested buffer length ({count} * {d.itemsize} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({size} bytes)"
        )
    if view.readonly:
        warnings.warn(
            "The given buffer is not writable: writing to the tensor raises. Hint: bytearray(buffer) copies it",
            stacklevel=2,
        )
    made = from_numpy(np.frombuffer(view, d.numpy, count, offset))
    return made.requires_grad_() if requires_grad else made


def range(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Values from start to end, both included, by step: the default dtype; PyTorch's oldest form of `arange`.

    Raises: ShapeError: step is 0, or leads away from end.
    """
    if end is None:
        start, end = 0, start
    if step == 0:
        raise ShapeError("range: step must be nonzero")
    if (end - start) * step < 0:
        raise ShapeError(
            f"range: upper bound and lower bound inconsistent with step sign, got {start}, {end}, {step}"
        )
    kind = _kind(dtype, device)
    n = math.floor((end - start) / step) + 1
    return _finish(kind.k["iota"](n, start, step, kind.dtype), kind, requires_grad, out)


def to_dlpack(input: Tensor) -> Any:
    """A DLPack capsule of a cpu tensor's memory, for `from_dlpack` here or in another library; to be read once.

    Raises: DTypeError: it lives on another device.
    """
    return input.detach().__dlpack__()


def detach(input: Tensor) -> Tensor:
    """The same memory without the history."""
    return input.detach()


# ---- every element through Python
def _called(name: str, tensors: tuple[Tensor, ...], values: Any) -> Tensor:
    self = tensors[0]
    if any(t._g is not None for t in tensors):
        raise GradError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
        )
    if self._kind.device.type != "cpu":
        raise ArgumentError(
            f"{name}: only implemented on the cpu, got {describe(self)}. Hint: x.cpu()"
        )
    shape, d = self._a.shape, self._kind.dtype
    made = np.array(values, object).astype(d.numpy).reshape(shape)
    return _overwrite(name, self, self._kind.k["from_host"](made))


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace every element by callable(element), one Python call each: slow, and on the cpu only.

    Raises: GradError: it requires grad.  ArgumentError: it lives on another device.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([1.0, 2.0]).apply_(lambda v: v * 10)
        tensor([10., 20.])
    """
    values = [] if self._kind.device.type != "cpu" else host(self).ravel().tolist()
    return _called("apply_", (self,), [callable(v) for v in values])


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace every element by callable(element, element of another tensor), which is broadcast; on the cpu only.

    Raises: GradError: one of them requires grad.  DTypeError: they differ in dtype.
    """
    if tensor._kind.dtype is not self._kind.dtype:
        raise DTypeError(
            f"map_: expected {self._kind.dtype.name} for 'other', got {describe(tensor)}. "
            f"Hint: other.to({self.dtype!r})"
        )
    pairs: Any = ()
    if self._kind.device.type == tensor._kind.device.type == "cpu":
        other = expand(tensor.detach(), self._a.shape)
        pairs = zip(host(self.detach()).ravel().tolist(), host(other).ravel().tolist())
    return _called("map_", (self, tensor), [callable(a, b) for a, b in pairs])


# ---- asked about
def can_cast(from_: Any, to: Any) -> bool:
    """Whether an in-place operation may store a result of one dtype in a tensor of another: never a lower category.

    Example:
        >>> import flambeau as fb
        >>> fb.can_cast(fb.float64, fb.float32), fb.can_cast(fb.float32, fb.int64)
        (True, False)
    """
    source, target = as_dtype(from_), as_dtype(to)
    return source.category <= target.category


def typename(obj: Any, /) -> str:
    """The name of an object's type with its module: flambeau.FloatTensor, flambeau.nn.modules._linear.Linear."""
    if isinstance(obj, Tensor):
        from flambeau._typed import name_of

        return name_of(obj)
    found = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(found, "__module__", None) or ""
    return found.__qualname__ if module in ("", "builtins") else f"{module}.{found.__qualname__}"


def is_inference(input: Tensor) -> bool:
    """Whether it was made in inference mode, which marks no tensors here: never."""
    return input.is_inference()
