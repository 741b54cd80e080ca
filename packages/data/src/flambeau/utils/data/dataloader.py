"""The DataLoader: batches of a dataset in an order that a sampler gives."""

from __future__ import annotations

import copy
import multiprocessing
import os
import warnings
import weakref
from collections.abc import Callable, Iterable
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from flambeau.utils.data._collate import default_collate, default_convert
from flambeau.utils.data._fetch import Recipe
from flambeau.utils.data._iterate import FromWorkers, InProcess, LoaderIterator
from flambeau.utils.data._progress import Progress, load
from flambeau.utils.data._worker import Setup, get_worker_info
from flambeau.utils.data.dataset import Dataset, IterableDataset
from flambeau.utils.data.errors import OptionError, OptionTypeError, WorkerError
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)

# PyTorch's names, for programs that ask an iterator what it is.
_BaseDataLoaderIter = LoaderIterator
_SingleProcessDataLoaderIter = InProcess
_MultiProcessingDataLoaderIter = FromWorkers

_FIXED = ("dataset", "batch_size", "batch_sampler", "sampler", "drop_last", "persistent_workers")


class DataLoader(Generic[T_co]):
    """Batches of a dataset, reshuffled every epoch if so asked.

    Args:
        dataset (Dataset): map-style or iterable; anything with `__getitem__` and `__len__` will do.
        batch_size (int | None): samples in a batch; None: single samples, converted and not collated.
        shuffle (bool): visit the samples in a new random order every epoch.
        sampler (iterable of indices), batch_sampler (iterable of lists of indices): another order; `batch_sampler`
            stands alone.
        num_workers (int): workers that load ahead; 0: batches are made when they are asked for.
        collate_fn (callable): a list of samples -> a batch; `default_collate` if left out.
        pin_memory (bool): accepted on every device, and without effect: there is no page-locked memory.
        drop_last (bool): leave out a last batch that is not full.
        timeout (float): seconds to wait for a worker's batch; 0: for ever.
        worker_init_fn (callable): called with the worker's number in each worker, after seeding.
        multiprocessing_context (str | context): how processes start; the platform's default if left out.
        generator (Generator): draws the order and the workers' seeds; the default generator if left out.
        prefetch_factor (int): batches that each worker loads ahead, 2 if left out.
        persistent_workers (bool): keep the workers from one epoch to the next.
        pin_memory_device (str): accepted and ignored.
        in_order (bool): False: batches come as soon as they are ready, in any order.
        worker_kind ("process" | "thread"): threads share the dataset and start at once; they suit transforms that
            let go of Python's lock (NumPy on large arrays, files, images). Processes suit Python code.
    Raises: OptionError: options that are wrong or exclude one another.

    Example:
        >>> import flambeau as fb
        >>> from flambeau.utils.data import TensorDataset
        >>> data = TensorDataset(fb.arange(10.0), fb.arange(10))
        >>> [y.tolist() for x, y in DataLoader(data, batch_size=4)]
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    _ready = False
    _reported_length: int | None = None
    _resume: dict[str, Any] | None = None
    _pool: Any = None
    _iterator: weakref.ref[FromWorkers] | None = None

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        worker_kind: str = "process",
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, worker_kind)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.worker_kind = worker_kind
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.generator = generator
        self.persistent_workers = persistent_workers
        self._is_iterable = isinstance(dataset, IterableDataset)
        if self._is_iterable:
            _check_stream(shuffle, sampler, batch_sampler)
        _check_order(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        if sampler is None:
            sampler = self._default_sampler(shuffle)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler: Any = batch_sampler
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self._progress = Progress()
        self._ready = True
        if worker_kind == "process":
            _warn_of_many(num_workers)

    def _default_sampler(self, shuffle: bool | None) -> Iterable[Any]:
        data: Any = self.dataset
        if self._is_iterable:
            return _Endless()
        return RandomSampler(data, generator=self.generator) if shuffle else SequentialSampler(data)

    @property
    def multiprocessing_context(self) -> BaseContext | None:
        """How worker processes are started; None: the platform's default.

        Raises (on assignment): OptionError: not a context or the name of a start method, or there are no workers.
        """
        context: BaseContext | None = self._context
        return context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            if self.num_workers == 0:
                raise OptionError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                    f"but got num_workers={self.num_workers}"
                )
            if isinstance(context, str):
                known = multiprocessing.get_all_start_methods()
                if context not in known:
                    raise OptionError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{known!r}, but got multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, BaseContext):
                raise OptionTypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the "
                    f"start method, but got multiprocessing_context={context}"
                )
        self._context = context

    def __setattr__(self, name: str, value: Any) -> None:
        if self._ready and name in _FIXED:
            raise OptionError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized. "
                "Hint: make another loader"
            )
        super().__setattr__(name, value)

    def __iter__(self) -> LoaderIterator:
        return FromWorkers(self) if self.num_workers else InProcess(self)

    def __len__(self) -> int:
        if not self._is_iterable:
            return len(self._index_sampler)
        length = self._reported_length = len(self.dataset)  # type: ignore[arg-type]  # as PyTorch
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _recipe(self) -> Recipe:
        """How batches are made, in this thread or in a worker."""
        return Recipe(
            self.dataset,
            self._is_iterable,
            self._auto_collation,
            self.batch_size,
            self.drop_last,
            self.collate_fn,
        )

    # ---- the place in an epoch
    def state_dict(self) -> dict[str, Any]:
        """The place of the epoch that was begun last, as numbers and lists.

        A loader made with the same arguments that loads it gives the batches that this one has not given yet, bit for
        bit, whatever the number and kind of workers; restore the default generator (`set_rng_state`) as well.
        An iterable dataset is read again up to the place, by the same number of workers.
        Raises: OptionError: batches come in no particular order (`in_order=False`).

        Example:
            >>> import flambeau as fb
            >>> from flambeau.utils.data import TensorDataset
            >>> loader = DataLoader(TensorDataset(fb.arange(6)), batch_size=2)
            >>> batches = iter(loader)
            >>> next(batches)
            [tensor([0, 1])]
            >>> again = DataLoader(TensorDataset(fb.arange(6)), batch_size=2)
            >>> again.load_state_dict(loader.state_dict())
            >>> list(again)
            [[tensor([2, 3])], [tensor([4, 5])]]
        """
        if not self.in_order and self.num_workers and self._progress.start is not None:
            raise OptionError(
                "DataLoader.state_dict: with in_order=False nobody knows which batches are still to come. "
                "Hint: in_order=True, or take the state between epochs"
            )
        if self._resume is not None:  # loaded, and no epoch begun since
            return copy.deepcopy(self._resume)
        return self._progress.state(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next epoch go on where a state was taken.

        Raises: OptionError: it is not a state of such a loader.
        """
        self._resume = load(self, state_dict)
        self._progress = Progress()

    def _begin(self) -> tuple[Progress, dict[str, Any] | None]:
        """The place of an epoch that begins now, and the state that it resumes from."""
        resume, self._resume = self._resume, None
        self._progress = Progress()
        return self._progress, resume

    # ---- workers
    def _take_pool(self, iterator: FromWorkers, seed: int) -> Any:
        """The workers for an epoch: those that stayed, or new ones."""
        if self._pool is not None:
            pool = self._pool
            before = self._iterator() if self._iterator is not None else None
            if before is not None:
                before.give_up()
            try:
                pool.settle(self.timeout or None)
            except BaseException as error:
                self._drop_pool()
                pool.close(1.0)
                if isinstance(error, TimeoutError):
                    raise WorkerError(
                        f"DataLoader timed out after {self.timeout} seconds, waiting for the batches that the epoch "
                        "before had asked for. Hint: a longer timeout"
                    ) from None
                raise
            self._iterator = weakref.ref(iterator)
            return pool
        depth = self.prefetch_factor or 1
        setup = Setup(self._recipe(), self.num_workers, seed, self.worker_init_fn, depth)
        if self.worker_kind == "thread":
            from flambeau.utils.data._threads import ThreadPool

            pool = ThreadPool(setup)
        else:
            from flambeau.utils.data._processes import ProcessPool

            pool = ProcessPool(setup, self.multiprocessing_context)
        if self.persistent_workers:
            self._pool, self._iterator = pool, weakref.ref(iterator)
        return pool

    def _drop_pool(self) -> None:
        self._pool = self._iterator = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None, "_iterator": None}


