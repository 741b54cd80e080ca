"""Padding."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau.errors import FlambeauError, ShapeError
from flambeau.ops._op import op
from flambeau.ops.movement import _slice
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe

Ints = tuple[int, ...]


class PadError(FlambeauError, NotImplementedError, ValueError):
    """A padding that does not exist or does not fit."""


@op(shape=lambda x, start, size, value: size, kernel="pad_constant", node="ConstantPadNdBackward0")
def _pad_constant(input: Tensor, start: Ints, size: Ints, value: Any) -> Tensor:
    """A tensor of `size` filled with value, and input in it from `start` on."""
    whole = fb.full(size, value, dtype=input.dtype, device=input.device)
    whole[_inside(start, input._a.shape)] = input
    return whole


def _inside(start: Ints, shape: Shape) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(start, shape))


_pad_constant.vjp(input=lambda g, start, input_shape: _slice(g, _inside(start, input_shape)))


def _constant(x: Any, pads: list[tuple[int, int]], value: Any) -> Any:
    shape = x._a.shape
    key, start, size = [], [], []
    for n, (a, b) in zip(shape, pads):
        if n + a + b < 0:
            raise PadError(
                f"pad: The input size {n}, plus negative padding {a} and {b} resulted in a negative output "
                f"size ({describe(x)})"
            )
        key.append(slice(max(-a, 0), n - max(-b, 0)))
        start.append(max(a, 0))
        size.append(n + a + b)
    if any(a < 0 or b < 0 for a, b in pads):
        x = _slice(x, tuple(key))
    return _pad_constant(x, tuple(start), tuple(size), value)


def _indices(mode: str, n: int, a: int, b: int) -> list[int]:
    at = range(-a, n + b)
    if mode == "replicate":
        return [min(max(i, 0), n - 1) for i in at]
    if mode == "circular":  # what wraps around is the part that negative padding leaves
        kept = list(range(max(-a, 0), n - max(-b, 0)))
        return (kept[len(kept) - a :] if a > 0 else []) + kept + (kept[:b] if b > 0 else [])
    return [-i if i < 0 else 2 * (n - 1) - i if i >= n else i for i in at]


def _check(mode: str, x: Any, n: int, a: int, b: int, dim: int) -> None:
    if mode == "reflect" and (a >= n or b >= n):
        raise PadError(
            f"pad: Padding size should be less than the corresponding input dimension, but got: padding ({a}, "
            f"{b}) at dimension "
            f"{dim} of input {describe(x)}"
        )
    if mode == "circular" and (a > n or b > n):
        raise PadError(
            f"pad: Padding value causes wrapping around more than once: ({a}, {b}) at dimension {dim} of "
            f"{describe(x)}"
        )
    if mode == "replicate" and n == 0:
        raise PadError(f"pad: Expected non-zero size at dimension {dim}, got {describe(x)}")


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """input with elements added (or taken away) at the ends of its last dimensions.

    Args: pad: (left, right) of the last dimension, then of the one before, ...  mode: "constant", "reflect",
    "replicate" or
        "circular"; all but "constant" take the last one, two or three dimensions of batches.  value: of the
        constant.
    Raises: PadError: an odd number of sizes, more of them than dimensions, or a padding that the mode does
    not allow.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.pad(fb.tensor([1, 2, 3]), (1, 2), value=9)
        tensor([9, 1, 2, 3, 9, 9])
    """
    x: Any = input
    sizes = [int(p) for p in pad]
    rank = len(x._a.shape)
    if len(sizes) % 2:
        raise PadError(f"pad: Padding length must be divisible by 2, got {sizes}")
    if len(sizes) // 2 > rank:
        raise PadError(
            f"pad: Padding length should be less than or equal to two times the input dimension, got {sizes} "
            f"for {describe(x)}"
        )
    pairs = [(0, 0)] * rank
    for i in range(len(sizes) // 2):
        pairs[rank - 1 - i] = (sizes[2 * i], sizes[2 * i + 1])
    if mode == "constant":
        return _constant(x, pairs, 0 if value is None else value)  # type: ignore[no-any-return]
    if value is not None and value != 0:
        raise PadError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise PadError(
            f"pad: Unrecognised padding mode {mode}. Hint: 'constant', 'reflect', 'replicate' or 'circular'"
        )
    dims = len(sizes) // 2
    if dims > 3 or rank not in (dims + 1, dims + 2):
        raise PadError(
            f"pad: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now; {mode} padding "
            f"of {dims} "
            f"dimensions needs {dims + 1}D or {dims + 2}D input, got {describe(x)}"
        )
    for d, (a, b) in enumerate(pairs):
        n = x._a.shape[d]
        if (a, b) == (0, 0):
            continue
        _check(mode, x, n, a, b, d)
        if n + a + b < 1:
            raise ShapeError(f"pad: dimension {d} would become empty ({describe(x)})")
        x = x.index_select(d, fb.tensor(_indices(mode, n, a, b), device=x.device))
    return x  # type: ignore[no-any-return]
