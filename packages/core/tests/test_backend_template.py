"""All of core on the sample backend, device toy:0: 32 kernels on private memory, everything else by default.

The reference is the cpu, whose kernels are tested against NumPy elsewhere.
"""

import importlib
import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend import REQUIRED, registry
from flambeau.backend.registry import open_device
from flambeau.errors import DeviceError, ShapeError, UnsupportedOpError
from flambeau.ops._op import OPS
from flambeau.testing.samples import INTEGER, samples as samples_of

TEMPLATE = Path(__file__).resolve().parents[3] / "examples" / "backend-template"
INSTALLED = any(e.name == "toy" for e in importlib.metadata.entry_points(group="flambeau.backends"))
pytestmark = pytest.mark.skipif(
    not (INSTALLED or TEMPLATE.is_dir()), reason="the template is in the repository only"
)


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory):
    """The template as an installed package, and its device; nothing of it is left afterwards."""
    patch = pytest.MonkeyPatch()
    patch.setattr(registry, "_r", registry._Registry())
    patch.setattr(sys, "dont_write_bytecode", True)
    if not INSTALLED:
        site = tmp_path_factory.mktemp("site")
        info = site / "flambeau_backend_toy-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: flambeau-backend-toy\nVersion: 0.1.0\n"
        )
        (info / "entry_points.txt").write_text("[flambeau.backends]\ntoy = toy_plugin\n")
        patch.syspath_prepend(str(TEMPLATE))
        patch.syspath_prepend(str(site))
        importlib.invalidate_caches()
    yield open_device(fb.device("toy:0"))
    patch.undo()
    registry._forget_kinds("toy")
    for module in ("toy", "toy_plugin"):
        sys.modules.pop(module, None)


def on(device, arrays):
    """Tensors of host arrays; floating-point ones are leaves that want gradients."""
    tensors = [fb.tensor(a, device=device) if isinstance(a, np.ndarray) else a for a in arrays]
    for t in tensors:
        if isinstance(t, fb.Tensor) and t.is_floating_point():
            t.requires_grad_()
    return tensors


def values_and_grads(fn, arrays, device):
    """The results of fn as host arrays, and the operands' gradients for one fixed cotangent."""
    tensors = on(device, arrays)
    results = fn(*tensors)
    results = results if isinstance(results, tuple) else (results,)
    assert all(str(y.device) == device for y in results)
    found = [y.detach().cpu().numpy() for y in results]
    rng = np.random.default_rng(1)
    total = None
    for y in results:
        g = (
            fb.tensor(rng.standard_normal(y.shape), dtype=y.dtype, device=device)
            if y.requires_grad
            else None
        )
        if g is not None:
            total = (y * g).sum() if total is None else total + (y * g).sum()
    if total is not None:
        total.backward()
    leaves = [t for t in tensors if isinstance(t, fb.Tensor) and t.requires_grad]
    return found, [None if t.grad is None else t.grad.cpu().numpy() for t in leaves]


def same_on_both(fn, *arrays, rtol=1e-5, atol=1e-5):
    ours, our_grads = values_and_grads(fn, arrays, "toy:0")
    expected, expected_grads = values_and_grads(fn, arrays, "cpu")
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol, atol)
    for a, b in zip(our_grads, expected_grads, strict=True):
        if a is None or b is None:
            assert a is b
        else:
            np.testing.assert_allclose(a, b, rtol, atol)


