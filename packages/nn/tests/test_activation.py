"""Activation layers: values against formulas, in-place forms, printing."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F

X = np.linspace(-4, 8, 25)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ERF = np.vectorize(math.erf)
CASES = {
    "ReLU": ((), lambda x: np.maximum(x, 0)),
    "ReLU6": ((), lambda x: np.clip(x, 0, 6)),
    "Sigmoid": ((), sigmoid),
    "Tanh": ((), np.tanh),
    "GELU": ((), lambda x: 0.5 * x * (1 + ERF(x / math.sqrt(2)))),
    "SiLU": ((), lambda x: x * sigmoid(x)),
    "Mish": ((), lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "Softplus": ((2.0, 20.0), lambda x: np.log1p(np.exp(2 * x)) / 2),
    "ELU": ((0.5,), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    "CELU": ((2.0,), lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
    "SELU": (
        (),
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    ),
    "LeakyReLU": ((0.1,), lambda x: np.where(x > 0, x, 0.1 * x)),
    "Hardtanh": ((-2.0, 3.0), lambda x: np.clip(x, -2, 3)),
    "Hardsigmoid": ((), lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "Hardswish": ((), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Threshold": ((1.2, 9.0), lambda x: np.where(x > 1.2, x, 9.0)),
    "Hardshrink": ((1.2,), lambda x: np.where(np.abs(x) > 1.2, x, 0)),
    "Softshrink": ((1.2,), lambda x: np.sign(x) * np.maximum(np.abs(x) - 1.2, 0)),
    "LogSigmoid": ((), lambda x: np.log(sigmoid(x))),
    "Tanhshrink": ((), lambda x: x - np.tanh(x)),
    "Softsign": ((), lambda x: x / (1 + np.abs(x))),
    "Softmax": ((0,), lambda x: np.exp(x) / np.exp(x).sum()),
    "Softmin": ((0,), lambda x: np.exp(-x) / np.exp(-x).sum()),
    "LogSoftmax": ((0,), lambda x: x - np.log(np.exp(x).sum())),
    "PReLU": ((), lambda x: np.where(x > 0, x, 0.25 * x)),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    args, reference = CASES[name]
    layer = getattr(nn, name)(*args).double()
    np.testing.assert_allclose(
        layer(fb.tensor(X)).detach().numpy(), reference(X), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize(
    ("fn", "args"),
    [(F.relu, ()), (F.silu, ()), (F.mish, ()), (F.elu, (0.5,)), (F.selu, ()), (F.celu, (2.0,)), (F.leaky_relu, (0.1,)),
     (F.hardtanh, (-1, 1)), (F.relu6, ()), (F.hardsigmoid, ()), (F.hardswish, ()), (F.threshold, (1.0, 2.0))],
)  # fmt: skip
def test_in_place(fn, args):
    x = fb.tensor(X)
    wanted = fn(x, *args).tolist()
    assert fn(x, *args, inplace=True) is x
    assert x.tolist() == wanted


def test_glu_and_softmax2d():
    x = np.arange(8.0).reshape(2, 4)
    np.testing.assert_allclose(nn.GLU()(fb.tensor(x)).numpy(), x[:, :2] * sigmoid(x[:, 2:]))
    y = nn.Softmax2d()(fb.randn(2, 3, 4, 5))
    np.testing.assert_allclose(y.numpy().sum(1), 1, rtol=1e-5)
    with pytest.raises(RuntimeError, match="expected input to be 3D or 4D"):
        nn.Softmax2d()(fb.ones(2, 3))


def test_random_slopes():
    fb.manual_seed(0)
    layer = nn.RReLU(0.1, 0.3)
    y = -layer(-fb.ones(1000)).numpy()
    assert 0.1 <= y.min() < y.max() <= 0.3
    assert layer.eval()(-fb.ones(1)).item() == pytest.approx(-0.2)


def test_gumbel_softmax():
    fb.manual_seed(0)
    x = fb.zeros(1000, 3, requires_grad=True)
    hard = F.gumbel_softmax(x, hard=True)
    np.testing.assert_allclose(hard.detach().numpy().sum(1), 1, rtol=1e-5)
    assert np.abs(hard.detach().numpy().mean(0) - 1 / 3).max() < 0.06
    hard[:, 0].sum().backward()
    assert x.grad is not None


def test_implicit_dimension_warns():
    with pytest.warns(
        UserWarning, match="Implicit dimension choice for softmax has been deprecated"
    ):
        F.softmax(fb.zeros(2, 3))


def test_printing():
    assert repr(nn.ReLU(inplace=True)) == "ReLU(inplace=True)"
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(nn.GELU()) == "GELU(approximate='none')"
    assert repr(nn.PReLU(3)) == "PReLU(num_parameters=3)"
    assert repr(nn.Softmax(dim=1)) == "Softmax(dim=1)"


def test_errors():
    with pytest.raises(ValueError, match="min_val cannot be greater than max_val"):
        F.hardtanh(fb.ones(1), 2, 1)
    with pytest.raises(
        ValueError, match="Lower bound should be less than or equal to the upper bound"
    ):
        F.rrelu(fb.ones(1), 0.5, 0.1)
    with pytest.raises(RuntimeError, match=r"Halving dimension must be even(.|\n)*in module GLU"):
        nn.GLU()(fb.ones(3))
