"""Tensors of given strides, tensors that turn into views, copies of views, subclasses."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck
from flambeau.errors import ArgumentError, GradError, IndexRangeError, ShapeError


class TestGivenStrides:
    @pytest.mark.parametrize(
        ("size", "stride"),
        [((2, 3), (1, 2)), ((2, 3), (7, 2)), ((3,), (0,)), ((), ()), ((0, 2), (1, 1))],
    )
    def test_strides(self, size, stride):
        x = fb.empty_strided(size, stride, dtype=fb.int64)
        assert x.shape == size and x.stride() == stride and x.dtype is fb.int64
        assert x.untyped_storage().nbytes() == 8 * (
            0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        )

    def test_it_can_be_written(self):
        x = fb.empty_strided((2, 3), (1, 2))
        x.copy_(fb.arange(6.0).reshape(2, 3))
        assert x.storage().tolist() == [0, 3, 1, 4, 2, 5]
        assert fb.empty_strided((2,), (1,), requires_grad=True).requires_grad

    def test_like_another(self):
        x = fb.ones(2, dtype=fb.int16)
        y = x.new_empty_strided((2, 3), (1, 2))
        assert y.dtype is fb.int16 and y.stride() == (1, 2)
        assert x.new_empty_strided((2,), (1,), dtype=fb.float64).dtype is fb.float64

    def test_by_the_order_in_memory(self):
        assert fb.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == (3, 1, 6)
        assert fb.empty_permuted((2, 3, 4), (0, 1, 2)).is_contiguous()

    def test_refusals(self):
        with pytest.raises(ShapeError, match=r"dimensionality of sizes \(2\) must match .* \(1\)"):
            fb.empty_strided((2, 3), (1,))
        with pytest.raises(ShapeError, match=r"strides must not be negative, got \[-1, 2\]"):
            fb.empty_strided((2, 3), (-1, 2))
        with pytest.raises(ShapeError, match="negative dimension -3"):
            fb.empty_strided((2, -3), (1, 2))
        with pytest.raises(ShapeError, match="physical_layout must name each of the 2 dimensions"):
            fb.empty_permuted((2, 3), (0, 0))


class TestAsStridedInPlace:
    def test_it_becomes_the_view(self):
        x = fb.arange(6.0)
        assert x.as_strided_((2, 2), (1, 2), 1) is x
        assert x.tolist() == [[1, 3], [2, 4]]
        assert fb.as_strided_(fb.arange(6.0), (2,), (3,)).tolist() == [0, 3]

    def test_with_a_gradient(self):
        w = fb.arange(4.0).requires_grad_()
        y = (w * 2).as_strided_((2,), (2,))
        y.sum().backward()
        assert y.tolist() == [0, 4] and w.grad.tolist() == [2, 0, 2, 0]

    def test_refused_for_a_leaf(self):
        with pytest.raises(GradError, match="as_strided_: a leaf Variable that requires grad"):
            fb.ones(4, requires_grad=True).as_strided_((2,), (1,))


class TestCopies:
    def test_narrow_copy(self):
        x = fb.arange(12).reshape(3, 4)
        y = x.narrow_copy(1, 1, 2)
        assert (
            y.tolist() == [[1, 2], [5, 6], [9, 10]] and y.untyped_storage() != x.untyped_storage()
        )
        out = fb.empty(0, dtype=fb.int64)
        assert fb.narrow_copy(x, 0, 0, 1, out=out) is out and out.tolist() == [[0, 1, 2, 3]]
        with pytest.raises(IndexRangeError, match="exceeds dimension size"):
            fb.narrow_copy(x, 0, 2, 2)

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("alias", ()), ("as_strided", ((2, 2), (4, 1))), ("detach", ()), ("diagonal", (1,)),
            ("expand", ((2, 3, 4),)), ("permute", ((1, 0),)), ("select", (0, 1)), ("split", (2,)),
            ("split_with_sizes", ((1, 2),)), ("squeeze", ()), ("t", ()), ("transpose", (0, 1)), ("unbind", (1,)),
            ("unfold", (1, 2, 1)), ("unsqueeze", (0,)), ("view", ((4, 3),)),
        ],
    )  # fmt: skip
    def test_what_a_view_gives_as_a_copy(self, name, args):
        x = fb.arange(12.0).reshape(3, 4)
        expected = x if name == "alias" else getattr(x, name)(*args)
        found = getattr(fb, f"{name}_copy")(x, *args)
        for a, b in zip(_all(expected), _all(found), strict=True):
            assert a.tolist() == b.tolist() and b.is_contiguous()
            assert b.untyped_storage() != x.untyped_storage()
        outs = [fb.empty(0) for _ in _all(expected)]
        given = outs if isinstance(expected, tuple) else outs[0]
        getattr(fb, f"{name}_copy")(x, *args, out=given)
        assert [o.tolist() for o in outs] == [a.tolist() for a in _all(expected)]

    def test_complex_numbers(self):
        z = fb.tensor([[1.0, 2.0]])
        assert fb.view_as_complex_copy(z).tolist() == [1 + 2j]
        assert fb.view_as_real_copy(fb.tensor([1 + 2j])).tolist() == [[1.0, 2.0]]

    def test_gradients(self):
        x = fb.rand(3, 4, dtype=fb.float64).requires_grad_()
        assert gradcheck(lambda x: fb.narrow_copy(x, 1, 1, 2), (x,))
        assert gradcheck(lambda x: fb.unfold_copy(x, 1, 2, 1), (x,))


def _all(value):
    return value if isinstance(value, tuple) else (value,)


def test_is_same_size():
    assert fb.ones(2, 1).is_same_size(fb.zeros(2, 1, dtype=fb.int64))
    assert fb.is_same_size(fb.ones(2), fb.ones(2, 1)) is False


class Marked(fb.Tensor):
    """A subclass."""


class TestSubclasses:
    def test_the_same_memory_and_history(self):
        w = fb.ones(2, requires_grad=True)
        y = w.as_subclass(Marked)
        assert type(y) is Marked and y.data_ptr() == w.data_ptr() and y.requires_grad
        (y * fb.tensor([2.0, 3.0])).sum().backward()
        assert w.grad.tolist() == [2, 3]

    def test_changes_in_place_reach_both(self):
        x = fb.zeros(2)
        y = x.as_subclass(Marked)
        y += 1
        assert x.tolist() == [1, 1] and type(y) is Marked
        w = fb.ones(2, requires_grad=True)
        base = w * 2
        y = base.as_subclass(Marked)
        base.mul_(3)
        y.sum().backward()
        assert w.grad.tolist() == [6, 6]

    def test_no_subclass(self):
        with pytest.raises(ArgumentError, match="as_subclass: cls must be a class that inherits"):
            fb.ones(2).as_subclass(int)
        with pytest.raises(ArgumentError, match="as_subclass: cls must be a class that inherits"):
            fb.ones(2).as_subclass(np.ones(1))


class TestResize:
    def test_smaller_and_back(self):
        x = fb.arange(6.0)
        address = x.data_ptr()
        assert x.resize_(2, 2) is x
        assert x.tolist() == [[0, 1], [2, 3]] and x.stride() == (2, 1)
        assert x.resize_((6,)).tolist() == [0, 1, 2, 3, 4, 5] and x.data_ptr() == address

    def test_larger_keeps_the_elements(self):
        x = fb.tensor([1, 2, 3])
        x.resize_(2, 2)
        assert x.shape == (2, 2) and x.flatten()[:3].tolist() == [1, 2, 3] and x.is_contiguous()
        assert x.dtype is fb.int64

    def test_memory_order_counts(self):
        x = fb.arange(6).reshape(2, 3).t()
        assert x.resize_(6).tolist() == [0, 1, 2, 3, 4, 5]
        x = fb.arange(6).reshape(2, 3).t()
        assert x.resize_(7)[:6].tolist() == [0, 1, 2, 3, 4, 5]

    def test_a_view_starts_where_it_did(self):
        x = fb.arange(6)
        part = x[2:4]
        assert part.resize_(4).tolist() == [2, 3, 4, 5] and part.storage_offset() == 2
        part[0] = 9
        assert x[2] == 9
        assert part.resize_(5)[:4].tolist() == [9, 3, 4, 5]

    def test_from_and_to_nothing(self):
        assert fb.empty(0).resize_(2, 3).shape == (2, 3)
        assert fb.ones(3).resize_(0).shape == (0,)
        assert fb.tensor(5.0).resize_(1).tolist() == [5]

    def test_as_another(self):
        x = fb.arange(4)
        assert x.resize_as_(fb.ones(2, 2)) is x and x.shape == (2, 2)
        assert fb.resize_as_(fb.arange(4), fb.ones(2)).tolist() == [0, 1]

    def test_refusals(self):
        message = r"resize_: cannot resize variables that require grad, got \(2,\) float32 cpu"
        with pytest.raises(GradError, match=message):
            fb.ones(2, requires_grad=True).resize_(3)
        with pytest.raises(GradError, match=message):
            (fb.ones(2, requires_grad=True) * 2).resize_as_(fb.ones(3))
        with pytest.raises(ShapeError, match="resize_: Trying to create tensor with negative"):
            fb.ones(2).resize_(3, -1)
