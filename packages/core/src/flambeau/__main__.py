"""`python -m flambeau doctor`: what is installed, what works, and how to get the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from typing import Any

from flambeau._version import __version__
from flambeau.backend import registry
from flambeau.errors import FlambeauError
from flambeau.plugins import brief

USAGE = "usage: python -m flambeau doctor"
#: The packages that the project is split into, core left out.
PIECES = (
    "flambeau-cpu",
    "flambeau-nn",
    "flambeau-optim",
    "flambeau-data",
    "flambeau-compiler",
    "flambeau-opencl",
    "flambeau-vision",
    "flambeau-numeric",
    "flambeau-testkit",
)
_UNDER = ("numpy", "pluggy", "llvmlite", "ml_dtypes", "pyopencl")


def doctor() -> Iterator[str]:
    """The report, line by line; a section starts at the margin, its lines are indented."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield f"flambeau-core {__version__} on {python}, {platform.platform()}"
    yield f"  {os.path.dirname(os.path.abspath(__file__))}"
    for name in _UNDER:
        version = _version(name)
        yield f"  {name} {version}" if version else f"  {name} is not installed"
    for name in sorted(os.environ):
        if name.startswith("FLAMBEAU_"):
            yield f"  {name}={os.environ[name]}"
    yield "packages"
    for name in PIECES:
        version = _version(name)
        yield f"  {name} {version}" if version else f"  {name} is not installed: pip install {name}"
    yield "backends"
    entries = registry.devices()
    for entry in entries:
        yield from (f"  {line}" for line in str(entry).splitlines())
    if not entries:
        yield "  none: pip install flambeau-cpu"
    yield f"cuda: {_cuda()}"
    yield from _plugin_lines([entry.name for entry in entries if entry.info is not None])


def _version(dist: str) -> str | None:
    try:
        return importlib.metadata.version(dist)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cuda() -> str:
    try:
        found = registry.cuda_devices()
    except FlambeauError as error:
        return str(error)
    names = ", ".join(name if i is None else f"{name}:{i}" for name, i in found)
    return (
        f"stands for {names}" if found else "stands for nothing; no backend has a GPU-like device"
    )


def _plugin_lines(available: list[str]) -> Iterator[str]:
    """What the plug-ins say themselves; one that fails does not silence the others."""
    hooks = registry.plugin_manager().hook
    for impl in hooks.flambeau_default_device.get_hookimpls():
        try:
            wanted = impl.function(*[available for _ in impl.argnames])
        except Exception as error:
            wanted = f"nothing: {brief(error)}"
        if wanted is not None:
            yield f"default device: {impl.plugin_name} proposes {wanted}"
    for impl in hooks.flambeau_diagnostics.get_hookimpls():
        yield f"diagnostics of {impl.plugin_name}"
        report: Any = impl.function
        try:
            facts = dict(report())
        except Exception as error:
            facts = {"failed": brief(error)}
        for key, value in facts.items():
            yield f"  {key}: {value}"


def main(argv: list[str]) -> int:
    """Run the command; returns the process's exit status: 0, or 2 for another command."""
    if argv != ["doctor"]:
        sys.stderr.write(USAGE + "\n")
        return 2
    for line in doctor():
        sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
