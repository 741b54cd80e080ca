"""One recording: all that writes down while it runs, and what was written."""

from __future__ import annotations

import os
import threading
from typing import Any

from flambeau.backend import exchange
from flambeau.profiler import _record
from flambeau.profiler._events import EventList, FunctionEvent, timed
from flambeau.profiler._meter import Meter
from flambeau.profiler._record import Recorder
from flambeau.profiler._table import memory as _memory, time as _time
from flambeau.profiler._trace import chrome_trace
from flambeau.profiler._watch import Watch

#: The sessions at work: at most one.
_RUNNING: list[Session] = []


class Session:
    """From start() to stop(), calls are written down.

    Args: wait: for asynchronous devices, after each kernel.  earlier: a session that ended and whose calls are kept.
    """

    def __init__(
        self,
        *,
        shapes: bool,
        stack: bool,
        wait: bool,
        memory: bool,
        flops: bool,
        earlier: Session | None = None,
    ) -> None:
        self.recorder = Recorder(shapes, stack, wait)
        self.watch = Watch(self.recorder.events)
        self.meter = Meter(memory, flops)
        self.earlier = earlier
        self.thread = threading.get_ident()
        self.names: dict[int, str] = {}
        self._events: list[FunctionEvent] | None = None

    def start(self) -> None:
        """Begin.  Raises: ProfilerError: another session is running."""
        metered = self.meter.memory or self.meter.flops
        try:
            if metered:  # before the clocks, so that what kernels take falls within their time
                self.meter.start()
            self.recorder.start()
        except BaseException:
            self.meter.stop()
            raise
        try:
            self.watch.start()
            _RUNNING.append(self)
        except BaseException:
            self.stop()
            raise

    def attach(self) -> None:
        """Take in devices, packages and classes that came since."""
        self.recorder.attach()
        self.watch.attach()

    def stop(self) -> None:
        """End, and put everything back."""
        self.watch.stop()
        self.recorder.stop()
        self.meter.stop()
        self.names = {t.ident: t.name for t in threading.enumerate() if t.ident is not None}
        if self in _RUNNING:
            _RUNNING.remove(self)

    # ---- what was written
    @property
    def began(self) -> int:
        """When it began, the earlier sessions included, in ns."""
        return self.recorder.began if self.earlier is None else self.earlier.began

    @property
    def us(self) -> float:
        """How long it ran, the earlier sessions included, in microseconds."""
        own = (self.recorder.ended - self.recorder.began) / 1e3
        return own if self.earlier is None else own + self.earlier.us

    def _raw(self) -> tuple[list[Any], list[Any]]:
        if self.earlier is None:
            return self.recorder.events, self.meter.notes
        events, notes = self.earlier._raw()
        return [*events, *self.recorder.events], [*notes, *self.meter.notes]

    def events(self) -> EventList:
        """All calls in order of their start."""
        if self._events is None:
            events, notes = self._raw()
            self._events = timed(events, self.began, notes)
        made = EventList(self._events)
        made.notes = self._notes()
        return made

    def _memory(self) -> list[tuple[float, int]]:
        """(time in us, bytes taken on the CPU since the start), at each change."""
        taken, made = 0, []
        for time, _, field, amount in sorted(self._raw()[1]):
            if field == "self_cpu_memory_usage":
                taken += amount
                made.append(((time - self.began) / 1e3, taken))
        return made

    def _notes(self) -> tuple[str, ...]:
        """What the table says below the rows: how much time no row shows, and the peak of memory."""
        inside = sum(
            e.cpu_time_total
            for e in self._events or ()
            if e.cpu_parent is None and e.thread == self.thread
        )
        lines = [
            f"Recorded: {_time(self.us)}, outside of all rows: {_time(max(self.us - inside, 0))}"
        ]
        if self.meter.memory:
            peak = max((taken for _, taken in self._memory()), default=0)
            lines.append(f"CPU memory: at most {_memory(max(peak, 0))} more than at the start")
        return tuple(lines)

    def trace(self) -> dict[str, Any]:
        """The recording as a Chrome trace."""
        return chrome_trace(self.events(), self.names, self._memory())


def _before_fork() -> None:
    exchange._lock.acquire()
    _record._lock.acquire()


def _after_fork() -> None:
    _record._lock.release()
    exchange._lock.release()


def _after_fork_in_child() -> None:
    """Nobody would ever read what a worker process writes down."""
    _after_fork()
    for session in list(_RUNNING):
        session.stop()
        session.recorder.events.clear()
        session.meter.notes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
