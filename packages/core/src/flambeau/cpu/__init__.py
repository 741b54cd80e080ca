"""The CPU by the functions that `flambeau.cuda` has, for programs that choose one of the two modules."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = [
    "current_device",
    "current_stream",
    "device_count",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    if name == "amp":  # imported at first use, as most programs have none
        return importlib.import_module("flambeau.cpu.amp")
    raise AttributeError(f"module 'flambeau.cpu' has no attribute {name!r}")


def is_available() -> bool:
    """Whether there is a CPU."""
    return True


def is_initialized() -> bool:
    """Whether the CPU can be used without a call before."""
    return True


def device_count() -> int:
    """How many CPU devices there are: one, with all its cores."""
    return 1


def current_device() -> str:
    """The name of the CPU device."""
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing: there is one CPU device."""


def synchronize(device: Any = None) -> None:
    """Nothing: calls on the CPU return when their work is done."""


def current_stream(device: Any = None) -> Any:
    """An object without meaning, for `stream`."""
    return None


def stream(stream: Any) -> AbstractContextManager[None]:
    """Context manager without effect."""
    return nullcontext()
