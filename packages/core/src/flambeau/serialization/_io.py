"""save and load."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from typing import Any

from flambeau._atomic import replacing
from flambeau.errors import ArgumentError, CheckpointError, UnsafeCheckpointError
from flambeau.serialization._check import check_result
from flambeau.serialization._files import check_folder, other_archive, other_file
from flambeau.serialization._legacy import START, load_legacy, storage_id
from flambeau.serialization._pickle import dump
from flambeau.serialization._source import Bytes, Source
from flambeau.serialization._tensors import Rebuilder, Storage
from flambeau.serialization._unpickle import ANYTHING, FREE, Interpreter, Pending
from flambeau.serialization._unsafe import load_unsafe
from flambeau.serialization._zip import ALIGNMENT, ZipReader, ZipWriter


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write an object to a file that `load`, and PyTorch's `torch.load`, read.

    Tensors keep their dtype, strides and device, and those that share memory share it in the file. A file given by
    path is replaced at once, when the new bytes are on the disk: a save that fails or is killed leaves the old one.

    Args: obj: numbers, text, tensors, and lists, dicts ... of them; other objects are pickled by the name of their
        class, and only `load(..., unsafe=True)` reads them.
        f: a path, or a binary file open for writing.  pickle_protocol: 2 is what PyTorch reads by default.
    Raises: CheckpointError: obj cannot be written.  ArgumentError: f cannot be written to.  OSError: the disk refuses.

    Example:
        >>> import flambeau as fb, io
        >>> f = io.BytesIO(); fb.save({"epoch": 3, "w": fb.ones(2)}, f)
        >>> _ = f.seek(0); fb.load(f)
        {'epoch': 3, 'w': tensor([1., 1.])}
    """
    if pickle_module is not None and pickle_module is not pickle:
        raise ArgumentError(
            f"save: pickle_module must be Python's pickle, got {pickle_module!r}. Hint: leave it out"
        )
    if type(pickle_protocol) is not int or not 2 <= pickle_protocol <= 5:
        raise ArgumentError(f"save: pickle_protocol must be 2 to 5, got {pickle_protocol!r}")
    if not _use_new_zipfile_serialization:
        raise ArgumentError("save: the layout of PyTorch before 1.6 can be read and not written")
    if isinstance(f, str | os.PathLike):
        check_folder("save", f)
        with replacing(f) as file:
            _write(obj, file, pickle_protocol)
        return
    if not hasattr(f, "write") or isinstance(f, io.TextIOBase):
        hint = ". Hint: open(path, 'wb')" if hasattr(f, "write") else ""
        hint = ". Hint: save(obj, path)" if isinstance(obj, str | os.PathLike) else hint
        raise ArgumentError(
            f"save: f must be a path or a file open for writing bytes, got {type(f).__name__}{hint}"
        )
    if getattr(f, "closed", False) is True:
        raise ArgumentError("save: f is closed. Hint: save inside the with block")
    if isinstance(f, io.IOBase) and not f.writable():
        raise ArgumentError("save: f is not open for writing. Hint: open(path, 'wb')")
    _write(obj, f, pickle_protocol)


def _write(obj: Any, file: Any, protocol: int) -> None:
    stream = io.BytesIO()
    blocks = dump(obj, stream, protocol)
    archive = ZipWriter(file.write, "archive")
    archive.add_all(
        [
            ("data.pkl", stream.getbuffer()),
            (".format_version", b"1"),
            (".storage_alignment", str(ALIGNMENT).encode()),
            ("byteorder", b"little"),
            *((f"data/{block.key}", block.data) for block in blocks),
            ("version", b"3\n"),
        ]
    )
    archive.close()


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = False,
    unsafe: bool = False,
    verify: bool = True,
    encoding: str = "utf-8",
) -> Any:
    """Read what `save` or PyTorch's `torch.save` wrote, without running any code of the file's.

    Tensors, numbers, text, dates, paths, NumPy arrays, `argparse.Namespace`, and containers of them are read; other
    classes after `flambeau.serialization.add_safe_globals`.

    Args: f: a path, or a binary file open for reading.
        map_location: where tensors go: a device, a dict from old to new device names, or a function of (storage,
            location); None: where they were.
        weights_only: accepted for PyTorch's sake; False does not make anything unsafe.
        mmap: leave tensors in the file until they are used (paths and zip files only; checksums are not compared).
        unsafe: read pickled objects of any class. This runs code of the file's choosing: only for files you trust.
        verify: compare checksums.  encoding: of text that Python 2 wrote.
    Raises: CheckpointError: the file is damaged, or has tensors of a device that is not here.
        UnsafeCheckpointError: it needs code to be run; the message names it.  OSError: the file cannot be opened.
        ArgumentError: f is closed, open for writing or as text, or cannot seek.
    """
    if pickle_module is not None and pickle_module is not pickle:
        raise ArgumentError(
            f"load: pickle_module must be Python's pickle, got {pickle_module!r}. Hint: leave it out"
        )
    rebuilder = Rebuilder(map_location)
    with Source(f, bool(mmap)) as source:
        head = source.bytes_at(0, min(source.size, 512))
        if head[:4] == b"PK\3\4":
            return _load_zip(source, rebuilder, unsafe, verify, encoding)
        if head.startswith(START):
            return load_legacy(
                source, rebuilder, encoding, _runner(rebuilder, encoding) if unsafe else None
            )
        raise CheckpointError(f"load: {other_file(head, source.size)}")


