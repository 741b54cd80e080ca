"""Datasets: indexed, iterable, made of tensors, and put together from other datasets."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import flambeau
from flambeau.errors import ArgumentError, IndexRangeError
from flambeau.tensor import Tensor
from flambeau.utils.data.errors import KindError, MismatchError, OptionError

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Samples by index: a subclass gives `__getitem__`, and mostly `__len__`.

    A subclass may give `__getitems__(indices) -> list` as well: a loader then asks for whole batches.

    Example:
        >>> class Squares(Dataset[int]):
        ...     def __getitem__(self, index):
        ...         return index * index
        ...     def __len__(self):
        ...         return 5
        >>> len(Squares() + Squares())
        10
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """Samples from a stream: a subclass gives `__iter__`.

    With several workers each one iterates over a copy of its own: `get_worker_info()` tells it which part to give.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]  # as PyTorch
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Rows of tensors: sample i is the tuple of every tensor's row i.

    Args: *tensors (Tensor): of one length in the first dimension.
    Raises: MismatchError: lengths differ, or a tensor has no dimension.

    Example:
        >>> data = TensorDataset(flambeau.arange(6).view(3, 2), flambeau.arange(3))
        >>> len(data), data[1]
        (3, (tensor([2, 3]), tensor(1)))
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise OptionError("TensorDataset: needs at least one tensor, got none")
        for i, t in enumerate(tensors):
            if not isinstance(t, Tensor):
                raise ArgumentError(
                    f"TensorDataset: needs tensors, got {type(t).__name__} at position {i}. "
                    "Hint: flambeau.as_tensor(values)"
                )
        if not all(t.dim() and len(t) == len(tensors[0]) for t in tensors):
            raise MismatchError(
                "TensorDataset: Size mismatch between tensors: needs one length in the first dimension, got shapes "
                f"{', '.join(str(tuple(t.shape)) for t in tensors)}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([t[index] for t in self.tensors])

    def __len__(self) -> int:
        return len(self.tensors[0])


class StackDataset(Dataset[Any]):
    """Datasets side by side: sample i holds sample i of each, as a tuple, or as a dict if they came by name.

    Raises: OptionError: none given, both by position and by name, or of different lengths.

    Example:
        >>> pairs = StackDataset(TensorDataset(flambeau.arange(2)), TensorDataset(flambeau.arange(2)))
        >>> pairs[1]
        ((tensor(1),), (tensor(1),))
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if args and kwargs:
            raise OptionError(
                "StackDataset: Supported either tuple- (via args) or dict- (via kwargs) like input/output, "
                "but both types are given."
            )
        if not args and not kwargs:
            raise OptionError("StackDataset: At least one dataset should be passed")
        self.datasets = args or kwargs
        parts: list[Any] = list(args or kwargs.values())
        self._length = len(parts[0])
        if any(len(p) != self._length for p in parts):
            raise OptionError(
                f"StackDataset: Size mismatch between datasets, got lengths {[len(p) for p in parts]}"
            )

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: part[index] for name, part in self.datasets.items()}
        return tuple([part[index] for part in self.datasets])

    def __getitems__(self, indices: list[Any]) -> list[Any]:
        if isinstance(self.datasets, dict):
            columns = [_items(part, indices) for part in self.datasets.values()]
            return [dict(zip(self.datasets, row)) for row in zip(*columns)]
        return list(zip(*[_items(part, indices) for part in self.datasets]))

    def __len__(self) -> int:
        return self._length


def _items(dataset: Any, indices: list[Any]) -> list[Any]:
    """The samples at some indices, in one call where the dataset takes it."""
    if not callable(getattr(dataset, "__getitems__", None)):
        return [dataset[i] for i in indices]
    items: list[Any] = dataset.__getitems__(indices)
    if len(items) != len(indices):
        raise OptionError(
            "StackDataset: Nested dataset's output size mismatch. "
            f"Expected {len(indices)}, got {len(items)} ({type(dataset).__name__}.__getitems__)"
        )
    return items


class ConcatDataset(Dataset[T_co]):
    """Datasets one after another.

    Raises: KindError: no dataset, or an iterable one.
    """

    datasets: list[Any]
    cumulative_sizes: list[int]

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise KindError("ConcatDataset: datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise KindError(
                "ConcatDataset does not support IterableDataset. Hint: ChainDataset(datasets)"
            )
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence: Iterable[Any]) -> list[int]:
        """Where each dataset ends."""
        return list(itertools.accumulate(len(d) for d in sequence))

    def __getitem__(self, idx: int) -> Any:
        if idx < 0:
            if -idx > len(self):
                raise OptionError(
                    "ConcatDataset: absolute value of index should not exceed dataset length, "
                    f"got {idx} for {len(self)} samples"
                )
            idx += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, idx)
        if which == len(self.datasets):
            raise IndexRangeError(
                f"ConcatDataset: index {idx} is out of range for {len(self)} samples"
            )
        return self.datasets[which][idx - self.cumulative_sizes[which - 1] if which else idx]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[Any]):
    """Iterable datasets one after another.

    Raises (when read): KindError: one of them is not iterable.
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = datasets

    def _parts(self) -> Iterator[Any]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise KindError(
                    f"ChainDataset only supports IterableDataset, got {type(d).__name__}. "
                    "Hint: ConcatDataset(datasets)"
                )
            yield d

    def __iter__(self) -> Iterator[Any]:
        for d in self._parts():
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self._parts())


