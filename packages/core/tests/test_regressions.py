"""Programs that once went wrong, found by comparing random programs with PyTorch."""

import copy
import gc
import pickle
import threading
import warnings

import pytest

import flambeau as fb
from flambeau.autograd import grad


def ones(*shape):
    return fb.ones(*shape, requires_grad=True)


class TestInPlace:
    @pytest.mark.parametrize("power", [lambda x: x**2, lambda x: x**3, lambda x: x**0.5])
    def test_result_of_a_power_may_be_changed(self, power):
        """The output is saved for the exponent's derivative only."""
        x = ones(3)
        y = power(x)
        y += 1
        y[0] = 5
        expected = power(fb.ones(3) + 1e-3)[0].item() - power(fb.ones(3) - 1e-3)[0].item()
        y.sum().backward()
        assert x.grad.tolist() == pytest.approx([0, expected / 2e-3, expected / 2e-3], rel=1e-3)

    def test_exponents_derivative_still_watches_the_result(self):
        e = ones(3)
        y = fb.full((3,), 2.0) ** e
        y += 1
        with pytest.raises(fb.errors.InplaceModifiedError, match="PowBackward0"):
            y.sum().backward()

    def test_copy_of_a_leaf_is_no_leaf(self):
        x, b = ones(3), fb.zeros(3)
        b.copy_(x)
        assert not b.is_leaf
        assert b.grad_fn.name() == "CopyBackwards"
        b.mul_(2)
        b.sum().backward()
        assert x.grad.tolist() == [2.0] * 3

    def test_copy_has_a_gradient_of_its_own(self):
        x, b = ones(3), fb.zeros(3)
        y = x * 1
        b.copy_(y)
        b.retain_grad()
        (b * 2 + y).sum().backward()
        assert b.grad.tolist() == [2.0] * 3
        assert x.grad.tolist() == [3.0] * 3

    def test_retained_gradient_is_that_of_the_changed_tensor(self):
        x = ones(3)
        y = x * 2
        y.retain_grad()
        y.mul_(3)
        y[0] = 3
        (y * y).sum().backward()
        assert y.grad.tolist() == [6.0, 12.0, 12.0]
        assert x.grad.tolist() == [0.0, 72.0, 72.0]

    def test_view_of_a_leaf_that_is_itself_a_view(self):
        x = fb.zeros(6).reshape(2, 3).requires_grad_()
        with pytest.raises(fb.errors.GradError, match="a view of a leaf Variable"):
            x[0] = 1

    def test_reshape_that_copied_is_no_view(self):
        y = fb.arange(6.0).view(2, 3).t().reshape(-1)
        assert y._base is None
        y.detach_()

    @pytest.mark.parametrize(
        "view",
        [
            lambda b: b.t().view(-1)[1:3],
            lambda b: b[1],
            lambda b: b.t().reshape(3, 2)[:2],
            lambda b: b.diagonal(),
        ],
    )
    def test_view_of_a_result_that_does_not_lie_row_by_row(self, view):
        """The gradient is laid out as the base is, or the same view of it would not exist."""
        x = fb.arange(6.0, requires_grad=True)
        b = x.view(2, 3).t() * 1
        view(b).mul_(3)
        (b * b).sum().backward()
        factor = fb.ones(2, 3).t() * 1
        view(factor).fill_(9.0)
        assert x.grad.tolist() == (2 * factor.t().reshape(-1) * fb.arange(6.0)).tolist()

    def test_gradient_that_does_not_lie_row_by_row(self):
        x = fb.arange(4.0, requires_grad=True)
        base = x.view(2, 2) * 1
        other, flat = base.t(), base.view(-1)
        flat.mul_(2)
        other.sum().backward()
        assert x.grad.tolist() == [2.0] * 4


class TestLeaves:
    def test_leaf_that_was_switched_off_gets_no_gradient(self):
        x = ones(3)
        y = (x * 2).sum()
        x.requires_grad_(False)
        y.backward()
        assert x.grad is None

    def test_leaf_that_was_switched_off_and_on(self):
        x = ones(3)
        x.register_hook(lambda g: g * 5)
        y = (x * 2).sum()
        x.requires_grad_(False)
        x.requires_grad_(True)
        assert grad(y, x)[0].tolist() == [10.0] * 3

    def test_data_replaced_while_switched_off(self):
        x = ones(3)
        x.requires_grad_(False)
        x.data = fb.zeros(2, dtype=fb.float64)
        x.requires_grad_(True)
        (x * fb.ones(4, 2, dtype=fb.float64)).sum().backward()
        assert x.grad.shape == (2,)
        assert x.grad.dtype is fb.float64

    def test_gradient_seen_by_a_hook_is_not_added_to_later(self):
        seen = []
        x = ones(3)
        for _ in range(2):
            y = x + 0
            y.register_hook(seen.append)
            y.sum().backward()
        assert seen[0].tolist() == [1.0] * 3

    def test_retained_gradient_is_not_the_leafs(self):
        x = ones(3)
        y = x + 0
        y.retain_grad()
        y.sum().backward()
        x.grad.zero_()
        assert y.grad.tolist() == [1.0] * 3

    def test_gradient_returned_by_a_function_is_not_taken_over(self):
        kept = fb.ones(2)

        class Constant(fb.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, g):
                return kept

        x = ones(2)
        Constant.apply(x).sum().backward()
        x.grad.zero_()
        assert kept.tolist() == [1.0, 1.0]


