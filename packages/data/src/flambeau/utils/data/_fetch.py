"""Getting one batch out of a dataset, in whatever thread or process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import flambeau
from flambeau.dtypes import int64
from flambeau.ops.positions import index_select
from flambeau.tensor import Tensor
from flambeau.utils.data import _collate
from flambeau.utils.data._seeding import Place, here, install
from flambeau.utils.data.dataset import Subset, TensorDataset
from flambeau.utils.data.errors import WorkerError

Collate = Callable[[Any], Any]
#: Types of the indices in a batch that may be rows of tensors: what else indexes a tensor means something else.
_ROWS: tuple[set[type], ...] = ({int}, {np.int64})


@dataclass(frozen=True, slots=True)
class Recipe:
    """How batches are made: what every worker gets from its loader.

    batched: an index stands for a list of samples, to be collated.  batch_size: of iterable datasets.
    """

    dataset: Any
    iterable: bool
    batched: bool
    batch_size: int | None
    drop_last: bool
    collate_fn: Collate

    def fetcher(self, worker: int = 0) -> IterableFetcher | MapFetcher | TensorRows:
        """What makes the batches."""
        if self.iterable:
            return IterableFetcher(self, worker)
        return self.rows() or MapFetcher(self)

    def rows(self) -> TensorRows | None:
        """The tensors to slice batches from, where that is all there is to do."""
        return tensor_rows(self) if self.batched else None


class MapFetcher:
    """Batches of a map-style dataset."""

    def __init__(self, recipe: Recipe) -> None:
        install()
        self.dataset, self.batched = recipe.dataset, recipe.batched
        self.collate_fn = recipe.collate_fn
        self.together = getattr(recipe.dataset, "__getitems__", None)
        self.seed = 0

    def start(self, seed: int, skip: int = 0) -> None:
        """Begin an epoch."""
        self.seed = seed

    def fetch(self, index: Any, position: int) -> Any:
        """The batch of the samples at an index, the first of which is at a position of the epoch."""
        outer, here.place = here.place, Place(self.seed, (position, None))
        try:
            return self._fetch(index, position, here.place)
        except StopIteration as error:  # would end the epoch without a word
            raise WorkerError(
                f"DataLoader: the dataset or collate_fn raised StopIteration for index {index}"
            ) from error
        finally:
            here.place = outer

    def _fetch(self, index: Any, position: int, place: Place) -> Any:
        if not self.batched:
            place.at = position, index
            return self.collate_fn(self.dataset[index])
        if self.together:
            return self.collate_fn(self.together(index))
        dataset, samples = self.dataset, []
        for at in enumerate(index, position):
            place.at = at
            samples.append(dataset[at[1]])
        return self.collate_fn(samples)


class IterableFetcher:
    """Batches of an iterable dataset, or single samples where there is no batch size."""

    def __init__(self, recipe: Recipe, worker: int) -> None:
        install()
        self.recipe, self.worker = recipe, worker
        self.samples: Iterator[Any] | None = None
        self.ended = False
        self.place = Place(0, (0, worker))

    def start(self, seed: int, skip: int = 0) -> None:
        """Begin an epoch, after the first `skip` batches of it."""
        self.place, self.samples, self.ended = Place(seed, (0, self.worker)), None, False
        outer, here.place = here.place, self.place
        try:
            for _ in range(skip):
                self._next()
        except StopIteration:
            self.ended = True
        finally:
            here.place = outer

    def fetch(self, index: Any, position: int) -> Any:
        """The next batch; StopIteration after the last one."""
        outer, here.place = here.place, self.place
        try:
            return self.recipe.collate_fn(self._next())
        finally:
            here.place = outer

    def _next(self) -> Any:
        if self.ended:
            raise StopIteration
        if self.samples is None:
            self.samples = iter(self.recipe.dataset)
        size = self.recipe.batch_size
        samples: list[Any] = []
        try:
            if size is None:
                return self._sample()
            while len(samples) < size:
                samples.append(self._sample())
        except StopIteration:
            self.ended = True
            if not samples or self.recipe.drop_last:
                raise
        return samples

    def _sample(self) -> Any:
        place = self.place
        place.at = place.at[0] + 1, self.worker
        return next(self.samples)  # type: ignore[arg-type]  # made by _next


class TensorRows:
    """Batches of a TensorDataset, or of subsets of one, as one selection from each tensor.

    rows: what each index of the dataset means in the tensors; None where it means itself.
    recipe: of the batches of indices that are not plain ints.
    """

    def __init__(self, tensors: tuple[Tensor, ...], rows: Tensor | None, recipe: Recipe) -> None:
        self.tensors, self.rows, self.recipe = tensors, rows, recipe

    def select(self, index: Tensor) -> list[Tensor]:
        """The rows at an index: int64, shape (batch,), negative positions counted from the end."""
        # The op under flambeau.index_select, which would check positions for longer than it takes them.
        return [index_select(t, index, 0, True) for t in self.tensors]

    def stretch(self, start: int, size: int) -> list[Tensor]:
        """Rows that follow one another, copied."""
        return [t.narrow(0, start, size).clone() for t in self.tensors]

    def where(self, index: Tensor) -> Tensor:
        """Indices of the dataset as rows of the tensors."""
        return index if self.rows is None else index_select(self.rows, index, 0, True)

    def fetch(self, index: list[Any], position: int) -> list[Tensor]:
        """As MapFetcher.fetch."""
        if type(index) is list and set(map(type, index)) in _ROWS:
            return self.select(self.where(flambeau.tensor(index)))
        batch: list[Tensor] = MapFetcher(self.recipe).fetch(index, position)
        return batch

    def start(self, seed: int, skip: int = 0) -> None:
        """An epoch's seed does not matter here."""


def tensor_rows(recipe: Recipe) -> TensorRows | None:
    """A dataset's tensors and rows, where collating single samples would come to selecting rows."""
    dataset = recipe.dataset
    if recipe.collate_fn is not _collate.default_collate:
        return None
    if _collate.default_collate_fn_map.get(Tensor) is not _collate.collate_tensors:
        return None
    rows: Tensor | None = None
    while type(dataset) is Subset:
        if not _whole(dataset.indices):
            return None
        inner = flambeau.tensor(list(dataset.indices), dtype=int64)
        rows = inner if rows is None else index_select(inner, rows, 0, True)
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not all(type(t) is Tensor for t in dataset.tensors):
        return None
    return TensorRows(dataset.tensors, rows, recipe)


def _whole(indices: Any) -> bool:
    """Whether indices are a list or range of ints from 0 on."""
    if isinstance(indices, range):
        return not indices or min(indices[0], indices[-1]) >= 0
    return (
        type(indices) is list and set(map(type, indices)) <= {int} and min(indices, default=0) >= 0
    )
