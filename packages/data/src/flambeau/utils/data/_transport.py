"""How batches cross from a worker process: through shared memory, announced through a pipe.

A segment of shared memory holds the sizes of what follows, the pickled batch without its arrays, and the arrays. A
worker uses its segments in turn. Small batches are copied out of them. Of large ones the arrays stay where they are (on
Linux): the segment is lent to the program, and if the program still holds such an array when the segment's turn comes
again, the worker makes itself another one.

A message in the pipe is so short that all of them together fit into it: a worker never waits for the program, so the
program can send it tasks without either waiting for the other.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import sys
import threading
import weakref
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from flambeau.utils.data._worker import Answer

#: Bytes that every system lets a pipe hold, which a worker's messages share, and what a message takes by itself.
_PIPE, _ENVELOPE = 8192, 128
_ALIGN = 64
#: Arrays of fewer bytes stay in the pickle.
_SMALL = 512
#: Segments with as many bytes are lent: mapping one costs as much as copying half of that.
_LARGE = 1 << 20
#: Segments that a program may hold on to from one worker, as each takes a file descriptor.
_LENT = 64
#: Where segments are files, as a segment can be lent only without multiprocessing's own object around it.
_FOLDER = "/dev/shm" if sys.platform == "linux" and os.path.isdir("/dev/shm") else None


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


class Outbox:
    """A worker's end: answers to messages.

    prefix: of the segments' names, which the program has to guess when the worker was killed.
    """

    def __init__(self, prefix: str, depth: int) -> None:
        self.prefix = prefix
        self.lock = (
            threading.Lock()
        )  # between the worker and the thread that ends it with the program
        self.inline = _PIPE // depth - _ENVELOPE
        self.segments: list[SharedMemory | None] = [None] * turns(depth)
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

        head = pickle.dumps(what, 5, buffer_callback=apart)
        if renew:
            self._forget()
        name = None
        if buffers or len(head) > self.inline:
            sizes = [len(head), *(b.nbytes for b in buffers)]
            table = np.array([len(sizes), *sizes], np.int64).tobytes()
            spans = _spans([len(table), *sizes])
            segment = self._segment(spans[-1][1])
            memory: Any = segment.buf
            for part, (start, end) in zip((table, head, *buffers), spans):
                memory[start:end] = part
            name, head = segment.name, b""
        made = pickle.dumps((kind, name, head), 5)
        self.turn = (self.turn + 1) % len(self.segments)
        return made

    def _segment(self, size: int) -> SharedMemory:
        old = self.segments[self.turn]
        if old is not None:
            if old.size >= size:
                return old
            self._forget()
        with self.lock:
            made = SharedMemory(f"{self.prefix}{self.made}", create=True, size=size + size // 4)
            self.made += 1
            self.segments[self.turn] = made
        return made

    def _forget(self) -> None:
        old, self.segments[self.turn] = self.segments[self.turn], None
        if old is not None:
            release(old)

    def close(self) -> None:
        """Give the segments back."""
        with self.lock:
            for segment in self.segments:
                if segment is not None:
                    release(segment)
            self.segments = []


class Inbox:
    """The program's end: one worker's messages to answers."""

    def __init__(self, prefix: str, depth: int) -> None:
        self.prefix = prefix
        self.turns = turns(depth)
        self.asked = self.read = 0
        self.names: dict[int, str] = {}
        self.kept: dict[int, Any] = {}
        self.lent: dict[int, mmap.mmap] = {}
        self.held: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

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
        """What a message says."""
        turn = self.read % self.turns
        self.read += 1
        kind, name, head = pickle.loads(message)
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
            self.names[turn] = name
            self.kept.pop(turn, None)
        memory = self.kept.get(turn)
        if memory is None:
            memory = _attach(name)
            if isinstance(memory, mmap.mmap) and len(memory) >= _LARGE and len(self.held) < _LENT:
                self.lent[turn] = memory
                self.held.add(memory)
                return memory, True
            self.kept[turn] = memory
        return (memory if isinstance(memory, mmap.mmap) else memory.buf), False

    def close(self) -> None:
        """Give the segments back, those of a killed worker too."""
        self.kept, self.lent = {}, {}
        numbers = [int(name.removeprefix(self.prefix)) for name in self.names.values()]
        last = max(numbers, default=-1)
        # A worker that was killed may have made some that it could not announce any more.
        for number in {*numbers, *range(last + 1, last + 2 + self.turns)}:
            with contextlib.suppress(FileNotFoundError):
                release(SharedMemory(f"{self.prefix}{number}"))
        self.names = {}


def _attach(name: str) -> mmap.mmap | SharedMemory:
    """A segment's bytes; a mapping where there is one, as it needs no closing, whatever still looks into it."""
    if _FOLDER is None:
        return SharedMemory(name)
    file = os.open(os.path.join(_FOLDER, name), os.O_RDWR)
    try:
        return mmap.mmap(file, 0)
    finally:
        os.close(file)


def release(segment: SharedMemory) -> None:
    """Close a segment and remove its name, unless another process has done so."""
    segment.close()
    with contextlib.suppress(FileNotFoundError):
        segment.unlink()
