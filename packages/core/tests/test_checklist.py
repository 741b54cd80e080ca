"""Lines of docs/checklist.md that no other test pins: names, formats and habits of the PyTorch tutorials."""

import gc
import importlib.metadata
import linecache
import math
import re
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb

NN = "the package flambeau-nn is not installed"
ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "docs" / name for name in ("checklist.md", "checklist-features.md")]
FOLDERS = {
    "examples": ROOT / "examples",
    "tutorials": ROOT / "examples" / "tutorials",
    "parity": ROOT / "parity",
    **{name: ROOT / "packages" / name / "tests" for name in ("core", "nn", "optim", "data")},
}


@pytest.mark.skipif(not PAGES[0].is_file(), reason="needs the checkout: docs/ is not above this")
def test_the_tests_named_in_the_checklist_exist():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"`(\w+)(?:/(\w+))?::(\w+)`", text))
    assert len(named) > 150
    absent = []
    for folder, file, test in named:
        path = FOLDERS[folder] / f"test_{file or folder}.py"
        found = path.is_file() and re.search(
            rf"^ *(?:def|class) {test}\b", path.read_text(encoding="utf-8"), re.M
        )
        if not found:
            absent.append(f"{folder}/{file}::{test}")
    assert sorted(absent) == []


@pytest.mark.skipif(not PAGES[0].is_file(), reason="needs the checkout: docs/ is not above this")
def test_every_line_of_the_checklist_has_a_state():
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("| ") and not line.endswith("| state |"):
                state = line.rstrip(" |").rpartition(" | ")[2]
                assert re.match(r"done$|(partly|open): ", state), line


# B1


def test_version_is_the_packages():
    assert re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?", fb.__version__)
    try:
        installed = importlib.metadata.version("flambeau-core")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("flambeau runs from its sources here, without metadata")
    assert installed == fb.__version__


def test_a_debugger_finds_the_source_of_every_frame():
    """What pdb would step into in a training step is Python, generated functions included."""
    nn = pytest.importorskip("flambeau.nn", reason=NN)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    x, y = fb.randn(5, 4), fb.tensor([0, 1, 0, 1, 1])
    nn.CrossEntropyLoss()(net(x), y).backward()  # functions are generated at their first use
    lines = {}

    def watch(frame, event, argument):
        code = frame.f_code
        lines[code.co_filename, code.co_name] = linecache.getline(code.co_filename, frame.f_lineno)

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        nn.CrossEntropyLoss()(net(x), y).backward()
    finally:
        sys.settrace(before)
    assert len(lines) > 20
    assert [where for where, line in lines.items() if not line.strip()] == []


# B2, B3


DTYPES = (
    "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool float double half long"
).split()


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_create_print_and_travel(name):
    dtype = getattr(fb, name)
    if dtype is fb.bfloat16:
        pytest.importorskip("ml_dtypes", reason="bfloat16 needs the extra flambeau-cpu[bf16]")
    x = fb.tensor([0, 1], dtype=dtype)
    assert x.dtype is fb.zeros(2, dtype=dtype).dtype is dtype
    hidden = dtype in (fb.float32, fb.int64, fb.bool)
    assert repr(x).endswith("])" if hidden else f"], dtype={dtype!r})")
    assert fb.from_numpy(x.numpy()).dtype is dtype
    assert fb.from_numpy(x.numpy()).tolist() == x.tolist() == [0, 1]


def test_casts():
    assert fb.tensor([1, 2]).float().dtype is fb.float32
    assert fb.tensor([1.7, -2.7]).long().tolist() == [1, -2]
    assert fb.tensor([1.7, -2.7]).long().dtype is fb.int64
    assert fb.tensor([1]).to(fb.float64).dtype is fb.float64
    assert fb.tensor([1.5]).to(fb.int32).tolist() == [1]
    assert fb.tensor([1.0]).to("cpu", fb.float16).dtype is fb.float16


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: fb.tensor([1, 2], **o),
        lambda **o: fb.zeros(2, **o),
        lambda **o: fb.ones(2, **o),
        lambda **o: fb.empty(2, **o),
        lambda **o: fb.eye(2, **o),
        lambda **o: fb.full((), 1, **o),
        lambda **o: fb.arange(3, **o),
        lambda **o: fb.linspace(0, 1, 3, **o),
        lambda **o: fb.rand(2, **o),
        lambda **o: fb.randn((), **o),
        lambda **o: fb.randint(0, 10, (3,), **o),
    ],
)
def test_factories_take_dtype_device_and_requires_grad(make):
    x = make(dtype=fb.float64, device=fb.device("cpu"), requires_grad=True)
    assert x.dtype is fb.float64
    assert str(x.device) == "cpu"
    assert x.requires_grad and x.is_leaf and x.grad is None


