"""Triangles, diagonals, writing into a part, windows and padding: NumPy's values, derivatives, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import GradError, IndexRangeError, ShapeError

A = np.arange(24.0).reshape(2, 3, 4) + 1


def leaf(a):
    return fb.tensor(np.array(a, np.float64), requires_grad=True)


def check(fn, *inputs):
    assert gradcheck(fn, inputs)
    assert gradgradcheck(fn, inputs)


class TestTriangles:
    @pytest.mark.parametrize("k", [-9, -1, 0, 2, 9])
    @pytest.mark.parametrize(
        "dtype", [fb.bool, fb.int8, fb.float16, fb.float32, fb.float64, fb.complex128], ids=str
    )
    def test_numpys_values(self, k, dtype):
        a = A.astype(dtype.numpy)
        for ours, numpys in ((fb.tril, np.tril), (fb.triu, np.triu)):
            assert np.array_equal(ours(fb.tensor(a), k).numpy(), numpys(a, k))
            assert np.array_equal(
                ours(fb.tensor(a).mT, diagonal=k).numpy(), numpys(a.swapaxes(1, 2), k)
            )
        x = fb.tensor(a)
        assert x.tril_(k) is x
        assert np.array_equal(x.numpy(), np.tril(a, k))
        assert np.array_equal(fb.tensor(a).triu_(k).numpy(), np.triu(a, k))

    def test_infinities_leave_no_nan(self):
        assert fb.full((2, 2), float("inf")).tril().tolist() == [[np.inf, 0], [np.inf, np.inf]]

    def test_derivatives(self):
        check(lambda x: x.tril(1) ** 2, leaf(A))
        check(lambda x: x.triu(1) ** 2, leaf(A))

    def test_positions(self):
        assert np.array_equal(
            fb.tril_indices(3, 4, -1).numpy(), np.stack(np.tril_indices(3, -1, 4))
        )
        found = fb.triu_indices(3, 4, 1, dtype=fb.int32)
        assert found.dtype is fb.int32
        assert np.array_equal(found.numpy(), np.stack(np.triu_indices(3, 1, 4)))

    def test_errors(self):
        with pytest.raises(
            ShapeError,
            match=r"tril: input tensor must have at least 2 dimensions, got \(3,\) float32 cpu",
        ):
            fb.tril(fb.zeros(3))
        with pytest.raises(ShapeError, match="triu_: input tensor must have at least 2 dimensions"):
            fb.zeros(3).triu_()
        with pytest.raises(GradError, match="tril_: a leaf Variable"):
            leaf(A).tril_()
        with pytest.raises(
            ShapeError, match="tril_indices: row and col must be non-negative, got -1 and 2"
        ):
            fb.tril_indices(-1, 2)


class TestDiagonals:
    @pytest.mark.parametrize("offset", [-9, -1, 0, 2])
    @pytest.mark.parametrize("dims", [(0, 1), (2, 0), (-1, 1)])
    def test_views(self, offset, dims):
        x = fb.tensor(A)
        view = x.diagonal(offset, *dims)
        expected = A.copy()
        assert np.array_equal(view.numpy(), expected.diagonal(offset, *dims))
        view.fill_(-1)
        spots = expected.diagonal(offset, *dims)
        spots.flags.writeable = True
        spots[...] = -1
        assert np.array_equal(x.numpy(), expected)
        check(lambda x: x.diagonal(offset, *dims) ** 2, leaf(A / 24)) if spots.size else None

    def test_diag(self):
        v = np.array([1.0, 2.0])
        for k in (-1, 0, 2):
            assert np.array_equal(fb.diag(fb.tensor(v), k).numpy(), np.diag(v, k))
            assert np.array_equal(fb.tensor(A[0]).diag(k).numpy(), np.diag(A[0], k))
        assert np.array_equal(
            fb.diagflat(fb.tensor(A[0, :2, :2]), 1).numpy(), np.diagflat(A[0, :2, :2], 1)
        )
        check(lambda x: fb.diag(x, 1) ** 2, leaf(v))
        check(lambda x: fb.diag(x, 1) ** 2, leaf(A[0]))

    def test_diag_embed(self):
        x = fb.tensor(A[0])
        embedded = fb.diag_embed(x, 1, 0, 2)
        assert embedded.shape == (5, 3, 5)
        assert np.array_equal(embedded.diagonal(1, 0, 2).numpy(), A[0])
        assert embedded.sum().item() == A[0].sum()
        check(lambda x: fb.diag_embed(x, -1) ** 2, leaf(A[0]))

    def test_fill_diagonal(self):
        assert fb.zeros(2, 3).fill_diagonal_(2).tolist() == [[2, 0, 0], [0, 2, 0]]
        for wrap in (False, True):
            expected = np.zeros((7, 2))
            np.fill_diagonal(expected, 3, wrap)
            assert np.array_equal(fb.zeros(7, 2).fill_diagonal_(3, wrap=wrap).numpy(), expected)
            strided = fb.zeros(2, 7).t()
            assert np.array_equal(strided.fill_diagonal_(3, wrap).numpy(), expected)
        cube = np.zeros((3, 3, 3))
        np.fill_diagonal(cube, 1)
        assert np.array_equal(fb.zeros(3, 3, 3).fill_diagonal_(1).numpy(), cube)

    def test_errors(self):
        x = fb.zeros(2, 3)
        with pytest.raises(ShapeError, match="diagonal dimensions cannot be identical 0, -2"):
            x.diagonal(0, 0, -2)
        with pytest.raises(
            ShapeError, match=r"Supports 1D or 2D tensors. Got \(1, 1, 1\) float32 cpu"
        ):
            fb.diag(fb.zeros(1, 1, 1))
        with pytest.raises(ShapeError, match="fill_diagonal_: dimensions must larger than 1"):
            fb.zeros(3).fill_diagonal_(1)
        with pytest.raises(ShapeError, match="all dimensions of input must be of equal length"):
            fb.zeros(2, 3, 2).fill_diagonal_(1)


class TestPartsOfCopies:
    X, S = leaf(A[0]), leaf([0.5, -0.5, 2.0])

    def test_values(self):
        x, s = self.X.detach(), self.S.detach()
        expected = A[0].copy()
        expected[:, 1] = [0.5, -0.5, 2.0]
        assert np.array_equal(fb.select_scatter(x, s, 1, 1).numpy(), expected)
        expected = A[0].copy()
        expected[:, 1:4:2] = [[0.5, 0.5], [-0.5, -0.5], [2, 2]]
        assert np.array_equal(
            fb.slice_scatter(x, s[:, None].expand(3, 2), 1, 1, 4, 2).numpy(), expected
        )
        assert fb.diagonal_scatter(x, s, 1).diagonal(1).tolist() == [0.5, -0.5, 2.0]
        assert fb.as_strided_scatter(x, s, (3,), (2,), 1).flatten()[1:6].tolist() == [
            0.5,
            3,
            -0.5,
            5,
            2,
        ]
        assert np.array_equal(x.numpy(), A[0])

    def test_derivatives(self):
        check(lambda x, s: fb.select_scatter(x, s, 1, 1) ** 2, self.X, self.S)
        check(lambda x, s: fb.slice_scatter(x, s[:, None], 1, 1, 2) ** 2, self.X, self.S)
        check(lambda x, s: fb.diagonal_scatter(x, s, 1) ** 2, self.X, self.S)
        check(lambda x, s: fb.as_strided_scatter(x, s, (3,), (2,), 1) ** 2, self.X, self.S)

    def test_errors(self):
        x = fb.zeros(2, 3)
        for run in (
            lambda: fb.select_scatter(x, fb.ones(2), 0, 0),
            lambda: fb.slice_scatter(x, fb.ones(2), 0),
            lambda: fb.diagonal_scatter(x, fb.ones(3)),
            lambda: fb.as_strided_scatter(x, fb.ones(3), (2,), (1,)),
        ):
            with pytest.raises(
                ShapeError,
                match=r"expected src to have a size equal to the slice of self. src size = \[",
            ):
                run()
        with pytest.raises(IndexRangeError, match=r"reach element 6 \(\(2, 3\) float32 cpu\)"):
            fb.as_strided_scatter(x, fb.ones(2), (2,), (6,))


class TestWindows:
    @pytest.mark.parametrize("dim", [0, 1, -1])
    @pytest.mark.parametrize("step", [1, 2, 3])
    def test_views(self, dim, step):
        expected = np.lib.stride_tricks.sliding_window_view(A, 2, dim)[
            (slice(None),) * (dim % 3) + (slice(None, None, step),)
        ]
        for x in (fb.tensor(A), fb.tensor(A.transpose(2, 0, 1).copy()).permute(1, 2, 0)):
            view = x.unfold(dim, 2, step)
            assert np.array_equal(view.numpy(), expected)
            view[0].zero_()
            assert x.min().item() == 0.0
        check(lambda x: x.unfold(dim, 2, step) ** 2, leaf(A / 24))

    def test_one_number(self):
        assert fb.tensor(3.0).unfold(0, 1, 1).tolist() == [3.0]

    def test_errors(self):
        with pytest.raises(
            ShapeError, match="maximum size for tensor at dimension 1 is 3 but size is 4"
        ):
            fb.zeros(2, 3).unfold(1, 4, 1)
        with pytest.raises(ShapeError, match="step is 0 but must be > 0"):
            fb.zeros(2, 3).unfold(1, 2, 0)


class TestPadding:
    def test_values(self):
        x = fb.tensor(A[0])
        assert np.array_equal(
            fb.constant_pad_nd(x, (1, 2, 0, 1), 7).numpy(),
            np.pad(A[0], ((0, 1), (1, 2)), constant_values=7),
        )
        assert np.array_equal(
            fb.constant_pad_nd(x, (-1, 1)).numpy(), np.pad(A[0, :, 1:], ((0, 0), (0, 1)))
        )
        assert fb.constant_pad_nd(fb.tensor([1]), (1, 1), 2.7).tolist() == [2, 1, 2]
        assert fb.constant_pad_nd(fb.zeros(0), (1, 1), 3).tolist() == [3.0, 3.0]
        assert fb.constant_pad_nd(x, ()).tolist() == A[0].tolist()

    def test_derivatives(self):
        check(lambda x: fb.constant_pad_nd(x, (1, -1, 2, 0), 0.5) ** 2, leaf(A[0] / 24))

    def test_errors(self):
        x = fb.zeros(2, 3)
        with pytest.raises(ShapeError, match="Length of pad must be even but instead it equals 1"):
            fb.constant_pad_nd(x, (1,))
        with pytest.raises(ShapeError, match="Pad length is 6 while the input has 2 dimensions"):
            fb.constant_pad_nd(x, (1,) * 6)
        with pytest.raises(
            ShapeError,
            match=r"\[2, 3\], plus negative padding \[-2, -2\], resulted in a negative output size",
        ):
            fb.constant_pad_nd(x, (-2, -2))
