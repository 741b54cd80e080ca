"""Files both ways: what flambeau saves loads in PyTorch and in safetensors, and theirs load here, to the last bit."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.serialization import safetensors as ours

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
theirs = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")

DTYPES = "float16 float32 float64 complex64 complex128 int8 int16 int32 int64 uint8 bool".split()
if importlib.util.find_spec("ml_dtypes"):
    DTYPES.append("bfloat16")
SHAPES = [(), (0,), (5,), (2, 3), (2, 0, 3), (1, 4, 1, 2)]


def drawn(lib: Any, dtype: str, shape: tuple[int, ...], seed: int = 0) -> Any:
    """The same values in either library."""
    rng = np.random.default_rng(seed)
    values = lib.tensor((100 * rng.standard_normal(shape)).astype(np.float64))
    if dtype.startswith("complex"):
        values = lib.complex(values, values.flip(0) if shape else values)
    if dtype == "uint8":
        values = values.abs()
    return values.to(getattr(lib, dtype))


def bits(t: Any) -> tuple[Any, ...]:
    """All that a file has to keep of a tensor."""
    plain = t.detach()
    if str(plain.dtype).endswith("bfloat16"):
        plain = plain.float()  # exact
    kind = str(t.dtype).split(".")[-1]
    # Where there is one element or none, each library has strides of its own.
    strides = [step for n, step in zip(t.shape, t.stride()) if n > 1] if t.numel() else []
    return kind, tuple(t.shape), strides, t.requires_grad, plain.contiguous().numpy().tobytes()


def same(a: Any, b: Any) -> None:
    """Equal values of equal structure, tensors in bits."""
    if hasattr(a, "detach"):
        assert bits(a) == bits(b)
    elif isinstance(a, dict):
        assert type(a).__name__ == type(b).__name__
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert type(a).__name__ == type(b).__name__
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b


PAIRS = [
    pytest.param(flambeau, torch, id="ours-to-torch"),
    pytest.param(torch, flambeau, id="torch-to-ours"),
]


def crossed(writer: Any, reader: Any, make: Any, path: Any, **options: Any) -> tuple[Any, Any]:
    """What the reader finds in a file of the writer's, beside what it should find."""
    writer.save(make(writer), path, **options)
    return reader.load(path), make(reader)


@pytest.mark.parametrize(
    ("writer", "reader", "options"),
    [
        pytest.param(flambeau, torch, {}, id="ours-to-torch"),
        pytest.param(torch, flambeau, {}, id="torch-to-ours"),
        pytest.param(torch, flambeau, {"_use_new_zipfile_serialization": False}, id="legacy"),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(writer, reader, options, dtype, tmp_path):
    def make(lib):
        return [drawn(lib, dtype, shape, seed) for seed, shape in enumerate(SHAPES)]

    same(*crossed(writer, reader, make, tmp_path / "x.pt", **options))


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_views_and_shared_storages(writer, reader, tmp_path):
    def make(lib):
        base = drawn(lib, "float32", (4, 6))
        return {
            "base": base,
            "row": base[1],
            "columns": base[:, ::2],
            "t": base.t(),
            "expanded": base[0].expand(3, 6),
            "end": base.view(-1)[20:],
        }

    found, expected = crossed(writer, reader, make, tmp_path / "x.pt")
    same(found, expected)
    with reader.no_grad():
        found["base"][1, 2] = 7.0
    assert found["row"][2] == 7
    assert found["columns"][1, 1] == 7
    assert found["t"][2, 1] == 7


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_a_checkpoint_goes_on_in_the_other_library(writer, reader, optimizer, tmp_path):
    def training(lib):
        model = lib.nn.Sequential(
            lib.nn.Linear(4, 8, bias=False),
            lib.nn.BatchNorm1d(8),
            lib.nn.Tanh(),
            lib.nn.Linear(8, 1),
        )
        for i, p in enumerate(model.parameters()):
            p.data = drawn(lib, "float32", tuple(p.shape), i) / 100
        options = {"momentum": 0.9} if optimizer == "SGD" else {}
        return model, getattr(lib.optim, optimizer)(model.parameters(), lr=0.01, **options)

    def steps(lib, model, optim):
        for seed in range(3):
            loss = (model(drawn(lib, "float32", (6, 4), seed) / 100) ** 2).mean()
            optim.zero_grad()
            loss.backward()
            optim.step()
        return loss

    model, optim = training(writer)
    loss = steps(writer, model, optim)
    checkpoint = {
        "epoch": 3,
        "model": model.state_dict(),
        "optimizer": optim.state_dict(),
        "loss": loss,
        "nested": OrderedDict(a=[(1, 2.5, None, True)], b={"text": "x", "set": {1, 2}}),
    }
    writer.save(checkpoint, tmp_path / "x.pt")
    found = reader.load(tmp_path / "x.pt")
    assert found["nested"] == checkpoint["nested"]
    assert found["epoch"] == 3
    assert list(found["model"]) == list(checkpoint["model"])
    other, other_optim = training(reader)
    other.load_state_dict(found["model"])
    other_optim.load_state_dict(found["optimizer"])
    a, b = steps(writer, model, optim), steps(reader, other, other_optim)
    assert float(a.detach()) == pytest.approx(float(b.detach()), rel=1e-4)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "complex128"])
def test_safetensors(dtype, tmp_path):
    names = [f"layer.{i}" for i in range(len(SHAPES))]
    mine = {n: drawn(flambeau, dtype, s, i) for i, (n, s) in enumerate(zip(names, SHAPES))}
    other = {n: drawn(torch, dtype, s, i) for i, (n, s) in enumerate(zip(names, SHAPES))}
    ours.save_file(mine, tmp_path / "a.safetensors", metadata={"format": "pt"})
    theirs.save_file(other, tmp_path / "b.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    same(dict(sorted(theirs.load_file(tmp_path / "a.safetensors").items())), other)
    same(dict(sorted(ours.load_file(tmp_path / "b.safetensors").items())), mine)