def test_a_float_column_to_integer_powers():
    x = fb.linspace(-math.pi, math.pi, 2000)
    powers = x.unsqueeze(-1).pow(fb.tensor([1, 2, 3]))
    assert (powers.dtype, powers.shape) == (fb.float32, (2000, 3))
    exact = np.linspace(-math.pi, math.pi, 2000)[:, None] ** np.array([1, 2, 3])
    np.testing.assert_allclose(powers.numpy(), exact, rtol=1e-5, atol=1e-5)


def test_equal_elements_are_counted():
    same = fb.tensor([1, 2, 3]) == fb.tensor([1, 0, 3])
    assert same.dtype is fb.bool
    assert same.sum().item() == 2
    assert type(same.sum().item()) is int


# B4, B5


def test_attributes():
    x = fb.randn(10, 20)
    assert isinstance(x.shape, tuple) and x.shape == x.size() == (10, 20)
    assert (x.size(0), x.size(-1), x.numel()) == (10, 20, 200)
    assert x.T.shape == (20, 10)
    assert not x.requires_grad and x.grad is None and x.grad_fn is None and x.is_leaf
    y = x.requires_grad_(True) * 2
    assert y.requires_grad and y.grad_fn is not None and not y.is_leaf
    assert [type(fb.tensor(v).item()) for v in (1, 1.0, True)] == [int, float, bool]


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: a**b,
    ],
)
def test_operators_on_tensors_and_numbers(f):
    a, b = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([0.5, 2.0, 3.0])
    for left, right in ((a, b), (a, 3), (3, b), (2.5, a)):
        of = [fb.tensor(v) if isinstance(v, np.ndarray) else v for v in (left, right)]
        np.testing.assert_allclose(f(*of).numpy(), f(left, right), rtol=1e-12)


def test_a_loop_variable_updates_the_parameters():
    parameters = [fb.ones(2, requires_grad=True), fb.ones(3, requires_grad=True)]
    shared = [p.detach() for p in parameters]
    sum((p * p).sum() for p in parameters).backward()
    with fb.no_grad():
        for p in parameters:
            p -= 0.25 * p.grad
    assert [s.tolist() for s in shared] == [[0.5] * 2, [0.5] * 3]
    assert all(p.is_leaf and p.requires_grad for p in parameters)


# B7


def test_a_module_moves_with_its_buffers():
    nn = pytest.importorskip("flambeau.nn", reason=NN)
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert net.to("meta") is net
    moved = [*net.parameters(), *net.buffers()]
    assert len(moved) == 7
    assert {str(t.device) for t in moved} == {"meta"}


def test_the_portable_choice_of_a_device():
    device = fb.accelerator.current_accelerator() or fb.device("cpu")
    assert device == fb.device("cuda" if fb.cuda.is_available() else "cpu")
    assert fb.ones(2, device=device).to("cpu").tolist() == [1.0, 1.0]


# B9


def held(enabled):
    """Arrays of 400 kB that twenty operations leave behind, and that backward() leaves of those."""
    x = fb.ones(100_000, requires_grad=True)
    x.grad = fb.zeros(100_000)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with fb.set_grad_enabled(enabled):
            y = x
            for _ in range(10):
                y = y.sin().cos()
            loss = y.sum()
        after = tracemalloc.get_traced_memory()[0]
        if enabled:
            del y
            loss.backward()
        return after / 400_000, tracemalloc.get_traced_memory()[0] / 400_000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_no_grad_keeps_one_result_and_a_graph_all():
    recorded, afterwards = held(True)
    assert 20 <= recorded < 23
    assert afterwards < 1
    assert held(False)[0] < 2


# B11


