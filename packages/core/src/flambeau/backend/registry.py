"""Opening devices by name: the backend is found, imported and checked at the first use of its name.

Nothing here imports a plug-in, pluggy or the packages' metadata before a device type other than
`meta` is asked for, and what fails leaves no trace: it can be mended and tried again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flambeau._version import __version__
from flambeau.backend.protocol import PROTOCOL, Backend, Device, DeviceInfo, KernelTable
from flambeau.device import canonical, device as device_type
from flambeau.errors import (
    BackendConflictError,
    BackendError,
    BackendNotFoundError,
    BackendValidationError,
    CudaUnavailableError,
    DeviceError,
    DeviceUnavailableError,
    FlambeauError,
    ForkError,
)

if TYPE_CHECKING:
    import pluggy

    from flambeau.plugins import Claim

BY_HAND = "(registered by hand)"

_GPU_LIKE = ("gpu", "accelerator")
Address = tuple[str, "int | None"]


@dataclass(frozen=True)
class DeviceEntry:
    """One line of `devices()`: a device, or a backend that offers none and the reason.

    type: device type.  dist, version: the package.  info: None if there is a reason instead.
    """

    type: str
    dist: str
    version: str
    info: DeviceInfo | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """The device's name as `flambeau.device` takes it."""
        single = self.info is None or self.type == "cpu"
        return self.type if single or self.info is None else f"{self.type}:{self.info.index}"

    def __str__(self) -> str:
        if self.info is None:
            return f"{self.name}: {self.reason}"
        owner = f"{self.dist} {self.version}".strip()
        return f"{self.name}: {self.info.name} [{self.info.kind}], from {owner}"


@dataclass(frozen=True)
class _Loaded:
    """A backend that passed the checks, and the package it came from."""

    backend: Backend
    dist: str
    version: str = ""

    def __str__(self) -> str:
        owner = f"({self.dist} {self.version})" if self.version else f"({self.dist.strip('()')})"
        return f"backend {self.backend.name!r} {owner}"


class _Registry:
    """Everything that is remembered; tests put a fresh one in its place."""

    def __init__(self) -> None:
        # Reentrant: a backend may open another one, such as cpu, while it is opened itself.
        self.lock = threading.RLock()
        self.claims: dict[str, list[Claim]] | None = None
        self.manager: pluggy.PluginManager | None = None
        self.backends: dict[str, _Loaded] = {}
        self.by_hand: set[str] = set()
        self.open: dict[Address, Device] = {}
        self.opened: tuple[Device, ...] = ()
        self.lost: dict[str, list[Device]] = {}
        self.alias: tuple[str, tuple[Address, ...]] | None = None


_r = _Registry()


class _Current(threading.local):
    """Which of the GPU-like devices `cuda` without an index means in this thread."""

    index = 0


current = _Current()


def open_device(device: device_type) -> Device:
    """The opened Device of a device name; the first use imports the backend and opens it.

    Raises: BackendError: its subclass and text say what is missing and the way out.
    """
    found = _r.open.get((device.type, device.index or 0))
    return _open_first(device) if found is None else found


def device_info(name: str, index: int | None) -> DeviceInfo:
    """What a device is, without opening it.  Raises: BackendError: there is no such device."""
    with _r.lock:
        return _info(_backend(name), index or 0)


def opened() -> tuple[Device, ...]:
    """The devices opened so far, for threads that compute on them for the first time."""
    return _r.opened


def opened_by_type() -> list[tuple[str, Device]]:
    """The devices opened so far with their device types."""
    return [(name, dev) for (name, _), dev in list(_r.open.items())]


def _open_first(device: device_type) -> Device:
    device = canonical(device)
    name, index = device.type, device.index or 0
    with _r.lock:
        found = _r.open.get((name, index))
        if found is None:
            loaded = _backend(name)
            _info(loaded, index)
            found = _start(loaded, index)
            _r.open[name, index] = found
            _r.opened = (*_r.opened, found)
    # A profile or a nan guard may be running, and is to see this device as well.
    if (exchange := sys.modules.get("flambeau.backend.exchange")) is not None:
        exchange.attach()
    return found


