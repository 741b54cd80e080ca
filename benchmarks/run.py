"""Measure flambeau against PyTorch eager: `python benchmarks/run.py` (see README.md)."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness import Row, Settings

CASE_FILES = (
    "cases_ops.py",
    "cases_models.py",
    "cases_nn.py",
    "cases_optim.py",
    "cases_data.py",
    "cases_files.py",
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Job = tuple[tuple[str, ...], "Callable[[Settings], list[Row]]"]  # the rows' names, how to get them


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="flambeau against PyTorch eager, lower is better")
    parser.add_argument("--only", metavar="REGEX", help="rows whose name matches")
    parser.add_argument("--quick", action="store_true", help="a look, not a figure: 5 short rounds")
    parser.add_argument("--rounds", type=int, help="default 25, at least 15 for a figure to quote")
    parser.add_argument("--threads", type=int, default=1, help="for both libraries; default 1")
    parser.add_argument("--impl", choices=("flambeau", "torch"), default="flambeau",
                        help="torch: PyTorch against itself, which shows the noise")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    parser.add_argument("--markdown", action="store_true", help="a table to paste")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a row is an error")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    options = parser.parse_args(arguments)
    if options.threads < 1 or (options.rounds is not None and options.rounds < 1):
        parser.error("--threads and --rounds need at least 1")
    return options


def libraries(options: argparse.Namespace) -> tuple[Any, Any] | None:
    """PyTorch and the library to measure; None, and a sentence, where one is missing."""
    try:
        torch: Any = importlib.import_module("torch")
    except ModuleNotFoundError:
        print("Nothing measured: the benchmarks compare with PyTorch; `pip install torch==2.13.0`.")
        return None
    torch.set_num_threads(options.threads)
    try:
        return torch, importlib.import_module(options.impl)
    except ModuleNotFoundError as error:
        if error.name != options.impl:
            raise
        print("Nothing measured: flambeau is not installed here; see the repository's README.")
        return None


def jobs(settings: Settings) -> list[Job]:
    """Everything that can be measured, in the table's order."""
    from cases_import import PROBES
    from harness import Case, load_cases, measure

    def job(theirs: Case, ours: Case) -> Job:
        return (theirs.name,), lambda settings: [measure(theirs, ours, settings)]

    found: list[Job] = []
    for name in CASE_FILES:
        path = Path(__file__).with_name(name)
        pairs = zip(load_cases(path, "theirs"), load_cases(path, "ours"), strict=True)
        found += [job(theirs, ours) for theirs, ours in pairs]
    found += [(probe.rows, probe.run) for probe in PROBES]
    return found


def run_job(job: Job, settings: Settings) -> list[Row]:
    """The rows of one job; what raises becomes a row that says so."""
    from harness import Row, describe

    names, measure = job
    try:
        return measure(settings)
    except Exception as error:  # one broken case must not hide the others
        return [Row(name, "", error=describe(error)) for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    options = parse(arguments)
    # Both BLAS libraries read these once, when they load: before NumPy's first import.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler would print at each start
    pair = libraries(options)
    if pair is None:
        return 0
    import report
    from harness import Settings

    rounds = options.rounds or (5 if options.quick else 25)
    block_seconds = 0.003 if options.quick else 0.01
    settings = Settings(*pair, rounds, block_seconds, options.threads)
    wanted = re.compile(options.only or "")
    chosen = [job for job in jobs(settings) if any(wanted.search(name) for name in job[0])]
    names = [name for job in chosen for name in job[0] if wanted.search(name)]
    if options.list:
        print("\n".join(names))
        return 0
    facts = report.machine_facts(settings)
    table = report.Table(names, settings, options.markdown)
    table.start(facts)
    rows: list[Row] = []
    start = time.perf_counter()
    for job in chosen:
        for row in run_job(job, settings):
            if row.case in names:
                rows.append(row)
                table.row(row)
    print("\n" + report.summary(rows, settings, time.perf_counter() - start))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(facts, rows, settings), indent=1) + "\n")
    return 1 if options.strict and any(row.error is not None for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