def data(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ---- every declared operation
INTEGERS = ("bitwise", "_integer_divide", "gcd", "lcm", "logical")
#: Attributes that a test can choose; operations with others are tested by their public functions below.
ATTRS = {
    "value": 0.5,
    "min": -0.5,
    "max": 0.5,
    "eps": 0.1,
    "nan": 0.0,
    "posinf": 1.0,
    "neginf": -1.0,
    "weight": 0.3,
}
#: Derivatives of relu: the second operand is its output.
RELU = {"threshold_backward"}
#: Operations that a device without the kernel cannot have.
NO_DEFAULT = {"nextafter"}


def covered(fn):
    record = fn.op
    known = all(p.name in ATTRS for p in record.attrs)
    return (
        record.elementwise
        and known
        and record.dtype != "complex"
        and record.public not in NO_DEFAULT
    )


ELEMENTWISE = sorted(name for name, fn in OPS.items() if covered(fn))
# The cpu divides integers by another kernel.
ELEMENTWISE.remove("_integer_divide")
REDUCTIONS = sorted(
    name for name, fn in OPS.items() if [p.name for p in fn.op.attrs] == ["dims", "keepdim"]
)


def call(name):
    """The operation with values for its attributes."""
    chosen = {p.name: ATTRS[p.name] for p in OPS[name].op.attrs}
    return lambda *operands: OPS[name](*operands, **chosen)


def samples(record, shapes):
    rng = np.random.default_rng(3)
    arrays = []
    for p, shape in zip(record.operands, shapes):
        if p.kind == "mask":
            arrays.append(np.asarray(rng.random(shape) > 0.5))
        elif record.public.startswith(INTEGERS):
            arrays.append(np.asarray(rng.integers(0, 7, shape)))
        else:
            arrays.append(np.asarray(rng.standard_normal(shape), "f4"))
    if record.public in RELU:
        arrays[1] = np.maximum(arrays[1], 0)
    return arrays


def test_the_page_of_kernels_has_them_all():
    page = TEMPLATE.parent.parent / "docs" / "kernels.md"
    if page.is_file():
        text = page.read_text(encoding="utf-8")
        missing = [n for n in {*REQUIRED, *OPTIONAL} - {"rand_bits"} if f"`{n}(" not in text]
        assert not missing


def test_every_other_operation_has_a_default(toy):
    given = set(toy.kernels.native())
    without = {n for n, fn in OPS.items() if fn.op.body is None and fn.op.kernel not in given}
    assert without <= NO_DEFAULT | NO_COMPLEX


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_operation(name):
    record = OPS[name].op
    same_on_both(call(name), *samples(record, [(3, 4)] * 3))
    same_on_both(lambda *ts: call(name)(*(t.t() for t in ts)), *samples(record, [(3, 4)] * 3))


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if OPS[n].op.mixes])
@pytest.mark.parametrize(
    "shapes", [[(3, 1), (4,), (2, 1, 1)], [(2, 3), (), ()], [(), (2, 3), ()], [(0, 3), (3,), (1,)]]
)
def test_elementwise_broadcasting(name, shapes):
    if name in RELU:
        shapes = [max(shapes, key=len)] * 3
    same_on_both(call(name), *samples(OPS[name].op, shapes))


@pytest.mark.parametrize(
    "name",
    [n for n in ELEMENTWISE if len(OPS[n].op.operands) == 2 and OPS[n].op.mixes and n not in RELU],
)
def test_elementwise_with_python_numbers(name):
    a = samples(OPS[name].op, [(3, 4)])[0]
    number = 2 if a.dtype.kind == "i" else 1.5
    same_on_both(lambda x: call(name)(x, number), a)


REDUCED = [
    ((0,), False),
    ((1,), True),
    ((0, 2), False),
    (None, False),
    (None, True),
    ((2, 1), True),
]


@pytest.mark.parametrize(
    ("name", "dims", "keepdim"),
    [
        (name, dims, keepdim)
        for name in REDUCTIONS
        for dims, keepdim in REDUCED
        if not name.endswith("_all") or (dims is None and not keepdim)
    ],
)
def test_reduction(name, dims, keepdim):
    fn = OPS[name]
    x = data(2, 3, 4)
    if "integers" in name:
        x = np.arange(24).reshape(2, 3, 4)
    same_on_both(lambda t: fn(t, dims, keepdim), x)
    same_on_both(lambda t: fn(t.permute(2, 0, 1), dims, keepdim), x)
    if name not in ("_sum_integers",):
        same_on_both(lambda t: fn(t.expand(3, 4, 5), dims, keepdim), data(4, 1))


@pytest.mark.parametrize("name", ["reduce_sum", "reduce_prod", "any", "all"])
def test_reduction_of_nothing(name):
    fn = OPS.get(name) or OPS["reduce_" + name]
    same_on_both(lambda t: fn(t, (1,), False), np.zeros((2, 0, 3), "f4"))
    same_on_both(lambda t: fn(t, (0,), True), np.zeros((2, 0, 3), "f4"))
    same_on_both(lambda t: fn(t, None, False), np.full((), 3, "f4"))


NO_COMPLEX = {"_real", "_imag", "_view_as_real", "_view_as_complex"}
SAMPLED = sorted(n for n in OPS if n not in NO_COMPLEX | NO_DEFAULT | {"_integer_divide"})


