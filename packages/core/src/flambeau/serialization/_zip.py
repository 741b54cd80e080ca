"""The zip archives that checkpoints are: read with every announced number checked, written aligned.

Reference: PKWARE APPNOTE 6.3.10, sections 4.3 (records) and 4.5.3 (zip64).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau.errors import CheckpointError
from flambeau.serialization._source import Bytes, Source

ALIGNMENT = 64
_LOCAL, _CENTRAL = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L")
_END, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
#: Sizes and places from here on are written as zip64 has them.
_LARGE = _MAX32
#: No honest archive unpacks to more than this many times its own size.
_MOST_GROWTH = 8
#: Bytes above which a second thread computes checksums while the first reads or writes.
_OWN_THREAD = 1 << 18
#: Bytes that are copied, summed and written at a time.
_PORTION = 4 << 20
#: The sizes and the checksum follow the bytes; names are UTF-8.
_FLAGS = 0x0808
_DAY = 33  # 1980-01-01


@dataclass(slots=True)
class Entry:
    """One file of an archive."""

    name: str
    header: int
    stored: int
    size: int
    crc: int
    method: int


def damaged(why: str) -> CheckpointError:
    """The error of an archive that contradicts itself."""
    return CheckpointError(
        f"load: the zip archive is damaged: {why}. Hint: it may have been cut off in a download; fetch it again"
    )


class ZipReader:
    """The entries of an archive; nothing is ever unpacked to disk.

    Raises: CheckpointError: records contradict each other or the file, two entries have one name or share bytes, or
        the entries would unpack to more than 8 times the file.
    """

    def __init__(self, source: Source, verify: bool = True) -> None:
        self._source, self._verify = source, verify
        self._helper = _Helper(2)
        self._sums: list[tuple[Entry, Future[int]]] = []
        start, length, count = self._find_directory()
        directory = source.bytes_at(start, length)
        self.entries: dict[str, Entry] = {}
        at = 0
        for _ in range(count):
            at = self._add_entry(directory, at)
        self._check_ranges(start)

    def _find_directory(self) -> tuple[int, int, int]:
        size = self._source.size
        tail_at = max(0, size - _END.size - _MAX16)
        tail = self._source.bytes_at(tail_at, size - tail_at)
        found = tail.rfind(b"PK\5\6")
        if found < 0 or len(tail) - found < _END.size:
            raise damaged("it has no end record")
        _, disk, _, _, count, length, start, _ = _END.unpack_from(tail, found)
        where = tail_at + found
        if where >= _LOCATOR.size:
            mark, _, at64, _ = _LOCATOR.unpack(
                self._source.bytes_at(where - _LOCATOR.size, _LOCATOR.size)
            )
            if mark == b"PK\6\7":
                record = _END64.unpack(self._source.bytes_at(at64, _END64.size))
                if record[0] != b"PK\6\6":
                    raise damaged("its zip64 end record is not where it was announced")
                disk, count, length, start = record[4], record[7], record[8], record[9]
        if disk:
            raise CheckpointError("load: a zip archive in several parts cannot be read")
        if length > size or count > length // _CENTRAL.size:
            raise damaged(f"{count} entries do not fit a directory of {length} bytes")
        return start, length, count

    def _add_entry(self, directory: bytes, at: int) -> int:
        if at + _CENTRAL.size > len(directory):
            raise damaged("its directory ends early")
        fields = _CENTRAL.unpack_from(directory, at)
        mark, flags, method, crc = fields[0], fields[3], fields[4], fields[7]
        stored, size, n_name, n_extra, n_comment = fields[8:13]
        header = fields[16]
        names_at = at + _CENTRAL.size
        after = names_at + n_name + n_extra + n_comment
        if mark != b"PK\1\2" or after > len(directory):
            raise damaged("its directory is broken")
        try:
            name = directory[names_at : names_at + n_name].decode()
        except UnicodeDecodeError:
            raise damaged("an entry's name is not text") from None
        extra = directory[names_at + n_name : names_at + n_name + n_extra]
        size, stored, header = _zip64_fields(extra, size, stored, header)
        if name in self.entries:
            raise damaged(f"two entries are called {name!r}")
        if flags & 1:
            raise CheckpointError(f"load: {name!r} is encrypted")
        if method not in (0, 8):
            raise CheckpointError(
                f"load: {name!r} is packed by zip method {method}; stored and deflated entries can be read"
            )
        if method == 0 and size != stored:
            raise damaged(f"{name!r} has {size} bytes and stores {stored}")
        self.entries[name] = Entry(name, header, stored, size, crc, method)
        end: int = after
        return end

    def _check_ranges(self, directory: int) -> None:
        end, total = 0, 0
        last = ""
        for entry in sorted(self.entries.values(), key=lambda e: e.header):
            if entry.header < end:
                raise damaged(f"{last!r} and {entry.name!r} share bytes")
            end, last = entry.header + _LOCAL.size + entry.stored, entry.name
            total += entry.size
        if end > directory:
            raise damaged(f"{last!r} reaches to byte {end}, past the entries' end at {directory}")
        if total > _MOST_GROWTH * self._source.size:
            raise CheckpointError(
                f"load: the entries would unpack to {total} bytes, more than {_MOST_GROWTH} times the file's "
                f"{self._source.size}. Hint: if you trust it, unzip it and zip it again without compression"
            )

    def read(self, name: str) -> Bytes:
        """The bytes of an entry; `finish` says whether those of large ones are what was written.

        Raises: CheckpointError: there is no such entry, or its bytes are not what was written.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise damaged(f"it has no entry {name!r}")
        head = _LOCAL.unpack(self._source.bytes_at(entry.header, _LOCAL.size))
        if head[0] != b"PK\3\4":
            raise damaged(f"{name!r} is not where the directory says")
        start = entry.header + _LOCAL.size + head[9] + head[10]
        data = self._source.array_at(start, entry.stored)
        if entry.method:
            data = _inflate(data, entry)
        if self._verify and not self._source.mapped:
            if entry.size < _OWN_THREAD:
                _compare(entry, crc32(data))
            else:  # other threads compute it while this one reads on; one is slower than most disks
                self._sums.append((entry, self._helper.later(crc32, data)))
        return data

    def finish(self) -> None:
        """Wait for the checksums.

        Raises: CheckpointError: bytes are not what was written.
        """
        sums, self._sums = self._sums, []
        for entry, crc in sums:
            _compare(entry, crc.result())

    def __enter__(self) -> ZipReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._helper.close()


