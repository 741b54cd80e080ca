"""What stands behind `cuda`: backends registered by hand, nothing else installed."""

import os
import threading

import pytest

import flambeau as fb
from flambeau import accelerator, cuda, plugins, random
from flambeau.backend import registry
from flambeau.backend._memory import MemoryStats
from flambeau.backend.protocol import REQUIRED, Backend, Caps, Device, DeviceInfo
from flambeau.backend.registry import register_backend, unregister_backend
from flambeau.device import device
from flambeau.dtypes import bool_, float32, int64
from flambeau.errors import CudaUnavailableError, DeviceError, DeviceUnavailableError


class FakeDevice(Device):
    def __init__(self, info):
        self.info, self.calls = info, []
        self.caps = Caps(frozenset({bool_, float32, int64}))
        self.kernels = dict.fromkeys(REQUIRED, max)

    def synchronize(self):
        self.calls.append("synchronize")

    def empty_cache(self):
        self.calls.append("empty_cache")

    def memory_stats(self):
        return MemoryStats(100, 300, 200, 400, 5, 6)

    def reset_peak_memory_stats(self):
        self.calls.append("reset")


class FakeBackend(Backend):
    def __init__(self, name, *kinds):
        self.name, self.kinds, self.asked = name, kinds, 0

    def devices(self):
        self.asked += 1
        return [DeviceInfo(i, f"{self.name} {k} {i}", kind=k) for i, k in enumerate(self.kinds)]

    def open(self, index):
        return FakeDevice(self.devices()[index])


class BrokenBackend(FakeBackend):
    def devices(self):
        raise OSError("driver is gone")


