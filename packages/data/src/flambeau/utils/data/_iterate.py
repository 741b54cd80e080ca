"""One epoch over a loader: in the calling thread, or with workers."""

from __future__ import annotations

import itertools
import time
import warnings
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flambeau.utils.data._fetch import TensorRows
from flambeau.utils.data._seeding import draw_seed
from flambeau.utils.data._worker import BATCH, END, EPOCH, FAILURE, Failure, Pool
from flambeau.utils.data.errors import KindError, WorkerError
from flambeau.utils.data.sampler import BatchSampler, SequentialSampler, epoch_of

if TYPE_CHECKING:
    from flambeau.utils.data.dataloader import DataLoader

_NONE = object()


class LoaderIterator:
    """What iterators over a loader share: the epoch's seed and order, and the place in it."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._position = 0
        self._progress, resumed = loader._begin()
        # All draws happen here, not with the first batch, so that a resumed epoch can repeat them.
        with self._progress.beginning(loader, resumed):
            self._seed = draw_seed(loader.generator)
            self._draw()

    def _draw(self) -> None:
        """Draw the epoch's order."""
        loader = self._loader
        self._indices: Iterator[Any] = iter(loader._index_sampler)
        if loader._auto_collation and type(loader.batch_sampler) is not BatchSampler:
            self._indices = map(_sized, self._indices)
        if not loader._is_iterable:
            first = next(self._indices, _NONE)
            head = () if first is _NONE else (first,)
            self._indices = itertools.chain(head, self._indices)

    def _samples_in(self, index: Any) -> int:
        return len(index) if self._loader._auto_collation else 1

    def _skip(self, batches: int) -> None:
        """Pass over the first batches of a map-style dataset."""
        for index in itertools.islice(self._indices, batches):
            self._position += self._samples_in(index)

    def __iter__(self) -> LoaderIterator:
        return self

    def __next__(self) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._loader)

    def __reduce__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")

    def _check_length(self) -> None:
        """Warn where an iterable dataset gives more than it said."""
        loader, given = self._loader, self._progress.batches
        expected = loader._reported_length
        if loader._is_iterable and given == expected:
            hint = ". Hint: get_worker_info() tells a worker which part to give"
            warnings.warn(
                f"Length of IterableDataset {loader.dataset} was reported to be {expected} (when accessing "
                f"len(dataloader)), but {given + 1} samples have been fetched"
                f"{hint if loader.num_workers else ''}",
                stacklevel=3,
            )


def _sized(batch: Any) -> Any:
    """A batch of indices that has a length: a batch sampler may give iterators."""
    return batch if hasattr(batch, "__len__") else list(batch)


