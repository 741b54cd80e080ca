"""Shares of a dataset for several programs."""

from __future__ import annotations

import pytest

from flambeau.utils.data import DataLoader, DistributedSampler


def shares(n, replicas, **options):
    return [list(DistributedSampler(range(n), replicas, r, **options)) for r in range(replicas)]


def test_shares_cover_the_dataset():
    parts = shares(12, 3)
    assert [len(p) for p in parts] == [4, 4, 4]
    assert sorted(i for p in parts for i in p) == list(range(12))
    assert parts == shares(12, 3)
    assert parts != shares(12, 3, seed=1)


def test_uneven_shares():
    assert shares(5, 2, shuffle=False) == [[0, 2, 4], [1, 3, 0]]
    assert shares(5, 2, shuffle=False, drop_last=True) == [[0, 2], [1, 3]]
    assert shares(1, 3, shuffle=False) == [[0], [0], [0]]
    assert shares(0, 2) == [[], []]


def test_epochs():
    sampler = DistributedSampler(range(50), 2, 0)
    one = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != one
    assert len(sampler) == 25
    again = DistributedSampler(range(50), 2, 0)
    again.load_state_dict(sampler.state_dict())
    assert list(again) == list(sampler)
    assert len(list(DataLoader(range(50), 5, sampler=sampler))) == 5


def test_errors():
    with pytest.raises(ValueError, match="needs num_replicas and rank.*num_replicas=None, rank=0"):
        DistributedSampler(range(3), rank=0)
    with pytest.raises(
        ValueError, match=r"Invalid rank 2, rank should be in the interval \[0, 1\]"
    ):
        DistributedSampler(range(3), 2, 2)
