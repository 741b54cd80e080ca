"""x[key] and x[key] = value against NumPy, their gradients, and what a wrong key is told."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import (
    ArgumentError,
    DTypeError,
    GradError,
    IndexRangeError,
    InplaceModifiedError,
    ShapeError,
)

A = np.arange(60.0).reshape(3, 4, 5)
I, J = np.array([0, 2, -2]), np.array([1, -4, 3])
MASK = np.arange(12).reshape(3, 4) % 3 == 0

#: Keys on which PyTorch and NumPy agree.
KEYS = {
    "int": 1,
    "negative": -1,
    "ints": (0, 2),
    "slice": slice(1, 3),
    "negative bounds": (slice(-2, None), slice(None, -1)),
    "steps": (slice(None, None, 2), slice(1, None, 3)),
    "beyond": slice(-100, 100),
    "empty slice": slice(2, 1),
    "none": None,
    "nones": (None, 0, None),
    "ellipsis": ...,
    "ellipsis first": (..., 1),
    "ellipsis between": (0, ..., 1),
    "ellipsis and none": (..., None, 2),
    "empty tuple": (),
    "vector": I,
    "list": [2, 0],
    "range": range(2),
    "matrix of positions": np.array([[2, 0]]),
    "vector behind a slice": (slice(None), J),
    "two vectors": (I, J),
    "broadcast vectors": (I[:, None], J),
    "vectors apart": (I, slice(None), J),
    "vectors in the middle": (slice(None), J, I),
    "vector and none": (None, I, None),
    "slice then vector": (slice(1, 3), J),
    "mask": A > 30,
    "leading mask": MASK,
    "mask behind": (slice(None), np.arange(20).reshape(4, 5) % 2 == 0),
    "mask and vector": (MASK, np.array([0, 1, 2, 3])),
    "list of bools": [True, False, True],
    "true": True,
    "false": False,
    "no positions": np.zeros(0, np.int64),
}


def port(key):
    """Arrays in a key as tensors."""
    if isinstance(key, tuple):
        return tuple(port(k) for k in key)
    return fb.tensor(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("name", KEYS)
class TestKeys:
    def test_reads_what_numpy_reads(self, name):
        expected = A[tuple(KEYS[name]) if name == "range" else KEYS[name]]
        expected = A[[0, 1]] if name == "range" else expected
        for key in (port(KEYS[name]), KEYS[name]):
            found = fb.tensor(A)[key]
            assert found.shape == expected.shape
            assert np.array_equal(found.numpy(), expected)

    def test_derivatives(self, name):
        x = fb.tensor(A / 60, requires_grad=True)
        key = port(KEYS[name])
        if x[key].numel() == 0:
            return
        assert gradcheck(lambda x: x[key] ** 2, (x,))
        assert gradgradcheck(lambda x: x[key] ** 3, (x,), eps=1e-4)

    def test_writes_where_numpy_writes(self, name):
        key = [0, 1] if name == "range" else KEYS[name]
        expected = A.copy()
        shape = expected[key].shape
        for value in (-1.0, np.linspace(-2, -1, int(np.prod(shape))).reshape(shape)):
            expected[key] = value
            x = fb.tensor(A)
            x[port(KEYS[name])] = port(value)
            assert np.array_equal(x.numpy(), expected)

    def test_derivatives_of_writing(self, name):
        key = port(KEYS[name])
        x = fb.tensor(A / 60, requires_grad=True)
        v = fb.tensor(0.5, dtype=fb.float64, requires_grad=True)

        def put(x, v):
            y = x * 1
            y[key] = v
            return y**2

        assert gradcheck(put, (x, v))


class TestReading:
    def test_plain_keys_are_views(self):
        x = fb.zeros(3, 4)
        for key in (0, slice(1, 2), (slice(None), 1), None, ...):
            x.zero_()
            x[key].fill_(1)
            assert x.sum() > 0

    def test_an_int_is_taken_before_positions(self):
        """NumPy counts the int among the index arrays and moves the new dimension to the front."""
        x = fb.tensor(A)
        assert x[0, :, [0, 1]].shape == (4, 2)
        assert x[[0, 1], :, 0].shape == (2, 4)

    def test_zero_dim_tensors_are_ints(self):
        x = fb.tensor(A)
        assert np.array_equal(x[fb.tensor(1), fb.tensor(-1)].numpy(), A[1, -1])
        assert np.array_equal(x[fb.tensor(1) : fb.tensor(3)].numpy(), A[1:3])
        assert np.array_equal(x[np.int64(2)].numpy(), A[2])

    def test_a_list_of_sequences_means_a_tuple(self):
        assert np.array_equal(fb.tensor(A)[[[0, 1], [2, 3]]].numpy(), A[[0, 1], [2, 3]])

    def test_uint8_masks_warn(self):
        with pytest.warns(UserWarning, match="use a dtype bool instead"):
            assert fb.tensor([1, 2, 3])[fb.tensor([1, 0, 1], dtype=fb.uint8)].tolist() == [1, 3]

    def test_zero_dim_tensor(self):
        x = fb.tensor(2.0)
        assert x[...].item() == 2.0
        assert x[None].shape == (1,)
        assert x[True].tolist() == [2.0]
        assert x[fb.tensor(False)].shape == (0,)

    def test_narrow_integers_index(self):
        assert fb.tensor([1, 2, 3])[fb.tensor([2, 0], dtype=fb.int32)].tolist() == [3, 1]

    def test_repeated_positions_add_their_gradients(self):
        x = fb.zeros(3, requires_grad=True)
        x[[1, 1, 2]].backward(fb.tensor([1.0, 10.0, 100.0]))
        assert x.grad.tolist() == [0.0, 11.0, 100.0]

    def test_positions_changed_before_backward(self):
        x = fb.zeros(3, 3, requires_grad=True)
        i, j = fb.tensor([0, 1]), fb.tensor([1, 2])
        for y in (x[i], x[i, j]):
            i.add_(1)
            with pytest.raises(InplaceModifiedError, match="modified by an inplace operation"):
                y.sum().backward()

    def test_history_is_named_after_pytorchs(self):
        x = fb.zeros(3, 3, requires_grad=True)
        i = fb.tensor([0])
        assert x[i].grad_fn.name() == x[i, i].grad_fn.name() == "IndexBackward0"


class TestWrongKeys:
    @pytest.mark.parametrize(
        ("key", "match"),
        [
            (3, r"index 3 is out of bounds for dimension 0 with size 3"),
            ((0, -5), r"index -5 is out of bounds for dimension 1 with size 4"),
            ((0, 0, 0, 0), r"too many indices for tensor of dimension 3, got 4"),
            ((0, 0, ..., 0, 0), r"too many indices for tensor of dimension 3"),
            ([4], r"index 4 is out of bounds for dimension 0 with size 3"),
            (([0], slice(None), [9]), r"index 9 is out of bounds for dimension 1 with size 5"),
            (([0], [-9]), r"index -9 is out of bounds for dimension 1 with size 4"),
            (([0, 1], [0, 1, 2]), r"could not be broadcast together with shapes \[2\], \[3\]"),
            (0.5, r"only integers, slices .* are valid indices \(got float\)"),
            ({1}, r"are valid indices \(got set\)"),
            (
                fb.tensor([0.5]),
                r"must be long, int, byte or bool tensors, got \(1,\) float32 cpu. Hint",
            ),
            ([True, False], r"mask \[2\] at index 0 does not match .* \[3, 4, 5\] at index 0"),
            (
                (slice(None), np.ones((4, 4), bool)),
                r"mask \[4, 4\] at index 1 does not match .* \[3, 4, 5\] at index 2",
            ),
        ],
    )
    def test_index_errors(self, key, match):
        x = fb.tensor(A)
        with pytest.raises(IndexRangeError, match=match):
            x[key]
        with pytest.raises(IndexError, match=match):
            x[key] = 0

    def test_negative_steps(self):
        with pytest.raises(
            ValueError, match=r"step must be greater than zero.*Hint: flambeau.flip"
        ):
            fb.zeros(3)[::-1]

    def test_slice_bounds_that_are_no_integers(self):
        with pytest.raises(TypeError, match="slice indices must be integers"):
            fb.zeros(3)["a":]

    def test_zero_dim(self):
        with pytest.raises(
            IndexRangeError, match=r"invalid index of a 0-dim tensor. Use `tensor.item\(\)`"
        ):
            fb.tensor(1.0)[0]
        with pytest.raises(IndexRangeError, match=r"slice\(\) cannot be applied to a 0-dim tensor"):
            fb.tensor(1.0)[:]

    def test_nothing_to_take_from(self):
        with pytest.raises(
            IndexRangeError, match="index 0 is out of bounds for dimension 0 with size 0"
        ):
            fb.zeros(0, 3)[[0]]


class TestWriting:
    def test_numbers_take_the_dtype(self):
        x = fb.zeros(3, dtype=fb.int64)
        x[0], x[[1]], x[x == 0] = 2.7, -1.5, True
        assert x.tolist() == [2, -1, 1]

    def test_plain_keys_convert_tensors(self):
        x = fb.zeros(2, dtype=fb.int64)
        x[0] = fb.tensor(2.7)
        assert x.tolist() == [2, 0]

    def test_leading_dimensions_of_one_do_not_count(self):
        x = fb.zeros(2, 3)
        x[0] = fb.ones(1, 1, 3)
        x[[1]] = fb.ones(1, 1, 1, 3)
        assert x.tolist() == [[1.0] * 3] * 2

    def test_overlapping_memory(self):
        x = fb.arange(5)
        x[1:] = x[:-1]
        assert x.tolist() == [0, 0, 1, 2, 3]

    def test_writing_bumps_the_version(self):
        x = fb.zeros(3)
        y = x[1:]
        for key in (0, [0], x > 5):
            before = x._version
            x[key] = 1
            assert y._version == x._version == before + 1

    def test_through_a_view_of_a_view(self):
        x = fb.zeros(2, 3)
        x.t()[1:][[1], [0]] = 5
        assert x.tolist() == [[0, 0, 5], [0, 0, 0]]

    def test_history(self):
        x, v = fb.ones(3, requires_grad=True), fb.tensor(2.0, requires_grad=True)
        y = x * 3
        y[[0, 1]] = v
        (y * fb.tensor([1.0, 10.0, 100.0])).sum().backward()
        assert x.grad.tolist() == [0.0, 0.0, 300.0]
        assert v.grad.item() == 11.0

    @pytest.mark.parametrize("key", [0, [0], fb.tensor([True, False, False])], ids=str)
    def test_leaves(self, key):
        x = fb.zeros(3, requires_grad=True)
        with pytest.raises(GradError, match="leaf Variable that requires grad"):
            x[key] = 1.0
        with fb.no_grad():
            x[key] = 1.0
        assert x.tolist() == [1.0, 0.0, 0.0]

    def test_values_that_do_not_fit(self):
        x = fb.zeros(2, 3)
        with pytest.raises(ShapeError, match=r"shape \[3\] doesn't match the broadcast shape"):
            x[0] = fb.ones(2)
        with pytest.raises(
            ShapeError,
            match=r"of shape \[2\] cannot be broadcast to indexing result of shape \[1, 3\]",
        ):
            x[[0]] = fb.ones(2)
        with pytest.raises(
            DTypeError,
            match=r"source and destination dtypes match.*Hint: value.to\(flambeau.float32\)",
        ):
            x[[0]] = fb.ones(3, dtype=fb.float64)
        with pytest.raises(ArgumentError, match="can't assign a list to a float32 Tensor. Hint"):
            x[0] = [1.0, 2.0, 3.0]
        with pytest.raises(
            DTypeError, match="cannot be converted to type float32 without overflow, got 1j"
        ):
            x[0] = 1j


class TestIndexPut:
    def test_accumulate(self):
        i, j = fb.tensor([0, 0, 1]), fb.tensor([-1, 2, 0])
        x = fb.zeros(2, 3)
        v = fb.tensor([1.0, 10.0, 100.0])
        assert x.index_put((i, j), v, accumulate=True).tolist() == [[0, 0, 11], [100, 0, 0]]
        assert fb.index_put(x, [i], fb.tensor(1.0), True).tolist() == [[2.0] * 3, [1.0] * 3]
        assert x.index_put_((i,), fb.tensor(3.0)) is x
        assert x.tolist() == [[3.0] * 3] * 2

    def test_masks_and_dimensions_apart(self):
        x = fb.zeros(2, 3)
        assert x.index_put((fb.tensor([True, False]),), fb.tensor(1.0)).tolist() == [
            [1] * 3,
            [0] * 3,
        ]
        y = fb.zeros(2, 3, 4).index_put(
            (fb.tensor([1]), None, fb.tensor([2])), fb.tensor([1.0, 2.0, 3.0])
        )
        expected = np.zeros((2, 3, 4))
        expected[1, :, 2] = [1, 2, 3]
        assert np.array_equal(y.numpy(), expected)

    @pytest.mark.parametrize("accumulate", [False, True])
    def test_derivatives(self, accumulate):
        x = fb.tensor(A[0] / 60, requires_grad=True)
        v = fb.tensor([[0.5], [-0.5]], dtype=fb.float64, requires_grad=True)
        i = fb.tensor([0, 2])

        def put(x, v):
            return (
                fb.index_put(
                    x, (i[:, None], fb.tensor([1, 3, 3] if accumulate else [1, 3])), v, accumulate
                )
                ** 2
            )

        assert gradcheck(put, (x, v))
        assert gradgradcheck(put, (x, v))

    def test_wrong_arguments(self):
        x, i = fb.zeros(2, 3), fb.tensor([0])
        with pytest.raises(ArgumentError, match="must be tuple of Tensors, not Tensor"):
            x.index_put(i, fb.tensor(1.0))
        with pytest.raises(
            ArgumentError, match="expected Tensor as element 0 in argument 0, but got int"
        ):
            x.index_put((0,), fb.tensor(1.0))
        with pytest.raises(ArgumentError, match="argument 'values' must be Tensor, not float"):
            x.index_put((i,), 1.0)
        with pytest.raises(DTypeError, match="source and destination dtypes match"):
            x.index_put((i,), fb.tensor(1))
        with pytest.raises(IndexRangeError, match="too many indices for tensor of dimension 2"):
            x.index_put((i, i, i), fb.tensor(1.0))
        with pytest.raises(
            IndexRangeError, match="index 2 is out of bounds for dimension 0 with size 2"
        ):
            x.index_put((i + 2,), fb.tensor(1.0), accumulate=True)
        with pytest.raises(
            ShapeError,
            match=r"of shape \[2\] cannot be broadcast to indexing result of shape \[1, 3\]",
        ):
            x.index_put((i,), fb.ones(2), accumulate=True)
