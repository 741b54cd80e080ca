"""What calls belong to: the modules whose backward pass a function is part of, the call in which memory was taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flambeau.profiler._record import MODULE, Event, Label
from flambeau.profiler._watch import BACKWARD, NODE

#: start, end, thread and whatever it stands for
Span = tuple[float, float, int, Any]


def enclosing(spans: Iterable[Span], points: Sequence[tuple[float, int]]) -> list[tuple[Any, ...]]:
    """For each point (time, thread), what surrounds it there, the outermost first."""
    found: list[tuple[Any, ...]] = [()] * len(points)
    ordered = sorted(spans, key=lambda s: (s[0], -s[1]))
    open_: dict[int, list[Span]] = {}
    at = 0
    for i in sorted(range(len(points)), key=lambda i: points[i][0]):
        time, thread = points[i]
        while at < len(ordered) and ordered[at][0] <= time:
            around = open_.setdefault(ordered[at][2], [])
            _close(around, ordered[at][0])
            around.append(ordered[at])
            at += 1
        around = open_.get(thread, [])
        _close(around, time)
        found[i] = tuple([s[3] for s in around])
    return found


def _close(around: list[Span], time: float) -> None:
    while around and around[-1][1] < time:
        around.pop()


def backward_of_modules(events: Sequence[Event]) -> list[Event]:
    """Events for the backward pass of each call of a module: from the first to the last of the functions made in it."""
    nodes = sorted(e for e in events if e[3].kind == NODE and hasattr(e[4], "made"))
    calls = enclosing(
        ((e[0], e[1], e[2], e) for e in events if e[3].kind == MODULE),
        [(n[4].made, n[4].thread) for n in nodes],
    )
    walks = enclosing(
        ((e[0], e[1], e[2], e) for e in events if e[3] is BACKWARD),
        [(n[0], n[2]) for n in nodes],
    )
    made: list[Event] = []
    open_: dict[int, list[list[Any]]] = {}
    for node, chain, walk in zip(nodes, calls, walks, strict=True):
        # The same call in another walk is another span.
        keys = [(id(walk[-1]) if walk else 0, id(call)) for call in chain]
        running = open_.setdefault(node[2], [])
        same = 0
        while same < min(len(keys), len(running)) and running[same][0] == keys[same]:
            running[same][2] = node[1]
            same += 1
        made += [_event(r, node[2]) for r in running[same:]]
        running[same:] = [
            [key, node[0], node[1], call[3].name]
            for key, call in zip(keys[same:], chain[same:], strict=True)
        ]
    for thread, running in open_.items():
        made += [_event(r, thread) for r in running]
    return made  # of spans that begin and end together, the outer one first


def _event(running: list[Any], thread: int) -> Event:
    _, start, end, name = running
    return start, end, thread, Label(MODULE, f"{name} backward"), None, ""
