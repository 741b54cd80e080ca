"""The readers meet damaged and hostile files: a clear error, soon, in bounded memory, and no code of the file's."""

import io
import json
import os
import pickle
import random
import struct
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import CheckpointError, FlambeauError, UnsafeCheckpointError
from flambeau.serialization import safetensors
from flambeau.serialization._legacy import START
from flambeau.serialization._zip import ZipWriter

#: Mutated files in a run; set the variable for a longer one.
FILES = int(os.environ.get("FLAMBEAU_FUZZ_FILES", "3000"))
SEED = int(os.environ.get("FLAMBEAU_FUZZ_SEED", "20260101"))
SLOWEST, MOST_MEMORY = 1.0, 10  # seconds; times the file's size
#: A smaller file counts as this large where memory is compared with it.
FLOOR = 2 << 20


def saved(obj):
    f = io.BytesIO()
    fb.save(obj, f)
    return f.getvalue()


def checkpoint():
    w = fb.arange(12.0).reshape(3, 4)
    return {
        "model": {
            "w": w,
            "row": w[1],
            "t": w.t(),
            "n": fb.tensor(3),
            "b": fb.zeros(4, dtype=fb.bool),
        },
        "opt": {
            "state": {0: {"step": 1.5, "m": fb.ones(2, dtype=fb.float64)}},
            "groups": [{"lr": 0.1}],
        },
        "plain": [1, -2, 2**70, "text", b"bytes", None, True, 1 + 2j, (1, (2, 3)), {1, 2}],
        "types": [fb.float16, fb.device("cpu"), fb.Size([2, 3])],
        "array": np.arange(3),
    }


def archive(code, blocks=(), folder="archive"):
    f = io.BytesIO()
    writer = ZipWriter(f.write, folder)
    writer.add_all(
        [("data.pkl", code), *((f"data/{k}", v) for k, v in blocks), ("version", b"3\n")]
    )
    writer.close()
    return f.getvalue()


def legacy():
    """As PyTorch 1.5 wrote {"a": ones(2)[1:]}."""
    system = (
        b"\x80\x02}q\0(X\x10\0\0\0protocol_versionq\x01M\xe9\x03X\r\0\0\0little_endianq\x02\x88u."
    )
    body = (
        b"\x80\x02}q\0X\1\0\0\0aq\1ctorch._utils\n_rebuild_tensor_v2\nq\2((X\7\0\0\0storageq\3ctorch\nFloatStorage\nq\4"
        b"X\2\0\0\x0077q\5X\3\0\0\0cpuq\6K\2NtQK\1K\1\x85K\1\x85\x89ccollections\nOrderedDict\n)RtRs."
    )
    data = (2).to_bytes(8, "little") + struct.pack("<2f", 1, 1)
    return START + b"\x80\x02M\xe9\x03." + system + body + b"\x80\x02]X\2\0\0\x0077a." + data


