"""Every tutorial runs, and prints and computes what it says."""

from __future__ import annotations

import re
import runpy
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as fb

HERE = Path(__file__).parent
FROM_PYTORCH = HERE.parents[1] / "docs" / "from-pytorch.md"
SCRIPTS = sorted(path.name for path in HERE.glob("[0-9][0-9]_*.py"))


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No alias from the environment, whatever the machine."""
    monkeypatch.delenv("FLAMBEAU_CUDA_ALIAS", raising=False)


def run(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """The script's names and what it printed."""
    values = runpy.run_path(str(HERE / name))
    captured = capsys.readouterr()
    assert captured.err == ""
    return values, captured.out


def test_every_script_is_listed_and_tested():
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    assert len(SCRIPTS) == 8
    for name in SCRIPTS:
        assert f"({name})" in readme
        assert f'run("{name}"' in here
        lines = (HERE / name).read_text(encoding="utf-8").splitlines()
        assert 50 <= len(lines) <= 130
        assert f"python examples/tutorials/{name}" in "\n".join(lines[:15])


def test_tensors(capsys: pytest.CaptureFixture[str]):
    values, out = run("01_tensors.py", capsys)
    assert "tensor([3, 1, 2]) flambeau.int64 cpu\n" in out
    assert "tensor([0.5000, 1.5000, 2.5000]) flambeau.float32\n" in out
    assert "noise: flambeau.Size([48, 3]) mean " in out
    assert "error: add: the size of tensor a (3) must match the size of tensor b (48)" in out
    assert "error: view: size [144] is not compatible" in out
    assert "Hint: reshape() instead" in out
    tail = "from NumPy: tensor([100.,   1.,   2.,   3.,   4.,   5.], dtype=flambeau.float64)\n"
    assert out.endswith(tail)
    felt = values["temperature"].numpy().copy() @ np.array([0.5, 0.3, 0.2], np.float32)
    got = values["felt"].numpy()
    np.testing.assert_allclose(got[1:] - got[1], felt[1:] - felt[1], atol=1e-4)


def test_autograd(capsys: pytest.CaptureFixture[str]):
    values, out = run("02_autograd.py", capsys)
    assert out.startswith("tensor(4., grad_fn=<SubBackward0>)\nslope: tensor(10.)\n")
    assert "length: 5.0 gradient: tensor([ 0.6000,  0.0000, -0.8000])\n" in out
    assert "error: grad can be implicitly created only for scalar outputs, got (3,) float32" in out
    assert "graph: AddBackward0 <- MulBackward0 <- AccumulateGrad\n" in out
    assert "lowest at x = 0.523599, curvature there 3.4641\n" in out  # 4 sin(pi / 3)
    d = np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(values["dose"].grad.numpy(), 2 * d / (1 + d**2) ** 2, rtol=1e-12)


def test_fit_a_curve(capsys: pytest.CaptureFixture[str]):
    values, out = run("03_fit_a_curve.py", capsys)
    assert list(values["found"]) == ["numpy", "tensors", "autograd", "layers"]
    for numbers in values["found"].values():
        np.testing.assert_allclose(numbers, values["found"]["numpy"], atol=1e-4)
    np.testing.assert_allclose(values["exact"], [3.1, 1.2, -0.7], atol=0.02)
    assert set(values["distance"]) == {"SGD", "RMSprop", "Adam"}
    assert out.count("level = 3.") == 4


def test_a_module(capsys: pytest.CaptureFixture[str]):
    values, out = run("04_a_module.py", capsys)
    assert out.startswith(
        "Rain(\n"
        "  (scale): Scale(features=3)\n"
        "  (first): Linear(in_features=3, out_features=8, bias=True)\n"
        "  (blocks): ModuleList(\n"
        "    (0-1): 2 x Linear(in_features=8, out_features=8, bias=True)\n"
        "  )\n"
        "  (drop): Dropout(p=0.5, inplace=False)\n"
        "  (last): Linear(in_features=8, out_features=1, bias=True)\n"
        ")\n"
        "9 parameters of 188 numbers\n"
    )
    assert "<All keys matched successfully>\n" in out
    assert "loading state_dict for Rain:\n\tsize mismatch for first.weight" in out
    chance = values["model"].float().probability(values["readings"])
    assert bool(((chance > 0) & (chance < 1)).all())


def test_a_classifier(capsys: pytest.CaptureFixture[str]):
    values, out = run("05_a_classifier.py", capsys)
    assert out.startswith("a batch: flambeau.Size([32, 2]) flambeau.Size([32]) flambeau.int64\n")
    assert out.count("epoch ") == 4
    assert "lr 0.0030\n" in out
    assert len(values["history"]) == 20
    table = values["table"].numpy()
    assert table.sum() == 180
    assert values["accuracy"] == table.trace() / 180 > 0.9


def test_xor_and_what_goes_wrong(capsys: pytest.CaptureFixture[str]):
    values, out = run("06_xor_and_what_goes_wrong.py", capsys)
    solved = values["solved"]
    assert out.startswith(f"solved: {solved[4]} of 20 with 4 hidden units, 20 of 20 with 16\n")
    assert "the gradient is 3.000 times too large\n" in out
    said = values["says_what"]
    assert "backward through the graph a second time" in said["backward_twice"]
    assert "recompute the loss inside the loop" in said["backward_twice"]
    assert "a leaf Variable that requires grad" in said["inplace_on_a_leaf"]
    assert "no_grad()" in said["inplace_on_a_leaf"]
    assert "(5x3 and 2x1)" in said["wrong_width"]
    assert "expected 2, got 3" in said["wrong_width"]
    assert "(4, 1)" in said["column_against_row"]
    assert "(4,)" in said["column_against_row"]
    assert "at least two devices" in said["two_devices"]
    assert "does not require grad" in said["no_history"]


def test_devices_and_backends(capsys: pytest.CaptureFixture[str]):
    values, out = run("07_devices_and_backends.py", capsys)
    assert out.startswith("names: cpu opencl:1 device(type='opencl', index=1)\n")
    assert "BackendNotFoundError: no installed package provides device 'opencll'" in out
    assert "Did you mean 'opencl'?" in out
    assert "meta: flambeau.Size([200000, 200000]) would take 149 GiB\n" in out
    assert "DeviceError: add: Expected all tensors to be on the same device" in out
    fb.manual_seed(2026)
    assert fb.rand(3).tolist() == values["draws"][0][:3].tolist()


def test_dynamic_graphs(capsys: pytest.CaptureFixture[str]):
    values, out = run("08_dynamic_graphs.py", capsys)
    assert out.startswith("slopes: [2.0, 0.5]\n")
    assert "sqrt 4 = 2 in 5 steps, slope 0.25\n" in out
    assert "sqrt 9e+06 = 3000 in 16 steps, slope 0.000166667\n" in out
    assert len(values["losses"]) == 300
    # d/dg of g^60 is 60 g^59, and there are two of them
    assert float(values["norm"]) == pytest.approx(2**0.5 * 60 * 1.2**59, rel=1e-3)
    assert ", clipped to 1.0000\n" in out


def test_what_the_migration_table_calls_the_same_is_here():
    names = []
    for line in FROM_PYTORCH.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[2] == "same":
            names += re.findall(r"`([A-Za-z]\w*(?:\.\w+)*)`", cells[1])
    names = [name for name in names if name != "None" and not name.startswith("t.")]
    assert len(names) > 120
    absent = []
    for name in names:
        try:
            attrgetter(name)(fb)
        except (AttributeError, ModuleNotFoundError):
            absent.append(name)
    assert absent == []
