"""Named ranges by the names of NVIDIA's profiler; here they show in flambeau's (`flambeau.profiler`)."""

from __future__ import annotations

import threading
from typing import Any

from flambeau.profiler import record_function

__all__ = ["mark", "range", "range_pop", "range_push"]


class _Local(threading.local):
    def __init__(self) -> None:
        self.open: list[Any] = []


_local = _Local()

range = record_function  # `with nvtx.range("forward"):`


def range_push(msg: str) -> int:
    """Begin a named range within those that are open in this thread; how many were open before."""
    _local.open.append(record_function(msg).__enter__())
    return len(_local.open) - 1


def range_pop() -> int:
    """End the innermost range; how many are open after, -1 where none was."""
    if not _local.open:
        return -1
    _local.open.pop().__exit__()
    return len(_local.open)


def mark(msg: str) -> None:
    """A point with a name."""
    with record_function(msg):
        pass
