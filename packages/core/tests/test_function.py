"""Operations with hand-written derivatives."""

import pytest

import flambeau as fb
from flambeau.autograd import Function, gradcheck, gradgradcheck
from flambeau.autograd.function import once_differentiable


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Split(Function):
    """Two outputs, one of which it saves, and an argument that is no tensor."""

    @staticmethod
    def forward(ctx, x, factor, y):
        product = x * y * factor
        ctx.factor = factor
        ctx.save_for_backward(x, y, product)
        return product, x + y

    @staticmethod
    def backward(ctx, g_product, g_sum):
        x, y, product = ctx.saved_tensors
        assert product.shape == x.shape
        return g_product * y * ctx.factor + g_sum, None, g_product * x * ctx.factor + g_sum


def leaves(*shapes):
    return [(fb.rand(*s, dtype=fb.float64) + 0.5).requires_grad_() for s in shapes]


def test_derivatives_of_both_orders():
    (x,) = leaves((3,))
    assert gradcheck(Cube.apply, x)
    assert gradgradcheck(Cube.apply, x)
    x, y = leaves((2,), (2,))
    fn = lambda a, b: Split.apply(a, 2.0, b)  # noqa: E731
    assert gradcheck(fn, (x, y))
    assert gradgradcheck(fn, (x, y))


def test_node_is_the_context():
    x = fb.ones(2, requires_grad=True)
    y = Cube.apply(x)
    assert y.grad_fn.name() == "CubeBackward"
    assert "CubeBackward" in repr(y)
    a, b = Split.apply(x, 1.0, x)
    assert a.grad_fn is b.grad_fn
    assert (a.output_nr, b.output_nr) == (0, 1)


def test_no_graph_without_need():
    assert not Cube.apply(fb.ones(1)).requires_grad
    with fb.no_grad():
        assert not Cube.apply(fb.ones(1, requires_grad=True)).requires_grad


def test_needs_input_grad_and_missing_output_gradients():
    seen = {}

    class Watch(Function):
        @staticmethod
        def forward(ctx, x, n, y):
            ctx.set_materialize_grads(False)
            return x * n, y * n

        @staticmethod
        def backward(ctx, gx, gy):
            seen["needs"], seen["gy"] = ctx.needs_input_grad, gy
            return gx * 2, None, None

    x = fb.ones(1, requires_grad=True)
    a, _ = Watch.apply(x, 2, fb.ones(1))
    a.backward()
    assert seen == {"needs": (True, False, False), "gy": None}


def test_missing_output_gradients_are_zeros_by_default():
    x = fb.ones(2, requires_grad=True)
    product, _ = Split.apply(x, 3.0, fb.ones(2))
    product.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_setup_context_form():
    class Double(Function):
        @staticmethod
        def forward(x):
            return x * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            (x,) = inputs
            ctx.save_for_backward(x, output)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * y / x

    x = fb.tensor([2.0, 3.0], requires_grad=True)
    Double.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_mark_dirty_and_non_differentiable():
    class Scale(Function):
        @staticmethod
        def forward(ctx, x):
            with fb.no_grad():
                x.mul_(3)
            rank = (x > 1).long()
            ctx.mark_dirty(x)
            ctx.mark_non_differentiable(rank)
            return x, rank

        @staticmethod
        def backward(ctx, g, _):
            return g * 3

    x = fb.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    z, rank = Scale.apply(y)
    assert z is y
    assert z.tolist() == [3.0, 6.0]
    assert not rank.requires_grad
    z.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_returning_an_input_gives_a_new_tensor():
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 7

    x = fb.ones(1, requires_grad=True)
    y = Same.apply(x)
    assert y is not x
    y.backward()
    assert x.grad.item() == 7.0


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x = fb.ones(1, requires_grad=True)
    (g,) = fb.autograd.grad(Once.apply(x), x)
    assert g.item() == 2.0
    v = fb.ones(1, requires_grad=True)
    (g,) = fb.autograd.grad(Once.apply(x), x, v, create_graph=True)
    with pytest.raises(
        RuntimeError,
        match="differentiate twice a function that was marked with @once_differentiable",
    ):
        g.backward()


def test_saved_tensors_are_watched_and_freed():
    x = fb.ones(2, requires_grad=True)
    base = x * 1
    y = Cube.apply(base)
    base.add_(1)
    with pytest.raises(
        RuntimeError, match="CubeBackward: one of the variables needed for gradient computation"
    ):
        y.sum().backward()
    z = Cube.apply(x)
    z.sum().backward()
    with pytest.raises(
        RuntimeError, match="CubeBackward: Trying to backward through the graph a second time"
    ):
        z.sum().backward()


def test_mistakes():
    class Few(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    class Wide(Few):
        @staticmethod
        def backward(ctx, g):
            return g, fb.ones(7)

    class Text(Few):
        @staticmethod
        def backward(ctx, g):
            return g, "g"

    x, y = fb.ones(2, requires_grad=True), fb.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"incorrect number of gradients \(expected 2, got 1\)"):
        Few.apply(x, y).sum().backward()
    with pytest.raises(
        RuntimeError,
        match=r"invalid gradient at index 1 - got \[7\] but expected shape compatible with \[2\]",
    ):
        Wide.apply(x, y).sum().backward()
    with pytest.raises(TypeError, match="different from Tensor at position 1: 'g'"):
        Text.apply(x, y).sum().backward()
    with pytest.raises(TypeError, match=r"should not be instantiated.*Few.apply\(x\)"):
        Few()
    with pytest.raises(TypeError, match="save_for_backward can only save variables, but got int"):
        Few._node().save_for_backward(3)

    class Bare(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(RuntimeError, match="You must implement the backward function"):
        Bare.apply(x).sum().backward()
