"""Autocast and GradScaler: dtypes inside and outside, restored functions, PyTorch's rules for the scale."""

import importlib.util
import inspect
import pickle
import threading

import numpy as np
import pytest

import flambeau as fb
from flambeau.amp import GradScaler, _hooks, autocast, custom_bwd, custom_fwd
from flambeau.amp._lists import GPU
from flambeau.cuda import amp as cuda_amp

HALF = fb.float16
needs_bf16 = pytest.mark.skipif(
    importlib.util.find_spec("ml_dtypes") is None, reason="bfloat16 needs the package ml_dtypes"
)


def half():
    return autocast("cpu", dtype=HALF)


@pytest.fixture(autouse=True)
def everything_is_put_back():
    yield
    assert _hooks._users == 0
    assert all(h.fn.__code__ is h.code for h in _hooks._hooks)
    assert all(h.fn.__kwdefaults__ is h.kwdefaults for h in _hooks._hooks)
    assert not _hooks.local.stack
    assert _hooks.local.on is None
    assert not _hooks.local.cache


@pytest.fixture
def gpu_lists(monkeypatch):
    """The lists of GPU-like devices, on the CPU."""
    monkeypatch.setattr(_hooks, "CPU", GPU)


X = fb.ones(2, 3)

LOW = {
    "matmul": lambda: X @ X.mT,
    "method": lambda: X.matmul(X.mT),
    "mm": lambda: fb.mm(X, X.mT),
    "bmm": lambda: fb.bmm(fb.ones(2, 3, 4), fb.ones(2, 4, 3)),
    "baddbmm": lambda: fb.baddbmm(fb.ones(2, 3, 3), fb.ones(2, 3, 4), fb.ones(2, 4, 3)),
    "addmm": lambda: fb.addmm(fb.ones(2, 2), X, X.mT),
    "einsum": lambda: fb.einsum("ij,kj->ik", X, X),
}
KEPT = {
    "add": lambda: X + X,
    "exp": lambda: X.exp(),
    "sum": lambda: X.sum(),
    "mv": lambda: X.mv(X[0]),
    "dot": lambda: X[0].dot(X[1]),
    "out": lambda: fb.mm(X, X.mT, out=fb.empty(2, 2)),
    "float64": lambda: (X.double() @ X.double().mT).float(),
    "integers": lambda: (X.long() * 2).float(),
}


@pytest.mark.parametrize("name", LOW)
def test_products_run_in_half_precision(name):
    outside = LOW[name]()
    with half():
        y = LOW[name]()
    assert outside.dtype is fb.float32
    assert y.dtype is HALF
    assert fb.allclose(y.float(), outside)
    assert LOW[name]().dtype is fb.float32


@pytest.mark.parametrize("name", KEPT)
def test_what_no_list_names_keeps_its_dtype(name):
    with half():
        assert KEPT[name]().dtype is fb.float32


def test_float64_stays_float64():
    with half():
        assert (X.double() @ X.double().mT).dtype is fb.float64


def test_listed_functions_run_in_float32_on_the_cpu():
    x = X.half()
    with half():
        assert x.prod().dtype is fb.float32
        assert fb.quantile(x, 0.5).dtype is fb.float32
        assert x.sum().dtype is HALF
        assert fb.cat([x, X]).dtype is fb.float32
        assert fb.stack([x, x]).dtype is HALF


def test_the_lists_of_gpus(gpu_lists):
    x = X.half()
    with half():
        for fn in (fb.exp, fb.log, fb.rsqrt, fb.sum, fb.prod, fb.norm):
            assert fn(x).dtype is fb.float32
        assert fb.softmax(x, -1).dtype is fb.float32
        assert (x**2).dtype is fb.float32
        assert (2**x).dtype is fb.float32
        assert x.mv(X[0]).dtype is HALF
        assert x[0].dot(X[0]).dtype is fb.float32
        assert x[0].dot(x[1]).dtype is HALF
        assert x.sum(dtype=fb.float16).dtype is HALF
        assert (x + x).dtype is HALF


