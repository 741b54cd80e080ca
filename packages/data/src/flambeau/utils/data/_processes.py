"""Workers that are processes."""

from __future__ import annotations

import contextlib
import itertools
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
from collections.abc import Iterator
from multiprocessing import connection, resource_tracker, util
from typing import Any

import numpy as np

from flambeau._settings import get_num_threads, set_num_threads
from flambeau.dtypes import set_default_dtype
from flambeau.errors import BackendError
from flambeau.random import default_generator
from flambeau.utils.data import _transport
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
from flambeau.utils.data.errors import KindError, WorkerError

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


def _heed_signals() -> None:
    """Leave the signals that go to the whole group, as Ctrl-C does, to the program, which closes its workers.

    With a handler, not SIG_IGN, which programs started by a dataset would inherit.
    """
    with contextlib.suppress(ValueError):  # not the main thread, so there are no handlers
        signal.set_wakeup_fd(-1)
        for name in ("SIGINT", "SIGHUP"):
            which = getattr(signal, name, None)
            if which is not None and signal.getsignal(which) is not signal.SIG_IGN:
                signal.signal(which, lambda *_: None)
        # The program's own handler, inherited by a fork, may save a checkpoint.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from this thread for a while, and from processes that it starts until they can heed it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _threads() -> int:
    """Threads of a matrix product; 1 where nothing on the cpu can be asked.  The first call takes milliseconds."""
    try:
        return get_num_threads()
    except BackendError:
        return 1


class _Threads:
    """Keeps matrix products in a worker to one thread, as the workers share the processor.

    A forked process has none of the threads that products use until the first one. To set their number would start
    them, and they wait for work by spinning, so it is set when they are seen.
    """

    def __init__(self, forked: bool) -> None:
        self._made = 0
        self._before = _threads()
        self._open = self._before > 1
        if self._open and not forked:
            set_num_threads(1)
            self._open = False

    def chosen(self) -> None:
        """worker_init_fn has been called: what it has set stays."""
        self._open = self._open and get_num_threads() == self._before and not self._seen()

    def limit(self) -> None:
        """A batch has been made; look after the 1st, 2nd, 4th, 8th ... one."""
        self._made += 1
        if self._open and not self._made & (self._made - 1) and self._seen():
            set_num_threads(1)
            self._open = False

    @staticmethod
    def _seen() -> bool:
        try:
            return len(os.listdir("/proc/self/task")) > threading.active_count()
        except OSError:  # not Linux
            return False


def _seed_globals(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (datasets use it, and expect workers to differ)


def _seed_for(task: Task, seed: int, worker: int, iterable: bool) -> None:
    """Seed Python's and NumPy's global generators: for every batch, or for a worker's whole stream."""
    if not iterable:
        _seed_globals(seed + task[2])
    elif task[0] != BATCH:
        _seed_globals(seed + worker)


def _main(
    setup: Setup, worker: int, tasks: Any, answers: Any, flags: Any, prefix: str, inherited: Any
) -> None:
    """The body of a worker process."""
    _heed_signals()
    flags[1 + worker] = 1
    for end in inherited:
        end.close()
    outbox = Outbox(prefix, setup.depth)
    threading.Thread(target=_watch_parent, args=(outbox,), daemon=True).start()
    install()
    info = setup.info(worker, "multiprocessing")
    set_worker_info(info)
    _seed_globals(info.seed)
    default_generator.manual_seed(info.seed)
    set_default_dtype(setup.dtype)
    threads = _Threads(forked=bool(inherited))
    work = Worker(setup, worker, "DataLoader worker process", keep=False)
    threads.chosen()
    seed = info.seed
    # The broken pipe or the end of file that a program leaves behind when it closes or dies is no error.
    with contextlib.suppress(EOFError, OSError):
        while not flags[0]:
            task, renew = pickle.loads(tasks.recv_bytes())
            if task is None:
                break
            if task[0] != BATCH:
                seed = task[1]
            if setup.init_fn is None:
                _seed_for(task, seed, worker, setup.recipe.iterable)
            answer = work.answer(task)
            if answer is not None:
                answers.send_bytes(_message(outbox, work, answer, renew))
                threads.limit()
    outbox.close()


def _message(outbox: Outbox, work: Worker, answer: Answer, renew: bool) -> bytes:
    try:
        return outbox.message(answer, renew)
    except Exception as error:
        if answer[0] != FAILURE:
            return _message(outbox, work, (FAILURE, work.failure(error)), renew)
        failure = answer[1]
        if not failure.shorten(outbox.inline // 2):
            raise WorkerError("DataLoader: no memory to say what went wrong") from error
        return outbox.message(answer, renew)


# ---- in the program
class ProcessPool(Pool):
    """num_workers processes, each with a pipe for tasks and one for answers."""

    def __init__(self, setup: Setup, context: Any) -> None:
        context = context or multiprocessing.get_context()
        self._pid = os.getpid()
        self._closed = True  # as long as there is nothing to close
        self._tasks: list[Any] = []
        self._answers: list[Any] = []
        self._processes: list[Any] = []
        self._inboxes: list[Inbox] = []
        if multiprocessing.current_process().daemon:
            raise KindError(
                "DataLoader: this process is daemonic, as the workers of loaders are, and cannot start worker "
                "processes. Hint: num_workers=0 or worker_kind='thread'"
            )
        self._method = context.get_start_method()
        # Whether to stop, and who has begun. No lock that a killed worker could take with it.
        self._flags = context.RawArray("b", 1 + setup.num_workers)
        self._closed = False
        _threads()  # once for all workers that are forked
        if _transport._FOLDER is None:
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
        if self._method == "fork":
            inherited = [end for pool in _pools for end in (*pool._tasks, *pool._answers)]
        args = (setup, worker, task_reader, answer_writer, self._flags, prefix, inherited)
        process = context.Process(
            target=_main, args=args, name=f"flambeau-loader-{worker}", daemon=True
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads, NumPy's among them, which are fit for it.
            warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
            try:
                with _without_interrupts():
                    process.start()
                    self._processes.append(process)
            except (TypeError, AttributeError, pickle.PicklingError) as error:
                raise WorkerError(
                    "DataLoader: cannot send the dataset, collate_fn or worker_init_fn to a worker process: "
                    f"{error}. Hint: define them at the top of a module, or worker_kind='thread', "
                    "or multiprocessing_context='fork'"
                ) from error
            finally:
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
            hint = "num_workers=0 shows what the dataset does"
            if not self._flags[1 + worker] and self._method != "fork":
                hint = (
                    f"it printed the reason. With the start method {self._method!r} the lines of a script that make "
                    "a DataLoader belong under `if __name__ == '__main__':`, and what the loader is made of has to be "
                    "importable"
                )
            return WorkerError(f"{who} exited unexpectedly with exit code {code}. Hint: {hint}")
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
        self._flags[0] = 1
        try:
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
        finally:  # at once, if Ctrl-C comes for a second time
            self._end()

    def _end(self) -> None:
        """Stop the processes that are there still, and give their memory back."""
        for end_it in ("terminate", "kill"):
            for process in self._processes:
                if process.is_alive():
                    getattr(process, end_it)()
            for process in self._processes:
                process.join(1.0)
        for inbox, process in itertools.zip_longest(self._inboxes, self._processes):
            inbox.close(killed=process is not None and process.exitcode != 0)

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