@pytest.mark.parametrize("name", [n for n in SAMPLED if OPS[n].op.dtype != "complex"])
def test_every_operation_on_its_samples(name):
    for args, kwargs in samples_of(OPS[name], fb.int64 if name in INTEGER else fb.float32):
        tensors = [a.numpy() for a in args if isinstance(a, fb.Tensor)]

        def run(*operands, args=args, kwargs=kwargs):
            given = iter(operands)
            return OPS[name](
                *(next(given) if isinstance(a, fb.Tensor) else a for a in args), **kwargs
            )

        same_on_both(run, *tensors, rtol=2e-5, atol=2e-5)


# ---- movement, products
MOVES = {
    "permute": lambda x: x.permute(2, 0, 1) * 2,
    "transpose": lambda x: x.transpose(0, 2).reshape(-1),
    "view": lambda x: x.view(6, 4) * 2,
    "view -1": lambda x: x.view(-1) + 1,
    "reshape copies": lambda x: x.mT.reshape(4, 6),
    "expand": lambda x: x.unsqueeze(0).expand(5, -1, -1, -1) * 2,
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1) * x.unsqueeze(-1).squeeze(),
    "flatten": lambda x: x.flatten(1).exp(),
    "movedim": lambda x: x.movedim(0, 2).contiguous(),
    "narrow": lambda x: x.narrow(2, 1, 2).clone(),
    "select": lambda x: x.select(1, 1) * 2,
    "unbind": lambda x: x.unbind(1)[1] * x.unbind(1)[0],
    "split": lambda x: x.split([1, 3], 2)[1] * 2,
    "chunk": lambda x: x.chunk(2, 2)[0] * 2,
    "as_strided": lambda x: x.as_strided((3, 2), (4, 2), 1) * 2,
    "windows": lambda x: x.as_strided((5, 3), (2, 1), 0) * 2,
    "contiguous": lambda x: x.permute(1, 2, 0).contiguous().view(-1),
    "cast": lambda x: x.to(fb.float64).to(fb.float16).float(),
    "cat": lambda x: fb.cat([x, x * 2, x[:, :1]], 1),
    "stack": lambda x: fb.stack([x, x * 2], -1),
    "flip": lambda x: x.flip(0, 2),
    "roll": lambda x: x.roll(1, 2),
    "repeat": lambda x: x.repeat(2, 1, 3),
    "unfold": lambda x: x.unfold(2, 2, 1) * 2,
    "diagonal": lambda x: x.diagonal(0, 1, 2) * 2,
    "tril": lambda x: x.tril() + x.triu(1),
}


@pytest.mark.parametrize("move", MOVES)
def test_movement(move):
    same_on_both(MOVES[move], data(2, 3, 4))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
        ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)),
        ((2, 1, 3), (2, 3, 1)), ((1, 1), (1, 1)), ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((4, 2, 1), (1, 3)),
    ],
)  # fmt: skip
def test_matmul(a, b):
    x, y = data(*a), data(*b, seed=1)
    same_on_both(lambda x, y: x @ y, x, y)
    if len(a) > 1 and len(b) > 1:
        same_on_both(
            lambda x, y: x.mT @ y.mT, np.swapaxes(x, -1, -2).copy(), np.swapaxes(y, -1, -2).copy()
        )
        same_on_both(lambda x, y: x.mT.contiguous().mT @ y[..., :1].expand_as(y), x, y)


def test_matmul_of_integers():
    same_on_both(lambda x, y: x @ y, np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4))


INDEXING = {
    "int": lambda x: x[1] * 2,
    "slices": lambda x: x[:, 1:3, ::2] * 2,
    "newaxis": lambda x: x[None, ..., 0, :],
    "index": lambda x: x[fb.tensor([1, 0, 1], device=x.device)],
    "two": lambda x: x[fb.tensor([1, 0], device=x.device), :, fb.tensor([3, 2], device=x.device)],
    "list": lambda x: x[:, [0, 2]],
    "mask": lambda x: x[x > 0],
    "gather": lambda x: x.gather(2, fb.tensor([[[0, 3, 3]]], device=x.device).expand(2, 3, 3)),
    "index_select": lambda x: x.index_select(1, fb.tensor([2, 2, 0], device=x.device)),
    "masked_fill": lambda x: x.masked_fill(x > 0, 3.0),
    "where": lambda x: fb.where(x > 0, x, -1.0),
    "scatter_add": lambda x: x.scatter_add(
        0, fb.zeros(1, 3, 4, dtype=fb.int64, device=x.device), x[1:]
    ),
    "index_add": lambda x: x.index_add(2, fb.tensor([0, 0, 1], device=x.device), x[..., :3]),
    "sort": lambda x: x.sort(2)[0],
    "topk": lambda x: x.topk(2, 1)[0],
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(2),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp((0, 1)),
    "var": lambda x: x.var(1),
    "norm": lambda x: x.norm(dim=1),
    "max": lambda x: x.max(1)[0],
    "min": lambda x: x.min(),
    "median": lambda x: x.median(1)[0],
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "lerp": lambda x: x.lerp(x * 2, 0.3),
    "einsum": lambda x: fb.einsum("bij,bkj->bik", x, x),
    "gelu": lambda x: x.mean() if not hasattr(x, "gelu") else x.gelu(),
}


