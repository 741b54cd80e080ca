"""Where checkpoints come from and go to: devices, threads, processes, disks, and files that are none."""

import io
import os
import subprocess
import sys
import threading
import warnings
import zipfile

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import ArgumentError, BackendNotFoundError, CheckpointError
from flambeau.serialization import _zip


def saved(obj, **kwargs):
    f = io.BytesIO()
    fb.save(obj, f, **kwargs)
    f.seek(0)
    return f


def round_trip(obj, **kwargs):
    return fb.load(saved(obj, **kwargs))


def rewritten(f, change):
    """An archive whose entries went through change(name, bytes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(f) as z, zipfile.ZipFile(out, "w") as new:
        for n in z.namelist():
            new.writestr(n, change(n, z.read(n)))
    out.seek(0)
    return out


# ---- devices
def test_errors_of_the_caller_are_not_the_files():
    def wrong(storage, location):
        raise KeyError(location)

    with pytest.raises(KeyError, match="cpu"):
        fb.load(saved(fb.ones(1)), map_location=wrong)
    with pytest.raises(BackendNotFoundError, match="no installed package provides device 'nope'"):
        fb.load(saved(fb.ones(1)), map_location="nope")
    with pytest.raises(ArgumentError, match=r"device: needs a name .* got 3\.5"):
        fb.load(saved(fb.ones(1)), map_location=lambda storage, location: 3.5)


def test_a_missing_device_has_one_hint():
    f = rewritten(saved(fb.ones(1)), lambda n, data: data.replace(b"\3\0\0\0cpu", b"\5\0\0\0hpu:7"))
    with pytest.raises(CheckpointError, match=r"'hpu:7', which is not here") as caught:
        fb.load(f)
    assert str(caught.value).count("Hint: ") == 1


def test_the_meta_device_reads_no_bytes():
    f = saved({"w": fb.ones(3), "v": fb.ones(3, dtype=fb.int8)[1:]})
    broken = rewritten(f, lambda n, data: data)
    at = broken.getvalue().index(np.ones(3, np.float32).tobytes())
    broken = broken.getvalue()[:at] + b"\0" * 12 + broken.getvalue()[at + 12 :]
    found = fb.load(io.BytesIO(broken), map_location="meta")
    assert found["w"].is_meta and found["v"].storage_offset() == 1


# ---- writing while the world moves
def test_tensors_that_change_while_they_are_saved():
    w, stop = fb.zeros(300_000), threading.Event()

    def train():
        while not stop.is_set():
            w.add_(1)

    other = threading.Thread(target=train)
    other.start()
    try:
        for _ in range(10):
            assert fb.load(saved({"w": w, "b": w[:10].clone()}))["w"].shape == (300_000,)
    finally:
        stop.set()
        other.join()


def test_many_threads(tmp_path):
    errors = []

    def work(i):
        try:
            for k in range(5):
                path = tmp_path / ("shared.pt" if k % 2 else f"{i}.pt")
                fb.save({"i": i, "w": fb.full((100_000,), float(i))}, path)
                found = fb.load(path, mmap=k % 3 == 0)
                assert bool((found["w"] == found["i"]).all())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


AT_EXIT = """
import atexit, sys
import flambeau as fb

w = fb.ones(200_000)

@atexit.register
def last():
    fb.save({"w": w}, sys.argv[1])
    print(fb.load(sys.argv[1])["w"].sum().item())
