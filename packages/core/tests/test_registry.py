"""Discovery against fake distributions: a folder on sys.path with metadata and plug-in modules."""

import importlib
import os
import subprocess
import sys
import threading

import pytest

from flambeau import plugins
from flambeau.backend import registry
from flambeau.backend.protocol import REQUIRED, Backend, Caps, Device, DeviceInfo, KernelTable
from flambeau.backend.registry import open_device, register_backend, unregister_backend
from flambeau.device import device
from flambeau.dtypes import bool_, float32, int64
from flambeau.errors import (
    BackendConflictError,
    BackendImportError,
    BackendNotFoundError,
    BackendValidationError,
    CudaUnavailableError,
    DeviceUnavailableError,
    ProtocolVersionError,
)

TOY = """
from flambeau.backend.protocol import REQUIRED, Backend, Caps, Device, DeviceInfo
from flambeau.dtypes import bool_, float32, float64, int64
from flambeau.plugins import hookimpl

class ToyDevice(Device):
    def __init__(self, info):
        self.info, self.calls = info, []
        self.caps = Caps(frozenset({bool_, float32, int64}))
        self.kernels = dict.fromkeys(REQUIRED, max)
    def synchronize(self):
        self.calls.append("synchronize")
    def thread_init(self):
        self.calls.append("thread_init")
    def close(self):
        CLOSED.append(self.info.index)

class ToyBackend(Backend):
    name = "toy"
    def devices(self):
        return [DeviceInfo(0, "left"), DeviceInfo(1, "right")]
    def open(self, index):
        device = ToyDevice(self.devices()[index])
        change(device)
        return device

CLOSED = []
def change(device):
    pass

@hookimpl
def flambeau_backend(core_protocol):
    return ToyBackend()
"""