@pytest.mark.parametrize("what", INDEXING)
def test_indexing_and_composites(what):
    same_on_both(INDEXING[what], data(2, 3, 4))


def test_index_positions_agree():
    for name in ("argmax", "argmin", "argsort"):
        same_on_both(lambda x, name=name: getattr(x, name)(1), data(3, 5))


# ---- in place, views, versions
def both(program):
    ours, expected = program("toy:0"), program("cpu")
    np.testing.assert_allclose(ours.detach().cpu().numpy(), expected.detach().numpy(), 1e-6, 1e-6)


def test_in_place_through_views():
    def program(device):
        x = fb.arange(24.0, device=device).view(2, 3, 4)
        x.narrow(1, 1, 2).mul_(2)
        x.permute(2, 0, 1).select(0, 1).add_(fb.tensor([1.0, 2.0, 3.0], device=device))
        x.select(0, 0).copy_(fb.zeros(4, device=device))
        x.view(-1).narrow(0, 5, 3).sub_(1).div_(4)
        x.t_() if x.dim() == 2 else None
        return x

    both(program)


@pytest.mark.parametrize("shift", [1, -1])
def test_in_place_between_overlapping_views(shift):
    def program(device):
        x = fb.arange(8.0, device=device)
        low, high = x.narrow(0, 0, 7), x.narrow(0, 1, 7)
        (high if shift > 0 else low).add_(low if shift > 0 else high)
        return x

    both(program)


def test_in_place_on_itself():
    def program(device):
        x = fb.arange(6.0, device=device).view(2, 3)
        x.add_(x).mul_(x)
        return x

    both(program)
    square = lambda device: (x := fb.arange(9.0, device=device).view(3, 3)).add_(x.t())  # noqa: E731
    both(square)


def test_in_place_on_the_tape():
    def program(device):
        w = fb.arange(6.0, device=device, requires_grad=True)
        x = (w * 2).view(2, 3)
        x.select(0, 1).mul_(w.narrow(0, 0, 3))
        x.exp_().sum().backward()
        return w.grad

    both(program)


def test_in_place_refusals_are_the_same():
    x = fb.zeros(1, 3, device="toy:0").expand(2, 3)
    with pytest.raises(
        ShapeError, match=r"add_: .*single memory location \(\(2, 3\) float32 toy:0\)"
    ):
        x.add_(1)
    with pytest.raises(ShapeError, match="add_: output with shape"):
        fb.zeros(3, device="toy:0").add_(fb.zeros(2, 3, device="toy:0"))
    with pytest.raises(RuntimeError, match="can't be cast"):
        fb.zeros(3, device="toy:0", dtype=fb.int64).add_(1.5)


# ---- between devices
def test_copies_both_ways_are_bit_equal(toy):
    for d in toy.caps.compute:
        bits = np.random.default_rng(0).integers(
            0, 2 if d is fb.bool else 256, (3, 5, d.itemsize), "u1"
        )
        a = bits.reshape(3, -1).view(d.numpy).reshape(3, 5)
        x = fb.from_numpy(a)
        for view in (
            x,
            x.t(),
            x[1:, ::2] if hasattr(fb.Tensor, "__getitem__") else x,
            x.narrow(1, 2, 2),
        ):
            back = view.to("toy").cpu()
            assert back.dtype is d
            assert back.numpy().tobytes() == view.contiguous().numpy().tobytes()
            assert (
                view.to("toy").t().cpu().numpy().tobytes()
                == view.t().contiguous().numpy().tobytes()
            )


