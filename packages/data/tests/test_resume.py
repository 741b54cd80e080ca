"""A loader's place in an epoch, saved and found again."""

from __future__ import annotations

import json

import numpy as np
import pytest

import flambeau as fb
from flambeau.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    get_worker_info,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

WORKERS = [
    {},
    {"num_workers": 2, "worker_kind": "thread"},
    {"num_workers": 2, "worker_kind": "process"},
]


class Noisy(Dataset):
    def __len__(self):
        return 22

    def __getitem__(self, index):
        return fb.rand(3), index


def rows():
    return TensorDataset(fb.arange(22.0), fb.arange(22))


def plain(batch):
    return [t.tolist() for t in batch]


def run(loader, epochs=3):
    """Whole epochs, with draws of the program in between."""
    return [[(plain(b), fb.rand(1).item()) for b in loader] for _ in range(epochs)]


@pytest.mark.parametrize("resumed_with", WORKERS)
@pytest.mark.parametrize("killed_with", WORKERS)
@pytest.mark.parametrize("own_generator", [False, True])
def test_resume_equals_never_stopped(killed_with, resumed_with, own_generator):
    def make(options):
        gen = fb.Generator().manual_seed(4) if own_generator else None
        return DataLoader(Noisy(), 4, shuffle=True, generator=gen, **options)

    fb.manual_seed(7)
    expected = run(make({}))

    fb.manual_seed(7)
    loader = make(killed_with)
    run(loader, 1)
    for i, _ in enumerate(loader):
        fb.rand(1)
        if i == 2:
            break
    state = json.loads(json.dumps(loader.state_dict()))
    numbers = fb.get_rng_state()

    fb.manual_seed(123)  # another program
    again = make(resumed_with)
    fb.set_rng_state(numbers)
    again.load_state_dict(state)
    assert run(again, 2) == [expected[1][3:], expected[2]]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_rows_of_tensors(shuffle, stop):
    fb.manual_seed(7)
    expected = run(DataLoader(rows(), 4, shuffle=shuffle), 2)
    fb.manual_seed(7)
    loader = DataLoader(rows(), 4, shuffle=shuffle)
    batches = iter(loader)
    for _ in range(stop + 1):
        next(batches)
        fb.rand(1)
    state, numbers = loader.state_dict(), fb.get_rng_state()
    again = DataLoader(rows(), 4, shuffle=shuffle)
    fb.set_rng_state(numbers)
    again.load_state_dict(state)
    assert run(again, 2) == [expected[0][stop + 1 :], expected[1]]


@pytest.mark.parametrize("options", WORKERS)
def test_between_epochs(options):
    def make():
        return DataLoader(
            Noisy(), 4, shuffle=True, generator=fb.Generator().manual_seed(2), **options
        )

    expected = [[plain(b) for b in loader] for loader in [make()] * 2]
    loader = make()
    fresh = loader.state_dict()
    assert [plain(b) for b in loader] == expected[0]
    after = loader.state_dict()
    assert after["batches"] == 0
    again = make()
    again.load_state_dict(after)
    assert [plain(b) for b in again] == expected[1]
    again.load_state_dict(fresh)
    assert [plain(b) for b in again] == expected[0]


def test_after_the_last_batch_but_before_the_end():
    loader = DataLoader(rows(), 11)
    batches = iter(loader)
    next(batches), next(batches)
    again = DataLoader(rows(), 11)
    again.load_state_dict(loader.state_dict())
    assert list(again) == []
    assert len(list(again)) == 2


def test_a_resumed_epoch_can_be_saved_again():
    def make(**options):
        return DataLoader(
            Noisy(), 3, generator=fb.Generator().manual_seed(1), shuffle=True, **options
        )

    expected = [plain(b) for b in make()]
    state, got = make().state_dict(), []
    for options in (*WORKERS, *WORKERS, {}, {}):
        loader = make(**options)
        loader.load_state_dict(state)
        batches = iter(loader)
        got.append(plain(next(batches)))
        state = loader.state_dict()
    assert got == expected


