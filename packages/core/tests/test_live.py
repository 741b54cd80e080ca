"""Error messages that look at the living tensors."""

import gc
import importlib.util
import re

import pytest

import flambeau as fb
from flambeau._live import name_of, uncaught
from flambeau.errors import DeviceError, OutOfMemoryError

HUGE = 10**15  # elements: more than any address space holds


def wide():
    """A matrix of one element that is on a tape, and so is copied before it changes."""
    return (fb.ones(1, 1, requires_grad=True) * 2).expand(10**8, 10**7)


@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("zeros", lambda: fb.zeros(HUGE)),
        ("full", lambda: fb.full((HUGE,), 2.0)),
        ("mul", lambda: fb.zeros(10**8, 1) * fb.zeros(1, 10**7)),
        ("clone", lambda: fb.ones(1).expand(HUGE).clone()),
        ("rand", lambda: fb.rand(HUGE)),
        ("randn", lambda: fb.randn(HUGE)),
        ("randint", lambda: fb.randint(0, 5, (HUGE,))),
        ("randperm", lambda: fb.randperm(HUGE)),
        ("uniform_", lambda: fb.ones(1).expand(HUGE).uniform_()),
        ("arange", lambda: fb.arange(HUGE)),
        ("linspace", lambda: fb.linspace(0, 1, HUGE)),
        ("logspace", lambda: fb.logspace(0, 1, HUGE)),
        ("eye", lambda: fb.eye(10**8)),
        ("cat", lambda: fb.cat([fb.ones(1).expand(HUGE)] * 2)),
        ("cat", lambda: fb.cat([fb.ones(1).expand(HUGE), fb.ones(2)])),
        ("stack", lambda: fb.stack([fb.ones(1).expand(HUGE)] * 2)),
        ("hstack", lambda: fb.hstack([fb.ones(1).expand(HUGE)] * 2)),
        ("to", lambda: fb.ones(1).expand(HUGE).to(fb.float64)),
        ("outer", lambda: fb.outer(fb.ones(1).expand(10**8), fb.ones(1).expand(10**7))),
        ("add_", lambda: wide().add_(1)),
        ("tril_", lambda: wide().tril_()),
    ],
)
def test_no_room(op, call):
    gc.collect()
    large = fb.ones(1000, 2000)
    half = large[:500]
    with pytest.raises(MemoryError, match=f"^{op}: cpu has no room: .*allocate") as error:
        call()
    assert isinstance(error.value, OutOfMemoryError)
    text = str(error.value)
    assert re.search(r"\n  \d+ tensors live there, .* in all, the largest:\n", text)
    assert "7.629 MiB  (1000, 2000) float32 cpu" in text
    assert "(500, 2000)" not in text  # a view takes no room of its own
    assert "Hint: a smaller batch with gradient accumulation" in text
    del half


def test_tensors_on_other_devices_do_not_count():
    away = fb.ones(10**4, 10**4, device="meta")
    with pytest.raises(OutOfMemoryError) as error:
        fb.zeros(HUGE)
    assert "meta" not in str(error.value)
    del away


def test_a_tensor_of_no_module_has_no_name():
    t = fb.ones(2)
    held = {"_parameters": {"t": t}, "t": t}
    assert name_of(held["t"]) is None


def test_an_error_that_lists_the_tensors_is_listed_once():
    with pytest.raises(OutOfMemoryError) as error:
        fb.zeros(HUGE)
    assert uncaught("x", error.value) is error.value


# ---- the function that is running


def apart(*shape):
    return fb.ones(*shape, device="meta")