class Subset(Dataset[T_co]):
    """The samples of a dataset at some indices.

    Raises: NotImplementedError: a subclass gives `__getitem__` but not `__getitems__`, which a loader calls.
    """

    dataset: Any
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        cls = type(self)
        if cls.__getitem__ is not Subset.__getitem__ and cls.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{cls.__name__} overrides __getitem__ but not __getitems__, which DataLoader calls. "
                "Hint: def __getitems__(self, indices): return [self[i] for i in indices]"
            )

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        wanted = [self.indices[i] for i in indices]
        if callable(getattr(self.dataset, "__getitems__", None)):
            items: list[Any] = self.dataset.__getitems__(wanted)
            return items
        return [self.dataset[i] for i in wanted]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T_co], lengths: Sequence[int | float], generator: Any = None
) -> list[Subset[T_co]]:
    """Split a dataset at random into subsets that do not overlap.

    Args: lengths: sizes that add up to the dataset's, or fractions that add up to 1 (what rounding down leaves over
        is dealt out, one sample to each subset in turn).  generator: the default one if left out.
    Raises: OptionError: a fraction outside [0, 1], or sizes that do not add up.

    Example:
        >>> a, b = random_split(TensorDataset(flambeau.arange(10)), [0.7, 0.3])
        >>> len(a), len(b)
        (7, 3)
    """
    n = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _lengths_of(lengths, n)
    if sum(lengths) != n:
        raise OptionError(
            "random_split: Sum of input lengths does not equal the length of the input dataset! "
            f"got {list(lengths)} for {n} samples"
        )
    order = flambeau.randperm(n, generator=generator).tolist()
    ends = itertools.accumulate(int(length) for length in lengths)
    return [Subset(dataset, order[end - int(size) : end]) for end, size in zip(ends, lengths)]


def _lengths_of(fractions: Sequence[float], n: int) -> list[int]:
    """Whole lengths for fractions of n."""
    for i, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise OptionError(
                f"random_split: Fraction at index {i} is not between 0 and 1, got {fraction}"
            )
    lengths = [math.floor(n * fraction) for fraction in fractions]
    for i in range(n - sum(lengths)):
        lengths[i % len(lengths)] += 1
    for i, length in enumerate(lengths):
        if length == 0:
            warnings.warn(
                f"Length of split at index {i} is 0. This might result in an empty dataset.",
                stacklevel=3,
            )
    return lengths
