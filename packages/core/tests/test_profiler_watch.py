"""Rows of backward passes, optimizer steps and batches, and what belongs to which module."""

import multiprocessing
import os

import pytest

import flambeau as fb
from flambeau.autograd import engine, node
from flambeau.autograd.marks import Seq
from flambeau.kinds import kind_of
from flambeau.ops._source import SCOPE
from flambeau.profiler import _record, _session, profile
from flambeau.profiler._record import Label
from flambeau.profiler._spans import backward_of_modules
from flambeau.profiler._watch import BACKWARD

TABLE = kind_of(fb.device("cpu"), fb.float32).k
X = fb.ones(2, 3)


@pytest.fixture(autouse=True)
def the_table_is_put_back():
    before = TABLE.native()
    others = engine.run, node.next_seq, SCOPE["next_seq"], node.AccumulateGrad.apply
    yield
    after = TABLE.native()
    assert after.keys() == before.keys()
    assert all(after[k] is before[k] for k in before)
    assert not _record.ACTIVE
    assert not _session._RUNNING
    assert others == (engine.run, node.next_seq, SCOPE["next_seq"], node.AccumulateGrad.apply)
    assert "__init_subclass__" not in vars(node.Node)


def rows(prof, **by):
    return {row.key: row for row in prof.key_averages(**by)}


def test_backward_functions_become_rows():
    w = fb.ones(3, requires_grad=True)

    class Twice(fb.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    plain = type((w * 1).grad_fn).apply
    with profile() as prof:
        for _ in range(2):
            Twice.apply(w).sin().sum().backward()
        fb.autograd.grad((w * w).sum(), w)
    assert type((w * 1).grad_fn).apply is plain
    found = rows(prof)
    assert found["autograd backward"].count == 3
    assert found["SinBackward0"].count == found["TwiceBackward"].count == 2
    assert found["MulBackward0"].count == 1
    assert found["SinBackward0"].kind == "node"
    event = next(e for e in prof.events() if e.name == "cos")
    assert event.cpu_parent.name == "SinBackward0"
    assert event.cpu_parent.cpu_parent.name == "autograd backward"
    assert event in event.cpu_parent.cpu_children


def test_the_backward_pass_of_modules_becomes_rows():
    nn = pytest.importorskip("flambeau.nn")
    optim = pytest.importorskip("flambeau.optim")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(3, 3)
            self.head = nn.Sequential(nn.Tanh(), nn.Linear(3, 1))

        def forward(self, x):
            return self.head(self.shared(self.shared(x))).sin()

    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with profile() as prof:
        for _ in range(3):
            optimizer.zero_grad()
            net(X).sum().backward()
            optimizer.step()
    found = rows(prof)
    counts = {name: row.count for name, row in found.items() if name.endswith(") backward")}
    assert counts == {
        "Net.shared (Linear) backward": 6,
        "Net.head (Sequential) backward": 3,
        "Net.head.0 (Tanh) backward": 3,
        "Net.head.1 (Linear) backward": 3,
    }
    whole, walk = found["Net backward"], found["autograd backward"]
    assert whole.count == walk.count == 3
    assert whole.kind == "module"
    inner = found["Net.head (Sequential) backward"].cpu_time_total
    assert walk.cpu_time_total >= whole.cpu_time_total >= inner
    assert all(row.self_cpu_time_total >= 0 for row in found.values())
    assert found["Optimizer.step#SGD.step"].count == 3
    assert found["Optimizer.zero_grad#SGD.zero_grad"].count == 3


def test_modules_of_written_down_backward_functions():
    def made(at, thread=1):
        seq = Seq(at)
        seq.made, seq.thread = at, thread
        return seq

    net, a, b = (Label("module", n) for n in ("Net", "Net.a (A)", "Net.b (B)"))
    call = Label("node", "N")
    events = [(0, 50, 1, net, None, ""), (10, 20, 1, a, None, ""), (30, 40, 1, b, None, "")]
    events += [(100, 200, 1, BACKWARD, None, ""), (300, 400, 1, BACKWARD, None, "")]
    # made in b, b, between the two, in a, outside, in another thread; the last one walks once more
    for start, seq in ((101, made(35)), (111, made(31)), (121, made(25)), (131, made(15))):
        events.append((start, start + 5, 1, call, seq, ""))
    events += [(141, 146, 1, call, made(60), ""), (151, 156, 1, call, made(15, 2), "")]
    events += [(161, 166, 1, call, 7, ""), (301, 306, 1, call, made(15), "")]
    found = sorted(
        (start, end, label.name) for start, end, _, label, _, _ in backward_of_modules(events)
    )
    assert found == [
        (101, 116, "Net.b (B) backward"),
        (101, 136, "Net backward"),
        (131, 136, "Net.a (A) backward"),
        (301, 306, "Net backward"),
        (301, 306, "Net.a (A) backward"),
    ]


def test_anomaly_mode_within_a_profile():
    w = fb.ones(3, requires_grad=True)
    with profile() as prof:
        with fb.autograd.detect_anomaly():
            w.sin().sum().backward()
        w.tanh().sum().backward()
    assert {"SinBackward0", "TanhBackward0"} <= rows(prof).keys()


def test_batches_of_a_loader_become_rows():
    data = pytest.importorskip("flambeau.utils.data")
    loader = data.DataLoader(data.TensorDataset(fb.arange(6)), batch_size=2)
    with profile() as prof:
        assert len(list(loader)) == 3
    row = rows(prof)["enumerate(DataLoader)#InProcess.__next__"]
    assert row.count == 4  # the last call finds the end


def _what_a_child_sees(queue):
    X.exp()
    queue.put((len(_session._RUNNING), len(_record.ACTIVE), engine.run.__name__))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_processes_are_left_out():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with profile() as prof:
        child = context.Process(target=_what_a_child_sees, args=(queue,))
        child.start()
        child.join()
        X.tanh()
    assert queue.get() == (0, 0, "run")
    assert "exp" not in rows(prof)
    assert rows(prof)["tanh"].count == 1


def test_anomaly_mode_inside_a_profile_and_around_it():
    nn = pytest.importorskip("flambeau.nn")
    layer = nn.Linear(2, 1)
    # Neither knows of the other: both remember something about each node.
    for outer, inner in (
        (fb.profiler.profile, fb.autograd.detect_anomaly),
        (fb.autograd.detect_anomaly, fb.profiler.profile),
    ):
        x = fb.zeros(2, requires_grad=True)
        with outer() as a, inner() as b:
            y = layer(x.sqrt() * x)
            with pytest.raises(RuntimeError, match="in its 0th output") as error:
                y.backward()
        assert "layer(x.sqrt() * x)" in str(error.value)
        rows = {row.key for row in (a or b).key_averages()}
        assert "Linear backward" in rows


def test_nodes_with_packed_values_count_once():
    x = fb.ones(3, requires_grad=True)
    hooks = fb.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)
    with profile() as prof, hooks:
        (x * x).sum().backward()
    assert rows(prof)["MulBackward0"].count == 1
