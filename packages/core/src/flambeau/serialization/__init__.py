"""Saving and loading: PyTorch's checkpoint files, and safetensors in `flambeau.serialization.safetensors`."""

from typing import Any

from flambeau.serialization._io import load, save

__all__ = ["load", "save", "safetensors"]


def __getattr__(name: str) -> Any:
    if name == "safetensors":
        from importlib import import_module

        return import_module("flambeau.serialization.safetensors")
    raise AttributeError(f"module 'flambeau.serialization' has no attribute {name!r}")