class Site:
    """A folder on sys.path into which a test installs fake distributions."""

    def __init__(self, path):
        self.path = path
        self.modules = set()

    def install(self, dist, source, version="1.0", name="toy"):
        """A distribution whose entry point `name` is a module of this source."""
        module = dist.replace("-", "_") + "_plugin"
        info = self.path / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        metadata = f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(f"[flambeau.backends]\n{name} = {module}\n")
        (self.path / f"{module}.py").write_text(source)
        self.modules.add(module)
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path, monkeypatch):
    for variable in [v for v in os.environ if v.startswith("FLAMBEAU_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(registry, "_r", registry._Registry())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    fake = Site(tmp_path)
    yield fake
    for module in fake.modules:
        sys.modules.pop(module, None)


class HandDevice(Device):
    def __init__(self, info):
        self.info, self.closed = info, False
        self.caps = Caps(frozenset({bool_, float32, int64}))
        self.kernels = KernelTable.fromkeys(REQUIRED, max)

    def synchronize(self):
        pass

    def close(self):
        self.closed = True


class HandBackend(Backend):
    name = "hand"

    def devices(self):
        return [DeviceInfo(0, "mine", kind="gpu")]

    def open(self, index):
        return HandDevice(self.devices()[index])


def nothing_kept():
    r = registry._r
    plugins_left = [] if r.manager is None else r.manager.list_name_plugin()
    return not (r.open or r.opened or r.backends or plugins_left)


# --- what works -----------------------------------------------------------------------------------


def test_open_imports_one_plugin_and_keeps_the_device(site):
    site.install("toy-backend", TOY)
    site.install("other-backend", TOY, name="other")
    dev = open_device(device("toy:1"))
    assert dev.info.name == "right"
    assert open_device(device("toy", 1)) is dev
    assert type(dev.kernels) is KernelTable
    assert dev.kernels["add"] is max
    assert dev.kernels["no such kernel"] is None
    assert dev.calls == ["thread_init"]
    assert registry.opened() == (dev,)
    assert "toy_backend_plugin" in sys.modules
    assert "other_backend_plugin" not in sys.modules


def test_no_index_means_the_first_device(site):
    site.install("toy-backend", TOY)
    assert open_device(device("toy")) is open_device(device("toy:0"))


def test_a_kernel_table_stays_the_same_object(site):
    register_backend(HandBackend())
    dev = open_device(device("hand"))
    assert dev.kernels is open_device(device("hand:0")).kernels
    assert dev.kernels.native().keys() == set(REQUIRED)


def test_meta_is_built_in(site):
    dev = open_device(device("meta"))
    assert open_device(device("meta:3")) is dev


def test_threads_open_a_device_once(site):
    slow = "\nimport time\ndef change(device): time.sleep(0.05)\n"
    site.install("toy-backend", TOY + slow)
    found, start = [], threading.Barrier(4)

    def first_use():
        start.wait()
        found.append(open_device(device("toy")))

    threads = [threading.Thread(target=first_use) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_a_backend_may_open_another_one_meanwhile(site):
    register_backend(HandBackend())
    nested = (
        "\nfrom flambeau.backend import registry\nfrom flambeau.device import device as named\n"
        "def change(device): registry.open_device(named('hand'))\n"
    )
    site.install("toy-backend", TOY + nested)
    dev = open_device(device("toy"))
    assert registry.opened() == (open_device(device("hand")), dev)


def test_plugin_that_takes_all_hook_arguments(site):
    hook = """
@hookimpl
def flambeau_backend(core_protocol, core_version):
    assert core_protocol == (1, 0) and core_version
    return ToyBackend()
"""
    site.install("toy-backend", TOY + hook)
    assert open_device(device("toy")).info.index == 0


# --- what fails -----------------------------------------------------------------------------------


def test_unknown_name_lists_what_is_installed(site):
    site.install("toy-backend", TOY)
    text = r"no installed package provides device 'vulkan'; installed: .*\btoy\b"
    with pytest.raises(BackendNotFoundError, match=text):
        open_device(device("vulkan"))
    assert nothing_kept()


def test_unknown_name_suggests_an_installed_one(site):
    site.install("toy-backend", TOY)
    with pytest.raises(BackendNotFoundError, match=r"device 'toyy'; .*\. Did you mean 'toy'\?$"):
        open_device(device("toyy"))


def test_unknown_name_suggests_what_can_be_installed(site, monkeypatch):
    monkeypatch.setattr(plugins, "scan", dict)
    nothing = "provides device 'opencl'; installed: none. Hint: pip install flambeau-opencl"
    with pytest.raises(BackendNotFoundError, match=nothing):
        open_device(device("opencl"))
    near = r"Did you mean 'opencl'\? Hint: pip install flambeau-opencl"
    with pytest.raises(BackendNotFoundError, match=near):
        open_device(device("opnecl"))
    far = r"installed: none; installable: cpu \(pip install flambeau-cpu\), opencl \(pip"
    with pytest.raises(BackendNotFoundError, match=far):
        open_device(device("mps"))


def test_a_package_installed_meanwhile_is_found(site):
    with pytest.raises(BackendNotFoundError):
        open_device(device("toy"))
    site.install("toy-backend", TOY)
    assert open_device(device("toy")).info.name == "left"


def test_two_claims_conflict_only_when_used(site):
    site.install("vendor-a", TOY, "1.2")
    site.install("vendor-b", TOY, "0.3")
    site.install("other-backend", TOY.replace('"toy"', '"other"'), name="other")
    assert open_device(device("other")).info.index == 0
    text = (
        r"device 'toy' is claimed by vendor-[ab] [\d.]+ and vendor-[ab] [\d.]+; "
        r"uninstall one or set FLAMBEAU_BACKEND_TOY=vendor-[ab]$"
    )
    with pytest.raises(BackendConflictError, match=text):
        open_device(device("toy"))


def test_environment_settles_a_conflict(site, monkeypatch):
    site.install("vendor-a", TOY.replace("left", "a"), "1.2")
    site.install("vendor-b", TOY.replace("left", "b"), "0.3")
    monkeypatch.setenv("FLAMBEAU_BACKEND_TOY", "Vendor_B")
    assert open_device(device("toy")).info.name == "b"
    assert "vendor_a_plugin" not in sys.modules


def test_environment_names_a_package_without_the_claim(site, monkeypatch):
    site.install("vendor-a", TOY, "1.2")
    monkeypatch.setenv("FLAMBEAU_BACKEND_TOY", "vendor-c")
    text = "FLAMBEAU_BACKEND_TOY=vendor-c names no package .* installed: vendor-a 1.2. Hint: unset"
    with pytest.raises(BackendConflictError, match=text):
        open_device(device("toy"))


def test_import_error_is_chained_and_can_be_retried(site, monkeypatch):
    fails = "import os\nif 'TOY_OK' not in os.environ: raise OSError('libToy.so.1 not found')\n"
    site.install("toy-backend", fails + TOY, "0.4")
    text = (
        r"backend 'toy' \(toy-backend 0.4, toy_backend_plugin\) failed to import: "
        r"OSError: libToy.so.1 not found"
    )
    with pytest.raises(BackendImportError, match=text) as caught:
        open_device(device("toy"))
    assert isinstance(caught.value.__cause__, OSError)
    assert nothing_kept()
    monkeypatch.setenv("TOY_OK", "1")
    assert open_device(device("toy")).info.name == "left"


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        ("import no_such_driver", "failed to import: ModuleNotFoundError: No module named 'no_s"),
        ("raise KeyError('x')", "failed in flambeau_backend: KeyError: 'x'"),
    ],
)
def test_hook_that_fails(site, raised, text):
    hook = f"\n@hookimpl\ndef flambeau_backend():\n    {raised}\n"
    site.install("toy-backend", TOY + hook)
    with pytest.raises(BackendImportError, match=text) as caught:
        open_device(device("toy"))
    assert caught.value.__cause__ is not None
    assert nothing_kept()


def test_hook_missing(site):
    site.install("toy-backend", "")
    text = r"\(toy-backend 1.0, toy_backend_plugin\) has no hook flambeau_backend\. Hint: .*hook"
    with pytest.raises(BackendValidationError, match=text):
        open_device(device("toy"))
    assert nothing_kept()


def test_hook_without_its_marker(site):
    site.install("toy-backend", TOY.replace("@hookimpl", ""))
    with pytest.raises(BackendValidationError, match=r"of this name lacks its marker. Hint: from"):
        open_device(device("toy"))


def test_hook_with_a_wrong_argument(site):
    site.install("toy-backend", TOY.replace("(core_protocol)", "(protocol)"), "0.4")
    text = r"(?s)\(toy-backend 0.4, .*'protocol'.*hookspec: flambeau_backend\(core_protocol, core_v"
    with pytest.raises(BackendValidationError, match=text):
        open_device(device("toy"))
    assert nothing_kept()


def test_hook_of_an_unknown_name(site):
    site.install("toy-backend", TOY + "\n@hookimpl\ndef flambeau_bakcend(): pass\n")
    text = r"(?s)does not fit the hooks of flambeau .*unknown hook 'flambeau_bakcend'"
    with pytest.raises(BackendValidationError, match=text):
        open_device(device("toy"))
    assert nothing_kept()


def test_hook_that_returns_no_backend(site):
    site.install("toy-backend", TOY.replace("return ToyBackend()", "return ToyBackend"))
    with pytest.raises(BackendValidationError, match=r"gave <class .*ToyBackend'>, which is no f"):
        open_device(device("toy"))
    site.install("toy-none", TOY.replace("return ToyBackend()", "return None"), name="none")
    with pytest.raises(BackendValidationError, match=r"gave None, which is no flambeau.backend.B"):
        open_device(device("none"))


def test_backend_name_and_entry_point_differ(site):
    site.install("toy-backend", TOY, name="game")
    text = "its Backend.name is 'toy', its entry point 'game'; both must be one device type"
    with pytest.raises(BackendValidationError, match=text):
        open_device(device("game"))


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        ((2, 0), "speaks protocol 2.0, this flambeau .* speaks 1.0; upgrade flambeau-core"),
        ((1, 5), "speaks protocol 1.5, this flambeau .* speaks 1.0; upgrade flambeau-core"),
        ((0, 9), "speaks protocol 0.9, this flambeau .* speaks 1.0; upgrade toy-backend"),
    ],
)
def test_protocol_of_another_version(site, protocol, text):
    site.install("toy-backend", TOY + f"\nToyBackend.protocol = {protocol}\n", "2.0")
    with pytest.raises(ProtocolVersionError, match=r"'toy' \(toy-backend 2.0, .*\) " + text):
        open_device(device("toy"))
    assert nothing_kept()


