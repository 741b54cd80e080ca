"""Workers, as threads and as processes: the same batches, clear failures, nothing left behind."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import namedtuple

import numpy as np
import pytest

import flambeau as fb
from flambeau.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    _transport,
    get_worker_info,
    sample_rng,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

Point = namedtuple("Point", ["x", "y"])
KINDS = ["thread", "process"]
ONE = [{"num_workers": 1, "worker_kind": k} for k in KINDS]
TWO = [{"num_workers": 2, "worker_kind": k} for k in KINDS]
SEGMENTS = "/dev/shm"


def segments(pid=None):
    """Names of the shared memory that a program has."""
    mine = f"fb-{pid or os.getpid()}-"
    return (
        {n for n in os.listdir(SEGMENTS) if n.startswith(mine)}
        if os.path.isdir(SEGMENTS)
        else set()
    )


@pytest.fixture(autouse=True)
def nothing_left():
    threads = threading.active_count()
    yield
    gc.collect()
    assert not segments()
    until = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads


class Noisy(Dataset):
    """Samples with random numbers of every kind that does not depend on the worker."""

    def __init__(self, n=24):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        rng = sample_rng()
        return (
            fb.rand(300),
            index,
            {
                "numpy": rng.numpy_generator.random(),
                "python": rng.random_generator.random(),
                "own": fb.rand(2, generator=rng.torch_generator),
            },
            f"sample {index}",
        )


def plain(batch):
    x, index, more, text = batch
    return x.tolist(), index.tolist(), {k: v.tolist() for k, v in more.items()}, list(text)


def epochs(count=2, seed=1, **options):
    fb.manual_seed(seed)
    loader = DataLoader(Noisy(), 5, shuffle=True, **options)
    return [[plain(b) for b in loader] for _ in range(count)]


@pytest.mark.parametrize(
    "options",
    [
        *ONE,
        *TWO,
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "persistent_workers": True, "worker_kind": "thread"},
        {"num_workers": 2, "prefetch_factor": 7},
        {"num_workers": 2, "prefetch_factor": 1, "worker_kind": "thread"},
    ],
)
def test_the_same_batches_with_any_workers(options):
    expected = epochs()
    assert expected[0] != expected[1]
    assert epochs(**options) == expected


def test_the_same_batches_where_processes_are_spawned():
    # A spawned process imports the dataset's class anew, so it must not be one of this file's.
    data = ConcatDataset(
        [TensorDataset(fb.randn(9, 3), fb.arange(9)), TensorDataset(fb.ones(4, 3), fb.arange(4))]
    )

    def batches(**options):
        fb.manual_seed(0)
        return [[t.tolist() for t in b] for b in DataLoader(data, 4, shuffle=True, **options)]

    assert batches(num_workers=1, multiprocessing_context="spawn") == batches()


@pytest.mark.parametrize("options", TWO)
def test_rows_of_tensors(options):
    data = TensorDataset(fb.randn(50, 3), fb.arange(50))

    def order(**more):
        fb.manual_seed(0)
        return [[t.tolist() for t in b] for b in DataLoader(data, 8, shuffle=True, **more)]

    assert order(**options) == order()


@pytest.mark.parametrize("options", TWO)
def test_in_any_order(options):
    loader = DataLoader(Noisy(), 5, in_order=False, **options)
    assert sorted(i for b in loader for i in b[1].tolist()) == list(range(24))


@pytest.mark.parametrize("options", TWO)
def test_the_generator_argument_seeds_the_samples(options):
    def draw(seed):
        loader = DataLoader(Noisy(), 5, generator=fb.Generator().manual_seed(seed), **options)
        return [plain(b) for b in loader]

    before = fb.get_rng_state().tolist()
    one = draw(1)
    assert draw(1) == one
    assert draw(2) != one
    assert fb.get_rng_state().tolist() == before


# ---- what crosses
class Odd(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return [
            Point(fb.ones(3, 4) * index, None),
            fb.zeros(2000).to(fb.float64) + index,
            fb.ones(40, 50).t(),
            fb.zeros(0, 3),
            fb.tensor(index % 2 == 0),
            np.full(700, index, np.int32),
            "x" * 3000,
        ][:: 1 if index % 2 else -1]


def items(samples):
    return samples


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("options", [*ONE, *TWO])
def test_structures_and_arrays_of_all_sizes(options, mapped, monkeypatch):
    if not mapped:  # as on systems where shared memory is no file
        monkeypatch.setattr("flambeau.utils.data._transport._FOLDER", None)
    batches = list(DataLoader(Odd(), 2, collate_fn=items, **options))
    assert len(batches) == 3
    for number, batch in enumerate(batches):
        for index, sample in zip((2 * number, 2 * number + 1), batch):
            got = sample if index % 2 else sample[::-1]
            assert type(got[0]) is Point
            assert got[0].x.tolist() == [[float(index)] * 4] * 3
            assert got[1].tolist() == [float(index)] * 2000
            assert tuple(got[2].shape) == (50, 40)
            assert tuple(got[3].shape) == (0, 3)
            assert got[4].item() is (index % 2 == 0)
            assert got[5].tolist() == [index] * 700
            assert got[6] == "x" * 3000


class Growing(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return fb.full((1000 * (index + 1),), float(index))


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("options", [*ONE, *TWO])
def test_batches_stay_as_they_are_while_others_come(options, mapped, monkeypatch):
    if not mapped:
        monkeypatch.setattr("flambeau.utils.data._transport._FOLDER", None)
    batches = list(DataLoader(Growing(), 1, **options))
    for index, batch in enumerate(batches):
        assert tuple(batch.shape) == (1, 1000 * (index + 1))
        assert batch.min().item() == batch.max().item() == index
        batch += 1  # each batch is the program's own
        assert batch.max().item() == index + 1


class Large(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return fb.full((300_000,), float(index)), "text", index


def mapped_segments():
    with open("/proc/self/maps") as file:
        return sum(f"/fb-{os.getpid()}-" in line for line in file)


@pytest.mark.parametrize("hold", [True, False])
def test_large_arrays_stay_in_shared_memory(hold):
    loader = DataLoader(Large(), 1, num_workers=2, persistent_workers=True)
    held, mapped = [], 0
    for _ in range(2):
        for batch in loader:
            held.append(batch if hold else batch[2])
            if sys.platform == "linux":
                mapped = max(mapped, mapped_segments())
    for number, batch in enumerate(held):
        if hold:
            x, _, index = batch
            assert x.min().item() == x.max().item() == index.item() == number % 20
            x += 1
            assert x.max().item() == number % 20 + 1
        else:
            assert batch.item() == number % 20
    if sys.platform == "linux":
        assert (mapped > 12) if hold else (0 < mapped <= 8)
    del loader
    gc.collect()
    assert not hold or held[-1][0].max().item() == 20


@pytest.mark.parametrize("most", [0, 3])
def test_held_arrays_are_copied_where_file_descriptors_are_few(most, monkeypatch):
    monkeypatch.setattr(_transport, "_most", lambda: most)
    held = list(DataLoader(Large(), 1, num_workers=2))
    for i, (x, _, index) in enumerate(held):
        assert x.min().item() == x.max().item() == index.item() == i
    if sys.platform == "linux":
        assert mapped_segments() <= most


def test_batches_are_their_own_after_a_break():
    loader = DataLoader(Large(), 1, num_workers=2, persistent_workers=True)
    held = []
    for stop in (1, 4, 2, 7, 3, 20):
        for i, batch in enumerate(loader):
            assert batch[2].item() == i
            held.append(batch)
            if i == stop:
                break
    for x, _, index in held:
        assert x.min().item() == x.max().item() == index.item()


# ---- shared memory that is missing or full
@pytest.fixture
def files(monkeypatch, tmp_path):
    """Where segments go that cannot be in shared memory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(_transport, "_told", set())
    yield tmp_path
    gc.collect()
    assert not list(tmp_path.iterdir())


