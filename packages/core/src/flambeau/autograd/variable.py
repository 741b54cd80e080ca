"""Variable, which has been another word for Tensor since PyTorch 0.4."""

from __future__ import annotations

from typing import Any

from flambeau.errors import ArgumentError
from flambeau.tensor import Tensor


class VariableMeta(type):
    """The class of Variable: every tensor counts as an instance, and a call gives a tensor."""

    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, Tensor)

    def __call__(
        cls, data: Any = None, requires_grad: bool = False, volatile: bool = False
    ) -> Tensor:
        """A tensor of the same memory without history.

        Args: volatile: accepted, without effect.
        Raises: ArgumentError: data is no Tensor.
        """
        if data is None:
            from flambeau.ops.creation import zeros

            data = zeros(0)
        if not isinstance(data, Tensor):
            raise ArgumentError(
                f"Variable: data has to be a tensor, but got {type(data).__name__}. Hint: flambeau.tensor(data)"
            )
        made = data.detach()
        return made.requires_grad_() if requires_grad else made


class Variable(metaclass=VariableMeta):
    """Programs older than PyTorch 0.4 wrap tensors in it: `Variable(x)` is x without its history."""
