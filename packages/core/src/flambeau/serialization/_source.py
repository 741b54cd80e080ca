"""Where a checkpoint's bytes come from: a path, an open file, bytes."""

from __future__ import annotations

import errno
import io
import mmap
import os
from typing import Any

import numpy as np

from flambeau.dtypes import bool_, dtype
from flambeau.errors import ArgumentError, CheckpointError

#: Small arrays of a large file are cut from blocks of this many bytes, which the system hands out faster (44 against
#: 60 ms for 100 MB in arrays of 1 MB); an array that is kept alone keeps at most this much.
_SLAB = 8 << 20
_ALIGNMENT = 64

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def typed(data: Bytes, d: dtype) -> np.ndarray[Any, Any]:
    """Bytes as elements of a dtype: where a CPU can read them at once, and bools that are 0 or 1.

    Shares memory where it can.
    """
    array = data.view(d.numpy)
    if d is bool_:
        return array if not data.size or data.max() <= 1 else data != 0
    return array if array.flags.aligned else array.copy()


class Source:
    """Random access to the bytes of a checkpoint.

    Args: f: a path, bytes, or a binary file open for reading, from its position on.
        mapped: leave the bytes in the file; the operating system reads what is used (paths only).
        who: who asks, for messages.
    """

    def __init__(self, f: Any, mapped: bool = False, who: str = "load") -> None:
        self._who = who
        self._file: Any = None
        self._map: Any = None
        self._start = 0
        self._slab, self._used = memoryview(b""), 0
        self._owned = isinstance(f, str | os.PathLike)
        if self._owned:
            self._file = open(f, "rb", buffering=0)  # noqa: SIM115  (closed by close())
            try:
                self.size = self._file.seek(0, io.SEEK_END)
                if mapped and self.size:
                    self._map = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_COPY)
            except BaseException as error:
                self._file.close()
                if isinstance(error, OSError) and error.errno == errno.ESPIPE:
                    raise ArgumentError(_cannot_seek(who, os.fspath(f))) from None
                raise
            return
        if mapped:
            raise ArgumentError(
                f"{who}: mmap=True needs a path, got {type(f).__name__}. Hint: give the path of the file"
            )
        if isinstance(f, bytes | bytearray | memoryview):
            f = io.BytesIO(f)
        for name in ("read", "seek", "tell"):
            if not hasattr(f, name):
                raise ArgumentError(
                    f"{who}: f must be a path or a binary file with read, seek and tell, got {type(f).__name__}"
                )
        if isinstance(f, io.TextIOBase):
            raise ArgumentError(f"{who}: f is open as text. Hint: open(path, 'rb')")
        if getattr(f, "closed", False) is True:
            raise ArgumentError(f"{who}: f is closed. Hint: load inside the with block")
        if isinstance(f, io.IOBase) and not f.readable():
            raise ArgumentError(f"{who}: f is not open for reading. Hint: open(path, 'rb')")
        try:
            self._file, self._start = f, f.tell()
            self.size = f.seek(0, io.SEEK_END) - self._start
        except OSError as error:  # io.UnsupportedOperation is one
            if isinstance(error, io.UnsupportedOperation) or error.errno == errno.ESPIPE:
                raise ArgumentError(_cannot_seek(who, type(f).__name__)) from None
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._owned:
            self._file.close()

    def leave_at(self, offset: int) -> None:
        """Where the caller's file is to stand afterwards."""
        if not self._owned:
            self._file.seek(self._start + offset)

    def bytes_at(self, offset: int, n: int) -> bytes:
        """n bytes.

        Raises: CheckpointError: they reach outside the file.
        """
        if offset < 0 or n < 0 or offset + n > self.size:
            raise CheckpointError(
                f"{self._who}: the file is damaged: bytes {offset} to {offset + n} were announced and it has "
                f"{self.size}. Hint: it may have been cut off in a download; fetch it again"
            )
        self._file.seek(self._start + offset)
        got: bytes = self._file.read(n)
        while len(got) < n:
            more = self._file.read(n - len(got))
            if not more:
                raise CheckpointError(
                    f"{self._who}: the file shrank while it was read ({self.size} bytes)"
                )
            got += more
        return got

    def array_at(self, offset: int, n: int) -> Bytes:
        """n bytes as an array that owns its memory, or that shares the file's where it is mapped."""
        if self._map is not None and offset >= 0 and n > 0 and offset + n <= self.size:
            return np.frombuffer(self._map, np.uint8, n, offset)
        readinto = getattr(self._file, "readinto", None)
        if readinto is None or n == 0 or offset < 0 or offset + n > self.size:
            return np.frombuffer(bytearray(self.bytes_at(offset, n)), np.uint8)
        self._file.seek(self._start + offset)
        view, at = self._room(n), 0
        while at < n:
            got = readinto(view[at:])
            if not got:
                raise CheckpointError(
                    f"{self._who}: the file shrank while it was read ({self.size} bytes)"
                )
            at += got
        return np.frombuffer(view, np.uint8)

    def _room(self, n: int) -> memoryview:
        """Memory for n bytes."""
        if n >= _SLAB // 2 or self.size < 2 * _SLAB:
            return memoryview(np.empty(n, np.uint8).data)
        if len(self._slab) - self._used < n:
            block = np.empty(_SLAB + _ALIGNMENT, np.uint8)
            lead = -block.ctypes.data % _ALIGNMENT
            self._slab, self._used = memoryview(block.data)[lead : lead + _SLAB], 0
        view = self._slab[self._used : self._used + n]
        self._used += -(-n // _ALIGNMENT) * _ALIGNMENT
        return view

    @property
    def mapped(self) -> bool:
        """Whether arrays share the file's memory."""
        return self._map is not None


def _cannot_seek(who: str, name: str) -> str:
    return f"{who}: {name} cannot go back to bytes it has passed. Hint: load(io.BytesIO(f.read()))"
