"""16-bit floats through float32: BLAS and einsum do not take them, and sums of squares overflow in float16."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.elementwise import FLOAT32, is_half

Kernel = Callable[..., Any]


def through_float32(kernel: Kernel, at: int = 0, rounded: int | None = None) -> Kernel:
    """A kernel that computes 16-bit floats in float32 and rounds its results once, as PyTorch does.

    Args: at: which argument, always an array, says the dtype.  rounded: how many of several results are rounded; the
        others are for the backward kernel and stay as exact as they are.
    """

    @functools.wraps(kernel)
    def run(*args: Any) -> Any:
        lead = args[at]
        if lead.itemsize != 2 or not is_half(lead.dtype):
            return kernel(*args)
        result = kernel(*[_widened(a) for a in args])
        if not isinstance(result, tuple):
            return _narrowed(result, lead.dtype)
        end = len(result) if rounded is None else rounded
        return (*[_narrowed(r, lead.dtype) for r in result[:end]], *result[end:])

    return run


def _widened(x: Any) -> Any:
    return x.astype(FLOAT32) if isinstance(x, np.ndarray) and is_half(x.dtype) else x


def _narrowed(x: Any, d: np.dtype[Any]) -> Any:
    return None if x is None else x.astype(d)
