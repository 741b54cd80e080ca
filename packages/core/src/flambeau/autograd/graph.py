"""The recorded graph as an object: its nodes, and hooks on the tensors that they save."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.autograd import packing
from flambeau.autograd.inplace import bump
from flambeau.autograd.node import Node
from flambeau.errors import ArgumentError
from flambeau.tensor import Tensor

__all__ = [
    "Node",
    "disable_saved_tensors_hooks",
    "increment_version",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class saved_tensors_hooks:
    """Within the block, what operations save for the backward pass goes through a pair of functions.

    pack_hook(tensor) is called when a tensor is saved, and its result kept instead; unpack_hook(result) gives a tensor
    of the same values back when the backward pass needs it, each time. Of nested blocks the innermost counts; other
    threads are not touched. Arrays that a fused kernel of a layer left for its backward kernel, such as normalised
    values, are no tensors and stay where they are. Changes in place of a tensor that was packed are not noticed.

    Raises: ArgumentError: in the backward pass, unpack_hook gives no Tensor.  GradError: hooks are disabled here.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor([1.0, 2.0], requires_grad=True)
        >>> kept = []
        >>> with fb.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or len(kept) - 1, kept.__getitem__):
        ...     y = (x * x).sum()
        >>> y.backward(); len(kept), x.grad
        (2, tensor([2., 4.]))
    """

    def __init__(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        if not (callable(pack_hook) and callable(unpack_hook)):
            raise ArgumentError(
                f"saved_tensors_hooks: needs two functions, got {pack_hook!r} and {unpack_hook!r}"
            )
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        packing.push(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc: object) -> None:
        packing.pop()


class save_on_cpu(saved_tensors_hooks):
    """Within the block, saved tensors are kept on the cpu, and copied back to their device for the backward pass.

    Args: pin_memory, device_type: accepted, without effect.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, t.to("cpu")), lambda kept: kept[1].to(kept[0]))


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Within the block, hooks on saved tensors raise a GradError of this message."""
    packing.local.refused.append(error_message)
    try:
        yield
    finally:
        packing.local.refused.pop()


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Tell autograd that memory was changed in a way that it cannot see, as through a NumPy array that shares it.

    Example:
        >>> import flambeau as fb
        >>> x = fb.ones(2)
        >>> fb.autograd.graph.increment_version(x); x._version
        1
    """
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        bump(t)