class TestTravel:
    def test_deepcopy_takes_attributes_along(self):
        x = ones(3)
        x.note = [1]
        (x * 2).sum().backward()
        y = copy.deepcopy(x)
        assert y.note == [1]
        assert y.note is not x.note
        assert y.grad.tolist() == [2.0] * 3

    def test_pickle_leaves_the_gradient_behind(self):
        x = ones(3)
        x.note = "kept"
        (x * 2).sum().backward()
        y = pickle.loads(pickle.dumps(x))
        assert y.grad is None
        assert y.requires_grad
        assert y.note == "kept"

    def test_pickle_of_a_result_keeps_the_values_alone(self):
        loss = (ones(3) * 2).sum()
        back = pickle.loads(pickle.dumps({"loss": loss}))["loss"]
        assert back.item() == 6.0
        assert back.is_leaf


class TestOperators:
    @pytest.mark.parametrize("other", [None, "a", [1, 1], {}, object()])
    def test_equality_with_what_is_no_tensor(self, other):
        x = fb.ones(2)
        assert (x == other) is False
        assert (x != other) is True

    def test_equality_still_explains_shapes(self):
        with pytest.raises(fb.errors.ShapeError, match="eq: the size of tensor a"):
            fb.ones(2) == fb.ones(3)  # noqa: B015

    @pytest.mark.parametrize(
        ("python", "expected"),
        [(float, fb.float64), (int, fb.int64), (bool, fb.bool), (complex, fb.complex128)],
    )
    def test_python_types_as_dtypes(self, python, expected):
        assert fb.zeros(2, dtype=python).dtype is expected
        assert fb.tensor([1], dtype=python).dtype is expected
        assert fb.ones(2).to(python).dtype is expected
        assert fb.ones(2, dtype=fb.int64).sum(dtype=python).dtype is expected

    def test_flip_of_a_0d_tensor_can_be_written(self):
        x = fb.tensor(-1.0).flip(0)
        x.relu_()
        assert x.tolist() == 0.0

    def test_movedim_of_a_0d_tensor(self):
        assert fb.tensor(1.0).movedim(0, -1).shape == ()

    def test_as_strided_of_strided_memory_refuses_a_gradient(self):
        x = fb.ones(2, 3, requires_grad=True)
        y = x.t().as_strided((2,), (2,))
        with pytest.raises(fb.errors.GradError, match="the gradient needs a contiguous input and"):
            y.sum().backward()

    def test_as_strided_beyond_a_view_refuses_a_gradient(self):
        x = fb.ones(4, requires_grad=True)
        y = x[0].as_strided((2, 2), (1, 1))
        with pytest.raises(fb.errors.GradError, match="positions within it"):
            y.sum().backward()

    def test_ravel_of_strided_memory_is_a_copy(self):
        x = fb.zeros(2, 3)
        x[:, 1].ravel().fill_(1)
        assert x.sum() == 0


class TestMemory:
    @pytest.mark.parametrize("outputs", [1, 2])
    def test_function_that_saves_its_output_and_is_never_walked(self, outputs):
        class Exp(fb.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(x, y)
                return y if outputs == 1 else (y, y + 1)

            @staticmethod
            def backward(ctx, g, *more):
                _, y = ctx.saved_tensors
                return g * y

        def alive():
            return sum(isinstance(o, fb.Tensor | fb.autograd.node.Node) for o in gc.get_objects())

        x = ones(2)
        gc.collect()
        gc.disable()
        try:
            before = alive()
            for _ in range(5):
                Exp.apply(x)
            assert alive() == before
        finally:
            gc.enable()

    def test_saved_output_is_differentiable_after_its_tensor_is_gone(self):
        class Pair(fb.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                y, z = x * x * x, x.exp()
                ctx.save_for_backward(x, z)
                return y, z

            @staticmethod
            def backward(ctx, gy, gz):
                x, z = ctx.saved_tensors
                return gy * 3 * x * x + z * gy * 0 + gz * z + z

        x = fb.tensor(0.5, requires_grad=True)
        first = grad(Pair.apply(x)[0], x, create_graph=True)[0]
        assert first.item() == pytest.approx(3 * 0.25 + 1.6487212, rel=1e-6)
        second = grad(first, x)[0]  # d/dx 3x^2 = 6x, and z's own backward: z + z
        assert second.item() == pytest.approx(6 * 0.5 + 2 * 1.6487212, rel=1e-6)


class TestThreads:
    def test_first_computation_in_a_thread_is_silent(self):
        found = []

        def compute():
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    found.append((fb.tensor([1.0, 0.0]) / fb.tensor([0.0, 0.0])).tolist()[0])
                except RuntimeWarning as warning:
                    found.append(warning)

        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
        assert found == [float("inf")]

    def test_two_threads_train_at_once(self):
        def train(factor, losses):
            w = fb.zeros(3, requires_grad=True)
            x = fb.arange(12.0).reshape(4, 3) * factor / 10
            for _ in range(50):
                loss = ((x @ w - 1) ** 2).mean()
                loss.backward()
                with fb.no_grad():
                    w -= 0.1 * w.grad
                w.grad = None
            losses[factor] = loss.item()

        alone, together = {}, {}
        for factor in (0.5, 0.75):
            train(factor, alone)
        threads = [threading.Thread(target=train, args=(f, together)) for f in alone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert together == alone
