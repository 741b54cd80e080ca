"""Samplers: the order in which a loader visits a dataset, one index or one batch of indices at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

import flambeau
from flambeau.dtypes import bool_, float64, int64
from flambeau.errors import IndexRangeError
from flambeau.ops.positions import index_select
from flambeau.tensor import Tensor
from flambeau.utils.data._seeding import draw_seed
from flambeau.utils.data.errors import OptionError, OptionTypeError

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """An order of indices: a subclass gives `__iter__`, and mostly `__len__`.

    A sampler that knows the whole epoch's order gives it as one int64 tensor from `epoch()`; a loader over tensors
    then makes batches without touching single indices.
    """

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class _WholeEpoch(Sampler[int]):
    """A sampler whose order is drawn at once."""

    def epoch(self) -> Tensor:
        """The indices of one epoch: int64, shape (len(self),)."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        return iter(self.epoch().tolist())


def epoch_of(sampler: Any) -> Tensor | None:
    """A sampler's whole epoch as a tensor; None for a sampler that is only to be iterated."""
    if not isinstance(sampler, _WholeEpoch):
        return None
    mro = type(sampler).__mro__
    gives_epoch, gives_iter = (
        next(i for i, cls in enumerate(mro) if name in vars(cls)) for name in ("epoch", "__iter__")
    )
    return sampler.epoch() if gives_epoch <= gives_iter else None


