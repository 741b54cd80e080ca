"""The tape: leaves, accumulation, freeing, hooks, modes, higher derivatives."""

import gc
import threading
import weakref

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import GradError


def leaf(*values, dtype=fb.float32):
    return fb.tensor(values if len(values) != 1 else values[0], dtype=dtype, requires_grad=True)


class TestBackward:
    def test_a_scalar_fills_the_leaves(self):
        x, y = leaf(2.0, 3.0), leaf(1.0, 2.0)
        (x.pow(2).sum() + (y * x).sum()).backward()
        assert x.grad.tolist() == [5.0, 8.0]
        assert y.grad.tolist() == [2.0, 3.0]

    def test_gradients_accumulate(self):
        x = leaf(3.0)
        for _ in range(3):
            (x * 2).backward()
        assert x.grad.item() == 6.0
        x.grad = None
        (x * 2).backward()
        assert x.grad.item() == 2.0

    def test_one_leaf_used_many_times_gets_the_sum(self):
        e = leaf(2.0)
        y = e
        for _ in range(4):
            y = y + e * 3
        y.backward()
        assert e.grad.item() == 13.0

    def test_broadcast_gradients_have_the_operand_shape(self):
        a, b, c = leaf(1.0), leaf(1.0, 2.0, 3.0), fb.ones(2, 1, requires_grad=True)
        (a * b * c).sum().backward()
        assert a.grad.shape == ()
        assert a.grad.item() == 12.0
        assert b.grad.tolist() == [2.0, 2.0, 2.0]
        assert c.grad.tolist() == [[6.0], [6.0]]

    def test_two_leaves_do_not_share_one_gradient(self):
        a, b = leaf(1.0, 1.0), leaf(1.0, 1.0)
        (a + b).sum().backward()
        a.grad.mul_(5)
        assert b.grad.tolist() == [1.0, 1.0]

    def test_the_given_gradient_stays_the_users(self):
        x = leaf(1.0, 2.0)
        v = fb.tensor([1.0, 10.0])
        (x * 1).backward(v)
        x.backward(v)
        x.grad.zero_()
        assert v.tolist() == [1.0, 10.0]

    def test_vector_needs_a_gradient(self):
        with pytest.raises(
            RuntimeError,
            match=r"grad can be implicitly created only for scalar outputs, got \(2,\)",
        ):
            (leaf(1.0, 2.0) * 2).backward()

    def test_gradient_of_another_shape(self):
        with pytest.raises(
            RuntimeError, match=r"Mismatch in shape: grad_output\[0\] has a shape of \[3\]"
        ):
            (leaf(1.0, 2.0) * 2).backward(fb.ones(3))

    def test_nothing_requires_grad(self):
        with pytest.raises(
            RuntimeError,
            match="does not require grad and does not have a grad_fn: no tensor it was",
        ):
            fb.ones(1).backward()
        with fb.no_grad(), pytest.raises(RuntimeError, match=r"switched off by no_grad\(\)"):
            (leaf(1.0) * 2).backward()

    def test_second_walk_needs_retain_graph(self):
        x = leaf(2.0)
        loss = x * x
        loss.backward(retain_graph=True)
        loss.backward()
        assert x.grad.item() == 8.0
        with pytest.raises(
            RuntimeError,
            match="Trying to backward through the graph a second time.*inside the loop",
        ):
            loss.backward()

    def test_graphs_that_saved_nothing_can_be_walked_again(self):
        x = leaf(1.0, 2.0)
        total = x.sum()
        total.backward()
        total.backward()
        assert x.grad.tolist() == [2.0, 2.0]

    def test_inputs_limits_what_is_filled(self):
        x, y = leaf(2.0), leaf(3.0)
        (x * y).backward(inputs=[x])
        assert x.grad.item() == 3.0
        assert y.grad is None

    def test_deep_graphs_are_walked_and_freed_without_recursion(self):
        x = leaf(1.0)
        y = x
        for _ in range(20_000):
            y = y + 1.0
        y.backward()
        del y
        assert x.grad.item() == 1.0

    def test_diamond_is_visited_once(self):
        calls = []
        x = leaf(2.0)
        shared = x * 3
        shared.register_hook(lambda g: calls.append(g.item()))
        (shared * 2 + shared * 5).backward()
        assert calls == [7.0]
        assert x.grad.item() == 21.0


