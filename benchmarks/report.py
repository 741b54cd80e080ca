"""Say what was measured, on what machine: aligned table, Markdown table, JSON."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row, Settings, loop_overhead

SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
}


def quantity(value: float | None, unit: str) -> str:
    """Three significant digits with a fitting prefix; nothing for None."""
    if value is None:
        return ""
    scales = SCALES[unit]
    factor, name = next((s for s in scales if value >= s[0]), scales[-1])
    scaled = value / factor
    return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f} {name}"


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git(*arguments: str) -> str | None:
    """Output of a read-only git command in this checkout, None where there is none."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def commit() -> str | None:
    """The commit measured, marked when the tree differs from it."""
    head = git("rev-parse", "--short=10", "HEAD")
    if head is None:
        return None
    return f"{head} + changes" if git("status", "--porcelain") else head


def blas_name() -> str:
    """The BLAS that NumPy was built with."""
    try:
        config: Any = np.show_config(mode="dicts")
        return str(config["Build Dependencies"]["blas"]["name"])
    except (KeyError, TypeError):
        return "unknown BLAS"


def machine_facts(settings: Settings) -> dict[str, Any]:
    """All that a reader needs to judge or repeat the figures."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": settings.threads,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": f"{np.__version__} ({blas_name()})",
        "torch": settings.theirs.__version__,
        "ours": f"{settings.ours.__name__} {getattr(settings.ours, '__version__', '?')}",
        "commit": commit(),
        "rounds": settings.rounds,
        "block_ms": settings.block_seconds * 1e3,
        "loop_overhead_ns": round(loop_overhead() * 1e9),
    }


def header(facts: dict[str, Any]) -> list[str]:
    """The lines above the table."""
    threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    return [
        f"machine: {facts['cpu']}, {facts['cores']} cores, {threads} for PyTorch and for NumPy's"
        f" BLAS; load {facts['load']} at the start",
        f"versions: {facts['python']}, NumPy {facts['numpy']}, torch {facts['torch']},"
        f" {facts['ours']}, commit {facts['commit'] or 'none'}, {facts['date']}",
        f"method: ratio = ours / torch eager, median of {facts['rounds']} interleaved rounds of"
        f" {facts['block_ms']:g} ms blocks in one process; times are medians and contain"
        f" {facts['loop_overhead_ns']} ns of loop",
    ]


def status(row: Row, settings: Settings) -> str:
    """The last column."""
    if row.error is not None:
        return f"error: {row.error}"
    if settings.self_check:
        return "self"
    return "ok" if row.met else "short"


def cells(row: Row, settings: Settings) -> list[str]:
    """One row as text."""
    ratio = (
        "" if row.ratio is None else f"{row.ratio:.3g}" if row.ratio < 0.1 else f"{row.ratio:.2f}"
    )
    quartiles = "" if row.quartiles is None else "{:.2f}..{:.2f}".format(*row.quartiles)
    return [
        row.case,
        quantity(row.theirs, row.unit),
        quantity(row.ours, row.unit),
        ratio,
        quartiles,
        row.goal,
        status(row, settings),
    ]


def titles(settings: Settings) -> list[str]:
    """The heads of the columns."""
    return ["case", "torch", settings.ours.__name__, "ratio", "IQR", "goal", ""]


class Table:
    """Prints rows as they come, aligned or as Markdown."""

    def __init__(self, names: Sequence[str], settings: Settings, markdown: bool) -> None:
        self.settings = settings
        self.markdown = markdown
        self.widths = [max(map(len, names), default=4), 8, 8, 6, 10, 8, 0]

    def _print(self, texts: Sequence[str]) -> None:
        if self.markdown:
            print("| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |", flush=True)
            return
        first, *middle, last = zip(texts, self.widths, strict=True)
        line = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in middle), last[0]]
        print("  ".join(line).rstrip(), flush=True)

    def start(self, facts: dict[str, Any]) -> None:
        """Print the header."""
        lines = header(facts)
        print("\n".join(lines) if not self.markdown else "<br>\n".join(lines), end="\n\n")
        self._print(titles(self.settings))
        if self.markdown:
            print("|---|--:|--:|--:|--:|--:|---|", flush=True)

    def row(self, row: Row) -> None:
        """Print one row."""
        self._print(cells(row, self.settings))


def summary(rows: Sequence[Row], settings: Settings, seconds: float) -> str:
    """The line below the table."""
    errors = sum(row.error is not None for row in rows)
    good = [row for row in rows if row.error is None]
    if settings.self_check:
        ratios = sorted(row.ratio for row in good if row.ratio is not None) or [float("nan")]
        middle = ratios[len(ratios) // 2]
        found = f"self-check: ratios {ratios[0]:.3f} to {ratios[-1]:.3f}, median {middle:.3f}"
    else:
        met = sum(bool(row.met) for row in good)
        found = f"{met} ok, {len(good) - met} short"
    return f"{found}, {errors} errors; {seconds:.0f} s"


def as_json(facts: dict[str, Any], rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """Everything, every round's ratio included."""
    return {
        "machine": facts,
        "rows": [
            {**asdict(r), "ratio": r.ratio, "iqr": r.quartiles, "status": status(r, settings)}
            for r in rows
        ],
    }
