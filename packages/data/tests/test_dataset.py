"""Datasets: indexed, stacked, chained, split."""

from __future__ import annotations

import pytest

import flambeau as fb
from flambeau.utils.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)


class Squares(Dataset[int]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __getitem__(self, index: int) -> int:
        return index * index

    def __len__(self) -> int:
        return self.n


class Count(IterableDataset[int]):
    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end

    def __iter__(self):
        return iter(range(self.start, self.end))

    def __len__(self) -> int:
        return self.end - self.start


class Together(Squares):
    def __init__(self, n: int, short: int = 0) -> None:
        super().__init__(n)
        self.short = short
        self.calls: list[list[int]] = []

    def __getitems__(self, indices):
        self.calls.append(indices)
        return [i * i for i in indices][self.short :]


def test_abstract():
    with pytest.raises(NotImplementedError, match="Subclasses of Dataset should implement"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="Subclasses of IterableDataset"):
        iter(IterableDataset())


def test_tensor_dataset():
    x, y = fb.arange(6.0).view(3, 2), fb.arange(3)
    data = TensorDataset(x, y)
    assert len(data) == 3
    a, b = data[1]
    assert a.tolist() == [2.0, 3.0]
    assert b.item() == 1
    assert data.tensors == (x, y) or data.tensors[0] is x


def test_tensor_dataset_errors():
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors.*\(3,\), \(2,\)"):
        TensorDataset(fb.zeros(3), fb.zeros(2))
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(fb.tensor(1.0))
    with pytest.raises(TypeError, match="needs tensors, got list at position 1"):
        TensorDataset(fb.zeros(3), [1, 2, 3])
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


def test_stack_dataset():
    a, b = Squares(4), Squares(4)
    assert StackDataset(a, b)[2] == (4, 4)
    named = StackDataset(x=a, y=b)
    assert named[3] == {"x": 9, "y": 9}
    assert len(named) == 4
    assert named.__getitems__([1, 2]) == [{"x": 1, "y": 1}, {"x": 4, "y": 4}]
    together = Together(4)
    assert StackDataset(a, together).__getitems__([1, 2]) == [(1, 1), (4, 4)]
    assert together.calls == [[1, 2]]


def test_stack_dataset_errors():
    with pytest.raises(ValueError, match="both types are given"):
        StackDataset(Squares(1), x=Squares(1))
    with pytest.raises(ValueError, match="At least one dataset"):
        StackDataset()
    with pytest.raises(ValueError, match=r"Size mismatch between datasets, got lengths \[1, 2\]"):
        StackDataset(Squares(1), Squares(2))
    with pytest.raises(ValueError, match=r"Expected 3, got 2 \(Together.__getitems__\)"):
        StackDataset(Together(4, short=1)).__getitems__([0, 1, 2])


def test_concat_dataset():
    data = Squares(3) + Squares(2)
    assert isinstance(data, ConcatDataset)
    assert [data[i] for i in range(5)] == [0, 1, 4, 0, 1]
    assert data[-1] == 1
    assert data[-5] == 0
    assert data.cumulative_sizes == [3, 5]


def test_concat_dataset_errors():
    with pytest.raises(AssertionError, match="should not be an empty iterable"):
        ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset.*ChainDataset"):
        ConcatDataset([Count(0, 1)])
    data = ConcatDataset([Squares(3)])
    with pytest.raises(ValueError, match="absolute value of index should not exceed"):
        data[-4]
    with pytest.raises(IndexError, match="index 3 is out of range for 3 samples"):
        data[3]


def test_chain_dataset():
    data = Count(0, 3) + Count(5, 7)
    assert isinstance(data, ChainDataset)
    assert list(data) == [0, 1, 2, 5, 6]
    assert len(data) == 5
    with pytest.raises(AssertionError, match="only supports IterableDataset, got Squares"):
        list(ChainDataset([Squares(1)]))


def test_subset():
    data = Subset(Squares(10), [3, 5, 7])
    assert len(data) == 3
    assert data[1] == 25
    assert data.__getitems__([0, 2]) == [9, 49]
    together = Together(10)
    assert Subset(together, [3, 5, 7]).__getitems__([0, 2]) == [9, 49]
    assert together.calls == [[3, 7]]


def test_subset_with_half_an_override():
    class Half(Subset):
        def __getitem__(self, idx):
            return -1

    with pytest.raises(
        NotImplementedError, match="Half overrides __getitem__ but not __getitems__"
    ):
        Half(Squares(3), [0])


def test_random_split():
    parts = random_split(Squares(10), [7, 3])
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))


def test_random_split_by_fractions_deals_out_the_rest():
    parts = random_split(Squares(10), [1 / 3, 1 / 3, 1 / 3])
    assert [len(p) for p in parts] == [4, 3, 3]


def test_random_split_follows_its_generator():
    def split(seed):
        return random_split(Squares(50), [0.5, 0.5], generator=fb.Generator().manual_seed(seed))[0]

    assert list(split(1).indices) == list(split(1).indices)
    assert list(split(1).indices) != list(split(2).indices)
    fb.manual_seed(3)
    one = random_split(Squares(50), [25, 25])[0].indices
    fb.manual_seed(3)
    assert random_split(Squares(50), [25, 25])[0].indices == one


def test_random_split_errors():
    with pytest.raises(ValueError, match=r"does not equal the length.*\[3, 3\] for 10 samples"):
        random_split(Squares(10), [3, 3])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1, got 1.5"):
        random_split(Squares(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split(Squares(3), [1.0, 0.0])


def test_generic_subscription():
    assert issubclass(Squares, Dataset)
    assert Dataset[int] is not None
