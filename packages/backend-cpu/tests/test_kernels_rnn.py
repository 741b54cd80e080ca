import numpy as np
import pytest

from flambeau_cpu.kernels import rnn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, w_ih, w_hh, b_ih, b_hh):
    outputs = []
    for step in x:
        i, f, g, o = np.split(step @ w_ih.T + h @ w_hh.T + b_ih + b_hh, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), h, c


def values(steps, batch, inputs, hidden):
    rng = np.random.default_rng(0)
    shapes = ((steps, batch, inputs), (batch, hidden), (batch, hidden), (4 * hidden, inputs),
              (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))  # fmt: skip
    return [rng.standard_normal(shape) * 0.3 for shape in shapes]


@pytest.mark.parametrize("limit", [rnn._UNPACKED, 600], ids=["whole", "in pieces"])
@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_agrees_with_its_definition(reverse, limit, monkeypatch):
    monkeypatch.setattr(rnn, "_UNPACKED", limit)
    arrays = values(4, 3, 2, 16)
    y, h, c, _ = rnn.rnn_layer("LSTM", *arrays, reverse)
    x = arrays[0][::-1] if reverse else arrays[0]
    want_y, want_h, want_c = lstm(x, *arrays[1:])
    np.testing.assert_allclose(y, want_y[::-1] if reverse else want_y, rtol=1e-12)
    np.testing.assert_allclose(h, want_h, rtol=1e-12)
    np.testing.assert_allclose(c, want_c, rtol=1e-12)


@pytest.mark.parametrize("limit", [rnn._UNPACKED, 600], ids=["whole", "in pieces"])
def test_lstm_gradients_agree_with_differences(limit, monkeypatch):
    monkeypatch.setattr(rnn, "_UNPACKED", limit)
    arrays = values(3, 2, 3, 16)
    rng = np.random.default_rng(1)
    y, h, c, kept = rnn.rnn_layer("LSTM", *arrays, False)
    gy, gh, gc = (rng.standard_normal(a.shape) for a in (y, h, c))
    y += 1  # what a program does to the output must not reach the gradients
    grads = rnn.rnn_layer_backward(
        "LSTM", gy, gh, gc, arrays[0], arrays[3], arrays[4], kept, False, (True,) * 7
    )
    for i, grad in enumerate(grads):
        direction = rng.standard_normal(arrays[i].shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = list(arrays)
            moved[i] = arrays[i] + step * direction
            ends.append(sum((a * g).sum() for a, g in zip(lstm(*moved), (gy, gh, gc), strict=True)))
        slope = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose((grad * direction).sum(), slope, rtol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "blocks"),
    [((1024, 357, 32), 16), ((16, 10, 10), 1), ((1024, 4096, 512), 1), ((30, 357, 320), 1)],
)
def test_products_are_split_only_where_pieces_become_small_enough(sizes, blocks):
    assert rnn._pieces(*sizes) == blocks
