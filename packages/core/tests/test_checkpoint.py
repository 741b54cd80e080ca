"""Checkpointing: the same gradients from less memory, by running functions again."""

import contextlib
import dataclasses
import gc
import tracemalloc

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import Function, gradcheck
from flambeau.autograd.graph import saved_tensors_hooks
from flambeau.errors import ArgumentError, GradError, InplaceModifiedError
from flambeau.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    noop_context_fn,
)


class Product(Function):
    """Saves inputs and an output; two outputs."""

    @staticmethod
    def forward(ctx, x, y):
        out = x * y
        ctx.save_for_backward(y, out)
        return out, x + y

    @staticmethod
    def backward(ctx, g, h):
        y, out = ctx.saved_tensors
        return g * y + h, g * out / y + h


def block(x, w, scale=1.0, *, shift=0.0):
    """Saved inputs, outputs, indices, masks, random numbers, changes in place, a hand-written operation."""
    y = ((x @ w).tanh() * scale + shift).exp()
    y = y * fb.bernoulli(fb.full_like(y, 0.7))
    a, b = Product.apply(y + 1, y.cos() + 2)
    z = (a.softmax(-1) + b)[fb.tensor([1, 0, 2])]
    z[:, 0] = z[:, 0] * 2
    z[1] *= 0.5
    z.sigmoid_()
    return fb.where(z > 0.6, z, z * z) - z.std()


def plainly(function, *args, use_reentrant=None, **kwargs):
    return function(*args, **kwargs)


def run(call, through):
    """The gradients, the loss, and the state of the random numbers after it."""
    fb.manual_seed(0)
    x, *ws = (fb.rand(3, 3).requires_grad_() for _ in range(4))
    y = through(call, x, ws)
    loss = (y * fb.rand(3, 3)).sum()
    loss.backward()
    return [t.grad.tolist() for t in (x, *ws)], loss.item(), fb.get_rng_state().tolist()


def one_by_one(call, x, ws):
    for w in ws:
        x = call(block, x, w, 0.5, use_reentrant=False, shift=0.1)
    return x


def all_at_once(call, x, ws):
    return call(lambda x: block(block(block(x, ws[0]), ws[1]), ws[2]), x, use_reentrant=True)


def nested(call, x, ws):
    def inner(x, w):
        return call(block, call(block, x, w), w, use_reentrant=False).tanh()

    def outer(x):
        y = call(inner, x, ws[0], use_reentrant=False)
        return call(inner, x + y, ws[1]) * y.exp()

    return call(outer, x).sin() + call(inner, x, ws[2])


@pytest.mark.parametrize("through", [one_by_one, all_at_once, nested])
@pytest.mark.parametrize("amp", [False, True], ids=["plain", "autocast"])
def test_gradients_are_the_same_bits(through, amp):
    def around(call, x, ws):
        with fb.autocast("cpu", dtype=fb.float16) if amp else contextlib.nullcontext():
            return through(call, x, ws).float()

    assert run(checkpoint, around) == run(plainly, around)


def test_gradients_of_functions_of_the_gradient():
    x = fb.rand(3, 3, dtype=fb.float64).requires_grad_()
    w = fb.rand(3, 3, dtype=fb.float64).requires_grad_()

    def gradient(call):
        y = call(lambda x: (x @ w).tanh() * x.exp(), x)
        g, h = fb.autograd.grad(y.sum(), (x, w), create_graph=True)
        return fb.autograd.grad(g.square().sum() + (h * y).sum(), (x, w))

    for a, b in zip(gradient(plainly), gradient(checkpoint), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    assert gradcheck(lambda x, w: checkpoint(lambda x: (x @ w).tanh(), x), (x, w))


def test_the_function_runs_once_more():
    calls = []

    def noted(x, name, *, flag):
        calls.append((name, flag, fb.is_grad_enabled()))
        return x.exp()

    x = fb.ones(2, requires_grad=True)
    y = checkpoint(noted, x, "a", flag=None, use_reentrant=False, debug=True, early_stop=False)
    assert calls == [("a", None, True)]
    loss = y.sum()
    with fb.no_grad():
        loss.backward(retain_graph=True)
    assert calls == [("a", None, True)] * 2
    y.sum().backward()
    assert len(calls) == 2
    with pytest.raises(
        GradError, match="ExpBackward0: Trying to backward through the graph a second"
    ):
        y.sum().backward()


def test_no_graph_no_second_run():
    with fb.no_grad():
        assert checkpoint(lambda x: x * 2, fb.ones(1, requires_grad=True)).tolist() == [2]
    assert not checkpoint(lambda x: x.exp(), fb.ones(1)).requires_grad


@dataclasses.dataclass
class Pair:
    first: fb.Tensor
    second: object


def test_results_of_any_form():
    x = fb.ones(2, requires_grad=True)

    def many(x):
        return {"a": (x.exp(), 3), "b": [Pair(x.sin(), None)], "c": x, "d": "text"}

    found = checkpoint(many, x)
    assert found["c"] is x and found["d"] == "text" and found["a"][1] == 3
    (found["a"][0] * found["b"][0].first).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(1) * (np.sin(1) + np.cos(1)), rtol=1e-6)


