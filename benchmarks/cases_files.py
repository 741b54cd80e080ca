"""Writing and reading checkpoints, in a folder of the system's temporary ones (TMPDIR says where).

As users meet them: flambeau's save waits until the bytes are on the disk and exchanges the file then, PyTorch's
leaves them to the operating system. flambeau's load compares checksums, PyTorch's does not.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from harness import Cases, Library, Trial

cases = Cases()

LAYERS, WIDTH = 15, 1289  # 15 square weights and as many biases: 99.8 MB of float32


@cache
def folder() -> Path:
    """Where the files lie; it goes when the program ends."""
    made = tempfile.mkdtemp(prefix="flambeau-bench-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@cache
def state(lib: Library) -> dict[str, Any]:
    """What state_dict() of a model of 100 MB returns."""
    rng = np.random.default_rng(0)
    found = {}
    for layer in range(LAYERS):
        weight = rng.random((WIDTH, WIDTH), dtype=np.float32)
        found[f"layers.{layer}.weight"] = lib.tensor(weight)
        found[f"layers.{layer}.bias"] = lib.tensor(weight[0])
    return found


def place(lib: Library) -> Path:
    """A file of each library's own."""
    return folder() / f"{lib.__name__}.pt"


@cases.add("save 100 MB state_dict", goal=1.0, rebuild=False)
def save(lib: Library) -> Trial:
    """To a file that is there already, as a training loop does."""
    values, path = state(lib), place(lib)

    def step() -> None:
        lib.save(values, path)

    return Trial(step)


@cases.add("load 100 MB state_dict", goal=1.0, rebuild=False)
def load(lib: Library) -> Trial:
    """From the operating system's cache."""
    path = place(lib)
    lib.save(state(lib), path)

    def step() -> list[Any]:
        return list(lib.load(path).values())

    return Trial(step)


@cases.add("save + load 100 MB state_dict", goal=1.0, rebuild=False)
def save_and_load(lib: Library) -> Trial:
    """Both in turn."""
    values, path = state(lib), place(lib)

    def step() -> list[Any]:
        lib.save(values, path)
        return list(lib.load(path).values())

    return Trial(step)
