"""repeat, tile, repeat_interleave, flip, roll, rot90 against NumPy, their derivatives, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import DTypeError, ShapeError

A = np.arange(24.0).reshape(2, 3, 4)


def leaf(a):
    return fb.tensor(np.array(a, np.float64), requires_grad=True)


def check(fn, x):
    assert gradcheck(fn, (x,))
    assert gradgradcheck(fn, (x,))


CASES = {
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda a: np.tile(a, (2, 1, 3))),
    "repeat with more": (lambda x: x.repeat((2, 1, 1, 2)), lambda a: np.tile(a, (2, 1, 1, 2))),
    "tile": (lambda x: fb.tile(x, (2,)), lambda a: np.tile(a, (2,))),
    "tile by name": (lambda x: x.tile(dims=(2, 1, 1)), lambda a: np.tile(a, (2, 1, 1))),
    "interleave": (lambda x: x.repeat_interleave(2), lambda a: np.repeat(a, 2)),
    "interleave along": (lambda x: x.repeat_interleave(2, 1), lambda a: np.repeat(a, 2, 1)),
    "interleave each": (
        lambda x: fb.repeat_interleave(x, fb.tensor([2, 0, 1]), dim=-2),
        lambda a: np.repeat(a, [2, 0, 1], 1),
    ),
    "flip": (lambda x: x.flip(0), lambda a: np.flip(a, 0)),
    "flip two": (lambda x: fb.flip(x, dims=(0, -1)), lambda a: np.flip(a, (0, 2))),
    "flip none": (lambda x: x.flip([]), lambda a: a),
    "fliplr": (lambda x: x.fliplr(), np.fliplr),
    "flipud": (lambda x: x.flipud(), np.flipud),
    "roll": (lambda x: x.roll(5), lambda a: np.roll(a, 5)),
    "roll back": (lambda x: x.roll(-1, 2), lambda a: np.roll(a, -1, 2)),
    "roll two": (lambda x: fb.roll(x, (7, 1), (0, -1)), lambda a: np.roll(a, (7, 1), (0, -1))),
    "roll twice": (lambda x: x.roll((1, 1), (1, 1)), lambda a: np.roll(a, (1, 1), (1, 1))),
    **{
        f"rot90 {k}": (lambda x, k=k: x.rot90(k, (0, 2)), lambda a, k=k: np.rot90(a, k, (0, 2)))
        for k in (-1, 0, 1, 2)
    },
}


@pytest.mark.parametrize("name", CASES)
class TestValues:
    def test_numpys(self, name):
        ours, numpys = CASES[name]
        expected = numpys(A)
        for x in (fb.tensor(A), fb.tensor(A.transpose(2, 0, 1).copy()).permute(1, 2, 0)):
            found = ours(x)
            assert found.shape == expected.shape
            assert np.array_equal(found.numpy(), expected)
            found.fill_(-1)  # a copy
            assert x.min().item() == 0.0

    def test_derivatives(self, name):
        check(lambda x: CASES[name][0](x) ** 2, leaf(A / 24))


class TestDetails:
    def test_one_number(self):
        x = fb.tensor(3)
        assert x.repeat(2, 2).tolist() == [[3, 3], [3, 3]]
        assert x.repeat(()).item() == x.flip(0).item() == x.roll(1, 0).item() == 3
        assert x.repeat_interleave(2).tolist() == [3, 3]

    def test_no_repetition(self):
        x = leaf(A)
        y = x.repeat(1, 0, 2)
        assert y.shape == (2, 0, 8)
        y.sum().backward()
        assert x.grad.abs().sum().item() == 0.0

    def test_positions_from_counts(self):
        assert fb.repeat_interleave(fb.tensor([1, 0, 2])).tolist() == [0, 2, 2]
        assert fb.tensor([4, 5]).repeat_interleave(fb.tensor([2])).tolist() == [4, 4, 5, 5]


class TestErrors:
    X = fb.zeros(2, 3)

    def test_repeats(self):
        with pytest.raises(
            ShapeError, match=r"can not be smaller than number of dimensions of tensor, got \[2\]"
        ):
            self.X.repeat(2)
        with pytest.raises(ShapeError, match="negative dimension -1"):
            self.X.repeat(-1, 1)
        with pytest.raises(ShapeError, match="Repeats must be non-negative, got -1"):
            self.X.repeat_interleave(-1)
        with pytest.raises(ShapeError, match="repeats can not be negative, got -2"):
            self.X.repeat_interleave(fb.tensor([1, -2]), 0)
        with pytest.raises(ShapeError, match=r"got repeats.size\(0\) = 3 and input.size\(0\) = 2"):
            self.X.repeat_interleave(fb.tensor([1, 2, 3]), 0)
        with pytest.raises(
            ShapeError, match="allocated size does not match required size, got output_size 7 for 3"
        ):
            self.X.repeat_interleave(fb.tensor([1, 2]), 0, output_size=7)
        with pytest.raises(
            DTypeError, match=r"repeats must be int or long, got \(2,\) float32 cpu"
        ):
            self.X.repeat_interleave(fb.tensor([1.0, 2.0]), 0)
        with pytest.raises(ShapeError, match="only accept 1D vector as repeat"):
            fb.repeat_interleave(fb.tensor([[1]]))

    def test_orders(self):
        with pytest.raises(ShapeError, match="dim 0 appears multiple times"):
            self.X.flip(0, 0)
        with pytest.raises(
            ShapeError, match=r"fliplr: Input must be >= 2-d, got \(2,\) float32 cpu"
        ):
            fb.zeros(2).fliplr()
        with pytest.raises(ShapeError, match="flipud: Input must be >= 1-d"):
            fb.tensor(1.0).flipud()
        with pytest.raises(ShapeError, match="shifts and dimensions must align. shifts: 2, dims:1"):
            self.X.roll((1, 2), (0,))
        with pytest.raises(ShapeError, match="`shifts` required"):
            self.X.roll(())
        with pytest.raises(
            ShapeError, match="rotation dims to be different, but got dim0 = 0 and dim1 = -2"
        ):
            self.X.rot90(1, (0, -2))
        with pytest.raises(ShapeError, match="expected total dims >= 2, but got total dims = 1"):
            fb.zeros(2).rot90()
        with pytest.raises(ShapeError, match="expected total rotation dims == 2, but got dims = 1"):
            self.X.rot90(1, (0,))