def twins():
    nn, f = fb.nn, fb.nn.functional
    image, row, sequence = (fb.randn(2, 4, 8, 8), fb.randn(6, 4), fb.randn(2, 4, 8))
    words = fb.randint(0, 10, (2, 5))
    conv1, conv2, conv3 = nn.Conv1d(4, 3, 3), nn.Conv2d(4, 3, 3, padding=1), nn.Conv3d(4, 3, 3)
    linear, embedding = nn.Linear(4, 3), nn.Embedding(10, 3)
    flat, norm2, group = nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.GroupNorm(2, 4)
    block = fb.randn(1, 4, 4, 4, 4)
    return {
        "linear": (linear, row, lambda x: f.linear(x, linear.weight, linear.bias)),
        "conv1d": (conv1, sequence, lambda x: f.conv1d(x, conv1.weight, conv1.bias)),
        "conv2d": (conv2, image, lambda x: f.conv2d(x, conv2.weight, conv2.bias, padding=1)),
        "conv3d": (conv3, block, lambda x: f.conv3d(x, conv3.weight, conv3.bias)),
        "relu": (nn.ReLU(), row, f.relu),
        "leaky_relu": (nn.LeakyReLU(), row, f.leaky_relu),
        "sigmoid": (nn.Sigmoid(), row, f.sigmoid),
        "tanh": (nn.Tanh(), row, f.tanh),
        "softmax": (nn.Softmax(dim=1), row, lambda x: f.softmax(x, dim=1)),
        "log_softmax": (nn.LogSoftmax(dim=1), row, lambda x: f.log_softmax(x, dim=1)),
        "gelu": (nn.GELU(), row, f.gelu),
        "max_pool1d": (nn.MaxPool1d(2), sequence, lambda x: f.max_pool1d(x, 2)),
        "max_pool2d": (nn.MaxPool2d(2, 2), image, lambda x: f.max_pool2d(x, 2, 2)),
        "avg_pool2d": (nn.AvgPool2d(2), image, lambda x: f.avg_pool2d(x, 2)),
        "adaptive": (nn.AdaptiveAvgPool2d(3), image, lambda x: f.adaptive_avg_pool2d(x, 3)),
        "batch_norm 1d": (flat, row, lambda x: f.batch_norm(x, None, None, training=True)),
        "batch_norm 2d": (norm2, image, lambda x: f.batch_norm(x, None, None, training=True)),
        "layer_norm": (nn.LayerNorm(4), row, lambda x: f.layer_norm(x, (4,))),
        "group_norm": (group, image, lambda x: f.group_norm(x, 2)),
        "dropout": (nn.Dropout(0.0), row, lambda x: f.dropout(x, 0.0)),
        "dropout2d": (nn.Dropout2d(0.0), image, lambda x: f.dropout2d(x, 0.0)),
        "embedding": (embedding, words, lambda x: f.embedding(x, embedding.weight)),
    }


TWINS = (
    "linear", "conv1d", "conv2d", "conv3d", "relu", "leaky_relu", "sigmoid", "tanh", "softmax", "log_softmax",
    "gelu", "max_pool1d", "max_pool2d", "avg_pool2d", "adaptive", "batch_norm 1d", "batch_norm 2d", "layer_norm",
    "group_norm", "dropout", "dropout2d", "embedding",
)  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_layers_have_functional_twins(name):
    pytest.importorskip("flambeau.nn", reason=NN)
    cases = twins()
    assert tuple(cases) == TWINS
    layer, x, function = cases[name]
    np.testing.assert_array_equal(layer(x).detach().numpy(), function(x).detach().numpy())


# P: texts printed by torch 2.13.0, where `flambeau` stands for `torch`

VALUES = {
    "fb.zeros(3, 4).shape": "flambeau.Size([3, 4])",
    "fb.tensor([1]).dtype": "flambeau.int64",
    "fb.tensor(6.0)": "tensor(6.)",
    "fb.tensor([1.0, 2.0, 3.0])": "tensor([1., 2., 3.])",
    "fb.tensor([1, 2, 3])": "tensor([1, 2, 3])",
    "fb.tensor([True, False])": "tensor([ True, False])",
    "fb.tensor(2.5)": "tensor(2.5000)",
    "fb.tensor([1.5, 2.25])": "tensor([1.5000, 2.2500])",
    "fb.tensor([])": "tensor([])",
    "fb.tensor([1e-6, 1.0])": "tensor([1.0000e-06, 1.0000e+00])",
    "fb.arange(1001)": "tensor([   0,    1,    2,  ...,  998,  999, 1000])",
    "fb.arange(6).view(2, 3)": "tensor([[0, 1, 2],\n        [3, 4, 5]])",
    "fb.tensor([1.0], dtype=fb.float64)": "tensor([1.], dtype=flambeau.float64)",
    "fb.tensor([1], dtype=fb.int32)": "tensor([1], dtype=flambeau.int32)",
    "fb.tensor([1.0], requires_grad=True)": "tensor([1.], requires_grad=True)",
    "fb.tensor([1.0], requires_grad=True) * 2": "tensor([2.], grad_fn=<MulBackward0>)",
    "fb.zeros(2, device='meta')": "tensor(..., device='meta', size=(2,))",
    "fb.device('cpu')": "device(type='cpu')",
    "fb.device('opencl:0')": "device(type='opencl', index=0)",
    "str(fb.device('opencl:0'))": "'opencl:0'",
}


