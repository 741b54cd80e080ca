"""Filling and selecting by masks, where, nonzero, one_hot, and fills."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, DTypeError, GradError, ShapeError
from flambeau.ops.masking import one_hot

M = fb.tensor([[True, False, True], [False, False, True]])


def real(*shape, low=0.1):
    n = int(np.prod(shape))
    return fb.tensor(np.linspace(low, low + 1, n).reshape(shape), requires_grad=True)


class TestMaskedFill:
    # small and large arrays take different kernels on the cpu
    @pytest.mark.parametrize("shape", [(2, 3), (130, 120)])
    @pytest.mark.parametrize(
        "dtype",
        [
            fb.bool,
            fb.uint8,
            fb.int16,
            fb.int64,
            fb.float16,
            fb.float32,
            fb.float64,
            fb.complex64,
            fb.complex128,
        ],
        ids=str,
    )
    @pytest.mark.parametrize("value", [0, 1])
    def test_every_dtype(self, shape, dtype, value):
        rng = np.random.default_rng(0)
        a = rng.integers(0, 2 if dtype is fb.bool else 9, shape).astype(dtype.numpy)
        for mask in (rng.random(shape) < 0.5, rng.random(shape[1:]) < 0.5):
            expected = np.where(mask, np.array(value, dtype.numpy), a)
            x, m = fb.tensor(a), fb.tensor(mask)
            assert np.array_equal(x.masked_fill(m, value).numpy(), expected)
            assert x.masked_fill_(m, value) is x
            assert np.array_equal(x.numpy(), expected)

    def test_transposed_memory(self):
        x = fb.zeros(3, 2).t()
        x.masked_fill_(M, 4.0)
        assert x.tolist() == [[4, 0, 4], [0, 0, 4]]

    def test_infinities_and_nans(self):
        x = fb.tensor([float("nan"), 1.0, float("inf")])
        assert x.masked_fill(fb.tensor([True, True, False]), float("-inf")).tolist() == [
            -np.inf,
            -np.inf,
            np.inf,
        ]

    def test_both_sides_broadcast(self):
        assert fb.zeros(1, 3).masked_fill(fb.tensor([[True], [False]]), 1).tolist() == [
            [1] * 3,
            [0] * 3,
        ]

    def test_values_take_the_dtype(self):
        x = fb.tensor([1, 2])
        m = fb.tensor([True, False])
        assert x.masked_fill(m, 2.7).tolist() == x.masked_fill(m, fb.tensor(2.7)).tolist() == [2, 2]
        assert fb.ones(2).masked_fill(m, fb.tensor(2.0, dtype=fb.float64)).dtype is fb.float32

    def test_derivatives(self):
        v = fb.tensor(0.5, dtype=fb.float64, requires_grad=True)
        fn = lambda x, v: fb.masked_fill(x, M, v) ** 2  # noqa: E731
        assert gradcheck(fn, (real(3), v))
        assert gradgradcheck(fn, (real(3), v))

    def test_in_place_history(self):
        x = real(2, 3)
        y = x * 1
        y.masked_fill_(M, 0.0).sum().backward()
        assert x.grad.tolist() == [[0, 1, 0], [1, 1, 0]]

    def test_errors(self):
        x = fb.zeros(2, 3)
        with pytest.raises(
            DTypeError, match=r"only supports boolean masks, but got mask: \(2,\) int64 cpu. Hint"
        ):
            x.masked_fill(fb.tensor([0, 1]), 1)
        with pytest.raises(
            ShapeError, match=r"0-dimensional value tensor, but got \(3,\) float32 cpu"
        ):
            x.masked_fill(M, fb.ones(3))
        with pytest.raises(
            ShapeError, match=r"masked_fill: the size of tensor a \(3\) must match .* b \(2\)"
        ):
            x.masked_fill(fb.tensor([True, False]), 1)
        with pytest.raises(
            ShapeError, match=r"masked_fill_: output with shape \[1, 3\] doesn't match"
        ):
            fb.zeros(1, 3).masked_fill_(M, 1)
        with pytest.raises(GradError, match="masked_fill_: a leaf Variable"):
            real(2, 3).masked_fill_(M, 1)


class TestSelectAndScatter:
    def test_select(self):
        x = fb.arange(6).reshape(2, 3)
        assert fb.masked_select(x, M).tolist() == [0, 2, 5]
        assert fb.arange(3).masked_select(M).tolist() == [0, 2, 2]
        assert fb.tensor(3).masked_select(fb.tensor(True)).tolist() == [3]
        assert gradcheck(lambda x: fb.masked_select(x, M) ** 2, (real(2, 3),))
        assert gradgradcheck(lambda x: fb.masked_select(x, M) ** 3, (real(3),), eps=1e-4)

    def test_scatter(self):
        x, source = fb.zeros(2, 3), fb.arange(1.0, 7.0)
        expected = [[1, 0, 2], [0, 0, 3]]
        assert x.masked_scatter(M, source).tolist() == expected
        assert fb.zeros(3).masked_scatter(M, source).tolist() == expected
        assert x.masked_scatter_(M, source).tolist() == expected
        assert fb.tensor(1.0).masked_scatter(fb.tensor(True), source).item() == 1.0
        fn = lambda x, s: fb.masked_scatter(x, M, s) ** 2  # noqa: E731
        assert gradcheck(fn, (real(2, 3), real(4, low=2)))
        assert gradgradcheck(fn, (real(2, 3), real(4, low=2)))

    def test_errors(self):
        x = fb.zeros(2, 3)
        with pytest.raises(DTypeError, match="masked_select only supports boolean masks"):
            x.masked_select(x)
        with pytest.raises(ShapeError, match="of source < number of ones in mask, got 2 and 3"):
            x.masked_scatter(M, fb.ones(2))
        with pytest.raises(DTypeError, match="expected self and source to have same dtypes"):
            x.masked_scatter(M, fb.ones(6, dtype=fb.float64))


class TestWhereAndNonzero:
    def test_where(self):
        c = fb.tensor([True, False])
        assert fb.where(c, 1, 0).dtype is fb.int64
        assert fb.where(c, 1.0, 0).tolist() == [1.0, 0.0]
        assert fb.ones(2).where(c, fb.tensor(5.0)).tolist() == [1.0, 5.0]
        assert fb.where(fb.tensor([2, 0], dtype=fb.uint8), 1, 0).tolist() == [1, 0]
        assert [t.tolist() for t in fb.where(M)] == [[0, 0, 1], [0, 2, 2]]
        with pytest.raises(
            ArgumentError, match=r"where\(\): needs both input and other, or neither"
        ):
            fb.where(c, 1.0)

    @pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (0, 3)])
    def test_nonzero(self, shape):
        a = np.arange(np.prod(shape)).reshape(shape) % 3
        x = fb.tensor(a)
        assert np.array_equal(x.nonzero().numpy(), np.argwhere(a))
        assert np.array_equal(fb.argwhere(x).numpy(), np.argwhere(a))
        for found, expected in zip(x.nonzero(as_tuple=True), a.nonzero(), strict=True):
            assert np.array_equal(found.numpy(), expected)
        assert fb.count_nonzero(x).item() == np.count_nonzero(a)

    def test_nonzero_of_one_number(self):
        assert fb.tensor(3).nonzero().shape == (1, 0)
        assert fb.tensor(0).nonzero().shape == (0, 0)
        assert [t.tolist() for t in fb.tensor(3).nonzero(as_tuple=True)] == [[0]]

    def test_count_nonzero_along_a_dimension(self):
        assert fb.count_nonzero(M, 0).tolist() == [1, 0, 2]
        assert fb.count_nonzero(M, (0, 1)).item() == 3

    def test_one_hot(self):
        assert one_hot(fb.tensor([[0, 2]])).tolist() == [[[1, 0, 0], [0, 0, 1]]]
        assert one_hot(fb.tensor(1), 3).tolist() == [0, 1, 0]
        assert one_hot(fb.zeros(0, dtype=fb.int64), 3).shape == (0, 3)
        with pytest.raises(ShapeError, match="must be non-negative"):
            one_hot(fb.tensor([-1]))
        with pytest.raises(ShapeError, match=r"must be smaller than num_classes \(3\), got 4"):
            one_hot(fb.tensor([4]), 3)
        with pytest.raises(DTypeError, match=r"LongTensor, got \(1,\) float32 cpu. Hint: x.long"):
            one_hot(fb.tensor([1.0]))
        with pytest.raises(
            ShapeError, match="Can not infer total number of classes from empty tensor"
        ):
            one_hot(fb.zeros(0, dtype=fb.int64))


class TestFills:
    def test_numbers(self):
        assert fb.zeros(2).fill_(2.5).tolist() == [2.5, 2.5]
        assert fb.zeros(2, dtype=fb.int64).fill_(2.7).tolist() == [2, 2]
        assert fb.zeros(1, dtype=fb.uint8).fill_(-1).tolist() == [255]
        assert fb.zeros(1, dtype=fb.bool).fill_(3).tolist() == [True]
        assert fb.ones(2).zero_().tolist() == [0.0, 0.0]
        assert fb.tensor([True]).zero_().tolist() == [False]
        assert fb.fill(fb.zeros(2), fb.tensor(3.0)).tolist() == [3.0, 3.0]

    def test_part_of_a_tensor(self):
        x = fb.zeros(2, 3)
        x[:, 1].fill_(1)
        assert x.tolist() == [[0, 1, 0], [0, 1, 0]]

    def test_history(self):
        x, v = real(3), fb.tensor(0.5, dtype=fb.float64, requires_grad=True)
        y = x * 2
        y.fill_(v)
        (y * y).sum().backward()
        assert v.grad.item() == 3.0
        assert x.grad is None or x.grad.tolist() == [0, 0, 0]

    def test_expanded_memory(self):
        x = fb.zeros(1).expand(3)
        i = fb.tensor([0])
        for name, change in {
            "fill_": lambda: x.fill_(1.0),
            "zero_": lambda: x.zero_(),
            "index_put_": lambda: x.index_put_((i,), fb.tensor(1.0)),
            "index_add_": lambda: x.index_add_(0, i, fb.ones(1)),
            "scatter_": lambda: x.scatter_(0, i, 1.0),
            "copy_": lambda: x.__setitem__(0, 1.0),
        }.items():
            match = f"{name}: unsupported operation: more than one element.*Hint: clone"
            with pytest.raises(ShapeError, match=match):
                change()
        assert x.tolist() == [0.0] * 3

    def test_errors(self):
        with pytest.raises(
            ShapeError,
            match="fill_ only supports 0-dimension value tensor but got tensor with 1 dimensions",
        ):
            fb.zeros(2).fill_(fb.ones(2))
        for change in (lambda x: x.zero_(), lambda x: x.fill_(1.0)):
            with pytest.raises(GradError, match="(zero|fill)_: a leaf Variable that requires grad"):
                change(real(2))