def test_in_place_products_are_not_cast():
    a = fb.tensor([[1.0, 2.0**-12]])  # float16 would lose the sum's small part
    b = fb.ones(2, 1)
    exact = 1.0 + 2.0**-12
    with half():
        assert fb.zeros(1, 1).addmm_(a, b).item() == exact
        assert fb.zeros(1, 1, 1).baddbmm_(a[None], b[None]).item() == exact
        assert fb.zeros(1, 1).addbmm_(a[None], b[None]).item() == exact
        assert fb.zeros(1).addmv_(a, b[:, 0]).item() == exact
        assert fb.zeros(1, 1).addr_(fb.full((1,), exact), fb.ones(1)).item() == exact
        assert fb.addmm(fb.zeros(1, 1), a, b).item() == 1.0


def test_composites_of_listed_functions_are_not_cast(gpu_lists):
    x = X.half()
    with half():
        assert fb.trace(x).dtype is HALF
        assert fb.nansum(x).dtype is HALF
        assert fb.frexp(x)[0].dtype is HALF
        assert fb.ldexp(x, x).dtype is HALF
        assert fb.square(x).dtype is fb.float32


def test_average_pools_keep_their_dtype():
    F = pytest.importorskip("flambeau.nn.functional")
    x = fb.full((1, 1, 4), 1 + 2.0**-12)
    with half():
        for y in (
            F.adaptive_avg_pool1d(x, 3),
            F.adaptive_avg_pool2d(x[None], (1, 3)),
            F.interpolate(x, size=3, mode="area"),
        ):
            assert y.dtype is fb.float32
            assert y.flatten().tolist() == [1 + 2.0**-12] * 3
        assert F.adaptive_avg_pool3d(x[None].half(), (1, 1, 3)).dtype is fb.float32
        x = fb.ones(1, 1, 4, dtype=HALF)
        pooled, at = F.max_pool1d(x, 2, return_indices=True)
        assert F.max_unpool1d(pooled, at, 2).dtype is fb.float32
        assert fb.view_as_complex(fb.ones(2, 2, dtype=HALF)).dtype is fb.complex64


def test_sum_in_float32_does_not_overflow(gpu_lists):
    x = fb.full((4,), 40000.0, dtype=HALF)
    with half():
        assert x.sum().item() == 160000.0


def test_layers_and_losses():
    nn = pytest.importorskip("flambeau.nn")
    x, target = fb.randn(4, 6), fb.tensor([0, 2, 1, 1])
    net = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3))
    with half():
        y = net(x)
        loss = nn.functional.cross_entropy(y, target)
        assert net[1](net[0](x)).dtype is HALF
        assert nn.Conv2d(1, 2, 2)(fb.ones(1, 1, 4, 4)).dtype is HALF
        assert nn.ConvTranspose2d(1, 2, 2)(fb.ones(1, 1, 4, 4)).dtype is HALF
        assert nn.BatchNorm1d(6)(x.half()).dtype is HALF
        assert nn.LSTM(6, 4)(x)[0].dtype is HALF
        assert nn.MultiheadAttention(6, 2)(x, x, x)[0].dtype is HALF
        assert nn.functional.mse_loss(y, y).dtype is fb.float32
        assert nn.functional.max_pool3d(fb.ones(1, 2, 2, 2, dtype=HALF), 2).dtype is fb.float32
    assert y.dtype is HALF
    assert loss.dtype is fb.float32
    loss.backward()
    assert all(p.grad.dtype is fb.float32 for p in net.parameters())


def test_binary_cross_entropy_is_refused_on_gpus(gpu_lists):
    F = pytest.importorskip("flambeau.nn.functional")
    p = fb.full((2,), 0.5)
    with (
        half(),
        pytest.raises(
            RuntimeError, match="binary_cross_entropy: unsafe to autocast, .*Hint: binary_cross"
        ),
    ):
        F.binary_cross_entropy(p, p)


