"""The rows of a profile as text in columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau.profiler._events import FunctionEventAvg

_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))


def time(us: float) -> str:
    """A time: 1.250ms."""
    if abs(us) >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if abs(us) >= 1e3 else f"{us:.3f}us"


def memory(nbytes: float) -> str:
    """Bytes: 1.50 KB, in steps of 1024."""
    for unit in ("B", "KB", "MB"):
        if abs(nbytes) < 1024:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.2f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.2f} GB"


def table(
    rows: Sequence[FunctionEventAvg],
    total: float,
    shown: Sequence[FunctionEventAvg],
    widths: tuple[int, int, int],
) -> list[str]:
    """The lines of the rows that are shown; a column that is empty in all rows is left out.

    Args: total: of all self times, in us.  widths: the most characters of names, shapes and lines of source.
    """
    names, shapes, sources = widths

    def share(x: float) -> str:
        return f"{100 * x / total:.2f}%" if total else "-"

    columns: list[tuple[str, bool, Callable[[Any], str]]] = [
        ("Name", True, lambda r: _shortened(r.key, names)),
        ("Self CPU %", True, lambda r: share(r.self_cpu_time_total)),
        ("Self CPU", True, lambda r: time(r.self_cpu_time_total)),
        ("CPU total %", True, lambda r: share(r.cpu_time_total)),
        ("CPU total", True, lambda r: time(r.cpu_time_total)),
        ("CPU time avg", True, lambda r: time(r.cpu_time)),
        ("Device total", _any(rows, "device_time_total"), lambda r: time(r.device_time_total)),
    ]
    for title, field in (
        ("CPU Mem", "cpu_memory_usage"),
        ("Self CPU Mem", "self_cpu_memory_usage"),
        ("Device Mem", "device_memory_usage"),
        ("Self Device Mem", "self_device_memory_usage"),
    ):
        columns.append((title, _any(rows, field), _of(field, memory)))
    columns.append(("# of Calls", True, lambda r: str(r.count)))
    most = max((r.flops for r in rows), default=0)
    scale, letter = next(((s, n) for s, n in _SCALES if most >= s), (1.0, ""))
    columns += [
        (f"Total {letter}FLOPs", most > 0, lambda r: f"{r.flops / scale:.3f}" if r.flops else "--"),
        ("Input Shapes", _any(rows, "input_shapes"), lambda r: _cut(_text(r.input_shapes), shapes)),
        ("Source Location", _any(rows, "stack"), lambda r: _cut((r.stack or [""])[-1], sources)),
    ]
    kept = [(title, text) for title, used, text in columns if used]
    return _lines([t for t, _ in kept], [[text(r) for _, text in kept] for r in shown])


def _any(rows: Sequence[Any], field: str) -> bool:
    return any(getattr(r, field) for r in rows)


def _of(field: str, text: Callable[[float], str]) -> Callable[[Any], str]:
    return lambda r: text(getattr(r, field))


def _text(value: Any) -> str:
    return str(value or "")


def _shortened(name: str, width: int) -> str:
    """A name without its middle: what tells modules and directions apart stands at the end."""
    end = max(width - 3, 0) // 2
    return name if len(name) <= width else f"{name[: width - 3 - end]}...{name[len(name) - end :]}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _lines(head: list[str], cells: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *cells)) for i in range(len(head))]
    rule = "  ".join("-" * w for w in widths)
    lines = [
        "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in (head, *cells)
    ]
    return [rule, lines[0], rule, *lines[1:], rule]
