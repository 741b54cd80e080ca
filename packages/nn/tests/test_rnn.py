"""Recurrent layers: values against NumPy loops, fused against step by step, packing, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck
from flambeau.nn.functional import _rnn
from flambeau.nn.utils import rnn as R
from flambeau.nn.utils.stateless import functional_call

rng = np.random.default_rng(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(mode, x, layer):
    """One layer, forwards, in NumPy."""
    w, v, b, c = (p.detach().numpy() for p in layer.parameters())
    h = np.zeros((x.shape[1], v.shape[1]))
    cell = h.copy()
    out = []
    for step in x:
        a, r = step @ w.T + b, h @ v.T + c
        if mode == "LSTM":
            i, f, g, o = np.split(a + r, 4, 1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(cell)
        elif mode == "GRU":
            (ar, az, an), (rr, rz, rn) = np.split(a, 3, 1), np.split(r, 3, 1)
            n = np.tanh(an + sigmoid(ar + rr) * rn)
            z = sigmoid(az + rz)
            h = (1 - z) * n + z * h
        else:
            h = np.tanh(a + r)
        out.append(h)
    return np.stack(out), h, cell


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
def test_values(mode):
    layer = getattr(nn, mode)(3, 4, dtype=fb.float64)
    x = rng.normal(size=(5, 2, 3))
    out, h, cell = reference(mode, x, layer)
    y, last = layer(fb.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), out, rtol=1e-10)
    if mode == "LSTM":
        np.testing.assert_allclose(last[1].detach().numpy()[0], cell, rtol=1e-10)
        last = last[0]
    np.testing.assert_allclose(last.detach().numpy()[0], h, rtol=1e-10)


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "options",
    [{}, {"bidirectional": True}, {"bias": False}, {"num_layers": 2, "batch_first": True}],
)
def test_gradients(mode, options):
    layer = getattr(nn, mode)(2, 3, dtype=fb.float64, **options)
    names = [n for n, _ in layer.named_parameters()]
    weights = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    x = fb.tensor(rng.normal(size=(3, 2, 2)), requires_grad=True)

    def run(x, *w):
        y, last = functional_call(layer, dict(zip(names, w)), x)
        return (y, *last) if isinstance(last, tuple) else (y, last)

    assert gradcheck(run, (x, *weights))


@pytest.mark.parametrize("mode", ["RNN_TANH", "RNN_RELU", "LSTM", "GRU"])
@pytest.mark.parametrize("reverse", [False, True])
def test_fused_equals_step_by_step(mode, reverse):
    gates = _rnn.GATES[mode]
    x, h, c = (fb.tensor(rng.normal(size=s)) for s in ((4, 2, 3), (2, 5), (2, 5)))
    weights = [
        fb.tensor(rng.normal(size=s))
        for s in ((gates * 5, 3), (gates * 5, 5), (gates * 5,), (gates * 5,))
    ]
    state = (h, c) if mode == "LSTM" else (h,)
    for a, b in zip(
        _rnn.layer(mode, x, state, weights, reverse),
        _rnn.by_steps(mode, x, state, weights, reverse),
    ):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)


def test_shapes_and_names():
    layer = nn.LSTM(100, 256, 2, batch_first=True, dropout=0.5)
    assert repr(layer) == "LSTM(100, 256, num_layers=2, batch_first=True, dropout=0.5)"
    y, (h, c) = layer(fb.randn(4, 7, 100))
    assert y.shape == (4, 7, 256)
    assert h.shape == c.shape == (2, 4, 256)
    assert list(layer.state_dict())[:5] == [
        "weight_ih_l0",
        "weight_hh_l0",
        "bias_ih_l0",
        "bias_hh_l0",
        "weight_ih_l1",
    ]
    both = nn.GRU(3, 4, bidirectional=True)
    assert "weight_ih_l0_reverse" in both.state_dict()
    assert both(fb.randn(5, 3))[0].shape == (5, 8)
    projected = nn.LSTM(3, 6, proj_size=2)
    y, (h, c) = projected(fb.randn(5, 2, 3))
    assert (y.shape, h.shape, c.shape) == ((5, 2, 2), (1, 2, 2), (1, 2, 6))


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
def test_packed_equals_each_sequence_alone(mode):
    layer = getattr(nn, mode)(3, 4, 2, bidirectional=True, dtype=fb.float64)
    sequences = [fb.tensor(rng.normal(size=(n, 3))) for n in (2, 5, 1, 3)]
    packed = R.pack_sequence(sequences, enforce_sorted=False)
    y, last = layer(packed)
    padded, lengths = R.pad_packed_sequence(y)
    assert lengths.tolist() == [2, 5, 1, 3]
    h = last[0] if mode == "LSTM" else last
    for i, s in enumerate(sequences):
        alone, end = layer(s)
        np.testing.assert_allclose(
            padded[: len(s), i].detach().numpy(), alone.detach().numpy(), rtol=1e-9, atol=1e-12
        )
        end = end[0] if mode == "LSTM" else end
        np.testing.assert_allclose(
            h[:, i].detach().numpy(), end.detach().numpy(), rtol=1e-9, atol=1e-12
        )


def test_padding_round_trips():
    sequences = [fb.arange(3.0), fb.arange(1.0), fb.arange(2.0)]
    padded = R.pad_sequence(sequences, batch_first=True, padding_value=-1)
    assert padded.tolist() == [[0, 1, 2], [0, -1, -1], [0, 1, -1]]
    assert R.pad_sequence(sequences, batch_first=True, padding_side="left")[1].tolist() == [0, 0, 0]
    assert [s.tolist() for s in R.unpad_sequence(padded, [3, 1, 2], batch_first=True)] == [
        s.tolist() for s in sequences
    ]
    packed = R.pack_sequence(sequences, enforce_sorted=False)
    assert packed.data.tolist() == [0, 0, 0, 1, 1, 2]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert [s.tolist() for s in R.unpack_sequence(packed)] == [s.tolist() for s in sequences]
    back, _ = R.pad_packed_sequence(packed, batch_first=True, total_length=4, padding_value=9)
    assert back.shape == (3, 4)


def test_cells():
    for name in ("RNNCell", "GRUCell", "LSTMCell"):
        cell = getattr(nn, name)(3, 4)
        new = cell(fb.randn(2, 3))
        assert (new[0] if name == "LSTMCell" else new).shape == (2, 4)
    layer, cell = nn.GRU(3, 4), nn.GRUCell(3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = fb.randn(1, 2, 3)
    np.testing.assert_allclose(
        layer(x)[0][0].detach().numpy(), cell(x[0]).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    assert repr(nn.RNNCell(3, 4, nonlinearity="relu")) == "RNNCell(3, 4, nonlinearity=relu)"


def test_errors():
    layer = nn.LSTM(3, 4)
    with pytest.raises(RuntimeError, match=r"Expected 3, got 5 (.|\n)*in module LSTM\(3->4\)"):
        layer(fb.ones(2, 2, 5))
    with pytest.raises(ValueError, match="Expected input to be 2D or 3D, got 1D"):
        layer(fb.ones(3))
    with pytest.raises(
        RuntimeError, match=r"Expected hidden\[0\] size \(1, 2, 4\), got \[1, 3, 4\]"
    ):
        layer(fb.ones(5, 2, 3), (fb.ones(1, 3, 4), fb.ones(1, 3, 4)))
    with pytest.raises(TypeError, match="hx must be a pair"):
        layer(fb.ones(5, 2, 3), fb.ones(1, 2, 4))
    with pytest.raises(ValueError, match="hidden_size must be greater than zero"):
        nn.RNN(3, 0)
    with pytest.raises(ValueError, match="Unknown nonlinearity 'sin'"):
        nn.RNN(3, 4, nonlinearity="sin")
    with pytest.raises(ValueError, match="proj_size has to be smaller than hidden_size"):
        nn.LSTM(3, 4, proj_size=4)
    with pytest.warns(
        UserWarning, match="dropout option adds dropout after all but last recurrent layer"
    ):
        nn.GRU(3, 4, dropout=0.5)
    with pytest.raises(RuntimeError, match="`lengths` array must be sorted in decreasing order"):
        R.pack_padded_sequence(fb.ones(3, 2), [1, 2])
    with pytest.raises(RuntimeError, match="Length of all samples has to be greater than 0"):
        R.pack_padded_sequence(fb.ones(3, 2), [2, 0])
    with pytest.raises(RuntimeError, match=r"Expected `len\(lengths\)` to be equal to batch_size"):
        R.pack_padded_sequence(fb.ones(3, 2), [2])
    with pytest.raises(RuntimeError, match="input has inconsistent input_size: got 5, expected 3"):
        nn.GRUCell(3, 4)(fb.ones(2, 5))
