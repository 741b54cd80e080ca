"""Type names that PyTorch code imports for annotations."""

from __future__ import annotations

import builtins

from flambeau.device import device as Device
from flambeau.dtypes import dtype
from flambeau.shape import Size
from flambeau.tensor import Tensor

Number = builtins.int | builtins.float | builtins.bool
_int, _float, _bool = builtins.int, builtins.float, builtins.bool

__all__ = ["Device", "Number", "Size", "Tensor", "dtype"]
