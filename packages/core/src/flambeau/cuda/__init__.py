"""`cuda` as tutorials use it: the alias of the first GPU-like device of the installed backends.

Its devices are those of kind gpu and accelerator, counted through in the order of their backends'
names; FLAMBEAU_CUDA_ALIAS=opencl:0 names one instead. A device is an int, a name or a
`flambeau.device`; None means the current one.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from flambeau import random
from flambeau.backend import registry
from flambeau.backend.registry import cuda_devices
from flambeau.cuda._memory import (
    empty_cache,
    ipc_collect,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_max_memory_allocated,
    reset_peak_memory_stats,
)
from flambeau.cuda._streams import (
    Event,
    Stream,
    current_stream,
    default_stream,
    is_current_stream_capturing,
    set_stream,
    stream,
)
from flambeau.cuda._which import device_at, opened_at, position
from flambeau.dtypes import bfloat16
from flambeau.errors import OutOfMemoryError
from flambeau.tensor import Tensor

__all__ = [
    "DeviceProperties",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_max_memory_allocated",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    if name in ("amp", "nvtx"):  # imported at first use, as most programs have none
        return importlib.import_module(f"flambeau.cuda.{name}")
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
    return position(None)


def set_device(device: Any) -> None:
    """Choose what `cuda` without an index means in this thread; a negative int does nothing.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    if not (isinstance(device, int) and device < 0):
        registry.current.index = position(device)


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
        self.idx = -1 if nothing else position(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = registry.current.index
        set_device(self.idx)

    def __exit__(self, *exc: object) -> None:
        registry.current.index = self.prev_idx


class device_of(device):
    """Context manager that chooses the device of a tensor; does nothing for tensors on others."""

    def __init__(self, obj: Tensor) -> None:
        where = obj.device
        super().__init__(where if (where.type, where.index) in cuda_devices() else -1)


def get_device_name(device: Any = None) -> str:
    """The name that the device's driver gives it.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    return registry.device_info(*cuda_devices()[position(device)]).name


@dataclass(frozen=True)
class DeviceProperties:
    """What is known of a device; total_memory in bytes.

    major, minor and multi_processor_count are 0: they say something of NVIDIA's devices alone.
    """

    name: str
    total_memory: int
    vendor: str
    driver: str
    kind: str
    uuid: str
    major: int = 0
    minor: int = 0
    multi_processor_count: int = 0


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What is known of the device, which is opened for it.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    dev = opened_at(device)
    info = dev.info
    return DeviceProperties(
        info.name, dev.caps.total_mem, info.vendor, info.driver, info.kind, info.uuid
    )


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """(0, 0), which is below every version of CUDA that programs ask for.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    position(device)
    return 0, 0


def get_arch_list() -> list[str]:
    """The versions of CUDA that this was compiled for: none."""
    return []


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current device computes in bfloat16; False where there is none."""
    return is_available() and bfloat16 in opened_at(None).caps.compute


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether a device reads another one's memory: never, tensors go by way of the host.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    position(device), position(peer_device)
    return False


def is_initialized() -> bool:
    """Whether a device stands behind `cuda`: none needs to be initialised before its first use."""
    return is_available()


def init() -> None:
    """Open the current device now and not at its first use.

    Raises: CudaUnavailableError: there is none.
    """
    opened_at(None)


def synchronize(device: Any = None) -> None:
    """Wait until all work on the device has ended, and raise what went wrong in it."""
    opened_at(device).synchronize()


def manual_seed(seed: int) -> None:
    """Seed the generator, which all devices share; does nothing where `cuda` is not available."""
    if is_available():
        random.manual_seed(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Seed the generator from the operating system; does nothing where `cuda` is not available."""
    if is_available():
        random.seed()


seed_all = seed


def initial_seed() -> int:
    """The seed of the generator, which all devices share.

    Raises: CudaUnavailableError: there is no device.
    """
    position(None)
    return random.initial_seed()


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of the generator, which all devices share.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    from flambeau.ops.random import get_rng_state

    position(None if device == "cuda" else device)
    return get_rng_state()


def get_rng_state_all() -> list[Tensor]:
    """The same state for each device; [] where there is none."""
    return [get_rng_state(i) for i in range(device_count())]


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Put the generator, which all devices share, into a state of `get_rng_state`.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    from flambeau.ops.random import set_rng_state

    position(None if device == "cuda" else device)
    set_rng_state(new_state)


def set_rng_state_all(new_states: list[Tensor]) -> None:
    """Put the generator into the state of the first device; does nothing for []."""
    for state in new_states[:1]:
        set_rng_state(state)
