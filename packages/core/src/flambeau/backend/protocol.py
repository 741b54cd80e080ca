"""What a backend gives to core: one Backend object per device type, one Device per piece of hardware.

The op boundary is *native arrays in, native arrays out*: `device.kernels[name](*arrays, *attributes)`. Core reads only
`.shape` of a native array and touches it otherwise through the kernel table alone, so whoever swaps the table's entries
(capture, profiler, autocast) sees everything. `docs/kernels.md` lists every kernel with its semantics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flambeau import dtypes
from flambeau.dtypes import dtype

PROTOCOL = (1, 0)

#: Kernels that every backend must give; docs/kernels.md says what each one computes.
REQUIRED = [
    "from_host",
    "to_host",
    "item",
    "fill",
    "iota",
    "copy",
    "cast",
    "as_strided",
    "strides",
    "view",
    "permute",
    "expand",
    "slice",
    "neg",
    "floor",
    "sqrt",
    "exp",
    "log",
    "sin",
    "cos",
    "bitwise_not",
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "fmod",
    "maximum",
    "eq",
    "lt",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "shl",
    "shr",
    "where",
    "reduce_sum",
    "reduce_max",
    "bmm",
    "gather",
    "scatter",
]

DT = {d.name: d for d in dtypes.ALL if d is not dtypes.bfloat16 and not d.is_complex}


@dataclass(frozen=True)
class DeviceInfo:
    """What a device is: index, name, vendor, driver, kind ("cpu", "gpu" or "accelerator"), uuid."""

    index: int
    name: str
    vendor: str = ""
    driver: str = ""
    kind: str = "accelerator"
    uuid: str = ""


@dataclass(frozen=True)
class Caps:
    """What a device can do.

    compute: dtypes in which every kernel works.  storage: dtypes that can only be stored and cast.
    total_mem, max_alloc, mem_align: bytes (0: not known).  max_rank: dimensions of an array.
    fork_safe: an opened device survives fork.  features: open-ended names, unknown ones are ignored.
    """

    compute: frozenset[dtype]
    storage: frozenset[dtype] = frozenset()
    total_mem: int = 0
    max_alloc: int = 0
    mem_align: int = 64
    max_rank: int = 64
    index_bits: int = 64
    streams: int = 1
    asynchronous: bool = False
    unified_memory: bool = False
    fork_safe: bool = False
    flushes_denormals: bool = False
    features: frozenset[str] = field(default_factory=frozenset)


class KernelTable(dict[str, Any]):
    """A device's kernels by name; a name that is absent answers None, once and for all.

    Whoever swaps entries calls `clear()` and `update()` on this very object: core holds on to it.
    """

    def __missing__(self, name: str) -> None:
        self[name] = None

    def native(self) -> dict[str, Callable[..., Any]]:
        """The kernels that the backend really gave."""
        return {name: kernel for name, kernel in self.items() if kernel is not None}


class Device(ABC):
    """One opened piece of hardware."""

    info: DeviceInfo
    caps: Caps
    kernels: Mapping[str, Callable[..., Any]]

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all work has ended, and raise what went wrong in it."""

    def const(self, value: complex, d: dtype) -> Any:
        """What kernels get for a Python number that meets an array of dtype d; the number itself unless overridden."""
        return value

    def threads(self) -> int:
        """Threads that one kernel may use; 1 unless overridden."""
        return 1

    def set_threads(self, n: int) -> None:
        """Let kernels use n threads, as far as the device can be told; nothing unless overridden."""

    def thread_init(self) -> None:
        """Called once in every thread that computes, before its first kernel."""

    def close(self) -> None:
        """Give the hardware back."""


class Backend(ABC):
    """One device type; made by the plug-in's `flambeau_backend` hook."""

    name: ClassVar[str]
    protocol: ClassVar[tuple[int, int]] = PROTOCOL

    @abstractmethod
    def devices(self) -> Sequence[DeviceInfo]:
        """The devices present: cheap, no context and no compilation; [] when there is no hardware."""

    @abstractmethod
    def open(self, index: int) -> Device:
        """Open device `index`; core keeps one Device per index."""

    def why_unavailable(self) -> str | None:
        """Why `devices()` is empty, in a sentence, and the way out."""
        return None
