"""Which device an argument of `flambeau.cuda`'s functions means."""

from __future__ import annotations

from typing import Any

from flambeau.backend import registry
from flambeau.backend.protocol import Device
from flambeau.backend.registry import cuda_devices, open_device
from flambeau.device import canonical, device as _device
from flambeau.errors import CudaUnavailableError, DeviceError


def position(device: Any) -> int:
    """Where a device stands among those behind `cuda`: an int, a name, a device, or None for the current one.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    found = cuda_devices()
    if not found:
        raise CudaUnavailableError(
            f"no GPU-like device stands behind 'cuda': {registry.describe_installed()}. "
            "Hint: device('cpu'), or FLAMBEAU_CUDA_ALIAS=cpu to run without one"
        )
    if device is None:
        at = registry.current.index
    elif isinstance(device, int):
        at = device
    else:
        wanted = canonical(device)
        address = (wanted.type, wanted.index)
        at = found.index(address) if address in found else -1
    if not 0 <= at < len(found):
        have = ", ".join(str(_device(*address)) for address in found)
        raise DeviceError(f"cuda: {device!r} is none of the devices behind 'cuda'. Hint: {have}")
    return at


def device_at(device: Any) -> _device:
    """The device itself.  Raises: as position."""
    return _device(*cuda_devices()[position(device)])


def opened_at(device: Any) -> Device:
    """The opened Device.  Raises: as position; BackendError: it cannot be opened."""
    return open_device(device_at(device))
