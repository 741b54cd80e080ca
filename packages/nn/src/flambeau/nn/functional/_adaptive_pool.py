"""Pooling to a given output size, and pooling over random windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import flambeau as fb
from flambeau.errors import ShapeError
from flambeau.nn.functional._conv import ConvArgumentError, Ints
from flambeau.nn.functional._pool import _avg_pool, _max_pool
from flambeau.tensor import Tensor, describe


def _sizes(op: str, dims: int, input: Any, output_size: Any) -> tuple[Ints, Ints]:
    size = input._a.shape[-dims:]
    if len(input._a.shape) not in (dims + 1, dims + 2):
        raise ShapeError(f"{op}: Expected {dims + 1}D or {dims + 2}D tensor, got {describe(input)}")
    given = (output_size,) * dims if isinstance(output_size, int) else tuple(output_size)
    if len(given) == 1:
        given = given * dims
    if len(given) != dims:
        raise ConvArgumentError(
            f"{op}: output_size must be an int or {dims} ints, got {output_size}"
        )
    out = tuple(n if o is None else int(o) for n, o in zip(size, given))
    if 0 in size:
        raise ShapeError(
            f"{op}: Expected input to have non-zero size for non-batch dimensions, got {describe(input)}"
        )
    if min(out) < 0:
        raise ConvArgumentError(
            f"{op}: elements of output_size must be greater than or equal to 0 but received {list(out)}"
        )
    return size, out


def _bins(n: int, o: int) -> list[tuple[int, int]]:
    """Start and end of the o windows that cover n elements."""
    return [(i * n // o, -(-(i + 1) * n // o)) for i in range(o)]


def _even(size: Ints, out: Ints) -> Ints | None:
    return (
        tuple(n // o for n, o in zip(size, out))
        if all(o and n % o == 0 for n, o in zip(size, out))
        else None
    )


def _adaptive_avg(dims: int, input: Any, output_size: Any) -> Any:
    size, out = _sizes(f"adaptive_avg_pool{dims}d", dims, input, output_size)
    kernel = _even(size, out)
    if kernel is not None:
        return _avg_pool(input, out, kernel, kernel, (0,) * dims, True, 0)
    y = input
    for i, (n, o) in enumerate(zip(size, out)):
        means = np.zeros((n, o))
        for j, (a, b) in enumerate(_bins(n, o)):
            means[a:b, j] = 1.0 / (b - a)
        at = i - dims
        moved = y.movedim(at, -1).matmul(fb.tensor(means, dtype=y.dtype, device=y.device))
        y = moved.movedim(-1, at)
    return y.contiguous()


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows chosen so that the output has the given size."""
    return _adaptive_avg(1, input, output_size)  # type: ignore[no-any-return]


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows chosen so that the output has the given size; None keeps a size.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.adaptive_avg_pool2d(fb.ones(1, 2, 5, 7), 1).shape
        flambeau.Size([1, 2, 1, 1])
    """
    return _adaptive_avg(2, input, output_size)  # type: ignore[no-any-return]


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows chosen so that the output has the given size."""
    return _adaptive_avg(3, input, output_size)  # type: ignore[no-any-return]


def _table(size: Ints, bins: list[list[tuple[int, int]]]) -> Any:
    """Flat positions (output positions, window) of windows of unequal sizes, filled up with each window's first."""
    flat = [[0]]
    for n, row in zip(size, bins):
        flat = [[f * n + i for f in have for i in range(a, b)] for have in flat for a, b in row]
    longest = max((len(f) for f in flat), default=1)
    return np.array([f + f[:1] * (longest - len(f)) for f in flat], np.int64).reshape(-1, longest)


def _by_table(input: Any, table: Any, dims: int, out: Ints, want: bool) -> Any:
    lead = input._a.shape[:-dims]
    index = fb.tensor(table, device=input.device)
    picked = input.reshape((*lead, -1))[..., index]
    y, which = picked.max(-1)
    y = y.reshape((*lead, *out))
    if not want:
        return y
    spread = index.expand((*which._a.shape, table.shape[-1]))
    return y, spread.gather(-1, which.unsqueeze(-1)).reshape((*lead, *out))