class InProcess(LoaderIterator):
    """Batches made when they are asked for."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        if loader.timeout:
            raise KindError(
                f"DataLoader: num_workers=0 requires timeout == 0, got timeout={loader.timeout}"
            )
        self._rows = loader._recipe().rows()
        self._order: Any = None
        super().__init__(loader)
        done = self._progress.batches
        self._progress.per_worker = []
        self._slices: Iterator[Any] | None = None
        if self._order is not None and self._rows is not None:
            self._slices = _slices(self._rows, self._order, loader.batch_sampler, done)
            return
        self._fetcher: Any = self._rows or loader._recipe().fetcher()
        self._fetcher.start(self._seed, done)
        if not loader._is_iterable:
            self._skip(done)

    def _draw(self) -> None:
        batches = self._loader.batch_sampler
        if self._rows is not None and type(batches) is BatchSampler:
            self._order = epoch_of(batches.sampler)
        if self._order is None:
            super()._draw()

    def __next__(self) -> Any:
        try:
            batch = next(self._slices) if self._slices is not None else self._fetch()
        except StopIteration:
            self._progress.finish()
            raise
        self._progress.batches += 1
        return batch

    def _fetch(self) -> Any:
        if self._loader._is_iterable:
            batch = self._fetcher.fetch(None, 0)
            self._check_length()
            return batch
        index, position = next(self._indices), self._position
        self._position += self._samples_in(index)
        try:
            return self._fetcher.fetch(index, position)
        except Exception:
            self._progress.batches += 1  # the epoch can go on after it
            raise


def _slices(rows: TensorRows, order: Any, batches: BatchSampler, done: int) -> Iterator[Any]:
    """Batches of tensor rows in an order that is known as a whole, after the first `done` ones."""
    n, size = len(order), batches.batch_size
    end = n - n % size if batches.drop_last else n
    if type(batches.sampler) is SequentialSampler and rows.rows is None:
        for start in range(done * size, end, size):
            yield rows.stretch(start, min(size, n - start))
        return
    order = rows.where(order)
    for start in range(done * size, end, size):
        yield rows.select(order.narrow(0, start, min(size, n - start)))


class FromWorkers(LoaderIterator):
    """Batches that workers make ahead.

    Tasks go to the workers in turn, and each worker answers its own in order: the next batch is the first
    answer of the worker whose task is the oldest.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        self._superseded = False
        n = loader.num_workers
        self._depth: int = loader.prefetch_factor or 1
        self._iterable = loader._is_iterable
        progress = self._progress
        progress.per_worker = progress.per_worker or [progress.batches] * (n * self._iterable)
        self._active = list(range(n))
        self._turn = (progress.last + 1) % n
        self._tasks: deque[int] = deque()  # the worker of each task without an answer, oldest first
        self._answers: list[deque[Any]] = [deque() for _ in range(n)]
        if not self._iterable:
            self._skip(progress.batches)
        self._pool: Pool | None = loader._take_pool(self, self._seed)
        try:
            for worker in range(n):
                skip = progress.per_worker[worker] if self._iterable else 0
                self._pool.send(worker, (EPOCH, self._seed, skip))
            self._fill(self._pool)
        except BaseException:
            self._abandon()
            raise

    def __next__(self) -> Any:
        pool = self._pool
        if pool is None:
            if self._superseded:
                raise WorkerError(
                    "DataLoader: another epoch was begun with the same workers. "
                    "Hint: persistent_workers=False for several epochs at a time"
                )
            raise StopIteration
        try:
            answer = self._next_answer(pool)
        except BaseException:
            self._abandon()
            raise
        if answer is None:
            self._progress.finish()
            self._end()
            raise StopIteration
        self._progress.batches += 1
        if isinstance(answer[1], Failure) and answer[0] == FAILURE:
            raise answer[1].exception()
        return answer[1]

    def _next_answer(self, pool: Pool) -> tuple[str, Any] | None:
        """The next batch or failure; None at the end of the epoch."""
        timeout = self._loader.timeout
        until = time.monotonic() + timeout if timeout else None
        self._collect(pool)
        while self._tasks:
            worker = self._ready()
            if worker is None:
                self._wait(pool, until)
                continue
            kind, what = pool.read(worker, self._answers[worker].popleft())
            self._tasks.remove(worker)  # its oldest
            if kind == END:
                self._active = [w for w in self._active if w != worker]
            self._fill(pool)
            if kind == END:
                continue
            if self._iterable:
                self._check_length()
                self._progress.per_worker[worker] += 1
                self._progress.last = worker
            return kind, what
        return None

    def _ready(self) -> int | None:
        """The worker whose answer comes next, if it is there."""
        if self._loader.in_order:
            return self._tasks[0] if self._answers[self._tasks[0]] else None
        return next((w for w in self._tasks if self._answers[w]), None)

    def _collect(self, pool: Pool) -> None:
        """Take in what has come, the news of a worker's death too."""
        try:
            while True:
                worker, message = pool.receive(0)
                self._answers[worker].append(message)
        except TimeoutError:
            return

    def _wait(self, pool: Pool, until: float | None) -> None:
        left = None if until is None else max(0.0, until - time.monotonic())
        try:
            worker, message = pool.receive(left)
        except TimeoutError:
            raise WorkerError(
                f"DataLoader timed out after {self._loader.timeout} seconds, waiting for a batch of worker "
                f"{self._tasks[0]}. Hint: a longer timeout, or more workers"
            ) from None
        self._answers[worker].append(message)

    def _fill(self, pool: Pool) -> None:
        """Give tasks to workers until each has as many as it may have."""
        while (worker := self._free()) is not None:
            index, position = next(self._indices, _NONE), self._position
            if index is _NONE:
                return
            if not self._iterable:
                self._position += self._samples_in(index)
            pool.send(worker, (BATCH, index, position))
            self._tasks.append(worker)
            self._turn = (worker + 1) % self._loader.num_workers

    def _free(self) -> int | None:
        """The worker whose turn it is, if it may have another task."""
        in_turn = [w for w in self._active if w >= self._turn] + [
            w for w in self._active if w < self._turn
        ]
        for worker in in_turn[:1] if self._loader.in_order else in_turn:
            if self._tasks.count(worker) < self._depth:
                return worker
        return None

    def _end(self) -> None:
        """Let the workers go, for the next epoch if they are to stay."""
        pool, self._pool = self._pool, None
        if pool is not None and not self._loader.persistent_workers:
            pool.close()

    def _abandon(self) -> None:
        """Stop the workers at once: something went wrong."""
        pool, self._pool = self._pool, None
        self._loader._drop_pool()
        if pool is not None:
            pool.close(1.0)

    def give_up(self) -> None:
        """Another epoch begins with the same workers."""
        if self._pool is not None:
            self._pool, self._superseded = None, True
