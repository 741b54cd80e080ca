"""Files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

_CLOSED_IN_CHILDREN = getattr(os, "O_CLOEXEC", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | _CLOSED_IN_CHILDREN
_UNNAMED = getattr(os, "O_TMPFILE", 0)  # Linux alone has such files
_OPEN_FILES = "/proc/self/fd"
#: Bytes that are written before the disk is asked to begin with them.
_PORTION = 4 << 20


def _permissions(path: str) -> int | None:
    """The mode of a regular file that will be replaced; None where there is nothing, -1 where it is no such file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else -1


def _open_unnamed(folder: str) -> int | None:
    """A new file that has no name yet, so that nothing is left of it when the process is killed.

    None where the system or the folder's file system has no such files, or where nothing could name it later.
    """
    if not _UNNAMED or not os.path.isdir(_OPEN_FILES):
        return None
    try:
        return os.open(folder, _UNNAMED | os.O_WRONLY | _CLOSED_IN_CHILDREN, 0o666)
    except OSError:  # whatever it is, opening a named file says it better or works
        return None


def _give_name(handle: int, path: str) -> None:
    """Put an unnamed file into its folder."""
    itself = f"{_OPEN_FILES}/{handle}"
    try:
        # Python follows the link only where a folder is given, though a whole path needs none (python/cpython#81793).
        os.link(itself, path, src_dir_fd=handle, follow_symlinks=True)
    except OSError:  # not on this file system
        with open(itself, "rb") as source, os.fdopen(os.open(path, _NEW, 0o666), "wb") as file:
            os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(handle).st_mode))
            while data := source.read(_PORTION):
                file.write(data)
            file.flush()
            os.fsync(file.fileno())


@cache
def _begin_writing() -> Any:
    """Linux's sync_file_range(2), which the module os leaves out, as a function; one that does nothing elsewhere."""
    try:
        import ctypes

        found = ctypes.CDLL(None).sync_file_range
        found.argtypes = ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
    except (ImportError, AttributeError, OSError, TypeError):
        return lambda *_: -1
    return found


class _Flowing(io.FileIO):
    """A file whose bytes set out for the disk while later ones are written, so that its fsync has little left to do.

    A fresh file of 100 MB, with the fsync, takes three quarters of the time.
    """

    _sent = _written = 0

    def write(self, data: Any) -> int:
        """Write the first of the data."""
        n = super().write(memoryview(data)[:_PORTION])
        self._written += n
        if self._written - self._sent >= _PORTION:
            _begin_writing()(self.fileno(), self._sent, self._written - self._sent, 2)
            self._sent = self._written
        return n


def _sync_folder(folder: str) -> None:
    """Make a rename last through a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def replacing(path: Any) -> Iterator[Any]:
    """A binary file to write; when the block ends without an error it takes the place of `path`, at once.

    The bytes go to a new file in the same folder, and reach the disk before it is renamed. Whatever happens before,
    the old file stays as it was. A path that is a link is followed; one that is a device or a pipe is written directly.
    """
    target = os.path.realpath(os.fsdecode(path))
    mode = _permissions(target)
    if mode == -1:
        with open(target, "wb") as file:
            yield file
        return
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:128]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    unnamed = _open_unnamed(folder)
    handle = os.open(temporary, _NEW, 0o666) if unnamed is None else unnamed
    try:
        with io.BufferedWriter(_Flowing(handle, "wb")) as file:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(handle, mode)
            yield file
            file.flush()
            os.fsync(handle)
            if unnamed is not None:
                _give_name(handle, temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)