def test_scalars_leave_the_device():
    assert fb.tensor(2.5, device="toy:0").item() == 2.5
    assert fb.arange(5, device="toy:0").tolist() == [0, 1, 2, 3, 4]
    assert bool(fb.tensor(True, device="toy:0")) is True
    assert fb.zeros(0, 3, device="toy:0").tolist() == []
    assert "device='toy:0'" in repr(fb.ones(2, device="toy:0"))


def test_operands_on_two_devices():
    here, there = fb.zeros(3), fb.zeros(3, device="toy:0")
    both = (
        r"^add: .* two devices, cpu and toy:0 \(input: \(3,\) float32 cpu; other: \(3,\) float32 toy:0\)\. "
        r"Hint: other\.to\('cpu'\)$"
    )
    with pytest.raises(DeviceError, match=both):
        here + there
    with pytest.raises(DeviceError, match=r"^matmul: .*toy:0 and cpu.*Hint: other\.to\('toy:0'\)"):
        there @ here
    with pytest.raises(RuntimeError, match="^add_: .*two devices"):
        there.add_(here)


def test_numbers_of_the_cpu_go_along():
    y = fb.ones(3, device="toy:0") * fb.tensor(2.0)
    assert str(y.device) == "toy:0"
    assert y.tolist() == [2, 2, 2]


@pytest.mark.parametrize("make", [fb.rand, fb.randn])
@pytest.mark.parametrize("dtype", [fb.float32, fb.float64, fb.float16])
def test_random_numbers_are_those_of_the_cpu(make, dtype):
    drawn = []
    for device in ("cpu", "toy:0"):
        fb.manual_seed(7)
        drawn.append(
            [make(3, 5, dtype=dtype, device=device), fb.randint(0, 9, (4,), device=device)]
        )
        drawn[-1].append(fb.empty(6, device=device).uniform_(-1, 1))
        drawn[-1].append(fb.full((6,), 0.3, device=device).bernoulli())
        drawn[-1].append(fb.randperm(7, device=device))
    for a, b in zip(*drawn, strict=True):
        assert b.cpu().numpy().tobytes() == a.numpy().tobytes()


def test_gradients_cross_devices():
    x = fb.tensor([1.0, 2.0], requires_grad=True)
    (x.to("toy:0") * 3).sum().backward()
    assert x.grad.device == fb.device("cpu")
    assert x.grad.tolist() == [3, 3]


# ---- defaults
OPTIONAL = {
    "abs", "sign", "ceil", "trunc", "rint", "isnan", "expm1", "log1p", "tanh", "erf", "minimum", "le", "atan2",
    "reduce_min", "reduce_prod", "arg_max", "arg_min", "scan", "rand_bits",
}  # fmt: skip


def test_no_optional_kernel_is_the_toys_own(toy):
    given = set(toy.kernels.native())
    assert not given & OPTIONAL
    assert len(type(toy).declared) == 32


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("abs", np.abs), ("ceil", np.ceil), ("trunc", np.trunc), ("rint", np.rint), ("isnan", np.isnan),
        ("expm1", np.expm1), ("log1p", np.log1p), ("tanh", np.tanh), ("sinh", np.sinh), ("cosh", np.cosh),
        ("asinh", np.arcsinh), ("exp2", np.exp2), ("atan", np.arctan), ("signbit", np.signbit), ("isinf", np.isinf),
        ("isfinite", np.isfinite),
    ],
)  # fmt: skip
def test_default_at_special_values(name, reference):
    x = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-8, -1e-8, 0.3, -0.5, 0.5, 1.5, 2.5, -2.5, 7.2, -7.2]
        + [88, -88, 1e30, -1e30],
        "f4",
    )
    with np.errstate(all="ignore"):
        expected = reference(x.astype("f8")).astype("f4") if name != "isinf" else reference(x)
    got = OPS[name](fb.tensor(x, device="toy:0")).cpu().numpy()
    np.testing.assert_allclose(got.astype("f8"), expected.astype("f8"), 2e-6, 1e-37)
    if name in ("abs", "expm1"):
        assert (np.signbit(got) == np.signbit(expected)).all()