@pytest.fixture(autouse=True)
def only_by_hand(monkeypatch):
    for variable in [v for v in os.environ if v.startswith("FLAMBEAU_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(registry, "_r", registry._Registry())
    monkeypatch.setattr(registry, "current", registry._Current())
    monkeypatch.setattr(plugins, "scan", dict)


@pytest.fixture
def gpus():
    """Three GPU-like devices of two backends, beside others that are none."""
    register_backend(FakeBackend("zeta", "gpu"))
    register_backend(FakeBackend("host_only", "cpu"))
    register_backend(BrokenBackend("broken"))
    register_backend(FakeBackend("acme", "cpu", "gpu", "accelerator"))


def test_without_a_gpu():
    assert not cuda.is_available()
    assert cuda.device_count() == 0
    assert str(device("cuda:1")) == "cuda:1"
    assert not accelerator.is_available()
    assert accelerator.device_count() == 0
    assert accelerator.current_accelerator() is None
    text = "no GPU-like device stands behind 'cuda': installed: none; installable: cpu .*Hint: dev"
    for use in (
        *(cuda.current_device, cuda.get_device_name, cuda.synchronize, cuda.Stream, cuda.init),
        *(cuda.get_device_properties, cuda.get_device_capability, cuda.mem_get_info),
        *(cuda.initial_seed, cuda.get_rng_state, cuda.current_stream, cuda.Event().record),
        *(accelerator.current_device_index, accelerator.get_device_capability),
    ):
        with pytest.raises(CudaUnavailableError, match=text):
            use()
    with pytest.raises(AssertionError, match=text):  # what torch raises there
        cuda.set_device(0)


def test_without_a_gpu_memory_is_none_and_nothing_is_seeded():
    assert cuda.memory_allocated() == cuda.max_memory_allocated(0) == cuda.memory_reserved() == 0
    assert cuda.memory_stats() == {}
    assert cuda.memory_summary() == ""
    assert cuda.get_rng_state_all() == cuda.get_arch_list() == []
    assert not cuda.is_bf16_supported()
    assert not cuda.is_initialized()
    assert not cuda.is_current_stream_capturing()
    before = random.initial_seed()
    for call in (cuda.seed, cuda.seed_all, cuda.empty_cache, cuda.reset_peak_memory_stats):
        call()
    cuda.set_rng_state_all([])
    cuda.ipc_collect()
    with cuda.stream(None), cuda.device(None), accelerator.device_index(None):
        assert random.initial_seed() == before


def test_a_backend_of_cpu_devices_is_no_gpu():
    register_backend(FakeBackend("host_only", "cpu"))
    assert not cuda.is_available()


def test_first_gpu_like_device(gpus):
    assert cuda.is_available()
    assert cuda.device_count() == 3
    assert device("cuda") == device("acme:1")
    assert [str(device("cuda", i)) for i in range(3)] == ["acme:1", "acme:2", "zeta:0"]
    assert device(1) == device("acme:2")
    assert str(device("cuda:3")) == "cuda:3"
    assert cuda.get_device_name() == "acme gpu 1"
    assert cuda.get_device_name("cuda:2") == cuda.get_device_name("zeta") == "zeta gpu 0"
    assert registry.opened() == ()


def test_the_search_is_kept_until_reset():
    backend = FakeBackend("acme", "gpu")
    register_backend(backend)
    assert cuda.device_count() == cuda.device_count() == 1
    assert backend.asked == 1
    backend.kinds = ("gpu", "gpu")
    registry.reset_cuda_alias()
    assert cuda.device_count() == 2
    unregister_backend("acme")
    assert not cuda.is_available()


def test_disabled_backends_do_not_count(gpus, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_DISABLE_BACKENDS", "acme")
    assert device("cuda") == device("zeta:0")


@pytest.mark.parametrize(
    ("value", "names"),
    [("zeta:0", ["zeta:0"]), ("acme", ["acme:0", "acme:1", "acme:2"]), ("acme:0", ["acme:0"])],
)
def test_environment_names_the_device(gpus, monkeypatch, value, names):
    assert device("cuda") == device("acme:1")
    monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", value)
    assert [str(device("cuda", i)) for i in range(cuda.device_count())] == names
    assert str(accelerator.current_accelerator()) == names[0]
    monkeypatch.delenv("FLAMBEAU_CUDA_ALIAS")
    assert device("cuda") == device("acme:1")


def test_environment_may_name_the_cpu(monkeypatch):
    register_backend(FakeBackend("cpu", "cpu"), dist="flambeau-cpu")
    assert not cuda.is_available()
    monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", "cpu")
    assert cuda.is_available()
    assert device("cuda") == device("cuda:0") == device("cpu")
    cuda.synchronize()
    assert registry.opened()[0].calls == ["synchronize"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Open CL", "FLAMBEAU_CUDA_ALIAS=Open CL: device: 'Open CL' is not a device name"),
        ("cuda:0", "FLAMBEAU_CUDA_ALIAS=cuda:0: device: 'cuda:0' is the alias itself. Hint: FLAM"),
        ("acne:0", r"FLAMBEAU_CUDA_ALIAS=acne:0: no installed .* Did you mean 'acme'\?"),
        ("acme:7", "FLAMBEAU_CUDA_ALIAS=acme:7: .* has no device acme:7; it has acme:0 "),
        ("broken", "FLAMBEAU_CUDA_ALIAS=broken: .* failed to list its devices: OSError: driver is"),
    ],
)
def test_environment_names_no_device(gpus, monkeypatch, value, text):
    monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", value)
    for use in (cuda.is_available, lambda: device("cuda")):
        with pytest.raises(CudaUnavailableError, match=text):
            use()


def test_current_device(gpus):
    assert cuda.current_device() == 0
    cuda.set_device(1)
    assert device("cuda") == device("acme:2")
    assert accelerator.current_accelerator() == device("acme:2")
    with cuda.device("zeta:0"):
        assert cuda.current_device() == 2
        assert device("cuda") == device("zeta:0")
        with cuda.device(None), cuda.device(-1):
            assert cuda.current_device() == 2
    assert cuda.current_device() == 1
    cuda.set_device(-1)
    assert cuda.current_device() == 1
    seen = []
    other = threading.Thread(target=lambda: seen.append(cuda.current_device()))
    other.start()
    other.join()
    assert seen == [0]


@pytest.mark.parametrize("wanted", [3, "acme:0", "acme"])
def test_current_device_must_stand_behind_cuda(gpus, wanted):
    have = "Hint: acme:1, acme:2, zeta:0"
    with pytest.raises(DeviceError, match=f"is none of the devices behind 'cuda'. {have}"):
        cuda.set_device(wanted)
    with pytest.raises(DeviceError, match=have):
        cuda.device(wanted)


def test_synchronize_and_empty_cache(gpus):
    cuda.empty_cache()
    assert registry.opened() == ()
    cuda.synchronize(2)
    cuda.empty_cache()
    (dev,) = registry.opened()
    assert dev.info.name == "zeta gpu 0"
    assert dev.calls == ["synchronize", "empty_cache"]


def test_memory(gpus):
    assert cuda.memory_allocated() == accelerator.memory_allocated() == 100
    assert cuda.memory_reserved("zeta") == 300
    assert cuda.max_memory_allocated() == 200
    assert cuda.max_memory_reserved() == 400
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.peak"] == 200
    assert (stats["num_device_alloc"], stats["num_ooms"]) == (5, 6)
    assert cuda.memory_summary().splitlines()[0].split() == ["allocated_bytes.all.current", "100"]
    cuda.reset_peak_memory_stats()
    assert registry.opened()[0].calls == ["reset"]
    assert cuda.mem_get_info(0) == accelerator.get_memory_info() == (0, 0)


def test_memory_of_devices_that_do_not_count(monkeypatch):
    register_backend(FakeBackend("cpu", "cpu"), dist="flambeau-cpu")
    monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", "cpu")
    monkeypatch.setattr(FakeDevice, "memory_stats", None)
    monkeypatch.setattr(FakeDevice, "reset_peak_memory_stats", None)
    assert cuda.memory_allocated() == 0
    assert cuda.memory_stats() == {}
    cuda.reset_peak_memory_stats()


def test_properties(gpus):
    found = cuda.get_device_properties("zeta")
    assert (found.name, found.kind, found.total_memory) == ("zeta gpu 0", "gpu", 0)
    assert cuda.get_device_capability(1) == (0, 0)
    assert accelerator.get_device_capability() == {"supported_dtypes": {bool_, float32, int64}}
    assert not cuda.is_bf16_supported()
    assert not cuda.can_device_access_peer(0, 1)
    assert cuda.is_initialized()
    cuda.init()
    assert "acme gpu 1" in [d.info.name for d in registry.opened()]


def test_streams_are_one_queue(gpus):
    stream = cuda.Stream(1, priority=-1)
    with stream, cuda.stream(stream):
        stream.wait_stream(cuda.current_stream())
    cuda.set_stream(stream)
    assert stream == cuda.default_stream("acme:2") != cuda.current_stream()
    assert len({stream, cuda.Stream(1)}) == 1
    assert repr(stream) == "<flambeau.cuda.Stream device=acme:2>"
    assert registry.opened() == ()
    assert stream.query()
    assert registry.opened()[0].calls == ["synchronize"]
    with pytest.raises(TypeError, match="stream: needs a Stream or None, got 3. Hint: cuda.Stream"):
        cuda.set_stream(3)
    with pytest.raises(DeviceError, match="cuda: 7 is none of the devices"):
        cuda.Stream(7)


def test_events_wait_and_measure(gpus):
    begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    begin.record()
    with pytest.raises(
        RuntimeError, match=r"end_event needs .* and a call of record.*recorded=Fal"
    ):
        begin.elapsed_time(end)
    cuda.current_stream().record_event(end)
    assert 0 <= begin.elapsed_time(end) < 1e3
    assert registry.opened()[0].calls == ["synchronize"] * 2
    plain = cuda.Stream().record_event()
    cuda.Stream().wait_event(plain)
    plain.wait()
    assert registry.opened()[0].calls == ["synchronize"] * 2
    assert plain.query()
    assert registry.opened()[0].calls == ["synchronize"] * 3
    with pytest.raises(ValueError, match="the first event needs enable_timing=True.*g=False"):
        plain.elapsed_time(end)


def test_choosing_by_the_accelerator(gpus):
    with accelerator.device_index(2):
        assert accelerator.current_device_index() == cuda.current_device() == 2
    accelerator.set_device_index("zeta:0")
    assert accelerator.current_device_idx() == 2


def test_the_generators_state(gpus):
    with random.fork_rng():
        states = cuda.get_rng_state_all()
        assert len(states) == 3
        random.manual_seed(5)
        assert cuda.initial_seed() == 5
        cuda.set_rng_state_all(states)
        assert cuda.get_rng_state(2).tolist() == states[0].tolist()
        assert random.initial_seed() != 5
        cuda.seed_all()


def test_named_ranges_of_nvtx():
    from flambeau.cuda import nvtx

    with fb.profiler.profile() as prof:
        assert [nvtx.range_push("a"), nvtx.range_push("b")] == [0, 1]
        assert [nvtx.range_pop(), nvtx.range_pop(), nvtx.range_pop()] == [1, 0, -1]
        nvtx.mark("c")
        with nvtx.range("d"):
            pass
    assert sorted(row.key for row in prof.key_averages()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("seed", [cuda.manual_seed, cuda.manual_seed_all])
def test_manual_seed(seed):
    with random.fork_rng():
        random.manual_seed(1)
        seed(2)
        assert random.initial_seed() == 1
        register_backend(FakeBackend("acme", "gpu"))
        seed(2)
        assert random.initial_seed() == 2


def test_a_device_that_vanished(gpus):
    found = device("cuda:2")
    registry._r.backends["zeta"].backend.kinds = ()
    with pytest.raises(
        DeviceUnavailableError, match=r"'zeta' .* installed but found no device: it"
    ):
        registry.open_device(found)