class _Endless:
    """The sampler of iterable datasets, which take no indices."""

    def __iter__(self) -> Any:
        while True:
            yield None


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool, kind: str
) -> None:
    if num_workers < 0:
        raise OptionError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing, "
            f"got {num_workers}"
        )
    if timeout < 0:
        raise OptionError(f"timeout option should be non-negative, got {timeout}")
    if num_workers == 0 and prefetch_factor is not None:
        raise OptionError(
            "prefetch_factor option could only be specified in multiprocessing. "
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None, "
            f"got {prefetch_factor}"
        )
    if prefetch_factor is not None and prefetch_factor <= 0:
        raise OptionError(f"prefetch_factor option should be positive, got {prefetch_factor}")
    if persistent and num_workers == 0:
        raise OptionError("persistent_workers option needs num_workers > 0")
    if kind not in ("process", "thread"):
        raise OptionError(f"worker_kind option should be 'process' or 'thread', got {kind!r}")


def _check_stream(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )


def _check_order(
    batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if sampler is not None and shuffle:
        raise OptionError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (
        batch_size != 1 or shuffle or sampler is not None or drop_last
    ):
        raise OptionError(
            "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
        )
    if batch_size is None:
        if drop_last:
            raise OptionError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
    elif not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
        raise OptionError(
            f"batch_size option should be None or a positive integer, but got batch_size={batch_size!r}"
        )


def _warn_of_many(num_workers: int) -> None:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or num_workers
    if num_workers > cores:
        warnings.warn(
            f"This DataLoader will create {num_workers} worker processes in total. Our suggested max number of worker "
            f"in current system is {cores}, which is smaller than what this DataLoader is going to create. "
            "More workers than cores rarely load faster.",
            stacklevel=3,
        )
