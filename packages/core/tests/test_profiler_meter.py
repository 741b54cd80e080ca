"""Memory and operations of kernels in the profiler."""

import gc
import importlib
import sys
from pathlib import Path

import pytest

import flambeau as fb
from flambeau.backend.registry import register_backend, unregister_backend
from flambeau.kinds import kind_of
from flambeau.profiler import profile, record_function
from flambeau.profiler._meter import FLOPS, Meter

TABLE = kind_of(fb.device("cpu"), fb.float32).k
X = fb.ones(2, 3)


def rows(prof):
    return {row.key: row for row in prof.key_averages()}


def test_devices_that_are_opened_within_a_profile(monkeypatch):
    template = Path(__file__).resolve().parents[3] / "examples" / "backend-template"
    if not template.is_dir():
        pytest.skip("the template is in the repository only")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(template))
    toy = importlib.import_module("toy")
    register_backend(type("LateBackend", (toy.ToyBackend,), {"name": "late"})())
    try:
        with profile(profile_memory=True) as prof:
            x = fb.ones(1000, device="late:0")
            y = x.exp()
        row = rows(prof)["exp"]
        assert row.count == 1
        assert row.device_time_total == row.cpu_time_total > 0
        assert row.cuda_memory_usage == row.device_memory_usage >= y.nbytes
        table = prof.key_averages().table(sort_by="self_cuda_memory_usage")
        assert "Device total" in table
        assert "Self Device Mem" in table
    finally:
        unregister_backend("late")
        sys.modules.pop("toy", None)


def test_memory_is_what_kernels_allocate_less_what_is_freed():
    x = fb.ones(1000)
    with profile(profile_memory=True) as prof:
        with record_function("made"):
            y = x.exp()
        with record_function("views"):
            y[10:].reshape(-1, 1).t()
            x.view(10, 100)
        with record_function("in place"):
            y.mul_(2)
            x.add_(1)
        with record_function("kept by a view"):
            z = x.exp()[:1]
            gc.collect()
        with record_function("freed"):
            del y, z
    found = rows(prof)
    assert found["made"].cpu_memory_usage == 4000
    assert found["made"].self_cpu_memory_usage == 0
    assert found["exp"].self_cpu_memory_usage == 8000
    assert found["views"].cpu_memory_usage == found["in place"].cpu_memory_usage == 0
    assert found["kept by a view"].cpu_memory_usage == 4000
    assert found["freed"].cpu_memory_usage == -8000
    averages = prof.key_averages()
    assert averages.total_average().cpu_memory_usage == 0
    table = averages.table(sort_by="self_cpu_memory_usage").splitlines()
    assert table[3].split()[0] == "exp"
    assert "7.81 KB" in table[3]
    assert table[-2] == "CPU memory: at most 7.81 KB more than at the start"
    with profile() as prof:
        x.exp()
    assert "CPU Mem" not in prof.key_averages().table()


def test_memory_of_other_devices_is_their_pools():
    class Pool:
        allocated = 100

        @classmethod
        def memory_stats(cls):
            return cls

    def kernel():
        Pool.allocated += 40
        return None

    meter = Meter(memory=True, flops=False)
    run = meter._layer(kernel, "exp", "box", Pool)
    run(), run()
    Pool.allocated -= 80
    meter._layer(lambda: None, "log", "box", Pool)()
    run()
    assert [(n[2], n[3]) for n in meter.notes] == [
        ("self_device_memory_usage", 40),
        ("self_device_memory_usage", 40),
        ("self_device_memory_usage", -40),
    ]
    assert meter._layer(kernel, "exp", "meta", Pool) is kernel


def test_what_is_freed_after_the_end_is_not_noted():
    with profile(profile_memory=True) as prof:
        y = X.exp()
    del y
    assert rows(prof)["exp"].cpu_memory_usage == 24


def test_operations_are_counted():
    a, b = fb.ones(2, 3, requires_grad=True), fb.ones(3, 5)
    with profile(with_flops=True) as prof:
        with record_function("forward"):
            y = a @ b
        y.sum().backward()
        a[0] @ b[:, 0]
        fb.ones(4, 2, 3) @ b
    found = rows(prof)
    assert found["forward"].flops == 2 * 2 * 3 * 5
    assert found["MmBackward0"].flops == 2 * 2 * 3 * 5  # of the one gradient that is wanted
    assert found["matmul"].flops == 2 * 60 + 2 * 3 + 2 * 4 * 2 * 3 * 5
    assert found["fill"].flops == 0
    table = prof.key_averages().table(sort_by="flops").splitlines()
    assert table[1].split()[-2:] == ["Total", "FLOPs"]
    assert table[3].split()[-1] == "366.000"
    assert "--" in table[-4]


def test_operations_of_layers():
    nn = pytest.importorskip("flambeau.nn")
    x = fb.ones(2, 4, 8, 8, requires_grad=True)
    lstm = nn.LSTM(3, 5)
    q = fb.ones(2, 7, 4, requires_grad=True)
    with profile(with_flops=True) as prof:
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)(x).sum().backward()
        lstm(fb.ones(9, 2, 3))[0].sum().backward()
        nn.functional.scaled_dot_product_attention(q, fb.ones(2, 11, 4), fb.ones(2, 11, 3))
    found = rows(prof)
    conv = 2 * (2 * 6 * 4 * 4) * (2 * 3 * 3)
    for name in ("conv", "conv_input_grad", "conv_weight_grad"):
        assert found[name].flops == conv
    assert found["Conv2d"].flops == conv
    assert found["Conv2d backward"].flops == 2 * conv
    assert found["rnn_layer"].flops == 2 * 9 * 2 * (20 * 3 + 20 * 5)
    assert found["rnn_layer_backward"].flops == 2 * found["rnn_layer"].flops
    if "sdpa" in found:
        assert found["sdpa"].flops == 2 * 2 * 7 * 11 * (4 + 3)
    assert f"{conv / 1e3:.3f}" in prof.key_averages().table()
    assert "Total KFLOPs" in prof.key_averages().table()


def test_only_kernels_that_exist_are_counted():
    assert {n for n in FLOPS if TABLE[n] is None} == set()
