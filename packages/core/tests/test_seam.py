"""The seam below autograd: swapping the kernel table shows everything that happens to native arrays."""

import contextlib
import gc
import tracemalloc

import numpy as np
import pytest

import flambeau as fb
from flambeau.kinds import kind_of

nn = pytest.importorskip("flambeau.nn", reason="the train step needs the package flambeau-nn")
F = pytest.importorskip(
    "flambeau.nn.functional", reason="the train step needs the package flambeau-nn"
)

TABLE = kind_of(fb.device("cpu"), fb.float32).k


class Recorder:
    """Stands in for every kernel of a table, and writes down each call with its arrays."""

    def __init__(self, table):
        self.table = table
        self.kernels = dict(table)
        self.calls = []

    def wrap(self, name, kernel):
        def recorded(*args, **kwargs):
            if name == "from_host":
                args = (np.array(args[0]),)
            result = kernel(*args, **kwargs)
            self.calls.append((name, args, kwargs, result))
            return result

        return recorded

    @contextlib.contextmanager
    def recording(self):
        for name, kernel in self.kernels.items():
            if kernel is not None:
                self.table[name] = self.wrap(name, kernel)
        try:
            yield self
        finally:
            self.table.clear()
            self.table.update(self.kernels)

    def replay(self, copies):
        """Run the calls again in order; `copies` maps the id of an array from outside to a fresh copy of it."""
        values = dict(copies)

        def fresh(x):
            if isinstance(x, np.ndarray):
                return values.get(id(x), x)
            if isinstance(x, list | tuple):
                return type(x)(fresh(i) for i in x)
            return x

        for name, args, kwargs, result in self.calls:
            if name == "from_host":
                again = np.array(args[0])
            else:
                again = self.kernels[name](
                    *map(fresh, args), **{k: fresh(v) for k, v in kwargs.items()}
                )
            for old, new in zip(flat(result), flat(again), strict=True):
                values[id(old)] = new
        return values


def flat(x):
    if isinstance(x, np.ndarray):
        return [x]
    return [a for i in x for a in flat(i)] if isinstance(x, list | tuple) else []


class Net(nn.Module):
    """Linear layers with dropout, and between them an in-place update, views and indexing."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.drop = nn.Dropout(0.3)
        self.second = nn.Linear(8, 3)

    def forward(self, x):
        h = F.relu(self.first(x).mul_(1.5))
        halves = self.drop(h).view(-1, 2, 8)
        picked = halves[:, 1] + halves[:, 0].t().t()
        order = fb.tensor([3, 0, 2, 1])
        return self.second(picked[order])


def train_step(model, x, y, lr):
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    with fb.no_grad():
        for p in model.parameters():
            p -= lr * p.grad
            p.grad = None
    return loss


def test_a_recorded_train_step_replays_bit_for_bit():
    model = Net()
    x, y = fb.randn(4, 6), fb.tensor([0, 2, 1, 1])
    outside = [p.detach() for p in model.parameters()] + [x, y]
    copies = {id(t._a): t._a.copy() for t in outside}
    recorder = Recorder(TABLE)
    with recorder.recording():
        loss = train_step(model, x, y, 0.1)
    names = {name for name, *_ in recorder.calls}
    assert {"from_host", "view", "slice", "sub", "copy"} <= names
    values = recorder.replay(copies)
    for p in model.parameters():
        replayed = copies[id(p._a)]
        assert replayed is not p._a
        assert np.array_equal(replayed, p._a)
    assert any(v is not loss._a and np.array_equal(v, loss._a) for v in values.values())


def test_replaying_twice_is_training_twice():
    results = []
    for again in (False, True):
        fb.manual_seed(3)
        model = Net()
        model.drop.eval()
        x, y = fb.randn(4, 6), fb.tensor([0, 2, 1, 1])
        copies = {id(t._a): t._a.copy() for t in [*(p.detach() for p in model.parameters()), x, y]}
        recorder = Recorder(TABLE)
        with recorder.recording():
            train_step(model, x, y, 0.1)
        if again:
            recorder.replay(copies)
            recorder.replay(copies)
            results.append([copies[id(p._a)] for p in model.parameters()])
        else:
            train_step(model, x, y, 0.1)
            results.append([p.detach().numpy() for p in model.parameters()])
    for eager, replayed in zip(*results, strict=True):
        assert np.array_equal(eager, replayed)


def test_the_table_is_as_it_was_afterwards():
    before = dict(TABLE)
    with Recorder(TABLE).recording():
        assert TABLE["add"] is not before["add"]
    assert dict(TABLE) == before
    assert TABLE["add"] is np.add


def test_training_holds_its_memory():
    """1,000 steps leave as many tensors, nodes and bytes as 100 do, with the cyclic collector off."""
    from flambeau.autograd.node import Node

    model = Net()
    x, y = fb.randn(4, 6), fb.tensor([0, 2, 1, 1])

    def alive():
        objects = gc.get_objects()
        return (
            sum(isinstance(o, fb.Tensor) for o in objects),
            sum(isinstance(o, Node) for o in objects),
            tracemalloc.get_traced_memory()[0],
        )

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(100):
            train_step(model, x, y, 0.01)
        tensors, nodes, size = alive()
        for _ in range(900):
            train_step(model, x, y, 0.01)
        after = alive()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after[:2] == (tensors, nodes)
    assert after[2] - size < 20_000
