"""What is paid before the first operator: import time and installed size.

These are probes, not cases: a function of the settings that returns finished rows.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from harness import CaseError, Row, Settings

IMPORT_RATIO_GOAL = 0.15
IMPORT_SECONDS_GOAL = 0.2
SIZE_RATIO_GOAL = 0.05
SIZE_BYTES_GOAL = 3e6

# NumPy is imported before the clock that counts starts: the figure is "over `import numpy`".
CHILD = """
import time
start = time.perf_counter()
import numpy
ready = time.perf_counter()
import {name} as lib
lib.ones(1)
print(ready - start, time.perf_counter() - ready)
"""
DISTRIBUTIONS = {"torch": ("torch",), "flambeau": ("flambeau-core", "flambeau-cpu")}


@dataclass(frozen=True)
class Probe:
    """Rows that are not a ratio of two step times."""

    rows: tuple[str, ...]  # their names, for --only and --list
    run: Callable[[Settings], list[Row]]


def seconds_to_first_tensor(name: str) -> float:
    """Import a library and make one tensor in a fresh process, NumPy being there already."""
    # Without this variable bytecode is cached, as for any installed package.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CHILD.format(name=name)]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise CaseError(f"import {name}: {lines[-1]}")
    return float(result.stdout.split()[-1])


def import_time(settings: Settings) -> list[Row]:
    """Import plus first tensor, one process each in turn."""
    names = (settings.theirs.__name__, settings.ours.__name__)
    for name in names:  # fills the bytecode and file caches
        seconds_to_first_tensor(name)
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(settings.rounds):
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            times[side].append(seconds_to_first_tensor(names[side]))
    theirs, ours = statistics.median(times[0]), statistics.median(times[1])
    ratios = [b / a for a, b in zip(*times, strict=True)]
    relative, absolute = IMPORT.rows
    return [
        Row(
            relative,
            f"<= {IMPORT_RATIO_GOAL:g}",
            theirs,
            ours,
            ratios=ratios,
            met=statistics.median(ratios) <= IMPORT_RATIO_GOAL,
        ),
        Row(
            absolute,
            f"<= {IMPORT_SECONDS_GOAL:g} s",
            ours=ours,
            met=ours <= IMPORT_SECONDS_GOAL,
        ),
    ]


def editable_root(distribution: metadata.Distribution) -> Path | None:
    """The project folder of an editable install, else None."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path))


def installed_files(name: str) -> Iterator[tuple[PurePath, Path]]:
    """Each installed file: its name inside the distribution, and where it lies."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise CaseError(f"{name} is not installed as a distribution") from None
    root = editable_root(distribution)
    if root is None:
        for file in distribution.files or ():
            yield file, Path(str(distribution.locate_file(file)))
    else:  # only a pointer is installed; the wheel will hold src/
        for path in (root / "src").rglob("*"):
            yield path.relative_to(root / "src"), path


def installed_bytes(name: str) -> int:
    """Size of a distribution's files, without tests and bytecode."""
    return sum(
        path.stat().st_size
        for inside, path in installed_files(name)
        if not {"tests", "__pycache__"} & set(inside.parts) and path.is_file()
    )


def installed_size(settings: Settings) -> list[Row]:
    """Installed bytes without NumPy and other dependencies, for both libraries alike."""
    theirs = sum(installed_bytes(name) for name in DISTRIBUTIONS[settings.theirs.__name__])
    ours = sum(installed_bytes(name) for name in DISTRIBUTIONS[settings.ours.__name__])
    if ours == 0:
        raise CaseError("the distributions list no files")
    relative, absolute = SIZE.rows
    ratio = ours / theirs
    return [
        Row(
            relative,
            f"<= {SIZE_RATIO_GOAL:g}",
            theirs,
            ours,
            unit="B",
            ratios=[ratio],
            met=ratio <= SIZE_RATIO_GOAL,
        ),
        Row(
            absolute,
            f"< {SIZE_BYTES_GOAL / 1e6:g} MB",
            ours=ours,
            unit="B",
            met=ours < SIZE_BYTES_GOAL,
        ),
    ]


IMPORT = Probe(("import + first tensor, over numpy", "import + first tensor, seconds"), import_time)
SIZE = Probe(("installed size, no dependencies", "installed size, megabytes"), installed_size)
PROBES = (IMPORT, SIZE)
