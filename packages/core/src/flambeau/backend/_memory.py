"""Device memory of backends that stand on `strided`: buffers, views, and the pool of freed blocks."""

from __future__ import annotations

import gc
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flambeau.backend._views import Shape, count, is_contiguous
from flambeau.dtypes import dtype
from flambeau.errors import OutOfMemoryError

if TYPE_CHECKING:
    from flambeau.backend.strided import StridedDevice


class Buffer:
    """A block of device memory.

    handle: the backend's own object.  nbytes: its size.  device, stream: set by core.
    """

    __slots__ = ("_block", "_pool", "device", "handle", "nbytes", "stream")

    def __init__(self, handle: Any, nbytes: int) -> None:
        self.handle, self.nbytes = handle, nbytes
        self.device: Any = None
        self.stream: Any = None
        self._pool: Pool | None = None
        self._block: Any = None

    def __del__(self) -> None:
        if self._pool is not None:
            # Runs at any time in any thread: a single atomic append, the pool looks at it later.
            self._pool.returned.append(self._block)

    def __repr__(self) -> str:
        return f"<Buffer of {self.nbytes} bytes on {self.device}>"


class View:
    """A strided window on a buffer: the native array of `StridedDevice`, and what kernels get. Never changed once made.

    buf: the Buffer (None on the meta device).  dtype: element type.  shape, strides, offset: in elements, strides >= 0.
    native: None, for the backend to keep what it makes of the view (an ndarray, a driver's object).
    """

    __slots__ = ("buf", "dtype", "native", "offset", "shape", "strides")

    def __init__(
        self, buf: Any, dtype: dtype, shape: Shape, strides: Shape, offset: int = 0
    ) -> None:
        self.buf = buf
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.native: Any = None

    @property
    def numel(self) -> int:
        """Number of elements."""
        return count(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the elements follow each other in row-major order without gaps."""
        return is_contiguous(self.shape, self.strides)

    def __repr__(self) -> str:
        return f"<View {self.shape} {self.dtype.name} strides {self.strides} offset {self.offset}>"


@dataclass(frozen=True)
class MemoryStats:
    """What a device's pool holds, in bytes: in use and kept (allocated is part of reserved), their peaks; and counts.

    allocations: blocks asked of the device.  ooms: times that it had none.
    """

    allocated: int = 0
    reserved: int = 0
    peak_allocated: int = 0
    peak_reserved: int = 0
    allocations: int = 0
    ooms: int = 0


_SMALLEST, _LARGE, _STEP = 512, 1 << 20, 2 << 20


def size_class(nbytes: int) -> int:
    """The block size for a request: powers of two from 512 B to 1 MiB, above that multiples of 2 MiB.

    Example:
        >>> size_class(1), size_class(513), size_class(1 << 20), size_class((1 << 20) + 1)
        (512, 1024, 1048576, 2097152)
    """
    if nbytes <= _SMALLEST:
        return _SMALLEST
    if nbytes <= _LARGE:
        return 1 << (nbytes - 1).bit_length()
    return -(-nbytes // _STEP) * _STEP


class Pool:
    """Blocks of one device: those that nobody uses any more wait here for the next request of their size."""

    def __init__(self, dev: StridedDevice) -> None:
        self.dev = dev
        self.lock = threading.RLock()
        self.idle: dict[int, list[Buffer]] = {}
        self.returned: deque[tuple[int, Buffer]] = deque()
        self.allocated = self.reserved = self.allocations = self.ooms = 0
        self.peak_allocated = self.peak_reserved = 0

    def take(self, nbytes: int) -> Buffer:
        """A buffer of nbytes > 0, whose block comes back when nobody holds the buffer any more.

        Raises: OutOfMemoryError: the device has no room, with all idle blocks given back.
        """
        limit = self.dev.caps.max_alloc
        size = size_class(nbytes)
        if limit and size > limit >= nbytes:
            size = nbytes
        with self.lock:
            if self.returned:
                self._drain()
            idle = self.idle.get(size)
            block = idle.pop() if idle else self._new(size, nbytes)
            self.allocated += size
            if self.allocated > self.peak_allocated:
                self.peak_allocated = self.allocated
        lease = Buffer(block.handle, nbytes)
        lease.device, lease.stream = self.dev, self.dev.queue
        lease._pool, lease._block = self, (size, block)
        return lease

    def _drain(self) -> None:
        returned = self.returned
        while returned:
            size, block = returned.popleft()
            self.allocated -= size
            self.idle.setdefault(size, []).append(block)

    def _new(self, size: int, nbytes: int) -> Buffer:
        limit = self.dev.caps.max_alloc
        if limit and size > limit:
            self.ooms += 1
            raise OutOfMemoryError(
                f"{self._where()}: one block holds at most {human(limit)}, asked for {human(nbytes)}"
            )
        try:
            block = self.dev.alloc(size)
        except MemoryError:  # OutOfMemoryError is one
            self.ooms += 1
            gc.collect()
            self.flush()
            try:
                block = self.dev.alloc(size)
            except MemoryError as error:
                raise OutOfMemoryError(
                    f"{self._where()}: no room for {human(nbytes)}; {human(self.allocated)} in use, peak "
                    f"{human(self.peak_allocated)}, of {human(self.dev.caps.total_mem)} ({error}). "
                    "Hint: smaller batches, or `del` what is not needed any more"
                ) from error
        self.allocations += 1
        self.reserved += size
        if self.reserved > self.peak_reserved:
            self.peak_reserved = self.reserved
        return block

    def _where(self) -> str:
        return f"device {self.dev.info.index} ({self.dev.info.name})"

    def flush(self) -> None:
        """Give all idle blocks back to the device."""
        with self.lock:
            self._drain()
            for size, blocks in self.idle.items():
                for block in blocks:
                    self.reserved -= size
                    self.dev.free(block)
            self.idle.clear()

    def reset_peaks(self) -> None:
        """Start the peaks again from this moment."""
        with self.lock:
            self._drain()
            self.peak_allocated, self.peak_reserved = self.allocated, self.reserved

    def stats(self) -> MemoryStats:
        """The figures of this moment."""
        with self.lock:
            self._drain()
            return MemoryStats(
                self.allocated,
                self.reserved,
                self.peak_allocated,
                self.peak_reserved,
                self.allocations,
                self.ooms,
            )


def human(nbytes: int) -> str:
    """A number of bytes for people: 1.5 KiB."""
    size = float(nbytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
