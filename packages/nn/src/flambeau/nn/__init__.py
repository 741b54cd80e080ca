"""Layers, losses, initialisers: `flambeau.nn`."""

from __future__ import annotations

from flambeau.nn import common_types, functional, init, modules, parameter, utils
from flambeau.nn.modules import *
from flambeau.nn.modules import __all__ as _modules
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "common_types",
    "functional",
    "init",
    "modules",
    "parameter",
    "utils",
    *_modules,
]
