"""Joining samples into batches."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import MappingProxyType

import numpy as np
import pytest

import flambeau as fb
from flambeau.utils.data import (
    collate,
    default_collate,
    default_collate_fn_map,
    default_convert,
)

Point = namedtuple("Point", ["x", "y"])


def test_tensors_are_stacked():
    a = fb.arange(3.0)
    batch = default_collate([a, a + 1])
    assert batch.tolist() == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    batch += 1
    assert a.tolist() == [0.0, 1.0, 2.0]


def test_gradients_pass_through():
    a = fb.ones(2, requires_grad=True)
    default_collate([a, a]).sum().backward()
    assert a.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("samples", "dtype"),
    [
        ([1, 2], "int64"),
        ([True, False], "bool"),
        ([1.5, 2.5], "float64"),
        ([np.float32(1), np.float32(2)], "float32"),
        ([np.float64(1), np.float64(2)], "float64"),
        ([np.int32(1), np.int32(2)], "int32"),
        ([np.uint8(1), np.uint8(2)], "uint8"),
        ([np.bool_(True), np.bool_(False)], "bool"),
        ([np.zeros(2, np.int16), np.ones(2, np.int16)], "int16"),
    ],
)
def test_numbers_and_arrays(samples, dtype):
    batch = default_collate(samples)
    assert str(batch.dtype) == f"flambeau.{dtype}"
    assert batch.tolist() == [s.tolist() if isinstance(s, np.ndarray) else s for s in samples]


def test_text_stays():
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([b"a", b"b"]) == [b"a", b"b"]


def test_structures_keep_their_types():
    batch = default_collate([OrderedDict(x=1, n="a"), OrderedDict(x=2, n="b")])
    assert type(batch) is OrderedDict
    assert batch["x"].tolist() == [1, 2]
    assert batch["n"] == ["a", "b"]
    point = default_collate([Point(1, 2.0), Point(3, 4.0)])
    assert type(point) is Point
    assert point.x.tolist() == [1, 3]
    pair = default_collate([(1, [2, 3]), (4, [5, 6])])
    assert type(pair) is list
    assert pair[0].tolist() == [1, 4]
    assert [t.tolist() for t in pair[1]] == [[2, 5], [3, 6]]
    proxy = default_collate([MappingProxyType({"a": 1}), MappingProxyType({"a": 2})])
    assert dict(proxy)["a"].tolist() == [1, 2]
    assert [t.tolist() for t in default_collate([range(2), range(2)])] == [[0, 0], [1, 1]]


def test_a_mapping_keeps_its_other_attributes():
    class Tagged(dict):
        tag = None

    sample = Tagged(a=1)
    sample.tag = "kept"
    batch = default_collate([sample, Tagged(a=2)])
    assert batch.tag == "kept"
    assert batch["a"].tolist() == [1, 2]
    assert sample["a"] == 1


def test_arrays_that_differ():
    x = np.arange(6.0).reshape(2, 3)
    both = default_collate([x, x.T.copy().T])
    assert both.tolist() == [x.tolist()] * 2
    mixed = default_collate([x, x.astype(np.float32)])
    assert mixed.dtype is fb.float64
    assert default_collate([np.array(1.5), np.array(2.5)]).tolist() == [1.5, 2.5]
    assert default_collate([x.astype(">f8")] * 2).tolist() == [x.tolist()] * 2
    with pytest.raises(RuntimeError, match="stack expects each"):
        default_collate([x, x[:1]])
    batch = default_collate([x])
    batch += 1
    assert x[0, 0] == 0


def test_arrays_follow_the_rule_for_tensors():
    def count(batch, *, collate_fn_map=None):
        return len(batch)

    table = {**default_collate_fn_map, fb.Tensor: count}
    assert collate([np.ones(2), np.ones(2)], collate_fn_map=table) == 2


def test_errors():
    with pytest.raises(TypeError, match=r"found <class 'object'>. Hint: DataLoader.*collate_fn"):
        default_collate([object(), object()])
    with pytest.raises(TypeError, match="found an array of <U1"):
        default_collate([np.array(["a"]), np.array(["b"])])
    with pytest.raises(RuntimeError, match="of equal size, got 2 at sample 0 and 3 at sample 1"):
        default_collate([[1, 2], [1, 2, 3]])
    with pytest.raises(
        RuntimeError, match=r"default_collate: stack expects each.*collate_fn that pads"
    ):
        default_collate([fb.zeros(2), fb.zeros(3)])


def test_own_types():
    class Box:
        def __init__(self, value):
            self.value = value

    class SmallBox(Box):
        pass

    def boxes(batch, *, collate_fn_map=None):
        return Box(collate([b.value for b in batch], collate_fn_map=collate_fn_map))

    table = {**default_collate_fn_map, Box: boxes}
    assert collate([Box(1), Box(2)], collate_fn_map=table).value.tolist() == [1, 2]
    assert collate([SmallBox(1)], collate_fn_map=table).value.tolist() == [1]
    default_collate_fn_map[Box] = boxes
    try:
        assert default_collate([{"b": Box(1)}])["b"].value.tolist() == [1]
    finally:
        del default_collate_fn_map[Box]
    with pytest.raises(TypeError, match="found <class"):
        collate([1, 2])


def test_convert():
    assert default_convert(0) == 0
    assert default_convert("a") == "a"
    assert default_convert(np.array([0, 1])).tolist() == [0, 1]
    assert default_convert(np.float32(2)).item() == 2.0
    assert type(default_convert(Point(0, np.array(1)))) is Point
    assert type(default_convert((0, 1))) is list
    nested = default_convert({"a": [np.array(1), "b"], "c": MappingProxyType({"d": np.array(2)})})
    assert nested["a"][0].item() == 1
    assert nested["a"][1] == "b"
    assert nested["c"]["d"].item() == 2
    text = np.array(["a"])
    assert default_convert(text) is text
    x = fb.zeros(2)
    assert default_convert(x) is x
    assert default_convert(range(2)) == [0, 1]
