"""flambeau: tensors with PyTorch's vocabulary on any backend.

`import flambeau as torch` runs ordinary PyTorch code. Layers, optimizers and data loading are packages of
their own that appear here once they are installed: `flambeau.nn`, `flambeau.optim`, `flambeau.utils.data`.
"""

from __future__ import annotations

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

from flambeau import dtypes as _dtypes
from flambeau._functions import *
from flambeau._lazy import lazy_names as _lazy_names, module_getattr as _module_getattr
from flambeau._version import __version__ as __version__
from flambeau.autograd.modes import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from flambeau.device import (
    device as device,
    get_default_device as get_default_device,
    set_default_device as set_default_device,
)
from flambeau.dtypes import (
    bfloat16 as bfloat16,
    complex64 as complex64,
    complex128 as complex128,
    dtype as dtype,
    finfo as finfo,
    float16 as float16,
    float32 as float32,
    float64 as float64,
    get_default_dtype as get_default_dtype,
    iinfo as iinfo,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    int64 as int64,
    promote_types as promote_types,
    set_default_dtype as set_default_dtype,
    uint8 as uint8,
)
from flambeau.memory_format import (
    channels_last as channels_last,
    channels_last_3d as channels_last_3d,
    contiguous_format as contiguous_format,
    layout as layout,
    memory_format as memory_format,
    preserve_format as preserve_format,
    strided as strided,
)
from flambeau.ops._attach import (
    attach as _attach,
)
from flambeau.ops._recover import (
    result_type as result_type,
)
from flambeau.random import (
    default_generator as default_generator,
    fork_rng as fork_rng,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    seed as seed,
)
from flambeau.shape import (
    Size as Size,
    broadcast_shapes as broadcast_shapes,
)
from flambeau.tensor import (
    Tensor as Tensor,
)

_attach(globals())

half, double, long, short = float16, float64, int64, int16
cfloat, cdouble = complex64, complex128
globals().update({"float": float32, "int": int32, "bool": _dtypes.bool_})
inf, nan, pi, e = 1e999, 1e999 - 1e999, 3.141592653589793, 2.718281828459045


def __getattr__(name: str) -> object:
    return _module_getattr(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_lazy_names()})
