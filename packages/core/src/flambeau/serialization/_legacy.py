"""The files of PyTorch before 1.6: pickles one after another, then the bytes of the storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.errors import CheckpointError, UnsafeCheckpointError
from flambeau.serialization._check import check_result
from flambeau.serialization._source import Bytes, Source
from flambeau.serialization._tensors import Rebuilder, Storage, StorageType
from flambeau.serialization._unpickle import (
    ANYTHING,
    FREE,
    Interpreter,
    Pending,
    short,
)

#: The pickle of the number 0x1950a86a20f9469cfc6c.
START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

Key = tuple[StorageType, str, str, int]


def storage_id(pid: Any) -> Key:
    """The parts of a storage's name.

    Raises: CheckpointError: it is no such name.
    """
    if (
        not isinstance(pid, tuple)
        or len(pid) not in (5, 6)
        or pid[0] not in ("storage", b"storage")
    ):
        raise CheckpointError(f"load: an unknown reference {short(pid)}")
    _, kind, key, location, numel = pid[:5]
    if len(pid) == 6 and pid[5] is not None:
        raise CheckpointError("load: views of storages, as PyTorch 0.1 wrote them, cannot be read")
    if (
        not isinstance(kind, StorageType)
        or type(key) is not str
        or type(location) is not str
        or type(numel) is not int
        or numel < 0
    ):
        raise CheckpointError(f"load: a storage is described by {short(pid[2:])}")
    return kind, key, location, numel


def _refuse(pid: Any) -> Any:
    raise CheckpointError("load: a storage where none can be")


def load_legacy(
    source: Source,
    rebuilder: Rebuilder,
    encoding: str,
    run: Callable[[bytes, int, Any], Any] | None = None,
) -> Any:
    """The object of a legacy file. run(data, at, persistent_load): reads its pickle, where code may run.

    The pickle comes before the bytes it refers to, so it is read twice: once for the storages, once for the object.
    Raises: CheckpointError: the file is damaged or not such a file.
    """
    data = source.bytes_at(0, source.size)
    room = FREE + 10 * len(data)

    def plain(at: int) -> tuple[Any, int]:
        reader = Interpreter(data, rebuilder.find, _refuse, at, room, encoding)
        return reader.run(), reader.at

    version, at = plain(len(START))
    if type(version) is not int or version != 1001:
        raise CheckpointError(
            f"load: unknown version {short(version)} of the layout before PyTorch 1.6"
        )
    system, at = plain(at)
    swapped = type(system) is dict and system.get("little_endian") is False

    found: dict[str, Key] = {}

    scan = Interpreter(
        data,
        lambda m, n: _scanned(rebuilder, m, n),
        lambda pid: _noted(found, pid),
        at,
        room,
        encoding,
    )
    scan.run()
    keys, end = plain(scan.at)
    blocks, end = _blocks(data, end, keys, found)

    def storage(pid: Any) -> Any:
        if run is not None and isinstance(pid, tuple) and pid[:1] == ("module",):
            return pid[1]
        key = storage_id(pid)[1]
        if key not in storages:
            raise CheckpointError(f"load: storage {key!r} is missing")
        return storages[key]

    storages = {
        key: Storage(kind.dtype, numel, location, _Taken(blocks, key), swapped)
        for key, (kind, _, location, numel) in found.items()
    }
    if run is not None:
        value = run(data, at, storage)
    else:
        value = Interpreter(data, rebuilder.find, storage, at, room, encoding).run()
        check_result(value)
    source.leave_at(end)  # where the next object of the file starts
    return value


def _noted(found: dict[str, Key], pid: Any) -> Any:
    """Remember a storage."""
    if isinstance(pid, tuple) and pid[:1] == ("module",) and len(pid) > 1:
        return pid[1]
    parts = storage_id(pid)
    known = found.setdefault(parts[1], parts)
    if known is not parts and (known[0].dtype, known[3]) != (parts[0].dtype, parts[3]):
        raise CheckpointError(f"load: two descriptions of storage {parts[1]!r}")
    return Pending()


def _scanned(rebuilder: Rebuilder, module: str, name: str) -> Any:
    """What a global stands for while only storages are looked for: everything else is a placeholder."""
    if module.split(".")[0] == "torch":
        try:
            found = rebuilder.find(module, name)
        except UnsafeCheckpointError:
            return ANYTHING
        return found if isinstance(found, StorageType) else ANYTHING
    return ANYTHING


class _Taken:
    """Reads one block of the file, copied: tensors may be written to, and need not keep the whole file."""

    def __init__(self, blocks: dict[str, memoryview], key: str) -> None:
        self._blocks, self._key = blocks, key

    def __call__(self, n: int) -> Bytes:
        block = self._blocks.get(self._key)
        if block is None or len(block) != n:
            raise CheckpointError(f"load: the bytes of storage {self._key!r} are missing")
        return np.frombuffer(bytearray(block), np.uint8)


def _blocks(
    data: bytes, at: int, keys: Any, found: dict[str, Key]
) -> tuple[dict[str, memoryview], int]:
    """Where the bytes of every storage are, each announced by its element count; and where they end."""
    if (
        type(keys) is not list
        or not all(type(key) is str for key in keys)
        or len(set(keys)) != len(keys)
    ):
        raise CheckpointError("load: the list of storages is damaged")
    view, blocks = memoryview(data), {}
    for key in keys:
        if key not in found:
            raise CheckpointError(f"load: a storage {short(key)} that nothing refers to")
        kind, _, _, numel = found[key]
        announced = int.from_bytes(data[at : at + 8], "little")
        n = numel * (kind.dtype.itemsize if kind.dtype else 1)
        if announced != numel or at + 8 + n > len(data):
            raise CheckpointError(
                f"load: storage {key!r} should have {numel} elements, the file has {announced}, and "
                f"{max(0, len(data) - at - 8)} bytes are left. Hint: it may have been cut off in a download"
            )
        blocks[key] = view[at + 8 : at + 8 + n]
        at += 8 + n
    return blocks, at
