"""What stands behind `cuda`: backends registered by hand, nothing else installed."""

import os
import threading

import pytest

from flambeau import accelerator, cuda, plugins, random
from flambeau.backend import registry
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
    for use in (cuda.current_device, cuda.get_device_name, cuda.synchronize):
        with pytest.raises(CudaUnavailableError, match=text):
            use()
    with pytest.raises(AssertionError, match=text):  # what torch raises there
        cuda.set_device(0)


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
