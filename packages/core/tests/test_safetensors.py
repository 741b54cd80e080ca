"""The safetensors format."""

import io
import json
import os

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import ArgumentError, CheckpointError, DTypeError, UnsupportedDTypeError
from flambeau.serialization import _safetensors_models, safetensors
from flambeau.serialization._source import Source

DTYPES = [
    fb.bool, fb.uint8, fb.int8, fb.int16, fb.int32, fb.int64, fb.float16, fb.float32, fb.float64, fb.complex64,
]  # fmt: skip


def raw(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def one(**changes):
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def test_round_trip(tmp_path):
    tensors = {}
    for d in DTYPES:
        values = fb.from_numpy(np.random.default_rng(0).integers(0, 200, (3, 4)).astype(d.numpy))
        tensors |= {
            d.name: values,
            f"{d.name}.0": values[0, 0].clone(),
            f"{d.name}.t": values.clone().t(),
        }
        tensors[f"{d.name}.e"] = fb.empty(0, 3, dtype=d)
    path = tmp_path / "x.safetensors"
    safetensors.save_file(tensors, path, {"made by": "ä"})
    for found in (safetensors.load_file(path), safetensors.load_file(path, mmap=True)):
        assert set(found) == set(tensors)
        for name, t in tensors.items():
            assert found[name].dtype is t.dtype and found[name].shape == t.shape
            assert found[name].numpy().tobytes() == t.numpy().tobytes()
    with safetensors.safe_open(path, framework="pt", device="meta") as f:
        assert f.metadata() == {"made by": "ä"} and f.keys() == list(f)
        assert f.get_tensor("int8").is_meta
        with pytest.raises(CheckpointError, match="safetensors: the file has no tensor 'x'"):
            f.get_tensor("x")


def test_the_bytes_are_the_formats():
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    expected = len(text).to_bytes(8, "little") + text + np.array([1, 2], "<f4").tobytes()
    assert safetensors.save({"w": fb.tensor([1.0, 2])}) == expected


def test_what_cannot_be_saved():
    w = fb.ones(4)
    for tensors, kind, message in (
        (
            {"a": w, "b": w[1:]},
            CheckpointError,
            "'a' and 'b' share memory, which the format cannot say",
        ),
        ({"a": 1}, ArgumentError, "needs text keys and tensors, got 'a': int"),
        ({1: w}, ArgumentError, "needs text keys and tensors, got 1: Tensor"),
        ([w], ArgumentError, "needs a dict of tensors, got list"),
        ({"__metadata__": w}, ArgumentError, "a tensor cannot be called '__metadata__'"),
        ({"a": fb.ones(1, dtype=fb.complex128)}, DTypeError, "the format has no complex128"),
    ):
        with pytest.raises(kind, match=message):
            safetensors.save(tensors)
    with pytest.raises(ArgumentError, match="metadata must be text, got 'a': 1"):
        safetensors.save({"a": w}, {"a": 1})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1234", "the file has 4 bytes, too few for a header"),
        (b"\xff" * 16, "18446744073709551615 bytes is announced; 100000000 are allowed"),
        (b"\x20\0\0\0\0\0\0\0{}", "a header of 32 bytes is announced and the file has 10"),
        (raw(b"[]"), "the header is not a JSON object"),
        (raw(b"{"), "the header is not valid JSON"),
        (raw(b"{\xff}"), "the header is not valid JSON"),
        (raw(b'{"a":' + b"[" * 100_000 + b"}"), "the header is not valid JSON"),
        (
            raw(b"{" + b"[]," * 600_000 + b"}"),
            "the header would take far more memory than its size",
        ),
        (raw(b'{"w":NaN}'), "NaN in the header"),
        (raw(b'{"w":1,"w":1}'), "the key 'w' appears twice"),
        (raw({"w": 1}), "'w' is not described by dtype, shape and data_offsets"),
        (raw(one(extra=1)), "'w' is not described by"),
        (raw(one(dtype="F99")), "'w' has dtype 'F99'; known are BOOL, U8"),
        (raw(one(shape=[-2])), r"'w' has shape \[-2\]"),
        (raw(one(shape=[True])), r"'w' has shape \[True\]"),
        (raw(one(shape=[2.0])), r"'w' has shape \[2.0\]"),
        (raw(one(data_offsets=[8, 0])), r"'w' has data_offsets \[8, 0\]"),
        (raw(one(data_offsets=[0, 4])), r"needs 8 bytes, its data_offsets \[0, 4\] give 4"),
        (raw(one(shape=[2**61, 4])), "needs 36893488147419103232 bytes"),
        (
            raw(one()),
            r"the tensors need 8 bytes and the file has 0\. Hint: is the download complete\?",
        ),
        (raw(one(), bytes(9)), "1 bytes at the end belong to no tensor"),
        (
            raw(one(data_offsets=[4, 12]), bytes(12)),
            "bytes 0 to 4, before 'w', belong to no tensor",
        ),
        (
            raw({**one(), "v": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)),
            "'w' and 'v' overlap",
        ),
        (raw({"__metadata__": {"a": 1}}), "the metadata is not a dict of text"),
    ],
)
def test_damaged_files(data, message):
    with pytest.raises(CheckpointError, match=message):
        safetensors.load(data)


