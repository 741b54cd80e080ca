"""Files that appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau import _atomic

KILLS = int(os.environ.get("FLAMBEAU_KILLS", "200"))
SEED = int(os.environ.get("FLAMBEAU_KILLS_SEED", "20260101"))
SCRIPT = Path(__file__).with_name("killed_saves.py")


@pytest.mark.parametrize(
    ("kind", "kills"),
    [("save", KILLS), ("safetensors", KILLS // 4), ("save to a named file", KILLS // 4)],
)
def test_killed_saves_leave_the_old_file_or_the_new_one(kind, kills, tmp_path):
    words = [sys.executable, SCRIPT, kind, str(kills), str(SEED), tmp_path]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # it forks
    ran = subprocess.run(
        words, env=os.environ | threads, capture_output=True, text=True, timeout=600, check=False
    )
    print(ran.stdout, end="")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def refuse(code):
    """An os.open that has no unnamed files."""
    real, unnamed = os.open, _atomic._UNNAMED

    def open_(path, flags, *args, **kwargs):
        if unnamed and flags & unnamed == unnamed:
            raise OSError(code, os.strerror(code), path)
        return real(path, flags, *args, **kwargs)

    return open_


def no_link(*args, **kwargs):
    raise OSError(errno.EPERM, "Operation not permitted")


def without(what, monkeypatch):
    """Take away what a system or file system may lack."""
    if what == "unnamed files of the system":
        monkeypatch.setattr(_atomic, "_UNNAMED", 0)
    elif what == "a list of open files":
        monkeypatch.setattr(_atomic, "_OPEN_FILES", "/nowhere")
    elif what == "links":
        monkeypatch.setattr(_atomic.os, "link", no_link)
    elif isinstance(what, int):
        monkeypatch.setattr(_atomic.os, "open", refuse(what))


NOT_HERE = [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT]


@pytest.mark.parametrize(
    "what",
    ["nothing", "unnamed files of the system", "a list of open files", "links", *NOT_HERE],
)
def test_wherever_something_is_missing_files_are_replaced(what, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    without(what, monkeypatch)
    with pytest.raises(TypeError), _atomic.replacing(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    with _atomic.replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        named = [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
        assert bool(named) is (what not in ("nothing", "links") or not _atomic._UNNAMED)
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    with _atomic.replacing(os.fsencode(tmp_path / "other")) as file:
        file.write(b"first")
    assert (tmp_path / "other").read_bytes() == b"first"
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


@pytest.mark.parametrize("what", ["links", "unnamed files of the system"])
def test_a_disk_that_is_full_in_the_end(what, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    without(what, monkeypatch)
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == (2 if what == "links" and _atomic._UNNAMED else 1):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(_atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), _atomic.replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError), _atomic.replacing(tmp_path / "no" / "file"):
        pass


@pytest.mark.parametrize("begins", [True, False])
def test_long_files_set_out_early(begins, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(_atomic, "_PORTION", 1000)
    if not begins:
        monkeypatch.setattr("ctypes.CDLL", no_link)
    _atomic._begin_writing.cache_clear()
    begin = _atomic._begin_writing()
    monkeypatch.setattr(
        _atomic, "_begin_writing", lambda: lambda *args: sent.append((args[1:], begin(*args)))
    )
    parts = [bytes([k]) * n for k, n in enumerate((10, 999, 1000, 1001, 100_000, 3))]
    with _atomic.replacing(tmp_path / "file") as file:
        for part in parts:
            file.write(part)
    whole = b"".join(parts)
    assert (tmp_path / "file").read_bytes() == whole
    at = 0
    for (start, n, flags), result in sent:
        assert start == at and n >= 1000 and flags == 2
        assert result == (0 if begins and sys.platform == "linux" else -1)
        at += n
    assert len(whole) - 8192 - 1000 <= at <= len(whole)
    monkeypatch.undo()
    _atomic._begin_writing.cache_clear()
