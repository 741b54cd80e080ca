"""What a plug-in author imports, and how core finds, loads and checks one plug-in.

A plug-in is a module (or an object) behind an entry point of the group `flambeau.backends`; the
entry point's name is the device type. It answers the hooks of `Specs`, each marked `@hookimpl`:

    from flambeau.plugins import hookimpl

    @hookimpl
    def flambeau_backend(core_protocol):
        from toy import ToyBackend    # heavy imports stay inside
        return ToyBackend()
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from flambeau import dtypes
from flambeau._version import __version__
from flambeau.backend.protocol import PROTOCOL, REQUIRED, Backend, Caps, Device, DeviceInfo
from flambeau.errors import (
    BackendConflictError,
    BackendImportError,
    BackendValidationError,
    ProtocolVersionError,
)

__all__ = ["Specs", "hookimpl", "hookspec"]

GROUP = "flambeau.backends"
hookspec = pluggy.HookspecMarker("flambeau")
hookimpl = pluggy.HookimplMarker("flambeau")

#: Packages that can be installed, by the device type they provide.
KNOWN = {"cpu": "flambeau-cpu", "opencl": "flambeau-opencl"}
#: Device types with one possible owner; "" where no package may claim the name.
RESERVED = {"cpu": "flambeau-cpu", "meta": "", "host": "", "cuda": ""}
#: dtypes that core takes for granted on every device: defaults, indices, masks.
REQUIRED_DTYPES = (dtypes.float32, dtypes.int64, dtypes.bool_)
_TYPE = re.compile(r"[a-z][a-z0-9_]*")


class Specs:
    """The hooks. An implementation names only the arguments that it needs."""

    @hookspec
    def flambeau_backend(self, core_protocol: tuple[int, int], core_version: str) -> Backend:
        """Make the backend of the entry point's device type; called once, at its first use.

        Args: core_protocol: (major, minor) that core speaks.  core_version: of flambeau-core.
        Returns: the Backend; imports of drivers belong in here or in its `open`.
        """
        raise NotImplementedError

    @hookspec(historic=True)
    def flambeau_register_ops(self, registry: Any) -> None:
        """Add operations of the plug-in's own; plug-ins that load late are called too.

        Args: registry: where operations are declared.
        """

    @hookspec(firstresult=True)
    def flambeau_default_device(self, available: Sequence[str]) -> str | None:
        """Propose the device that users should choose; `python -m flambeau doctor` shows it.

        Core never moves to another device by itself.
        Args: available: names of the devices present.  Returns: one of them, or None.
        """
        raise NotImplementedError

    @hookspec
    def flambeau_diagnostics(self) -> Mapping[str, str]:
        """Facts for `python -m flambeau doctor`, such as driver versions: a name -> a value."""
        raise NotImplementedError


@dataclass(frozen=True)
class Claim:
    """An installed package's entry point: it says to provide one device type."""

    type: str
    dist: str
    version: str
    entry: importlib.metadata.EntryPoint

    @property
    def owner(self) -> str:
        """The package with its version."""
        return f"{self.dist} {self.version}"

    def __str__(self) -> str:
        return f"backend {self.type!r} ({self.owner}, {self.entry.value})"


def new_manager() -> pluggy.PluginManager:
    """A plug-in manager that knows the hooks and no plug-in."""
    manager = pluggy.PluginManager("flambeau")
    manager.add_hookspecs(Specs)
    return manager


