"""In-place updates: versions, aliasing, rebased histories, refusals."""

import pytest

import flambeau as fb
from flambeau.autograd import gradcheck


def leaf(*values):
    return fb.tensor(values, dtype=fb.float32, requires_grad=True)


class TestMemory:
    def test_views_and_bases_share_memory(self):
        x = fb.zeros(2, 3)
        row = x.select(0, 1)
        row.add_(1)
        x.mul_(2)
        assert row.tolist() == [2.0, 2.0, 2.0]
        assert x.tolist() == [[0.0] * 3, [2.0] * 3]

    def test_augmented_assignment_keeps_the_object(self):
        x = y = fb.ones(2)
        x += 1
        x -= 0.5
        x *= 4
        x /= 2
        x **= 2
        assert x is y
        assert y.tolist() == [9.0, 9.0]

    def test_zero_dim(self):
        x = fb.tensor(2.0)
        y = x
        x -= 0.5 * fb.tensor(1.0)
        assert y.item() == 1.5

    def test_overlapping_source_and_target(self):
        x = fb.arange(5.0)
        x.narrow(0, 1, 4).copy_(x.narrow(0, 0, 4))
        assert x.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0]

    def test_every_write_bumps_the_shared_version(self):
        x = fb.ones(3)
        assert x._version == 0
        view = x.narrow(0, 0, 2)
        view.add_(1)
        x.copy_(fb.zeros(3))
        assert x._version == view._version == x.detach()._version == 2

    def test_data_is_not_watched(self):
        x = leaf(1.0, 2.0)
        y = x * x
        x.data.mul_(2)
        y.sum().backward()
        assert x._version == 0
        assert x.grad.tolist() == [4.0, 8.0]

    def test_broadcast_source(self):
        x = fb.zeros(2, 2)
        x.copy_(fb.tensor([1.0, 2.0]))
        x.add_(fb.tensor([[1.0], [10.0]]))
        assert x.tolist() == [[2.0, 3.0], [11.0, 12.0]]


