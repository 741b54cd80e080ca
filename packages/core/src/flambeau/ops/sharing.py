"""Memory that forked processes share: what `Module.share_memory` and Hogwild training need."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from flambeau.ops.storage import UntypedStorage, _block, _is_shared, _shared
from flambeau.tensor import Tensor


def is_shared(input: Tensor) -> bool:
    """Whether the memory is shared with processes forked from now on: `share_memory_` was called."""
    return UntypedStorage(input).is_shared()


def share_memory_(self: Tensor) -> Tensor:
    """Move the tensor's memory, and with it every view of it, to memory that forked processes share.

    Works for tensors of the cpu; on other devices it changes nothing. Processes started with the method "fork" see
    one another's changes, as Hogwild training needs. Processes that are spawned, and whatever is pickled, get copies:
    start them with `multiprocessing.get_context("fork")`. NumPy arrays made with `numpy()` before keep the old memory.
    """
    share([self])
    return self


def share(tensors: Iterable[Tensor]) -> None:
    """`share_memory_` for many tensors at once: the other views of their memory are looked for only once."""
    moved: dict[int, tuple[Any, Any]] = {}
    for x in tensors:
        block = _block(x)
        if block is None or not block.size or id(block) in moved or _is_shared(block):
            continue
        moved[id(block)] = (block, _copy_shared(block))
    if not moved:
        return
    for x in gc.get_objects():
        # not isinstance(), which asks strange objects for their class
        if issubclass(type(x), Tensor) and hasattr(x, "_a") and x._kind.device.type == "cpu":
            block = _block(x)
            if id(block) in moved:
                x._a = _same_place(x._a, *moved[id(block)])


def _copy_shared(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of an array in new memory that forked processes share."""
    first, end = byte_bounds(block)
    mapping = mmap.mmap(-1, end - first)
    _shared.add(mapping)
    there = np.frombuffer(mapping, np.uint8)
    np.ndarray(block.shape, block.dtype, there, 0, block.strides)[...] = block
    return there


def _same_place(
    array: np.ndarray[Any, Any], block: np.ndarray[Any, Any], there: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The view of the new memory that array was of the old one."""
    offset = array.__array_interface__["data"][0] - byte_bounds(block)[0] if array.size else 0
    made: np.ndarray[Any, Any] = np.ndarray(
        array.shape, array.dtype, there, offset, array.strides if array.size else None
    )
    made.setflags(write=array.flags.writeable)
    return made