def test_sharded(tmp_path):
    safetensors.save_file({"a": fb.ones(2)}, tmp_path / "model-1.safetensors")
    safetensors.save_file({"b": fb.zeros(3), "c": fb.ones(1)}, tmp_path / "model-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    places = {"c": "model-2.safetensors", "a": "model-1.safetensors"}
    index.write_text(json.dumps({"metadata": {"total_size": 12}, "weight_map": places}))
    for where in (tmp_path, index):
        assert {k: v.tolist() for k, v in safetensors.load_sharded(where).items()} == {
            "c": [1],
            "a": [1, 1],
        }
    index.write_text(json.dumps({"weight_map": {"b": "model-1.safetensors"}}))
    with pytest.raises(CheckpointError, match="the file has no tensor 'b'"):
        safetensors.load_sharded(index)
    for shard in ("../x", "/etc/passwd", "..", "", "a\\b", "c:x"):
        index.write_text(json.dumps({"weight_map": {"b": shard}}))
        with pytest.raises(CheckpointError, match="which is not a file of its own folder"):
            safetensors.load_sharded(index)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="weight_map of the index is not a dict of text"):
        safetensors.load_sharded(index)


#: What the package safetensors 0.8.0 wrote.
PACKAGE = (
    b'p\x01\0\0\0\0\0\0{"__metadata__":{"made":"here"},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
    b'"z":{"dtype":"C64","shape":[],"data_offsets":[8,16]},"w":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},'
    b'"h":{"dtype":"F16","shape":[1,1],"data_offsets":[24,26]},"e":{"dtype":"I8","shape":[0,2],"data_offsets":[26,26]},'
    b'"flag":{"dtype":"BOOL","shape":[3],"data_offsets":[26,29]}}    '
    b"\xfd\xff\xff\xff\xff\xff\xff\xff\0\0\x80?\0\0\0\xc0\0\0\xc0?\0\0\0\xc0\0008\1\0\1"
)


def test_the_packages_bytes():
    found = safetensors.load(PACKAGE)
    assert {name: (t.dtype, t.tolist()) for name, t in found.items()} == {
        "w": (fb.float32, [1.5, -2]),
        "flag": (fb.bool, [True, False, True]),
        "h": (fb.float16, [[0.5]]),
        "z": (fb.complex64, 1 - 2j),
        "n": (fb.int64, -3),
        "e": (fb.int8, []),
    }
    assert found["e"].shape == (0, 2)
    assert safetensors.save(found, {"made": "here"}) == PACKAGE


def test_dtypes_without_a_counterpart(tmp_path):
    header = {
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "u": {"dtype": "U16", "shape": [3], "data_offsets": [4, 10]},
        "f": {"dtype": "F4", "shape": [3], "data_offsets": [10, 12]},
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(header, bytes(12)))
    with safetensors.safe_open(path) as f:
        assert f.keys() == ["w", "u", "f"] and f.get_tensor("w").tolist() == [0]
        for name in "uf":
            with pytest.raises(
                UnsupportedDTypeError,
                match=rf"'{name}' has dtype (U16|F4), which flambeau does not have\. Hint: conv",
            ):
                f.get_tensor(name)