class TestGrad:
    def test_returns_and_leaves_grad_alone(self):
        x = leaf(3.0)
        (g,) = fb.autograd.grad(x * x, x)
        assert g.item() == 6.0
        assert x.grad is None

    def test_of_an_intermediate_result(self):
        x = leaf(3.0)
        y = x * 2
        (g,) = fb.autograd.grad(y * y, y)
        assert g.item() == 12.0

    def test_unused_input(self):
        x, y = leaf(1.0), leaf(1.0)
        with pytest.raises(
            RuntimeError, match="appears to not have been used in the graph.*allow_unused=True"
        ):
            fb.autograd.grad(x * 2, (x, y))
        assert fb.autograd.grad(x * 2, (x, y), allow_unused=True)[1] is None
        assert fb.autograd.grad(x * 2, (x, y), materialize_grads=True)[1].item() == 0.0

    def test_input_without_grad(self):
        with pytest.raises(
            RuntimeError, match="One of the differentiated Tensors does not require grad"
        ):
            fb.autograd.grad(leaf(1.0) * 2, fb.ones(1))

    def test_second_derivative(self):
        x = leaf(2.0)
        (g,) = fb.autograd.grad(x**3, x, create_graph=True)
        assert g.requires_grad
        (h,) = fb.autograd.grad(g, x, create_graph=True)
        (third,) = fb.autograd.grad(h, x)
        assert (g.item(), h.item(), third.item()) == (12.0, 12.0, 6.0)

    def test_create_graph_through_backward(self):
        x = leaf(2.0)
        (x**3).backward(create_graph=True)
        x.grad.backward()
        assert x.grad.item() == 12.0 + 12.0


class TestModes:
    def test_no_grad_records_nothing(self):
        x = leaf(1.0)
        with fb.no_grad():
            y = x * 2
            with fb.enable_grad():
                z = x * 2
        assert not y.requires_grad
        assert z.requires_grad
        assert fb.is_grad_enabled()

    def test_as_decorators_and_generators(self):
        x = leaf(1.0)

        @fb.no_grad()
        def double():
            return x * 2

        @fb.no_grad
        def triple():
            return x * 3

        @fb.no_grad()
        def stream():
            while True:
                got = yield x * 2
                assert got is None or not (got * x).requires_grad

        it = stream()
        assert not next(it).requires_grad
        assert fb.is_grad_enabled()
        assert not it.send(x).requires_grad
        assert not double().requires_grad
        assert not triple().requires_grad

    def test_set_grad_enabled_acts_at_once(self):
        fb.set_grad_enabled(False)
        try:
            assert not (leaf(1.0) * 2).requires_grad
        finally:
            fb.set_grad_enabled(True)
        with fb.set_grad_enabled(False):
            assert not fb.is_grad_enabled()
        assert fb.is_grad_enabled()
        with pytest.raises(TypeError, match="mode must be a bool, got 1"):
            fb.set_grad_enabled(1)

    def test_inference_mode(self):
        with fb.inference_mode():
            assert fb.is_inference_mode_enabled()
            assert not (leaf(1.0) * 2).requires_grad
        with fb.inference_mode(False):
            assert (leaf(1.0) * 2).requires_grad
        assert not fb.is_inference_mode_enabled()

    def test_an_exception_restores_the_mode(self):
        with pytest.raises(KeyError), fb.no_grad():
            raise KeyError
        assert fb.is_grad_enabled()

    def test_each_thread_has_its_own(self):
        seen = []
        with fb.no_grad():
            thread = threading.Thread(target=lambda: seen.append(fb.is_grad_enabled()))
            thread.start()
            thread.join()
        assert seen == [True]


