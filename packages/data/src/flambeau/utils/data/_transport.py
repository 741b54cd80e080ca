"""How batches cross from a worker process: through shared memory, announced through a pipe.

A segment of shared memory holds the sizes of what follows, the pickled batch without its arrays, and the arrays. A
worker uses its segments in turn. Small batches are copied out of them. Of large ones the arrays stay where they are (on
Linux): the segment is lent to the program, and if the program still holds such an array when the segment's turn comes
again, the worker makes itself another one.

On Linux a segment is a file in /dev/shm, or in the folder for temporary files where that is full or missing (containers
often have 64 MB of it): slower, but it works. The program removes its name when it has opened it, so that whatever is
killed leaves next to nothing behind.

A message in the pipe is so short that all of them together fit into it: a worker never waits for the program, so the
program can send it tasks without either waiting for the other.
"""

from __future__ import annotations

import contextlib
import copyreg
import io
import mmap
import os
import pickle
import sys
import tempfile
import threading
import warnings
import weakref
from collections import ChainMap
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from flambeau.tensor import Tensor
from flambeau.utils.data._worker import Answer
from flambeau.utils.data.errors import WorkerError

#: Bytes that every system lets a pipe hold, which a worker's messages share, and what a message takes by itself.
_PIPE, _ENVELOPE = 8192, 160
_ALIGN = 64
#: Arrays of fewer bytes stay in the pickle.
_SMALL = 512
#: Segments with as many bytes are lent: mapping one costs as much as copying half of that.
_LARGE = 1 << 20
#: Segments that a program may hold on to, as each may take a file descriptor, of which 1,024 are usual.
_LENT = 256
#: Where segments are files, as a segment can be lent only without multiprocessing's own object around it.
_FOLDER = "/dev/shm" if sys.platform == "linux" else None
#: A mapping that keeps no file descriptor, where there is one.
_MAP: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}

#: The mappings that the program holds on to, and the folders that it was told of.
_held: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_told: set[str] = set()


def turns(depth: int) -> int:
    """Segments of a worker that may have `depth` batches ready: the program uses one, and mostly holds another."""
    return depth + 2


