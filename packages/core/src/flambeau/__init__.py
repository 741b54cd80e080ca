"""flambeau: tensors with PyTorch's vocabulary on any backend.

`import flambeau as torch` runs ordinary PyTorch code. Layers, optimizers and data loading are packages of
their own that appear here once they are installed: `flambeau.nn`, `flambeau.optim`, `flambeau.utils.data`.
"""

from __future__ import annotations

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

from flambeau import dtypes as _dtypes
from flambeau._functions import *
from flambeau._lazy import lazy_names as _lazy_names
from flambeau._lazy import module_getattr as _module_getattr
from flambeau._version import __version__
from flambeau.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from flambeau.device import device, get_default_device, set_default_device
from flambeau.dtypes import (
    bfloat16,
    complex64,
    complex128,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
)
from flambeau.memory_format import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from flambeau.ops._attach import attach as _attach
from flambeau.ops._recover import result_type
from flambeau.random import default_generator, fork_rng, initial_seed, manual_seed, seed
from flambeau.shape import Size, broadcast_shapes
from flambeau.tensor import Tensor

_attach(globals())

half, double, long, short = float16, float64, int64, int16
cfloat, cdouble = complex64, complex128
globals().update({"float": float32, "int": int32, "bool": _dtypes.bool_})
inf, nan, pi, e = 1e999, 1e999 - 1e999, 3.141592653589793, 2.718281828459045


def __getattr__(name: str) -> object:
    return _module_getattr(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_lazy_names()})