def test_protocol_of_an_older_minor_is_accepted(site, monkeypatch):
    monkeypatch.setattr(plugins, "PROTOCOL", (1, 3))
    site.install("toy-backend", TOY + "\nToyBackend.protocol = (1, 2)\n")
    assert open_device(device("toy")).info.name == "left"


def test_protocol_that_is_no_version(site):
    site.install("toy-backend", TOY + "\nToyBackend.protocol = '1.0'\n")
    with pytest.raises(BackendValidationError, match=r"must be two integers .* got '1\.0'"):
        open_device(device("toy"))


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("", "it gives no reason"),
        ("ToyBackend.why_unavailable = lambda self: 'no card; plug it in'", "no card; plug it in"),
    ],
)
def test_no_hardware(site, method, why):
    site.install("toy-backend", f"{TOY}\nToyBackend.devices = lambda self: []\n{method}\n")
    text = rf"'toy' \(toy-backend 1.0\) is installed but found no device: {why}$"
    with pytest.raises(DeviceUnavailableError, match=text):
        open_device(device("toy"))
    assert registry.opened() == ()


def test_devices_that_fail(site):
    site.install("toy-backend", TOY + "\nToyBackend.devices = lambda self: 1 / 0\n")
    with pytest.raises(DeviceUnavailableError, match=r"failed to list its devices: ZeroDivision"):
        open_device(device("toy"))


