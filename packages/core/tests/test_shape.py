"""Shapes."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import flambeau as fb
from flambeau.shape import infer_size, wrap_dim, wrap_dims


def test_size_is_a_tuple_with_a_name():
    size = fb.zeros(3, 4).shape
    assert size == (3, 4)
    assert repr(size) == "flambeau.Size([3, 4])"
    assert size.numel() == 12
    assert isinstance(size[:1], fb.Size)
    assert repr(size + (5,)) == "flambeau.Size([3, 4, 5])"
    assert repr((5,) + size) == "flambeau.Size([5, 3, 4])"
    assert repr(size * 2) == "flambeau.Size([3, 4, 3, 4])"
    a, b = size
    assert (a, b) == (3, 4)


@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0))
def test_broadcast_shapes_as_numpy(shapes):
    assert tuple(fb.broadcast_shapes(*shapes.input_shapes)) == shapes.result_shape


@given(st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=2, max_size=2))
def test_broadcast_refuses_what_numpy_refuses(shapes):
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ValueError, match="must match the size of tensor b"):
            fb.broadcast_shapes(*shapes)
    else:
        assert fb.broadcast_shapes(*shapes) == expected


def test_the_message_shows_both_shapes_aligned():
    with pytest.raises(RuntimeError) as error:
        fb.randn(3, 4) + fb.randn(3, 5)
    assert str(error.value).splitlines() == [
        "add: the size of tensor a (4) must match the size of tensor b (5) at non-singleton dimension 1, "
        "got shapes (3, 4) and (3, 5); aligned from the right:",
        "    (3, 4)",
        "    (3, 5)",
        "  operands: (3, 4) float32 cpu; (3, 5) float32 cpu",
    ]


def test_broadcasting_rules():
    x = fb.zeros(10, 5)
    assert (x + fb.ones(5)).shape == (10, 5)
    assert (x + fb.ones(1, 5)).shape == (10, 5)


def test_wrapping_dimensions():
    assert wrap_dim(-1, 3, "f") == 2
    assert wrap_dim(-1, 0, "f") == 0
    assert wrap_dims((-1, 0), 3, "f") == (0, 2)
    with pytest.raises(
        IndexError,
        match=r"f: Dimension out of range \(expected to be in range of \[-3, 2\], but got 3\)",
    ):
        wrap_dim(3, 3, "f")
    with pytest.raises(RuntimeError, match="dim 1 appears multiple times"):
        wrap_dims((1, -1), 2, "f")


def test_inferring_a_size():
    assert infer_size((2, -1), 6, "f") == (2, 3)
    for shape, text in (
        ((2, 4), r"f: shape '\[2, 4\]' is invalid for input of size 6"),
        ((-1, -1), "only one dimension can be inferred"),
        ((-2, 3), "invalid shape dimension -2"),
        ((4, -1), "is invalid for input of size 6"),
    ):
        with pytest.raises(RuntimeError, match=text):
            infer_size(shape, 6, "f")
    with pytest.raises(RuntimeError, match="ambiguous"):
        infer_size((0, -1), 0, "f")
