"""Worker threads learn whether to load at the same time or in turns."""

import threading

import pytest

from flambeau.utils.data import DataLoader, Dataset, _turns
from flambeau.utils.data._turns import Turns

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Clock:
    """Two threads whose batches take `apart` seconds each in turns, `together` at the same time."""

    def __init__(self, monkeypatch, apart, together):
        self.now, self.apart, self.together = 0.0, apart, together
        monkeypatch.setattr(_turns, "perf_counter", lambda: self.now)

    def work(self, turns, rounds):
        """How many rounds of two batches were made in turns."""
        alone = 0
        for _ in range(rounds):
            if turns.alone:
                alone += 1
                for _ in range(2):
                    turns._note(1)
                    self.now += self.apart
                    turns._note(-1)
            else:
                turns._note(1)
                turns._note(1)
                self.now += self.together
                turns._note(-1)
                turns._note(-1)
        return alone


def test_threads_that_slow_each_other_down_take_turns(monkeypatch):
    turns = Turns(2)
    alone = Clock(monkeypatch, apart=1.0, together=4.0).work(turns, 1000)
    assert alone > 950
    assert turns.cost[True] == pytest.approx(1.0)
    assert turns.cost[False] == pytest.approx(2.0)


def test_threads_that_wait_for_a_disk_work_at_the_same_time(monkeypatch):
    turns = Turns(2)
    alone = Clock(monkeypatch, apart=1.0, together=1.0).work(turns, 1000)
    assert alone < 50
    assert turns.cost[True] == pytest.approx(1.0)
    assert turns.cost[False] == pytest.approx(0.5)


def test_a_change_of_the_work_is_noticed(monkeypatch):
    turns = Turns(2)
    clock = Clock(monkeypatch, apart=1.0, together=1.0)
    clock.work(turns, 100)
    assert not turns.alone
    clock.together = 4.0
    assert clock.work(turns, 3000) > 2000


def test_one_at_a_time_means_that(monkeypatch):
    turns = Turns(3)
    turns.alone = True
    monkeypatch.setattr(turns, "_decide", lambda: turns._begin(100))
    inside, most = [], []

    def answer(task):
        inside.append(task)
        most.append(len(inside))
        inside.remove(task)

    threads = [
        threading.Thread(target=lambda i=i: [turns(answer, (i, n)) for n in range(50)])
        for i in range(3)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(most) == 150
    assert max(most) == 1


def test_workers_that_wait_for_one_another_do_not_hang(monkeypatch):
    monkeypatch.setattr(_turns, "_PATIENCE", (0.01, 1.0))
    meeting = threading.Barrier(2)

    class Pairs(Dataset):
        def __len__(self):
            return 120

        def __getitem__(self, index):
            meeting.wait(timeout=30)
            return index

    loader = DataLoader(Pairs(), 1, num_workers=2, worker_kind="thread")
    assert [int(b) for b in loader] == list(range(120))


def test_an_error_gives_the_turn_back():
    turns = Turns(2)
    turns.alone = True

    def answer(task):
        raise KeyError(task)

    for _ in range(2):
        with pytest.raises(KeyError):
            turns(answer, 1)
    assert not turns._baton.locked()


def test_one_thread_has_nothing_to_decide():
    assert not _turns.useful(1)