def scan() -> dict[str, list[Claim]]:
    """Every claim of the installed packages by device type; imports none of them."""
    found: dict[str, list[Claim]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        meta: Any = {} if entry.dist is None else entry.dist.metadata
        dist, version = (str(meta[k]) if k in meta else "(unknown)" for k in ("Name", "Version"))
        found.setdefault(entry.name, []).append(Claim(entry.name, dist, version, entry))
    return found


def normalized(dist: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", dist).lower()


def may_claim(claim: Claim) -> bool:
    """Whether the package may provide this device type."""
    return claim.type not in RESERVED or normalized(claim.dist) == RESERVED[claim.type]


def disabled() -> set[str]:
    """Device types that FLAMBEAU_DISABLE_BACKENDS=a,b switches off."""
    names = os.environ.get("FLAMBEAU_DISABLE_BACKENDS", "").split(",")
    return {name.strip() for name in names} - {""}


def disabled_text(name: str, installed: Sequence[str]) -> str:
    """What to tell who asks for a device type that is switched off."""
    return (
        f"backend {name!r} is switched off by FLAMBEAU_DISABLE_BACKENDS="
        f"{os.environ['FLAMBEAU_DISABLE_BACKENDS']}; enabled: {', '.join(installed) or 'none'}. "
        "Hint: unset FLAMBEAU_DISABLE_BACKENDS"
    )


def not_found_text(name: str, installed: Sequence[str], refused: Sequence[Claim]) -> str:
    """What to tell who asks for a device type that nobody provides.

    Args: refused: claims on the name by packages that may not have it.
    """
    text = f"no installed package provides device {name!r}; installed: "
    text += ", ".join(installed) or "none"
    for claim in refused:
        text += f"; {claim.owner} claims {name!r}, a reserved name, and is ignored"
    if name in KNOWN:
        return f"{text}. Hint: pip install {KNOWN[name]}"
    near = difflib.get_close_matches(name, [*installed, *KNOWN], 1)
    if near:
        command = "" if near[0] in installed else f" Hint: pip install {KNOWN[near[0]]}"
        return f"{text}. Did you mean {near[0]!r}?{command}"
    return text + installable(installed)


def installable(installed: Sequence[str]) -> str:
    """The known packages that are missing, as the end of a message."""
    more = [f"{name} (pip install {dist})" for name, dist in KNOWN.items() if name not in installed]
    return f"; installable: {', '.join(more)}" if more else ""


def choose(name: str, claims: Sequence[Claim]) -> Claim | None:
    """The claim that counts; None if there is none.

    Raises: BackendConflictError: two packages claim the type and no environment variable settles
        it, or the variable names a package that does not claim it.
    """
    variable = f"FLAMBEAU_BACKEND_{name.upper()}"
    wanted = os.environ.get(variable)
    if not claims:
        return None
    if wanted:
        chosen = [c for c in claims if normalized(c.dist) == normalized(wanted)]
        if not chosen:
            raise BackendConflictError(
                f"{variable}={wanted} names no package that provides device {name!r}; installed: "
                f"{', '.join(c.owner for c in claims)}. Hint: unset {variable}, or name one of them"
            )
        claims = chosen
    if len(claims) > 1:
        raise BackendConflictError(
            f"device {name!r} is claimed by {' and '.join(c.owner for c in claims)}; "
            f"uninstall one or set {variable}={claims[0].dist}"
        )
    return claims[0]


def load(claim: Claim, manager: pluggy.PluginManager) -> Backend:
    """Import one plug-in, register it and take its backend; a failure leaves it unregistered.

    Raises: BackendImportError: the module or the hook fails.  BackendValidationError: the hook is
        missing, has another signature or returns no backend.  ProtocolVersionError.
    """
    try:
        plugin = claim.entry.load()
    except Exception as error:
        raise BackendImportError(f"{claim} failed to import: {brief(error)}") from error
    try:
        _register(manager, claim, plugin)
        backend: Backend = _call_hook(manager, claim, plugin)
        check(backend, str(claim), claim.type, claim.dist)
    except BaseException:
        manager.unregister(name=claim.type)
        raise
    return backend


def _register(manager: pluggy.PluginManager, claim: Claim, plugin: Any) -> None:
    try:
        manager.register(plugin, name=claim.type)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise BackendValidationError(
            f"{claim} does not fit the hooks of flambeau {__version__}: {error}\n"
            f"hookspec: flambeau_backend(core_protocol, core_version) -> Backend. "
            f"Hint: name only these arguments; or upgrade flambeau-core if {claim.dist} needs more"
        ) from error
    except ValueError as error:
        raise BackendValidationError(
            f"{claim}: the same object stands behind another device type already. "
            f"Hint: give each entry point of {claim.dist} a module of its own ({error})"
        ) from error


def _call_hook(manager: pluggy.PluginManager, claim: Claim, plugin: Any) -> Any:
    """Call `flambeau_backend` of this plug-in alone."""
    others = [p for _, p in manager.list_name_plugin() if p is not None and p is not plugin]
    hook = manager.subset_hook_caller("flambeau_backend", others)
    if not hook.get_hookimpls():
        undecorated = hasattr(plugin, "flambeau_backend")
        raise BackendValidationError(
            f"{claim} has no hook flambeau_backend"
            + (": the function of this name lacks its marker. " if undecorated else ". ")
            + "Hint: from flambeau.plugins import hookimpl; "
            "@hookimpl def flambeau_backend(core_protocol): return YourBackend()"
        )
    try:
        answers: list[Any] = hook(core_protocol=PROTOCOL, core_version=__version__)
    except Exception as error:
        # Drivers are imported inside the hook: to the user that is the import of the backend.
        what = "to import" if isinstance(error, (ImportError, OSError)) else "in flambeau_backend"
        raise BackendImportError(f"{claim} failed {what}: {brief(error)}") from error
    return answers[0] if answers else None


def check(backend: Any, label: str, name: str, dist: str) -> None:
    """Whether an object is a backend of device type `name` in a protocol that core speaks.

    Args: label: how messages begin.  dist: the package to upgrade.
    Raises: BackendValidationError, ProtocolVersionError.
    """
    if not isinstance(backend, Backend):
        raise BackendValidationError(
            f"{label} gave {backend!r}, which is no flambeau.backend.Backend. "
            "Hint: class YourBackend(Backend), and return an object of it"
        )
    own_name = getattr(backend, "name", None)
    if own_name != name or not _TYPE.fullmatch(name):
        raise BackendValidationError(
            f"{label}: its Backend.name is {own_name!r}, its entry point {name!r}; both must be "
            "one device type, of lower-case letters, digits and underscores, a letter first"
        )
    _check_protocol(backend, label, dist)


def _check_protocol(backend: Backend, label: str, dist: str) -> None:
    spoken: Any = backend.protocol
    if not (isinstance(spoken, tuple) and len(spoken) == 2 and all(type(n) is int for n in spoken)):
        raise BackendValidationError(
            f"{label}: Backend.protocol must be two integers such as (1, 0), got {spoken!r}"
        )
    (major, minor), (core_major, core_minor) = spoken, PROTOCOL
    if major == core_major and minor <= core_minor:
        return
    remedy = "upgrade flambeau-core" if (major, minor) > PROTOCOL else f"upgrade {dist}"
    raise ProtocolVersionError(
        f"{label} speaks protocol {major}.{minor}, this flambeau {__version__} speaks "
        f"{core_major}.{core_minor}; {remedy}"
    )


def gaps(dev: Any) -> list[str]:
    """What a device lacks of the protocol, a sentence each."""
    if not isinstance(dev, Device):
        return [f"open() returned {dev!r}, which is no flambeau.backend.Device"]
    found: list[str] = []
    caps = getattr(dev, "caps", None)
    if not isinstance(getattr(dev, "info", None), DeviceInfo):
        found.append("`info` is no DeviceInfo")
    if not isinstance(caps, Caps):
        found.append("`caps` is no Caps")
    else:
        found += _dtype_gaps(caps)
    kernels = getattr(dev, "kernels", None)
    if not isinstance(kernels, Mapping):
        return [*found, "`kernels` is no mapping from names to functions"]
    given = {name: kernel for name, kernel in kernels.items() if kernel is not None}
    found += [f"kernel {name!r} is not callable" for name, k in given.items() if not callable(k)]
    missing = [name for name in REQUIRED if name not in given]
    if missing:
        found.append(f"missing kernels: {', '.join(_with_near_miss(missing, given))}")
    return found


def _dtype_gaps(caps: Caps) -> list[str]:
    foreign = [d for d in (*caps.compute, *caps.storage) if not isinstance(d, dtypes.dtype)]
    missing = [d.name for d in REQUIRED_DTYPES if d not in caps.compute]
    gaps = [f"caps has {d!r}, which is no flambeau dtype" for d in foreign]
    return gaps + ([f"caps.compute lacks {', '.join(missing)}"] if missing else [])


def _with_near_miss(missing: Sequence[str], given: Mapping[str, Any]) -> list[str]:
    """Missing kernels, each beside the kernel of an unknown name that may be it, misspelt."""
    unknown = [str(name) for name in given if name not in REQUIRED]
    near = {name: difflib.get_close_matches(name, unknown, 1, 0.75) for name in missing}
    return [f"{m} (misspelt {near[m][0]!r}?)" if near[m] else m for m in missing]


def brief(error: BaseException) -> str:
    """An exception as messages quote it: its class and its text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