def test_index_out_of_range(site):
    site.install("toy-backend", TOY)
    text = r"\(toy-backend 1.0\) has no device toy:5; it has toy:0 \(left\), toy:1 \(right\)"
    with pytest.raises(DeviceUnavailableError, match=text):
        open_device(device("toy:5"))


def test_open_that_fails_can_be_retried(site):
    once = "\ndef change(device):\n    globals()['change'] = id\n    raise OSError('busy')\n"
    site.install("toy-backend", TOY + once)
    with pytest.raises(DeviceUnavailableError, match=r"1.0\) failed to open toy:0: OSError: busy"):
        open_device(device("toy"))
    assert registry.opened() == ()
    assert open_device(device("toy")) in registry.opened()


def test_missing_kernels_are_all_listed_with_near_misses(site):
    gaps = """
def change(device):
    kernels = device.kernels
    del kernels["bmm"], kernels["iota"]
    kernels["reduce_summ"] = kernels.pop("reduce_sum")
    kernels["neg"] = 3
    kernels["my_own_kernel"] = max
    device.caps = Caps(frozenset({bool_, float64, "float32"}))
"""
    site.install("toy-backend", TOY + gaps, "0.4")
    with pytest.raises(BackendValidationError, match=r"'toy' \(toy-backend 0.4\) breaks") as caught:
        open_device(device("toy"))
    text = str(caught.value)
    assert "missing kernels: iota, reduce_sum (misspelt 'reduce_summ'?), bmm" in text
    assert "kernel 'neg' is not callable" in text
    assert "caps has 'float32', which is no flambeau dtype" in text
    assert "caps.compute lacks float32, int64" in text
    assert "my_own_kernel" not in text
    assert sys.modules["toy_backend_plugin"].CLOSED == [0]
    assert registry.opened() == ()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("device.kernels = None", "`kernels` is no mapping"),
        ("device.caps = None", "`caps` is no Caps"),
        ("device.info = 'left'", "`info` is no DeviceInfo"),
        ("device.thread_init = lambda: 1 / 0", "failed to open toy:0: ZeroDivisionError"),
    ],
)
def test_device_that_breaks_the_protocol(site, change, text):
    site.install("toy-backend", f"{TOY}\ndef change(device): {change}\n")
    with pytest.raises((BackendValidationError, DeviceUnavailableError), match=text):
        open_device(device("toy"))
    assert registry.opened() == ()


