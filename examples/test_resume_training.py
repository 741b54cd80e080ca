"""resume_training.py, killed again and again, ends with the same bits as a run that was left alone."""

from __future__ import annotations

import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import CheckpointError

SCRIPT = Path(__file__).with_name("resume_training.py")
STEPS = 108  # three epochs of 36
SECONDS = 60.0  # for what takes less than one, on a machine that is busy with something else

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


def wait_until(done: Callable[[], bool]) -> None:
    """Look again and again."""
    until = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < until
        time.sleep(0.001)


class Run:
    """One folder with a snapshot and a result, in which the script is started, killed and started again."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.snapshot, self.result = folder / "run.pt", folder / "result.pt"
        self.options = {"snapshot": self.snapshot, "result": self.result, **options}

    def start(self, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen:
        """The script as a process; options replace those of the run."""
        given = {**self.options, **options}.items()
        words = [word for name, value in given for word in (f"--{name.replace('_', '-')}", value)]
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def finish(self, **options: Any) -> str:
        """Let it run to its end; what it printed."""
        process = self.start(**options)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        return out

    def step(self) -> int:
        """The step of the snapshot. Whenever one looks at it, it is there as a whole."""
        return fb.load(self.snapshot)["step"] if self.snapshot.exists() else 0

    def reach(self, process: subprocess.Popen, step: int) -> None:
        """Wait for the snapshot of a step, or a later one."""

        def there() -> bool:
            assert process.poll() is None, process.communicate()
            return self.step() >= step

        wait_until(there)


def here(monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """The script in this process, which takes a tenth of the time."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def kill(process: subprocess.Popen) -> None:
    """SIGKILL, which a program cannot answer; it must have been at work until then."""
    process.kill()
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL, (out, err)
    wait_until(lambda: not list(Path("/dev/shm").glob(f"fb-{process.pid}-*")))  # workers' batches


