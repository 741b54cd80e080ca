"""Switches that programs for PyTorch set at their start. Answers are true; what would change nothing is only kept."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.device import canonical, get_default_device
from flambeau.errors import ArgumentError

_PRECISIONS = ("highest", "high", "medium")
_kept: dict[str, Any] = {"precision": "highest", "deterministic": False, "warn_only": False}


def set_float32_matmul_precision(precision: str) -> None:
    """How exact float32 products must be at least: highest, high or medium; here they are float32 always.

    Raises: ArgumentError: precision is another word.
    """
    if precision not in _PRECISIONS:
        raise ArgumentError(
            f"set_float32_matmul_precision: precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}"
        )
    _kept["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was called with last."""
    return str(_kept["precision"])


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Kept, without effect: no kernel of the CPU has a faster twin whose bits differ from run to run."""
    _kept["deterministic"], _kept["warn_only"] = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was called with last."""
    return bool(_kept["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """The warn_only of the last `use_deterministic_algorithms`."""
    return bool(_kept["warn_only"])


def set_flush_denormal(mode: bool) -> bool:
    """Whether numbers near zero are flushed to it from now on: NumPy keeps them, so False."""
    return False


def get_device_module(device: Any = None) -> Any:
    """The module for a device: `flambeau.cpu`, or `flambeau.cuda` for what stands behind it.

    Raises: CudaUnavailableError: `cuda` was asked for and no device stands behind it.
        ArgumentError: the device is of another type.
    """
    from flambeau.backend.registry import cuda_devices

    where = get_default_device() if device is None else canonical(device)
    if any(where.type == type_ for type_, _ in cuda_devices()) and where.type != "cpu":
        return importlib.import_module("flambeau.cuda")
    if where.type != "cpu":
        raise ArgumentError(
            f"get_device_module: {str(where)!r} has no module of its own; cpu and cuda have. Hint: "
            "flambeau.backend.devices()"
        )
    return importlib.import_module("flambeau.cpu")