def _adaptive_max(dims: int, input: Any, output_size: Any, want: bool) -> Any:
    size, out = _sizes(f"adaptive_max_pool{dims}d", dims, input, output_size)
    kernel = _even(size, out)
    if kernel is not None:
        return _max_pool(dims, input, kernel, kernel, 0, 1, False, want)
    if not math.prod(out):
        y = input.new_zeros((*input._a.shape[:-dims], *out))
        return (y, y.long()) if want else y
    return _by_table(input, _table(size, [_bins(n, o) for n, o in zip(size, out)]), dims, out, want)


def _published(dims: int) -> Any:
    def pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return _adaptive_max(dims, input, output_size, return_indices)

    def with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return _adaptive_max(dims, input, output_size, True)

    pool.__name__ = pool.__qualname__ = f"adaptive_max_pool{dims}d"
    with_indices.__name__ = with_indices.__qualname__ = f"adaptive_max_pool{dims}d_with_indices"
    pool.__doc__ = "Maxima over windows chosen so that the output has the given size."
    with_indices.__doc__ = f"adaptive_max_pool{dims}d and the flat positions of the maxima."
    return pool, with_indices


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _published(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _published(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _published(3)


# ---- fractional
def _fractional_bins(n: int, o: int, k: int, u: float) -> list[tuple[int, int]]:
    """Windows of size k at random but increasing positions (Graham 2014, arXiv:1412.6071)."""
    if o == 1:
        return [(n - k, n)]
    alpha = (n - k) / (o - 1)
    starts = [int((i + u) * alpha) - int(u * alpha) for i in range(o - 1)] + [n - k]
    return [(a, a + k) for a in starts]


def _fractional(
    dims: int, input: Any, kernel: Any, output_size: Any, ratio: Any, want: bool, samples: Any
) -> Any:
    op = f"fractional_max_pool{dims}d"
    if (output_size is None) == (ratio is None):
        raise ConvArgumentError(
            f"{op}: requires specifying either an output_size or an output_ratio"
        )
    size = input._a.shape[-dims:]
    k = (kernel,) * dims if isinstance(kernel, int) else tuple(kernel)
    if output_size is None:
        ratios = (ratio,) * dims if isinstance(ratio, float) else tuple(ratio)
        out = tuple(int(n * r) for n, r in zip(size, ratios))
    else:
        out = (output_size,) * dims if isinstance(output_size, int) else tuple(output_size)
    if any(o + a - 1 > n for o, a, n in zip(out, k, size)):
        raise ShapeError(
            f"{op}: pool size {k} too large relative to input {describe(input)} and output size {out}"
        )
    batched = len(input._a.shape) == dims + 2
    x = input if batched else input.unsqueeze(0)
    n, c = x._a.shape[:2]
    u = (fb.rand(n, c, dims) if samples is None else samples).detach().cpu().numpy()
    results = []
    for i in range(n):
        for j in range(c):
            # PyTorch's samples run from the last dimension to the first
            bins = [
                _fractional_bins(m, o, a, float(v))
                for m, o, a, v in zip(size, out, k, u[i, j][::-1])
            ]
            results.append(_by_table(x[i, j].unsqueeze(0), _table(size, bins), dims, out, True))
    shape = (n, c, *out)
    y = fb.cat([r[0] for r in results]).reshape(shape)
    at = fb.cat([r[1] for r in results]).reshape(shape)
    if not batched:
        y, at = y.squeeze(0), at.squeeze(0)
    return (y, at) if want else y


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """Maxima over windows at random positions, to an output of any size."""
    return _fractional(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """Maxima over windows at random positions, to an output of any size."""
    return _fractional(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """fractional_max_pool2d and the flat positions of the maxima."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, True, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """fractional_max_pool3d and the flat positions of the maxima."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, True, _random_samples)
