"""Layers in 16-bit floats: computed in float32, rounded once."""

import importlib.util

import numpy as np
import pytest

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn

HALF = [
    fb.float16,
    pytest.param(
        fb.bfloat16,
        marks=pytest.mark.skipif(
            importlib.util.find_spec("ml_dtypes") is None, reason="bfloat16 needs ml_dtypes"
        ),
    ),
]
LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "linear of a vector": (lambda: nn.Linear(6, 5), (6,)),
    "linear of sequences": (lambda: nn.Linear(6, 5, bias=False), (2, 4, 6)),
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 5)),
    "layer norm": (lambda: nn.LayerNorm(6), (4, 6)),
    "rms norm": (lambda: nn.RMSNorm(6), (4, 6)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (3, 4, 5)),
    "instance norm": (lambda: nn.InstanceNorm1d(4, affine=True), (3, 4, 5)),
    "batch norm": (lambda: nn.BatchNorm1d(6), (4, 6)),
    "lstm": (lambda: nn.LSTM(6, 5), (3, 2, 6)),
    "gru": (lambda: nn.GRU(6, 5), (3, 2, 6)),
    "rnn": (lambda: nn.RNN(6, 5), (3, 2, 6)),
}


def first(y):
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_the_float32_result_rounded(name, dtype):
    fb.manual_seed(0)
    make, shape = LAYERS[name]
    low = make().to(dtype)
    high = make()
    high.load_state_dict({k: v.to(high.state_dict()[k].dtype) for k, v in low.state_dict().items()})
    x = fb.randn(shape).to(dtype)
    a, b = x.clone().requires_grad_(), x.float().requires_grad_()
    y, z = first(low(a)), first(high(b))
    assert y.dtype is dtype
    assert y.equal(z.to(dtype))
    g = fb.randn(y.shape).to(dtype)
    y.backward(g)
    z.backward(g.float())
    for p, q in zip([*low.parameters(), a], [*high.parameters(), b], strict=True):
        assert p.grad.dtype is dtype
        tolerance = 4 * fb.finfo(dtype).eps * max(1.0, q.grad.abs().max().item())
        assert (p.grad.float() - q.grad).abs().max() <= tolerance


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_attention(dtype):
    fb.manual_seed(0)
    q, k, v = (fb.randn(2, 4, 8).to(dtype).requires_grad_() for _ in range(3))
    y = F.scaled_dot_product_attention(q, k, v)
    assert y.equal(F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(dtype))
    y.sum().backward()
    assert q.grad.dtype is dtype


def test_squares_of_float16_do_not_overflow():
    x = fb.tensor([[300.0, -300.0, 500.0, -500.0]], dtype=fb.float16)  # 300 squared is too large
    root = np.sqrt((300**2 + 500**2) / 2)
    expected = fb.tensor([[300 / root, -300 / root, 500 / root, -500 / root]]).half()
    assert F.layer_norm(x, (4,)).equal(expected)
    assert F.rms_norm(x, (4,)).equal(expected)


def test_rms_norm_takes_float32s_epsilon():
    x = fb.full((1, 4), 1e-3, dtype=fb.float16)
    square = float(x[0, 0]) ** 2
    expected = float(x[0, 0]) / np.sqrt(square + fb.finfo(fb.float32).eps)
    assert F.rms_norm(x, (4,))[0, 0].item() == pytest.approx(expected, rel=1e-3)


def test_small_integers_are_no_16_bit_floats():
    x, w = fb.tensor([[1, 2]], dtype=fb.int16), fb.tensor([[3, 4]], dtype=fb.int16)
    assert F.linear(x, w).item() == 11
