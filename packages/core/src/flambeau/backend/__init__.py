"""The stable interface of backend plug-ins: what an author imports."""

from flambeau.backend.protocol import (
    DT,
    PROTOCOL,
    REQUIRED,
    Backend,
    Caps,
    Device,
    DeviceInfo,
    KernelTable,
)
from flambeau.backend.registry import devices, register_backend, unregister_backend

__all__ = [
    "DT",
    "PROTOCOL",
    "REQUIRED",
    "Backend",
    "Caps",
    "Device",
    "DeviceInfo",
    "KernelTable",
    "devices",
    "register_backend",
    "unregister_backend",
]
