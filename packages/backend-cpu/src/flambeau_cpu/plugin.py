"""The plug-in module that the entry point names; light, as it is imported when somebody asks for the cpu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.plugins import hookimpl

if TYPE_CHECKING:
    from flambeau.backend import Backend


@hookimpl
def flambeau_backend(core_protocol: tuple[int, int], core_version: str) -> Backend:
    """The CPU backend."""
    from flambeau_cpu.device import CpuBackend

    return CpuBackend()
