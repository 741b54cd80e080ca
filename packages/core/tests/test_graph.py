"""Hooks on saved tensors, and the module names of older programs."""

import contextlib
import gc
import threading
import weakref

import pytest

import flambeau as fb
from flambeau.autograd import Function, node
from flambeau.autograd.graph import (
    disable_saved_tensors_hooks,
    increment_version,
    save_on_cpu,
    saved_tensors_hooks,
)
from flambeau.errors import ArgumentError, GradError, InplaceModifiedError
from flambeau.ops._source import SCOPE


class Counted:
    """Hooks that keep copies elsewhere, and count."""

    def __init__(self):
        self.packed, self.unpacked = [], 0

    def pack(self, t):
        assert not t.requires_grad
        self.packed.append(t.tolist())
        return t.numpy().copy()

    def unpack(self, array):
        self.unpacked += 1
        return fb.from_numpy(array)

    def block(self):
        return saved_tensors_hooks(self.pack, self.unpack)


class Scaled(Function):
    """Saves an input, nothing, and its output."""

    @staticmethod
    def forward(ctx, x, factor):
        y = x * x * factor
        ctx.save_for_backward(x, None, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, nothing, y = ctx.saved_tensors
        assert nothing is None
        return g * y * 2 / x, None


def several(x, w):
    """Operations that save inputs, outputs, indices, and a mask."""
    y = (x @ w).exp().tanh()
    y = Scaled.apply(y + 2, 3.0)
    y = y[fb.tensor([2, 0])] * y.std() + y.softmax(-1).sum()
    return fb.where(y > 1, y, y * y).square().mean() + x.sigmoid().prod()


def gradients(block):
    fb.manual_seed(0)
    x, w = (fb.rand(3, 3, dtype=fb.float64).requires_grad_() for _ in range(2))
    with block:
        loss = several(x, w)
    loss.backward(retain_graph=True)
    loss.backward()
    return x.grad, w.grad, loss


class TestHooks:
    def test_gradients_are_the_same(self):
        hooks = Counted()
        expected, found = gradients(contextlib.nullcontext()), gradients(hooks.block())
        for a, b in zip(expected[:2], found[:2], strict=True):
            assert (a == b).all()
        assert len(hooks.packed) > 12 and hooks.unpacked == 2 * len(hooks.packed)
        with pytest.raises(GradError, match="backward through the graph a second time"):
            found[2].backward()

    def test_what_is_packed(self):
        hooks = Counted()
        x, y = fb.tensor([2.0], requires_grad=True), fb.tensor([3.0])
        with hooks.block():
            z = x * y  # dz/dx needs y alone
            z = z.exp()  # needs its result
        assert hooks.packed == [[3.0], [pytest.approx(403.4288)]]
        z.backward()
        assert x.grad.item() == pytest.approx(3 * 403.4288)

    def test_the_packed_value_counts(self):
        x = fb.tensor([2.0], requires_grad=True)
        with saved_tensors_hooks(lambda t: None, lambda _: fb.tensor([10.0])):
            y = x * x
        y.backward()
        assert x.grad.tolist() == [20.0]

    def test_second_derivatives(self):
        def second(block):
            x = fb.tensor([0.3, 0.7], dtype=fb.float64, requires_grad=True)
            with block:
                y = (x.exp() * x.sin()).tanh().sum()
            (g,) = fb.autograd.grad(y, x, create_graph=True)
            g.square().sum().backward()
            return x.grad.tolist()

        assert second(contextlib.nullcontext()) == second(Counted().block())

    def test_the_innermost_pair_counts(self):
        outer, inner = Counted(), Counted()
        x = fb.ones(2, requires_grad=True)
        with outer.block():
            with inner.block():
                x.exp()
            x.exp()
        assert len(outer.packed) == len(inner.packed) == 1

    def test_nothing_is_left_when_the_last_block_ends(self):
        before = SCOPE["next_seq"]
        with Counted().block(), Counted().block():
            assert SCOPE["next_seq"] is not before and node.packer is not None
        assert SCOPE["next_seq"] is before and node.packer is None
        with pytest.raises(ZeroDivisionError), Counted().block():
            raise ZeroDivisionError
        assert SCOPE["next_seq"] is before and node.packer is None

    def test_other_threads_are_not_touched(self):
        hooks, seen = Counted(), []

        def work():
            x = fb.ones(2, requires_grad=True)
            x.exp().sum().backward()
            seen.append(x.grad)

        with hooks.block():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert len(seen) == 1 and hooks.packed == []

    def test_under_anomaly_mode(self):
        hooks = Counted()
        x = fb.ones(1, requires_grad=True)
        with hooks.block(), fb.autograd.detect_anomaly():
            y = (x * x - 2).sqrt()
            with pytest.raises(RuntimeError, match=r"(?s)SqrtBackward0.*test_graph\.py"):
                y.backward()
        assert len(hooks.packed) == 3 and hooks.unpacked == 1

    def test_nodes_keep_their_names(self):
        x = fb.ones(1, requires_grad=True)
        with Counted().block():
            y = x.exp()
        assert type(y.grad_fn).__name__ == y.grad_fn.name() == "ExpBackward0"
        assert isinstance(y.grad_fn, fb.autograd.graph.Node)

    def test_changes_in_place_of_packed_tensors_do_no_harm(self):
        x = fb.tensor([2.0], requires_grad=True)
        a = x * 1
        with Counted().block():
            y = a * a
        a += 100
        y.backward()
        assert x.grad.tolist() == [4.0]

    def test_the_memory_is_given_back(self):
        held = []
        with saved_tensors_hooks(lambda t: held.append(t.tolist()) or 0, lambda _: fb.ones(3)):
            x = fb.ones(3, requires_grad=True)
            a = x * 2
            native = weakref.ref(a._a)
            y = a * a
            del a
        gc.collect()
        assert native() is None and y.requires_grad

    def test_errors(self):
        x = fb.ones(1, requires_grad=True)
        with saved_tensors_hooks(lambda t: t.tolist(), lambda v: v):
            y = x * x
        match = "unpack_hook expected to be a Tensor but got result of type list"
        with pytest.raises(ArgumentError, match=match):
            y.backward()
        with pytest.raises(ArgumentError, match="saved_tensors_hooks: needs two functions, got 1"):
            saved_tensors_hooks(1, lambda v: v)

    def test_disabled(self):
        with (
            disable_saved_tensors_hooks("not here"),
            pytest.raises(GradError, match="^not here$"),
            Counted().block(),
        ):
            pass
        with Counted().block():
            fb.ones(1, requires_grad=True).exp()


def test_save_on_cpu():
    expected, found = gradients(contextlib.nullcontext()), gradients(save_on_cpu(pin_memory=True))
    assert (expected[0] == found[0]).all() and (expected[1] == found[1]).all()


def test_increment_version():
    w = fb.ones(2, requires_grad=True)
    x = w * 1
    y = x * x
    increment_version([x])
    with pytest.raises(InplaceModifiedError, match="is at version 1, expected version 0"):
        y.sum().backward()


class TestOlderNames:
    def test_variable(self):
        from flambeau.autograd import Variable

        data = fb.ones(2)
        x = Variable(data, requires_grad=True)
        assert isinstance(x, Variable) and isinstance(x, fb.Tensor) and x.requires_grad
        assert x.data_ptr() == data.data_ptr() and not data.requires_grad
        assert not Variable(x).requires_grad and Variable(x, volatile=True).tolist() == [1, 1]
        assert Variable().shape == (0,)
        with pytest.raises(ArgumentError, match="Variable: data has to be a tensor, but got int"):
            Variable(3)

    def test_modules(self):
        import flambeau.autograd.anomaly_mode as anomaly_mode
        import flambeau.autograd.grad_mode as grad_mode
        import flambeau.autograd.variable

        assert grad_mode.no_grad is fb.no_grad and fb.autograd.grad_mode is grad_mode
        assert anomaly_mode.detect_anomaly is fb.autograd.detect_anomaly
        assert flambeau.autograd.variable.Variable is fb.autograd.Variable

    def test_threads_of_the_backward_pass(self):
        with fb.autograd.set_multithreading_enabled(False):
            assert not fb.autograd.is_multithreading_enabled()
        fb.autograd.set_multithreading_enabled(True)
        assert not fb.autograd.is_multithreading_enabled()
