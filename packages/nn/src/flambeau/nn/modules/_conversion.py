"""Moving a module to another device or dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flambeau import dtypes
from flambeau.autograd.modes import no_grad
from flambeau.dtypes import dtype as dtype_type
from flambeau.errors import ArgumentError
from flambeau.nn.parameter import Parameter, is_lazy
from flambeau.tensor import Tensor

C = TypeVar("C", bound="Conversion")


class Conversion:
    """`to` and its relatives; every one changes the module in place and returns it."""

    _parameters: Any
    _buffers: Any

    def _apply(self: C, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> C:
        if recurse:
            for module in self.children():  # type: ignore[attr-defined]
                module._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    grad = p._grad
                    p.data = fn(p)
                    if grad is not None:
                        p._grad = fn(grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    moved: Any = fn(buffer)
                    if is_lazy(buffer) and not is_lazy(moved):
                        moved = type(buffer)(device=moved.device, dtype=moved.dtype)
                    self._buffers[name] = moved
        return self

    def to(self: C, *args: Any, **kwargs: Any) -> C:
        """Move all parameters and buffers to a device, a floating-point dtype, or both: `to(device, dtype)`,
        `to(tensor)`.

        Raises: ArgumentError: a dtype that is neither floating-point nor complex.
        """
        device, dtype = _parse_to(args, kwargs)
        if dtype is not None and dtype.category < dtypes.FLOATING:
            raise ArgumentError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def convert(t: Tensor) -> Tensor:
            wanted = (
                dtype
                if dtype is not None and t._kind.dtype.category >= dtypes.FLOATING
                else t._kind.dtype
            )
            moved: Tensor = t.to(t._kind.device if device is None else device, wanted)
            return moved

        return self._apply(convert)

    def _floats(self: C, dtype: dtype_type) -> C:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self: C) -> C:
        """All floating-point parameters and buffers as float32."""
        return self._floats(dtypes.float32)

    def double(self: C) -> C:
        """All floating-point parameters and buffers as float64."""
        return self._floats(dtypes.float64)

    def half(self: C) -> C:
        """All floating-point parameters and buffers as float16."""
        return self._floats(dtypes.float16)

    def bfloat16(self: C) -> C:
        """All floating-point parameters and buffers as bfloat16."""
        return self._floats(dtypes.bfloat16)

    def type(self: C, dst_type: Any) -> C:
        """All parameters and buffers as dst_type."""
        return self._apply(lambda t: t.type(dst_type))

    def cpu(self: C) -> C:
        """Move to the cpu."""
        return self._apply(lambda t: t.cpu())

    def cuda(self: C, device: Any = None) -> C:
        """Move to the device behind the alias `cuda`."""
        return self._apply(lambda t: t.cuda(device) if device is not None else t.cuda())

    def to_empty(self: C, *, device: Any, recurse: bool = True) -> C:
        """Move to a device without copying the values."""
        from flambeau.ops.creation import empty_like

        return self._apply(lambda t: t if is_lazy(t) else empty_like(t, device=device), recurse)

    def share_memory(self: C) -> C:
        """Move all parameters and buffers to memory that forked processes share, see `Tensor.share_memory_`."""
        from flambeau.ops.sharing import share

        owned = [*self.parameters(), *self.buffers()]  # type: ignore[attr-defined]
        share([*owned, *(t.grad for t in owned if t.grad is not None)])
        return self


def _parse_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    for name in ("non_blocking", "memory_format", "copy", "tensor"):
        other = kwargs.pop(name, None)
        if isinstance(other, Tensor):
            args = (other, *args)
    if kwargs:
        raise ArgumentError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for value in args:
        if isinstance(value, Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, dtype_type):
            dtype = value
        elif value is not None and not isinstance(value, bool):
            device = value
    return device, dtype


__all__ = ["Conversion", "Parameter"]
