"""`cuda` as tutorials use it: the alias of the first GPU-like device of the installed backends.

Its devices are those of kind gpu and accelerator, counted through in the order of their backends'
names; FLAMBEAU_CUDA_ALIAS=opencl:0 names one instead. A device is an int, a name or a
`flambeau.device`; None means the current one.
"""

from __future__ import annotations

import importlib
from typing import Any

from flambeau import random
from flambeau.backend import registry
from flambeau.backend.registry import cuda_devices, open_device
from flambeau.device import canonical, device as _device
from flambeau.errors import CudaUnavailableError, DeviceError

__all__ = [
    "current_device",
    "device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "set_device",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    if name == "amp":  # imported at first use, as most programs have none
        return importlib.import_module("flambeau.cuda.amp")
    raise AttributeError(f"module 'flambeau.cuda' has no attribute {name!r}")


def is_available() -> bool:
    """Whether a device stands behind `cuda`."""
    return bool(cuda_devices())


def device_count() -> int:
    """How many devices stand behind `cuda`."""
    return len(cuda_devices())


def current_device() -> int:
    """The index of the device that `cuda` without an index means in this thread.

    Raises: CudaUnavailableError: no device stands behind `cuda`.
    """
    return _position(None)


def set_device(device: Any) -> None:
    """Choose what `cuda` without an index means in this thread; a negative int does nothing.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    if not (isinstance(device, int) and device < 0):
        registry.current.index = _position(device)


class device:
    """Context manager that chooses what `cuda` without an index means; None and -1 do nothing.

    Raises: CudaUnavailableError, DeviceError: there is no such device.

    Example:
        >>> import flambeau as fb
        >>> with fb.cuda.device(-1):
        ...     pass
    """

    def __init__(self, device: Any) -> None:
        nothing = device is None or (isinstance(device, int) and device < 0)
        self.idx = -1 if nothing else _position(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = registry.current.index
        set_device(self.idx)

    def __exit__(self, *exc: object) -> None:
        registry.current.index = self.prev_idx


def get_device_name(device: Any = None) -> str:
    """The name that the device's driver gives it.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    return registry.device_info(*cuda_devices()[_position(device)]).name


def synchronize(device: Any = None) -> None:
    """Wait until all work on the device has ended, and raise what went wrong in it."""
    open_device(_device(*cuda_devices()[_position(device)])).synchronize()


def empty_cache() -> None:
    """Give memory that the opened devices keep for later use back to the system."""
    for dev in registry.opened():
        give_back = getattr(dev, "empty_cache", None)
        if give_back is not None:
            give_back()


def manual_seed(seed: int) -> None:
    """Seed the generator, which all devices share; does nothing where `cuda` is not available."""
    if is_available():
        random.manual_seed(seed)


manual_seed_all = manual_seed


def _position(device: Any) -> int:
    """Where a device stands among those behind `cuda`."""
    found = cuda_devices()
    if not found:
        raise CudaUnavailableError(
            f"no GPU-like device stands behind 'cuda': {registry.describe_installed()}. "
            "Hint: device('cpu'), or FLAMBEAU_CUDA_ALIAS=cpu to run without one"
        )
    if device is None:
        position = registry.current.index
    elif isinstance(device, int):
        position = device
    else:
        wanted = canonical(device)
        address = (wanted.type, wanted.index)
        position = found.index(address) if address in found else -1
    if not 0 <= position < len(found):
        have = ", ".join(str(_device(*address)) for address in found)
        raise DeviceError(f"cuda: {device!r} is none of the devices behind 'cuda'. Hint: {have}")
    return position
