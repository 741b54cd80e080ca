"""Making tensors."""

import numpy as np
import pytest

import flambeau as fb


class TestTensor:
    @pytest.mark.parametrize(
        ("data", "dtype"),
        [
            ([1, 2], fb.int64),
            ([1.0, 2], fb.float32),
            ([True, False], fb.bool),
            (1j, fb.complex64),
            ([], fb.float32),
            ([[], []], fb.float32),
            (np.float64(1), fb.float64),
            (np.zeros(2, np.int16), fb.int16),
            ([np.float64(1.0), 2.0], fb.float32),
            (3, fb.int64),
            (range(3), fb.int64),
        ],
    )
    def test_infers_the_dtype(self, data, dtype):
        assert fb.tensor(data).dtype is dtype

    def test_copies(self):
        a = np.zeros(2)
        t = fb.tensor(a)
        a[0] = 1
        u = fb.tensor(t)
        u.add_(1)
        assert t.tolist() == [0.0, 0.0]

    def test_dtype_and_grad(self):
        t = fb.tensor([1, 2], dtype=fb.float64, requires_grad=True)
        assert t.dtype is fb.float64
        assert t.requires_grad
        assert fb.tensor([1.9, -1.9], dtype=fb.int32).tolist() == [1, -1]
        assert fb.tensor(0.1, dtype=fb.float64).item() == 0.1

    def test_lists_of_tensors(self):
        assert fb.tensor([fb.tensor(1.0), fb.tensor(2.0)]).tolist() == [1.0, 2.0]
        assert fb.tensor([[fb.tensor(1), 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]

    def test_mistakes(self):
        with pytest.raises(ValueError, match="expected sequences of equal length at every depth"):
            fb.tensor([[1, 2], [3]])
        with pytest.raises(TypeError, match="new\\(\\): invalid data type 'numpy.str_'"):
            fb.tensor("text")
        with pytest.raises(TypeError, match="invalid data type"):
            fb.tensor([None])
        with pytest.raises(RuntimeError, match="Overflow when unpacking long"):
            fb.tensor([2**70])
        with pytest.raises(TypeError, match="dtype must be a flambeau dtype.*got 'float32'"):
            fb.tensor([1], dtype="float32")
        with pytest.raises(RuntimeError, match="only Tensors of floating point"):
            fb.tensor([1], requires_grad=True)

    def test_legacy_constructor(self):
        assert fb.Tensor([1, 2]).dtype is fb.float32
        assert fb.Tensor(2, 3).shape == (2, 3)
        assert fb.Tensor().shape == (0,)


class TestNumpyBridge:
    def test_from_numpy_shares_memory_both_ways(self):
        a = np.arange(3)
        t = fb.from_numpy(a)
        a[0] = 5
        t.add_(1)
        assert a.tolist() == t.tolist() == [6, 2, 3]
        assert t.dtype is fb.int64

    def test_numpy_shares_memory(self):
        t = fb.zeros(2)
        t.numpy()[0] = 1
        assert t.tolist() == [1.0, 0.0]

    def test_numpy_of_a_tensor_that_requires_grad(self):
        with pytest.raises(
            RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad.*detach\(\)"
        ):
            fb.ones(1, requires_grad=True).numpy()
        assert fb.ones(1, requires_grad=True).numpy(force=True).tolist() == [1.0]

    def test_array_functions_and_mixed_arithmetic(self):
        t = fb.tensor([1.0, 4.0])
        assert np.array(t).tolist() == [1.0, 4.0]
        assert np.sum(t.numpy()) == 5.0
        assert (t + np.array([1.0, 1.0], np.float32)).tolist() == [2.0, 5.0]
        assert (t * np.float64(2)).dtype is fb.float32

    def test_dlpack_both_ways(self):
        a = np.arange(3.0)
        t = fb.from_dlpack(a)
        assert np.shares_memory(t.numpy(), a)
        assert np.from_dlpack(fb.ones(2)).tolist() == [1.0, 1.0]

    def test_negative_strides_and_other_types(self):
        with pytest.raises(ValueError, match=r"negative.*array.copy\(\)"):
            fb.from_numpy(np.arange(3)[::-1])
        with pytest.raises(TypeError, match=r"expected np.ndarray \(got list\)"):
            fb.from_numpy([1])

    def test_as_tensor(self):
        a = np.zeros(2, np.float32)
        assert np.shares_memory(fb.as_tensor(a).numpy(), a)
        t = fb.ones(2)
        assert fb.as_tensor(t) is t
        assert fb.as_tensor(t, dtype=fb.int64).dtype is fb.int64


class TestFilled:
    def test_shapes_as_ints_or_sequences(self):
        assert (
            fb.zeros(2, 3).shape
            == fb.zeros((2, 3)).shape
            == fb.zeros([2, 3]).shape
            == fb.zeros(fb.Size([2, 3])).shape
        )
        assert fb.ones(()).shape == ()
        assert fb.empty(0).numel() == 0

    def test_values_and_dtypes(self):
        assert fb.full((2,), 7).dtype is fb.int64
        assert fb.full((), 0.5).item() == 0.5
        assert fb.full((2,), True).dtype is fb.bool
        assert fb.zeros(1, dtype=fb.int8).dtype is fb.int8
        assert fb.eye(2, 3).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]

    def test_likes_and_news(self):
        x = fb.zeros(2, 3, dtype=fb.float64)
        for made in (
            fb.ones_like(x),
            fb.zeros_like(x),
            fb.full_like(x, 2),
            fb.empty_like(x),
            fb.rand_like(x),
        ):
            assert made.shape == (2, 3)
            assert made.dtype is fb.float64
        assert fb.ones_like(x, dtype=fb.int64).dtype is fb.int64
        assert (
            x.new_zeros(4).dtype
            is x.new_tensor([1]).dtype
            is x.new_full((1,), 2).dtype
            is fb.float64
        )

    def test_mistakes(self):
        with pytest.raises(
            RuntimeError, match="zeros: Trying to create tensor with negative dimension -1"
        ):
            fb.zeros(2, -1)
        with pytest.raises(
            TypeError, match="zeros: size must be ints or a sequence of ints, got 1.5"
        ):
            fb.zeros(2, 1.5)


class TestRanges:
    def test_arange(self):
        assert fb.arange(0, 10, 2).tolist() == [0, 2, 4, 6, 8]
        assert fb.arange(3).dtype is fb.int64
        assert fb.arange(0, 1, 0.25).tolist() == [0.0, 0.25, 0.5, 0.75]
        assert fb.arange(5, 0, -2).tolist() == [5, 3, 1]
        assert fb.arange(3, dtype=fb.float64).dtype is fb.float64
        assert fb.arange(2, 2).shape == (0,)

    def test_linspace_has_exact_ends(self):
        for d in (fb.float32, fb.float64):
            x = fb.linspace(-np.pi, np.pi, 2000, dtype=d).numpy()
            assert x[0] == d.numpy.type(-np.pi)
            assert x[-1] == d.numpy.type(np.pi)
            assert np.allclose(x, np.linspace(-np.pi, np.pi, 2000), atol=1e-6)
        assert fb.linspace(3, 9, 1).tolist() == [3.0]
        assert fb.linspace(0, 1, 0).shape == (0,)
        assert fb.linspace(0, 10, 5, dtype=fb.int64).tolist() == [0, 2, 5, 7, 10]

    def test_logspace_and_meshgrid(self):
        assert fb.logspace(0, 2, 3).tolist() == [1.0, 10.0, 100.0]
        x, y = fb.meshgrid(fb.tensor([1, 2]), fb.tensor([3, 4, 5]), indexing="ij")
        assert x.tolist() == [[1, 1, 1], [2, 2, 2]]
        assert y.tolist() == [[3, 4, 5], [3, 4, 5]]
        x, _ = fb.meshgrid(fb.tensor([1, 2]), fb.tensor([3, 4, 5]), indexing="xy")
        assert x.shape == (3, 2)

    def test_mistakes(self):
        with pytest.raises(RuntimeError, match="step must be nonzero"):
            fb.arange(0, 1, 0)
        with pytest.raises(RuntimeError, match="inconsistent with step sign"):
            fb.arange(0, -1)
        with pytest.raises(RuntimeError, match="number of steps must be non-negative"):
            fb.linspace(0, 1, -1)
        with pytest.raises(TypeError, match='indexing must be one of "xy" or "ij"'):
            fb.meshgrid(fb.ones(1), indexing="yx")
        with pytest.raises(RuntimeError, match="meshgrid: expects 0-d or 1-d tensors"):
            fb.meshgrid(fb.ones(1, 1))
