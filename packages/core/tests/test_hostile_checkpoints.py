"""Files made to crash the reader, to fill its memory or to keep it busy."""

import io
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import CheckpointError, UnsafeCheckpointError
from flambeau.serialization._legacy import START
from flambeau.serialization._zip import ZipWriter

#: Bytes that reading a small file may take at most.
MEMORY = 64 << 20
SLOWEST = 5.0


def archive(code, blocks=()):
    f = io.BytesIO()
    writer = ZipWriter(f.write, "archive")
    writer.add_all([("data.pkl", code), *((f"data/{k}", v) for k, v in blocks)])
    writer.close()
    return f.getvalue()


def text(word):
    return b"X" + len(word).to_bytes(4, "little") + word.encode()


def number(n):
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def keep(code, k):
    """Remember what a piece of code pushes, and drop it."""
    return code + b"q" + bytes([k]) + b"0"


def twins(n):
    """Two frozensets that are equal, and that need 2**n comparisons to show it."""
    code = keep(b"cbuiltins\nfrozenset\n", 250)
    for base in (0, 100):
        code += keep(b"h\xfa](K\1e\x85R", base)
        for k in range(base, base + n):
            below = b"h" + bytes([k])
            code += keep(b"h\xfa](" + below + b"K\1\x86" + below + b"K\2\x86e\x85R", k + 1)
    return code + b"}h" + bytes([n]) + b"Nsh" + bytes([100 + n]) + b"Ns."