def test_gradients_are_those_of_the_casts():
    w = fb.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    x = fb.tensor([[0.1, 0.2]])
    with half():
        y = x @ w
    y.float().sum().backward()
    expected = np.float16([[0.1], [0.2]]).astype(np.float32) * np.ones((1, 2), np.float32)
    assert w.grad.dtype is fb.float32
    assert np.array_equal(w.grad.numpy(), expected)


def test_a_parameter_is_cast_once_until_it_changes():
    w = fb.ones(3, 3, requires_grad=True)
    with half():
        X @ w
        kept = _hooks.local.cache[id(w)][3]
        X @ w
        assert _hooks.local.cache[id(w)][3] is kept
        with fb.no_grad():
            w.mul_(2)
        assert (X @ w)[0, 0].item() == 6.0
        assert _hooks.local.cache[id(w)][3] is not kept
        with autocast("cpu", dtype=HALF, cache_enabled=False):
            assert not fb.is_autocast_cache_enabled()
        fb.clear_autocast_cache()
        assert not _hooks.local.cache


def test_casts_made_without_grad_are_not_kept():
    w = fb.ones(3, 3, requires_grad=True)
    with half():
        with fb.no_grad():
            X @ w
        y = X @ w
    y.float().sum().backward()
    assert w.grad is not None


def test_nesting():
    with half():
        with autocast("cpu", enabled=False):
            assert (X @ X.mT).dtype is fb.float32
            assert not fb.is_autocast_enabled("cpu")
            with half():
                assert (X @ X.mT).dtype is HALF
            assert (X @ X.mT).dtype is fb.float32
        assert (X @ X.mT).dtype is HALF
        with autocast("cpu"):  # takes the dtype of the block around it
            assert fb.get_autocast_dtype("cpu") is HALF
    assert not fb.is_autocast_enabled("cpu")
    assert fb.get_autocast_dtype("cpu") is fb.bfloat16


def test_as_a_decorator_and_entered_twice():
    block = half()

    @block
    def product(depth):
        """Doc."""
        return product(depth - 1) if depth else X @ X.mT

    assert product(3).dtype is HALF
    assert product.__doc__ == "Doc."
    with block, block:
        pass
    assert (X @ X.mT).dtype is fb.float32


def test_an_exception_restores_everything():
    with pytest.raises(RuntimeError, match="matmul"), half():
        X @ X
    assert (X @ X.mT).dtype is fb.float32
    with half():
        with pytest.raises(RuntimeError):
            X @ X
        assert (X @ X.mT).dtype is HALF


def test_other_threads_are_not_affected():
    seen = []
    entered, done = threading.Event(), threading.Event()

    def work():
        entered.wait(5)
        seen.append((X @ X.mT).dtype)
        with half():
            seen.append((X @ X.mT).dtype)
        seen.append((X @ X.mT).dtype)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    with half():
        entered.set()
        assert done.wait(5)
        assert (X @ X.mT).dtype is HALF
    thread.join()
    assert seen == [fb.float32, HALF, fb.float32]


def test_functions_called_while_blocks_come_and_go():
    stop, failures = threading.Event(), []

    def work():
        while not stop.is_set():
            try:
                assert fb.matmul(X, other=X.mT).dtype is fb.float32
                assert X.prod(dim=-1, keepdim=True).shape == (2, 1)
            except Exception as error:
                failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(300):
        with half():
            pass
    stop.set()
    thread.join()
    assert not failures


def test_functions_keep_name_signature_and_keywords():
    before = inspect.signature(fb.matmul)
    with half():
        assert fb.matmul.__name__ == "matmul"
        assert fb.matmul(input=X, other=X.mT).dtype is HALF
        assert inspect.signature(fb.matmul) == before


def test_nothing_behind_cuda_is_no_autocast_and_no_warning(monkeypatch):
    monkeypatch.delenv("FLAMBEAU_CUDA_ALIAS", raising=False)
    if fb.cuda.is_available():
        pytest.skip("a GPU-like device stands behind cuda")
    for block in (autocast("cuda"), cuda_amp.autocast(), fb.cuda.amp.autocast(dtype=fb.float16)):
        with block:
            assert (X @ X.mT).dtype is fb.float32
            assert not fb.is_autocast_enabled()
    for scaler in (GradScaler(), cuda_amp.GradScaler()):
        assert not scaler.is_enabled()