#: Pieces of paths, of records, of code, and of what nests.
PIECES = (
    b"../", b"..\\", b"/etc/passwd", b"C:", b"\0", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"\xff" * 4,
    b"\xff" * 8, b"cos\nsystem\n", b"cbuiltins\neval\n", b"X\4\0\0\0evalR", b"]q\0h\0a", b"}q\0h\0h\0s",
    b")\x85q\0h\0\x85", b"\x80\5", b"\x95", b"NaN", b"1e999", b"-1", b'"a":', b"[[", b'{"w":',
    b'"data_offsets":[0,99999999999999]', b'"shape":[1073741824,1073741824]',
)  # fmt: skip


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        n = len(data)
        at = rng.randrange(n) if n else 0
        if (
            rng.randrange(4) == 0 and n > 600
        ):  # where most numbers are that say how large something is
            at = rng.choice((rng.randrange(100), n - 1 - rng.randrange(500)))
        kind = rng.randrange(8)
        if kind == 0 and n:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and n:
            data[at] = rng.choice(b"\x00\x01\x7f\x80\xff()].}tRbQcqhe\x85\x93\x81\x8a\x8b")
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3:
            del data[at : at + rng.randrange(1, 9)]
        elif kind == 4 and n > 8:
            width = rng.choice((2, 4, 8))
            value = rng.choice((0, 1, 2**15, 2**31, 2**63 - 1, 2**32 - 1, rng.getrandbits(62)))
            data[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
        elif kind == 5:
            piece = rng.choice(PIECES)
            data[at : at + rng.choice((0, len(piece)))] = piece
        elif kind == 6 and rng.randrange(8) == 0:
            times = rng.choice((3, 100, 600, 20_000))
            data[at:at] = data[at : at + rng.choice((1, 1, 2, 4, 8))] * times
        elif n:
            a, b = rng.randrange(n), rng.randrange(n)
            data[at:at] = data[min(a, b) : min(max(a, b), min(a, b) + 40)]
    if rng.randrange(8) == 0:
        del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


def sharded(folder):
    """The index of a model in two files, and how a mutation of it is read."""
    index = folder / "model.safetensors.index.json"
    safetensors.save_file({"a": fb.ones(2)}, folder / "1.safetensors")
    safetensors.save_file({"b": fb.zeros(3)}, folder / "2.safetensors")
    places = {"a": "1.safetensors", "b": "2.safetensors"}
    text = json.dumps({"metadata": {"total_size": 20}, "weight_map": places}).encode()

    def read(data):
        index.write_bytes(data)
        FOLDERS[:] = [str(folder)]
        try:
            safetensors.load_sharded(index)
        except OSError as error:  # of this folder, and not there or too long
            raise CheckpointError(str(error)) from None
        finally:
            FOLDERS.clear()

    return text, read


def bomb(size=64 << 20):
    """A deflated checkpoint that would unpack to a thousand times its size."""
    numel = b"J" + (size // 4).to_bytes(4, "little")
    code = tensor_code(numel=numel, size=numel + b"\x85")
    return packed([("a/data.pkl", code), ("a/data/0", bytes(size)), ("a/version", b"3\n")])


def sources(folder):
    """name -> (bytes, how a mutation of them becomes a file, how that is read)"""
    whole = saved(checkpoint())
    with zipfile.ZipFile(io.BytesIO(whole)) as z:
        entries = [(n, z.read(n)) for n in z.namelist()]
    code = dict(entries)["archive/data.pkl"]
    blocks = [(n.rsplit("/", 1)[1], data) for n, data in entries if "/data/" in n]
    tensors = safetensors.save({"w": fb.ones(2, 3), "b": fb.arange(3)}, {"made": "here"})
    index, read_index = sharded(folder)

    def same(data):
        return data

    def read(data):
        return fb.load(io.BytesIO(data))

    return {
        "zip": (whole, same, read),
        "zip, verify=False": (whole, same, lambda d: fb.load(io.BytesIO(d), verify=False)),
        "pickle in a zip": (code, lambda d: archive(d, blocks), read),
        "deflated zip": (packed(entries), same, read),
        "zip bomb": (bomb(), same, read),
        "legacy": (legacy(), same, read),
        "safetensors": (tensors, same, safetensors.load),
        "sharded index": (index, same, read_index),
    }


EVENTS: list[str] = []
#: Where files may be opened, if anywhere in particular.
FOLDERS: list[str] = []
WATCHED = (
    "os.system",
    "subprocess.Popen",
    "exec",
    "os.exec",
    "os.spawn",
    "socket.connect",
    "os.remove",
    "shutil",
)


def watch(event, args):
    outside = event == "open" and FOLDERS and not str(args[0]).startswith(FOLDERS[0])
    if EVENTS and (outside or event.startswith(WATCHED)):
        EVENTS.append(f"{event} {args!r:.200}")


def read_once(read, file, measured):
    """(whether it could be read, seconds, peak of memory in bytes or 0)"""
    if measured:
        tracemalloc.start()
    start, words = time.perf_counter(), None
    try:
        read(file)
    except FlambeauError as error:
        words = str(error)
    taken = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1] if measured else 0
    tracemalloc.stop()
    assert words != "", "an error without words"
    return words is None, taken, peak


def test_mutated_files(tmp_path):
    found = sources(tmp_path)
    for data, make, read in found.values():
        with suppress(CheckpointError):  # a bomb is refused; what is imported at first use is there
            read(make(data))
        with pytest.raises(FlambeauError):
            read(b"")
    fb.load(io.BytesIO(saved(fb.zeros(1 << 17))))  # large enough for threads
    sys.addaudithook(watch)
    EVENTS[:] = ["on"]
    good, slowest, largest, names = Counter(), (0.0, ""), (0.0, ""), list(found)
    for i in range(FILES):
        name = names[i % len(names)]
        original, make, read = found[name]
        file = make(mutated(original, random.Random(f"{SEED} {i}")))
        label = f"number {i}, {name}, {len(file)} bytes"
        try:
            read_well, taken, peak = read_once(read, file, measured=i // len(names) % 2)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, {label}: {error!r}") from error
        if taken > SLOWEST / 4:  # because of the file, or was the machine busy?
            taken = min(taken, *(read_once(read, file, measured=False)[1] for _ in range(2)))
        good[name] += read_well
        slowest = max(slowest, (taken, label))
        largest = max(largest, (peak / max(len(file), FLOOR), label))
    events, EVENTS[:] = EVENTS[1:], []
    print(
        f"{FILES} mutated files, seed {SEED}; still read: {dict(good)}; slowest: {slowest[0]:.3f} s ({slowest[1]}); "
        f"most memory: {largest[0]:.2f} times the file ({largest[1]}), where files under {FLOOR >> 20} MiB count as "
        f"{FLOOR >> 20} MiB and every second one was measured"
    )
    assert not events
    assert slowest[0] < SLOWEST
    assert largest[0] < MOST_MEMORY


class Runs:
    def __reduce__(self):
        return os.system, ("echo this must not run > ran.txt",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_never_run(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in (pickle.dumps(Runs(), protocol), pickle.dumps({"a": [Runs()]}, protocol)):
        with pytest.raises(
            UnsafeCheckpointError,
            match=r"the checkpoint needs (posix|nt)\.system, .* Hint: .*unsafe=True",
        ):
            fb.load(io.BytesIO(archive(code)))
        with pytest.raises(UnsafeCheckpointError, match="system"):
            fb.load(io.BytesIO(START + b"\x80\x02M\xe9\x03.}." + code + b"]."))
    assert not os.path.exists("ran.txt")


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "builtins getattr",
        "builtins __import__",
        "flambeau load",
        "numpy fromfile",
        "torch load",
    ],
)
def test_globals_outside_the_list_are_refused_by_name(name):
    module, attribute = name.split()
    with pytest.raises(UnsafeCheckpointError, match=rf"needs {module}\.{attribute}"):
        fb.load(io.BytesIO(archive(f"\x80\x02c{module}\n{attribute}\n.".encode("latin1"))))


N = 300_000
HOSTILE = {
    "nested tuples": (b"\x80\x02)" + b"\x85" * N + b".", "tuples are nested more than 500 deep"),
    "nested tuples as a key": (b"\x80\x02})" + b"\x85" * N + b"Ns.", "tuples are nested more than 500 deep"),
    "nested lists": (b"\x80\x02" + b"]" * 3000 + b"a" * 2999 + b".", "values are nested more than 500 deep"),
    "marks": (b"\x80\x02" + b"(" * N, "values are nested more than 500 deep"),
    "many sets": (b"\x80\x04(" + b"\x8f" * N + b"t.", "far more memory than a file of its size"),
    "colliding keys": (
        b"\x80\x02}("
        + b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(1, 20_000))
        + b"u.",
        "too many keys of one container have the same hash",
    ),
    "a key that doubles": (
        b"\x80\x02})q\0000" + b"".join(b"h%ch%c\x86q%c0" % (k, k, k + 1) for k in range(60)) + b"h\x3cNs.",
        "a key holds more than 10000 values",
    ),
    "text that doubles": (
        b"\x80\x02ctorch\ndevice\n]q\0000"
        + b"".join(b"](h%ch%ceq%c0" % (k, k, k + 1) for k in range(60))
        + b"h\x3c\x85R.",
        "a device without a name",
    ),
    "itself as a key": (b"\x80\x02}q\0h\0Ns.", "unhashable type"),
    "a huge announced text": (b"\x80\x04\x8d" + b"\xff" * 8 + b"x.", "it ends early or takes what is not there"),
    "a huge announced number": (b"\x80\x02\x8b\xff\xff\xff\x7f1.", "it ends early"),
    "long digits": (b"\x80\x02L" + b"9" * N + b"L\n.", "Exceeds the limit"),
    "a far memo": (b"\x80\x02Nr\xff\xff\xff\xffj\xfe\xff\xff\xff.", "nothing was remembered"),
    "no stop": (b"\x80\x02N", "it ends early"),
    "nothing": (b"", "it ends early"),
    "leftovers": (b"\x80\x02NN.", "values are left over"),
    "an extension": (b"\x80\x02\x82\x01.", "opcode 0x82"),
    "a call of a value": (b"\x80\x02N)R.", "a NoneType cannot be called"),
    "a function as a value": (b"\x80\x02ccollections\nOrderedDict\n.", "holds 'OrderedDict' itself as a value"),
    "an OrderedDict that lies": (
        b"\x80\x02ccollections\nOrderedDict\n)R}X\5\0\0\0itemsNsb.",
        "attributes of an OrderedDict that hide its own",
    ),
    "an object array": (b"\x80\x02cnumpy\ndtype\nX\1\0\0\0O\x85R.", "holds neither numbers nor text"),
    "a reference to nothing": (b"\x80\x02NQ.", "an unknown reference None"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(name):
    code, message = HOSTILE[name]
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(archive(code)))
    assert time.perf_counter() - start < 2


def test_a_list_that_holds_itself_is_read():
    found = fb.load(io.BytesIO(archive(b"\x80\x02]q\0h\0a.")))
    assert found[0] is found


def tensor_code(
    offset=b"K\0", size=b"K\2\x85", stride=b"K\1\x85", numel=b"K\2", key=b"0", kind=b"FloatStorage"
):
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n" + kind + b"\nX\1\0\0\0" + key
        + b"X\3\0\0\0cpu" + numel + b"tQ" + offset + size + stride + b"\x89ccollections\nOrderedDict\n)RtR."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"offset": b"K\1"},
            r"shape \(2,\), stride \(1,\) and storage_offset 1 reaches outside its storage of 8",
        ),
        ({"size": b"K\3\x85"}, "reaches outside"),
        ({"stride": b"K\2\x85"}, "reaches outside"),
        ({"size": b"J\xff\xff\xff\xff\x85"}, r"a tensor's shape is \(-1,\)"),
        ({"stride": b"J\xff\xff\xff\xff\x85"}, r"a tensor's stride is \(-1,\)"),
        ({"offset": b"J\xff\xff\xff\xff"}, "storage_offset -1"),
        ({"stride": b")"}, r"shape \(2,\), stride \(\)"),
        ({"numel": b"K\x03"}, "should have 12 bytes and has 8"),
        ({"key": b"7"}, "data/7' are missing"),
        ({"kind": b"UntypedStorage"}, "no storage of its dtype"),
    ],
)
def test_tensors_stay_inside_their_storage(change, message):
    block = [("0", np.ones(2, np.float32).tobytes())]
    assert fb.load(io.BytesIO(archive(tensor_code(), block))).tolist() == [1, 1]
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(archive(tensor_code(**change), block)))