NUMBERS = b"".join(b"M" + struct.pack("<H", i) for i in range(256, 10_256))
PAIRS = b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(256, 10_256))
WORDS = b"".join(text(f"{i:04}") + b"N" for i in range(10_000))
MEGABYTE = b"B" + (10**6).to_bytes(4, "little") + b"x" * 10**6
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\1btR"
BOMBS = {
    "equal frozensets": (twins(60), "a key holds more than 10000 values"),
    "copies of a dict": (
        keep(b"}(" + PAIRS + b"u", 0) + keep(b"ccollections\nOrderedDict\n", 1) + b"](" + b"h\1h\0\x85R" * 500 + b"e.",
        "far more memory",
    ),
    "copies of a set": (
        keep(b"(" + NUMBERS + b"t", 0) + keep(b"cbuiltins\nset\n", 1) + b"](" + b"h\1h\0\x85R" * 500 + b"e.",
        "far more memory",
    ),
    "attributes of many": (
        keep(b"}(" + WORDS + b"u", 0) + keep(b"ccollections\nOrderedDict\n", 1) + b"](" + b"h\1)Rh\0b" * 1000 + b"e.",
        "far more memory",
    ),
    "attributes of options": (
        keep(b"}(" + WORDS.replace(b"X\4\0\0\0", b"X\5\0\0\0a") + b"u", 0) + keep(b"cargparse\nNamespace\n", 1)
        + b"](" + b"h\1)\x81h\0b" * 1000 + b"e.",
        "far more memory",
    ),
    "attributes of tensors": (
        keep(b"}(" + WORDS.replace(b"X\4\0\0\0", b"X\5\0\0\0a") + b"u", 0)
        + keep(b"ctorch._tensor\n_rebuild_from_type_v2\n", 1)
        + keep(b"(ctorch._utils\n_rebuild_meta_tensor_no_storage\nctorch\nTensor\n(ctorch\nfloat32\n))\x89th\0t", 2)
        + b"](" + b"h\1h\2R" * 1000 + b"e.",
        "far more memory",
    ),
    "copies of an array": (
        keep(MEGABYTE, 0) + keep(b"cnumpy\ndtype\nX\2\0\0\0u1\x85R", 2) + keep(b"(K\1J\x40\x42\x0f\0\x85h\2\x89h\0t", 3)
        + b"](" + (ARRAY + b"h\3b") * 500 + b"e.",
        "far more memory",
    ),
    "copies of a path": (
        keep(text("x" * 100_000), 0) + keep(b"cpathlib\nPurePosixPath\n", 1)
        + b"](" + (b"h\1(" + b"h\0" * 50 + b"tR") * 50 + b"e.",
        "far more memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name):
    code, message = BOMBS[name]
    data = archive(b"\x80\x04" + code)
    fb.load(io.BytesIO(archive(b"\x80\x04N.")))
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(CheckpointError, match=message):
            fb.load(io.BytesIO(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < SLOWEST
    assert peak < MEMORY + 10 * len(data)


CHAINS = {
    "slices": (b"cbuiltins\nslice\n", b"h\0h\1\x85R", "a slice not made from plain values"),
    "defaultdicts": (
        b"ccollections\ndefaultdict\n",
        b"h\0)RNh\1s",
        "more than 10000 defaultdicts and deques are nested in others",
    ),
    "deques": (
        b"ccollections\ndeque\n",
        b"h\0)Rh\1a",
        "more than 10000 defaultdicts and deques are nested in others",
    ),
}
CHAIN = """
import sys
import flambeau as fb
try:
    fb.load(sys.argv[1])
except fb.errors.CheckpointError as error:
    print(error)
"""


@pytest.mark.parametrize("name", CHAINS)
def test_chains_that_python_could_not_free(name, tmp_path):
    """Freed by a recursive function in C: 100,000 of them end the process, in which no error can be caught."""
    make, link, message = CHAINS[name]
    code = keep(make, 0) + keep(b"N", 1) + keep(link, 1) * 200_000 + b"h\1."
    padding = [("0", bytes(30_000_000))]  # a large file may ask for more
    (tmp_path / "x.pt").write_bytes(archive(b"\x80\x02" + code, padding))
    done = subprocess.run(
        [sys.executable, "-c", CHAIN, str(tmp_path / "x.pt")], capture_output=True, text=True
    )
    assert done.returncode == 0 and message in done.stdout


def tensor(offset=b"K\0", size=b"K\2\x85", stride=b"K\1\x85", kind=b"FloatStorage", rest=b"\x89N"):
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(("
        + text("storage") + b"ctorch\n" + kind + b"\n" + text("0") + text("cpu") + b"K\2tQ"
        + offset + size + stride + rest + b"tR."
    )  # fmt: skip


FLOATS = [("0", np.ones(2, np.float32).tobytes())]
HUGE = number(2**61)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (tensor(size=b"(" + number(2**33) * 2 + b"t", stride=b"K\0K\0\x86"), "larger than any mem"),
        (tensor(size=HUGE + b"\x85", stride=b"K\0\x85"), "larger than any memory"),
        (tensor(size=HUGE + b"K\0\x86", stride=b"K\1K\1\x86"), "larger than any memory"),
        (tensor(size=b"K\0\x85", stride=HUGE + b"\x85"), "larger than any memory"),
        (tensor(size=b"K\1\x85", stride=HUGE + b"\x85"), "larger than any memory"),
        (tensor(size=b"\x88\x85"), r"a tensor's shape is \(True,\)"),
        (tensor(size=b"(" + b"K\1" * 65 + b"t", stride=b"(" + b"K\1" * 65 + b"t"), "shape is a t"),
        (tensor(rest=b"\x89N}" + text("view") + b"\x88s"), "a tensor has unknown marks"),
    ],
)
def test_tensors_of_impossible_shapes(code, message):
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(archive(code, FLOATS)))


def array(dtype, shape, data):
    return (
        b"\x80\x04cnumpy.core.numeric\n_frombuffer\n(C" + bytes([len(data)]) + data
        + b"cnumpy\ndtype\n" + text(dtype) + b"\x85R" + shape + text("C") + b"tR."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (array("u1", b"K\2\x85", b"abc"), "bytes do not fit its shape and dtype"),
        (array("S0", number(2**33) + b"\x85", b""), "bytes do not fit its shape and dtype"),
        (array("U1", b"K\1\x85", b"\xff" * 4), "text with characters that do not exist"),
        (array("O", b"K\1\x85", bytes(8)), "holds neither numbers nor text"),
        (array("V8", b"K\1\x85", bytes(8)), "holds neither numbers nor text"),
        (b"\x80\x02cnumpy\ndtype\nX\2\0\0\0i4\x85R(K\3X\1\0\0\0!tb.", "an unknown byte order"),
    ],
)
def test_arrays_that_lie(code, message):
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(archive(code)))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"(" + text("id") + b"iposix\nsystem\n.", "opcode 0x69"),
        (b"(cposix\nsystem\n" + text("id") + b"o.", r"needs posix\.system"),
        (b"ccollections\nOrderedDict\n)}\x92.", "opcode 0x92"),
        (b"cbuiltins\nlist\n)\x81)b.", "a state for a list"),
        (
            b"cargparse\nNamespace\n)\x81}" + text("__class__") + b"Nsb.",
            "attributes of a Namespace",
        ),
        (b"cdatetime\ndatetime\n](e\x85R.", "a datetime not made from plain values"),
        (b"cpathlib\nPath\n)R.", r"needs pathlib\.Path"),
        (b"cpathlib\nPosixPath\nK\1\x85R.", "a path not made from text"),
        (b"ccollections\ndeque\nK\5\x85R.", "a deque not made from a sequence"),
        (b"ccollections\ndefaultdict\ncbuiltins\nrange\n\x85R.", "not a plain type"),
        (b"ctorch.torch_version\nTorchVersion\nN\x85\x81.", "text that is not text"),
        (b"ctorch\nTensor\n)R.", "a tensor made without its storage"),
    ],
)
def test_calls_that_are_refused(code, message):
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(archive(b"\x80\x04" + code)))