def _compare(entry: Entry, crc: int) -> None:
    if crc != entry.crc:
        raise damaged(
            f"the checksum of {entry.name!r} does not match its bytes (load(..., verify=False) reads them anyway)"
        )


def _zip64_fields(extra: bytes, size: int, stored: int, header: int) -> tuple[int, int, int]:
    """The three numbers, from the zip64 field where the directory had no room for them."""
    at = 0
    while at + 4 <= len(extra):
        kind, n = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(
                struct.unpack(
                    f"<{n // 8}Q", extra[at + 4 : at + 4 + n // 8 * 8].ljust(n // 8 * 8, b"\0")
                )
            )
            size = next(values, size) if size == _MAX32 else size
            stored = next(values, stored) if stored == _MAX32 else stored
            header = next(values, header) if header == _MAX32 else header
            break
        at += 4 + n
    return size, stored, header


def _inflate(data: Bytes, entry: Entry) -> Bytes:
    unpack = zlib.decompressobj(-15)
    try:
        got = bytearray(unpack.decompress(data.data, entry.size + 1))
    except zlib.error as error:
        raise damaged(f"{entry.name!r} does not unpack ({error})") from None
    if len(got) != entry.size or not unpack.eof:
        raise damaged(f"{entry.name!r} does not unpack to the {entry.size} bytes it announced")
    return np.frombuffer(got, np.uint8)


def crc32(data: Any, before: int = 0) -> int:
    """The checksum of bytes; other threads run meanwhile."""
    return zlib.crc32(data, before)


def _next_sum(data: Any, before: Future[int] | None) -> int:
    return crc32(data, before.result() if before is not None else 0)


class _Helper:
    """Other threads that compute checksums; or this one, where threads are no longer to be had.

    That is so when the interpreter shuts down, and exit handlers write a last checkpoint.
    """

    def __init__(self, threads: int) -> None:
        self._pool: Any = None
        self._threads = threads

    def later(self, fn: Callable[..., int], *args: Any) -> Future[int]:
        """The result of a function; those asked for first come first."""
        try:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._threads)
            found: Future[int] = self._pool.submit(fn, *args)
        except RuntimeError:
            found = Future()
            found.set_result(fn(*args))
        return found

    def close(self) -> None:
        """Let the thread go."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class ZipWriter:
    """Writes an archive from front to back: stored entries whose bytes start at multiples of 64.

    What is summed is a copy of what is written: a tensor that another thread changes meanwhile may be saved half
    changed, and the file can be read all the same.
    """

    def __init__(self, write: Callable[[Any], Any], folder: str) -> None:
        self._write, self._folder, self._at = write, folder, 0
        self._central: list[bytes] = []
        self._helper: _Helper | None = None
        self._buffers: list[memoryview] = []

    def _put(self, data: Any, n: int) -> None:
        self._write(data)
        self._at += n

    def add(self, name: str, data: Any) -> None:
        """One entry from an object with a contiguous buffer of bytes."""
        data = memoryview(data).cast("B")
        size, header = data.nbytes, self._at
        label = f"{self._folder}/{name}".encode()
        wide = size >= _LARGE or header >= _LARGE
        extra = struct.pack("<HH2Q", 1, 16, 0, 0) if wide else b""
        lead = header + _LOCAL.size + len(label) + len(extra) + 4
        fill = -lead % ALIGNMENT
        extra += struct.pack("<2sH", b"FB", fill) + b"Z" * fill
        version, shown = (45, _MAX32) if wide else (20, 0)
        head = _LOCAL.pack(
            b"PK\3\4", version, _FLAGS, 0, 0, _DAY, 0, shown, shown, len(label), len(extra)
        )
        self._put(head + label + extra, len(head) + len(label) + len(extra))
        crc = self._copied(data) if self._helper is not None else self._put_copy(bytes(data))
        tail = struct.pack("<4sL2Q" if wide else "<4s3L", b"PK\7\x08", crc, size, size)
        self._put(tail, len(tail))
        more = struct.pack("<HH3Q", 1, 24, size, size, header) if wide else b""
        shown, place = (_MAX32, _MAX32) if wide else (size, header)
        fields = (version, version, _FLAGS, 0, 0, _DAY, crc, shown, shown, len(label), len(more))
        record = _CENTRAL.pack(b"PK\1\2", *fields, 0, 0, 0, 0, place)
        self._central.append(record + label + more)

    def _put_copy(self, data: bytes) -> int:
        if data:
            self._put(data, len(data))
        return crc32(data)

    def _copied(self, data: memoryview) -> int:
        """Write bytes through two buffers, one of which the other thread sums while the next is filled."""
        helper: Any = self._helper
        self._buffers = self._buffers or [memoryview(bytearray(_PORTION)) for _ in range(2)]
        sums: list[Future[int]] = []
        for i, at in enumerate(range(0, len(data), _PORTION)):
            if i > 1:
                sums[i - 2].result()  # the buffer is free again
            part = data[at : at + _PORTION]
            copy = self._buffers[i % 2][: len(part)]
            copy[:] = part
            sums.append(helper.later(_next_sum, copy, sums[-1] if sums else None))
            self._put(copy, len(copy))
        return sums[-1].result() if sums else 0

    def add_all(self, entries: list[tuple[str, Any]]) -> None:
        """Many entries; another thread computes checksums while this one writes."""
        if sum(memoryview(data).nbytes for _, data in entries) < _OWN_THREAD:
            for name, data in entries:
                self.add(name, data)
            return
        self._helper = _Helper(1)
        try:
            for name, data in entries:
                self.add(name, data)
        finally:
            self._helper.close()
            self._helper = None

    def close(self) -> None:
        """The directory and the end record."""
        start, count = self._at, len(self._central)
        directory = b"".join(self._central)
        self._put(directory, len(directory))
        if count >= _MAX16 or start + len(directory) >= _LARGE:
            record = (b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start)
            place = self._at
            self._put(_END64.pack(*record) + _LOCATOR.pack(b"PK\6\7", 0, place, 1), 0)
        shown, length, at = min(count, _MAX16), min(len(directory), _MAX32), min(start, _MAX32)
        self._put(_END.pack(b"PK\5\6", 0, 0, shown, shown, length, at, 0), 0)
