"""gather, scatter and its reductions against loops, their derivatives, and their errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 5, 3))
COMBINE = {
    "set": lambda a, b: b,
    "sum": lambda a, b: a + b,
    "prod": lambda a, b: a * b,
    "amax": max,
    "amin": min,
}


def looped(a, dim, index, src, how, include_self=True):
    """scatter, one element after the other."""
    out, seen = a.copy(), set()
    for at in np.ndindex(index.shape):
        to = list(at)
        to[dim] = index[at]
        to = tuple(to)
        first = to not in seen and not include_self
        seen.add(to)
        out[to] = src[at] if first else COMBINE[how](out[to], src[at])
    return out


def index_for(dim, shape=(3, 2, 2)):
    return np.random.default_rng(dim).integers(0, A.shape[dim], shape)


def leaf(a):
    return fb.tensor(a, requires_grad=True)


@pytest.mark.parametrize("dim", [0, 1, 2])
class TestEveryDimension:
    def test_gather(self, dim):
        index = index_for(dim)
        expected = np.take_along_axis(
            A[tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape))],
            index,
            dim,
        )
        for x in (fb.tensor(A), fb.tensor(A.transpose(2, 0, 1).copy()).permute(1, 2, 0)):
            assert np.array_equal(x.gather(dim, fb.tensor(index)).numpy(), expected)
            assert np.array_equal(fb.gather(x, dim - 3, fb.tensor(index)).numpy(), expected)

    @pytest.mark.parametrize("how", COMBINE)
    @pytest.mark.parametrize("include_self", [True, False])
    def test_scatter(self, dim, how, include_self):
        index = np.arange(12).reshape(3, 2, 2) % A.shape[dim] if how == "set" else index_for(dim)
        src = RNG.standard_normal((3, 3, 2))
        if how == "set":  # which of several values for one place stays is not defined
            index = np.broadcast_to(
                np.arange(index.shape[dim]).reshape([-1 if d == dim else 1 for d in range(3)]),
                index.shape,
            )
        expected = looped(A, dim, index, src, how, include_self)
        x, i, s = fb.tensor(A), fb.tensor(np.array(index)), fb.tensor(src)
        strided = fb.tensor(A.transpose(2, 0, 1).copy()).permute(1, 2, 0)
        if how == "set":
            found = [x.scatter(dim, i, s), x.scatter_(dim, i, s), strided.scatter_(dim, i, s)]
        else:
            run = {"reduce": how, "include_self": include_self}
            found = [x.scatter_reduce(dim, i, s, **run), strided.scatter_reduce_(dim, i, s, **run)]
        for y in found:
            assert np.allclose(y.numpy(), expected)

    def test_scatter_add(self, dim):
        index, src = index_for(dim), RNG.standard_normal((3, 2, 2))
        expected = looped(A, dim, index, src, "sum")
        assert np.allclose(
            fb.scatter_add(fb.tensor(A), dim, fb.tensor(index), fb.tensor(src)).numpy(), expected
        )
        strided = fb.tensor(A.transpose(2, 0, 1).copy()).permute(1, 2, 0)
        assert np.allclose(
            strided.scatter_add_(dim, fb.tensor(index), fb.tensor(src)).numpy(), expected
        )


class TestDerivatives:
    I = fb.tensor([[0, 2, 1], [2, 0, 0]])
    X, S = A[:, :3, 0], A[:3, :4, 1]

    def check(self, fn, *inputs):
        assert gradcheck(fn, inputs)
        assert gradgradcheck(fn, inputs)

    def test_gather(self):
        self.check(lambda x: x.gather(0, self.I) ** 2, leaf(self.X))

    def test_scatter(self):
        index = fb.tensor([[0, 2, 1], [2, 0, 3]])
        self.check(lambda x, s: x.scatter(0, index, s) ** 2, leaf(self.X), leaf(self.S))
        self.check(lambda x: x.scatter(0, index, 2.0) ** 2, leaf(self.X))
        self.check(lambda x, s: x.scatter_add(0, self.I, s) ** 2, leaf(self.X), leaf(self.S))

    @pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
    @pytest.mark.parametrize("include_self", [True, False])
    def test_scatter_reduce(self, reduce, include_self):
        def fn(x, s):
            return fb.scatter_reduce(x, 0, self.I, s, reduce, include_self=include_self) ** 2

        self.check(fn, leaf(self.X), leaf(self.S))

    def test_a_zero_factor(self):
        """Only the zero itself has a slope, the product of the others."""
        x, s = leaf(np.array([5.0])), leaf(np.array([0.0, 3.0]))
        x.scatter_reduce(0, fb.tensor([0, 0]), s, "prod").sum().backward()
        assert x.grad.tolist() == [0.0]
        assert s.grad.tolist() == [15.0, 0.0]

    def test_equal_extremes_share(self):
        x, s = leaf(np.array([2.0])), leaf(np.array([2.0, 1.0]))
        x.scatter_reduce(0, fb.tensor([0, 0]), s, "amax").sum().backward()
        assert x.grad.tolist() == [0.5]
        assert s.grad.tolist() == [0.5, 0.0]

    def test_in_place(self):
        x, s = leaf(self.X), leaf(self.S[:2, :3])
        y = x * 1
        y.scatter_add_(0, self.I, s)
        (y * y).sum().backward()
        total = looped(self.X, 0, self.I.numpy(), self.S, "sum")
        assert np.allclose(x.grad.numpy(), 2 * total)
        assert np.allclose(s.grad.numpy(), np.take_along_axis(2 * total, self.I.numpy(), 0))


class TestDetails:
    def test_numbers_and_reductions(self):
        x, i = fb.full((2, 3), 2.0), fb.tensor([[0], [2]])
        assert (
            x.scatter(1, i, 7).tolist()
            == x.scatter(1, i, value=7.0).tolist()
            == [[7, 2, 2], [2, 2, 7]]
        )
        assert x.scatter(1, i, 3.0, reduce="multiply").tolist() == [[6, 2, 2], [2, 2, 6]]
        assert x.clone().scatter_(1, i, 3.0, reduce="add").tolist() == [[5, 2, 2], [2, 2, 5]]

    def test_integer_mean_rounds_down(self):
        x = fb.tensor([5, -3])
        assert x.scatter_reduce(0, fb.tensor([0, 1]), fb.tensor([2, 0]), "mean").tolist() == [3, -2]

    def test_neutral_elements(self):
        i, s = fb.tensor([0]), fb.tensor([-5])
        for reduce in ("amax", "amin", "prod", "sum", "mean"):
            assert fb.tensor([3, 1]).scatter_reduce(
                0, i, s, reduce, include_self=False
            ).tolist() == [-5, 1]

    def test_one_number_counts_as_a_vector(self):
        assert fb.tensor(3.0).gather(0, fb.tensor([0, 0])).tolist() == [3.0, 3.0]
        assert fb.tensor([3.0, 4.0]).gather(0, fb.tensor(1)).item() == 4.0
        assert fb.tensor(3.0).scatter(0, fb.tensor(0), fb.tensor(5.0)).item() == 5.0

    def test_no_positions(self):
        none = fb.zeros(0, dtype=fb.int64)
        assert fb.zeros(2, 3).gather(1, none).shape == (0,)
        assert fb.ones(2, 3).scatter(1, none, fb.ones(4)).tolist() == [[1.0] * 3] * 2

    def test_half_precision_adds_up_in_single(self):
        x = fb.zeros(1, dtype=fb.float16)
        src = fb.full((4096,), 0.5, dtype=fb.float16)
        assert x.scatter_add(0, fb.zeros(4096, dtype=fb.int64), src).item() == 2048.0

    def test_int32_positions(self):
        assert fb.tensor([3, 4]).gather(0, fb.tensor([1], dtype=fb.int32)).tolist() == [4]


class TestErrors:
    X = fb.zeros(2, 3)

    @pytest.mark.parametrize("value", [-1, 3])
    def test_positions_out_of_range(self, value):
        i = fb.tensor([[value]])
        match = f"index {value} is out of bounds for dimension 1 with size 3"
        for run in (
            lambda: self.X.gather(1, i),
            lambda: self.X.scatter(1, i, 1.0),
            lambda: self.X.clone().scatter_(1, i, 1.0),
            lambda: self.X.scatter_add(1, i, fb.ones(1, 1)),
            lambda: self.X.scatter_reduce(1, i, fb.ones(1, 1), "amax"),
        ):
            with pytest.raises(IndexRangeError, match=match):
                run()

    def test_shapes(self):
        with pytest.raises(
            ShapeError, match=r"gather\(\): Index tensor must have the same number of dimensions"
        ):
            self.X.gather(1, fb.tensor([0]))
        with pytest.raises(
            ShapeError,
            match=r"at dimension 0 expected index \[3, 1\] to be no larger than self \[2, 3\]",
        ):
            self.X.gather(1, fb.zeros(3, 1, dtype=fb.int64))
        with pytest.raises(ShapeError, match=r"no larger size than src \[2, 3\]"):
            self.X.scatter(1, fb.zeros(2, 4, dtype=fb.int64), fb.ones(2, 3))
        with pytest.raises(ShapeError, match="same number of dimensions as src tensor"):
            self.X.scatter(1, fb.tensor([[0]]), fb.tensor(2.0))
        with pytest.raises(IndexError, match="Dimension out of range"):
            self.X.gather(2, fb.tensor([[0]]))

    def test_arguments(self):
        i = fb.tensor([[0]])
        with pytest.raises(
            DTypeError,
            match=r"Expected dtype int32/int64 for index, got \(2, 3\) float32 cpu. Hint",
        ):
            self.X.gather(1, self.X)
        with pytest.raises(ArgumentError, match="argument 'index' must be Tensor, not list"):
            self.X.gather(1, [[0]])
        with pytest.raises(
            DTypeError,
            match=r"Expected self.dtype to be equal to src.dtype.*Hint: src.to\(flambeau.float32",
        ):
            self.X.scatter(1, i, fb.ones(1, 1, dtype=fb.float64))
        with pytest.raises(
            ShapeError, match="reduce argument must be either add or multiply, got 'foo'"
        ):
            self.X.scatter(1, i, 1.0, reduce="foo")
        with pytest.raises(
            ShapeError, match="must be either sum, prod, mean, amax or amin, got foo"
        ):
            self.X.scatter_reduce(1, i, fb.ones(1, 1), "foo")
        with pytest.raises(ArgumentError, match="needs one of src and value"):
            self.X.scatter(1, i)
