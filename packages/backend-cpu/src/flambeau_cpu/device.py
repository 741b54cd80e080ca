"""The CPU as a flambeau device."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.backend.protocol import Backend, Caps, Device, DeviceInfo, KernelTable
from flambeau.dtypes import dtype
from flambeau_cpu.kernels import TABLE


class CpuDevice(Device):
    """NumPy on the host's processor."""

    def __init__(self, info: DeviceInfo) -> None:
        self.info = info
        self.caps = Caps(compute=frozenset(dtypes.ALL), unified_memory=True, fork_safe=True)
        self.kernels = KernelTable(TABLE)

    def synchronize(self) -> None:
        """Nothing to wait for: kernels return when they are done."""

    def const(self, value: complex, d: dtype) -> Any:
        """A 0-d array: NumPy takes 0.2 us longer to convert a Python number at every call."""
        if d.category == dtypes.INTEGER and not isinstance(value, complex):
            bits = 8 * d.itemsize
            value = int(value) & ((1 << bits) - 1)  # wrap around, as PyTorch does
            if d.is_signed and value >> (bits - 1):
                value -= 1 << bits
        made = np.array(value, d.numpy)
        made.setflags(write=False)
        return made

    def threads(self) -> int:
        """Threads of a matrix product; everything else runs in one."""
        from flambeau_cpu.threads import threads

        return threads()

    def set_threads(self, n: int) -> None:
        """Let matrix products use n threads, where NumPy's library is OpenBLAS."""
        from flambeau_cpu.threads import set_threads

        set_threads(n)

    def thread_init(self) -> None:
        """Silence NumPy's floating-point warnings: inf and nan are values here, and errstate costs twice an add."""
        np.seterr(all="ignore")


class CpuBackend(Backend):
    """One device, the processor."""

    name = "cpu"

    def devices(self) -> Sequence[DeviceInfo]:
        """The processor."""
        return [
            DeviceInfo(
                0,
                platform.processor() or platform.machine(),
                driver=f"NumPy {np.__version__}",
                kind="cpu",
            )
        ]

    def open(self, index: int) -> CpuDevice:
        """The processor."""
        return CpuDevice(self.devices()[index])