def test_slices(tmp_path):
    w = fb.arange(24.0).reshape(4, 3, 2)
    path = tmp_path / "x.safetensors"
    safetensors.save_file({"b": fb.ones(3), "w": w, "n": fb.tensor(3)}, path)
    for mmap in (False, True):
        with safetensors.safe_open(path, mmap=mmap) as f:
            assert f.offset_keys() == ["n", "b", "w"]
            part = f.get_slice("w")
            assert (part.get_shape(), part.get_dtype()) == ([4, 3, 2], "F32")
            for index in (
                slice(1, 3), (slice(1, None, 2), slice(None), 0), (slice(3, 1),), slice(None), 2, (Ellipsis, 1),
                (slice(-2, None), slice(1, 2)), (slice(0, 99), None),
            ):  # fmt: skip
                assert part[index].tolist() == w[index].tolist()
            assert f.get_slice("n")[...].item() == 3
            with pytest.raises(CheckpointError, match="the file has no tensor 'x'"):
                f.get_slice("x")


def test_slices_read_only_their_rows(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    safetensors.save_file({"w": fb.ones(1000, 10)}, path)
    read = []
    whole = Source.array_at
    monkeypatch.setattr(
        Source, "array_at", lambda self, at, n: read.append(n) or whole(self, at, n)
    )
    with safetensors.safe_open(path) as f:
        assert f.get_slice("w")[10:12].shape == (2, 10)
    assert read == [80]


def test_closed_files(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.save_file({"w": fb.ones(2)}, path)
    with safetensors.safe_open(path) as f, safetensors.safe_open(path, mmap=True) as mapped:
        pass
    assert mapped.get_tensor("w").tolist() == [1, 1] and f.keys() == ["w"]
    with pytest.raises(
        ArgumentError, match=r"the file is closed\. Hint: read inside the with block"
    ):
        f.get_tensor("w")


def test_odd_places_and_odd_bools(tmp_path):
    header = {
        "a": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]},
        "w": {"dtype": "F64", "shape": [1], "data_offsets": [3, 11]},
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(header, b"\0\5\xff" + np.array([1.5]).tobytes()))
    for mmap in (False, True):
        found = safetensors.load_file(path, mmap=mmap)
        assert found["w"].tolist() == [1.5] and found["w"].numpy().flags.aligned
        assert found["a"].numpy().view(np.uint8).tolist() == [0, 1, 1]


def test_headers_that_are_unusual():
    assert safetensors.load(raw({"__metadata__": None, **one()}, bytes(8)))["w"].shape == (2,)
    assert list(
        safetensors.load(raw({"e": {**one()["w"], "shape": [0, 9], "data_offsets": [0, 0]}}))
    )
    for size in (0x4B50, 0x280):  # the size starts like a zip archive, like a pickle
        text = json.dumps(one()).encode().ljust(size)
        assert safetensors.load(raw(text, bytes(8)))["w"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (raw(one(shape=[0, 2**61], data_offsets=[0, 0])), "is larger than any memory"),
        (raw(b'{"\\ud800":1}'), "a name in the header is not text"),
        (b"PK\3\4" + bytes(60), r"a zip archive, such as PyTorch writes\. Hint: flambeau\.load"),
        (b"\x80\4N." + bytes(60), "a plain pickle"),
        (
            b'{"weight_map": {}}',
            "this looks like JSON. Hint: safetensors.load_sharded reads the index",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "this is a web page"),
    ],
)
def test_other_files(data, message):
    with pytest.raises(CheckpointError, match=f"safetensors: .*{message}"):
        safetensors.load(data)


def test_places_that_cannot_be_used(tmp_path):
    with pytest.raises(
        ArgumentError, match=r"filename must be a path, got BytesIO\. Hint: file\.write\(save"
    ):
        safetensors.save_file({}, io.BytesIO())
    with pytest.raises(FileNotFoundError, match="safetensors: the folder does not exist"):
        safetensors.save_file({}, tmp_path / "no" / "x")
    with pytest.raises(ArgumentError, match="safetensors: f must be a path or a binary file"):
        safetensors.load(None)
    with pytest.raises(ArgumentError, match="a name or the metadata is not text"):
        safetensors.save({"\ud800": fb.ones(1)})