def _start(loaded: _Loaded, index: int) -> Device:
    """Open, check and prepare a device; what fails is closed again."""
    where = f"{loaded.backend.name}:{index}"
    dev: Any = None
    try:
        dev = loaded.backend.open(index)
        if loaded.backend.name != "meta":  # core's own, which computes shapes and has no kernels
            _refuse_gaps(loaded, where, dev)
        if not isinstance(dev.kernels, KernelTable):
            dev.kernels = KernelTable(dev.kernels)
        dev.thread_init()
    except BaseException as error:
        with contextlib.suppress(Exception):
            dev.close()
        if isinstance(error, FlambeauError) or not isinstance(error, Exception):
            raise
        text = f"{loaded} failed to open {where}: {type(error).__name__}: {error}"
        raise DeviceUnavailableError(text) from error
    started: Device = dev
    return started


def _refuse_gaps(loaded: _Loaded, where: str, dev: Any) -> None:
    from flambeau.plugins import gaps

    found = gaps(dev)
    if found:
        raise BackendValidationError(
            f"{loaded} breaks protocol {PROTOCOL[0]}.{PROTOCOL[1]} on {where}:"
            + "".join(f"\n  - {gap}" for gap in found)
            + f"\nHint: docs/kernels.md has every kernel; `flambeau-testkit {where}` tests them"
        )


def _backend(name: str) -> _Loaded:
    """The backend of a device type, loaded at its first use."""
    if name in _r.lost:
        raise ForkError(_fork_text(name))
    if name == "meta":
        from flambeau.backend.meta import MetaBackend

        return _r.backends.setdefault(name, _Loaded(MetaBackend(), "flambeau-core", __version__))
    from flambeau import plugins

    if name in plugins.disabled():
        raise BackendNotFoundError(plugins.disabled_text(name, _installed()))
    found = _r.backends.get(name)
    if found is None:
        found = _r.backends[name] = _load(name)
    return found


def _load(name: str) -> _Loaded:
    from flambeau import plugins

    try:
        claims = _claims().get(name, [])
        claim = plugins.choose(name, [c for c in claims if plugins.may_claim(c)])
        if claim is None:
            raise BackendNotFoundError(plugins.not_found_text(name, _installed(), claims))
        return _Loaded(plugins.load(claim, plugin_manager()), claim.dist, claim.version)
    except BaseException:
        _r.claims = None  # packages may be changed before the next try
        raise


def plugin_manager() -> pluggy.PluginManager:
    """The manager of pluggy, which knows the plug-ins loaded so far."""
    if _r.manager is None:
        from flambeau.plugins import new_manager

        _r.manager = new_manager()
    return _r.manager


def _claims() -> dict[str, list[Claim]]:
    """Who claims which device type, as the packages' metadata said when it was read."""
    if _r.claims is None:
        from flambeau.plugins import scan

        _r.claims = scan()
    return _r.claims


def _installed() -> list[str]:
    """Device types that an enabled plug-in claims, sorted; `meta` is not one of them."""
    from flambeau.plugins import disabled, may_claim

    claimed = {name for name, claims in _claims().items() if any(map(may_claim, claims))}
    return sorted((claimed | _r.by_hand) - disabled())


def _infos(loaded: _Loaded) -> list[DeviceInfo]:
    """The devices of a backend, at least one."""
    try:
        infos = list(loaded.backend.devices())
        why = None if infos else loaded.backend.why_unavailable()
    except Exception as error:
        text = f"{loaded} failed to list its devices: {type(error).__name__}: {error}"
        raise DeviceUnavailableError(text) from error
    if not infos:
        raise DeviceUnavailableError(
            f"{loaded} is installed but found no device: {why or 'it gives no reason'}"
        )
    return infos


