"""Sampling images at given positions."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import flambeau as fb
from flambeau.errors import ShapeError
from flambeau.nn.functional._upsample import ResizeError, _cubic_far, _cubic_near
from flambeau.tensor import Tensor, describe


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Sampling positions of an affine map: theta (N, 2, 3) and size (N, C, H, W) -> (N, H, W, 2); likewise
    in 3-D.

    Raises: ShapeError: theta or size has another form.
    """
    t: Any = theta
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0.",
            stacklevel=2,
        )
    dims = len(size) - 2
    if dims not in (2, 3) or t._a.shape[1:] != (dims, dims + 1) or t._a.shape[0] != size[0]:
        raise ShapeError(
            f"affine_grid: Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size "
            f"{list(size)}. Got {describe(t)}."
        )
    axes = []
    for n in size[2:]:
        line = (
            fb.linspace(-1, 1, n, dtype=t.dtype, device=t.device)
            if n > 1
            else fb.zeros(1, dtype=t.dtype, device=t.device)
        )
        axes.append(line if align_corners else line * ((n - 1) / n))
    mesh = fb.meshgrid(*axes, indexing="ij")
    base = fb.stack([*reversed(mesh), fb.ones_like(mesh[0])], -1).reshape(1, -1, dims + 1)
    grid = fb.matmul(base.expand(size[0], -1, dims + 1), t.transpose(1, 2))
    return grid.reshape(size[0], *size[2:], dims)


def _pixel(g: Any, n: int, align: bool) -> Any:
    return (g + 1) * ((n - 1) / 2) if align else ((g + 1) * n - 1) * 0.5


def _reflected(x: Any, low: float, high: float) -> Any:
    """x reflected into [low, high] (doubled coordinates)."""
    if low == high:
        return x * 0
    span = (high - low) / 2
    x = (x - low / 2).abs()
    extra = x - (x / span).floor() * span
    odd = (x / span).floor().remainder(2).ne(0)
    return fb.where(odd, span - extra, extra) + low / 2


def _bounded(x: Any, n: int, padding: str, align: bool) -> Any:
    if padding == "zeros":
        return x
    if padding == "reflection":
        x = _reflected(x, 0, 2 * (n - 1)) if align else _reflected(x, -1, 2 * n - 1)
    return x.clamp(0, n - 1)


def _look_up(x: Any, at: list[Any], sizes: list[int]) -> Any:
    """Values (N, C, points) at integer positions, 0 outside."""
    n, c = x._a.shape[:2]
    inside = None
    flat: Any = 0
    for p, size in zip(at, sizes):
        ok = p.ge(0) & p.le(size - 1)
        inside = ok if inside is None else inside & ok
        flat = flat * size + p.clamp(0, size - 1).long()
    points = flat.reshape(n, 1, -1)
    picked = x.reshape(n, c, -1).gather(2, points.expand(n, c, points._a.shape[-1]))
    return picked * inside.reshape(n, 1, -1).to(x.dtype)  # type: ignore[union-attr]


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Values of input (N, C, H, W) at the positions of grid (N, h, w, 2), x before y, in [-1, 1]: (N, C, h,
    w); also in 3-D.

    Args: mode: "bilinear", "nearest" or "bicubic".  padding_mode: outside, "zeros", "border" or "reflection".
        align_corners: -1 and 1 are the centres of the corner pixels, not their outer edges.
    Raises: ShapeError, ResizeError: shapes or modes do not fit.
    Reference: Jaderberg et al. 2015, arXiv:1506.02025.
    """
    x: Any = input
    g: Any = grid
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ResizeError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ResizeError(
            f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but "
            f"got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0.",
            stacklevel=2,
        )
    dims = len(x._a.shape) - 2
    if (
        dims not in (2, 3)
        or len(g._a.shape) != dims + 2
        or g._a.shape[-1] != dims
        or g._a.shape[0] != x._a.shape[0]
    ):
        raise ShapeError(
            f"grid_sample(): expected 4D or 5D input and grid with the same batch size and last dimension "
            f"{dims}, got {describe(x)} and {describe(g)}"
        )
    if mode == "bicubic" and dims != 2:
        raise ResizeError("grid_sample(): bicubic interpolation only supports 4D input")
    sizes = list(x._a.shape[2:])
    at = [_pixel(g[..., dims - 1 - i], n, bool(align_corners)) for i, n in enumerate(sizes)]
    shape = (*x._a.shape[:2], *g._a.shape[1:-1])
    if mode == "bicubic":
        return _cubic(x, at, sizes, padding_mode, bool(align_corners)).reshape(shape)  # type: ignore[no-any-return]
    at = [_bounded(p, n, padding_mode, bool(align_corners)) for p, n in zip(at, sizes)]
    if mode == "nearest":
        return _look_up(x, [p.round() for p in at], sizes).reshape(shape)  # type: ignore[no-any-return]
    low = [p.floor() for p in at]
    total: Any = 0
    for corner in itertools.product((0, 1), repeat=dims):
        weight: Any = 1
        for c, p, b in zip(corner, at, low):
            weight = weight * ((p - b) if c else (b + 1 - p))
        value = _look_up(x, [b.detach() + c for c, b in zip(corner, low)], sizes)
        total = total + value * weight.reshape(x._a.shape[0], 1, -1)
    return total.reshape(shape)  # type: ignore[no-any-return]


def _cubic(x: Any, at: list[Any], sizes: list[int], padding: str, align: bool) -> Any:
    low = [p.floor() for p in at]
    weights = []
    for p, b in zip(at, low):
        t = p - b.detach()
        weights.append([_cubic_far(t + 1), _cubic_near(t), _cubic_near(1 - t), _cubic_far(2 - t)])
    total: Any = 0
    for i, j in itertools.product(range(4), repeat=2):
        where = [
            _bounded(b.detach() + k - 1, n, padding, align) for k, b, n in zip((i, j), low, sizes)
        ]
        value = _look_up(x, where, sizes)
        total = total + value * (weights[0][i] * weights[1][j]).reshape(x._a.shape[0], 1, -1)
    return total