needs_files = pytest.mark.skipif(sys.platform != "linux", reason="segments are no files")


@needs_files
def test_no_shared_memory(files, monkeypatch):
    monkeypatch.setattr(_transport, "_FOLDER", str(files / "missing"))
    loader = DataLoader(Growing(), 1, num_workers=2)
    with pytest.warns(UserWarning, match="full or missing.*through files in .*Hint: docker run"):
        batches = list(loader)
    assert [b.max().item() for b in batches] == list(range(12))


@needs_files
def test_full_shared_memory(files, monkeypatch):
    limit_writes(monkeypatch, lambda path, size: size > 20_000 and path.startswith(SEGMENTS))
    with pytest.warns(UserWarning, match="full or missing"):
        batches = list(DataLoader(Growing(), 1, num_workers=2))
    assert [b.max().item() for b in batches] == list(range(12))


@needs_files
def test_no_memory_anywhere(files, monkeypatch):
    limit_writes(monkeypatch, lambda path, size: size > 20_000)
    batches = iter(DataLoader(Growing(), 1, num_workers=1))
    assert [next(batches).max().item() for _ in range(4)] == list(range(4))
    with pytest.raises(OSError, match="(?s)Caught OSError in DataLoader worker.*No space left"):
        next(batches)
    limit_writes(monkeypatch, lambda path, size: True)
    with pytest.raises(OSError, match="(?s)shortened.*No space left on device"):
        next(iter(DataLoader(Growing(), 1, num_workers=1, prefetch_factor=8)))


