"""Switches of PyTorch's libraries (cuDNN, MKL ...), which are not used here: what is set is kept, without effect.

`flambeau.backend` is something else: what a backend of this package is written with.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"flambeau.backends.{name}")
    raise AttributeError(f"module 'flambeau.backends' has no attribute {name!r}")