def test_open_that_returns_no_device(site):
    site.install("toy-backend", TOY + "\nToyBackend.open = lambda self, index: 'toy'\n")
    with pytest.raises(BackendValidationError, match=r"open\(\) returned 'toy', which is no flamb"):
        open_device(device("toy"))


def test_disabled(site, monkeypatch):
    site.install("toy-backend", TOY)
    monkeypatch.setenv("FLAMBEAU_DISABLE_BACKENDS", "x, toy")
    text = "'toy' is switched off by FLAMBEAU_DISABLE_BACKENDS=x, toy; enabled: .* Hint: unset"
    with pytest.raises(BackendNotFoundError, match=text):
        open_device(device("toy"))
    assert "toy_backend_plugin" not in sys.modules
    monkeypatch.delenv("FLAMBEAU_DISABLE_BACKENDS")
    assert open_device(device("toy")).info.name == "left"


def test_cpu_is_reserved(site, monkeypatch):
    site.install("vendor-a", TOY, name="cpu")
    scan = plugins.scan
    monkeypatch.setattr(
        plugins, "scan", lambda: {"cpu": [c for c in scan()["cpu"] if c.dist == "vendor-a"]}
    )
    text = (
        "device 'cpu'; installed: none; vendor-a 1.0 claims 'cpu', a reserved name, and is ignored"
        ". Hint: pip install flambeau-cpu"
    )
    with pytest.raises(BackendNotFoundError, match=text):
        open_device(device("cpu"))
    reason = "a reserved device type; the claim of vendor-a 1.0 is ignored"
    assert [(e.name, e.reason) for e in registry.devices()] == [("cpu", reason)]


def test_cuda_is_no_backend(site, monkeypatch):
    monkeypatch.setattr(plugins, "scan", dict)
    with pytest.raises(CudaUnavailableError, match="stands behind 'cuda': installed: none"):
        open_device(device("cuda"))


# --- lists ----------------------------------------------------------------------------------------


def test_devices_lists_broken_plugins_with_reasons(site):
    site.install("toy-backend", TOY)
    site.install("sad-backend", "import no_such_driver", name="sad")
    site.install("vendor-a", TOY, name="both")
    site.install("vendor-b", TOY, name="both")
    lines = {}
    for entry in registry.devices():
        lines.setdefault(entry.type, []).append(entry)
    assert [e.name for e in lines["toy"]] == ["toy:0", "toy:1"]
    assert str(lines["toy"][0]) == "toy:0: left [accelerator], from toy-backend 1.0"
    (sad,) = lines["sad"]
    assert (sad.name, sad.dist, sad.info) == ("sad", "sad-backend", None)
    assert "failed to import: ModuleNotFoundError: No module named 'no_such_driver'" in str(sad)
    assert "is claimed by" in lines["both"][0].reason
    assert registry.opened() == ()