def _info(loaded: _Loaded, index: int) -> DeviceInfo:
    infos = _infos(loaded)
    for info in infos:
        if info.index == index:
            return info
    name = loaded.backend.name
    have = ", ".join(f"{name}:{i.index} ({i.name})" for i in infos)
    raise DeviceUnavailableError(f"{loaded} has no device {name}:{index}; it has {have}")


# --- lists ----------------------------------------------------------------------------------------


def devices() -> list[DeviceEntry]:
    """Every device of every installed backend; a broken one is listed with its reason.

    Imports all plug-ins.
    """
    from flambeau.plugins import may_claim

    with _r.lock:
        _r.claims = None  # whoever asks for the list has perhaps just installed something
        names = _installed()
        claims = [claim for group in _claims().values() for claim in group]
        allowed = [c for c in claims if may_claim(c)]
        lines = [e for n in names for e in _lines(n, [c for c in allowed if c.type == n])]
    for claim in claims:
        if claim not in allowed:
            reason = f"a reserved device type; the claim of {claim.owner} is ignored"
            lines.append(DeviceEntry(claim.type, claim.dist, claim.version, None, reason))
    return lines


def _lines(name: str, claims: Sequence[Claim]) -> list[DeviceEntry]:
    dist, version = " and ".join(c.owner for c in claims), ""
    if name in _r.by_hand:
        dist = _r.backends[name].dist
    elif len(claims) == 1:
        dist, version = claims[0].dist, claims[0].version
    try:
        loaded = _backend(name)
        infos = _infos(loaded)
    except BackendError as error:
        return [DeviceEntry(name, dist, version, None, str(error))]
    return [DeviceEntry(name, loaded.dist, loaded.version, info) for info in infos]


def describe_installed() -> str:
    """The installed backends, each that offers no device with its reason, and what to install."""
    from flambeau.plugins import installable

    parts = {e.type: e.type if e.reason is None else f"{e.type} ({e.reason})" for e in devices()}
    return f"installed: {', '.join(parts.values()) or 'none'}{installable(list(parts))}"


# --- the alias `cuda` -----------------------------------------------------------------------------


def cuda_alias(index: int | None) -> Address | None:
    """The device type and index behind `cuda:index`; None if there is no such device.

    Raises: CudaUnavailableError: FLAMBEAU_CUDA_ALIAS names a device that cannot be used.
    """
    found = cuda_devices()
    position = current.index if index is None else index
    return found[position] if position < len(found) else None


def cuda_devices() -> tuple[Address, ...]:
    """All devices that `cuda` can stand for, in order: what FLAMBEAU_CUDA_ALIAS names, or else
    the devices of kind gpu and accelerator of the installed backends, by backend name and index.

    Raises: CudaUnavailableError: FLAMBEAU_CUDA_ALIAS names a device that cannot be used.
    """
    forced = os.environ.get("FLAMBEAU_CUDA_ALIAS", "").strip()
    cached = _r.alias
    if cached is None or cached[0] != forced:
        with _r.lock:
            cached = _r.alias = (forced, _forced(forced) if forced else _gpu_like())
    return cached[1]


def reset_cuda_alias() -> None:
    """Look for the devices behind `cuda` again at the next use."""
    _r.alias = None


def _forced(value: str) -> tuple[Address, ...]:
    try:
        if value.partition(":")[0] == "cuda":  # it would ask for itself
            raise DeviceError(f"device: {value!r} is the alias itself")
        wanted = device_type(value)
        loaded = _backend(wanted.type)
        if wanted.type in ("cpu", "meta"):
            return ((wanted.type, None),)
        infos = _infos(loaded) if wanted.index is None else [_info(loaded, wanted.index)]
    except (BackendError, DeviceError) as error:
        raise CudaUnavailableError(
            f"FLAMBEAU_CUDA_ALIAS={value}: {error}. Hint: FLAMBEAU_CUDA_ALIAS=opencl:0, or cpu"
        ) from error
    return tuple((wanted.type, info.index) for info in infos)