def test_an_output_that_nobody_uses():
    x = fb.ones(2, requires_grad=True)
    y, _ = checkpoint(lambda x: (x.exp(), (x * x).cos()), x)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(1), rtol=1e-6)


def test_only_some_gradients_are_asked_for():
    x, w = fb.ones(2, requires_grad=True), fb.ones(2, requires_grad=True)
    y = checkpoint(lambda x: (x * w).exp(), x, use_reentrant=False)
    (g,) = fb.autograd.grad(y.sum(), w)
    np.testing.assert_allclose(g.numpy(), np.exp(1), rtol=1e-6)
    assert x.grad is None and w.grad is None


def test_other_random_numbers_on_request():
    def draw(x):
        seen.append(fb.rand(2).tolist())
        return x.exp()

    for preserve, expected in ((True, 1), (False, 2)):
        seen = []
        x = fb.ones(2, requires_grad=True)
        checkpoint(draw, x, preserve_rng_state=preserve).sum().backward()
        assert len(seen) == 2 and len({tuple(s) for s in seen}) == expected


def test_contexts():
    entered = []

    @contextlib.contextmanager
    def noting(name):
        entered.append(name)
        yield
        entered.append(f"{name} ends")

    x = fb.ones(1, requires_grad=True)
    y = checkpoint(lambda x: x.exp(), x, context_fn=lambda: (noting("first"), noting("again")))
    assert entered == ["first", "first ends"]
    y.backward()
    assert entered == ["first", "first ends", "again", "again ends"]
    assert all(isinstance(c, contextlib.AbstractContextManager) for c in noop_context_fn())


def test_backward_within_another_autocast():
    x, w, found = fb.rand(3, 3).requires_grad_(), fb.rand(3, 3), []
    for call in (plainly, checkpoint):
        y = call(lambda x: (x @ w).exp(), x)
        with fb.autocast("cpu", dtype=fb.float16):
            y.sum().backward()
        found.append(x.grad.tolist())
        x.grad = None
    assert found[0] == found[1]


def test_with_hooks_on_saved_tensors():
    x = fb.ones(2, requires_grad=True)
    with saved_tensors_hooks(lambda t: t.tolist(), fb.tensor):
        y = checkpoint(lambda x: x.exp() * x, x)
        y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(1), rtol=1e-6)


def test_saved_tensors_of_an_emptied_node():
    x = fb.full((2,), 3.0, requires_grad=True)
    y = checkpoint(lambda x: Product.apply(x, x + 1)[0], x)
    b, out = y.grad_fn.saved_tensors
    assert (b.tolist(), out.tolist()) == ([4, 4], [12, 12])


def layers(x, ws):
    for w in ws:
        x = (x @ w).tanh().exp().sin()
    return x


def memory(call):
    """Bytes that live after the forward pass, at most in the backward pass, and after it."""
    fb.manual_seed(0)
    x, ws = fb.rand(4000, 8), [fb.rand(8, 8).requires_grad_() for _ in range(16)]
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        y = x
        for i in range(0, 16, 4):
            y = call(layers, y, ws[i : i + 4])
        loss = y.sum()
        live = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loss.backward()
        peak = tracemalloc.get_traced_memory()[1]
        del y, loss
        return live, peak, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()


def test_memory():
    array = 4000 * 8 * 4
    memory(checkpoint)  # functions are generated at their first use
    (live, peak, after), (less, lower, end) = memory(plainly), memory(checkpoint)
    # 16 layers keep three arrays each; with checkpoints, the inputs of the four parts remain, and the backward pass
    # brings back 12 arrays at a time
    assert live > 47 * array and less < 7 * array
    assert peak > 48 * array and lower < 22 * array
    assert end < after + array  # without the garbage collector: nothing holds itself


