"""Tensors that a module owns: parameters, buffers, and their uninitialised forms."""

from __future__ import annotations

from typing import Any

from flambeau.errors import ArgumentError, FlambeauError
from flambeau.tensor import Tensor, _as_class


class Parameter(Tensor):
    """A tensor that becomes a parameter of the module to which it is assigned.

    Args: data: the values, shared and not copied; an empty tensor if None.  requires_grad: record operations on it.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Parameter(fb.ones(2))
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        made = _owned(cls, data, "Parameter")
        return made.requires_grad_(requires_grad) if requires_grad else made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__(tensor_contents=tensor_contents)  # type: ignore[call-arg]


class Buffer(Tensor):
    """A tensor that becomes a buffer of the module to which it is assigned: state that is not trained.

    Args: data: the values, shared and not copied.  persistent: part of the module's state_dict.
    """

    persistent: bool = True

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        made = _owned(cls, data, "Buffer")
        made.persistent = persistent
        return made


def _owned(cls: type, data: Any, what: str) -> Any:
    if data is None:
        from flambeau.ops.creation import empty

        data = empty(0)
    if not isinstance(data, Tensor):
        raise ArgumentError(
            f"{what}: data must be a Tensor, got {type(data).__name__}. Hint: flambeau.tensor(data)"
        )
    return _as_class(data.detach(), cls)


class UninitializedError(FlambeauError, ValueError):
    """An uninitialised parameter was used as if it had a shape."""


class _Uninitialized:
    """What the uninitialised forms share: no shape until `materialize`."""

    cls_to_become: type

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give it a shape, uninitialised values of it, and its final class."""
        from flambeau.ops.creation import empty

        kind = self._kind  # type: ignore[attr-defined]
        made = empty(tuple(shape), device=device or kind.device, dtype=dtype or kind.dtype)
        self.data = made
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        """Not known yet.

        Raises: UninitializedError: always.
        """
        raise UninitializedError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized module. "
            "Hint: call `forward` once to initialize the parameters"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        found = memo.get(id(self))
        if found is None:
            kind = self._kind  # type: ignore[attr-defined]
            found = type(self)(
                requires_grad=self.requires_grad,  # type: ignore[attr-defined]
                device=kind.device,
                dtype=kind.dtype,
            )  # type: ignore[call-arg]
            memo[id(self)] = found
        return found


class UninitializedParameter(_Uninitialized, Parameter):  # type: ignore[misc]
    """A parameter whose shape is not known yet; lazy modules give it one at their first call."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        from flambeau.ops.creation import empty

        return Parameter.__new__(cls, empty(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(_Uninitialized, Tensor):  # type: ignore[misc]
    """A buffer whose shape is not known yet."""

    cls_to_become = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> Any:
        from flambeau.ops.creation import empty

        made: Any = _as_class(empty(0, device=device, dtype=dtype), cls)
        made.persistent = persistent
        return made.requires_grad_(requires_grad) if requires_grad else made


def is_lazy(param: Any) -> bool:
    """Whether it has no shape yet."""
    return isinstance(param, _Uninitialized)