"""


def test_a_checkpoint_at_exit(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(tmp_path / "x.pt")], capture_output=True, text=True
    )
    assert done.stdout == "200000.0\n" and not done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_mapped_file_after_a_fork(tmp_path):
    fb.save(fb.arange(1000.0), tmp_path / "x.pt")
    found = fb.load(tmp_path / "x.pt", mmap=True)
    with warnings.catch_warnings():  # other tests may have left threads
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        found.add_(1)
        os._exit(0 if float(found[0]) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert float(found[0]) == 0 and float(fb.load(tmp_path / "x.pt")[0]) == 0


@pytest.mark.parametrize("large", [0, 500, 4000])
def test_zip64(large, monkeypatch):
    monkeypatch.setattr(_zip, "_LARGE", large)
    f = saved({"w": fb.arange(1000.0), "e": fb.empty(0), "b": fb.ones(3)})
    with zipfile.ZipFile(f) as z:
        assert z.testzip() is None and len(z.namelist()) == 8
        assert all(i.flag_bits == 0x808 for i in z.infolist())
    f.seek(0)
    found = fb.load(f)
    assert found["w"].sum() == 499500 and found["b"].tolist() == [1, 1, 1]


# ---- mistakes
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files here")
def test_no_file_stays_open(tmp_path):
    good = saved({"w": fb.ones(100)}).getvalue()
    path = tmp_path / "x.pt"
    before = len(os.listdir("/proc/self/fd"))
    for data in (b"", b"x", good[:-1], good[:200] + b"!!!!" + good[204:], good):
        path.write_bytes(data)
        for kwargs in ({}, {"mmap": True}, {"map_location": "nope"}):
            try:
                fb.load(path, **kwargs)
            except (CheckpointError, BackendNotFoundError):
                continue
    with pytest.raises(CheckpointError):
        fb.save(lambda: 1, path)
    assert len(os.listdir("/proc/self/fd")) == before
    assert fb.load(path)["w"].shape == (100,) and os.listdir(tmp_path) == ["x.pt"]


def test_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "x.pt"
    fb.save("old", path)
    with pytest.raises(
        FileNotFoundError, match=r"save: the folder does not exist\. Hint: os\.makedirs\(folder\)"
    ) as caught:
        fb.save(1, tmp_path / "no" / "x.pt")
    assert caught.value.filename == str(tmp_path / "no")
    with pytest.raises(IsADirectoryError if os.name == "posix" else OSError):
        fb.load(tmp_path)
    with path.open("rb") as f, pytest.raises(ArgumentError, match="save: f is not open for wri"):
        fb.save(1, f)
    with pytest.raises(ArgumentError, match=r"save: f is closed\. Hint: save inside the with"):
        fb.save(1, f)
    with pytest.raises(ArgumentError, match=r"load: f is closed\. Hint: load inside the with"):
        fb.load(f)
    with (
        (tmp_path / "w").open("wb") as f,
        pytest.raises(ArgumentError, match=r"load: f is not open for reading\. Hint: open\("),
    ):
        fb.load(f)
    with (
        (tmp_path / "w").open("w") as f,
        pytest.raises(ArgumentError, match=r"got TextIOWrapper\. Hint: open\(path, 'wb'\)"),
    ):
        fb.save(1, f)
    with pytest.raises(ArgumentError, match=r"got dict\. Hint: save\(obj, path\)"):
        fb.save(path, {"w": 1})
    with pytest.raises(CheckpointError, match="save: cannot pickle 'generator' object"):
        fb.save((i for i in range(3)), path)
    assert fb.load(path) == "old"


@pytest.mark.skipif(os.name != "posix", reason="pipes are other things here")
def test_streams_that_cannot_seek():
    get, put = os.pipe()
    os.write(put, saved(1).getvalue())
    os.close(put)
    with (
        os.fdopen(get, "rb") as f,
        pytest.raises(ArgumentError, match=r"cannot go back to bytes.*Hint: load\(io\.BytesIO\("),
    ):
        fb.load(f)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_a_full_disk():
    with pytest.raises(OSError, match="No space left"):
        fb.save(fb.ones(3), "/dev/full")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x93NUMPY\1\0", r"a NumPy array\. Hint: flambeau\.from_numpy\(numpy\.load\(path\)\)"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes"),
        (b"GGUF\0\0", "a GGUF file"),
        (b"\x1f\x8b\x08\0", r"a file packed by gzip\. Hint: unpack it first"),
        (b"BZh91", "a file packed by bzip2"),
        (b"7z\xbc\xaf'\x1c", "a file packed by 7z"),
        (b'{"a": 1}', r"this looks like JSON\. Hint: safetensors\.load_sharded"),
        (b"hello there", "not a checkpoint: it starts with b'hello th'"),
    ],
)
def test_other_files(data, message):
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(data))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.npy", "b.npy"], r"Hint: it holds NumPy arrays, numpy\.load\(path\) reads them"),
        (["config.json", "model.weights.h5"], "Hint: it is a Keras model"),
        (["x/model.pth"], r"Hint: unzip it first and load 'x/model\.pth'"),
        (["outer/archive/data.pkl"], "'outer/archive/data.pkl' lies deeper; zip the folder"),
        (["b.txt", "a.txt"], r"Hint: it holds 'a\.txt', 'b\.txt'"),
        ([], "Hint: it holds nothing"),
    ],
)
def test_other_archives(names, message):
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w") as z:
        for name in names:
            z.writestr(name, b"x")
    if not names:
        f = io.BytesIO(saved(1).getvalue()[:64] + f.getvalue())
    f.seek(0)
    with pytest.raises(CheckpointError, match=message):
        fb.load(f)
