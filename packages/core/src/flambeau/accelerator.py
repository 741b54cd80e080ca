"""The device that speeds up programs, whatever its kind: PyTorch's `torch.accelerator`."""

from __future__ import annotations

from flambeau.backend.registry import cuda_alias, cuda_devices
from flambeau.device import device

__all__ = ["current_accelerator", "device_count", "is_available"]


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
