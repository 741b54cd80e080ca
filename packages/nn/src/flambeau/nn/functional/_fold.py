"""Sliding blocks as columns and back; channels traded for pixels."""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau.errors import ShapeError
from flambeau.nn.functional._conv import ConvArgumentError, Ints, _tuple
from flambeau.nn.functional._pool import _positions
from flambeau.tensor import Tensor, describe


def _blocks(
    op: str, size: Ints, kernel: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Any, Ints, Ints]:
    k, d = _tuple("kernel_size", kernel, 2, op), _tuple("dilation", dilation, 2, op)
    p, s = _tuple("padding", padding, 2, op), _tuple("stride", stride, 2, op)
    if min(k) <= 0 or min(d) <= 0 or min(s) <= 0 or min(p) < 0:
        raise ConvArgumentError(
            f"{op}: kernel_size, dilation and stride should be greater than zero and padding non-negative, got "
            f"{k}, {d}, {s}, {p}"
        )
    out = tuple((n + 2 * b - c * (a - 1) - 1) // e + 1 for n, a, b, c, e in zip(size, k, p, d, s))
    if min(out) <= 0:
        raise ShapeError(
            f"{op}: given spatial size {size}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, the "
            f"array of sliding blocks has shape {out}, but its components must be at least one"
        )
    return _positions(size, out, k, s, p, d), k, out


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Sliding blocks as columns: (N, C, H, W) -> (N, C * kernel elements, blocks).

    Raises: ShapeError: no block fits, or the rank is neither 3 nor 4.
    """
    x: Any = input
    rank = len(x._a.shape)
    if rank not in (3, 4):
        raise ShapeError(f"unfold: Expected 3D or 4D (batch mode) tensor, but got {describe(x)}")
    if rank == 3:
        return unfold(x.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    n, c, *size = x._a.shape
    at, k, _ = _blocks("unfold", tuple(size), kernel_size, dilation, padding, stride)
    columns = x.reshape(n, c, math.prod(size)).index_select(
        2, fb.tensor(at.T.reshape(-1).clip(0), device=x.device)
    )
    if (at < 0).any():
        columns = columns * fb.tensor(at.T.reshape(-1) >= 0, device=x.device).to(x.dtype)
    return columns.reshape(n, c * math.prod(k), at.shape[0])  # type: ignore[no-any-return]


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Sums columns back into images: (N, C * kernel elements, blocks) -> (N, C, *output_size); overlaps add up.

    Raises: ShapeError: sizes do not fit.
    """
    x: Any = input
    rank = len(x._a.shape)
    if rank not in (2, 3):
        raise ShapeError(
            f"fold: Expected 2D or 3D (batch mode) tensor for input, but got {describe(x)}"
        )
    if rank == 2:
        return fold(x.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)
    size = _tuple("output_size", output_size, 2, "fold")
    at, k, out = _blocks("fold", size, kernel_size, dilation, padding, stride)
    n, rows, blocks = x._a.shape
    each = math.prod(k)
    if rows % each:
        raise ShapeError(
            f"fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, but "
            f"got input.size(1)={rows} and kernel_size={k}"
        )
    if blocks != math.prod(out):
        raise ShapeError(
            f"fold: Given output_size={size}, kernel_size={k}, expected size of input's dimension 2 to match "
            f"the calculated number of sliding blocks {math.prod(out)}, but got input.size(2)={blocks}"
        )
    c = rows // each
    flat = at.T.reshape(-1)
    columns = x.reshape(n, c, each * blocks)
    if (flat < 0).any():
        columns = columns * fb.tensor(flat >= 0, device=x.device).to(x.dtype)
    zeros = fb.zeros((n, c, math.prod(size)), dtype=x.dtype, device=x.device)
    total = zeros.index_add(2, fb.tensor(flat.clip(0), device=x.device), columns)
    return total.reshape(n, c, *size)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels become pixels: (*, C r^2, H, W) -> (*, C, H r, W r). Reference: Shi et al. 2016."""
    x: Any = input
    r = upscale_factor
    if len(x._a.shape) < 3:
        raise ShapeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {len(x._a.shape)} "
            f"dimension(s)"
        )
    *lead, c, h, w = x._a.shape
    if r <= 0 or c % (r * r):
        raise ShapeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    y = x.reshape(math.prod(lead), c // (r * r), r, r, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(*lead, c // (r * r), h * r, w * r)  # type: ignore[no-any-return]


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Pixels become channels: (*, C, H r, W r) -> (*, C r^2, H, W)."""
    x: Any = input
    r = downscale_factor
    if len(x._a.shape) < 3:
        raise ShapeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{len(x._a.shape)} dimension(s)"
        )
    *lead, c, h, w = x._a.shape
    if r <= 0 or h % r or w % r:
        raise ShapeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but got ({h}, {w}) "
            f"and {r}"
        )
    y = x.reshape(math.prod(lead), c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)
    return y.reshape(*lead, c * r * r, h // r, w // r)  # type: ignore[no-any-return]


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of the groups dealt out in turn. Reference: Zhang et al. 2018."""
    x: Any = input
    if len(x._a.shape) < 3:
        raise ShapeError(f"channel_shuffle expects input with > 2 dims, but got {describe(x)}")
    n, c, *rest = x._a.shape
    if groups <= 0 or c % groups:
        raise ShapeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    return x.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(n, c, *rest)  # type: ignore[no-any-return]


native_channel_shuffle = channel_shuffle