@pytest.mark.parametrize(
    ("op", "names", "call"),
    [
        ("add", "input other", lambda: fb.ones(2) + apart(2)),
        ("add", "input other", lambda: fb.add(fb.ones(2), apart(2))),
        ("add_", "input other", lambda: fb.ones(2).add_(apart(2))),
        ("add_", "input other", lambda: fb.ones(2).__iadd__(apart(2))),
        ("div", "input other", lambda: fb.ones(2) / apart(2)),
        ("eq", "input other", lambda: fb.ones(2) == apart(2)),
        ("logical_and_", "input other", lambda: fb.ones(2).logical_and_(apart(2))),
        ("addcmul_", "input tensor2", lambda: fb.ones(2).addcmul_(fb.ones(2), apart(2))),
        ("allclose", "input other", lambda: fb.allclose(fb.ones(2), apart(2))),
        ("addmm", "input mat2", lambda: fb.addmm(fb.ones(1, 1), fb.ones(1, 2), apart(2, 1))),
        ("where", "condition other", lambda: fb.where(fb.ones(2) > 0, fb.ones(2), apart(2))),
        ("cat", "tensors[0] tensors[2]", lambda: fb.cat([fb.ones(2), fb.ones(2), apart(2)])),
        ("stack", "tensors[0] tensors[1]", lambda: fb.stack((fb.ones(2), apart(2)))),
        ("einsum", "args[1] args[2]", lambda: fb.einsum("i,i", fb.ones(2), apart(2))),
        ("scatter_add_", "self src", lambda: fb.ones(2).scatter_add_(0, fb.tensor([0]), apart(1))),
        ("index_add", "input source", lambda: fb.ones(2).index_add(0, fb.tensor([0]), apart(1))),
        ("index_put_", "self values", lambda: fb.ones(2).index_put_((fb.tensor([0]),), apart(1))),
        ("setitem", "self value", lambda: fb.ones(2).__setitem__(fb.tensor([0]), apart(1))),
    ],
)
def test_two_devices_in_the_words_of_the_call(op, names, call):
    first, second = map(re.escape, names.split())
    said = (
        rf"^{op}: Expected all tensors to be on the same device, but found at least two devices, cpu and meta "
        rf"\({first}: .* cpu; {second}: .* meta\)\. Hint: {second}\.to\('cpu'\)$"
    )
    with pytest.raises(DeviceError, match=said):
        call()


def test_a_number_on_the_cpu_is_not_to_blame():
    with pytest.raises(
        DeviceError, match=r"\(input: \(2,\) float32 meta; max: \(2,\) float32 cpu\)"
    ):
        apart(2).clamp(fb.tensor(1.0), fb.ones(2))


def test_gradients_on_another_device():
    x = fb.ones(3, requires_grad=True)
    with pytest.raises(
        DeviceError, match=r"^grad: assigned grad has .*meta.*Hint: value\.to\('cpu'\)$"
    ):
        x.grad = apart(3)
    with pytest.raises(
        RuntimeError, match=r"^grad: .*float64.*Hint: value\.to\(flambeau\.float32\)$"
    ):
        x.grad = fb.ones(3, dtype=fb.float64)
    with pytest.raises(DeviceError, match=r"^backward: .*Hint: gradient\.to\('cpu'\)$"):
        (x * 2).backward(apart(3))


def test_within_autocast_the_function_is_the_same():
    with fb.autocast("cpu", dtype=fb.float16), pytest.raises(DeviceError, match="^mm: .*mat2: "):
        fb.mm(fb.ones(2, 2), apart(2, 2))


# ---- what is not there


@pytest.mark.parametrize("name", ["compile", "vmap", "func", "jit", "onnx", "distributed"])
def test_functions_that_are_not_there(name):
    assert not hasattr(fb, name)
    with pytest.raises(AttributeError, match=rf"^flambeau\.{name} (comes with|is not offered)"):
        getattr(fb, name)


@pytest.mark.parametrize("name", ["compiler", "vision", "linalg", "fft", "special", "signal"])
def test_packages_that_are_planned(name):
    if importlib.util.find_spec(f"flambeau.{name}") is not None:
        pytest.skip(f"flambeau.{name} is installed")
    with pytest.raises(
        ModuleNotFoundError,
        match=rf"^flambeau\.{name} comes with the package flambeau-\w+, which is planned and .*Hint: ",
    ):
        getattr(fb, name)


def test_a_name_of_nothing():
    with pytest.raises(AttributeError, match="^module 'flambeau' has no attribute 'nothing'$"):
        fb.nothing