@pytest.mark.parametrize("expression", VALUES)
def test_printed_values(expression):
    assert repr(eval(expression)) == VALUES[expression]


def test_formats_of_one_number_and_of_several():
    x = fb.tensor(-2.35588e-05)
    assert f"{x}" == str(x.item())
    assert re.fullmatch(r"-2\.3558\d*e-05", f"{x}")
    assert f"{fb.tensor(1 / 3):.4f}" == "0.3333"
    assert f"{fb.tensor(7)} {fb.tensor(7):03d} {fb.tensor(True)}" == "7 007 True"
    assert f"{fb.tensor(2.5, requires_grad=True)}" == "2.5"
    assert f"{fb.tensor([1.0, 2.0]).mean()}" == "1.5"
    assert f"{fb.tensor([1.0, 2.0])}" == "tensor([1., 2.])"
    assert f"x shape: {fb.zeros(10, 20).shape}" == "x shape: flambeau.Size([10, 20])"


LAYERS = {
    "nn.Linear(784, 128)": "Linear(in_features=784, out_features=128, bias=True)",
    "nn.Conv2d(3, 32, kernel_size=3, padding=1)": (
        "Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
    ),
    "nn.MaxPool2d(2, 2)": (
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    ),
    "nn.LSTM(100, 256, num_layers=2, batch_first=True, dropout=0.5)": (
        "LSTM(100, 256, num_layers=2, batch_first=True, dropout=0.5)"
    ),
    "nn.Dropout(0.5)": "Dropout(p=0.5, inplace=False)",
    "nn.Embedding(10, 3)": "Embedding(10, 3)",
    "nn.Flatten(0, 1)": "Flatten(start_dim=0, end_dim=1)",
    "nn.BatchNorm1d(256)": (
        "BatchNorm1d(256, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
    ),
    "nn.MSELoss()": "MSELoss()",
    "nn.Sequential(nn.Linear(2, 1), nn.Sequential(nn.ReLU()))": (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=1, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    ),
}


@pytest.mark.parametrize("expression", LAYERS)
def test_printed_layers(expression):
    nn = pytest.importorskip("flambeau.nn", reason=NN)
    assert repr(eval(expression, {"nn": nn})) == LAYERS[expression]


# C: what messages say besides PyTorch's words


def test_a_wrong_width_names_the_path_of_the_layer():
    nn = pytest.importorskip("flambeau.nn", reason=NN)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Linear(10, 5))])

        def forward(self, x):
            return self.blocks[0](x)

    with pytest.raises(RuntimeError, match=r"in module blocks\.0\.1: Linear\(10->5\)$"):
        Net()(fb.randn(3, 4))
    wrong = nn.ModuleDict({"head": nn.Sequential(nn.Linear(4, 8), nn.Linear(6, 2))})["head"]
    with pytest.raises(RuntimeError, match=r"\(3x8 and 6x2\).*\n  in module 1: Linear\(6->2\)$"):
        wrong(fb.randn(3, 4))


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"])
def test_a_column_against_a_row_is_refused(name):
    nn = pytest.importorskip("flambeau.nn", reason=NN)
    column, row = fb.ones(3, 1), fb.zeros(3)
    with pytest.raises(RuntimeError, match=r"must have the same shape.*Hint: target\.unsqueeze"):
        getattr(nn, name)()(column, row)
    assert getattr(nn, name)(broadcast=True)(column, row).shape == ()


