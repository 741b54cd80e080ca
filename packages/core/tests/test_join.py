"""Joins and splits against NumPy, their derivatives, promotion, and errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, DeviceError, GradError, IndexRangeError, ShapeError

A = np.arange(6.0).reshape(2, 3)
B = -np.arange(6.0).reshape(2, 3)


def leaf(a):
    return fb.tensor(np.array(a, np.float64), requires_grad=True)


def pair():
    return fb.tensor(A), fb.tensor(B)


class TestCat:
    @pytest.mark.parametrize("dim", [0, 1, -1])
    def test_values_and_derivatives(self, dim):
        assert np.array_equal(fb.cat(pair(), dim).numpy(), np.concatenate([A, B], dim))
        assert np.array_equal(
            fb.concat([*pair(), fb.tensor(A)], dim=dim).numpy(), np.concatenate([A, B, A], dim)
        )
        fn = lambda a, b: fb.cat([a, b, a], dim) ** 2  # noqa: E731
        assert gradcheck(fn, (leaf(A / 6), leaf(B / 6)))
        assert gradgradcheck(fn, (leaf(A / 6), leaf(B / 6)))

    def test_different_sizes(self):
        a, b = leaf(A), leaf(B[:1])
        y = fb.cat((a, b))
        assert y.shape == (3, 3)
        y[1:].sum().backward()
        assert a.grad.tolist() == [[0] * 3, [1] * 3]
        assert b.grad.tolist() == [[1] * 3]

    def test_promotion(self):
        y = fb.cat([fb.tensor([1]), fb.tensor([0.5]), fb.tensor([True])])
        assert y.dtype is fb.float32
        assert y.tolist() == [1.0, 0.5, 1.0]
        x = fb.ones(1, requires_grad=True)
        fb.cat([x, fb.ones(1, dtype=fb.float64)]).sum().backward()
        assert x.grad.dtype is fb.float32

    def test_an_empty_vector_fits_anything(self):
        empty, x = fb.zeros(0, requires_grad=True), leaf(A)
        y = fb.cat([empty.double(), x, x], 1)
        assert y.shape == (2, 6)
        y.sum().backward()
        assert empty.grad.shape == (0,)
        assert x.grad.tolist() == [[2.0] * 3] * 2
        assert fb.cat([fb.zeros(0), fb.zeros(0)]).shape == (0,)

    def test_one_tensor_is_copied(self):
        x = fb.zeros(2)
        fb.cat([x]).fill_(1)
        assert x.tolist() == [0.0, 0.0]

    def test_out(self):
        out = fb.zeros(0, dtype=fb.float64)
        assert fb.cat(pair(), out=out) is out
        assert np.array_equal(out.numpy(), np.concatenate([A, B]))
        with pytest.raises(GradError, match="don't support automatic differentiation"):
            fb.cat([leaf(A)], out=fb.zeros(2, 3, dtype=fb.float64))

    def test_history_is_named_after_pytorchs(self):
        x = leaf(A)
        assert fb.cat([x, x]).grad_fn.name() == "CatBackward0"
        assert fb.stack([x, x]).grad_fn.name() == "StackBackward0"

    def test_errors(self):
        a = fb.zeros(2, 3)
        with pytest.raises(
            ShapeError,
            match=r"Expected size 3 but got size 4 for tensor number 1 .*\(2, 3\).*\(2, 4\)",
        ):
            fb.cat([a, fb.zeros(2, 4)])
        with pytest.raises(ShapeError, match=r"must have same number of dimensions: got 2 and 1"):
            fb.cat([a, fb.zeros(2)])
        with pytest.raises(
            ShapeError,
            match=r"zero-dimensional tensor \(at position 1\) cannot be concatenated.*Hint: stack",
        ):
            fb.cat([fb.zeros(1), fb.tensor(1.0)])
        with pytest.raises(ValueError, match="expected a non-empty list of Tensors"):
            fb.cat([])
        with pytest.raises(ArgumentError, match="must be tuple of Tensors, not Tensor"):
            fb.cat(a)
        with pytest.raises(
            ArgumentError, match="expected Tensor as element 1 in argument 0, but got int"
        ):
            fb.cat([a, 3])
        with pytest.raises(IndexRangeError, match="Dimension out of range"):
            fb.cat([a, a], 2)
        with pytest.raises(DeviceError, match="same device"):
            fb.cat([a, fb.zeros(2, 3, device="meta")])


class TestStacks:
    @pytest.mark.parametrize("dim", [0, 1, 2, -1])
    def test_stack(self, dim):
        assert np.array_equal(fb.stack(pair(), dim).numpy(), np.stack([A, B], dim))
        fn = lambda a, b: fb.stack([a, b, a], dim) ** 2  # noqa: E731
        assert gradcheck(fn, (leaf(A / 6), leaf(B / 6)))
        assert gradgradcheck(fn, (leaf(A / 6), leaf(B / 6)))

    def test_numbers_and_promotion(self):
        assert fb.stack([fb.tensor(1), fb.tensor(0.5)]).tolist() == [1.0, 0.5]

    def test_stack_errors(self):
        with pytest.raises(ShapeError, match=r"got \[2, 3\] at entry 0 and \[3\] at entry 1"):
            fb.stack([fb.zeros(2, 3), fb.zeros(3)])
        with pytest.raises(ShapeError, match="expected a non-empty list of Tensors"):
            fb.stack([])
        with pytest.raises(IndexRangeError, match="Dimension out of range"):
            fb.stack([fb.zeros(2)], 2)

    @pytest.mark.parametrize("name", ["hstack", "vstack", "dstack", "column_stack"])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
    def test_named_stacks(self, name, shape):
        if name == "dstack" and shape == ():
            return
        a = np.arange(np.prod(shape)).reshape(shape)
        ours, numpys = getattr(fb, name), getattr(np, name)
        assert np.array_equal(ours([fb.tensor(a), fb.tensor(a + 9)]).numpy(), numpys([a, a + 9]))

    def test_row_stack_is_vstack(self):
        assert fb.row_stack is fb.vstack

    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_at_least(self, rank):
        ours, numpys = getattr(fb, f"atleast_{rank}d"), getattr(np, f"atleast_{rank}d")
        arrays = [np.array(1.0), np.arange(3.0), A]
        for x, a in zip(ours(*map(fb.tensor, arrays)), numpys(*arrays), strict=True):
            assert x.shape == a.shape
        assert ours(fb.tensor(1.0)).shape == numpys(1.0).shape
        assert isinstance(ours([fb.tensor(1.0)]), tuple)


class TestCombinations:
    def test_block_diag(self):
        y = fb.block_diag(fb.tensor(A), fb.tensor(5.0), fb.tensor([6.0, 7.0]))
        expected = np.zeros((4, 6))
        expected[:2, :3], expected[2, 3], expected[3, 4:] = A, 5, [6, 7]
        assert np.array_equal(y.numpy(), expected)
        assert fb.block_diag().shape == (1, 0)
        assert gradcheck(lambda a, b: fb.block_diag(a, b) ** 2, (leaf(A / 6), leaf(B / 6)))
        with pytest.raises(ShapeError, match="2 or fewer dimensions. Input 1 has 3 dimensions"):
            fb.block_diag(fb.zeros(1), fb.zeros(1, 1, 1))

    def test_cartesian_prod(self):
        y = fb.cartesian_prod(fb.tensor([1, 2]), fb.tensor([3, 4]))
        assert y.tolist() == [[1, 3], [1, 4], [2, 3], [2, 4]]
        assert fb.cartesian_prod(fb.tensor([1, 2])).tolist() == [1, 2]
        with pytest.raises(ShapeError, match=r"Expect a 1D vector, but got \(1, 1\) float32 cpu"):
            fb.cartesian_prod(fb.zeros(1, 1))

    def test_combinations(self):
        x = fb.tensor([1, 2, 3])
        assert fb.combinations(x).tolist() == [[1, 2], [1, 3], [2, 3]]
        assert fb.combinations(x, 1).tolist() == [[1], [2], [3]]
        assert fb.combinations(x[:2], with_replacement=True).tolist() == [[1, 1], [1, 2], [2, 2]]
        assert fb.combinations(x, 4).shape == (0, 4)
        assert fb.combinations(x, 0).shape == (0,)
        with pytest.raises(ShapeError, match="combinations: Expect a 1D vector"):
            fb.combinations(fb.zeros(1, 1))
        with pytest.raises(ShapeError, match="Expect a non-negative number, but got -1"):
            fb.combinations(x, -1)


class TestSplits:
    @pytest.mark.parametrize("how", [1, 3, 9, (2, 5), (5, 2), (-3,), ()])
    def test_tensor_split(self, how):
        a = np.arange(14).reshape(7, 2)
        expected = np.array_split(a, how)
        found = fb.tensor_split(fb.tensor(a), how)
        assert [x.tolist() for x in found] == [e.tolist() for e in expected]
        assert [x.tolist() for x in fb.tensor(a.T.copy()).tensor_split(how, dim=1)] == [
            e.T.tolist() for e in expected
        ]

    def test_positions_in_a_tensor(self):
        assert [x.tolist() for x in fb.tensor_split(fb.arange(4), fb.tensor([1, 3]))] == [
            [0],
            [1, 2],
            [3],
        ]

    def test_named_splits(self):
        x = fb.arange(24).reshape(2, 3, 4)
        assert [p.shape for p in x.vsplit(2)] == [(1, 3, 4)] * 2
        assert [p.shape for p in x.hsplit(3)] == [(2, 1, 4)] * 3
        assert [p.shape for p in x.dsplit((1,))] == [(2, 3, 1), (2, 3, 3)]
        assert [p.tolist() for p in fb.hsplit(fb.arange(4), 2)] == [[0, 1], [2, 3]]
        assert [p.shape for p in x.split_with_sizes([1, 3], 2)] == [(2, 3, 1), (2, 3, 3)]
        assert len(x.unsafe_chunk(2)) == len(x.unsafe_split(1)) == 2

    def test_pieces_are_views(self):
        x = fb.zeros(4)
        x.tensor_split(2)[1].fill_(1)
        assert x.tolist() == [0, 0, 1, 1]

    def test_errors(self):
        x = fb.zeros(2, 3)
        with pytest.raises(ShapeError, match="number of sections must be larger than 0, got 0"):
            x.tensor_split(0)
        with pytest.raises(ShapeError, match="expected at least a 1-dimensional tensor"):
            fb.tensor(1.0).tensor_split(1)
        with pytest.raises(
            ShapeError,
            match="hsplit attempted to split along dimension 1, .* 3 is not divisible .* 2!",
        ):
            x.hsplit(2)
        with pytest.raises(
            ShapeError,
            match="vsplit requires a tensor with at least 2 dimension, but got a tensor with 1",
        ):
            fb.zeros(2).vsplit(1)
        with pytest.raises(ShapeError, match="dsplit requires a tensor with at least 3 dimension"):
            x.dsplit(1)