@pytest.mark.parametrize(
    "sampler",
    [
        lambda: {
            "sampler": RandomSampler(range(22), True, 30, fb.Generator().manual_seed(3)),
            "batch_size": 4,
        },
        lambda: {
            "batch_sampler": BatchSampler(
                RandomSampler(range(22), generator=fb.Generator().manual_seed(3)), 4, False
            )
        },
        lambda: {"sampler": Counting(), "batch_size": 4},
        lambda: {"batch_size": None, "shuffle": True, "generator": fb.Generator().manual_seed(3)},
    ],
)
def test_samplers(sampler):
    def make():
        return (
            DataLoader(Noisy(), generator=fb.Generator().manual_seed(1), **sampler())
            if ("generator" not in sampler())
            else DataLoader(Noisy(), **sampler())
        )

    def flat(loader):
        return [[x.tolist(), y if isinstance(y, int) else y.tolist()] for x, y in loader]

    loader = make()
    expected = [flat(loader), flat(loader)]
    loader = make()
    batches = iter(loader)
    next(batches), next(batches)
    again = make()
    again.load_state_dict(loader.state_dict())
    assert flat(again) == expected[0][2:]
    assert flat(again) == expected[1]


class Counting(Sampler):
    """Another order in every epoch, by a counter of its own."""

    def __init__(self):
        self.epoch_number = 0

    def __iter__(self):
        self.epoch_number += 1
        return iter([(i * self.epoch_number) % 22 for i in range(16)])

    def __len__(self):
        return 16

    def state_dict(self):
        return {"epoch_number": self.epoch_number}

    def load_state_dict(self, state):
        self.epoch_number = state["epoch_number"]


class Stream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        for i in range(info.id if info else 0, 17, info.num_workers if info else 1):
            if i not in (1, 3):  # the workers' shares differ
                yield fb.rand(2), i


@pytest.mark.parametrize("options", WORKERS)
@pytest.mark.parametrize("stop", [1, 4])
def test_iterable(options, stop):
    def make():
        return DataLoader(Stream(), 3, generator=fb.Generator().manual_seed(1), **options)

    loader = make()
    expected = [[plain(b) for b in loader] for _ in range(2)]
    loader = make()
    batches = iter(loader)
    for _ in range(stop):
        next(batches)
    again = make()
    again.load_state_dict(loader.state_dict())
    assert [[plain(b) for b in again] for _ in range(2)] == [expected[0][stop:], expected[1]]


def test_errors():
    loader = DataLoader(rows(), 4)
    for bad, got in ((None, "NoneType"), ({"version": 9}, "9"), ({}, "None")):
        with pytest.raises(ValueError, match=f"needs a state_dict of version 1, got {got}"):
            loader.load_state_dict(bad)
    other = DataLoader(rows(), 4, shuffle=True, generator=fb.Generator())
    with pytest.raises(ValueError, match="0 generators and 2 samplers, this one has 1 and 2"):
        other.load_state_dict(loader.state_dict())
    unordered = DataLoader(rows(), 4, num_workers=1, worker_kind="thread", in_order=False)
    unordered.state_dict()
    batches = iter(unordered)
    next(batches)
    with pytest.raises(ValueError, match="with in_order=False nobody knows"):
        unordered.state_dict()
    stream = DataLoader(Stream(), 3, num_workers=2, worker_kind="thread")
    batches = iter(stream)
    next(batches)
    with pytest.raises(ValueError, match="read by 2 workers, this loader has 0"):
        DataLoader(Stream(), 3).load_state_dict(stream.state_dict())


class Longer(Noisy):
    def __len__(self):
        return 23


@pytest.mark.parametrize(
    ("data", "size", "match"),
    [
        (Noisy(), 5, "batch_size=4, this loader has batch_size=5: it would leave samples out"),
        (Longer(), 4, r"len\(dataset\)=22, this loader has len\(dataset\)=23: .* Hint: load it"),
    ],
)
def test_a_loader_in_which_the_place_would_be_another_one(data, size, match):
    loader = DataLoader(Noisy(), 4)
    between = loader.state_dict()
    next(iter(loader))
    other = DataLoader(data, size)
    with pytest.raises(ValueError, match=f"of the middle of an epoch with {match}"):
        other.load_state_dict(loader.state_dict())
    other.load_state_dict(between)  # an epoch that begins anew may be another one


