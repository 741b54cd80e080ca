"""The loader in the calling thread: options, order, batches."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import flambeau as fb
from flambeau.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
    sample_rng,
)


def rows(n=10):
    return TensorDataset(fb.arange(2.0 * n).view(n, 2), fb.arange(n))


class Squares(Dataset):
    def __init__(self, n=10):
        self.n = n

    def __getitem__(self, index):
        return fb.tensor(float(index)), index * index

    def __len__(self):
        return self.n


class Stream(IterableDataset):
    def __init__(self, n=5, length=None):
        self.n = n
        self.length = n if length is None else length

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self):
        return self.length


def labels(loader):
    return [batch[1].tolist() for batch in loader]


@pytest.mark.parametrize("data", [rows(), Squares(), Subset(rows(12), list(range(10)))])
def test_batches_in_order(data):
    loader = DataLoader(data, batch_size=4)
    assert len(loader) == 3
    assert [len(y) for _, y in loader] == [4, 4, 2]
    assert [len(y) for _, y in DataLoader(data, batch_size=4, drop_last=True)] == [4, 4]
    assert len(DataLoader(data, batch_size=4, drop_last=True)) == 2
    assert [x.numel() // len(y) for x, y in loader] == [2 if data[0][0].dim() else 1] * 3


@pytest.mark.parametrize("data", [rows(100), Squares(100)])
def test_shuffle_visits_all_and_changes_each_epoch(data):
    loader = DataLoader(data, batch_size=7, shuffle=True)
    epochs = [[float(v) for x, _ in loader for v in x.reshape(-1).tolist()] for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1])
    fb.manual_seed(5)
    one = labels(loader)
    fb.manual_seed(5)
    assert labels(loader) == one


def test_the_generator_draws_the_order():
    def order(seed):
        return labels(
            DataLoader(rows(), 3, shuffle=True, generator=fb.Generator().manual_seed(seed))
        )

    before = fb.get_rng_state().tolist()
    assert order(1) == order(1)
    assert order(1) != order(2)
    assert fb.get_rng_state().tolist() == before


def test_an_epoch_costs_the_default_generator_the_same_for_every_dataset():
    after = []
    for data in (rows(), Squares(), random_rows()):
        fb.manual_seed(0)
        list(DataLoader(data, 3, shuffle=True))
        after.append(fb.get_rng_state().tolist())
    assert after[0] == after[1] == after[2]


def random_rows():
    class Noisy(Squares):
        def __getitem__(self, index):
            return fb.rand(3), index

    return Noisy()


# ---- rows of tensors
SELECTING = [
    lambda d: {"batch_size": 4},
    lambda d: {"batch_size": 4, "drop_last": True},
    lambda d: {"batch_size": 4, "shuffle": True},
    lambda d: {"batch_size": 4, "sampler": SubsetRandomSampler([1, 5, 7, 2, 0])},
    lambda d: {"batch_size": 4, "sampler": WeightedRandomSampler([1.0] * 10, 15)},
    lambda d: {"batch_size": 4, "sampler": RandomSampler(d, replacement=True, num_samples=13)},
    lambda d: {"batch_size": 4, "sampler": [3, -1, 0, 2, -10]},
    lambda d: {"batch_sampler": [[0, 9], [3], [-1, 4, 4]]},
    lambda d: {"batch_sampler": BatchSampler(SequentialSampler(d), 3, True)},
]


@pytest.mark.parametrize("options", SELECTING)
@pytest.mark.parametrize("split", [False, True])
def test_selecting_rows_equals_collating_samples(options, split):
    data = rows(14 if split else 10)
    if split:
        data = random_split(Subset(data, range(1, 13)), [10, 2])[0]
    fast = DataLoader(data, **options(data))
    slow = DataLoader(data, **options(data), collate_fn=lambda batch: default_collate(batch))
    assert fast._recipe().rows() is not None
    assert slow._recipe().rows() is None
    fb.manual_seed(1)
    got = [[t.tolist() for t in batch] for batch in fast]
    fb.manual_seed(1)
    assert got == [[t.tolist() for t in batch] for batch in slow]
    assert all(type(batch) is list for batch in fast)


def test_batches_of_rows_are_copies():
    x = fb.zeros(6)
    for shuffle in (False, True):
        for (batch,) in DataLoader(TensorDataset(x), 3, shuffle=shuffle):
            batch += 1
    assert x.tolist() == [0.0] * 6


def test_gradients_reach_the_rows():
    x = fb.ones(4, requires_grad=True)
    for (batch,) in DataLoader(TensorDataset(x), 3):
        (2 * batch).sum().backward()
    assert x.grad.tolist() == [2.0] * 4


def test_rows_out_of_range():
    with pytest.raises(IndexError, match="out of"):
        list(DataLoader(rows(), batch_sampler=[[0, 10]]))


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([(1, 2), (3,)], [[1, 2], [3]]),
        ([{1, 2}, {4: 0}.keys()], [[1, 2], [4]]),
        ([range(3)], [[0, 1, 2]]),
        ([np.array([1, -1]), np.array([2], np.int32)], [[1, 9], [2]]),
        ([list(np.array([1, -1]))], [[1, 9]]),
        ([fb.tensor([1, 2])], [[1, 2]]),
    ],
)
@pytest.mark.parametrize("make", [rows, lambda: Subset(rows(), range(10))])
def test_batches_of_indices_of_every_kind(batches, expected, make):
    assert labels(DataLoader(make(), batch_sampler=batches)) == expected


def test_batches_of_indices_that_are_iterators_or_slices():
    for data in (rows(), Squares()):
        batches = [iter([1, 2]), iter([3])]
        assert [len(y) for _, y in DataLoader(data, batch_sampler=batches)] == [2, 1]
    assert labels(DataLoader(rows(), batch_sampler=[[slice(0, 2), slice(4, 6)]])) == [
        [[0, 1], [4, 5]]
    ]


@pytest.mark.parametrize("index", [1.0, "a"])
def test_indices_that_are_no_rows(index):
    for options in ({"batch_sampler": [[index]]}, {"sampler": [index]}):
        with pytest.raises(IndexError, match="only integers"):
            list(DataLoader(rows(), **options))
    with pytest.raises(IndexError, match="list index out of range"):  # as collating no samples
        list(DataLoader(rows(), batch_sampler=[[]]))


def test_what_is_not_plain_rows_is_collated():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            return tuple(2 * t for t in super().__getitem__(index))

    assert DataLoader(Doubled(fb.arange(3)), 3)._recipe().rows() is None
    assert [b.tolist() for (b,) in DataLoader(Doubled(fb.arange(3)), 3)] == [[0, 2, 4]]
    strange = Subset(rows(), ["0", "1"])
    assert DataLoader(strange, 2)._recipe().rows() is None
    assert DataLoader(rows(), None)._recipe().rows() is None


def test_empty():
    assert list(DataLoader(TensorDataset(fb.zeros(0, 2)), 4)) == []
    assert list(DataLoader(Squares(0))) == []
    with pytest.raises(ValueError, match="num_samples should be a positive integer value.*=0"):
        DataLoader(Squares(0), shuffle=True)


# ---- other ways to give samples
def test_batched_getitems():
    class Together(Squares):
        calls = []

        def __getitems__(self, indices):
            self.calls.append(list(indices))
            return [(i, i * i) for i in indices]

    assert labels(DataLoader(Together(5), 2)) == [[0, 1], [4, 9], [16]]
    assert Together.calls == [[0, 1], [2, 3], [4]]
    assert [type(b) for b in DataLoader(StackDataset(a=Squares(2)), 2)] == [dict]


def test_without_batches():
    assert [y for _, y in DataLoader(Squares(3), batch_size=None)] == [0, 1, 4]
    loader = DataLoader(Squares(9), batch_size=None, sampler=[[1, 2], [3]], collate_fn=None)
    assert len(loader) == 2
    assert list(DataLoader(["a", "b"], batch_size=None)) == ["a", "b"]


def test_collate_fn():
    loader = DataLoader(Squares(5), 2, collate_fn=lambda samples: [y for _, y in samples])
    assert list(loader) == [[0, 1], [4, 9], [16]]


def test_collate_fn_for_lengths_that_vary():
    def pad(samples):
        batch = fb.zeros(len(samples), max(map(len, samples)))
        for row, sample in zip(batch, samples, strict=True):
            row[: len(sample)] = sample
        return batch, fb.tensor([len(sample) for sample in samples])

    sequences = [fb.ones(n) for n in (1, 3, 2, 4, 2)]
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        list(DataLoader(sequences, 2))
    for batch, lengths in DataLoader(sequences, 2, collate_fn=pad):
        assert batch.shape == (len(lengths), max(lengths.tolist()))
        assert batch.sum(1).tolist() == lengths.tolist()


def test_iterable():
    assert [b.tolist() for b in DataLoader(Stream(), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(), None)) == [0, 1, 2, 3, 4]
    assert len(DataLoader(Stream(), 2)) == 3
    assert len(DataLoader(Stream(), 2, drop_last=True)) == 2
    assert len(DataLoader(Stream(), None)) == 5
    assert next(b.tolist() for b in DataLoader(Stream(), 2, shuffle=False)) == [0, 1]


def test_iterable_longer_than_it_said():
    loader = DataLoader(Stream(5, length=3), None)
    assert [int(i) for i in loader] == [0, 1, 2, 3, 4]
    assert len(loader) == 3
    with pytest.warns(UserWarning, match="was reported to be 3.*but 4 samples"):
        list(loader)


def test_an_error_in_a_sample_does_not_end_the_epoch():
    class Bad(Squares):
        def __getitem__(self, index):
            if index == 1:
                raise KeyError("no sample 1")
            return index

    batches = iter(DataLoader(Bad(4), 2))
    with pytest.raises(KeyError, match="no sample 1"):
        next(batches)
    assert next(batches).tolist() == [2, 3]


# ---- each sample's random numbers
class Noisy(Squares):
    def __getitem__(self, index):
        return fb.rand(2), index


def noise(loader):
    return {i: x for xs, ys in loader for x, i in zip(xs.tolist(), ys.tolist())}


def test_a_samples_numbers_do_not_depend_on_the_batches():
    drawn = []
    for size in (1, 3, 10):
        fb.manual_seed(2)
        drawn.append(noise(DataLoader(Noisy(), size)))
    assert drawn[0] == drawn[1] == drawn[2]
    assert len({tuple(v) for v in drawn[0].values()}) == 10


def test_an_epochs_numbers_are_its_own():
    loader = DataLoader(Noisy(), 5)
    assert noise(loader) != noise(loader)


def test_twice_the_same_sample_is_not_twice_the_same_number():
    ((x, _),) = DataLoader(Noisy(), 2, sampler=[3, 3])
    assert x[0].tolist() != x[1].tolist()


def test_samples_do_not_touch_the_programs_numbers():
    list(DataLoader(Noisy(), 5))  # draws one seed
    fb.manual_seed(0)
    batches = iter(DataLoader(Noisy(), 5))
    expected = fb.Generator()
    expected.set_state(fb.get_rng_state())
    next(batches)
    assert fb.rand(1).tolist() == fb.rand(1, generator=expected).tolist()
    assert fb.default_generator.clone().initial_seed() == 0


def test_the_default_generator_stays_a_generator():
    list(DataLoader(Noisy(), 5))
    gen = fb.default_generator
    assert isinstance(gen, type(fb.default_generator.clone()))
    fb.manual_seed(6)
    for copy in (gen.clone(), pickle.loads(pickle.dumps(gen))):
        fb.manual_seed(6)
        assert fb.rand(2, generator=copy).tolist() == fb.rand(2).tolist()


def test_sample_rng():
    class Drawing(Squares):
        def __getitem__(self, index):
            rng = sample_rng()
            own = fb.rand(1, generator=rng.torch_generator).item()
            numbers = [rng.random_generator.random(), rng.numpy_generator.random(), own]
            return [*numbers, rng.random_generator.random()]

    def draw():
        fb.manual_seed(8)
        return [b for batch in DataLoader(Drawing(), 4) for b in zip(*(c.tolist() for c in batch))]

    rows = draw()
    assert rows == draw()
    assert len({v for row in rows for v in row}) == 40  # all of them differ
    fb.manual_seed(8)
    outside = sample_rng().numpy_generator.random()
    assert outside != sample_rng().numpy_generator.random()
    fb.manual_seed(8)
    assert sample_rng().numpy_generator.random() == outside


def test_seeding_inside_a_sample_stays_inside():
    class Seeding(Squares):
        def __getitem__(self, index):
            fb.manual_seed(7)
            return fb.rand(1)

    fb.manual_seed(0)
    (batch,) = DataLoader(Seeding(3), 3)
    assert batch[0].tolist() == batch[2].tolist()
    assert fb.initial_seed() == 0


# ---- options
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 0},
            "batch_size option should be None or a positive integer, but got batch_size=0",
        ),
        ({"batch_size": -1}, "batch_size option should be None or a positive"),
        ({"batch_size": True}, "batch_size option should be None or a positive"),
        ({"batch_size": 2.0}, "batch_size option should be None or a positive"),
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        (
            {"prefetch_factor": 2},
            "prefetch_factor option could only be specified in multiprocessing",
        ),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor option should be positive"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        (
            {"worker_kind": "fiber"},
            "worker_kind option should be 'process' or 'thread', got 'fiber'",
        ),
        ({"sampler": [0], "shuffle": True}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "sampler": [0]}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
        ({"drop_last": 1}, "drop_last should be a boolean value"),
        ({"multiprocessing_context": "spawn"}, r"can only be used with multi-process loading"),
        (
            {"num_workers": 1, "multiprocessing_context": "warp"},
            "should specify a valid start method in",
        ),
        (
            {"num_workers": 1, "multiprocessing_context": 3},
            "should be a valid context object or a string",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(), **options)


@pytest.mark.parametrize("name", ["shuffle", "sampler", "batch_sampler"])
def test_iterable_takes_no_order(name):
    with pytest.raises(ValueError, match=f"expected unspecified {name} option, but got {name}="):
        DataLoader(Stream(), **{name: True})


def test_timeout_needs_workers():
    with pytest.raises(AssertionError, match="requires timeout == 0"):
        iter(DataLoader(Squares(), timeout=1))


def test_a_generator_of_another_library():
    for options in ({}, {"shuffle": True}):
        loader = DataLoader(Squares(), generator=np.random.default_rng(), **options)
        with pytest.raises(TypeError, match="should be a flambeau.Generator or None, but got Gen"):
            iter(loader)


def test_names_where_programs_look_for_them():
    import flambeau.utils.data as data
    from flambeau.utils.data import dataloader
    from flambeau.utils.data._utils.collate import collate_tensor_fn
    from flambeau.utils.data._utils.worker import get_worker_info
    from flambeau.utils.data.dataset import Dataset as FromDataset
    from flambeau.utils.data.sampler import Sampler as FromSampler

    assert data._utils.collate.default_collate is dataloader.default_collate is default_collate
    assert dataloader.get_worker_info is get_worker_info is data.get_worker_info
    assert collate_tensor_fn([fb.ones(2)]).shape == (1, 2)
    assert FromDataset is Dataset
    assert FromSampler is data.Sampler
    assert isinstance(iter(DataLoader(Squares())), dataloader._BaseDataLoaderIter)


def test_fixed_attributes():
    loader = DataLoader(Squares(), 2)
    for name in ("batch_size", "sampler", "batch_sampler", "drop_last", "dataset"):
        with pytest.raises(
            ValueError, match=f"{name} attribute should not be set after DataLoader"
        ):
            setattr(loader, name, 1)
    loader.collate_fn = list
    assert [type(b) for b in loader] == [list] * 5


def test_pin_memory_is_accepted():
    loader = DataLoader(rows(), 5, pin_memory=True, pin_memory_device="cuda")
    assert loader.pin_memory is True
    assert len(list(loader)) == 2


def test_attributes_and_defaults():
    data = Squares()
    loader = DataLoader(data)
    assert (loader.batch_size, loader.num_workers, loader.drop_last) == (1, 0, False)
    assert loader.dataset is data
    assert isinstance(loader.sampler, SequentialSampler)
    assert isinstance(DataLoader(data, shuffle=True).sampler, RandomSampler)
    assert isinstance(loader.batch_sampler, BatchSampler)
    assert loader.prefetch_factor is None
    assert DataLoader(data, num_workers=1).prefetch_factor == 2


def test_iterators():
    loader = DataLoader(Squares(), 4)
    batches = iter(loader)
    assert iter(batches) is batches
    assert len(batches) == 3
    with pytest.raises(NotImplementedError, match="cannot be pickled"):
        pickle.dumps(batches)


def test_two_iterators_do_not_disturb_each_other():
    loader = DataLoader(rows(4), 1)
    assert [(a[1].item(), b[1].item()) for a in loader for b in loader] == [
        (i, j) for i in range(4) for j in range(4)
    ]