def test_parts_of_the_reader_stay_inside():
    attribute = b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n"
    plain = tensor()[2:-2].split(b"_rebuild_tensor_v2\n", 1)[1] + b"t"
    code = b"\x80\x02" + attribute + plain[:-1] + b"}" + text("a") + b"cbuiltins\nlist\nstR."
    with pytest.raises(CheckpointError, match="holds 'list' itself as a value"):
        fb.load(io.BytesIO(archive(code, FLOATS)))
    options = b"\x80\x02cargparse\nNamespace\n)\x81}" + text("a") + b"cbuiltins\nlist\nsb."
    with pytest.raises(CheckpointError, match="holds 'list' itself as a value"):
        fb.load(io.BytesIO(archive(options)))


# ---- old files
def legacy(body):
    keys, data = b"]" + text("0") + b"a.", (2).to_bytes(8, "little") + FLOATS[0][1]
    return START + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + body + b"\x80\x02" + keys + data


def storage(kind=b"FloatStorage", n=b"K\2"):
    return b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text("0") + text("cpu") + n + b"tQ"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x80\x02" + storage() + storage(b"IntStorage") + b"\x86.", "two descriptions of stor"),
        (b"\x80\x02" + storage() + storage(n=b"K\3") + b"\x86.", "two descriptions of storage"),
        (b"\x80\x02" + storage(b"QInt8Storage") + b".", r"holds torch\.QInt8Storage"),
        (b"\x80\x02" + storage() + b".", "holds 'storage' itself as a value"),
        (b"\x80\x02" + storage(n=b"J\xff\xff\xff\xff") + b".", "a storage is described by"),
    ],
)
def test_old_files_that_lie(body, message):
    with pytest.raises(CheckpointError, match=message):
        fb.load(io.BytesIO(legacy(body)))


def test_old_files_name_what_they_need():
    body = b"\x80\x02" + storage() + b"cos\nsystem\n" + text("x") + b"\x85R\x86."
    with pytest.raises(UnsafeCheckpointError, match=r"needs os\.system"):
        fb.load(io.BytesIO(legacy(body)))


# ---- archives
def test_links_and_paths_in_archives_mean_nothing(tmp_path):
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w") as z:
        link = zipfile.ZipInfo("a/data.pkl")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        z.writestr(link, "/etc/passwd")
    with pytest.raises(CheckpointError, match="the pickle uses opcode 0x2f"):
        fb.load(io.BytesIO(f.getvalue()))
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w") as z:
        z.writestr("../data.pkl", b"\x80\x02N.")
        z.writestr("../../../evil", b"x")
    assert fb.load(io.BytesIO(f.getvalue())) is None