def test_describe_installed(site, monkeypatch):
    site.install("toy-backend", TOY)
    site.install("sad-backend", "import no_such_driver", name="sad")
    scan = plugins.scan
    fakes = ("toy", "sad")
    monkeypatch.setattr(plugins, "scan", lambda: {n: c for n, c in scan().items() if n in fakes})
    text = registry.describe_installed()
    assert text.startswith("installed: sad (backend 'sad' (sad-backend 1.0, sad_backend_plugin) f")
    assert ", toy; installable: cpu (pip install flambeau-cpu), opencl (pip install" in text


# --- by hand --------------------------------------------------------------------------------------


def test_register_by_hand_and_take_back(site):
    site.install("hand-backend", TOY.replace('"toy"', '"hand"'), name="hand")
    assert open_device(device("hand:1")).info.name == "right"
    registry._r.open.clear()
    register_backend(HandBackend())
    dev = open_device(device("hand"))
    assert dev.info.name == "mine"
    with pytest.raises(
        BackendConflictError, match=r"'hand' .*by hand.* already. Hint: unregister_"
    ):
        register_backend(HandBackend())
    unregister_backend("hand")
    assert dev.closed
    assert registry.opened() == ()
    assert open_device(device("hand")).info.name == "left"
    with pytest.raises(BackendNotFoundError, match="'hand' was not registered by hand; registered"):
        unregister_backend("hand")


def test_register_by_hand_checks_the_backend(site):
    with pytest.raises(
        BackendValidationError, match=r"register_backend: .* is no flambeau.backend"
    ):
        register_backend(HandBackend)
    newer = HandBackend()
    newer.protocol = (9, 0)
    with pytest.raises(ProtocolVersionError, match=r"speaks protocol 9.0, this"):
        register_backend(newer)


@pytest.mark.parametrize("name", ["cpu", "meta", "cuda", "host"])
def test_register_by_hand_refuses_reserved_names(site, name):
    backend = HandBackend()
    backend.name = name
    with pytest.raises(BackendConflictError, match=f"the device type '{name}' is reserved. Hint"):
        register_backend(backend)


def test_unregister_forgets_the_kinds(site):
    from flambeau.kinds import kind_of

    register_backend(HandBackend())
    old = kind_of(device("hand", 0), float32)
    unregister_backend("hand")
    register_backend(HandBackend())
    assert kind_of(device("hand", 0), float32) is not old
    unregister_backend("hand")


# --- processes ------------------------------------------------------------------------------------


def run(code, **environment):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_flambeau_discovers_nothing():
    code = """
import numpy, sys
before = set(sys.modules)
import flambeau
new = set(sys.modules) - before
print(sorted(m for m in new if m.split(".")[0] == "pluggy" or m.startswith("importlib.metadata")))
"""
    assert run(code).strip() == "[]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_fork(site):
    site.install("toy-backend", TOY)
    safe = TOY.replace('"toy"', '"safe"').replace("int64})", "int64}), fork_safe=True")
    site.install("safe-backend", safe, name="safe")
    code = """
import os
from flambeau.backend import registry
from flambeau.device import device
from flambeau.errors import ForkError
old, safe = registry.open_device(device("toy")), registry.open_device(device("safe"))
if os.fork() == 0:
    status = 1
    try:
        for use in (
            lambda: registry.open_device(device("toy:0")),
            lambda: registry.open_device(device("toy:1")),
            lambda: old.kernels["add"](1, 2),
        ):
            try:
                use()
                print("no error")
            except ForkError as error:
                print(error)
        print(registry.opened() == (safe,) == (registry.open_device(device("safe")),), flush=True)
        status = 0
    finally:
        os._exit(status)
assert os.wait()[1] == 0
assert registry.open_device(device("toy")) is old and old.kernels["add"] is max
"""
    lines = run(code).splitlines()
    assert len(lines) == 4
    for line in lines[:3]:
        assert line.startswith("toy: the device was opened before this process was forked, and ")
        assert "Hint: multiprocessing.get_context('spawn')" in line
    assert lines[3] == "True"
