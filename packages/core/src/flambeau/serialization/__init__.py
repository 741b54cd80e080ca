"""Saving and loading: PyTorch's checkpoint files, and safetensors in `flambeau.serialization.safetensors`."""

from typing import Any

from flambeau.serialization._io import get_unsafe_globals_in_checkpoint, load, save
from flambeau.serialization._safe import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "safetensors",
    "save",
]


def __getattr__(name: str) -> Any:
    if name == "safetensors":
        from importlib import import_module

        return import_module("flambeau.serialization.safetensors")
    raise AttributeError(f"module 'flambeau.serialization' has no attribute {name!r}")