# ---- archives
def packed(entries, method=zipfile.ZIP_DEFLATED):
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", method) as z:
        for name, data in entries:
            z.writestr(name, data)
    return f.getvalue()


def test_deflated_archives_are_read_and_bombs_are_not():
    data = random.Random(0).randbytes(4000)
    entries = [
        ("a/data.pkl", tensor_code(size=b"M\xe8\3\x85", numel=b"M\xe8\3")),
        ("a/data/0", data),
    ]
    assert fb.load(io.BytesIO(packed(entries))).shape == (1000,)
    bomb = packed([("a/data.pkl", b"\x80\x02N."), ("a/data/0", bytes(50_000_000))])
    with pytest.raises(
        CheckpointError, match="would unpack to 50000004 bytes, more than 8 times the file's"
    ):
        fb.load(io.BytesIO(bomb))
    lying = bytearray(packed([("a/data.pkl", b"\x80\x02]" + b"N" * 5000)]))
    at = lying.rindex(b"PK\1\2")
    lying[at + 24 : at + 28] = (100).to_bytes(4, "little")
    with pytest.raises(CheckpointError, match="does not unpack to the 100 bytes it announced"):
        fb.load(io.BytesIO(bytes(lying)))


def test_archives_that_contradict_themselves():
    good = saved({"a": fb.ones(3)})
    for data, message in (
        (good[:-1], "the zip archive is damaged: it has no end record"),
        (good[: len(good) // 2], "it has no end record"),
        (
            good.replace(b"archive/data/0", b"archive/data.pkl"[:14]),
            "the bytes of storage 'archive/data/0' are missing",
        ),
        (
            saved([fb.ones(1), fb.ones(2)]).replace(b"archive/data/1", b"archive/data/0"),
            "two entries are called 'archive/data/0'",
        ),
        (packed([("x/data.pkl", b"N."), ("y/data.pkl", b"N.")]), r"with 2 entries '\*/data.pkl'"),
        (packed([("../../data.pkl", b"N.")]), r"with 0 entries '\*/data.pkl'"),
        (packed([("m/data.pkl", b"N."), ("m/constants.pkl", b"")]), "a TorchScript program"),
    ):
        with pytest.raises(CheckpointError, match=message):
            fb.load(io.BytesIO(data))
    place = good.index(np.ones(3, np.float32).tobytes())
    flipped = good[:place] + b"\1" + good[place + 1 :]
    with pytest.raises(
        CheckpointError, match=r"the checksum of 'archive/data/0' does not match its bytes"
    ):
        fb.load(io.BytesIO(flipped))
    assert fb.load(io.BytesIO(flipped), verify=False)["a"].shape == (3,)
    assert zlib.crc32(good) != zlib.crc32(flipped)


def test_entries_that_share_bytes():
    data = bytearray(
        packed([("a/data.pkl", b"N." * 100), ("a/x", b"N." * 100)], zipfile.ZIP_STORED)
    )
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = (8).to_bytes(4, "little")
    with pytest.raises(CheckpointError, match=r"'a/data.pkl' and 'a/x' share bytes"):
        fb.load(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("cut", [20, 60, 100, -1, -9])
def test_legacy_files_that_end_early(cut):
    assert fb.load(io.BytesIO(legacy()))["a"].tolist() == [1.0]
    with pytest.raises(CheckpointError, match="load: "):
        fb.load(io.BytesIO(legacy()[:cut]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>", "this is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "this is a Git LFS pointer"),
        (b"\x10\0\0\0\0\0\0\0{}", "this looks like a safetensors file"),
        (b"\x80\x04N.", "a plain pickle"),
        (b"hello", "not a checkpoint: it starts with b'hello'"),
        (bytes(257) + b"ustar", "a tar archive of PyTorch 0.1"),
    ],
)
def test_other_files_are_told_apart(data, message):
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(data))
