"""`python -m flambeau doctor`."""

import importlib
import os
import subprocess
import sys

import pytest

from flambeau import __main__ as command
from flambeau._version import __version__
from flambeau.backend import registry

PLUGIN = """
from flambeau.backend.protocol import Backend, DeviceInfo
from flambeau.plugins import hookimpl

class GameBackend(Backend):
    name = "game"
    def devices(self):
        return [DeviceInfo(0, "GameCard 9", kind="gpu")]
    def open(self, index):
        raise AssertionError("the doctor opens nothing")

@hookimpl
def flambeau_backend():
    return GameBackend()

@hookimpl
def flambeau_default_device(available):
    return available[-1]

@hookimpl
def flambeau_diagnostics():
    return {"driver": "9.1"}
"""
SICK = PLUGIN.replace("game", "sick").replace('return {"driver": "9.1"}', "return 1 / 0")


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Three installed plug-ins: one is well, one's diagnostics fail, one does not import."""
    for variable in [v for v in os.environ if v.startswith("FLAMBEAU_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(registry, "_r", registry._Registry())
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {"game": PLUGIN, "sick": SICK, "dead": "import no_such_driver"}
    for name, source in names.items():
        info = tmp_path / f"{name}_backend-0.4.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}-backend\nVersion: 0.4\n"
        )
        (info / "entry_points.txt").write_text(f"[flambeau.backends]\n{name} = {name}_doctor\n")
        (tmp_path / f"{name}_doctor.py").write_text(source)
    importlib.invalidate_caches()
    yield
    for name in names:
        sys.modules.pop(f"{name}_doctor", None)


def test_report(plugins, capsys, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_BACKEND_GAME", "game-backend")
    assert command.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"flambeau-core {__version__} on ")
    for line in (
        "  FLAMBEAU_BACKEND_GAME=game-backend",
        "packages",
        "backends",
        "  game:0: GameCard 9 [gpu], from game-backend 0.4",
        "  dead: backend 'dead' (dead-backend 0.4, dead_doctor) failed to import: "
        "ModuleNotFoundError: No module named 'no_such_driver'",
        "diagnostics of game",
        "  driver: 9.1",
        "diagnostics of sick",
        "  failed: ZeroDivisionError: division by zero",
        "default device: game proposes sick:0",
    ):
        assert line in out.splitlines()
    assert "\ncuda: stands for game:0, " in out
    assert registry.opened() == ()


def test_missing_pieces_come_with_a_command(plugins, capsys, monkeypatch):
    monkeypatch.setattr(command, "PIECES", ("numpy", "flambeau-not-there"))
    command.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert "  flambeau-not-there is not installed: pip install flambeau-not-there" in lines
    assert any(line.startswith("  numpy ") for line in lines)


def test_nothing_installed(plugins, capsys, monkeypatch):
    monkeypatch.setattr("flambeau.plugins.scan", dict)
    command.main(["doctor"])
    out = capsys.readouterr().out
    assert "backends\n  none: pip install flambeau-cpu\n" in out
    assert out.endswith("cuda: stands for nothing; no backend has a GPU-like device\n")


def test_bad_alias_is_reported(plugins, capsys, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", "nowhere:0")
    assert command.main(["doctor"]) == 0
    text = "cuda: FLAMBEAU_CUDA_ALIAS=nowhere:0: no installed package provides device 'nowhere'"
    assert text in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["docter"], ["doctor", "now"]])
def test_usage(arguments, capsys):
    assert command.main(arguments) == 2
    assert capsys.readouterr() == ("", "usage: python -m flambeau doctor\n")


def test_as_a_process():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    doctor = [sys.executable, "-m", "flambeau", "doctor"]
    done = subprocess.run(doctor, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("flambeau-core ")
    wrong = subprocess.run([*doctor[:-1], "x"], capture_output=True, env=environment, check=False)
    assert wrong.returncode == 2
