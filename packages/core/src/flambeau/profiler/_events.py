"""What a profile gives back: events, their sums by name, the table, the Chrome trace."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flambeau.errors import ArgumentError
from flambeau.profiler._record import OP, Event, Label


@dataclass
class FunctionEvent:
    """One call: times in microseconds from the start of the profile."""

    label: Label
    start: float
    end: float
    thread: int
    self_time: float
    input_shapes: Any = None
    stack: str = ""

    @property
    def name(self) -> str:
        """Of the kernel, module or range."""
        return self.label.name

    @property
    def cpu_time_total(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass
class FunctionEventAvg:
    """All calls of one name: times in microseconds; self times leave out what ran inside."""

    key: str
    kind: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    input_shapes: Any = None
    stack: list[str] = field(default_factory=list)

    @property
    def cpu_time(self) -> float:
        """The mean time of a call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def device_time(self) -> float:
        """The mean time of a call on a device other than the CPU."""
        return self.device_time_total / self.count if self.count else 0.0

    @property
    def self_device_time_total(self) -> float:
        """The time on devices other than the CPU."""
        return self.device_time_total

    def add(self, event: FunctionEvent) -> None:
        """Count one more call."""
        self.count += 1
        self.cpu_time_total += event.cpu_time_total
        self.self_cpu_time_total += event.self_time
        if event.label.kind == OP and event.label.device != "cpu":
            self.device_time_total += event.cpu_time_total


def timed(events: Iterable[Event], began: int) -> list[FunctionEvent]:
    """Events in order of their start, with the time that was spent in each itself."""
    made: list[FunctionEvent] = []
    open_: dict[int, list[FunctionEvent]] = {}
    for start, end, thread, label, shapes, stack in sorted(events, key=lambda e: (e[0], -e[1])):
        e = FunctionEvent(
            label, (start - began) / 1e3, (end - began) / 1e3, thread, 0.0, shapes, stack
        )
        e.self_time = e.cpu_time_total
        around = open_.setdefault(thread, [])
        while around and around[-1].end < e.end:
            around.pop()
        if around:
            around[-1].self_time -= e.cpu_time_total
        around.append(e)
        made.append(e)
    return made


_SORT = {
    "count": "count",
    "cpu_time": "cpu_time",
    "cpu_time_total": "cpu_time_total",
    "self_cpu_time_total": "self_cpu_time_total",
}
for _prefix in ("device", "cuda"):
    _SORT[f"{_prefix}_time"] = "device_time"
    _SORT[f"{_prefix}_time_total"] = "device_time_total"
    _SORT[f"self_{_prefix}_time_total"] = "self_device_time_total"


class EventList(list[Any]):
    """Rows of a profile; `table()` sets them in columns."""

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all rows, in microseconds."""
        return float(sum(row.self_cpu_time_total for row in self))

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
    ) -> str:
        """The rows as text.

        Args: sort_by: count, cpu_time, cpu_time_total, self_cpu_time_total, or device_... for time off the CPU.
        Raises: ArgumentError: sort_by is no such column.
        """
        rows: list[FunctionEventAvg] = list(self)
        if sort_by is not None:
            if sort_by not in _SORT:
                raise ArgumentError(f"table: sort_by={sort_by!r} is none of {', '.join(_SORT)}")
            rows.sort(key=lambda r: getattr(r, _SORT[sort_by]), reverse=True)
        total = self.self_cpu_time_total
        shown = rows[:row_limit] if row_limit >= 0 else rows
        cells = [_row(r, total, max_name_column_width) for r in shown]
        head = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
        if any(r.device_time_total for r in rows):
            head.append("Device total")
        else:
            cells = [c[:6] + c[7:] for c in cells]
        head.append("# of Calls")
        for title, values, width in (
            ("Input Shapes", [r.input_shapes for r in shown], max_shapes_column_width),
            ("Source Location", [(r.stack or [""])[-1] for r in shown], max_src_column_width),
        ):
            if any(values):
                head.append(title)
                for c, v in zip(cells, values, strict=True):
                    c.append(_cut(str(v or ""), width))
        lines = _columns(head, cells)
        if header is not None:
            lines.insert(0, header)
        return "\n".join([*lines, f"Self CPU time total: {_time(total)}", ""])

    def total_average(self) -> FunctionEventAvg:
        """All rows as one."""
        made = FunctionEventAvg("Total", "total")
        for r in self:
            made.count += r.count
            made.cpu_time_total += r.self_cpu_time_total
            made.self_cpu_time_total += r.self_cpu_time_total
            made.device_time_total += r.device_time_total
        return made

    def __str__(self) -> str:
        return self.table()


def averages(events: Iterable[FunctionEvent], by_shape: bool, by_stack: bool) -> EventList:
    """Events summed by name, and by shapes and calling line if wanted."""
    rows: dict[Any, FunctionEventAvg] = {}
    for e in events:
        key = (e.label, str(e.input_shapes) if by_shape else None, e.stack if by_stack else None)
        row = rows.get(key)
        if row is None:
            row = rows[key] = FunctionEventAvg(e.name, e.label.kind)
            row.input_shapes = e.input_shapes if by_shape else None
            row.stack = [e.stack] if by_stack and e.stack else []
        row.add(e)
    return EventList(rows.values())


def _time(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _row(r: FunctionEventAvg, total: float, width: int) -> list[str]:
    def share(x: float) -> str:
        return f"{100 * x / total:.2f}%" if total else "-"

    return [
        _cut(r.key, width),
        share(r.self_cpu_time_total),
        _time(r.self_cpu_time_total),
        share(r.cpu_time_total),
        _time(r.cpu_time_total),
        _time(r.cpu_time),
        _time(r.device_time_total),
        str(r.count),
    ]


def _columns(head: list[str], cells: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *cells)) for i in range(len(head))]
    rule = "  ".join("-" * w for w in widths)
    lines = [
        "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in (head, *cells)
    ]
    return [rule, lines[0], rule, *lines[1:], rule]


# ---- Chrome trace
def chrome_trace(events: Iterable[FunctionEvent]) -> dict[str, Any]:
    """The profile in the format that chrome://tracing and Perfetto read."""
    pid = os.getpid()
    rows = []
    for e in events:
        args: dict[str, Any] = {}
        if e.label.kind == OP:
            args["Device"] = e.label.device
        if e.input_shapes is not None:
            args["Input Dims"] = e.input_shapes
        if e.stack:
            args["Call stack"] = e.stack
        rows.append(
            {
                "ph": "X",
                "cat": {"op": "cpu_op", "module": "python_function"}.get(
                    e.label.kind, "user_annotation"
                ),
                "name": e.name,
                "pid": pid,
                "tid": e.thread,
                "ts": e.start,
                "dur": e.cpu_time_total,
                "args": args,
            }
        )
    return {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": rows}


def write_atomically(path: str, data: dict[str, Any]) -> None:
    """Write JSON, compressed if the name ends with .gz: the file is there complete, or as it was before."""
    text = json.dumps(data).encode()
    if path.endswith(".gz"):
        text = gzip.compress(text)
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=".trace-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
