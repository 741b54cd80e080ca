"""What a profile gives back: events, and their sums by name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flambeau._atomic import replacing
from flambeau.errors import ArgumentError
from flambeau.profiler import _table
from flambeau.profiler._meter import Note
from flambeau.profiler._record import OP, Event, Label
from flambeau.profiler._spans import backward_of_modules, enclosing

#: What is summed from a call's own share to the calls around it.
_SUMMED = ("cpu_memory_usage", "device_memory_usage", "flops")
_COLUMNS = (
    "count cpu_time cpu_time_total self_cpu_time_total device_time device_time_total self_device_time_total "
    "cpu_memory_usage self_cpu_memory_usage device_memory_usage self_device_memory_usage flops key"
).split()


class _Amounts:
    """Names of PyTorch for the same: cuda_ and xpu_ for device_, and `_str` for an amount as text."""

    def __getattr__(self, name: str) -> Any:
        plain = name.replace("cuda_", "device_").replace("xpu_", "device_")
        if plain != name and not name.startswith("__"):
            return getattr(self, plain)
        if name.endswith("_str"):
            return _table.time(getattr(self, name[:-4]))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


@dataclass(frozen=True)
class Interval:
    """From when to when, in microseconds."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        """How long."""
        return self.end - self.start


@dataclass(eq=False, repr=False)
class FunctionEvent(_Amounts):
    """One call: times in microseconds from the start of the profile, memory in bytes, taken less freed."""

    label: Label
    start: float
    end: float
    thread: int
    self_cpu_time_total: float
    input_shapes: Any = None
    stack: str = ""
    cpu_parent: FunctionEvent | None = None
    cpu_children: list[FunctionEvent] = field(default_factory=list)
    self_cpu_memory_usage: int = 0
    self_device_memory_usage: int = 0
    cpu_memory_usage: int = 0
    device_memory_usage: int = 0
    flops: int = 0
    count = 1
    is_async = False

    @property
    def name(self) -> str:
        """Of the kernel, module, function or range."""
        return self.label.name

    key = name

    @property
    def kind(self) -> str:
        """op (a kernel), node (a backward function), module or range."""
        return self.label.kind

    @property
    def time_range(self) -> Interval:
        """From when to when."""
        return Interval(self.start, self.end)

    @property
    def cpu_time_total(self) -> float:
        """How long it took."""
        return self.end - self.start

    cpu_time = cpu_time_total

    @property
    def device_time_total(self) -> float:
        """How long it took, if it is a kernel of a device other than the CPU."""
        off = self.label.kind == OP and self.label.device != "cpu"
        return self.cpu_time_total if off else 0.0

    device_time = self_device_time_total = device_time_total

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent {self.name} at {self.start:.3f}us, {_table.time(self.cpu_time_total)}>"
        )


@dataclass(eq=False)
class FunctionEventAvg(_Amounts):
    """All calls of one name: times in microseconds, memory in bytes; self amounts leave out what ran inside."""

    key: str
    kind: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    cpu_memory_usage: int = 0
    self_cpu_memory_usage: int = 0
    device_memory_usage: int = 0
    self_device_memory_usage: int = 0
    flops: int = 0
    input_shapes: Any = None
    stack: list[str] = field(default_factory=list)
    cpu_parent: FunctionEvent | None = None

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

    def add(self, event: Any) -> None:
        """Count the calls of an event or of another row."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(event, name))


_ADDED = (
    "count cpu_time_total self_cpu_time_total device_time_total cpu_memory_usage self_cpu_memory_usage "
    "device_memory_usage self_device_memory_usage flops"
).split()


def timed(events: Sequence[Event], began: int, notes: Sequence[Note] = ()) -> list[FunctionEvent]:
    """Events in order of their start, with what was spent in each itself, and the backward pass of modules."""
    made: list[FunctionEvent] = []
    open_: dict[int, list[FunctionEvent]] = {}
    everything = [*backward_of_modules(events), *events]
    for start, end, thread, label, shapes, stack in sorted(everything, key=lambda e: (e[0], -e[1])):
        e = FunctionEvent(
            label, (start - began) / 1e3, (end - began) / 1e3, thread, (end - start) / 1e3
        )
        e.stack = stack
        if label.kind == OP:
            e.input_shapes = shapes
        around = open_.setdefault(thread, [])
        while around and around[-1].end < e.end:
            around.pop()
        if around:
            parent = e.cpu_parent = around[-1]
            parent.cpu_children.append(e)
            parent.self_cpu_time_total -= e.cpu_time_total
        around.append(e)
        made.append(e)
    for e in made:
        e.self_cpu_time_total = round(e.self_cpu_time_total, 3) + 0.0  # no -0.0 either
    _share(made, began, notes)
    return made


