"""Where a tensor lives, as programs written for CUDA ask and arrange it."""

from __future__ import annotations

from typing import Any

from flambeau.backend.registry import cuda_devices
from flambeau.errors import ArgumentError
from flambeau.ops._public import Public
from flambeau.ops.casting import convert
from flambeau.tensor import Tensor


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor with the dtype and on the device of another one.

    Example:
        >>> import flambeau as fb
        >>> fb.ones(2, dtype=fb.int64).type_as(fb.zeros(1))
        tensor([1., 1.])
    """
    if not isinstance(other, Tensor):
        raise ArgumentError(f"type_as: other must be a Tensor, got {other!r}. Hint: x.to(other)")
    return convert(input, other._kind)


def get_device(input: Tensor) -> int:
    """The index that `cuda` has for the device, or the device's own; -1 on the CPU."""
    where = input._kind.device
    if where.index is None:
        return -1
    address, behind_cuda = (where.type, where.index), cuda_devices()
    return behind_cuda.index(address) if address in behind_cuda else where.index


def pin_memory(input: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: there is nothing to lock its memory for."""
    return input


def is_pinned(input: Tensor, device: Any = None) -> bool:
    """Whether the memory is locked: never."""
    return False


def record_stream(input: Tensor, stream: Any) -> None:
    """Nothing: a device works through one queue in order."""


PUBLIC = Public(
    both="get_device",
    methods="type_as pin_memory is_pinned record_stream",
)