def test_a_dataset_without_a_length():
    class Endless(Dataset):
        def __getitem__(self, index):
            return fb.rand(3), index

    def make():
        return DataLoader(Endless(), 4, sampler=range(9))

    loader = make()
    batches = iter(loader)
    next(batches)
    again = make()
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert [plain(b)[1] for b in again] == [[4, 5, 6, 7], [8]]


def test_a_state_from_before_sizes_were_kept():
    loader = DataLoader(rows(), 4)
    next(iter(loader))
    state = loader.state_dict()
    del state["sizes"]
    DataLoader(rows(), 4).load_state_dict(state)


def test_a_stream_goes_on_with_one_worker_or_none():
    def make(**options):
        return DataLoader(Stream(), 3, generator=fb.Generator().manual_seed(1), **options)

    expected = [plain(b) for b in make()]
    state, got = make().state_dict(), []
    for options in ({}, {"num_workers": 1, "worker_kind": "thread"}) * 2:
        loader = make(**options)
        loader.load_state_dict(state)
        got.append(plain(next(iter(loader))))
        state = loader.state_dict()
    assert got == expected[:4]
    loader = make()
    next(iter(loader))
    with pytest.raises(ValueError, match="read by 0 workers, this loader has 2"):
        make(num_workers=2).load_state_dict(loader.state_dict())


def test_a_loaded_state_can_be_saved_before_the_epoch_goes_on():
    loader = DataLoader(rows(), 4, shuffle=True)
    next(iter(loader))
    state = loader.state_dict()
    again = DataLoader(rows(), 4, shuffle=True)
    again.load_state_dict(state)
    saved = again.state_dict()
    assert saved == state
    saved["start"]["default"].clear()  # what was given out is a copy
    assert again.state_dict() == state
    assert len(list(again)) == 5


def test_the_place_in_another_order():
    loader = DataLoader(rows(), 4)
    next(iter(loader))
    state = loader.state_dict()
    for options, order in (
        ({"shuffle": True}, "BatchSampler of RandomSampler"),
        ({"sampler": np.arange(22)}, "BatchSampler of ndarray"),
    ):
        with pytest.raises(ValueError, match=f"SequentialSampler, this loader has order={order}"):
            DataLoader(rows(), 4, **options).load_state_dict(state)
    loader = DataLoader(rows(), batch_sampler=BatchSampler(range(22), 4, False))
    next(iter(loader))
    other = DataLoader(rows(), batch_sampler=BatchSampler(range(22), 5, False))
    with pytest.raises(ValueError, match="batch_size=4, this loader has batch_size=5"):
        other.load_state_dict(loader.state_dict())


def test_an_array_as_sampler():
    loader = DataLoader(rows(), 4, sampler=np.arange(22)[::-1].copy())
    batches = iter(loader)
    expected = [plain(b) for b in DataLoader(rows(), 4, sampler=list(range(21, -1, -1)))]
    assert plain(next(batches)) == expected[0]
    again = DataLoader(rows(), 4, sampler=np.arange(22)[::-1].copy())
    again.load_state_dict(loader.state_dict())
    assert [plain(b) for b in again] == expected[1:]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"batches": -1}, "batches"),
        ({"batches": "3", "last": None}, "batches, last"),
        ({"per_worker": None}, "per_worker"),
        ({"start": 3}, "start"),
        ({"start": {}}, "generators, samplers, default"),
    ],
)
def test_a_state_that_is_not_whole(change, names):
    loader = DataLoader(rows(), 4)
    next(iter(loader))
    with pytest.raises(ValueError, match=f"load_state_dict: {names} is missing from the state"):
        loader.load_state_dict({**loader.state_dict(), **change})