def limit_writes(monkeypatch, full):
    write = _transport._File.write

    def limited(segment, parts):
        if full(segment.name, sum(memoryview(part).nbytes for _, part in parts)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(segment, parts)

    monkeypatch.setattr(_transport._File, "write", limited)


def test_large_tasks_do_not_block():
    loader = DataLoader(range(40_000), 20_000, num_workers=1, collate_fn=len, prefetch_factor=2)
    assert list(loader) == [20_000, 20_000]


class Loose(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return lambda: index


def test_a_batch_that_cannot_be_pickled():
    with pytest.raises(
        (AttributeError, pickle.PicklingError), match="in DataLoader worker process 0"
    ):
        list(DataLoader(Loose(), 1, num_workers=1, collate_fn=items))


class Computed(Dataset):
    def __init__(self):
        self.weight = fb.ones(3, requires_grad=True)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.weight if index < 2 else 2 * self.weight


def test_a_tensor_with_a_history_cannot_leave_its_process():
    batches = iter(DataLoader(Computed(), 2, num_workers=1, collate_fn=items))
    leaves = next(batches)
    assert all(t.requires_grad and t.is_leaf for t in leaves)
    with pytest.raises(RuntimeError, match="(?s)no gradient would flow. Hint: detach"):
        next(batches)
    (_, computed) = DataLoader(Computed(), 2, num_workers=1, collate_fn=items, worker_kind="thread")
    assert computed[0].grad_fn is not None


def test_a_dataset_that_cannot_be_sent():
    data = Noisy()
    data.function = lambda: None
    loader = DataLoader(data, num_workers=1, multiprocessing_context="spawn")
    with pytest.raises(RuntimeError, match="cannot send the dataset.*Hint: define them at the top"):
        iter(loader)


# ---- what workers know
class Who(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        info = get_worker_info()
        return (info.id, info.num_workers, info.seed, info.worker_method, len(info.dataset))


@pytest.mark.parametrize("options", TWO)
def test_worker_info(options):
    rows = [r for b in DataLoader(Who(), 2, collate_fn=items, **options) for r in b]
    assert [r[0] for r in rows] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert {r[1] for r in rows} == {2}
    assert rows[2][2] == rows[0][2] + 1
    assert {r[3] for r in rows} == {
        "thread" if options["worker_kind"] == "thread" else "multiprocessing"
    }
    assert {r[4] for r in rows} == {8}
    assert get_worker_info() is None


class Globals(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return random.random(), float(np.random.rand()), fb.initial_seed()  # noqa: NPY002


def test_global_generators_in_processes():
    def draw(workers):
        fb.manual_seed(3)
        return list(DataLoader(Globals(), 3, collate_fn=items, num_workers=workers))

    one, two = draw(1), draw(2)
    assert one == two
    assert len({r[0] for b in one for r in b}) == len({r[1] for b in one for r in b}) == 12


def mark(worker):
    random.seed(worker + 100)
    get_worker_info().dataset.marked = worker


class Marked(Dataset):
    marked = None

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.marked, random.random()


@pytest.mark.parametrize("options", ONE)
def test_worker_init_fn(options):
    data = Marked()
    rows = list(DataLoader(data, 1, collate_fn=items, worker_init_fn=mark, **options))
    assert [r[0][0] for r in rows] == [0] * 4
    if options["worker_kind"] == "process":
        assert data.marked is None
        expected = random.Random(100)
        assert [r[0][1] for r in rows] == [expected.random() for _ in range(4)]


def seed_all(worker):
    fb.manual_seed(9)


class Modes(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return fb.is_grad_enabled(), fb.is_inference_mode_enabled(), fb.zeros(1).dtype


@pytest.mark.parametrize("options", [{}, *ONE])
@pytest.mark.parametrize("mode", [fb.no_grad, fb.enable_grad, fb.inference_mode])
def test_workers_are_in_the_modes_of_the_program(options, mode):
    fb.set_default_dtype(fb.float64)
    try:
        with mode():
            ((got,),) = DataLoader(Modes(), 1, collate_fn=items, **options)
    finally:
        fb.set_default_dtype(fb.float32)
    assert got == (mode is fb.enable_grad, mode is fb.inference_mode, fb.float64)


class Products(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        x = np.ones((300, 300))
        return (x @ x)[0, 0], fb.get_num_threads()


def two_threads(worker):
    fb.set_num_threads(2)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are seen in /proc")
def test_products_in_a_worker_use_one_thread():
    before = fb.get_num_threads()
    fb.set_num_threads(2)
    if fb.get_num_threads() != 2:
        pytest.skip("NumPy's products are not of OpenBLAS")
    try:
        loader = DataLoader(Products(), 1, num_workers=1)
        assert [n.item() for _, n in loader][1] == 1
        loader = DataLoader(Products(), 1, num_workers=1, worker_init_fn=two_threads)
        assert [n.item() for _, n in loader] == [2, 2]
        assert fb.get_num_threads() == 2
    finally:
        fb.set_num_threads(before)


class Nested(Dataset):
    def __init__(self, **options):
        self.options = options

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return [plain(b) for b in DataLoader(Noisy(4), 2, shuffle=True, **self.options)]


def test_a_loader_inside_a_worker():
    def draw(inside, **options):
        fb.manual_seed(4)
        return list(DataLoader(Nested(**inside), 2, collate_fn=items, **options))

    expected = draw({})
    for options in ONE:
        assert draw({}, **options) == expected
    assert draw(ONE[0], **ONE[1]) == expected
    with pytest.raises(AssertionError, match="(?s)daemonic.*Hint: num_workers=0 or worker_kind"):
        draw(ONE[1], **ONE[1])


def test_a_loader_in_another_thread():
    got = []
    thread = threading.Thread(target=lambda: got.extend(DataLoader(Stream(4), 2, num_workers=1)))
    thread.start()
    thread.join()
    assert [b.tolist() for b in got] == [[0, 1], [2, 3]]


def test_a_thread_does_not_seed_the_program():
    fb.manual_seed(0)
    list(DataLoader(Noisy(4), 2, num_workers=2, worker_kind="thread", worker_init_fn=seed_all))
    assert fb.initial_seed() == 0


def test_threads_do_not_touch_grad_mode():
    with fb.no_grad():
        list(DataLoader(Noisy(4), 2, num_workers=1, worker_kind="thread"))
        assert not fb.is_grad_enabled()


# ---- iterable datasets
class Stream(IterableDataset):
    def __init__(self, n=10, share=True):
        self.n = n
        self.share = share

    def __iter__(self):
        info = get_worker_info()
        start, step = (info.id, info.num_workers) if info and self.share else (0, 1)
        yield from range(start, self.n, step)

    def __len__(self):
        return self.n


@pytest.mark.parametrize("options", TWO)
def test_iterable_in_turn(options):
    got = [b.tolist() for b in DataLoader(Stream(11), 2, **options)]
    assert got == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9]]
    doubled = [b.tolist() for b in DataLoader(Stream(2, share=False), 1, **options)]
    assert doubled == [[0], [0], [1], [1]]
    assert list(DataLoader(Stream(3), None, **options)) == [0, 1, 2]


class Drawing(IterableDataset):
    def __iter__(self):
        for _ in range(6):
            yield random.random(), float(np.random.rand())  # noqa: NPY002


def test_global_generators_in_streams():
    def draw():
        fb.manual_seed(3)
        loader = DataLoader(Drawing(), 2, num_workers=2, collate_fn=items, persistent_workers=True)
        return [[sample for b in loader for sample in b] for _ in range(2)]

    epochs = draw()
    for column in zip(*epochs[0], strict=True):
        assert len(set(column)) == 12  # they differ between workers, batches and samples
    assert not set(epochs[0]) & set(epochs[1])
    assert draw() == epochs


class Uneven(IterableDataset):
    def __iter__(self):
        worker = get_worker_info().id
        return iter([(worker, i) for i in range(1 if worker == 0 else 6)])


@pytest.mark.parametrize("options", TWO)
@pytest.mark.parametrize("prefetch", [1, 3])
def test_a_stream_that_ends_early_leaves_the_others_going(options, prefetch):
    loader = DataLoader(Uneven(), None, collate_fn=tuple, prefetch_factor=prefetch, **options)
    assert list(loader) == [(0, 0)] + [(1, i) for i in range(6)]


@pytest.mark.parametrize("options", ONE)
def test_a_longer_stream_than_it_said(options):
    loader = DataLoader(
        Stream(2, share=False), None, num_workers=2, worker_kind=options["worker_kind"]
    )
    assert len(loader) == 2
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="was reported to be 2.*3 samples.*Hint: get_worker_info"):
        list(loader)


# ---- persistent workers
class Pids(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return os.getpid(), threading.get_ident()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("persistent", [True, False])
def test_persistent_workers(kind, persistent):
    loader = DataLoader(
        Pids(), 2, collate_fn=items, num_workers=2, worker_kind=kind, persistent_workers=persistent
    )
    seen = [{who for b in loader for who in b} for _ in range(2)]
    assert len(seen[0]) == 2
    if persistent or kind == "process":  # idents of threads are used again
        assert (seen[0] == seen[1]) is persistent


@pytest.mark.parametrize("kind", KINDS)
def test_persistent_workers_after_a_break(kind):
    loader = DataLoader(Noisy(), 2, num_workers=2, worker_kind=kind, persistent_workers=True)
    for batch in loader:
        assert batch[1].tolist() == [0, 1]
        break
    assert [b[1].tolist()[0] for b in loader] == list(range(0, 24, 2))
    first = iter(loader)
    next(first)
    second = iter(loader)
    with pytest.raises(RuntimeError, match="another epoch was begun with the same workers"):
        next(first)
    assert next(second)[1].tolist() == [0, 1]


def test_two_epochs_at_a_time():
    loader = DataLoader(Noisy(6), 2, num_workers=1, worker_kind="thread")
    pairs = [(a[1][0].item(), b[1][0].item()) for a, b in zip(loader, loader)]
    assert pairs == [(0, 0), (2, 2), (4, 4)]


def test_a_loader_can_be_pickled_in_use():
    loader = DataLoader(Noisy(), 2, num_workers=1, worker_kind="thread", persistent_workers=True)
    batches = iter(loader)
    next(batches)
    assert len(pickle.loads(pickle.dumps(loader))) == 12


# ---- failures
class OwnError(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


class SilentError(Exception):
    def __init__(self, code):
        super().__init__("something went wrong")


class Failing(Dataset):
    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 2:
            self.fail()
        return index

    def fail(self):
        if self.how == "silent":
            raise SilentError(3)
        if self.how == "local":

            class LocalError(LookupError):
                pass

            raise LocalError("nobody else knows this class")
        if self.how == "key":
            raise KeyError("no such sample")
        if self.how == "own":
            raise OwnError(1, 2)
        if self.how == "stop":
            raise StopIteration
        if self.how == "exit":
            sys.exit(3)
        if self.how == "sleep":
            time.sleep(0.4)
        raise ValueError("bad sample")


@pytest.mark.parametrize("options", TWO)
@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("value", ValueError, "bad sample"),
        ("key", KeyError, "no such sample"),
        ("own", RuntimeError, r"OwnError: \(1, 2\)"),
        ("stop", RuntimeError, "the dataset or collate_fn raised StopIteration for index"),
    ],
)
def test_a_samples_error_comes_with_the_workers_traceback(options, how, error, text):
    batches = iter(DataLoader(Failing(how), 1, **options))
    assert [next(batches).item(), next(batches).item()] == [0, 1]
    with pytest.raises(error) as caught:
        next(batches)
    said = str(caught.value)
    assert (
        f"in DataLoader worker {options['worker_kind']} 0.\nOriginal Traceback (most recent" in said
    )
    assert "in __getitem__\n" in said
    assert "    self.fail()\n" in said
    caught.match(f"(?s).*{text}")
    assert next(batches).item() == 3


@pytest.mark.parametrize("options", ONE)
def test_an_error_with_a_message_of_its_own(options):
    with pytest.raises(SilentError, match="^something went wrong") as caught:
        list(DataLoader(Failing("silent"), 1, **options))
    (note,) = caught.value.__notes__
    assert "Caught SilentError in DataLoader worker" in note
    assert "self.fail()" in note


def test_an_error_of_a_class_that_only_the_worker_knows():
    with pytest.raises(LookupError, match="(?s)Caught LocalError.*nobody else knows this class"):
        list(DataLoader(Failing("local"), 1, num_workers=1))


def fail_to_start(worker):
    raise ValueError(f"worker {worker} cannot start")


@pytest.mark.parametrize("options", TWO)
def test_worker_init_fn_that_fails(options):
    with pytest.raises(ValueError, match="(?s)Caught ValueError.*worker 0 cannot start"):
        list(DataLoader(Noisy(), 2, worker_init_fn=fail_to_start, **options))


def test_a_thread_that_exits_is_an_error():
    loader = DataLoader(Failing("exit"), 1, num_workers=1, worker_kind="thread")
    with pytest.raises(RuntimeError, match="Caught SystemExit in DataLoader worker thread 0"):
        list(loader)


def test_a_process_that_exits_is_named():
    loader = DataLoader(Failing("exit"), 1, num_workers=2)
    with pytest.raises(
        RuntimeError, match=r"worker 0 \(pid \d+\) exited unexpectedly with exit code 3"
    ):
        list(loader)


class Dying(Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.mark.parametrize("persistent", [True, False])
def test_a_killed_worker_is_named_at_once(persistent):
    loader = DataLoader(Dying(), 1, num_workers=2, persistent_workers=persistent)
    began = time.monotonic()
    with pytest.raises(
        RuntimeError, match=r"worker 1 \(pid \d+\) is killed by signal: SIGKILL .*Hint.*memory"
    ):
        list(loader)
    assert time.monotonic() - began < 3
    batches = iter(loader)  # with new workers
    assert next(batches).item() == 0


class Leaving(Large):
    def __getitem__(self, index):
        if index == 2:
            os._exit(0)
        return super().__getitem__(index)


def test_a_process_that_leaves_without_a_word():
    loader = DataLoader(Leaving(), 1, num_workers=1)
    with pytest.raises(RuntimeError, match="exited unexpectedly with exit code 0"):
        list(loader)
    assert not segments()


def test_a_worker_killed_from_outside():
    loader = DataLoader(Pids(), 1, collate_fn=items, num_workers=1)
    batches = iter(loader)
    ((pid, _),) = next(batches)
    os.kill(pid, signal.SIGTERM)
    with pytest.raises(RuntimeError, match="is killed by signal: SIGTERM"):
        list(batches)
    assert list(batches) == []


@pytest.mark.parametrize("options", ONE)
def test_timeout(options):
    loader = DataLoader(Failing("sleep"), 1, timeout=0.05, **options)
    with pytest.raises(
        RuntimeError, match="timed out after 0.05 seconds, waiting for a batch of worker 0"
    ):
        list(loader)


def test_timeout_between_epochs():
    loader = DataLoader(
        Failing("sleep"), 1, num_workers=1, timeout=0.1, persistent_workers=True, prefetch_factor=3
    )
    for _ in loader:
        break
    with pytest.raises(RuntimeError, match="timed out after 0.1 seconds.*the epoch before"):
        iter(loader)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_worker_does_not_handle_the_programs_signals(tmp_path):
    def handler(number, frame):
        (tmp_path / "checkpoint").touch()

    before = signal.signal(signal.SIGTERM, handler)
    try:
        batches = iter(DataLoader(Failing("sleep"), 1, num_workers=1, prefetch_factor=3))
        next(batches)
        batches._pool.close(0.0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert batches._pool._processes[0].exitcode == -signal.SIGTERM
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("options", ONE)
def test_a_loader_that_nobody_holds_stops_its_workers(options):
    batches = iter(DataLoader(Pids(), 1, collate_fn=items, **options))
    ((pid, _),) = next(batches)
    began = time.monotonic()
    del batches
    gc.collect()
    assert time.monotonic() - began < 2
    if options["worker_kind"] == "process":
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# ---- the program's end
PROGRAM = """
import os, signal, sys, time, numpy
from flambeau.utils.data import DataLoader, Dataset

class Slow(Dataset):
    def __len__(self): return 1000
    def __getitem__(self, index):
        time.sleep(0.02)
        return os.getpid(), numpy.zeros(100_000)

def hang(self, index):
    print(os.getpid(), flush=True)
    time.sleep(60)

loader = DataLoader(Slow(), 1, num_workers=2, persistent_workers={persistent})
batches = iter(loader)
print(next(batches)[0].item(), next(batches)[0].item(), flush=True)
{then}
"""


def run_program(then, persistent=False):
    code = textwrap.dedent(PROGRAM).format(then=then, persistent=persistent)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def gone(pid):
    """Whether a process has ended; one that waits for its parent's interest counts."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return os.path.isdir("/proc/self")


def all_gone(pids, seconds=5.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if all(gone(p) for p in pids):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("target", ["program", "group"])
def test_ctrl_c_leaves_no_process(target):
    program = run_program("for batch in batches: pass")
    workers = [int(p) for p in program.stdout.readline().split()]
    (os.kill if target == "program" else os.killpg)(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=10)
    assert all_gone(workers)
    assert not segments(program.pid)
    assert errors.count("Traceback") == 1  # the program's own; workers keep quiet
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "leaked" not in errors


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_second_ctrl_c_is_answered_at_once():
    program = run_program(
        "Slow.__getitem__ = hang\nfor batch in DataLoader(Slow(), num_workers=1): pass"
    )
    program.stdout.readline()
    worker = int(program.stdout.readline())
    began = time.monotonic()
    program.send_signal(signal.SIGINT)
    time.sleep(0.1)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=10)
    assert time.monotonic() - began < 1
    assert all_gone([worker])
    assert not segments(program.pid)
    assert errors.strip().endswith("KeyboardInterrupt")


def test_a_script_that_is_imported_by_its_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from flambeau.utils.data import DataLoader\n"
        "list(DataLoader(range(4), num_workers=1, multiprocessing_context='spawn'))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30)
    assert "exited unexpectedly with exit code 1. Hint: it printed the reason" in done.stderr
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("end", ["killed", "hung up"])
def test_a_killed_program_leaves_nothing(end):
    program = run_program("time.sleep(60)")
    workers = [int(p) for p in program.stdout.readline().split()]
    if end == "killed":
        program.kill()
    else:  # as a terminal that is closed does to all of its processes
        os.killpg(program.pid, signal.SIGHUP)
    program.communicate(timeout=10)  # when the last holder of its pipes has ended
    assert all_gone(workers)
    until = time.monotonic() + 5
    while segments(program.pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not segments(program.pid)


@pytest.mark.parametrize("persistent", [True, False])
def test_a_program_that_ends_early_ends_cleanly(persistent):
    program = run_program("", persistent)
    workers = [int(p) for p in program.stdout.readline().split()]
    _, errors = program.communicate(timeout=10)
    assert (program.returncode, errors) == (0, "")
    assert all_gone(workers)
    assert not segments(program.pid)
