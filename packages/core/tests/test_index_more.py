"""index_select, index_add and their like, take and put: values, derivatives, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError

A = np.arange(24.0).reshape(2, 3, 4)
I = np.array([1, 0, 1])


def sources(dim, n=3):
    shape = list(A.shape)
    shape[dim] = n
    return np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


def at(dim, index):
    return (slice(None),) * dim + (index,)


def leaf(a):
    return fb.tensor(a, dtype=fb.float64, requires_grad=True)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
class TestEveryDimension:
    def test_select(self, dim):
        x = fb.tensor(A)
        assert np.array_equal(fb.index_select(x, dim, fb.tensor(I)).numpy(), A.take(I, dim))
        strided = fb.tensor(A.transpose(2, 0, 1).copy()).permute(1, 2, 0)
        assert np.array_equal(strided.index_select(dim, fb.tensor(I)).numpy(), A.take(I, dim))
        assert gradcheck(lambda x: x.index_select(dim, fb.tensor(I)) ** 2, (leaf(A / 24),))

    def test_add(self, dim):
        source = sources(dim)
        expected = A.copy()
        np.add.at(expected, at(dim % 3, I), 2 * source)
        i, s = fb.tensor(I), fb.tensor(source)
        strided = fb.tensor(A.transpose(2, 0, 1).copy()).permute(1, 2, 0)
        assert np.allclose(fb.index_add(fb.tensor(A), dim, i, s, alpha=2).numpy(), expected)
        assert np.allclose(strided.index_add_(dim, i, s, alpha=2).numpy(), expected)
        fn = lambda x, s: x.index_add(dim, i, s, alpha=3) ** 2  # noqa: E731
        assert gradcheck(fn, (leaf(A / 24), leaf(source)))
        assert gradgradcheck(fn, (leaf(A / 24), leaf(source)))

    def test_copy_and_fill(self, dim):
        source, index = sources(dim, 2), np.array([1, 0])
        copied, filled = A.copy(), A.copy()
        copied[at(dim % 3, index)], filled[at(dim % 3, [-1])] = source, 7
        i, s = fb.tensor(index), fb.tensor(source)
        assert np.array_equal(fb.tensor(A).index_copy(dim, i, s).numpy(), copied)
        assert np.array_equal(fb.tensor(A).index_copy_(dim, i, s).numpy(), copied)
        assert np.array_equal(fb.tensor(A).index_fill(dim, fb.tensor([-1]), 7).numpy(), filled)
        assert np.array_equal(
            fb.tensor(A).index_fill_(dim, fb.tensor(-1), fb.tensor(7)).numpy(), filled
        )
        fn = lambda x, s: x.index_copy(dim, i, s) ** 2  # noqa: E731
        assert gradcheck(fn, (leaf(A / 24), leaf(source)))

    @pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
    def test_reduce(self, dim, reduce):
        source = sources(dim)
        x, i, s = fb.tensor(A + 1), fb.tensor(I), fb.tensor(source)
        run = {"prod": np.multiply, "mean": np.add, "amax": np.maximum, "amin": np.minimum}[reduce]
        expected = A + 1
        run.at(expected, at(dim % 3, I), source)
        if reduce == "mean":
            times = np.ones_like(A)
            np.add.at(times, at(dim % 3, I), 1)
            expected /= times
        assert np.allclose(x.index_reduce(dim, i, s, reduce).numpy(), expected)
        assert np.allclose(x.index_reduce_(dim, i, s, reduce).numpy(), expected)
        fn = lambda x, s: x.index_reduce(dim, i, s, reduce, include_self=False) ** 2  # noqa: E731
        assert gradcheck(fn, (leaf(A / 24), leaf(source)))


class TestDetails:
    def test_index_fill_counts_every_place_once(self):
        x, v = leaf([1.0, 2.0, 3.0]), leaf(5.0)
        x.index_fill(0, fb.tensor([1, 1]), v).sum().backward()
        assert x.grad.tolist() == [1, 0, 1]
        assert v.grad.item() == 1.0
        y = leaf([1.0, 2.0]) * 1
        assert y.index_fill_(0, fb.tensor([0, 0]), v).tolist() == [5.0, 2.0]

    def test_one_number(self):
        x, i = fb.tensor(2.0), fb.tensor([0])
        assert x.index_select(0, i).shape == ()
        assert x.index_add(0, i, fb.tensor([3.0])).item() == 5.0
        assert x.index_copy(0, i, fb.tensor(3.0)).item() == 3.0
        assert x.index_fill(0, i, 4).item() == 4.0
        assert x.clone().index_add_(0, i, fb.tensor(1.0)).item() == 3.0

    def test_many_rows_add_up(self):
        """The gradient of a table of rows, with more entries than one piece of work takes."""
        rng = np.random.default_rng(0)
        index, g = rng.integers(0, 50, 3000), rng.standard_normal((3000, 32))
        expected = np.zeros((50, 32))
        np.add.at(expected, index, g)
        table = fb.zeros(50, 32, dtype=fb.float64, requires_grad=True)
        table[fb.tensor(index)].backward(fb.tensor(g))
        assert np.allclose(table.grad.numpy(), expected)

    def test_half_precision_adds_up_in_single(self):
        rows = fb.full((4096, 2), 0.5, dtype=fb.float16)
        x = fb.zeros(1, 2, dtype=fb.float16).index_add(0, fb.zeros(4096, dtype=fb.int64), rows)
        assert x.tolist() == [[2048.0, 2048.0]]

    def test_take_and_put(self):
        x = fb.tensor(A)
        assert x.take(fb.tensor([[0, -1], [5, 23]])).tolist() == [[0, 23], [5, 23]]
        y = x.put(fb.tensor([1, -1]), fb.tensor([[100.0], [200.0]], dtype=fb.float64))
        assert (y[0, 0, 1].item(), y[1, 2, 3].item()) == (100.0, 200.0)
        ones = fb.ones(2, dtype=fb.float64)
        assert x.put_(fb.tensor([2, 2]), ones, accumulate=True)[0, 0, 2].item() == 4.0
        fn = lambda x, s: fb.put(x, fb.tensor([2, -3]), s).take(fb.tensor([2, 0, 0])) ** 2  # noqa: E731
        assert gradcheck(fn, (leaf(A / 24), leaf([0.5, -0.5])))

    def test_take_along_dim(self):
        order = np.argsort(-A, axis=1)
        x = fb.tensor(A)
        assert np.array_equal(
            fb.take_along_dim(x, fb.tensor(order), 1).numpy(), np.take_along_axis(A, order, 1)
        )
        assert x.take_along_dim(fb.tensor([[[-1]]]), 2).squeeze().tolist() == A[:, :, -1].tolist()
        assert x.take_along_dim(fb.tensor([5, 6])).tolist() == [5, 6]
        fn = lambda x: x.take_along_dim(fb.tensor([[[0, -1, 0]]]), 2) ** 2  # noqa: E731
        assert gradcheck(fn, (leaf(A / 24),))
        assert gradgradcheck(fn, (leaf(A / 24),))


class TestErrors:
    X = fb.zeros(2, 3)

    def test_positions(self):
        one = fb.ones(2, 1)
        for i in (fb.tensor([-1]), fb.tensor([3])):
            match = f"index {i.item()} is out of bounds for dimension 1 with size 3"
            for run in (
                lambda i=i: self.X.index_select(1, i),
                lambda i=i: self.X.index_add(1, i, one),
                lambda i=i: self.X.clone().index_add_(1, i, one),
                lambda i=i: self.X.index_copy(1, i, one),
                lambda i=i: self.X.index_reduce(1, i, one, "amax"),
            ):
                with pytest.raises(IndexRangeError, match=match):
                    run()
        with pytest.raises(
            IndexRangeError, match="index -4 is out of bounds for dimension 1 with size 3"
        ):
            self.X.index_fill(1, fb.tensor([-4]), 0)
        with pytest.raises(
            IndexRangeError, match="index 6 is out of bounds for dimension 0 with size 6"
        ):
            self.X.take(fb.tensor([6]))

    def test_shapes(self):
        i = fb.tensor([0])
        with pytest.raises(
            IndexRangeError,
            match=r"index_select\(\): Index is supposed to be a vector, got \(1, 1\)",
        ):
            self.X.index_select(1, fb.tensor([[0]]))
        with pytest.raises(
            ShapeError,
            match=r"Number of indices \(1\) should be equal to source.size\(dim\): \(2\)",
        ):
            self.X.index_add(1, i, fb.ones(2, 2))
        with pytest.raises(ShapeError, match=r"Got self.shape = \[2, 3\] source.shape = \[1, 1\]"):
            self.X.index_copy(1, i, fb.ones(1, 1))
        with pytest.raises(
            ShapeError, match=r"0-dimensional value tensor, but got \(1,\) float32 cpu"
        ):
            self.X.index_fill(1, i, fb.ones(1))
        with pytest.raises(
            ShapeError,
            match=r"same number of elements, but got source.numel\(\) = 1, index.numel\(\) = 2",
        ):
            self.X.put(fb.tensor([0, 1]), fb.ones(1))
        with pytest.raises(
            ShapeError, match="same number of dimensions, but got 2 dimensions for input, and 1"
        ):
            self.X.take_along_dim(i, 1)

    def test_arguments(self):
        i = fb.tensor([0])
        with pytest.raises(DTypeError, match="Expected dtype int32 or int64 for index"):
            self.X.index_select(1, fb.tensor([0.0]))
        with pytest.raises(ArgumentError, match="argument 'index' must be Tensor, not list"):
            self.X.index_select(1, [0])
        with pytest.raises(ArgumentError, match="argument 'source' must be Tensor, not float"):
            self.X.index_add(1, i, 1.0)
        with pytest.raises(
            DTypeError,
            match=r"same scalar type, got .* float32 cpu and .* float64 cpu. Hint: source.to",
        ):
            self.X.index_add(1, i, fb.ones(2, 1, dtype=fb.float64))
        with pytest.raises(ShapeError, match="must be either prod, mean, amax or amin, got sum"):
            self.X.index_reduce(1, i, fb.ones(2, 1), "sum")
        with pytest.raises(
            DTypeError,
            match=r"take\(\): Expected a long tensor for index, but got \(1,\) float32 cpu",
        ):
            self.X.take(fb.tensor([0.0]))
        with pytest.raises(DTypeError, match="self and source expected to have the same dtype"):
            self.X.put(i, i)