def test_what_stands_behind_cuda(monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", "cpu")
    with cuda_amp.autocast():
        assert (X @ X.mT).dtype is HALF
        assert fb.is_autocast_enabled()
    assert cuda_amp.GradScaler().is_enabled()


def test_bfloat16_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    monkeypatch.setattr(fb.bfloat16, "_numpy", None)
    with pytest.raises(
        TypeError,
        match=r"autocast: dtype=.*bfloat16 .*flambeau-cpu\[bf16\].*dtype=flambeau.float16",
    ):
        autocast("cpu")
    autocast("cpu", enabled=False)


@needs_bf16
def test_bfloat16_is_the_default_of_the_cpu():
    with autocast("cpu"):
        assert (X @ X.mT).dtype is fb.bfloat16


def test_other_arguments():
    with pytest.raises(ValueError, match="autocast: device_type must be a str, got 3"):
        autocast(3)
    with pytest.warns(
        UserWarning, match="no autocast to flambeau.int8, only to bfloat16 and float16; disabled"
    ):
        assert not autocast("cpu", dtype=fb.int8).enabled
    with pytest.raises(RuntimeError, match="nosuch"):
        autocast("nosuch")
    assert fb.amp.is_autocast_available("cpu")
    assert not fb.amp.is_autocast_available("nosuch")
    assert fb.autocast is autocast


def test_set_autocast_dtype():
    fb.set_autocast_dtype("cpu", HALF)
    try:
        with autocast("cpu"):
            assert (X @ X.mT).dtype is HALF
    finally:
        fb.set_autocast_dtype("cpu", fb.bfloat16)

    with pytest.raises(TypeError, match="set_autocast_dtype: dtype must be .*, got 'float16'"):
        fb.set_autocast_dtype("cpu", "float16")


def test_switching_without_a_block():
    fb.set_autocast_cpu_dtype(HALF)
    fb.set_autocast_enabled("cpu", True)
    fb.set_autocast_cpu_enabled(True)
    w = fb.ones(3, 3, requires_grad=True)
    assert fb.is_autocast_cpu_enabled()
    assert (X @ w).dtype is HALF
    assert not _hooks.local.cache  # nothing would forget it
    with autocast("cpu", enabled=False):
        assert (X @ X.mT).dtype is fb.float32
    assert (X @ X.mT).dtype is HALF
    fb.set_autocast_enabled("cpu", False)
    assert (X @ X.mT).dtype is fb.float32
    assert fb.get_autocast_cpu_dtype() is HALF
    fb.set_autocast_cpu_dtype(fb.bfloat16)


def test_what_is_switched_within_a_block_ends_with_it():
    with half():
        fb.set_autocast_enabled("cpu", False)
        assert (X @ X.mT).dtype is fb.float32
        fb.set_autocast_enabled("cpu", True)
        fb.set_autocast_cache_enabled(False)
        assert (X @ X.mT).dtype is HALF
    assert (X @ X.mT).dtype is fb.float32
    assert fb.is_autocast_cache_enabled()


def test_switching_cuda_without_a_gpu(monkeypatch):
    monkeypatch.delenv("FLAMBEAU_CUDA_ALIAS", raising=False)
    if fb.cuda.is_available():
        pytest.skip("a GPU-like device stands behind cuda")
    fb.set_autocast_enabled(True)  # the older spelling
    assert not fb.is_autocast_enabled()
    assert fb.get_autocast_gpu_dtype() is HALF


def test_a_decorated_tensor_is_refused():
    with pytest.raises(TypeError, match=r"autocast: as a decorator .* got Tensor. Hint: with auto"):
        half()(X)


def test_custom_functions():
    seen = []

    class Square(fb.autograd.Function):
        @staticmethod
        @custom_fwd(device_type="cpu", cast_inputs=fb.float32)
        def forward(ctx, x):
            seen.append((x.dtype, fb.is_autocast_enabled("cpu")))
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @custom_bwd(device_type="cpu")
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            seen.append((g.dtype, fb.is_autocast_enabled("cpu")))
            return 2 * x * g

    class Product(fb.autograd.Function):
        @staticmethod
        @custom_fwd(device_type="cpu")
        def forward(ctx, x):
            return x @ x

        @staticmethod
        @custom_bwd(device_type="cpu")
        def backward(ctx, g):
            seen.append((fb.get_autocast_dtype("cpu"), fb.is_autocast_enabled("cpu")))
            return g

    x = fb.ones(2, 2, dtype=HALF, requires_grad=True)
    with half():
        y, z = Square.apply(x), Product.apply(fb.ones(2, 2, requires_grad=True))
    assert y.dtype is fb.float32
    assert z.dtype is HALF
    y.sum().backward()
    z.float().sum().backward()
    assert seen == [(fb.float32, False), (fb.float32, False), (HALF, True)]


# ---- GradScaler
class Optimizer:
    """Plain gradient descent, for packages without flambeau.optim."""

    def __init__(self, *params):
        self.param_groups = [{"params": list(params)}]
        self.steps = 0

    def step(self):
        self.steps += 1
        with fb.no_grad():
            for p in self.param_groups[0]["params"]:
                if p.grad is not None:
                    p -= p.grad
        return "stepped"


def one(scaler, optimizer, w, factor=1.0):
    w.grad = None
    scaler.scale((w * factor).sum()).backward()
    result = scaler.step(optimizer)
    scaler.update()
    return result


def test_the_scale_follows_pytorchs_rules():
    w = fb.ones(2, requires_grad=True)
    optimizer = Optimizer(w)
    scaler = GradScaler("cpu", init_scale=8.0, growth_factor=4.0, growth_interval=3)
    scales = []
    for factor in (1.0, 1.0, 1.0, float("inf"), 1.0, 1.0, float("nan"), 1.0, 1.0, 1.0):
        one(scaler, optimizer, w, factor)
        scales.append(scaler.get_scale())
    # grows after three finite steps in a row, backs off at once, and counts anew after both
    assert scales == [8, 8, 32, 16, 16, 16, 8, 8, 8, 32]
    assert optimizer.steps == 8
    assert scaler.state_dict()["_growth_tracker"] == 0


def test_steps_see_unscaled_gradients():
    w = fb.ones(2, requires_grad=True)
    optimizer = Optimizer(w)
    scaler = GradScaler("cpu")
    scaler.scale((w * 0.25).sum()).backward()
    assert w.grad.tolist() == [0.25 * 65536] * 2
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [0.25, 0.25]
    assert scaler.step(optimizer) == "stepped"
    scaler.update()
    assert w.tolist() == [0.75, 0.75]


def test_a_skipped_step_returns_none_and_changes_nothing():
    w = fb.ones(2, requires_grad=True)
    optimizer = Optimizer(w)
    assert one(GradScaler("cpu"), optimizer, w, float("inf")) is None
    assert w.tolist() == [1.0, 1.0]


def test_two_optimizers_back_off_together():
    a, b = fb.ones(1, requires_grad=True), fb.ones(1, requires_grad=True)
    first, second = Optimizer(a), Optimizer(b)
    scaler = GradScaler("cpu", init_scale=4.0)
    for loss in scaler.scale([a.sum(), (b * float("inf")).sum()]):
        loss.backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert (first.steps, second.steps, scaler.get_scale()) == (1, 0, 2.0)


def test_the_scale_stays_finite():
    w = fb.zeros(1, requires_grad=True)
    scaler = GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    one(scaler, Optimizer(w), w, 0.0)
    assert scaler.get_scale() == 2.0**127


def test_scale_takes_nested_outputs_and_half():
    scaler = GradScaler("cpu", init_scale=2.0**17)
    x = fb.ones((), dtype=HALF)
    assert scaler.scale(fb.ones(())).item() == 2.0**17
    a, (b, c) = scaler.scale((x.float(), [x.float(), x.float()]))
    assert a.item() == b.item() == c.item() == 2.0**17
    assert [t.item() for t in scaler.scale(iter([fb.ones(())]))] == [2.0**17]
    for value in (3, "3", {3: x}):
        with pytest.raises(
            ValueError,
            match="GradScaler.scale: outputs must be a Tensor or an iter.* got .?3",
        ):
            scaler.scale(value)


def test_order_of_calls():
    w = fb.ones(1, requires_grad=True)
    optimizer = Optimizer(w)
    scaler = GradScaler("cpu")
    for name in ("unscale_", "step"):
        with pytest.raises(AssertionError, match=f"Attempted {name} but _scale is None"):
            getattr(scaler, name)(optimizer)
    with pytest.raises(AssertionError, match="Attempted update but _scale is None"):
        scaler.update()
    scaler.scale(w.sum())
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    scaler.update(4.0)
    assert scaler.get_scale() == 4.0
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(
        RuntimeError, match="already been called on this optimizer since the last update"
    ):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
        scaler.step(optimizer, closure=lambda: None)
    with pytest.raises(AssertionError, match="may only be pickled at the beginning"):
        pickle.dumps(scaler)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="unscale_.. is being called after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"step.. has already been called since the last update"):
        scaler.step(optimizer)
    scaler.update(fb.tensor(2.0))
    assert pickle.loads(pickle.dumps(scaler)).get_scale() == 2.0
    with pytest.raises(ValueError, match="new_scale should be a float or a 1-element Tensor"):
        scaler.update(fb.ones(2))


def test_float16_gradients_are_refused():
    w = fb.ones(1, dtype=HALF, requires_grad=True)
    scaler = GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.step(Optimizer(w))


def test_settings_and_state():
    with pytest.raises(AssertionError, match="growth factor must be > 1.0, got growth_factor=1.0"):
        GradScaler("cpu", growth_factor=1.0)
    with pytest.raises(
        AssertionError, match="backoff factor must be < 1.0, got backoff_factor=1.0"
    ):
        GradScaler("cpu", backoff_factor=1.0)
    scaler = GradScaler("cpu", init_scale=4.0, growth_interval=5)
    scaler.set_growth_factor(3.0)
    scaler.set_backoff_factor(0.25)
    scaler.set_growth_interval(7)
    w = fb.ones(1, requires_grad=True)
    one(scaler, Optimizer(w), w)
    state = scaler.state_dict()
    assert state == {
        "scale": 4.0,
        "growth_factor": 3.0,
        "backoff_factor": 0.25,
        "growth_interval": 7,
        "_growth_tracker": 1,
    }
    other = GradScaler("cpu")
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert other.get_growth_factor() == 3.0
    assert other.get_backoff_factor() == 0.25
    assert other.get_growth_interval() == 7
    with pytest.raises(RuntimeError, match="The source state dict is empty"):
        other.load_state_dict({})


def test_disabled():
    w = fb.ones(1, requires_grad=True)
    scaler = GradScaler("cpu", enabled=False)
    assert one(scaler, Optimizer(w), w, float("inf")) == "stepped"
    assert scaler.get_scale() == 1.0
    assert scaler.state_dict() == {}
    scaler.load_state_dict({})
    scaler.unscale_(None)
    assert scaler.get_growth_interval() == 2000


def test_the_scale_is_a_float32():
    w = fb.ones(1, requires_grad=True)
    scaler = GradScaler("cpu", init_scale=1.0, growth_factor=1.1, growth_interval=1)
    one(scaler, Optimizer(w), w)
    assert scaler.get_scale() == float(np.float32(1.1))
    scaler.update(0.3)
    assert scaler.get_scale() == float(np.float32(0.3))


def test_profiles_see_the_casts():
    with fb.profiler.profile() as prof, half():
        X @ X.mT
    counts = {row.key: row.count for row in prof.key_averages()}
    assert counts["cast"] == 2
    assert counts["matmul"] == 1
