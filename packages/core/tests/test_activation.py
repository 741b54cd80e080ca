"""Softmax and activations: values, slopes at kinks and nan as PyTorch has them, double backward, errors."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.backend.protocol import REQUIRED
from flambeau.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from flambeau.ops import activation as act

NAN, INF = math.nan, math.inf
RNG = np.random.default_rng(0)


@pytest.fixture(params=["kernels", "default bodies"])
def either(request):
    """The cpu as it is, and with the required kernels alone."""
    if request.param == "kernels":
        yield
        return
    table = fb.ones(1)._kind.k
    full = dict(table)
    table.clear()
    table.update({name: full[name] for name in REQUIRED})
    yield
    table.clear()
    table.update(full)


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

# name: (the function here, the same for one Python float)
ACTIVATIONS = {
    "gelu": (act.gelu, lambda x: x * phi(x)),
    "gelu tanh": (
        lambda x: act.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (act.silu, lambda x: x * sigmoid(x)),
    "mish": (act.mish, lambda x: x * math.tanh(math.log1p(math.exp(x)))),
    "softplus": (act.softplus, lambda x: x if x > 20 else math.log1p(math.exp(x))),
    "softplus 2 3": (
        lambda x: act.softplus(x, 2.0, 3.0),
        lambda x: x if 2 * x > 3 else math.log1p(math.exp(2 * x)) / 2,
    ),
    "logsigmoid": (act.logsigmoid, lambda x: math.log(sigmoid(x))),
    "elu": (lambda x: act.elu(x, 1.3), lambda x: x if x > 0 else 1.3 * math.expm1(x)),
    "selu": (act.selu, lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * math.expm1(x))),
    "celu": (lambda x: act.celu(x, 1.7), lambda x: x if x > 0 else 1.7 * math.expm1(x / 1.7)),
    "leaky_relu": (act.leaky_relu, lambda x: x if x > 0 else 0.01 * x),
    "leaky_relu 2": (lambda x: act.leaky_relu(x, 2.0), lambda x: x if x > 0 else 2 * x),
    "leaky_relu -1": (lambda x: act.leaky_relu(x, -1.0), lambda x: x if x > 0 else -x),
    "hardtanh": (lambda x: act.hardtanh(x, -0.5, 2), lambda x: min(max(x, -0.5), 2)),
    "relu6": (act.relu6, lambda x: min(max(x, 0), 6)),
    "hardsigmoid": (act.hardsigmoid, lambda x: min(max(x + 3, 0), 6) / 6),
    "hardswish": (act.hardswish, lambda x: x * min(max(x + 3, 0), 6) / 6),
    "hardshrink": (act.hardshrink, lambda x: 0 if abs(x) <= 0.5 else x),
    "softshrink": (act.softshrink, lambda x: 0 if abs(x) <= 0.5 else x - math.copysign(0.5, x)),
    "tanhshrink": (act.tanhshrink, lambda x: x - math.tanh(x)),
    "softsign": (act.softsign, lambda x: x / (1 + abs(x))),
    "threshold": (lambda x: act.threshold(x, 0.5, -7.0), lambda x: x if x > 0.5 else -7),
    "rrelu": (act.rrelu, lambda x: x if x > 0 else x * (1 / 8 + 1 / 3) / 2),
}


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values(name):
    fn, reference = ACTIVATIONS[name]
    x = np.concatenate([RNG.uniform(-8, 8, 300), RNG.uniform(-30, 30, 50)]).astype(np.float32)
    expected = [reference(v) for v in x.tolist()]
    np.testing.assert_allclose(fn(fb.tensor(x)).numpy(), expected, rtol=2e-6, atol=3e-7)
    assert fn(fb.tensor(x[:1])).shape == (1,)
    assert fn(fb.tensor(x[0])).shape == ()
    half = fn(fb.tensor(x[:300]).half())
    assert half.dtype is fb.float16
    again = [reference(v) for v in x[:300].astype(np.float16).tolist()]
    np.testing.assert_allclose(half.float().numpy(), again, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_first_and_second_derivatives(name):
    fn = ACTIVATIONS[name][0]
    x = fb.tensor(
        [-4.1, -2.2, -0.9, -0.3, 0.2, 0.8, 1.7, 3.6, 6.5], dtype=fb.float64, requires_grad=True
    )
    assert gradcheck(fn, (x,))
    assert gradgradcheck(fn, (x,))


POINTS = [NAN, INF, -INF, -3.0, 3.0, 1.0, -1.0, 0.5, -0.5, 0.0, 6.0]
# values and slopes at POINTS, as PyTorch 2.13 has them
AT_POINTS = {
    "hardtanh": (
        act.hardtanh,
        [NAN, 1, -1, -1, 1, 1, -1, 0.5, -0.5, 0, 1],
        [1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
    ),
    "relu6": (act.relu6, [NAN, 6, 0, 0, 3, 1, 0, 0.5, 0, 0, 6], [1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0]),
    "hardsigmoid": (
        act.hardsigmoid,
        [NAN, 1, 0, 0, 1, 4 / 6, 2 / 6, 3.5 / 6, 2.5 / 6, 0.5, 1],
        [0, 0, 0, 0, 0, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 0],
    ),
    "hardswish": (
        act.hardswish,
        [NAN, INF, NAN, 0, 3, 4 / 6, -2 / 6, 1.75 / 6, -1.25 / 6, 0, 6],
        [1, 1, 0, 0, 1, 5 / 6, 1 / 6, 4 / 6, 2 / 6, 0.5, 1],
    ),
    "hardshrink": (
        act.hardshrink,
        [NAN, INF, -INF, -3, 3, 1, -1, 0, 0, 0, 6],
        [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1],
    ),
    "softshrink": (
        act.softshrink,
        [NAN, INF, -INF, -2.5, 2.5, 0.5, -0.5, 0, 0, 0, 5.5],
        [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1],
    ),
    "threshold": (
        lambda x: act.threshold(x, 0.0, 5.0),
        [NAN, INF, 5, 5, 3, 1, 5, 0.5, 5, 5, 6],
        [1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1],
    ),
    "leaky_relu": (
        lambda x: act.leaky_relu(x, 0.5),
        [NAN, INF, -INF, -1.5, 3, 1, -0.5, 0.5, -0.25, 0, 6],
        [0.5, 1, 0.5, 0.5, 1, 1, 0.5, 1, 0.5, 0.5, 1],
    ),
    "elu": (
        act.elu,
        [NAN, INF, -1, math.expm1(-3), 3, 1, math.expm1(-1), 0.5, math.expm1(-0.5), 0, 6],
        [1, 1, 0, math.exp(-3), 1, 1, math.exp(-1), 1, math.exp(-0.5), 1, 1],
    ),
    "softplus": (
        act.softplus,
        [NAN, INF, 0, *(math.log1p(math.exp(v)) for v in POINTS[3:])],
        [NAN, 1, 0, *(sigmoid(v) for v in POINTS[3:])],
    ),
    "logsigmoid": (
        act.logsigmoid,
        [NAN, 0, -INF, *(math.log(sigmoid(v)) for v in POINTS[3:])],
        [NAN, 0, 1, *(sigmoid(-v) for v in POINTS[3:])],
    ),
}


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", AT_POINTS)
def test_kinks_and_nan(name):
    fn, values, slopes = AT_POINTS[name]
    x = fb.tensor(POINTS, requires_grad=True)
    y = fn(x)
    np.testing.assert_allclose(y.detach().numpy(), values, rtol=1e-6, atol=1e-7)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=1e-6, atol=1e-7)


def test_second_derivative_far_from_0_is_no_nan():
    for fn in (act.elu, act.softplus, act.silu, act.mish, act.logsigmoid, act.selu):
        x = fb.tensor([500.0, -500.0], requires_grad=True)
        (g,) = fb.autograd.grad(fn(x).sum(), x, create_graph=True)
        (h,) = fb.autograd.grad(g.sum(), x)
        assert h.isfinite().all()


# ---- softmax
def softmax_of(x, dim):
    e = np.exp(x - x.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "dim"), [((7,), 0), ((5, 7), 0), ((5, 7), 1), ((3, 4, 5), 1), ((3, 1, 70), -1)]
)
def test_softmax(shape, dim, dtype):
    x = RNG.normal(size=shape).astype(dtype) * 3
    expected = softmax_of(x.astype(np.float64), dim)
    tolerance = 1e-6 if dtype is np.float32 else 1e-14
    np.testing.assert_allclose(fb.softmax(fb.tensor(x), dim).numpy(), expected, rtol=tolerance)
    np.testing.assert_allclose(
        fb.tensor(x).log_softmax(dim).numpy(), np.log(expected), rtol=tolerance, atol=tolerance
    )


@pytest.mark.usefixtures("either")
def test_softmax_of_rows_far_apart():
    # a common maximum would lose the low rows
    x = np.array([[1000.0, 1001.0], [-1000.0, -999.0], [0.0, 1.0], [20.0, 21.0]], np.float32)
    expected = np.tile([sigmoid(-1), sigmoid(1)], (4, 1))
    np.testing.assert_allclose(fb.softmax(fb.tensor(x), 1).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(fb.log_softmax(fb.tensor(x), 1).numpy(), np.log(expected), rtol=1e-6)


@pytest.mark.usefixtures("either")
def test_softmax_of_masked_and_infinite_rows():
    x = fb.tensor([[0.0, -INF, 0.0], [-INF, -INF, -INF], [INF, 0.0, 0.0], [NAN, 0.0, 0.0]])
    y = x.softmax(1).numpy()
    np.testing.assert_allclose(y[0], [0.5, 0, 0.5])
    assert np.isnan(y[1:, 0]).all()
    assert np.isnan(y[1]).all()
    lower = fb.log_softmax(x[:1], 1).numpy()
    np.testing.assert_allclose(lower, [[math.log(0.5), -INF, math.log(0.5)]])


def test_softmax_of_odd_shapes_and_dtypes():
    assert fb.softmax(fb.tensor(3.0), 0).item() == 1
    assert fb.log_softmax(fb.tensor(3.0), -1).item() == 0
    assert fb.softmax(fb.ones(0, 3), 1).shape == (0, 3)
    assert fb.softmax(fb.ones(3, 0), 1).shape == (3, 0)
    assert fb.softmax(fb.tensor([1, 2]), 0, dtype=fb.float64).dtype is fb.float64
    half = fb.softmax(fb.tensor([1.0, 2.0, 3.0]).half(), 0)
    assert half.dtype is fb.float16
    np.testing.assert_allclose(
        half.float().numpy(), softmax_of(np.array([1.0, 2.0, 3.0]), 0), rtol=2e-3
    )
    out = fb.empty(2)
    fb.softmax(fb.zeros(2), 0, out=out)
    assert out.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("fn", [fb.softmax, fb.log_softmax])
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_derivatives(fn, dim):
    x = fb.tensor(RNG.normal(size=(3, 4)), requires_grad=True)
    assert gradcheck(lambda x: fn(x, dim), (x,))
    assert gradgradcheck(lambda x: fn(x, dim), (x,))
    assert fn(x, dim).grad_fn.name() in ("SoftmaxBackward0", "LogSoftmaxBackward0")


# ---- with parameters of their own
@pytest.mark.usefixtures("either")
def test_prelu():
    x = fb.tensor([[[-2.0, 2.0]], [[-4.0, 0.0]]]).expand(2, 3, 2)
    assert fb.prelu(x, fb.tensor([0.25]))[:, 0].tolist() == [[-0.5, 2], [-1, 0]]
    weight = fb.tensor([0.5, 1.0, -1.0], requires_grad=True)
    y = x.prelu(weight)
    assert y[0, :, 0].tolist() == [-1, -2, 2]
    y.sum().backward()
    assert weight.grad.tolist() == [-6, -6, -6]
    assert fb.prelu(fb.tensor(-2.0), fb.tensor([0.5])).item() == -1


def test_prelu_errors():
    with pytest.raises(ShapeError, match="Found parameter numbers = 3 and channel size = 2"):
        fb.prelu(fb.ones(4, 2), fb.ones(3))
    with pytest.raises(ShapeError, match="prelu: Not allow zero-dim input tensor"):
        fb.prelu(fb.tensor(1.0), fb.ones(3))
    with pytest.raises(ShapeError, match="Expected `weight` to be a scalar or 1D tensor"):
        fb.prelu(fb.ones(4, 2), fb.ones(1, 2))


def test_glu():
    x = fb.tensor([[1.0, 2.0, 0.0, 100.0]])
    assert act.glu(x).tolist() == [[0.5, 2]]
    assert act.glu(x.T, 0).tolist() == [[0.5], [2]]
    with pytest.raises(
        ShapeError, match="Halving dimension must be even, but dimension 0 is size 3"
    ):
        act.glu(fb.ones(3))
    with pytest.raises(ShapeError, match="glu does not support 0-dimensional tensors"):
        act.glu(fb.tensor(1.0))


def test_rrelu_draws_its_slopes_in_training():
    fb.manual_seed(0)
    x = fb.full((1000,), -1.0)
    y = act.rrelu(x, 0.1, 0.3, training=True)
    assert -0.3 <= y.min().item() < y.max().item() <= -0.1
    assert act.rrelu(fb.ones(3), training=True).tolist() == [1, 1, 1]


def test_in_place_functions():
    x = fb.tensor([-1.0, 2.0])
    assert fb.celu_(x) is x
    np.testing.assert_allclose(x.numpy(), [math.expm1(-1), 2], rtol=1e-6)
    fb.threshold_(x, 0.0, 9.0)
    assert x.tolist() == [9, 2]
    y = fb.tensor([-1.0], requires_grad=True)
    fb.selu_(y * 1).sum().backward()
    assert y.grad.item() == pytest.approx(SELU_SCALE * SELU_ALPHA * math.exp(-1))


# ---- errors
@pytest.mark.parametrize(
    "fn", [act.gelu, act.silu, act.mish, act.elu, act.leaky_relu, act.hardswish, act.logsigmoid]
)
def test_activations_are_for_floats(fn):
    with pytest.raises(
        DTypeError, match=r"not implemented for int64, got \(1,\) int64 cpu. Hint: x.float\(\)"
    ):
        fn(fb.tensor([1]))


def test_arguments():
    with pytest.raises(
        ArgumentError, match="approximate argument must be either none or tanh, got 'erf'"
    ):
        act.gelu(fb.ones(1), approximate="erf")
    with pytest.raises(ArgumentError, match="alpha cannot be 0 for CELU"):
        act.celu(fb.ones(1), 0)
    with pytest.raises(
        ArgumentError, match="lambda must be greater or equal to 0, but found to be -1"
    ):
        act.softshrink(fb.ones(1), -1)
    with pytest.raises(DTypeError, match="softmax: not implemented for int64"):
        fb.softmax(fb.tensor([1]), 0)
    with pytest.raises(IndexRangeError, match="softmax: Dimension out of range"):
        fb.softmax(fb.ones(2), 1)
    with pytest.raises(
        ArgumentError, match=r"softmax\(\): argument 'dim' must be int, not NoneType. Hint"
    ):
        fb.softmax(fb.ones(2), None)