class SequentialSampler(_WholeEpoch):
    """0, 1, 2 ... to the end of the data source."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def epoch(self) -> Tensor:
        """The indices of one epoch: int64."""
        return flambeau.arange(len(self.data_source))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


def own_generator(generator: Any) -> Any:
    """The given generator, or a new one seeded from the default generator by one draw."""
    return generator if generator is not None else flambeau.Generator().manual_seed(draw_seed(None))


def _positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise OptionError(f"{name} should be a positive integer value, but got {name}={value!r}")


def _boolean(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise OptionTypeError(f"{name} should be a boolean value, but got {name}={value!r}")


class RandomSampler(_WholeEpoch):
    """All indices in random order, or draws with replacement.

    Args: num_samples: length of an epoch, the data source's if left out.
        generator: draws the order; left out, every epoch takes one seed from the default generator.
    Raises: OptionError: num_samples is not positive, or the data source is empty.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        _boolean("replacement", replacement)
        _positive("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """Length of an epoch; the data source may grow between epochs."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def epoch(self) -> Tensor:
        """The indices of one epoch: int64."""
        n, count = len(self.data_source), self.num_samples
        gen = own_generator(self.generator)
        if self.replacement:
            return flambeau.randint(0, n, (count,), generator=gen)
        if count == n:
            return flambeau.randperm(n, generator=gen)
        rounds = [flambeau.randperm(n, generator=gen) for _ in range(-(-count // n))]
        return flambeau.cat(rounds).narrow(0, 0, count)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(_WholeEpoch):
    """Some indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in self._order().tolist():
            yield self.indices[i]

    def _order(self) -> Tensor:
        return flambeau.randperm(len(self.indices), generator=self.generator)

    def epoch(self) -> Tensor:
        """The indices of one epoch: int64."""
        indices = flambeau.as_tensor(self.indices)
        if indices.dtype is not int64:
            if len(indices) and (indices.dtype.is_floating_point or indices.dtype is bool_):
                raise IndexRangeError(
                    f"SubsetRandomSampler: indices should be ints, got {indices.dtype}"
                )
            indices = indices.to(int64)
        return index_select(indices, self._order(), 0, False)

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(_WholeEpoch):
    """Indices with probabilities proportional to weights.

    Args: weights (sequence of float, shape (n,)): not negative.  num_samples: length of an epoch.
    Raises: OptionError: an option of the wrong kind, or weights that are not a row.
    """

    weights: Tensor

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Any = None,
    ) -> None:
        _positive("num_samples", num_samples)
        _boolean("replacement", replacement)
        self.weights = flambeau.as_tensor(weights, dtype=float64)
        if self.weights.dim() != 1:
            raise OptionError(
                "weights should be a 1d sequence but given weights have shape "
                f"{tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def epoch(self) -> Tensor:
        """The indices of one epoch: int64."""
        return flambeau.multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )

    def __len__(self) -> int:
        return self.num_samples


class StratifiedSampler(_WholeEpoch):
    """All indices in an order that keeps every label's share in every stretch, so in every batch.

    The samples of each label are spread evenly over the epoch: of n samples of a label, the k-th (from 0) goes to place
    (k + u) / n, where u in [0, 1) is drawn once for each label and epoch.

    Args: labels: one for each sample, anything that compares equal.  shuffle: order within each label.

    Example:
        >>> sampler = StratifiedSampler([0] * 6 + [1] * 3)
        >>> [sorted(i // 6 for i in batch) for batch in BatchSampler(sampler, 3, drop_last=True)]
        [[0, 0, 1], [0, 0, 1], [0, 0, 1]]
    """

    def __init__(self, labels: Any, *, shuffle: bool = True, generator: Any = None) -> None:
        values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
        names: dict[Any, int] = {}
        self._label = np.array([names.setdefault(v, len(names)) for v in values], np.int64)
        self._counts = np.bincount(self._label, minlength=len(names))
        self.shuffle = shuffle
        self.generator = generator

    def epoch(self) -> Tensor:
        """The indices of one epoch: int64."""
        n = len(self._label)
        gen = own_generator(self.generator)
        order = np.arange(n)
        if self.shuffle:
            order = np.asarray(flambeau.randperm(n, generator=gen).tolist(), np.int64)
        offset = np.asarray(flambeau.rand(len(self._counts), generator=gen, dtype=float64).tolist())
        order = order[np.argsort(self._label[order], kind="stable")]
        label = self._label[order]
        starts = np.cumsum(self._counts) - self._counts
        place = (np.arange(n) - starts[label] + offset[label]) / self._counts[label]
        return flambeau.as_tensor(order[np.argsort(place, kind="stable")])

    def __len__(self) -> int:
        return len(self._label)


class BatchSampler(Sampler[list[int]]):
    """Another sampler's indices in batches.

    Args: sampler: any iterable of indices.  drop_last: leave out a last batch that is not full.
    Raises: OptionError: an option of the wrong kind.

    Example:
        >>> list(BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        _positive("batch_size", batch_size)
        _boolean("drop_last", drop_last)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]  # as PyTorch: fails where the sampler has no length
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of samples of similar length, so that padding wastes little.

    The epoch's order is cut into buckets, each bucket is sorted by length and cut into batches, and the batches are
    shuffled.

    Args: lengths: one for each sample.  bucket_size: samples to sort together, 100 batches if left out; the whole
        dataset where shuffle is False.
    Raises: OptionError: an option of the wrong kind.

    Example:
        >>> list(BucketBatchSampler([3, 9, 4, 8], batch_size=2, shuffle=False))
        [[0, 2], [3, 1]]
    """

    def __init__(
        self,
        lengths: Any,
        batch_size: int,
        *,
        bucket_size: int | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        generator: Any = None,
    ) -> None:
        _positive("batch_size", batch_size)
        _boolean("drop_last", drop_last)
        if bucket_size is not None:
            _positive("bucket_size", bucket_size)
        values = lengths.tolist() if hasattr(lengths, "tolist") else list(lengths)
        self.lengths = np.asarray(values)
        if self.lengths.ndim != 1:
            raise OptionError(f"lengths should be a 1d sequence but has shape {self.lengths.shape}")
        self.batch_size = batch_size
        self.bucket_size = bucket_size or 100 * batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.generator = generator

    def _batches(self) -> list[list[int]]:
        n, size = len(self.lengths), self.batch_size
        if not self.shuffle:
            order = np.argsort(self.lengths, kind="stable").tolist()
            return [order[i : i + size] for i in range(0, n, size)]
        gen = own_generator(self.generator)
        drawn = np.asarray(flambeau.randperm(n, generator=gen).tolist(), np.int64)
        # Whole batches in each bucket, so that only the epoch's last batch can be short.
        step = max(size, self.bucket_size // size * size)
        batches: list[list[int]] = []
        for start in range(0, n, step):
            bucket = drawn[start : start + step]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")].tolist()
            batches += [bucket[i : i + size] for i in range(0, len(bucket), size)]
        short = batches.pop() if batches and len(batches[-1]) < size else None
        order = flambeau.randperm(len(batches), generator=gen).tolist()
        return [batches[i] for i in order] + ([short] if short else [])

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches()
        if self.drop_last and batches and len(batches[-1]) < self.batch_size:
            batches.pop()
        return iter(batches)

    def __len__(self) -> int:
        n = len(self.lengths)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