def _share(made: list[FunctionEvent], began: int, notes: Sequence[Note]) -> None:
    """Add what was noted to the innermost call at that time, and to the calls around it."""
    points = [((time - began) / 1e3, thread) for time, thread, _, _ in notes]
    around = enclosing(((e.start, e.end, e.thread, e) for e in made), points) if notes else []
    for (_, _, name, amount), calls in zip(notes, around, strict=True):
        if calls:
            inner = calls[-1]
            setattr(inner, name, getattr(inner, name) + amount)
    for e in reversed(made):
        e.cpu_memory_usage += e.self_cpu_memory_usage
        e.device_memory_usage += e.self_device_memory_usage
        if e.cpu_parent is not None:
            for name in _SUMMED:
                setattr(e.cpu_parent, name, getattr(e.cpu_parent, name) + getattr(e, name))


class EventList(list[Any]):
    """Rows of a profile; `table()` sets them in columns."""

    #: Lines for the end of the table.
    notes: tuple[str, ...] = ()

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
        time_unit: str | None = None,
    ) -> str:
        """The rows as text; columns without a value are left out.

        Args: sort_by: count, flops, key, cpu_time, cpu_time_total, self_cpu_time_total, cpu_memory_usage,
                self_cpu_memory_usage, or device_... for what is off the CPU.  row_limit: -1 for all.
            top_level_events_only: only rows with calls that no other row is around.  time_unit: kept for PyTorch's
                signature.
        Raises: ArgumentError: sort_by is no such column.
        """
        rows = [r for r in self if r.cpu_parent is None] if top_level_events_only else list(self)
        if sort_by is not None:
            column = sort_by.replace("cuda_", "device_").replace("xpu_", "device_")
            if column not in _COLUMNS:
                raise ArgumentError(
                    f"table: sort_by={sort_by!r} is none of {', '.join(_COLUMNS)} (cuda_ or xpu_ for device_)"
                )
            rows.sort(key=lambda r: getattr(r, column), reverse=True)
        total = self.self_cpu_time_total
        shown = rows[:row_limit] if row_limit >= 0 else rows
        widths = (max_name_column_width, max_shapes_column_width, max_src_column_width)
        lines = _table.table(rows, total, shown, widths)
        if header is not None:
            lines.insert(0, header)
        return "\n".join([*lines, *self.notes, f"Self CPU time total: {_table.time(total)}", ""])

    def key_averages(
        self,
        group_by_input_shapes: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """The events summed by name."""
        made = averages(self, group_by_input_shapes, group_by_stack_n > 0)
        made.notes = self.notes
        return made

    def total_average(self) -> FunctionEventAvg:
        """All rows as one."""
        made = FunctionEventAvg("Total", "total")
        for r in self:
            made.add(r)
        made.cpu_time_total = made.self_cpu_time_total
        made.cpu_memory_usage = made.self_cpu_memory_usage
        made.device_memory_usage = made.self_device_memory_usage
        return made

    def __str__(self) -> str:
        return self.table()


def averages(events: Iterable[Any], by_shape: bool, by_stack: bool) -> EventList:
    """Events summed by name, and by shapes and calling line if wanted; the steps of a schedule in one row."""
    rows: dict[Any, FunctionEventAvg] = {}
    for e in events:
        name = "ProfilerStep*" if e.name.startswith("ProfilerStep#") else e.name
        shapes = str(e.input_shapes) if by_shape else None
        key = (name, e.kind, e.label.device, shapes, e.stack if by_stack else None)
        row = rows.get(key)
        if row is None:
            row = rows[key] = FunctionEventAvg(name, e.kind, cpu_parent=e.cpu_parent)
            row.input_shapes = e.input_shapes if by_shape else None
            row.stack = [e.stack] if by_stack and e.stack else []
        row.add(e)
        if e.cpu_parent is None:
            row.cpu_parent = None
    return EventList(rows.values())


def write_atomically(path: str, data: dict[str, Any]) -> None:
    """Write JSON, compressed if the name ends with .gz: the file is there complete, or as it was before."""
    text = json.dumps(data).encode()
    with replacing(path) as file:
        file.write(gzip.compress(text) if path.endswith(".gz") else text)
