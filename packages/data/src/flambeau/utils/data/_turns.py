"""Whether worker threads load at the same time or one after another: whichever gives more batches.

NumPy lets go of the interpreter lock around each of its loops. Threads that wait for the lock are woken each time, and
where the loops are short, as in most transforms of small samples, that takes longer than the loops. Reading files and
decoding images gain from several threads. Which it is depends on the dataset and the machine, so it is measured.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

#: Batches before the other way is tried for the first time and at most; each trial that changes nothing doubles them.
_FIRST, _LAST = 16, 1024
#: What the other way must save before it is taken.
_GAIN = 0.9
#: Seconds, and batches' durations, that a thread waits for its turn: its dataset may make one wait for another.
_PATIENCE = (0.2, 4.0)


def useful(workers: int) -> bool:
    """Whether there is anything to decide: not for one thread, not where Python has no interpreter lock."""
    return workers > 1 and getattr(sys, "_is_gil_enabled", lambda: True)()


class Turns:
    """The way a pool of threads works now, and what each way has cost.

    alone: whether one thread at a time makes a batch.  cost: seconds in which any thread worked, per batch, by `alone`.
    """

    def __init__(self, workers: int) -> None:
        self.alone = False
        self.cost: dict[bool, float] = {}
        self._workers = workers
        self._baton, self._guard = threading.Lock(), threading.Lock()
        self._busy = 0
        self._seen = self._worked = 0.0
        self._period = _FIRST
        self._trial = False
        self._begin(2 * workers)

    def _begin(self, batches: int) -> None:
        """Count the next batches, after those that are being made."""
        self._settling, self._batches, self._left = self._busy, batches, batches

    def __call__(self, answer: Callable[[Any], Any], task: Any) -> Any:
        """answer(task), when it is this thread's turn."""
        held = self.alone and self._take()
        self._note(1)
        try:
            return answer(task)
        finally:
            self._note(-1)
            if held:
                self._baton.release()

    def _take(self) -> bool:
        least, times = _PATIENCE
        patience = max(least, times * self._workers * max(self.cost.values(), default=0.0))
        if not self._baton.acquire(timeout=patience):
            return False
        if self.alone:
            return True
        self._baton.release()
        return False

    def _note(self, change: int) -> None:
        """A thread begins (1) or has made (-1) a batch."""
        with self._guard:
            now = perf_counter()
            if self._busy and not self._settling:
                self._worked += now - self._seen
            self._seen = now
            self._busy += change
            if change == 1:
                return
            if self._settling:
                self._settling -= 1
                return
            self._left -= 1
            if not self._left:
                self.cost[self.alone] = self._worked / self._batches
                self._worked = 0.0
                self._decide()

    def _decide(self) -> None:
        if not self._trial:
            self._trial, self.alone = True, not self.alone
            self._begin(2 if self.alone else 2 * self._workers)
            return
        self._trial = False
        if self.cost[self.alone] < _GAIN * self.cost[not self.alone]:
            self._period = _FIRST
        else:
            self.alone = not self.alone
            self._period = min(2 * self._period, _LAST)
        self._begin(self._period)
