"""What a worker does, be it a thread or a process: take tasks, answer with batches or with what went wrong."""

from __future__ import annotations

import pickle
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flambeau.autograd.state import state as modes
from flambeau.dtypes import get_default_dtype
from flambeau.utils.data._fetch import Recipe
from flambeau.utils.data._seeding import SampleRNG, sample_rng
from flambeau.utils.data.errors import WorkerError

#: Kinds of tasks, and of answers.
EPOCH, BATCH, END, FAILURE = "epoch", "batch", "end", "failure"
#: Seconds that a worker has to end its batch when its loader is done.
GRACE = 5.0

Task = tuple[str, Any, int]
Answer = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker knows about itself.

    id: 0 to num_workers - 1.  seed: of this worker.  dataset: the worker's copy; with threads the program's own.
    rng: generators of the sample being loaded, see `sample_rng`.  worker_method: "multiprocessing" or "thread".
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: SampleRNG | None = None
    worker_method: str = "multiprocessing"


class _Mine(threading.local):
    info: WorkerInfo | None = None


_mine = _Mine()
_process_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Which worker this is; None where the caller is not one.

    Example:
        >>> get_worker_info() is None
        True
    """
    return _mine.info or _process_info


def set_worker_info(info: WorkerInfo) -> None:
    """Let get_worker_info() answer for this thread, or for this whole process."""
    global _process_info
    if info.worker_method == "thread":
        _mine.info = info
    else:
        _process_info = info


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker of a pool starts from.

    depth: batches that each one may have ready.  grad, inference, dtype: the modes and the default dtype of the thread
    that iterates, which a worker has as well, whatever its kind.
    """

    recipe: Recipe
    num_workers: int
    seed: int
    init_fn: Callable[[int], Any] | None
    depth: int
    grad: bool = field(default_factory=lambda: modes.grad)
    inference: bool = field(default_factory=lambda: modes.inference)
    dtype: Any = field(default_factory=get_default_dtype)

    def info(self, worker: int, method: str) -> WorkerInfo:
        """Who worker `worker` is."""
        seed = (self.seed + worker) % 2**63
        return WorkerInfo(worker, self.num_workers, seed, self.recipe.dataset, sample_rng(), method)


class _Text(str):
    """A message that KeyError shows with its line breaks."""

    __slots__ = ()
    __repr__ = str.__str__


class Failure:
    """An exception in a worker, on its way to the program.

    error: the exception itself, where it need not cross to another process.
    """

    def __init__(self, error: BaseException, where: str, keep: bool) -> None:
        self.kind, self.where = type(error), where
        self.name = self.kind.__name__
        self.text = "".join(traceback.format_exception(error))
        self.error = error if keep else None
        while not keep and not _crosses(self.kind):
            self.kind = self.kind.__base__ or RuntimeError

    def shorten(self, size: int) -> bool:
        """Leave the end of the text alone; whether that makes a difference."""
        short = 0 < size < len(self.text)
        if short:
            self.text = f"Traceback (shortened): ...{self.text[-size:]}"
        return short

    def exception(self) -> BaseException:
        """An exception of the same type whose message holds the worker's whole traceback."""
        text = f"Caught {self.name} in {self.where}.\nOriginal {self.text}"
        made: BaseException = WorkerError(text)
        if issubclass(self.kind, Exception) and not issubclass(self.kind, StopIteration):
            try:
                made = self.kind(_Text(text) if issubclass(self.kind, KeyError) else text)
                said = str(made)
            except Exception:  # its constructor wants something else than a message
                made, said = WorkerError(text), text
            if self.text not in said:
                made.add_note(text)
        made.__cause__ = self.error
        return made


def _crosses(kind: type) -> bool:
    """Whether a process can tell another one of a type."""
    try:
        pickle.dumps(kind, 5)
    except Exception:
        return False
    return True


class Worker:
    """The tasks of one worker, answered one by one.

    fatal: exceptions that a task may raise and that end the worker instead of being an answer.
    """

    def __init__(self, setup: Setup, worker: int, where: str, *, keep: bool) -> None:
        self.where = f"{where} {worker}"
        self.keep = keep
        self.caught = BaseException if keep else Exception
        self.iterable = setup.recipe.iterable
        self.broken: Failure | None = None
        modes.grad, modes.inference = setup.grad, setup.inference
        try:
            if setup.init_fn is not None:
                setup.init_fn(worker)
            self.fetcher = setup.recipe.fetcher(worker)
        except self.caught as error:
            self.broken = self.failure(error)

    def failure(self, error: BaseException) -> Failure:
        """An exception as an answer."""
        return Failure(error, self.where, self.keep)

    def answer(self, task: Task) -> Answer | None:
        """What a task comes to; None for tasks that want no answer."""
        kind, what, number = task
        try:
            if kind == EPOCH:
                if self.broken is None:
                    self.fetcher.start(what, number)
                return None
            if self.broken is not None:
                return FAILURE, self.broken
            return BATCH, self.fetcher.fetch(what, number)
        except self.caught as error:
            if self.iterable and isinstance(error, StopIteration):
                return END, None
            if kind == EPOCH:
                self.broken = self.failure(error)
                return None
            return FAILURE, self.failure(error)


class Pool(ABC):
    """Workers, as a loader sees them. owed: tasks without an answer yet."""

    owed = 0

    def send(self, worker: int, task: Task) -> None:
        """Give a worker something to do."""
        self._send(worker, task)
        self.owed += task[0] == BATCH

    def receive(self, timeout: float | None) -> tuple[int, Any]:
        """The next message of any worker: (worker, message).

        Raises: TimeoutError: none came in so many seconds.  WorkerError: a worker died.
        """
        received = self._receive(timeout)
        self.owed -= 1
        return received

    def settle(self, timeout: float | None) -> None:
        """Wait for the answers to all tasks, and forget them.  Raises: as `receive`."""
        while self.owed:
            self.receive(timeout)

    @abstractmethod
    def _send(self, worker: int, task: Task) -> None: ...

    @abstractmethod
    def _receive(self, timeout: float | None) -> tuple[int, Any]: ...

    @abstractmethod
    def read(self, worker: int, message: Any) -> Answer:
        """A message as the answer that the worker gave; to be called once for each, in order."""

    @abstractmethod
    def close(self, grace: float = GRACE) -> None:
        """Stop the workers; one that is busy gets some seconds to end its batch."""
