"""Inputs for tests."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.dtypes import dtype as dtype_type
from flambeau.shape import as_shape
from flambeau.tensor import Tensor


def make_tensor(
    *shape: Any,
    dtype: dtype_type,
    device: Any = "cpu",
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
) -> Tensor:
    """A tensor of random values from the default generator: uniform in [low, high), whole numbers for integer dtypes.

    Args: low, high: -9 and 9 for floating-point dtypes, -9 (0 if unsigned) and 10 for integers, unless given.
        noncontiguous: with gaps between elements.  exclude_zero: zeros become the smallest positive step.
    """
    from flambeau.ops.creation import empty
    from flambeau.ops.random import rand, randint

    size = as_shape(shape, "make_tensor")
    stored = (*size[:-1], 2 * size[-1]) if noncontiguous and size else size
    if dtype.category == dtypes.BOOL:
        t = randint(0, 2, stored, device=device).to(dtype)
    elif dtype.category == dtypes.INTEGER:
        first = int(low) if low is not None else -9 if dtype.is_signed else 0
        t = randint(
            first, int(high) if high is not None else 10, stored, dtype=dtype, device=device
        )
    else:
        a, b = -9.0 if low is None else low, 9.0 if high is None else high
        t = rand(stored, dtype=dtype, device=device) * (b - a) + (
            a if not dtype.is_complex else complex(a, a)
        )
    if exclude_zero:
        t = t + (t == 0).to(dtype)
    if noncontiguous and size:
        gaps = empty(stored, dtype=dtype, device=device).copy_(t)
        t = gaps.unflatten(-1, (size[-1], 2)).select(-1, 0)
    return t.requires_grad_() if requires_grad else t
