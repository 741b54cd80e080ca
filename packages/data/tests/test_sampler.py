"""Samplers: which indices, in which order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import flambeau as fb
from flambeau.utils.data import (
    BatchSampler,
    BucketBatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StratifiedSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from flambeau.utils.data.sampler import epoch_of


def gen(seed):
    return fb.Generator().manual_seed(seed)


def test_abstract():
    with pytest.raises(NotImplementedError, match="Subclasses of Sampler"):
        iter(Sampler())


def test_sequential():
    sampler = SequentialSampler(range(4))
    assert list(sampler) == [0, 1, 2, 3]
    assert len(sampler) == 4


def test_random_is_a_permutation_that_changes_each_epoch():
    sampler = RandomSampler(range(100))
    one, two = list(sampler), list(sampler)
    assert sorted(one) == sorted(two) == list(range(100))
    assert one != two
    fb.manual_seed(0)
    again = list(sampler)
    fb.manual_seed(0)
    assert list(sampler) == again


def test_random_with_its_own_generator_leaves_the_default_one_alone():
    before = fb.get_rng_state().tolist()
    one = list(RandomSampler(range(20), generator=gen(1)))
    assert fb.get_rng_state().tolist() == before
    assert list(RandomSampler(range(20), generator=gen(1))) == one
    assert list(RandomSampler(range(20), generator=gen(2))) != one


def test_random_num_samples():
    few = list(RandomSampler(range(10), num_samples=4))
    assert len(few) == len(set(few)) == 4
    many = list(RandomSampler(range(10), num_samples=25))
    assert sorted(many[:10]) == sorted(many[10:20]) == list(range(10))
    assert len(many) == len(RandomSampler(range(10), num_samples=25)) == 25
    assert len(set(many[20:])) == 5


def test_random_with_replacement():
    drawn = list(RandomSampler(range(10), replacement=True, num_samples=1000))
    assert len(drawn) == 1000
    assert set(drawn) == set(range(10))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_random_bad_num_samples(bad):
    with pytest.raises(ValueError, match=f"num_samples should be a positive integer .*={bad}"):
        RandomSampler(range(3), num_samples=bad)


def test_random_bad_options():
    with pytest.raises(
        TypeError, match="replacement should be a boolean value, but got replacement=1"
    ):
        RandomSampler(range(3), replacement=1)
    with pytest.raises(ValueError, match="num_samples should be a positive integer value.*=0"):
        RandomSampler([])


def test_subset_random():
    sampler = SubsetRandomSampler([3, 5, 8])
    assert sorted(sampler) == [3, 5, 8]
    assert len(sampler) == 3
    assert sorted(epoch_of(sampler).tolist()) == [3, 5, 8]
    fb.manual_seed(1)
    one = list(sampler)
    fb.manual_seed(1)
    assert epoch_of(sampler).tolist() == one


def test_weighted():
    drawn = Counter(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert drawn[0] == 0
    assert 2 < drawn[2] / drawn[1] < 4.5
    assert sorted(WeightedRandomSampler([0.1, 0.9, 3.0], 3, replacement=False)) == [0, 1, 2]


def test_weighted_errors():
    with pytest.raises(ValueError, match="num_samples should be a positive integer"):
        WeightedRandomSampler([1.0], 0)
    with pytest.raises(ValueError, match="replacement should be a boolean"):
        WeightedRandomSampler([1.0], 1, replacement="no")
    with pytest.raises(ValueError, match=r"weights should be a 1d sequence.*\(1, 2\)"):
        WeightedRandomSampler([[1.0, 2.0]], 1)


def test_batch():
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert len(BatchSampler(range(5), 2, False)) == 3
    assert len(BatchSampler(range(5), 2, True)) == 2
    assert list(BatchSampler([], 2, False)) == []
    assert list(BatchSampler("abc", 2, False)) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "2"])
def test_batch_errors(bad):
    with pytest.raises(ValueError, match="batch_size should be a positive integer value, but got"):
        BatchSampler(range(3), bad, False)
    with pytest.raises(ValueError, match="drop_last should be a boolean value, but got"):
        BatchSampler(range(3), 2, 0)


def test_a_subclass_that_only_iterates_has_no_epoch():
    class Backwards(RandomSampler):
        def __iter__(self):
            return iter(range(len(self) - 1, -1, -1))

    class Shifted(RandomSampler):
        def epoch(self):
            return fb.arange(3) + 1

    assert epoch_of(Backwards(range(3))) is None
    assert epoch_of(Shifted(range(3))).tolist() == list(Shifted(range(3))) == [1, 2, 3]
    assert epoch_of(range(3)) is None


def test_stratified_keeps_the_shares_in_every_batch():
    labels = fb.tensor([0] * 60 + [1] * 30 + [2] * 10)
    sampler = StratifiedSampler(labels)
    order = list(sampler)
    assert len(sampler) == 100
    assert sorted(order) == list(range(100))
    assert order != list(sampler)
    for start in range(0, 100, 20):
        counts = Counter(int(labels.tolist()[i]) for i in order[start : start + 20])
        for label, share in ((0, 12), (1, 6), (2, 2)):
            assert abs(counts[label] - share) < 2


def test_stratified_without_shuffle_keeps_order_within_labels():
    order = list(StratifiedSampler(["a", "b", "a", "b", "a"], shuffle=False))
    assert [i for i in order if i in (0, 2, 4)] == [0, 2, 4]
    assert [i for i in order if i in (1, 3)] == [1, 3]


def test_bucket_batches_are_of_similar_length():
    lengths = fb.randint(1, 100, (500,), generator=gen(0)).tolist()
    sampler = BucketBatchSampler(lengths, 10, bucket_size=250)
    batches = list(sampler)
    assert sorted(i for b in batches for i in b) == list(range(500))
    assert len(batches) == len(sampler) == 50
    assert batches != list(sampler)
    spread = max(max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches)
    assert spread < 20
    firsts = [min(lengths[i] for i in b) for b in batches]
    assert firsts != sorted(firsts)


def test_bucket_last_batch():
    assert [len(b) for b in BucketBatchSampler(range(7), 3)] == [3, 3, 1]
    dropping = BucketBatchSampler(range(7), 3, drop_last=True)
    assert [len(b) for b in dropping] == [3, 3]
    assert len(dropping) == 2


def test_bucket_errors():
    with pytest.raises(ValueError, match="batch_size should be a positive"):
        BucketBatchSampler([1], 0)
    with pytest.raises(ValueError, match="bucket_size should be a positive"):
        BucketBatchSampler([1], 1, bucket_size=0)
    with pytest.raises(ValueError, match=r"lengths should be a 1d sequence but has shape \(1, 1\)"):
        BucketBatchSampler([[1]], 1)
    with pytest.raises(ValueError, match="drop_last should be a boolean"):
        BucketBatchSampler([1], 1, drop_last=None)


def test_subsets_whose_indices_are_tensors_or_arrays():
    for indices in (fb.tensor([4, 5]), np.array([4, 5], np.int32), (4, 5), range(4, 6)):
        epoch = SubsetRandomSampler(indices).epoch()
        assert epoch.dtype is fb.int64
        assert sorted(epoch.tolist()) == [4, 5]
    assert SubsetRandomSampler([]).epoch().tolist() == []
    with pytest.raises(IndexError, match="indices should be ints, got flambeau.float32"):
        SubsetRandomSampler([1.0]).epoch()
