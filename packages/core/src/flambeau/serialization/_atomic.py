"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_NEW = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
)


def _permissions(path: str) -> int | None:
    """The mode of a regular file that will be replaced; None where there is nothing, -1 where it is no such file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else -1


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
    target = os.path.realpath(os.fspath(path))
    mode = _permissions(target)
    if mode == -1:
        with open(target, "wb") as file:
            yield file
        return
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:128]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    file = os.fdopen(os.open(temporary, _NEW, 0o666), "wb")
    try:
        with file:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)
