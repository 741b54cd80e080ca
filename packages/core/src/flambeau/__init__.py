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
from flambeau._version import __version__ as __version__
from flambeau.autograd.modes import (
    enable_grad as enable_grad,
)
from flambeau.autograd.modes import (
    inference_mode as inference_mode,
)
from flambeau.autograd.modes import (
    is_grad_enabled as is_grad_enabled,
)
from flambeau.autograd.modes import (
    is_inference_mode_enabled as is_inference_mode_enabled,
)
from flambeau.autograd.modes import (
    no_grad as no_grad,
)
from flambeau.autograd.modes import (
    set_grad_enabled as set_grad_enabled,
)
from flambeau.device import (
    device as device,
)
from flambeau.device import (
    get_default_device as get_default_device,
)
from flambeau.device import (
    set_default_device as set_default_device,
)
from flambeau.dtypes import (
    bfloat16 as bfloat16,
)
from flambeau.dtypes import (
    complex64 as complex64,
)
from flambeau.dtypes import (
    complex128 as complex128,
)
from flambeau.dtypes import (
    dtype as dtype,
)
from flambeau.dtypes import (
    finfo as finfo,
)
from flambeau.dtypes import (
    float16 as float16,
)
from flambeau.dtypes import (
    float32 as float32,
)
from flambeau.dtypes import (
    float64 as float64,
)
from flambeau.dtypes import (
    get_default_dtype as get_default_dtype,
)
from flambeau.dtypes import (
    iinfo as iinfo,
)
from flambeau.dtypes import (
    int8 as int8,
)
from flambeau.dtypes import (
    int16 as int16,
)
from flambeau.dtypes import (
    int32 as int32,
)
from flambeau.dtypes import (
    int64 as int64,
)
from flambeau.dtypes import (
    promote_types as promote_types,
)
from flambeau.dtypes import (
    set_default_dtype as set_default_dtype,
)
from flambeau.dtypes import (
    uint8 as uint8,
)
from flambeau.memory_format import (
    channels_last as channels_last,
)
from flambeau.memory_format import (
    channels_last_3d as channels_last_3d,
)
from flambeau.memory_format import (
    contiguous_format as contiguous_format,
)
from flambeau.memory_format import (
    layout as layout,
)
from flambeau.memory_format import (
    memory_format as memory_format,
)
from flambeau.memory_format import (
    preserve_format as preserve_format,
)
from flambeau.memory_format import (
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
)
from flambeau.random import (
    fork_rng as fork_rng,
)
from flambeau.random import (
    initial_seed as initial_seed,
)
from flambeau.random import (
    manual_seed as manual_seed,
)
from flambeau.random import (
    seed as seed,
)
from flambeau.shape import (
    Size as Size,
)
from flambeau.shape import (
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