def _runner(rebuilder: Rebuilder, encoding: str) -> Callable[[bytes, int, Any], Any]:
    return lambda data, at, storage: load_unsafe(data, at, rebuilder, storage, encoding)


def _load_zip(
    source: Source, rebuilder: Rebuilder, unsafe: bool, verify: bool, encoding: str
) -> Any:
    with ZipReader(source, verify) as archive:
        folder = _folder(archive)
        code = archive.read(f"{folder}/data.pkl").tobytes()
        archive.finish()
        storage = _Storages(archive, folder)
        if unsafe:
            value = load_unsafe(code, 0, rebuilder, storage, encoding)
        else:
            room = FREE + 10 * source.size
            value = Interpreter(code, rebuilder.find, storage, 0, room, encoding).run()
            check_result(value)
        archive.finish()
        return value


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The classes and functions that a checkpoint needs beyond what `load` knows to be harmless, as "module.name".

    Args: f: a path, or a binary file open for reading.
    Raises: CheckpointError: the file is damaged, or older than PyTorch 1.6.
    """
    rebuilder, found = Rebuilder("meta"), []

    def note(module: str, name: str) -> Any:
        try:
            rebuilder.find(module, name)
        except UnsafeCheckpointError:
            found.append(f"{module}.{name}")
        return ANYTHING

    with Source(f) as source:
        head = source.bytes_at(0, min(source.size, 512))
        if head[:4] != b"PK\3\4":
            raise CheckpointError(
                f"get_unsafe_globals_in_checkpoint: needs a zip archive; {other_file(head, source.size)}"
            )
        with ZipReader(source) as archive:
            code = archive.read(f"{_folder(archive)}/data.pkl").tobytes()
    Interpreter(code, note, lambda pid: Pending(), 0, FREE + 10 * len(code)).run()
    return found


class _Storages:
    """The storages of an archive by the names its pickle gives them."""

    def __init__(self, archive: ZipReader, folder: str) -> None:
        self._archive, self._folder = archive, folder
        self._found: dict[str, Storage] = {}
        self._swapped = False
        if f"{folder}/byteorder" in archive.entries:
            order = archive.read(f"{folder}/byteorder").tobytes()
            if order not in (b"little", b"big"):
                raise CheckpointError(f"load: unknown byte order {order[:20]!r}")
            self._swapped = order == b"big"

    def __call__(self, pid: Any) -> Storage:
        kind, key, location, numel = storage_id(pid)
        found = self._found.get(key)
        if found is None:
            entry = _Entry(self._archive, f"{self._folder}/data/{key}")
            found = Storage(kind.dtype, numel, location, entry, self._swapped)
            self._found[key] = found
        elif (found.dtype, found.numel) != (kind.dtype, numel):
            raise CheckpointError(f"load: two descriptions of storage {key!r}")
        return found


def _folder(archive: ZipReader) -> str:
    """The one folder that everything is in."""
    found = [n[: -len("/data.pkl")] for n in archive.entries if n.endswith("/data.pkl")]
    found = [n for n in found if "/" not in n]
    if len(found) != 1:
        raise CheckpointError(
            f"load: a zip archive with {len(found)} entries '*/data.pkl', where a checkpoint has one"
            f"{other_archive(list(archive.entries)) if not found else ''}"
        )
    if f"{found[0]}/constants.pkl" in archive.entries:
        raise CheckpointError(
            "load: a TorchScript program, which needs PyTorch to run. Hint: save the state_dict() of the model"
        )
    return found[0]


class _Entry:
    """Reads the bytes of one storage."""

    def __init__(self, archive: ZipReader, name: str) -> None:
        self._archive, self._name = archive, name

    def __call__(self, n: int) -> Bytes:
        entry = self._archive.entries.get(self._name)
        if entry is None:
            raise CheckpointError(f"load: the bytes of storage {self._name!r} are missing")
        if entry.size != n:
            raise CheckpointError(
                f"load: storage {self._name!r} should have {n} bytes and has {entry.size}"
            )
        return self._archive.read(self._name)
