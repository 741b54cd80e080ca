"""Workers that are processes."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import pickle
import random
import secrets
import select
import signal
import threading
import time
import warnings
import weakref
from multiprocessing import connection, resource_tracker, util
from typing import Any

import numpy as np

from flambeau.random import default_generator
from flambeau.utils.data._seeding import install
from flambeau.utils.data._transport import Inbox, Outbox
from flambeau.utils.data._worker import (
    BATCH,
    FAILURE,
    GRACE,
    Answer,
    Pool,
    Setup,
    Task,
    Worker,
    set_worker_info,
)
from flambeau.utils.data.errors import WorkerError

#: Seconds between two looks whether the program is still there, where its end goes unnoticed otherwise.
_WATCH = 5.0

_pools: weakref.WeakSet[ProcessPool] = weakref.WeakSet()


# ---- in the worker
def _watch_parent(outbox: Outbox) -> None:
    """End this process when the program has ended, however it did."""
    parent = multiprocessing.parent_process()
    pid = os.getppid()
    sentinel = parent.sentinel if parent is not None else None
    while sentinel is not None and os.getppid() == pid:
        if connection.wait([sentinel], _WATCH):
            break
    outbox.close()
    os._exit(1)


def _seed_globals(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (datasets use it, and expect workers to differ)


def _main(
    setup: Setup, worker: int, tasks: Any, answers: Any, stopped: Any, prefix: str, inherited: Any
) -> None:
    """The body of a worker process."""
    # Ctrl-C goes to the whole group: the program answers it and closes its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in inherited:
        end.close()
    outbox = Outbox(prefix, setup.depth)
    threading.Thread(target=_watch_parent, args=(outbox,), daemon=True).start()
    install()
    info = setup.info(worker, "multiprocessing")
    set_worker_info(info)
    _seed_globals(info.seed)
    default_generator.manual_seed(info.seed)
    work = Worker(setup, worker, "DataLoader worker process", keep=False)
    seed = info.seed
    # The broken pipe or the end of file that a program leaves behind when it closes or dies is no error.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while not stopped.value:
            task, renew = pickle.loads(tasks.recv_bytes())
            if task is None:
                break
            if task[0] != BATCH:
                seed = task[1]
            elif setup.init_fn is None:
                _seed_globals(seed + task[2])
            answer = work.answer(task)
            if answer is not None:
                answers.send_bytes(_message(outbox, work, answer, renew))
    outbox.close()


def _message(outbox: Outbox, work: Worker, answer: Answer, renew: bool) -> bytes:
    try:
        return outbox.message(answer, renew)
    except Exception as error:
        if answer[0] == FAILURE:  # an exception type that cannot be pickled
            answer[1].kind = RuntimeError
            return outbox.message(answer, renew)
        return _message(outbox, work, (FAILURE, work.failure(error)), renew)


# ---- in the program
class ProcessPool(Pool):
    """num_workers processes, each with a pipe for tasks and one for answers."""

    def __init__(self, setup: Setup, context: Any) -> None:
        context = context or multiprocessing.get_context()
        self._pid = os.getpid()
        self._closed = False
        self._tasks: list[Any] = []
        self._answers: list[Any] = []
        self._processes: list[Any] = []
        self._inboxes: list[Inbox] = []
        # No lock that a killed worker could take with it.
        self._stopped = context.RawValue("b", 0)
        resource_tracker.ensure_running()  # before a fork: one tracker for all
        name = f"fb-{self._pid}-{secrets.token_hex(3)}"
        _pools.add(self)
        try:
            for worker in range(setup.num_workers):
                self._start(setup, worker, context, f"{name}-{worker}-")
        except BaseException:
            self.close(0.0)
            raise
        self._who = {}
        for worker, (end, process) in enumerate(zip(self._answers, self._processes)):
            self._who[end.fileno()] = self._who[process.sentinel] = worker
        self._poll = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            for fd in self._who:
                self._poll.register(fd, select.POLLIN)

    def _start(self, setup: Setup, worker: int, context: Any, prefix: str) -> None:
        task_reader, task_writer = context.Pipe(duplex=False)
        answer_reader, answer_writer = context.Pipe(duplex=False)
        self._tasks.append(task_writer)
        self._answers.append(answer_reader)
        self._inboxes.append(Inbox(prefix, setup.depth))
        # A forked worker has to close the program's ends, or it would keep other workers from seeing them closed.
        inherited: list[Any] = []
        if context.get_start_method() == "fork":
            inherited = [end for pool in _pools for end in (*pool._tasks, *pool._answers)]
        args = (setup, worker, task_reader, answer_writer, self._stopped, prefix, inherited)
        process = context.Process(
            target=_main, args=args, name=f"flambeau-loader-{worker}", daemon=True
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads, NumPy's among them, which are fit for it.
            warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
            try:
                process.start()
            except (TypeError, AttributeError, pickle.PicklingError) as error:
                raise WorkerError(
                    "DataLoader: cannot send the dataset, collate_fn or worker_init_fn to a worker process: "
                    f"{error}. Hint: define them at the top of a module, or worker_kind='thread', "
                    "or multiprocessing_context='fork'"
                ) from error
        self._processes.append(process)
        task_reader.close()
        answer_writer.close()

    def _send(self, worker: int, task: Task) -> None:
        try:
            renew = task[0] == BATCH and self._inboxes[worker].ask()
            self._tasks[worker].send_bytes(pickle.dumps((task, renew), 5))
        except OSError:
            raise self._died(worker) from None

    def _receive(self, timeout: float | None) -> tuple[int, Any]:
        for fd in self._ready(timeout):
            worker = self._who[fd]
            if fd == self._processes[worker].sentinel:
                raise self._died(worker)
            try:
                return worker, self._answers[worker].recv_bytes()
            except (EOFError, OSError):
                raise self._died(worker) from None
        raise TimeoutError

    def _ready(self, timeout: float | None) -> list[int]:
        """Pipes with messages and sentinels of workers that died; these first."""
        if self._poll is not None:
            events = self._poll.poll(None if timeout is None else math.ceil(1000 * timeout))
            ready = [fd for fd, _ in events]
        else:
            ready = [
                end if isinstance(end, int) else end.fileno()
                for end in connection.wait(
                    [*self._answers, *(p.sentinel for p in self._processes)], timeout
                )
            ]
        if len(ready) > 1:
            sentinels = {p.sentinel for p in self._processes}
            ready.sort(key=lambda fd: fd not in sentinels)
        return ready

    def _died(self, worker: int) -> WorkerError:
        process = self._processes[worker]
        process.join(1.0)
        code = process.exitcode
        who = f"DataLoader worker {worker} (pid {process.pid})"
        if code is None or code >= 0:
            return WorkerError(
                f"{who} exited unexpectedly with exit code {code}. Hint: num_workers=0 shows what the dataset does"
            )
        try:
            name = f"{signal.Signals(-code).name} ({signal.strsignal(-code)})"
        except ValueError:
            name = str(-code)
        hint = _HINTS.get(-code, "num_workers=0 shows what the dataset does")
        return WorkerError(f"{who} is killed by signal: {name}. Hint: {hint}")

    def read(self, worker: int, message: Any) -> Answer:
        """A message as the answer that the worker gave."""
        return self._inboxes[worker].answer(message)

    def close(self, grace: float = GRACE) -> None:
        """Stop the processes: those that are idle at once, those that are busy after their batch or after the grace."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        _pools.discard(self)
        self._stopped.value = 1
        for end in self._tasks:
            with contextlib.suppress(OSError, ValueError):
                if os.name != "nt":
                    os.set_blocking(end.fileno(), False)
                end.send_bytes(pickle.dumps((None, False)))
        for end in (*self._tasks, *self._answers):
            end.close()
        until = time.monotonic() + grace
        for process in self._processes:
            process.join(max(0.0, until - time.monotonic()))
        for end_it in ("terminate", "kill"):
            for process in self._processes:
                if process.is_alive():
                    getattr(process, end_it)()
            for process in self._processes:
                process.join(1.0)
        for inbox in self._inboxes:
            inbox.close()

    def __del__(self) -> None:
        if hasattr(self, "_processes"):
            self.close()


_HINTS = {
    getattr(
        signal, "SIGKILL", 9
    ): "the system may have run out of memory; fewer workers or smaller batches need less",
    getattr(
        signal, "SIGBUS", 7
    ): "shared memory may be full (/dev/shm); smaller batches or worker_kind='thread' need less",
}


def _close_all() -> None:
    for pool in list(_pools):
        pool.close(1.0)


# Before multiprocessing terminates daemons at exit, which would leave their shared memory behind.
util.Finalize(None, _close_all, exitpriority=100)