def test_numbers_of_vectors_are_refused_as_pytorch_does():
    with pytest.raises(ValueError, match="with 2 elements cannot be converted"):
        float(fb.ones(2))
    with pytest.raises(RuntimeError, match="with 2 elements cannot be converted"):
        fb.ones(2).item()


@pytest.mark.skipif(fb.cuda.is_available(), reason="a GPU-like device stands behind 'cuda'")
def test_cuda_without_a_gpu_names_what_could_be_installed():
    with pytest.raises(AssertionError, match=r"Hint: .*device\('cpu'\)"):
        fb.ones(2).to("cuda")
    with pytest.raises(RuntimeError, match="no GPU-like device stands behind 'cuda'"):
        fb.zeros(2, device="cuda:0")


def test_a_second_backward_says_how_to_find_the_line():
    loss = (fb.ones(2, requires_grad=True) ** 2).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"autograd\.detect_anomaly\(\) names the line that bui"):
        loss.backward()


def test_no_grad_is_named_where_it_is_the_reason():
    x = fb.ones(2, requires_grad=True)
    with fb.no_grad():
        loss = (x * 2).sum()
        with pytest.raises(RuntimeError, match=r"gradients are switched off by no_grad\(\)"):
            loss.backward()
    with pytest.raises(RuntimeError, match=r"requires grad, or it was computed under no_grad\(\)"):
        loss.backward()


def wrong(nn):
    """What section C of the page does wrong, by the words in its first column."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(10, 5)

    class Hasty(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2)

    f, layer, leaf = nn.functional, nn.Linear(10, 5), fb.ones(3, requires_grad=True)
    loss = leaf.sum() * leaf.sum()
    loss.backward()
    logits = fb.zeros(2, 3)
    return {
        "`Linear(10,5)(randn(3,4))`": lambda: layer(fb.randn(3, 4)),
        "`randn(3,4) + randn(3,5)`": lambda: fb.randn(3, 4) + fb.randn(3, 5),
        "in-place on a leaf": lambda: layer.weight.add_(1),
        "backward on a vector": lambda: (leaf * 2).backward(),
        "backward twice": loss.backward,
        "no grad anywhere": lambda: fb.ones(2).sum().backward(),
        "two devices": lambda: fb.ones(2) + fb.ones(2, device="meta"),
        "`.cuda()` without a GPU": lambda: fb.ones(2).cuda(),
        "unknown device": lambda: fb.ones(2, device="gpu"),
        "`MSELoss` of (3, 1) and (3,)": lambda: nn.MSELoss()(fb.ones(3, 1), fb.ones(3)),
        "bool of a vector": lambda: bool(fb.ones(2)),
        "item of a vector": lambda: fb.ones(2).item(),
        "numpy of a grad tensor": leaf.numpy,
        "target out of range": lambda: f.cross_entropy(logits, fb.tensor([0, 3])),
        "target of a wrong dtype": lambda: f.cross_entropy(logits, fb.tensor([0.0, 1.0])),
        "BCE outside [0, 1]": lambda: nn.BCELoss()(fb.tensor([1.5]), fb.tensor([1.0])),
        "cat of other sizes": lambda: fb.cat([fb.ones(2, 3), fb.ones(2, 4)]),
        "index out of range": lambda: fb.ones(3)[5],
        "state_dict mismatch": lambda: Net().load_state_dict({}),
        "no `super().__init__()`": Hasty,
    }


@pytest.mark.skipif(not PAGES[0].is_file(), reason="needs the checkout: docs/ is not above this")
def test_messages_are_printed_as_the_checklist_quotes_them():
    mistakes = wrong(pytest.importorskip("flambeau.nn", reason=NN))
    section = PAGES[0].read_text(encoding="utf-8").partition("## C. Errors")[2]
    rows = re.findall(r"^\| (.*?) \| (``.*?``|`.*?`)", section, re.M)
    assert [case for case, _ in rows] == list(mistakes)
    only_cpu = [e.name for e in importlib.metadata.entry_points(group="flambeau.backends")] == [
        "cpu"
    ]
    for case, quoted in rows:
        if "cuda" in case and fb.cuda.is_available():
            continue
        with pytest.raises(Exception) as caught:  # noqa: PT011  the text is compared below
            mistakes[case]()
        if only_cpu or "installed: cpu" not in quoted:
            assert str(caught.value).splitlines()[0] == quoted.strip("`"), case