class TestHooks:
    def test_tensor_hook_replaces_the_gradient(self):
        x = leaf(1.0, 2.0)
        y = x * 2
        handle = y.register_hook(lambda g: g * 10)
        y.sum().backward()
        assert x.grad.tolist() == [20.0, 20.0]
        handle.remove()
        handle.remove()
        x.grad = None
        (x * 2).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]

    def test_leaf_hook_and_post_accumulate_hook(self):
        x = leaf(1.0)
        seen = []
        x.register_hook(lambda g: g * 3)
        x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.item()))
        (x * 2).backward()
        assert x.grad.item() == 6.0
        assert seen == [6.0]

    def test_retained_gradient_is_what_the_hooks_made(self):
        x = leaf(1.0)
        y = x * 2
        y.retain_grad()
        y.register_hook(lambda g: g * 10)
        (y * 1).backward()
        assert y.retains_grad
        assert y.grad.item() == 10.0
        assert x.grad.item() == 20.0

    def test_node_hooks(self):
        x = leaf(1.0)
        y = x * 2
        seen = []
        y.grad_fn.register_prehook(lambda gs: (gs[0] * 2,))
        y.grad_fn.register_hook(lambda ins, outs: seen.append((ins[0].item(), outs[0].item())))
        y.backward()
        assert seen == [(4.0, 2.0)]
        assert x.grad.item() == 4.0

    def test_wrong_results(self):
        y = leaf(1.0) * 2
        y.register_hook(lambda g: 3)
        with pytest.raises(TypeError, match="expected a Tensor, but the hook returned int"):
            y.backward()
        z = leaf(1.0) * 2
        z.register_hook(lambda g: fb.ones(3))
        with pytest.raises(RuntimeError, match="has changed the size of value"):
            z.backward()

    def test_hooks_need_a_gradient(self):
        with pytest.raises(RuntimeError, match="doesn't require gradient"):
            fb.ones(1).register_hook(print)
        with pytest.raises(RuntimeError, match="non-leaf"):
            (leaf(1.0) * 2).register_post_accumulate_grad_hook(print)
        with pytest.raises(
            RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"
        ):
            fb.ones(1).retain_grad()


class TestGraph:
    def test_leaves_have_no_grad_fn(self):
        x = leaf(2.0)
        assert x.is_leaf
        assert x.grad_fn is None
        assert not (x * 2).is_leaf
        assert fb.ones(1).is_leaf

    def test_walking_next_functions_prints_the_chain(self):
        x = leaf(2.0)
        w = (x + 3) * (x + 3) - 4
        node, names = w.grad_fn, []
        while node is not None:
            names.append(node.name())
            node = node.next_functions[0][0] if node.next_functions else None
        assert names == ["SubBackward0", "MulBackward0", "AddBackward0", "AccumulateGrad"]

    def test_metadata_stays_with_the_node(self):
        y = leaf(1.0) * 2
        y.grad_fn.metadata["note"] = 1
        assert y.grad_fn.metadata == {"note": 1}

    def test_requires_grad_of_integers_and_non_leaves(self):
        with pytest.raises(
            RuntimeError, match="only Tensors of floating point and complex dtype.*int64"
        ):
            fb.tensor([1]).requires_grad_()
        with pytest.raises(
            RuntimeError, match=r"change requires_grad flags of leaf variables.*detach\(\)"
        ):
            (leaf(1.0) * 2).requires_grad = False
        x = leaf(1.0)
        x.requires_grad = False
        assert not x.requires_grad

    def test_detach_shares_memory_and_version(self):
        x = leaf(1.0, 2.0)
        y = x * 1
        d = y.detach()
        d.mul_(5)
        assert y.tolist() == [5.0, 10.0]
        assert d.grad_fn is None
        assert y._version == 1

    def test_assigning_a_wrong_gradient(self):
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="assigned grad has"):
            x.grad = fb.ones(3)
        with pytest.raises(TypeError, match="must be a Tensor or None, got float"):
            x.grad = 1.0
        with pytest.raises(TypeError, match="assigned grad has .* float64"):
            x.grad = fb.ones(2, dtype=fb.float64)

    def test_reference_counting_alone_frees_a_graph(self):
        gc.collect()
        gc.disable()
        try:
            x = leaf(1.0, 2.0)
            y = (x.exp() * x).tanh()
            watched = [weakref.ref(y), weakref.ref(y.grad_fn)]
            y.sum().backward()
            del y
            assert [w() for w in watched] == [None, None]
        finally:
            gc.enable()

    def test_dropping_a_leaf_before_backward_is_harmless(self):
        x = leaf(1.0)
        y = x * 2
        del x
        y.backward()
        assert y.grad_fn is not None


