"""The device that speeds up programs, whatever its kind: PyTorch's `torch.accelerator`."""

from __future__ import annotations

from typing import Any

from flambeau import cuda
from flambeau.backend.registry import cuda_alias, cuda_devices
from flambeau.cuda import (
    current_stream,
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    memory_allocated,
    memory_reserved,
    memory_stats,
    reset_peak_memory_stats,
    set_stream,
    synchronize,
)
from flambeau.cuda._which import opened_at
from flambeau.device import device

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "empty_cache",
    "get_device_capability",
    "get_memory_info",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_accumulated_memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "set_stream",
    "synchronize",
]


def is_available() -> bool:
    """Whether an installed backend offers a GPU-like device."""
    return bool(cuda_devices())


def device_count() -> int:
    """How many GPU-like devices the installed backends offer."""
    return len(cuda_devices())


def current_accelerator(check_available: bool = False) -> device | None:
    """The GPU-like device in use, with its index; None where there is none.

    Args: check_available: kept for PyTorch's signature; a device that is returned is available.
    """
    found = cuda_alias(None)
    return None if found is None else device(*found)


def current_device_index() -> int:
    """Which of the GPU-like devices is in use in this thread.

    Raises: CudaUnavailableError: there is none.
    """
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Choose the GPU-like device to use in this thread; a negative int does nothing.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    cuda.set_device(device)


#: PyTorch's older names.
current_device_idx, set_device_idx = current_device_index, set_device_index


class device_index(cuda.device):
    """Context manager that chooses the GPU-like device to use; None does nothing.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """


def get_memory_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the device, as far as this process knows.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    return cuda.mem_get_info(device)


def get_device_capability(device: Any = None) -> dict[str, Any]:
    """{"supported_dtypes": the dtypes in which the device computes}.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    return {"supported_dtypes": set(opened_at(device).caps.compute)}


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Nothing: no figure here adds up over time but the counts of `memory_stats`, which stay."""
