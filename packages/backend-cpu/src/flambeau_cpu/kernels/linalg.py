"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.elementwise import FLOAT32, FLOAT64, is_half

Array = np.ndarray[Any, Any]


def matmul(a: Array, b: Array) -> Any:
    """Matrix product; np.dot has less overhead for two matrices, and its operands may be transposed views."""
    d = a.dtype
    if d is not FLOAT32 and d is not FLOAT64 and (d.kind not in "fc" or d.itemsize == 2):
        return _others(a, b)
    rank = b.ndim
    if rank == 2:
        if a.ndim == 2:
            return np.dot(a, b)
        if a.ndim > 2 and a.size and a.flags.c_contiguous:
            # one product of matrices instead of one for each batch
            return np.dot(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    elif rank == 1 and a.ndim == 1:
        y = np.empty((), d)
        a.dot(b, y)  # what it returns is a scalar
        return y
    return np.matmul(a, b, out=...)


def _others(a: Array, b: Array) -> Any:
    """Integers by NumPy's own loops, 16-bit floats in float32; bool has no product."""
    d = a.dtype
    if d.kind == "b":
        raise TypeError("bool has no matrix product")
    if is_half(d):
        return matmul(a.astype(FLOAT32), b.astype(FLOAT32)).astype(d)
    return np.matmul(a, b, out=...)


TABLE: dict[str, Callable[..., Any]] = {"matmul": matmul, "bmm": matmul}