def _gpu_like() -> tuple[Address, ...]:
    found: list[Address] = []
    for name in _installed():
        if name == "cpu":
            continue
        # A broken plug-in is no reason against "cuda if available"; doctor and its own name tell.
        with contextlib.suppress(BackendError):
            infos = _infos(_backend(name))
            found += [(name, info.index) for info in infos if info.kind in _GPU_LIKE]
    return tuple(found)


# --- by hand --------------------------------------------------------------------------------------


def register_backend(backend: Backend, *, dist: str = BY_HAND) -> None:
    """Provide a device type with an object, for tests and notebooks; it hides an installed one.

    Args: backend: its `name` becomes the device type.  dist: the package that messages name.
    Raises: BackendValidationError, ProtocolVersionError: no backend for this core.
        BackendConflictError: the name is reserved, registered by hand already, or in use.
    """
    from flambeau.plugins import RESERVED, check, normalized

    name = getattr(backend, "name", "")
    check(backend, f"register_backend: {backend!r}", str(name), "the backend")
    with _r.lock:
        if name in RESERVED and normalized(dist) != RESERVED[name]:
            raise BackendConflictError(
                f"register_backend: the device type {name!r} is reserved. Hint: another name"
            )
        if name in _r.by_hand or any(key[0] == name for key in _r.open):
            raise BackendConflictError(
                f"register_backend: {name!r} is {_r.backends[name]} already. "
                f"Hint: unregister_backend({name!r}), or another name"
            )
        if _r.manager is not None:
            _r.manager.unregister(name=name)
        _r.backends[name] = _Loaded(backend, dist)
        _r.by_hand.add(name)
        _r.alias = None


def unregister_backend(name: str) -> None:
    """Take back `register_backend` and close the backend's devices; tensors on them die.

    Raises: BackendNotFoundError: nothing of this name was registered by hand.
    """
    with _r.lock:
        if name not in _r.by_hand:
            raise BackendNotFoundError(
                f"unregister_backend: {name!r} was not registered by hand; "
                f"registered: {', '.join(sorted(_r.by_hand)) or 'none'}"
            )
        _r.by_hand.discard(name)
        del _r.backends[name]
        _r.lost.pop(name, None)
        _r.alias = None
        _forget_kinds(name)
        closing = [dev for key, dev in _r.open.items() if key[0] == name]
        _r.open = {key: dev for key, dev in _r.open.items() if key[0] != name}
        _r.opened = tuple(_r.open.values())
    for dev in closing:
        dev.close()


def _forget_kinds(name: str) -> None:
    """Kinds hold on to their Device: a backend of the same name must not meet the old ones."""
    kinds = getattr(sys.modules.get("flambeau.kinds"), "_kinds", {})
    for device in [d for d in kinds if d.type == name]:
        del kinds[device]


# --- fork -----------------------------------------------------------------------------------------


def _fork_text(name: str) -> str:
    return (
        f"{name}: the device was opened before this process was forked, and {_r.backends[name]} "
        "does not survive a fork. Hint: multiprocessing.get_context('spawn'), "
        "or open the device only in the child processes"
    )


def _after_fork_in_child() -> None:
    """Put the devices that do not survive out of reach, of tensors made before as well."""
    _r.lock = threading.RLock()  # another thread of the parent may have held it
    for (name, _), dev in list(_r.open.items()):
        if name != "meta" and not dev.caps.fork_safe:
            _lose(name, dev)


def _lose(name: str, dev: Device) -> None:
    text = _fork_text(name)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ForkError(text)

    # Core holds on to the table: its entries are swapped, so that old tensors raise as well.
    table: Any = dev.kernels
    table.update(dict.fromkeys(table.native(), refuse))
    # The device is kept: to close or to free it would call a driver that may hang here.
    _r.lost.setdefault(name, []).append(dev)
    _r.open = {key: d for key, d in _r.open.items() if d is not dev}
    _r.opened = tuple(_r.open.values())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
