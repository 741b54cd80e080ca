"""The safetensors format."""

import json

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import ArgumentError, CheckpointError, DTypeError
from flambeau.serialization import safetensors

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
    with pytest.raises(CheckpointError, match="the metadata is not a dict of text"):
        safetensors.load_sharded(index)
