"""A profile for other programs: Chrome traces and the lines that flame graphs are drawn from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from flambeau.profiler._events import FunctionEvent
from flambeau.profiler._record import MODULE, OP
from flambeau.profiler._watch import NODE

_PLAIN = str.maketrans(" ;\t\n", "____")
_CATEGORIES = {OP: "cpu_op", NODE: "cpu_op", MODULE: "python_function"}


def stacks(events: Iterable[FunctionEvent], metric: str) -> list[str]:
    """One line for each call, its own time behind the names around it: what flame graphs are drawn from."""
    lines = []
    for e in events:
        names = []
        at: FunctionEvent | None = e
        while at is not None:
            names.append(at.name.translate(_PLAIN))
            at = at.cpu_parent
        amount = int(getattr(e, metric))
        if amount > 0:
            lines.append(f"{';'.join(reversed(names))} {amount}")
    return lines


def chrome_trace(
    events: Iterable[FunctionEvent],
    names: Mapping[int, str] | None = None,
    memory: Iterable[tuple[float, int]] = (),
) -> dict[str, Any]:
    """The profile in the format that chrome://tracing and Perfetto read.

    Args: names: of threads.  memory: (time in us, bytes taken on the CPU since the start).
    """
    pid = os.getpid()
    rows: list[dict[str, Any]] = []
    threads: dict[int, int] = {}
    for e in events:
        args: dict[str, Any] = {}
        if e.label.kind == OP:
            args["Device"] = e.label.device
        if e.input_shapes is not None:
            args["Input Dims"] = e.input_shapes
        if e.stack:
            args["Call stack"] = e.stack
        if e.flops and e.label.kind == OP:
            args["flops"] = e.flops
        rows.append(
            {
                "ph": "X",
                "cat": _CATEGORIES.get(e.label.kind, "user_annotation"),
                "name": e.name,
                "pid": pid,
                "tid": threads.setdefault(e.thread, len(threads) + 1),
                "ts": round(e.start, 3),
                "dur": round(e.cpu_time_total, 3),
                "args": args,
            }
        )
    for at, taken in memory:
        counter = {"ph": "C", "name": "CPU memory", "pid": pid, "ts": round(at, 3)}
        rows.append({**counter, "args": {"bytes": taken}})
    known = names or {}
    about = [("process_name", 0, "flambeau")]
    about += [("thread_name", tid, known.get(t, f"thread {t}")) for t, tid in threads.items()]
    head = [
        {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": {"name": name}}
        for what, tid, name in about
    ]
    return {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": [*head, *rows]}
