"""Wrapping every kernel of every opened device for a while: what the profiler and the nan guard share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flambeau.backend.protocol import Device, KernelTable
from flambeau.backend.registry import opened, opened_by_type

#: (kernel, its name, its device's type, its device) -> the kernel to call in its place.
Layer = Callable[[Any, str, str, Device], Any]

_lock = threading.RLock()
_layers: list[Layer] = []
_devices: tuple[Device, ...] = ()
#: Where something else stands now: table, name, the device's own kernel, what was put there.
_placed: list[tuple[KernelTable, str, Any, Any]] = []


def add(layer: Layer) -> None:
    """Wrap kernels in one more layer, around those that are there."""
    with _lock:
        _layers.append(layer)
        _place()


def remove(layer: Layer) -> None:
    """Take a layer away, wherever it stands among the others."""
    with _lock:
        if layer in _layers:
            _layers.remove(layer)
            _place()


def attach() -> None:
    """Take in devices that were opened since."""
    if _layers and opened() is not _devices:
        with _lock:
            _place()


def _place() -> None:
    # From the devices' own kernels each time: layers leave in any order, and none may stay behind inside another.
    global _devices
    for table, name, own, placed in _placed:
        if table.get(name) is placed:  # else someone else exchanged it, and puts it back
            table[name] = own
    _placed.clear()
    _devices = opened()
    if not _layers:
        return
    for device_type, dev in opened_by_type():
        kernels: Any = dev.kernels
        for name, own in list(kernels.items()):
            if own is not None:
                placed = own
                for layer in _layers:
                    placed = layer(placed, name, device_type, dev)
                kernels[name] = placed
                _placed.append((kernels, name, own, placed))
