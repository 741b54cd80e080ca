"""The backend beside the cpu, which stands in for any reference; copy it with the template and add your own kernels.

Run from this folder with the package installed, or from flambeau's checkout as it is.
"""

import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend import registry

DEVICE = "toy:0"
INSTALLED = any(e.name == "toy" for e in importlib.metadata.entry_points(group="flambeau.backends"))


@pytest.fixture(scope="module", autouse=True)
def device():
    """The opened device, of the installed package or of the files here."""
    if INSTALLED:
        yield registry.open_device(fb.device(DEVICE))
        return
    patch = pytest.MonkeyPatch()
    patch.setattr(sys, "dont_write_bytecode", True)
    patch.syspath_prepend(str(Path(__file__).parent.parent))
    from toy import ToyBackend

    registry.register_backend(ToyBackend())
    yield registry.open_device(fb.device(DEVICE))
    registry.unregister_backend("toy")
    sys.modules.pop("toy", None)
    patch.undo()


def check(fn, *arrays, tolerance=1e-5):
    """fn gives the same values and gradients on both devices."""
    results = []
    for where in ("cpu", DEVICE):
        tensors = [fb.tensor(a, device=where) for a in arrays]
        for t in tensors:
            if t.is_floating_point():
                t.requires_grad_()
        y = fn(*tensors)
        assert str(y.device) == where
        if y.requires_grad:
            (y * y).sum().backward()
        results.append([y, *(t.grad for t in tensors if t.grad is not None)])
    for expected, got in zip(*results, strict=True):
        assert got.dtype is expected.dtype
        np.testing.assert_allclose(
            got.detach().cpu().numpy(), expected.detach().numpy(), tolerance, tolerance
        )


def data(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def test_the_plugin_makes_the_backend():
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(Path(__file__).parent.parent))
    import toy_plugin

    backend = toy_plugin.flambeau_backend((1, 0))
    assert backend.name == "toy"
    assert backend.devices()[0].vendor == "example"
    patch.undo()


def test_the_device_has_every_required_kernel(device):
    from flambeau.backend import REQUIRED

    assert set(REQUIRED) <= set(device.kernels.native())


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)
def test_values_travel_both_ways(shape, dtype):
    a = (np.random.default_rng(0).random(shape) * 100).astype(dtype)
    back = fb.tensor(a).to(DEVICE).cpu().numpy()
    assert back.dtype == a.dtype
    assert back.tobytes() == a.tobytes()


@pytest.mark.parametrize(
    "name",
    ["neg", "floor", "exp", "sin", "cos", "abs", "sign", "ceil", "trunc", "round", "tanh", "erf", "expm1", "relu"],
)  # fmt: skip
def test_functions_of_one_operand(name):
    check(getattr(fb, name), data(3, 4))
    check(lambda x: getattr(fb, name)(x.t()), data(3, 4))


@pytest.mark.parametrize("name", ["sqrt", "log", "log1p", "rsqrt", "reciprocal"])
def test_functions_of_positive_numbers(name):
    check(getattr(fb, name), np.abs(data(3, 4)) + 0.1)


@pytest.mark.parametrize(
    "name",
    ["add", "sub", "mul", "div", "maximum", "minimum", "atan2", "fmod", "remainder", "eq", "lt", "le", "gt"],
)  # fmt: skip
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2, 3)), ((0, 3), (3,))])
def test_functions_of_two_operands(name, shapes):
    check(getattr(fb, name), data(*shapes[0]), data(*shapes[1], seed=1))


@pytest.mark.parametrize(
    "name",
    ["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift"],
)
def test_bits(name):
    check(getattr(fb, name), np.arange(12).reshape(3, 4), np.arange(4) % 3)


def test_division_of_integers_by_zero_does_not_trap(device):
    a, b = (fb.tensor(v, device=DEVICE)._a for v in ([7, -7, 5], [2, 2, 0]))
    assert device.to_host(device.kernels["div"](a, b)).tolist()[:2] == [3, -3]


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 2), (0, 1, 2)])
def test_reductions(dim):
    check(lambda x: x.sum(dim), data(2, 3, 4))
    check(lambda x: x.permute(2, 0, 1).sum(dim, keepdim=True), data(2, 3, 4))


def test_matrix_products():
    check(lambda a, b: a @ b, data(3, 4), data(4, 5))
    check(lambda a, b: a.t() @ b.t(), data(4, 3), data(5, 4))
    check(lambda a, b: a @ b, data(2, 1, 3, 4), data(5, 4, 2))


def test_gather_and_scatter(device):
    x, index = data(3, 5), np.array([[0, 2], [1, 1]])
    a, i = fb.tensor(x, device=DEVICE)._a, fb.tensor(index, device=DEVICE)._a
    got = device.to_host(device.kernels["gather"](a, i, 0))
    assert (got == np.take_along_axis(x[:, :2], index, 0)).all()
    for reduce, combine in (
        ("add", np.add),
        ("mul", np.multiply),
        ("max", np.maximum),
        ("min", np.minimum),
    ):
        expected = x.copy()
        combine.at(expected, (index, [[0, 1]] * 2), 0.5)
        got = device.to_host(device.kernels["scatter"](a, i, 0.5, 0, reduce))
        np.testing.assert_allclose(got, expected, 1e-6)


def test_in_place_through_views():
    x = fb.zeros(3, 4, device=DEVICE)
    x.t().narrow(0, 1, 2).add_(1).mul_(fb.tensor([1.0, 2.0, 3.0], device=DEVICE))
    assert x.tolist() == [[0, 1, 1, 0], [0, 2, 2, 0], [0, 3, 3, 0]]


def test_memory_is_used_again(device):
    def step():
        w = fb.ones(50, 50, device=DEVICE, requires_grad=True)
        (w @ w).sum().backward()

    step()
    before = device.memory_stats()
    for _ in range(20):
        step()
    assert device.memory_stats().allocations == before.allocations
    assert device.memory_stats().allocated == before.allocated


def test_too_large_an_array_is_refused_and_nothing_else():
    with pytest.raises(MemoryError, match="one block holds at most 256 MiB"):
        fb.empty(1 << 27, device=DEVICE)
    assert fb.ones(3, device=DEVICE).sum().item() == 3