def _spans(sizes: list[int]) -> list[tuple[int, int]]:
    """Where parts of some sizes lie in a segment: (start, end), aligned."""
    spans, start = [], 0
    for size in sizes:
        spans.append((start, start + size))
        start += -(-size // _ALIGN) * _ALIGN
    return spans


def _dumps(what: Any, apart: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    """Pickled, without the buffers that are to be apart."""
    made = io.BytesIO()
    pickler = pickle.Pickler(made, 5, buffer_callback=apart)
    pickler.dispatch_table = _TABLE
    pickler.dump(what)
    return made.getvalue()


def _reduce(t: Tensor) -> Any:
    if not t.is_leaf:
        raise WorkerError(
            "DataLoader: a worker process made a tensor with a history of operations that require grad, which cannot "
            "leave the process, so no gradient would flow. Hint: detach() it, or worker_kind='thread'"
        )
    return t.__reduce_ex__(5)


_TABLE: Any = ChainMap({Tensor: _reduce}, copyreg.dispatch_table)


class _File:
    """A segment that is a file, as its worker sees it.  name: its path.

    Raises: OSError: it cannot be made, or (`write`) the file system is full.
    """

    def __init__(self, path: str, size: int) -> None:
        self.name, self.size = path, size
        self._filled = 0
        self._map: mmap.mmap | None = None
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            self.release()
            raise

    def write(self, parts: list[tuple[int, Any]]) -> None:
        """Put parts where each is to start."""
        start, last = parts[-1]
        end = start + memoryview(last).nbytes
        # New pages are written twice as fast as through a mapping, and a full disk is an error, no SIGBUS.
        if end > self._filled:
            for start, part in parts:
                rest = memoryview(part).cast("B")
                while rest:
                    done = os.pwrite(self._fd, rest, start)
                    rest, start = rest[done:], start + done
            self._filled = end
            return
        self._map = self._map or mmap.mmap(self._fd, self.size, **_MAP)
        for start, part in parts:
            self._map[start : start + memoryview(part).nbytes] = part

    def release(self) -> None:
        """Close it and remove it."""
        os.close(self._fd)
        if self._map is not None:
            self._map.close()
        _remove(self.name)


class _Shared:
    """A segment of multiprocessing's shared memory."""

    def __init__(self, name: str, size: int) -> None:
        self._memory = SharedMemory(name, create=True, size=size)
        self.name, self.size = self._memory.name, size

    def write(self, parts: list[tuple[int, Any]]) -> None:
        """Put parts where each is to start."""
        memory: Any = self._memory.buf
        for start, part in parts:
            memory[start : start + memoryview(part).nbytes] = part

    def release(self) -> None:
        """Close it and remove it."""
        release(self._memory)


def _remove(path: str) -> None:
    """Remove a segment's file, unless another process has done so."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class Outbox:
    """A worker's end: answers to messages.

    prefix: of the segments' names, which the program has to guess when the worker was killed.
    """

    def __init__(self, prefix: str, depth: int) -> None:
        self.prefix = prefix
        # Between the worker and the thread that ends it with the program.
        self.lock = threading.Lock()
        self.inline = _PIPE // depth - _ENVELOPE
        self.segments: list[_File | _Shared | None] = [None] * turns(depth)
        self.made = self.turn = 0

    def message(self, answer: Answer, renew: bool) -> bytes:
        """An answer as bytes; what they say lies in shared memory unless it is short.

        renew: the segment whose turn it is belongs to the program now.
        """
        kind, what = answer
        buffers: list[memoryview] = []

        def apart(buffer: pickle.PickleBuffer) -> bool:
            view = buffer.raw()
            if view.nbytes < _SMALL:
                return True
            buffers.append(view)
            return False

        head = _dumps(what, apart)
        if renew:
            self._forget()
        name = None
        if buffers or len(head) > self.inline:
            sizes = [len(head), *(b.nbytes for b in buffers)]
            table = np.array([len(sizes), *sizes], np.int64).tobytes()
            spans = _spans([len(table), *sizes])
            starts = [start for start, _ in spans]
            name = self._write(spans[-1][1], list(zip(starts, (table, head, *buffers))))
            head = b""
        made = pickle.dumps((kind, self.turn, name, head), 5)
        self.turn = (self.turn + 1) % len(self.segments)
        return made

    def _write(self, size: int, parts: list[tuple[int, Any]]) -> str:
        """The name of the segment in which the parts are now."""
        segment = self.segments[self.turn]
        try:
            if segment is None or segment.size < size:
                segment = self._make(size, _FOLDER)
            segment.write(parts)
        except OSError:
            if _FOLDER is None:
                raise
            segment = self._make(size, tempfile.gettempdir())
            try:
                segment.write(parts)
            except OSError:
                self._forget()
                raise
        return segment.name

    def _make(self, size: int, folder: str | None) -> _File | _Shared:
        """A new segment for this turn, with room for somewhat larger batches."""
        self._forget()
        with self.lock:
            name, size = f"{self.prefix}{self.made}", size + size // 4
            made = _File(os.path.join(folder, name), size) if folder else _Shared(name, size)
            self.made += 1
            self.segments[self.turn] = made
        return made

    def _forget(self) -> None:
        old, self.segments[self.turn] = self.segments[self.turn], None
        if old is not None:
            old.release()

    def close(self) -> None:
        """Give the segments back."""
        with self.lock:
            for segment in self.segments:
                if segment is not None:
                    segment.release()
            self.segments = []


class Inbox:
    """The program's end: one worker's messages to answers."""

    def __init__(self, prefix: str, depth: int) -> None:
        self.prefix = prefix
        self.turns = turns(depth)
        self.asked = 0
        self.names: dict[int, str] = {}
        self.files: dict[int, int] = {}
        self.kept: dict[int, Any] = {}
        self.lent: dict[int, mmap.mmap] = {}

    def ask(self) -> bool:
        """Count a task in; whether the program still holds the segment in whose turn its answer will come."""
        turn = self.asked % self.turns
        self.asked += 1
        memory = self.lent.pop(turn, None)
        if memory is None:
            return False
        try:
            memory.close()
        except BufferError:  # arrays live in it, and end it when they end
            return True
        return False

    def answer(self, message: bytes) -> Answer:
        """What a message says.  Messages may be left unread: each one knows its segment's turn."""
        kind, turn, name, head = pickle.loads(message)
        if name is None:
            return kind, pickle.loads(head)
        memory, lend = self._memory(turn, name)
        count = int.from_bytes(memory[:8], "little")
        sizes: list[int] = np.frombuffer(memory, np.int64, count, 8).tolist()
        (start, end), *spans = _spans([8 + 8 * count, *sizes])[1:]
        buffers = []
        for first, last in spans:
            there = np.frombuffer(memory, np.uint8, last - first, first)
            buffers.append(there if lend else there.copy())
        return kind, pickle.loads(memory[start:end], buffers=buffers)

    def _memory(self, turn: int, name: str) -> tuple[Any, bool]:
        """A segment's bytes, and whether the program may keep them."""
        if self.names.get(turn) != name:
            self._forget(turn)
            if os.path.isabs(name):
                self.files[turn] = _open(name)
            self.names[turn] = name
        memory = self.kept.get(turn)
        if memory is None:
            file = self.files.get(turn)
            # A mapping needs no closing, whatever still looks into it.
            memory = SharedMemory(name) if file is None else mmap.mmap(file, 0, **_MAP)
            if isinstance(memory, mmap.mmap) and len(memory) >= _LARGE and len(_held) < _most():
                self.lent[turn] = memory
                _held.add(memory)
                return memory, True
            self.kept[turn] = memory
        return (memory if isinstance(memory, mmap.mmap) else memory.buf), False

    def _forget(self, turn: int) -> None:
        """Let a turn's segment go, as far as the program does not hold on to it."""
        self.names.pop(turn, None)
        self.kept.pop(turn, None)
        file = self.files.pop(turn, None)
        if file is not None:
            os.close(file)

    def close(self, killed: bool) -> None:
        """Give the segments back, those of a killed worker too."""
        names = list(self.names.values())
        for turn in list(self.names):
            self._forget(turn)
        self.lent = {}
        if _FOLDER is not None:
            for folder in {_FOLDER, tempfile.gettempdir()} if killed else {_FOLDER}:
                with contextlib.suppress(OSError):
                    for name in os.listdir(folder):
                        if name.startswith(self.prefix):
                            _remove(os.path.join(folder, name))
        elif killed:
            numbers = [int(name.removeprefix(self.prefix)) for name in names]
            last = max(numbers, default=-1)
            # It may have made some that it could not announce any more.
            for number in {*numbers, *range(last + 1, last + 2 + self.turns)}:
                with contextlib.suppress(FileNotFoundError):
                    release(SharedMemory(f"{self.prefix}{number}"))


def _most() -> int:
    """Segments that the program may hold on to."""
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # Windows
        return _LENT
    soft, _ = getrlimit(RLIMIT_NOFILE)
    return _LENT if _MAP or soft < 0 else min(_LENT, soft // 4)


def _open(path: str) -> int:
    """The file of a segment, which needs no name from now on."""
    folder = os.path.dirname(path)
    if folder not in (_FOLDER, *_told):
        _told.add(folder)
        _warn_of_files(folder)
    file = os.open(path, os.O_RDWR)
    _remove(path)
    return file


def _warn_of_files(folder: str) -> None:
    warnings.warn(
        f"DataLoader: shared memory ({_FOLDER}) is full or missing, so that batches of worker processes go through "
        f"files in {folder}, which may be slower. Hint: docker run --shm-size=8g, smaller batches, "
        "or worker_kind='thread'",
        stacklevel=2,
    )


def release(segment: SharedMemory) -> None:
    """Close a segment and remove its name, unless another process has done so."""
    segment.close()
    with contextlib.suppress(FileNotFoundError):
        segment.unlink()
