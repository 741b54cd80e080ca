"""Switches that are kept without effect, and the module `flambeau.cpu`."""

import importlib

import pytest

import flambeau as fb
from flambeau.errors import ArgumentError


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch):
    monkeypatch.delenv("FLAMBEAU_CUDA_ALIAS", raising=False)


def test_the_usual_lines_of_a_reproducible_program():
    fb.manual_seed(0)
    fb.cuda.manual_seed_all(0)
    fb.backends.cudnn.deterministic = True
    fb.backends.cudnn.benchmark = False
    fb.backends.cuda.matmul.allow_tf32 = True
    fb.use_deterministic_algorithms(True, warn_only=True)
    assert fb.are_deterministic_algorithms_enabled()
    assert fb.is_deterministic_algorithms_warn_only_enabled()
    fb.use_deterministic_algorithms(False)
    assert not fb.are_deterministic_algorithms_enabled()
    fb.backends.cudnn.deterministic = False


def test_choosing_a_device_by_the_libraries():
    for name in ("mps", "mkl", "mkldnn", "openmp", "cudnn"):
        assert not getattr(fb.backends, name).is_available()
        assert importlib.import_module(f"flambeau.backends.{name}") is getattr(fb.backends, name)
    assert not fb.backends.mps.is_built()
    assert not fb.backends.cuda.is_built()
    assert fb.backends.cudnn.version() is None
    assert not fb.backends.cudnn.is_acceptable(fb.ones(1))
    with pytest.raises(
        AttributeError, match="module 'flambeau.backends' has no attribute 'nosuch'"
    ):
        fb.backends.nosuch


def test_the_flags_of_cudnn_end_with_their_block():
    cudnn = fb.backends.cudnn
    with cudnn.flags(enabled=False, benchmark=True):
        assert (cudnn.enabled, cudnn.benchmark) == (False, True)
    assert (cudnn.enabled, cudnn.benchmark) == (True, False)


@pytest.mark.parametrize("name", ["flash", "mem_efficient", "math", "cudnn"])
def test_attention_kernels(name):
    cuda = fb.backends.cuda
    switch, ask = getattr(cuda, f"enable_{name}_sdp"), getattr(cuda, f"{name}_sdp_enabled")
    switch(False)
    assert not ask()
    switch(True)
    assert ask()


def test_precision_of_products():
    assert fb.get_float32_matmul_precision() == "highest"
    fb.set_float32_matmul_precision("high")
    assert fb.get_float32_matmul_precision() == "high"
    with pytest.raises(ValueError, match="precision must be one of highest, high, medium, got 'lo"):
        fb.set_float32_matmul_precision("low")
    fb.set_float32_matmul_precision("highest")
    assert fb.set_flush_denormal(True) is False


def test_the_module_of_a_device():
    assert fb.get_device_module() is fb.get_device_module("cpu") is fb.cpu
    with pytest.raises(ValueError, match="get_device_module: 'meta' has no module of its own; cpu"):
        fb.get_device_module("meta")
    if not fb.cuda.is_available():
        with pytest.raises(fb.errors.CudaUnavailableError, match="no GPU-like device"):
            fb.get_device_module("cuda")


def test_the_module_cpu():
    cpu = fb.cpu
    assert cpu.is_available()
    assert cpu.is_initialized()
    assert cpu.device_count() == 1
    assert cpu.current_device() == "cpu"
    cpu.set_device(0)
    cpu.synchronize()
    with cpu.stream(cpu.current_stream()):
        pass
    with pytest.raises(AttributeError, match="module 'flambeau.cpu' has no attribute 'nosuch'"):
        cpu.nosuch


def test_mixed_precision_of_the_cpu():
    x = fb.ones(2, 2)
    with fb.cpu.amp.autocast(dtype=fb.float16):
        assert (x @ x).dtype is fb.float16
    assert fb.cpu.amp.GradScaler(init_scale=4.0).scale(x[0, 0]).item() == 4.0


def test_out_of_memory_has_pytorchs_names():
    assert fb.OutOfMemoryError is fb.cuda.OutOfMemoryError
    assert issubclass(fb.OutOfMemoryError, RuntimeError)


class TestThreads:
    def test_products_use_as_many(self):
        before = fb.get_num_threads()
        try:
            fb.set_num_threads(1)
            assert fb.get_num_threads() == 1
            one = fb.ones(64, 64) @ fb.ones(64, 64)
            fb.set_num_threads(before)
            assert fb.get_num_threads() == before >= 1
            assert (fb.ones(64, 64) @ fb.ones(64, 64) == one).all()
        finally:
            fb.set_num_threads(before)

    def test_between_operations_there_is_one(self):
        assert fb.get_num_interop_threads() == 1
        fb.set_num_interop_threads(4)
        assert fb.get_num_interop_threads() == 4
        fb.set_num_interop_threads(1)

    @pytest.mark.parametrize("name", ["set_num_threads", "set_num_interop_threads"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"], ids=repr)
    def test_only_positive_integers(self, name, value):
        with pytest.raises(ArgumentError, match=f"{name}: expects a positive integer, got"):
            getattr(fb, name)(value)


def test_warnings_asked_for_always():
    assert not fb.is_warn_always_enabled()
    fb.set_warn_always(True)
    assert fb.is_warn_always_enabled()
    fb.set_warn_always(False)
    with pytest.raises(ArgumentError, match="set_warn_always: expects a bool, got 1"):
        fb.set_warn_always(1)


def test_anomaly_mode_by_the_names_at_the_root():
    assert not fb.is_anomaly_enabled() and not fb.is_anomaly_check_nan_enabled()
    try:
        fb.set_anomaly_enabled(True)
        assert fb.is_anomaly_enabled() and fb.is_anomaly_check_nan_enabled()
        assert fb.autograd.is_anomaly_enabled()
        fb.set_anomaly_enabled(True, check_nan=False)
        assert fb.is_anomaly_enabled() and not fb.is_anomaly_check_nan_enabled()
    finally:
        fb.set_anomaly_enabled(False)
    assert not fb.is_anomaly_enabled()