class TestAnomaly:
    def test_names_the_forward_line_and_the_nan(self):
        x = leaf(-1.0)
        with fb.autograd.detect_anomaly():
            y = x.sqrt() * 0  # the culprit
            with pytest.raises(
                RuntimeError, match="'SqrtBackward0' returned nan values in its 0th output"
            ) as error:
                y.backward()
        assert "test_autograd.py" in str(error.value)
        assert "the culprit" in str(error.value)
        assert not fb.autograd.is_anomaly_enabled()

    def test_second_walk_names_the_line(self):
        x = leaf(2.0)
        with fb.autograd.detect_anomaly(check_nan=False):
            loss = x * x  # built here
            loss.backward()
            with pytest.raises(RuntimeError, match="built here"):
                loss.backward()

    def test_switching(self):
        fb.autograd.set_detect_anomaly(True)
        assert fb.autograd.is_anomaly_enabled()
        fb.autograd.set_detect_anomaly(False)
        with fb.autograd.set_detect_anomaly(True):
            assert fb.autograd.is_anomaly_enabled()
        assert not fb.autograd.is_anomaly_enabled()


class TestFunctional:
    def test_jacobian_and_hessian_of_known_functions(self):
        x = fb.tensor([1.0, 2.0], dtype=fb.float64)
        jac = fb.autograd.functional.jacobian(lambda t: t * t.sum(), x)
        assert np.allclose(jac.numpy(), 3 * np.eye(2) + np.array([[1.0, 1.0], [2.0, 2.0]]))
        hess = fb.autograd.functional.hessian(lambda t: (t**3).sum(), x)
        assert np.allclose(hess.numpy(), np.diag([6.0, 12.0]))

    def test_products_agree_with_the_matrices(self):
        x, v = fb.tensor([0.3, 0.7], dtype=fb.float64), fb.tensor([1.0, -2.0], dtype=fb.float64)
        fn = lambda t: t.sin() * t.sum()  # noqa: E731
        jac = fb.autograd.functional.jacobian(fn, x).numpy()
        assert np.allclose(fb.autograd.functional.vjp(fn, x, v)[1].numpy(), v.numpy() @ jac)
        assert np.allclose(fb.autograd.functional.jvp(fn, x, v)[1].numpy(), jac @ v.numpy())
        loss = lambda t: fn(t).sum()  # noqa: E731
        hess = fb.autograd.functional.hessian(loss, x).numpy()
        assert np.allclose(fb.autograd.functional.hvp(loss, x, v)[1].numpy(), hess @ v.numpy())

    def test_errors(self):
        with pytest.raises(GradError, match="must return a single-element tensor"):
            fb.autograd.functional.hessian(lambda t: t * 2, fb.ones(2))
        with pytest.raises(GradError, match="v can only be None for a single-element input"):
            fb.autograd.functional.jvp(lambda t: t * 2, fb.ones(2))


class TestGradcheck:
    def test_finds_a_wrong_derivative(self):
        class Wrong(fb.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 3

        x = leaf(1.0, 2.0, dtype=fb.float64)
        with pytest.raises(
            fb.autograd.GradcheckError,
            match="Jacobian mismatch for output 0 with respect to input 0",
        ):
            gradcheck(Wrong.apply, x)
        assert not gradcheck(Wrong.apply, x, raise_exception=False)

    def test_finds_a_wrong_second_derivative(self):
        class Cut(fb.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * 3 * (x * x).detach()

        x = leaf(1.0, 2.0, dtype=fb.float64)
        assert gradcheck(Cut.apply, x)
        assert not gradgradcheck(Cut.apply, x, raise_exception=False)

    def test_complex_inputs(self):
        z = fb.tensor([1 + 2j, -0.5 + 1j], dtype=fb.complex128, requires_grad=True)
        assert gradcheck(lambda t: (t * t * (2 - 1j)).abs(), z)

    def test_needs_something_to_check(self):
        with pytest.raises(TypeError, match="at least one input tensor to require gradient"):
            gradcheck(fb.sin, fb.ones(1))
