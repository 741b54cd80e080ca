"""Resizing images."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

import flambeau as fb
from flambeau.errors import FlambeauError, ShapeError
from flambeau.tensor import Tensor, describe

Ints = tuple[int, ...]
_MODES = {
    "nearest": (3, 4, 5),
    "nearest-exact": (3, 4, 5),
    "linear": (3,),
    "bilinear": (4,),
    "bicubic": (4,),
    "trilinear": (5,),
    "area": (3, 4, 5),
}


class ResizeError(FlambeauError, NotImplementedError, ValueError):
    """A mode or a size that resizing cannot have."""


def _target(x: Any, size: Any, factor: Any, recompute: Any) -> tuple[Ints, list[float] | None]:
    dims = len(x._a.shape) - 2
    if (size is None) == (factor is None):
        raise ResizeError(
            "only one of size or scale_factor should be defined"
            if size is not None
            else "either size or scale_factor should be defined"
        )
    if size is not None:
        out = tuple(int(n) for n in size) if isinstance(size, tuple | list) else (int(size),) * dims
        if len(out) != dims:
            raise ResizeError(
                f"Input and output must have the same number of spatial dimensions, but got input "
                f"{describe(x)} and output size {size}"
            )
        return out, None
    factors = (
        [float(f) for f in factor] if isinstance(factor, tuple | list) else [float(factor)] * dims
    )
    if len(factors) != dims:
        raise ResizeError(
            f"Input and scale_factor must have the same number of spatial dimensions, but got input "
            f"{describe(x)} and scale_factor {factor}"
        )
    out = tuple(math.floor(n * f) for n, f in zip(x._a.shape[2:], factors))
    return out, None if recompute else factors


def _source(n: int, o: int, factor: float | None, align: bool) -> Any:
    """Positions in the input of the o output elements."""
    if align:
        return np.arange(o) * ((n - 1) / (o - 1) if o > 1 else 0.0)
    scale = 1.0 / factor if factor else n / o
    return (np.arange(o) + 0.5) * scale - 0.5


def _nearest(n: int, o: int, factor: float | None, exact: bool) -> Any:
    scale = np.float32(1.0 / factor if factor else n / o)
    at = (np.arange(o, dtype=np.float32) + np.float32(0.5 if exact else 0)) * scale
    return np.minimum(np.floor(at).astype(np.int64), n - 1)


def _taps(n: int, o: int, factor: float | None, align: bool, mode: str) -> list[tuple[Any, Any]]:
    """For each tap of the filter: input positions and weights."""
    at = _source(n, o, factor, align)
    if mode == "cubic":
        low = np.floor(at).astype(np.int64)
        t = at - low
        weights = [_cubic_far(t + 1), _cubic_near(t), _cubic_near(1 - t), _cubic_far(2 - t)]
        return [(np.clip(low + k - 1, 0, n - 1), w) for k, w in enumerate(weights)]
    at = np.maximum(at, 0)
    low = np.minimum(np.floor(at).astype(np.int64), n - 1)
    t = at - low
    return [(low, 1 - t), (np.minimum(low + 1, n - 1), t)]


def _cubic_near(t: Any, a: float = -0.75) -> Any:
    return ((a + 2) * t - (a + 3)) * t * t + 1


def _cubic_far(t: Any, a: float = -0.75) -> Any:
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a


def _smoothed(n: int, o: int, factor: float | None, align: bool, mode: str) -> Any:
    """The matrix (o, n) of an antialiased filter, as wide as the step between outputs."""
    scale = (n - 1) / (o - 1) if align and o > 1 else (1.0 / factor if factor else n / o)
    reach = (2.0 if mode == "cubic" else 1.0) * max(scale, 1.0)
    matrix = np.zeros((o, n))
    for i in range(o):
        centre = scale * (i + 0.5)
        low, high = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), n)
        d = np.abs((np.arange(low, high) - centre + 0.5) / max(scale, 1.0))
        if mode == "cubic":
            w = np.where(d < 1, _cubic_near(d, -0.5), np.where(d < 2, _cubic_far(d, -0.5), 0))
        else:
            w = np.maximum(1 - d, 0)
        matrix[i, low:high] = w / w.sum()
    return matrix


def _resample(x: Any, dim: int, taps: list[tuple[Any, Any]]) -> Any:
    shape = [1] * len(x._a.shape)
    shape[dim] = -1
    total = None
    for at, weight in taps:
        part = x.index_select(dim, fb.tensor(at, device=x.device))
        part = part * fb.tensor(weight, dtype=x.dtype, device=x.device).reshape(shape)
        total = part if total is None else total + part
    return total


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """(N, C, *spatial) resized to `size`, or by scale_factor.

    Args: mode: "nearest", "nearest-exact", "linear" (3-D), "bilinear", "bicubic" (4-D), "trilinear" (5-D) or "area".
        align_corners: corner pixels stay corner pixels (linear and cubic modes).  antialias: smooth when shrinking.
    Raises: ResizeError: a mode that the rank does not allow, or neither or both of size and scale_factor.
    """
    x: Any = input
    rank = len(x._a.shape)
    if mode not in _MODES or rank not in _MODES[mode]:
        raise ResizeError(
            f"interpolate: Input Error: Only 3D, 4D and 5D input Tensors supported (got {rank}D) for the "
            f"modes: nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if align_corners is not None and mode in ("nearest", "area", "nearest-exact"):
        raise ResizeError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
            "trilinear"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ResizeError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input"
        )
    out, factors = _target(x, size, scale_factor, recompute_scale_factor)
    if min(out) <= 0 or 0 in x._a.shape[1:]:
        raise ShapeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input {describe(x)} and "
            f"output {out}"
        )
    if mode == "area":
        from flambeau.nn.functional import _adaptive_pool

        return _adaptive_pool._adaptive_avg(rank - 2, x, out)  # type: ignore[no-any-return]
    kind = "cubic" if mode == "bicubic" else "linear"
    for i, (n, o) in enumerate(zip(x._a.shape[2:], out)):
        factor = factors[i] if factors else None
        if mode.startswith("nearest"):
            x = x.index_select(
                i + 2, fb.tensor(_nearest(n, o, factor, mode == "nearest-exact"), device=x.device)
            )
        elif antialias:
            matrix = fb.tensor(
                _smoothed(n, o, factor, bool(align_corners), kind).T, dtype=x.dtype, device=x.device
            )
            x = x.movedim(i + 2, -1).matmul(matrix).movedim(-1, i + 2)
        else:
            x = _resample(x, i + 2, _taps(n, o, factor, bool(align_corners), kind))
    return x  # type: ignore[no-any-return]


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The old name of interpolate."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate in mode "nearest", under its old name."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate in mode "bilinear" with aligned corners, under its old name."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
