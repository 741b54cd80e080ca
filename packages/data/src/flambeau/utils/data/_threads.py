"""Workers that are threads of this process."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from flambeau.utils.data._seeding import here, install
from flambeau.utils.data._turns import Turns, useful
from flambeau.utils.data._worker import (
    BATCH,
    GRACE,
    Answer,
    Pool,
    Setup,
    Task,
    Worker,
    set_worker_info,
)

_Inbox = queue.SimpleQueue[Task | None]
_Outbox = queue.SimpleQueue[tuple[int, Answer]]


def _run(
    setup: Setup,
    worker: int,
    inbox: _Inbox,
    outbox: _Outbox,
    stopped: threading.Event,
    turns: Turns | None,
) -> None:
    """The body of a worker thread; it must not know the pool, which stops it when nobody holds the pool any more."""
    install()
    info = setup.info(worker, "thread")
    set_worker_info(info)
    # What init_fn and the dataset draw or seed between samples stays in this thread.
    here.state = (info.seed, 0)
    work = Worker(setup, worker, "DataLoader worker thread", keep=True)
    while (task := inbox.get()) is not None and not stopped.is_set():
        answer = turns(work.answer, task) if turns and task[0] == BATCH else work.answer(task)
        if answer is not None:
            outbox.put((worker, answer))


class ThreadPool(Pool):
    """num_workers threads, each with a queue of tasks, and one queue of answers."""

    def __init__(self, setup: Setup) -> None:
        self._outbox: _Outbox = queue.SimpleQueue()
        self._inboxes: list[_Inbox] = [queue.SimpleQueue() for _ in range(setup.num_workers)]
        self._stopped = threading.Event()
        turns = Turns(setup.num_workers) if useful(setup.num_workers) else None
        self._threads = [
            threading.Thread(
                target=_run,
                args=(setup, i, inbox, self._outbox, self._stopped, turns),
                name=f"flambeau-loader-{i}",
                daemon=True,
            )
            for i, inbox in enumerate(self._inboxes)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, worker: int, task: Task) -> None:
        self._inboxes[worker].put(task)

    def _receive(self, timeout: float | None) -> tuple[int, Any]:
        try:
            if timeout == 0:
                return self._outbox.get_nowait()
            return self._outbox.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def read(self, worker: int, message: Any) -> Answer:
        """The message itself."""
        answer: Answer = message
        return answer

    def close(self, grace: float = GRACE) -> None:
        """Stop the threads; one that is busy for longer ends after its batch."""
        self._stopped.set()
        for inbox in self._inboxes:
            inbox.put(None)
        until = time.monotonic() + grace
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def __del__(self) -> None:
        if hasattr(self, "_threads"):
            self.close(0.0)