def test_default_binary_operations_at_special_values():
    s = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.5, -7.2, 1e30, 1e-3], "f4")
    a, b = (g.ravel() for g in np.meshgrid(s, s))
    x, y = fb.tensor(a, device="toy:0"), fb.tensor(b, device="toy:0")
    with np.errstate(all="ignore"):
        expected = {
            "atan2": np.arctan2(a, b), "minimum": np.minimum(a, b), "le": a <= b, "gt": a > b, "ge": a >= b,
            "ne": a != b, "hypot": np.hypot(a.astype("f8"), b).astype("f4"), "copysign": np.copysign(a, b),
            "remainder": np.remainder(a, b), "fmax": np.fmax(a, b), "fmin": np.fmin(a, b),
        }  # fmt: skip
    for name, wanted in expected.items():
        got = OPS[name](x, y).cpu().numpy()
        np.testing.assert_allclose(got.astype("f8"), wanted.astype("f8"), 2e-6, 1e-6, err_msg=name)


def test_default_erf_is_accurate_in_both_precisions():
    import math

    x = np.concatenate([np.linspace(-6.5, 6.5, 501), [1e-300, -1e-9, np.inf, -np.inf, np.nan]])
    exact = np.array([math.erf(v) for v in x])
    got = fb.erf(fb.tensor(x, device="toy:0")).cpu().numpy()
    np.testing.assert_allclose(got, exact, 1e-15, 0)
    single = fb.erf(fb.tensor(x.astype("f4"), device="toy:0")).cpu().numpy()
    np.testing.assert_allclose(single, [math.erf(v) for v in x.astype("f4")], 0, 3e-7)


@pytest.mark.parametrize("d", [np.int64, np.int8, np.uint8])
def test_default_integer_operations(d):
    limits = np.iinfo(d)
    s = np.unique(np.array([limits.min, limits.min + 1, 0, 1, 2, 3, 7, limits.max], d))
    a, b = (g.ravel() for g in np.meshgrid(s, s))
    keep = (b != 0) & ~((a == limits.min) & (b.astype("i8") == -1))
    a, b = a[keep], b[keep]
    x, y = fb.tensor(a, device="toy:0"), fb.tensor(b, device="toy:0")
    exact = {
        "floor_divide": a // b, "remainder": a % b, "minimum": np.minimum(a, b), "le": a <= b, "ge": a >= b,
        "trunc_divide": np.array([
            abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1) for p, q in zip(a.tolist(), b.tolist())
        ], "i8"),
    }  # fmt: skip
    for name, wanted in exact.items():
        assert (
            OPS[name](x, y).cpu().numpy() == wanted.astype(OPS[name](x, y).dtype.numpy)
        ).all(), name
    assert (fb.abs(x).cpu().numpy() == np.abs(a)).all()
    assert (fb.sign(x).cpu().numpy() == np.sign(a)).all()


def test_an_operation_without_kernel_and_default_says_so(toy):
    kept = toy.kernels["exp"]
    toy.kernels["exp"] = None
    try:
        with pytest.raises(UnsupportedOpError, match="exp: toy:0 has no kernel 'exp'"):
            fb.ones(2, device="toy:0").exp()
    finally:
        toy.kernels["exp"] = kept


# ---- a whole program
def train(device):
    fb.manual_seed(3)
    x, target = fb.randn(16, 8, device=device), fb.randn(16, 4, device=device)
    weights = [
        (fb.randn(*shape, device=device) * 0.3).requires_grad_()
        for shape in ((8, 32), (32,), (32, 4), (4,))
    ]
    w1, b1, w2, b2 = weights
    velocity = [fb.zeros_like(w) for w in weights]
    losses = []
    for _ in range(30):
        hidden = (x @ w1 + b1).relu()
        loss = ((hidden @ w2 + b2 - target) ** 2).mean()
        loss.backward()
        with fb.no_grad():
            for w, v in zip(weights, velocity, strict=True):
                v.mul_(0.9).add_(w.grad)
                w.sub_(v, alpha=0.05)
                w.grad = None
        losses.append(loss.item())
    return losses, [w.detach().cpu().numpy() for w in weights]


def test_a_network_trains_as_on_the_cpu(toy):
    losses, weights = train("toy:0")
    expected_losses, expected = train("cpu")
    assert losses[-1] < losses[0] / 2
    np.testing.assert_allclose(losses, expected_losses, 1e-4)
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-4)


def test_training_leaves_no_memory_behind(toy):
    train("toy:0")
    before = toy.memory_stats()
    for _ in range(2):
        train("toy:0")
    after = toy.memory_stats()
    assert after.allocated == before.allocated
    assert after.allocations == before.allocations