class TestHistory:
    def test_non_leaf(self):
        x = leaf(1.0, 2.0)
        y = x * 3
        y.mul_(2).add_(1)
        y.sum().backward()
        assert x.grad.tolist() == [6.0, 6.0]

    def test_op_that_needs_its_old_input(self):
        x = leaf(2.0, 3.0)
        w = leaf(5.0, 7.0)
        y = x * 1
        y.mul_(w)
        y.sum().backward()
        assert x.grad.tolist() == [5.0, 7.0]
        assert w.grad.tolist() == [2.0, 3.0]

    def test_op_that_needs_its_output(self):
        x = leaf(0.5)
        y = x * 1
        y.exp_()
        y.sum().backward()
        assert x.grad.item() == pytest.approx(1.6487213)

    def test_view_of_a_base(self):
        x = leaf(1.0, 2.0, 3.0)
        base = x * 1
        base.narrow(0, 0, 2).mul_(10)
        assert base.grad_fn.name() == "CopySlices"
        base.sum().backward()
        assert x.grad.tolist() == [10.0, 10.0, 1.0]

    def test_view_of_a_view_and_other_views_are_renewed(self):
        x = fb.ones(2, 3, requires_grad=True)
        base = x * 1
        row = base.select(0, 0)
        corner = row.narrow(0, 0, 1)
        other = base.select(1, 0)
        corner.mul_(5)
        row.sum().backward(retain_graph=True)
        assert x.grad.tolist() == [[5.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
        x.grad = None
        other.sum().backward()
        assert x.grad.tolist() == [[5.0, 0.0, 0.0], [1.0, 0.0, 0.0]]

    def test_base_without_history_gets_one_through_its_view(self):
        x = leaf(2.0, 3.0)
        table = fb.zeros(3)
        table.narrow(0, 1, 2).copy_(x * 2)
        assert table.requires_grad
        (table * fb.tensor([1.0, 10.0, 100.0])).sum().backward()
        assert x.grad.tolist() == [20.0, 200.0]

    def test_change_of_the_base_reaches_older_views(self):
        x = leaf(2.0, 2.0)
        base = fb.ones(2)
        view = base.narrow(0, 0, 1)
        base.mul_(x)
        assert view.requires_grad
        view.backward()
        assert x.grad.tolist() == [1.0, 0.0]

    def test_constants_cut_the_gradient(self):
        x = leaf(1.0, 2.0)
        y = x * 2
        y.copy_(fb.zeros(2))
        assert y.requires_grad
        y.sum().backward()
        assert x.grad is None or x.grad.tolist() == [0.0, 0.0]

    def test_mixed_dtype_source(self):
        x = fb.tensor([1.0, 2.0], dtype=fb.float64, requires_grad=True)
        y = fb.zeros(2)
        y.add_(x)
        y.sum().backward()
        assert y.dtype is fb.float32
        assert x.grad.dtype is fb.float64
        assert x.grad.tolist() == [1.0, 1.0]

    def test_derivatives_of_a_chain_of_updates(self):
        def fn(x, y):
            z = x * 2
            z.narrow(0, 0, 1).mul_(y.narrow(0, 1, 1))
            z.t().exp_()
            z.add_(x)
            return z * y

        x = fb.tensor([0.3, -0.4], dtype=fb.float64, requires_grad=True)
        y = fb.tensor([0.5, 0.7], dtype=fb.float64, requires_grad=True)
        assert gradcheck(fn, (x, y))


class TestRefusals:
    def test_leaf(self):
        x = leaf(1.0)
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad.*no_grad"):
            x.add_(1)
        with pytest.raises(RuntimeError, match="a leaf Variable"):
            x -= 1
        with fb.no_grad():
            x -= 1
        assert x.item() == 0.0
        assert x.is_leaf

    def test_view_of_a_leaf(self):
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
            x.narrow(0, 0, 1).zero_()
        assert x.tolist() == [1.0, 2.0]

    def test_saved_tensor_changed(self):
        x = leaf(1.0, 2.0)
        y = x * 1
        z = y * y
        y.add_(1)
        with pytest.raises(
            RuntimeError,
            match=r"MulBackward0: one of the variables.*at version 1, expected version 0",
        ):
            z.sum().backward()

    def test_saved_tensor_changed_through_a_view(self):
        x = leaf(1.0, 2.0)
        y = (x * 1).exp()
        y.narrow(0, 0, 1).detach().mul_(0)
        with pytest.raises(RuntimeError, match="ExpBackward0: one of the variables needed"):
            y.sum().backward()

    def test_result_of_a_higher_category(self):
        x = fb.tensor([1, 2])
        with pytest.raises(
            RuntimeError, match="div_: result type float32 can't be cast to .* int64"
        ):
            x /= 2
        with pytest.raises(RuntimeError, match="add_: result type float32 can't be cast"):
            x.add_(1.5)
        assert x.tolist() == [1, 2]
        assert x._version == 0

    def test_result_of_another_shape(self):
        x = fb.zeros(2)
        with pytest.raises(
            RuntimeError,
            match=r"add_: output with shape \[2\] doesn't match the broadcast shape \[3, 2\]",
        ):
            x.add_(fb.ones(3, 2))
        assert x.tolist() == [0.0, 0.0]

    def test_expanded_memory(self):
        x = fb.zeros(1).expand(3)
        with pytest.raises(
            RuntimeError,
            match="more than one element of the written-to tensor refers to a single memory",
        ):
            x.add_(1)

    def test_detach_of_a_view(self):
        y = (leaf(1.0, 2.0) * 1).narrow(0, 0, 1)
        with pytest.raises(RuntimeError, match="Can't detach views in-place"):
            y.detach_()


class TestOut:
    def test_writes_into_the_tensor(self):
        out = fb.zeros(2)
        got = fb.add(fb.ones(2), 1, out=out)
        assert got is out
        assert out.tolist() == [2.0, 2.0]
        assert out._version == 1

    def test_resizes_an_empty_one(self):
        out = fb.empty(0)
        fb.mul(fb.ones(3), 2, out=out)
        assert out.tolist() == [2.0, 2.0, 2.0]

    def test_refusals(self):
        with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
            fb.mul(leaf(1.0), 2, out=fb.zeros(1))
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type int64"):
            fb.mul(fb.ones(1), 2, out=fb.tensor([1]))
        with pytest.raises(RuntimeError, match=r"out=: needs shape \[2\]"):
            fb.mul(fb.ones(2), 2, out=fb.zeros(3))
        with pytest.raises(TypeError, match="out= must be a Tensor, got list"):
            fb.mul(fb.ones(2), 2, out=[1])


def test_view_made_without_grad():
    x = leaf(1.0, 2.0)
    base = x * 1
    with fb.no_grad():
        view = base.narrow(0, 0, 1)
        view.add_(1)
    w = leaf(3.0)
    with pytest.raises(
        RuntimeError, match="mul_: a view was created in no_grad mode and is being modified"
    ):
        view.mul_(w)
    assert base.tolist() == [2.0, 2.0]
    plain = fb.zeros(2)
    with fb.no_grad():
        part = plain.narrow(0, 0, 1)
    part.add_(1)
    assert plain.tolist() == [1.0, 0.0]
