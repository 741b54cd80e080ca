"""Covariance, correlation, finite differences and Vandermonde matrices against NumPy."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck
from flambeau.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(3)
A = RNG.standard_normal((3, 6))
Z = A + 1j * RNG.standard_normal((3, 6))
F = np.array([1, 2, 3, 0, 2, 1])
W = RNG.random(6)


def close(found, expected):
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


class TestCov:
    @pytest.mark.parametrize(
        "array", [A, Z, A[0], F.reshape(2, 3)], ids=["real", "complex", "1d", "int"]
    )
    @pytest.mark.parametrize("correction", [0, 1, 2])
    def test_plain(self, array, correction):
        close(
            fb.tensor(array, dtype=_wide(array)).cov(correction=correction),
            np.cov(array, ddof=correction),
        )

    @pytest.mark.parametrize("f", [None, F])
    @pytest.mark.parametrize("a", [None, W])
    @pytest.mark.parametrize("array", [A, Z], ids=["real", "complex"])
    def test_weights(self, f, a, array):
        found = fb.cov(
            fb.tensor(array),
            fweights=None if f is None else fb.tensor(f),
            aweights=None if a is None else fb.tensor(a),
        )
        close(found, np.cov(array, fweights=f, aweights=a))

    def test_integers_give_floats(self):
        x = fb.cov(fb.tensor([[0, 1, 2], [2, 1, 0]]))
        assert x.dtype is fb.float32 and x.tolist() == [[1, -1], [-1, 1]]

    def test_little_data(self):
        with pytest.warns(UserWarning, match=r"cov\(\): degrees of freedom is <= 0"):
            assert fb.cov(fb.tensor(3.0)).isnan()
        with pytest.warns(UserWarning, match=r"cov\(\): degrees of freedom is <= 0"):
            assert fb.cov(fb.tensor([[0.0, 1.0, 2.0]]), correction=5).isinf().all()
        with pytest.warns(UserWarning, match=r"cov\(\): degrees of freedom is <= 0"):
            assert fb.cov(fb.ones(2, 0)).isnan().all()

    def test_gradients(self):
        x, w = fb.tensor(A[:2], requires_grad=True), fb.tensor(W, requires_grad=True)
        assert gradcheck(lambda x, w: fb.cov(x, aweights=w), (x, w))
        assert gradcheck(fb.corrcoef, (x,))

    @pytest.mark.parametrize(
        ("x", "options", "error", "message"),
        [
            (fb.ones(2, 2, 2), {}, ShapeError, "expected input to have two or fewer dimensions"),
            (fb.ones(2, dtype=fb.bool), {}, DTypeError, "bool dtype is not supported for input"),
            (fb.ones(2), {"correction": 1.5}, ArgumentError, "'correction' must be int, not 1.5"),
            (fb.ones(2), {"fweights": fb.ones(2)}, DTypeError, "fweights to have integral dtype"),
            (
                fb.ones(2),
                {"aweights": fb.tensor([1, 1])},
                DTypeError,
                "aweights to have floating point",
            ),
            (
                fb.ones(2),
                {"aweights": fb.ones(1, 2)},
                ShapeError,
                "aweights to have one or fewer dim",
            ),
            (fb.ones(2), {"fweights": fb.tensor([1, 2, 3])}, ShapeError, "same numel .* 3 != 2"),
            (
                fb.ones(2),
                {"fweights": fb.tensor([-1, 2])},
                ShapeError,
                "fweights cannot be negative",
            ),
            (fb.ones(2), {"aweights": fb.zeros(2)}, ShapeError, "weights sum to zero"),
        ],
    )
    def test_errors(self, x, options, error, message):
        with pytest.raises(error, match=message):
            fb.cov(x, **options)


def _wide(array):
    return None if array.dtype != np.int64 else fb.float64


class TestCorrcoef:
    @pytest.mark.parametrize("array", [A, Z], ids=["real", "complex"])
    def test_against_numpy(self, array):
        close(fb.tensor(array).corrcoef(), np.corrcoef(array))

    def test_it_stays_in_range(self):
        x = fb.corrcoef(fb.tensor([[1.0, 2.0, 3.0], [1.1, 2.2, 3.3]]))
        assert x.abs().max() <= 1

    def test_one_variable(self):
        assert fb.corrcoef(fb.tensor([1.0, 2.0, 4.0])).item() == 1
        assert fb.corrcoef(fb.ones(3)).isnan()

    def test_dimensions(self):
        with pytest.raises(ShapeError, match=r"corrcoef\(\): expected input to have two or fewer"):
            fb.corrcoef(fb.ones(2, 2, 2))


class TestGradient:
    @pytest.mark.parametrize("edge_order", [1, 2])
    @pytest.mark.parametrize("dim", [None, 0, 1, (1, 0), (-1,)], ids=str)
    @pytest.mark.parametrize("spacing", [1, 0.5, "numbers", "places"])
    def test_against_numpy(self, edge_order, dim, spacing):
        dims = (0, 1) if dim is None else (dim,) if isinstance(dim, int) else dim
        if spacing == "numbers":
            given = [0.5 + d % 2 for d in dims]
            expected_spacing = given
        elif spacing == "places":
            expected_spacing = [np.cumsum(RNG.random(A.shape[d]) + 0.1) for d in dims]
            given = [fb.tensor(s) for s in expected_spacing]
        else:
            given, expected_spacing = spacing, [spacing]
        found = fb.gradient(fb.tensor(A), spacing=given, dim=dim, edge_order=edge_order)
        expected = np.gradient(A, *expected_spacing, axis=dims, edge_order=edge_order)
        assert isinstance(found, tuple) and len(found) == len(dims)
        for f, e in zip(found, [expected] if len(dims) == 1 else expected, strict=True):
            close(f, e)

    def test_other_forms(self):
        x = fb.tensor([0.0, 1.0, 4.0])
        (default,) = fb.gradient(x)
        assert default.tolist() == [1, 2, 3]
        assert fb.gradient(x, spacing=None)[0].tolist() == [1, 2, 3]
        assert fb.gradient(x, spacing=fb.tensor(2.0))[0].tolist() == [0.5, 1, 1.5]
        assert fb.gradient(fb.tensor(1.0)) == ()
        (whole,) = fb.gradient(fb.arange(4))
        assert whole.dtype is fb.float32 and whole.tolist() == [1, 1, 1, 1]
        assert fb.gradient(fb.tensor([1.0, 3.0]))[0].tolist() == [2, 2]

    def test_derivatives(self):
        x = fb.tensor(A, requires_grad=True)
        places = fb.tensor(np.cumsum(RNG.random(6) + 0.1), requires_grad=True)
        assert gradcheck(lambda x: fb.gradient(x, edge_order=2), (x,))
        assert gradcheck(lambda x, p: fb.gradient(x, spacing=[p], dim=1, edge_order=2), (x, places))

    @pytest.mark.parametrize(
        ("x", "options", "error", "message"),
        [
            (fb.ones(3, dtype=fb.uint8), {}, DTypeError, "gradient: does not support uint8 input"),
            (
                fb.ones(3),
                {"edge_order": 3},
                ShapeError,
                "only supports edge_order=1 and edge_order=2, got 3",
            ),
            (fb.ones(2), {"edge_order": 2}, ShapeError, r"at least edge_order\+1 = 3, got \(2,\)"),
            (fb.ones(3, 3), {"dim": (0, 0)}, ShapeError, r"appears multiple times in dim=\(0, 0\)"),
            (fb.ones(3, 3), {"spacing": [1.0]}, ShapeError, "got 1 for 2 dimensions"),
            (
                fb.ones(3),
                {"spacing": fb.ones(3)},
                ArgumentError,
                "spacing must be a number, numbers or",
            ),
            (
                fb.ones(3),
                {"spacing": (fb.ones(4),)},
                ShapeError,
                "to have one dimension, of size 3 for dim 0",
            ),
            (fb.ones(3), {"spacing": (fb.ones(3, 1),)}, ShapeError, "to have one dimension"),
        ],
    )
    def test_errors(self, x, options, error, message):
        with pytest.raises(error, match=message):
            fb.gradient(x, **options)


class TestVander:
    @pytest.mark.parametrize("n", [None, 0, 1, 2, 5])
    @pytest.mark.parametrize("increasing", [False, True])
    def test_against_numpy(self, n, increasing):
        x = np.array([2.0, -1.0, 3.0])
        close(fb.vander(fb.tensor(x), n, increasing), np.vander(x, n, increasing))

    def test_dtypes(self):
        for d in (fb.bool, fb.uint8, fb.int32):
            assert fb.vander(fb.ones(2, dtype=d)).dtype is fb.int64
        assert fb.vander(fb.ones(2, dtype=fb.float16)).dtype is fb.float16

    def test_gradient(self):
        assert gradcheck(lambda x: fb.vander(x, 4), (fb.tensor(W[:3], requires_grad=True),))

    def test_errors(self):
        with pytest.raises(ShapeError, match="x must be a one-dimensional tensor"):
            fb.vander(fb.ones(2, 2))
        with pytest.raises(ShapeError, match="N must be non-negative, got -1"):
            fb.vander(fb.ones(2), -1)
