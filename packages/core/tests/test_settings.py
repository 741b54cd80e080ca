"""Switches that are kept without effect, and the module `flambeau.cpu`."""

import importlib

import pytest

import flambeau as fb


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
