"""Sequence numbers that remember more about the making of their nodes: for anomaly mode and the profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau.autograd.node as _node
from flambeau.ops._source import SCOPE

_PLAIN = _node.next_seq


class Seq(int):
    """A node's sequence number with whatever attributes the marks gave it."""


Mark = Callable[[Any], None]
_marks: list[Mark] = []


def add(mark: Mark) -> None:
    """From now on, call mark(seq) with the sequence number of every new node."""
    _marks.append(mark)
    _switch()


def remove(mark: Mark) -> None:
    """Take one mark away; a mark that was added twice stays."""
    if mark in _marks:
        _marks.remove(mark)
        _switch()


def _switch() -> None:
    # Generated code and hand-written nodes read these names at every call, so marks cost nothing when there are none.
    SCOPE["next_seq"] = _node.next_seq = _marked if _marks else _PLAIN


def _marked() -> int:
    seq = Seq(_PLAIN())
    for mark in _marks:
        mark(seq)
    return seq
