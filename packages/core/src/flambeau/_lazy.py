"""Names of flambeau that are resolved at first use: heavy submodules, and what other packages bring."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

#: Submodules of core that `import flambeau` need not pay for.
CORE = (
    "accelerator", "amp", "autograd", "backend", "cuda", "errors", "plugins",
    "printing", "profiler", "random", "serialization", "testing",
    "types", "utils",
)  # fmt: skip

#: Submodule -> the distribution that brings it.
PACKAGES = {
    "nn": "flambeau-nn",
    "optim": "flambeau-optim",
    "utils.data": "flambeau-data",
    "compiler": "flambeau-compiler",
    "vision": "flambeau-vision",
    "linalg": "flambeau-numeric",
    "fft": "flambeau-numeric",
    "special": "flambeau-numeric",
    "signal": "flambeau-numeric",
}

#: Names at the root that live elsewhere: name -> (module, attribute).
FORWARDED = {
    "autocast": ("flambeau.amp", "autocast"),
    "get_autocast_dtype": ("flambeau.amp._mode", "get_autocast_dtype"),
    "is_autocast_cache_enabled": ("flambeau.amp._mode", "is_autocast_cache_enabled"),
    "is_autocast_enabled": ("flambeau.amp._mode", "is_autocast_enabled"),
    "set_autocast_dtype": ("flambeau.amp._mode", "set_autocast_dtype"),
    "clear_autocast_cache": ("flambeau.amp._mode", "clear_autocast_cache"),
    "save": ("flambeau.serialization", "save"),
    "load": ("flambeau.serialization", "load"),
    "set_printoptions": ("flambeau.printing", "set_printoptions"),
    "conv1d": ("flambeau.nn.functional", "conv1d"),
    "conv2d": ("flambeau.nn.functional", "conv2d"),
    "conv3d": ("flambeau.nn.functional", "conv3d"),
    "dropout": ("flambeau.nn.functional", "dropout"),
    "layer_norm": ("flambeau.nn.functional", "layer_norm"),
    "group_norm": ("flambeau.nn.functional", "group_norm"),
    "batch_norm": ("flambeau.nn.functional", "batch_norm"),
    "embedding": ("flambeau.nn.functional", "embedding"),
    "cosine_similarity": ("flambeau.nn.functional", "cosine_similarity"),
    "pairwise_distance": ("flambeau.nn.functional", "pairwise_distance"),
    "pixel_shuffle": ("flambeau.nn.functional", "pixel_shuffle"),
}


def missing(name: str) -> ModuleNotFoundError:
    """The error of using a piece that is not installed: it names the pip command."""
    package = PACKAGES[name]
    return ModuleNotFoundError(
        f"flambeau.{name} is a package of its own and is not installed. Hint: pip install {package}",
        name=f"flambeau.{name}",
    )


def _load(name: str) -> Any:
    try:
        return importlib.import_module(f"flambeau.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"flambeau.{name}":
            raise
        raise missing(name) from None


def module_getattr(name: str) -> Any:
    """`flambeau.name` for names that `import flambeau` left out.

    Raises: ModuleNotFoundError: the name belongs to a package that is not installed.  AttributeError: no such name.
    """
    if name in PACKAGES:
        return _load(name)
    if name in CORE:
        return importlib.import_module(f"flambeau.{name}")
    if name in FORWARDED:
        module, attribute = FORWARDED[name]
        piece = module.removeprefix("flambeau.").split(".")[0]
        if piece in PACKAGES:
            _load(piece)
        value = getattr(importlib.import_module(module), attribute)
        setattr(sys.modules["flambeau"], name, value)
        return value
    raise AttributeError(f"module 'flambeau' has no attribute {name!r}")


def lazy_names() -> list[str]:
    """What `module_getattr` would find, of the pieces that are installed."""
    installed = [
        p
        for p in PACKAGES
        if "." not in p and importlib.util.find_spec(f"flambeau.{p}") is not None
    ]
    return [*CORE, *installed, *FORWARDED]