class TestErrors:
    def alternating(self, *functions):
        calls = iter(functions)
        return lambda x: next(calls)(x)

    def test_another_number_of_operations(self):
        x = fb.ones(2, requires_grad=True)
        y = checkpoint(self.alternating(lambda x: x.exp().sin(), fb.exp), x)
        with pytest.raises(CheckpointError, match="a different number of operations .*: 1 after 2"):
            y.sum().backward()

    def test_other_operations(self):
        x = fb.ones(2, requires_grad=True)
        y = checkpoint(self.alternating(fb.exp, fb.sin), x)
        match = (
            r"recomputed values have different metadata than in the forward pass: operation 0 was "
            r"ExpBackward0 \(2,\) float32 cpu, and is SinBackward0 \(2,\) float32 cpu"
        )
        with pytest.raises(CheckpointError, match=match):
            y.sum().backward()

    def test_other_shapes(self):
        x = fb.ones(4, requires_grad=True)
        functions = (fb.exp, lambda x: x[:2].exp())
        y = checkpoint(self.alternating(*functions), x)
        with pytest.raises(
            CheckpointError, match=r"was ExpBackward0 \(4,\) .* is ExpBackward0 \(2,\)"
        ):
            y.sum().backward()
        with pytest.raises(ArgumentError, match="determinism_check must be 'default' or 'none'"):
            checkpoint(fb.exp, x, determinism_check="strict")
        functions = (lambda x: x.exp().sum(), lambda x: x.double().exp().float().sum())
        y = checkpoint(self.alternating(*functions), x, determinism_check="none")
        y.backward()
        assert x.grad.shape == (4,)

    @pytest.mark.parametrize("leaf", [False, True])
    def test_arguments_changed_in_place(self, leaf):
        x = fb.ones(2, requires_grad=True)
        z = x if leaf else x * 1
        y = checkpoint(fb.exp, z)
        with fb.no_grad() if leaf else contextlib.nullcontext():
            z += 1
        match = r"checkpoint: an argument of the function has been modified by an inplace .* \(2,\) float32"
        with pytest.raises(InplaceModifiedError, match=match):
            y.sum().backward()

    def test_an_error_in_the_second_run(self):
        x = fb.ones(2, requires_grad=True)
        y = checkpoint(self.alternating(fb.exp), x)
        state = fb.get_rng_state().tolist()
        with pytest.raises(StopIteration):
            y.sum().backward()
        assert fb.is_grad_enabled() and fb.get_rng_state().tolist() == state


class TestSequential:
    def steps(self):
        fb.manual_seed(1)
        ws = [fb.rand(3, 3).requires_grad_() for _ in range(5)]
        return [lambda x, w=w: (x @ w).tanh() for w in ws], ws

    @pytest.mark.parametrize("segments", [1, 2, 3, 5])
    def test_gradients(self, segments):
        steps, ws = self.steps()
        x = fb.rand(2, 3).requires_grad_()
        y = x
        for step in steps:
            y = step(y)
        y.sum().backward()
        expected = [t.grad.tolist() for t in (x, *ws)]
        for t in (x, *ws):
            t.grad = None
        again = checkpoint_sequential(steps, segments, x, use_reentrant=False)
        assert again.tolist() == y.tolist()
        again.sum().backward()
        assert [t.grad.tolist() for t in (x, *ws)] == expected

    def test_arguments(self):
        with pytest.raises(ArgumentError, match="Unexpected keyword arguments: flag"):
            checkpoint_sequential([fb.exp], 1, fb.ones(1), flag=1)
        for segments in (0, 2):
            with pytest.raises(
                ArgumentError, match="segments must be from 1 to the number of functions, 1"
            ):
                checkpoint_sequential([fb.exp], segments, fb.ones(1))


def test_modules_of_utils():
    import flambeau.utils.checkpoint as module
    import flambeau.utils.dlpack
    from flambeau.utils.hooks import RemovableHandle

    assert fb.utils.checkpoint is module and module.checkpoint is checkpoint
    assert isinstance(fb.ones(1, requires_grad=True).register_hook(print), RemovableHandle)
    assert fb.utils.dlpack is flambeau.utils.dlpack
    with pytest.raises(AttributeError, match="module 'flambeau.utils' has no attribute 'nosuch'"):
        fb.utils.nosuch
