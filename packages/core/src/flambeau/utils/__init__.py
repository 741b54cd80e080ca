"""Utilities; `flambeau.utils.data` comes with the package flambeau-data."""

import importlib
from pkgutil import extend_path
from typing import Any

__path__ = extend_path(__path__, __name__)


def __getattr__(name: str) -> Any:
    if name in ("checkpoint", "dlpack", "hooks"):
        return importlib.import_module(f"flambeau.utils.{name}")
    if name == "data":
        from flambeau._lazy import missing

        try:
            return importlib.import_module("flambeau.utils.data")
        except ModuleNotFoundError as error:
            if error.name != "flambeau.utils.data":
                raise
            raise missing("utils.data") from None
    raise AttributeError(f"module 'flambeau.utils' has no attribute {name!r}")
