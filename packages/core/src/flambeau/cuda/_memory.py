"""How much memory the device behind `cuda` holds: all zero where there is none, or where it does not count."""

from __future__ import annotations

from typing import Any

from flambeau.backend import registry
from flambeau.backend.protocol import Device
from flambeau.backend.registry import cuda_devices
from flambeau.cuda._which import opened_at


def _opened(device: Any) -> Device | None:
    return opened_at(device) if cuda_devices() else None


def _stat(device: Any, name: str) -> int:
    stats = getattr(_opened(device), "memory_stats", None)
    return 0 if stats is None else int(getattr(stats(), name))


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors on the device take."""
    return _stat(device, "allocated")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors took at once, since the start or `reset_peak_memory_stats`."""
    return _stat(device, "peak_allocated")


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the device: by tensors, and kept for later ones."""
    return _stat(device, "reserved")


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from the device at once, since the start or `reset_peak_memory_stats`."""
    return _stat(device, "peak_reserved")


def memory_stats(device: Any = None) -> dict[str, int]:
    """These figures and counts, under PyTorch's keys; empty where the device does not count."""
    stats = getattr(_opened(device), "memory_stats", None)
    if stats is None:
        return {}
    now = stats()
    return {
        "allocated_bytes.all.current": now.allocated,
        "allocated_bytes.all.peak": now.peak_allocated,
        "reserved_bytes.all.current": now.reserved,
        "reserved_bytes.all.peak": now.peak_reserved,
        "num_device_alloc": now.allocations,
        "num_ooms": now.ooms,
    }


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """These figures as text."""
    rows = memory_stats(device)
    return "\n".join(f"{name:<30}{value:>20,}" for name, value in rows.items())


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the device, as far as this process knows: what other programs take is not counted.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    total = opened_at(device).caps.total_mem
    return max(total - memory_reserved(device), 0), total


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start the peaks again from what is in use now."""
    reset = getattr(_opened(device), "reset_peak_memory_stats", None)
    if reset is not None:
        reset()


reset_max_memory_allocated = reset_peak_memory_stats


def empty_cache() -> None:
    """Give memory that the opened devices keep for later use back to the system."""
    for dev in registry.opened():
        give_back = getattr(dev, "empty_cache", None)
        if give_back is not None:
            give_back()


def ipc_collect() -> None:
    """Nothing: processes share no device memory here."""