def difference(a: Any, b: Any, at: str = "") -> str:
    """Where two states differ in a single bit, "" if nowhere."""
    if type(a) is not type(b):
        return f"{at}: {type(a)} and {type(b)}"
    if isinstance(a, fb.Tensor):
        a, b = a.detach().numpy(), b.detach().numpy()
        same = (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        return "" if same else f"{at}: up to {np.abs(a - b).max()}"
    if isinstance(a, list | tuple):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    if isinstance(a, dict):
        if list(a) != list(b):
            return f"{at}: {list(a)} and {list(b)}"
        return next(filter(None, (difference(a[k], b[k], f"{at}/{k}") for k in a)), "")
    return "" if repr(a) == repr(b) else f"{at}: {a!r} and {b!r}"  # floats: to the last bit


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nobody killed, with a snapshot from shortly before its end."""
    run = Run(tmp_path_factory.mktemp("left_alone"), every=100)
    out = run.finish()
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        f"epoch {i}/3, step {36 * i}" for i in (1, 2, 3)
    ]
    return run


@pytest.fixture(scope="module")
def expected(left_alone: Run) -> dict[str, Any]:
    """The final states and losses of that run."""
    found = fb.load(left_alone.result)
    losses = found["losses"]
    assert len(losses) == STEPS
    assert np.mean(losses[-36:]) < 0.3 * np.mean(losses[:36])  # it learns
    return found


def test_the_comparison_sees_a_single_bit(left_alone: Run, expected: dict[str, Any]):
    other = fb.load(left_alone.result)
    assert difference(expected, other) == ""
    other["optimizer"]["state"][3]["exp_avg"].numpy().view(np.int32)[5] ^= 1
    assert difference(expected, other).startswith("/optimizer/state/3/exp_avg: up to ")
    other = {**expected, "losses": [*expected["losses"][:-1], 0.0]}
    assert difference(expected, other).startswith("/losses/107: ")


def test_each_part_of_the_snapshot_matters(
    left_alone: Run, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """If a resumed run missed one of them, the tests below would see it."""
    whole, other = fb.load(left_alone.snapshot), fb.load(left_alone.snapshot)
    assert whole["step"] == 100
    other["rng"][0] ^= 1
    other["loader"]["start"]["default"][0] ^= 1
    other["model"]["1.running_mean"] += 1
    other["optimizer"]["state"][0]["exp_avg_sq"] += 1
    other["scheduler"]["last_epoch"] += 15
    snapshot, result = tmp_path / "run.pt", tmp_path / "result.pt"
    for part in ("rng", "loader", "model", "optimizer", "scheduler", "step"):
        fb.save({**whole, part: other[part]}, snapshot)
        here(monkeypatch, snapshot=snapshot, result=result, every=1000)
        same = not difference(expected, fb.load(result))
        assert same == (part == "step"), part  # "step" is for whoever looks at the file


THREADS = {"workers": 2, "worker_kind": "thread"}
PROCESSES = {"workers": 2, "worker_kind": "process"}


@pytest.mark.parametrize(
    "starts",
    [
        pytest.param([{"every": 1}], id="no-workers"),
        pytest.param([{"every": 5, **THREADS}], id="threads"),
        pytest.param([{"every": 7, **PROCESSES}], id="processes"),
        pytest.param([PROCESSES, {"workers": 0}, {**THREADS, "workers": 3}, PROCESSES], id="mixed"),
    ],
)
def test_killed_at_random_moments(
    starts: list[dict[str, Any]],
    expected: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    draw = random.Random(request.node.name)
    run = Run(tmp_path)
    options = [starts[i % len(starts)] for i in range(4)]
    # Once while it begins, twice in mid-training: during a step, a save, the end of an epoch ...
    for longest, given in zip((0.15, 0.01, 0.01), options):
        before = run.step()
        process = run.start(**given)
        if longest < 0.1:
            run.reach(process, before + draw.randint(1, 25))
        time.sleep(longest * draw.random())
        kill(process)
        assert before <= run.step() < STEPS
    left = run.step()
    out = run.finish(**options[3])
    assert out.startswith(f"going on after step {left}, ")
    assert difference(expected, fb.load(run.result)) == ""


def test_what_came_after_the_last_snapshot_is_done_again(expected: dict[str, Any], tmp_path: Path):
    run = Run(tmp_path, every=70)
    for epoch, lost_from in ((1, 0), (2, 70)):
        process = run.start()
        for line in process.stdout:
            if line.startswith(f"epoch {epoch}/3"):
                break
        kill(process)
        assert run.step() == lost_from < 36 * epoch
    assert run.finish().startswith("going on after step 70, ")
    assert difference(expected, fb.load(run.result)) == ""


# ---- what a killed program leaves behind
def processes_with(name: str, value: str) -> list[int]:
    """Processes, of whatever parent, that were given an environment variable, zombies apart."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{name}={value}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="needs /proc to see which processes there are"
)
def test_a_kill_leaves_no_process_and_no_shared_memory(tmp_path: Path):
    run = Run(tmp_path, every=5, **PROCESSES)
    mark = ("FLAMBEAU_TEST_RUN", os.urandom(8).hex())
    process = run.start(environment=dict([mark]))
    run.reach(process, 5)
    assert len(processes_with(*mark)) >= 3  # the program, two workers
    kill(process)
    wait_until(lambda: not processes_with(*mark))


# ---- mistakes
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snapshot": "missing/run.pt"}, "--snapshot: the folder missing does not exist"),
        ({"result": "."}, "--result: . is a folder, and should be a file"),
        ({"every": 0}, "--every: must be at least 1, got 0"),
    ],
)
def test_a_mistake_in_the_options(
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        here(monkeypatch, **options)
    assert capsys.readouterr().err.endswith(f"error: argument {message}\n")


def test_a_snapshot_that_does_not_fit(
    left_alone: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    snapshot = shutil.copy(left_alone.snapshot, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="with batch_size=32, this loader has batch_size=16: it"):
        here(monkeypatch, snapshot=snapshot, batch_size=16)
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="the zip archive is damaged: it has no end record"):
        here(monkeypatch, snapshot=snapshot)
    snapshot.write_bytes(b"")
    with pytest.raises(CheckpointError, match="the file is empty. Hint: was the program"):
        here(monkeypatch, snapshot=snapshot)
