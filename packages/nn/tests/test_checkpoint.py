"""Checkpointed layers, and layers whose saved tensors or memory go elsewhere."""

import multiprocessing
import sys

import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.graph import saved_tensors_hooks
from flambeau.utils.checkpoint import checkpoint, checkpoint_sequential


class Block(nn.Module):
    """One of most kinds of layers."""

    def __init__(self, d):
        super().__init__()
        self.attention = nn.MultiheadAttention(d, 2, dropout=0.1, batch_first=True)
        self.norm, self.dropout = nn.LayerNorm(d), nn.Dropout(0.2)
        self.wide, self.narrow = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.lstm = nn.LSTM(d, d, batch_first=True)
        self.conv, self.batch_norm = nn.Conv1d(d, d, 3, padding=1), nn.BatchNorm1d(d)
        self.pool = nn.MaxPool1d(3, 1, 1)

    def forward(self, x, *, scale=1.0):
        y = self.norm(x)
        x = x + self.attention(y, y, y)[0]
        x = x + self.dropout(self.narrow(nn.functional.gelu(self.wide(x)))) * scale
        x = self.lstm(x)[0]
        y = self.pool(self.batch_norm(self.conv(x.transpose(1, 2))).relu_())
        return x + y.transpose(1, 2)


def train(call, amp):
    fb.manual_seed(0)
    model = nn.ModuleList(Block(8) for _ in range(3))
    x = fb.randn(3, 5, 8).requires_grad_()
    y = x
    with fb.autocast("cpu", dtype=fb.float16, enabled=amp):
        for layer in model:
            y = call(layer, y, scale=0.5)
        loss = nn.functional.cross_entropy(y.mean(1), fb.tensor([1, 0, 7]))
    loss.backward()
    grads = [p.grad.tolist() for p in (*model.parameters(), x)]
    return grads, loss.item(), fb.get_rng_state().tolist()


def plainly(layer, *args, **kwargs):
    return layer(*args, **kwargs)


@pytest.mark.parametrize("amp", [False, True], ids=["plain", "autocast"])
def test_gradients_are_the_same_bits(amp):
    expected = train(plainly, amp)
    assert train(lambda *a, **k: checkpoint(*a, use_reentrant=False, **k), amp) == expected


def test_gradients_with_hooks_on_saved_tensors():
    packed = []

    def hooked(layer, *args, **kwargs):
        with saved_tensors_hooks(
            lambda t: packed.append(t.shape) or t.numpy().copy(), fb.from_numpy
        ):
            return layer(*args, **kwargs)

    assert train(hooked, False) == train(plainly, False)
    assert len(packed) > 60


def test_a_loss_within_hooks():
    x = fb.randn(4, 3).requires_grad_()
    nn.functional.cross_entropy(x, fb.tensor([0, 1, 2, 0])).backward()
    expected, x.grad = x.grad.tolist(), None
    with saved_tensors_hooks(lambda t: t.tolist(), fb.tensor):
        loss = nn.functional.cross_entropy(x, fb.tensor([0, 1, 2, 0]))
    loss.backward()
    assert x.grad.tolist() == expected


def test_a_sequential():
    fb.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)
    )
    x = fb.randn(5, 4)
    found = []
    for run in (model, lambda x: checkpoint_sequential(model, 3, x, use_reentrant=False)):
        fb.manual_seed(1)
        model.zero_grad()
        run(x).sum().backward()
        found.append([p.grad.tolist() for p in model.parameters()])
    assert found[0] == found[1]


def add_one(model):
    with fb.no_grad():
        for t in (*model.parameters(), *model.buffers()):
            t += 1


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be forked here")
def test_a_forked_process_changes_a_shared_model():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model(fb.randn(4, 2)).sum().backward()
    expected = [(t + 1).tolist() for t in (*model.parameters(), *model.buffers())]
    assert model.share_memory() is model
    assert all(t.is_shared() and t.is_leaf for t in (*model.parameters(), *model.buffers()))
    assert all(p.grad.is_shared() for p in model.parameters())
    process = multiprocessing.get_context("fork").Process(target=add_one, args=(model,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert [t.tolist() for t in (*model.parameters(), *model.buffers())] == expected