# ---- models
def tied():
    nn = pytest.importorskip("flambeau.nn")
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def test_models_with_tied_weights(tmp_path):
    model, path = tied(), tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match=r"share memory, .* save_model leaves out tied wei"):
        safetensors.save_file(model.state_dict(), path)
    safetensors.save_model(model, path, {"made": "here"})
    with safetensors.safe_open(path) as f:
        assert f.metadata() == {"made": "here", "2.weight": "0.weight"}
        assert sorted(f.keys()) == ["0.bias", "0.weight", "2.bias"]
    other = tied()
    assert safetensors.load_model(other, path) == ([], [])
    assert other[2].weight is other[0].weight
    x = fb.ones(1, 3)
    assert fb.equal(other(x), model(x))
    safetensors.save_file(
        {"2.weight": fb.ones(3, 3), "0.bias": fb.ones(3), "2.bias": fb.ones(3)}, path
    )
    safetensors.load_model(other, path)
    assert other[0].weight.sum() == 9


def test_models_that_do_not_fit(tmp_path):
    nn, path = pytest.importorskip("flambeau.nn"), tmp_path / "x.safetensors"
    safetensors.save_file({"weight": fb.ones(1, 2), "more": fb.ones(1)}, path)
    model = nn.Linear(2, 1)
    with pytest.raises(
        RuntimeError, match=r"(?s)Missing key.*bias.*Unexpected key.*more|more.*bias"
    ):
        safetensors.load_model(model, path)
    assert safetensors.load_model(model, path, strict=False) == (["bias"], ["more"])
    assert model.weight.tolist() == [[1, 1]]


# ---- several files
def test_saving_several_files(tmp_path):
    tensors = {f"w{i}": fb.full((10,), float(i)) for i in range(5)} | {"big": fb.ones(100)}
    folder = tmp_path / "model"
    safetensors.save_sharded(tensors, folder, 90, {"format": "pt"})
    names = [f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    assert sorted(os.listdir(folder)) == [*names, "model.safetensors.index.json"]
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index == {
        "metadata": {"total_size": 600},
        "weight_map": {
            "w0": names[0], "w1": names[0], "w2": names[1], "w3": names[1], "w4": names[2], "big": names[3],
        },
    }  # fmt: skip
    with safetensors.safe_open(folder / names[1]) as f:
        assert f.metadata() == {"format": "pt"} and f.keys() == ["w2", "w3"]
    found = safetensors.load_sharded(folder)
    assert list(found) == list(tensors)
    assert all(fb.equal(found[name], t) for name, t in tensors.items())
    (folder / names[2]).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"the index names a file that is not there\. Hint: is the download"
    ) as caught:
        safetensors.load_sharded(folder)
    assert caught.value.filename == str(folder / names[2])


@pytest.mark.parametrize(("size", "files"), [("1KB", 1), ("400 b", 2), ("5GB", 1), (1, 6)])
def test_sizes_of_files(size, files, tmp_path):
    tensors = {f"w{i}": fb.full((10,), float(i)) for i in range(5)} | {"big": fb.ones(100)}
    safetensors.save_sharded(tensors, tmp_path, size)
    assert len(os.listdir(tmp_path)) == files + 1


def test_saving_several_files_that_fails_leaves_the_old_ones(tmp_path, monkeypatch):
    safetensors.save_sharded({"a": fb.ones(2), "b": fb.ones(2)}, tmp_path, 8)
    for tensors, kind, message in (
        ({"a": fb.zeros(2), "b": 1}, ArgumentError, "needs text keys and tensors, got 'b': int"),
        ({"a": (w := fb.zeros(2)), "b": w[1:]}, CheckpointError, "'a' and 'b' share memory"),
    ):
        with pytest.raises(kind, match=message):
            safetensors.save_sharded(tensors, tmp_path, 8)
    parts = _safetensors_models.parts_of

    def full(tensors, metadata):
        if "b" in tensors:
            raise OSError("No space left on device")
        return parts(tensors, metadata)

    monkeypatch.setattr(_safetensors_models, "parts_of", full)
    with pytest.raises(OSError, match="No space left"):
        safetensors.save_sharded({"a": fb.zeros(2), "b": fb.zeros(2)}, tmp_path, 8)
    found = safetensors.load_sharded(tmp_path)
    assert found["a"].tolist() == found["b"].tolist() == [1, 1] and len(os.listdir(tmp_path)) == 3
    for size in (0, "5", "5XB", 1.5, "0GB"):
        with pytest.raises(ArgumentError, match="max_shard_size must be a number of bytes or text"):
            safetensors.save_sharded({}, tmp_path, size)
