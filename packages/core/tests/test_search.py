"""searchsorted, bucketize, isin, unravel_index against NumPy."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import ArgumentError, ShapeError


class TestSearch:
    @pytest.mark.parametrize("right", [False, True])
    def test_one_sequence(self, right):
        edges, values = np.array([1.0, 3.0, 3.0, 7.0]), np.array([[0.0, 3.0], [7.0, 9.0]])
        expected = np.searchsorted(edges, values, "right" if right else "left")
        e, v = fb.tensor(edges), fb.tensor(values)
        assert np.array_equal(fb.searchsorted(e, v, right=right).numpy(), expected)
        assert np.array_equal(
            fb.searchsorted(e, v, side="right" if right else "left").numpy(), expected
        )
        assert np.array_equal(fb.bucketize(v, e, right=right).numpy(), expected)

    def test_a_sequence_for_each_row(self):
        edges = fb.tensor([[1, 2, 3], [4, 5, 6]])
        assert fb.searchsorted(edges, fb.tensor([[2, 9], [5, 4]])).tolist() == [[1, 3], [1, 0]]
        assert fb.searchsorted(edges, fb.zeros(2, 0, dtype=fb.int64)).shape == (2, 0)

    def test_details(self):
        assert fb.searchsorted(fb.tensor([1, 3]), 2).item() == 1
        assert fb.searchsorted(fb.tensor([1, 3]), 2.5).item() == 1
        assert fb.bucketize(2.5, fb.tensor([1, 3]), out_int32=True).dtype is fb.int32
        unsorted, order = fb.tensor([3, 1, 2]), fb.tensor([1, 2, 0])
        assert fb.searchsorted(unsorted, fb.tensor([2]), sorter=order).tolist() == [1]
        nan = fb.tensor([float("nan")])
        assert fb.searchsorted(fb.tensor([1.0, 2.0]), nan).tolist() == [2]

    def test_errors(self):
        x = fb.zeros(3)
        with pytest.raises(
            ShapeError, match=r"boundaries tensor \[2, 3\] and input value tensor \[3, 2\]"
        ):
            fb.searchsorted(fb.zeros(2, 3), fb.zeros(3, 2))
        with pytest.raises(ShapeError, match="side of left while right was True"):
            fb.searchsorted(x, x, side="left", right=True)
        with pytest.raises(ShapeError, match="side can only be 'left' or 'right' but got up"):
            fb.searchsorted(x, x, side="up")
        with pytest.raises(
            ShapeError, match=r"can be a scalar only when .* we got boundaries tensor dim\(2\)"
        ):
            fb.searchsorted(fb.zeros(2, 3), 1)
        with pytest.raises(
            ShapeError, match=r"boundaries tensor must be 1 dimension, but got \(2, 2\) float32 cpu"
        ):
            fb.bucketize(x, fb.zeros(2, 2))


class TestMembership:
    def test_isin(self):
        x = fb.tensor([[1, 2], [3, 2]])
        assert fb.isin(x, fb.tensor([2, 5])).tolist() == [[False, True], [False, True]]
        assert fb.isin(x, 2, invert=True).tolist() == [[True, False], [True, False]]
        assert fb.isin(3, x).item() is True
        assert fb.isin(x, fb.tensor([2.0])).tolist() == [[False, True], [False, True]]
        assert fb.isin(x, fb.zeros(0)).any().item() is False


class TestUnravel:
    def test_unravel_index(self):
        flat = np.array([[0, 7], [23, 11]])
        found = fb.unravel_index(fb.tensor(flat), (2, 3, 4))
        for f, expected in zip(found, np.unravel_index(flat, (2, 3, 4)), strict=True):
            assert np.array_equal(f.numpy(), expected)

    def test_errors(self):
        with pytest.raises(
            ArgumentError, match=r"expected 'indices' to be integer dtype, but got \(\) float32 cpu"
        ):
            fb.unravel_index(fb.tensor(1.0), (2,))
        with pytest.raises(ShapeError, match="'shape' cannot have negative values"):
            fb.unravel_index(fb.tensor(1), (2, -1))
