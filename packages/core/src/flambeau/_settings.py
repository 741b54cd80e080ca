"""Switches that programs for PyTorch set at their start. Answers are true; what would change nothing is only kept."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.backend.registry import open_device
from flambeau.device import canonical, get_default_device
from flambeau.errors import ArgumentError

_PRECISIONS = ("highest", "high", "medium")
_kept: dict[str, Any] = {
    "precision": "highest",
    "deterministic": False,
    "warn_only": False,
    "interop": 1,
    "warn_always": False,
}


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


def _positive(name: str, n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ArgumentError(f"{name}: expects a positive integer, got {n!r}")
    return n


def get_num_threads() -> int:
    """How many threads one operation on the cpu may use: those of matrix products, as everything else runs in one.

    1 where they cannot be counted, as NumPy's library for products is not OpenBLAS.
    """
    return open_device(canonical("cpu")).threads()


def set_num_threads(int: int, /) -> None:
    """Let matrix products on the cpu use that many threads, in the whole process, from now on.

    It tells OpenBLAS, which NumPy's packages bring; with another library it changes nothing, and the environment
    variable of that library decides, such as MKL_NUM_THREADS. OpenBLAS runs at most as many as it was built for.

    Raises: ArgumentError: not a positive integer.
    """
    open_device(canonical("cpu")).set_threads(_positive("set_num_threads", int))


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` was called with last, at first 1: operations run one after the other."""
    return int(_kept["interop"])


def set_num_interop_threads(int: int, /) -> None:
    """Kept, without effect: operations run one after the other.

    Raises: ArgumentError: not a positive integer.
    """
    _kept["interop"] = _positive("set_num_interop_threads", int)


def set_warn_always(b: bool, /) -> None:
    """Kept, without effect: whether a warning is shown each time is for Python's `warnings` filters to say.

    Raises: ArgumentError: b is no bool.
    """
    if not isinstance(b, bool):
        raise ArgumentError(f"set_warn_always: expects a bool, got {b!r}")
    _kept["warn_always"] = b


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was called with last."""
    return bool(_kept["warn_always"])


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switch anomaly mode: `autograd.set_detect_anomaly` without a block."""
    from flambeau.autograd.anomaly import set_detect_anomaly

    set_detect_anomaly(mode, check_nan)


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
