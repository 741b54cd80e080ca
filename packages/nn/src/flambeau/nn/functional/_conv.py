"""Convolutions: three operations closed under differentiation, and PyTorch's functions over them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import flambeau as fb
from flambeau.errors import ArgumentError, FlambeauError, ShapeError
from flambeau.ops._op import op
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe

Ints = tuple[int, ...]


class ConvArgumentError(FlambeauError, RuntimeError, ValueError):
    """A stride, padding, dilation or groups that a convolution cannot have."""


def _reach(k: int, d: int) -> int:
    return d * (k - 1) + 1


def _conv_shape(
    x: Shape, w: Shape, b: Any, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Shape:
    dims = len(stride)
    if len(w) != dims + 2:
        raise ShapeError(
            f"conv{dims}d: weight must have {dims + 2} dimensions (out, in / groups, *kernel), got {tuple(w)}"
        )
    if len(x) != dims + 2:
        raise ShapeError(
            f"conv{dims}d: Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to conv{dims}d, but "
            f"got input of "
            f"size: {list(x)}. Hint: (batch, channels, *spatial)"
        )
    if x[1] != w[1] * groups:
        hint = (
            "channels come second: x.movedim(-1, 1)"
            if x[-1] == w[1] * groups
            else f"Conv{dims}d({x[1]}, {w[0]}, ...)"
        )
        raise ShapeError(
            f"conv{dims}d: Given groups={groups}, weight of size {list(w)}, expected input{list(x)} to have "
            f"{w[1] * groups} "
            f"channels, but got {x[1]} channels instead. Hint: {hint}"
        )
    if w[0] % groups:
        raise ShapeError(
            f"conv{dims}d: out_channels ({w[0]}) must be divisible by groups ({groups})"
        )
    if b is not None and b != (w[0],):
        raise ShapeError(
            f"conv{dims}d: expected bias to be 1-dimensional with {w[0]} elements, but got bias of size {list(b)}"
        )
    out = []
    for n, k, s, p, d in zip(x[2:], w[2:], stride, padding, dilation):
        if n + 2 * p < _reach(k, d):
            raise ShapeError(
                f"conv{dims}d: Calculated padded input size per channel: "
                f"{[m + 2 * q for m, q in zip(x[2:], padding)]}. Kernel "
                f"size: {[_reach(a, c) for a, c in zip(w[2:], dilation)]}. Kernel size can't be greater than "
                f"actual input "
                f"size (input: {tuple(x)}). Hint: padding={_reach(k, d) // 2}, or a larger input"
            )
        out.append((n + 2 * p - _reach(k, d)) // s + 1)
    return (x[0], w[0], *out)


@op(shape=_conv_shape, kernel="conv", node="ConvolutionBackward0")
def _conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Tensor:
    """Cross-correlation of (N, C, *spatial) with (O, C / groups, *kernel)."""
    x: Any = input
    n, channels = x._a.shape[:2]
    kernel, many = weight._a.shape[2:], weight._a.shape[0]
    out = _conv_shape(x._a.shape, weight._a.shape, None, stride, padding, dilation, groups)[2:]
    columns = _windows(x, kernel, out, stride, padding, dilation)  # (N, C, K, L)
    count = math.prod(kernel)
    columns = columns.reshape(n, groups, (channels // groups) * count, math.prod(out))
    matrix: Any = weight.reshape(groups, many // groups, -1)
    y = fb.matmul(matrix.unsqueeze(0), columns).reshape(n, many, *out)
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(out))


def _windows(x: Any, kernel: Ints, out: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Any:
    """(N, C, kernel positions, output positions)."""
    padded = fb.zeros(
        (*x._a.shape[:2], *(n + 2 * p for n, p in zip(x._a.shape[2:], padding))),
        dtype=x.dtype,
        device=x.device,
    )
    padded[(..., *(slice(p, p + n) for n, p in zip(x._a.shape[2:], padding)))] = x
    parts = []
    for position in itertools.product(*(range(k) for k in kernel)):
        part = tuple(
            slice(k * d, k * d + s * (n - 1) + 1, s)
            for k, d, s, n in zip(position, dilation, stride, out)
        )
        parts.append(padded[(..., *part)].reshape(*x._a.shape[:2], -1))
    return fb.stack(parts, 2)


def _weight_grad_shape(
    x: Shape, g: Shape, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Shape:
    return (g[1], x[1] // groups, *kernel)


@op(shape=_weight_grad_shape, kernel="conv_weight_grad", node="ConvolutionBackwardBackward0")
def _conv_weight_grad(
    input: Tensor,
    grad: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Tensor:
    """Gradient of a convolution's weight."""
    x: Any = input
    n, channels = x._a.shape[:2]
    many, out = grad._a.shape[1], grad._a.shape[2:]
    columns = _windows(x, kernel, out, stride, padding, dilation)
    columns = columns.reshape(n, groups, (channels // groups) * math.prod(kernel), math.prod(out))
    g: Any = grad.reshape(n, groups, many // groups, math.prod(out))
    total = fb.matmul(g, columns.mT).sum(0)
    return total.reshape(many, channels // groups, *kernel)


def _input_grad_shape(
    g: Shape, w: Shape, b: Any, size: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Shape:
    dims = len(stride)
    if len(w) != dims + 2 or len(g) != dims + 2:
        raise ShapeError(
            f"conv_transpose{dims}d: needs input (N, in, *spatial) and weight (in, out / groups, *kernel), got "
            f"{tuple(g)} and "
            f"{tuple(w)}"
        )
    if g[1] != w[0]:
        raise ShapeError(
            f"conv_transpose{dims}d: Given transposed=1, weight of size {list(w)}, expected input{list(g)} to "
            f"have {w[0]} "
            f"channels, but got {g[1]} channels instead. Hint: ConvTranspose{dims}d({g[1]}, {w[1] * groups}, ...)"
        )
    if b is not None and b != (w[1] * groups,):
        raise ShapeError(
            f"conv_transpose{dims}d: expected bias of size [{w[1] * groups}], but got {list(b)}"
        )
    return (g[0], w[1] * groups, *size)


@op(shape=_input_grad_shape, kernel="conv_input_grad", node="ConvolutionBackward0")
def _conv_input_grad(
    grad: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Tensor:
    """Gradient of a convolution's input, which is the transposed convolution."""
    g: Any = grad
    n, many, out = g._a.shape[0], g._a.shape[1], g._a.shape[2:]
    kernel, each = weight._a.shape[2:], weight._a.shape[1]
    matrix: Any = weight.reshape(groups, many // groups, each * math.prod(kernel))
    share = fb.matmul(matrix.mT.unsqueeze(0), g.reshape(n, groups, many // groups, -1))
    share = share.reshape(n, groups * each, math.prod(kernel), *out)
    total = fb.zeros(
        (n, groups * each, *(m + 2 * p for m, p in zip(size, padding))),
        dtype=grad.dtype,
        device=grad.device,
    )
    for i, position in enumerate(itertools.product(*(range(k) for k in kernel))):
        part = tuple(
            slice(k * d, k * d + s * (m - 1) + 1, s)
            for k, d, s, m in zip(position, dilation, stride, out)
        )
        total[(..., *part)] += share[:, :, i]
    y = total[(..., *(slice(p, p + m) for m, p in zip(size, padding)))]
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(size))


def _bias_grad(g: Tensor) -> Any:
    from flambeau.ops.reduce import reduce_sum

    return reduce_sum(g, (0, *range(2, len(g._a.shape))), False)


def _transposed_to_grad(
    g: Any, weight: Any, stride: Ints, padding: Ints, dilation: Ints, groups: int, grad_shape: Shape
) -> Any:
    from flambeau.ops.movement import _slice

    y = _conv(g, weight, None, stride, padding, dilation, groups)
    if y._a.shape == grad_shape:
        return y
    # an output_padding of a stride or more makes room for further windows, which came from no input
    return _slice(y, tuple(slice(0, n) for n in grad_shape))


def _transposed_to_weight(
    g: Any, grad: Any, stride: Ints, padding: Ints, dilation: Ints, groups: int, weight_shape: Shape
) -> Any:
    from flambeau.nn.functional._padding import _pad_constant

    kernel = weight_shape[2:]
    windows = tuple(
        (n + 2 * p - _reach(k, d)) // s + 1
        for n, k, s, p, d in zip(g._a.shape[2:], kernel, stride, padding, dilation)
    )
    if windows != grad._a.shape[2:]:
        whole = (*grad._a.shape[:2], *windows)
        grad = _pad_constant(grad, (0,) * len(whole), whole, 0)
    return _conv_weight_grad(g, grad, kernel, stride, padding, dilation, groups)


_conv.vjp(
    input=lambda g, weight, stride, padding, dilation, groups, input_shape: _conv_input_grad(
        g, weight, None, input_shape[2:], stride, padding, dilation, groups
    ),
    weight=lambda g, input, stride, padding, dilation, groups, weight_shape: _conv_weight_grad(
        input, g, weight_shape[2:], stride, padding, dilation, groups
    ),
    bias=lambda g: _bias_grad(g),
)
_conv_weight_grad.vjp(
    input=lambda g, grad, stride, padding, dilation, groups, input_shape: _conv_input_grad(
        grad, g, None, input_shape[2:], stride, padding, dilation, groups
    ),
    grad=lambda g, input, stride, padding, dilation, groups: _conv(
        input, g, None, stride, padding, dilation, groups
    ),
)
_conv_input_grad.vjp(
    grad=lambda g, weight, stride, padding, dilation, groups, grad_shape: _transposed_to_grad(
        g, weight, stride, padding, dilation, groups, grad_shape
    ),
    weight=lambda g, grad, stride, padding, dilation, groups, weight_shape: _transposed_to_weight(
        g, grad, stride, padding, dilation, groups, weight_shape
    ),
    bias=lambda g: _bias_grad(g),
)


# ---- PyTorch's functions
def _tuple(name: str, value: Any, dims: int, op: str) -> Ints:
    if value.__class__ is int:
        return (value,) * dims
    try:
        found = tuple(int(v) for v in value) if hasattr(value, "__iter__") else (int(value),)
    except (TypeError, ValueError):
        raise ArgumentError(f"{op}: {name} must be an int or {dims} ints, got {value!r}") from None
    if len(found) == 1:
        return found * dims
    if len(found) != dims:
        raise ConvArgumentError(
            f"{op}: expected {name} to be a single integer value or a list of {dims} values, got {value}"
        )
    return found


def _arguments(
    op: str, dims: int, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[Ints, Ints, Ints, int]:
    s, p, d = (
        _tuple("stride", stride, dims, op),
        _tuple("padding", padding, dims, op),
        _tuple("dilation", dilation, dims, op),
    )
    if min(s) <= 0:
        raise ConvArgumentError(f"{op}: non-positive stride is not supported, got {stride}")
    if min(p) < 0:
        raise ConvArgumentError(f"{op}: negative padding is not supported, got {padding}")
    if min(d) <= 0:
        raise ConvArgumentError(f"{op}: dilation should be greater than zero, got {dilation}")
    if groups <= 0:
        raise ConvArgumentError(f"{op}: non-positive groups is not supported, got {groups}")
    return s, p, d, groups


def _run(
    dims: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Any:
    op = f"conv{dims}d"
    if isinstance(padding, str):
        input, padding = _by_name(op, dims, input, weight, stride, padding, dilation)
    s, p, d, groups = _arguments(op, dims, stride, padding, dilation, groups)
    if len(input._a.shape) == dims + 1:
        return _conv(input.unsqueeze(0), weight, bias, s, p, d, groups).squeeze(0)
    return _conv(input, weight, bias, s, p, d, groups)


def _by_name(
    op: str, dims: int, input: Any, weight: Any, stride: Any, padding: str, dilation: Any
) -> tuple[Any, Any]:
    """padding="same" or "valid" as an input, perhaps padded on one side, and numbers."""
    if padding == "valid":
        return input, 0
    if padding != "same":
        raise ConvArgumentError(
            f"{op}: padding must be an int, a tuple, 'same' or 'valid', got {padding!r}"
        )
    if any(s != 1 for s in _tuple("stride", stride, dims, op)):
        raise ConvArgumentError(f"{op}: padding='same' is not supported for strided convolutions")
    totals = [
        d * (k - 1) for k, d in zip(weight._a.shape[2:], _tuple("dilation", dilation, dims, op))
    ]
    if any(t % 2 for t in totals):
        extra: list[int] = []
        for t in reversed(totals):
            extra += [0, t % 2]
        input = fb.nn.functional.pad(input, extra)  # type: ignore[attr-defined]
    return input, tuple(t // 2 for t in totals)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) of (N, C, L) with (O, C / groups, K).

    Args: padding: numbers of zeros at both ends, "same" or "valid".
    Raises: ShapeError: channels or ranks do not fit, or the kernel is larger than the padded input.
    """
    return _run(1, input, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) of (N, C, H, W) with (O, C / groups, KH, KW).

    Args, Raises: as conv1d.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.conv2d(fb.ones(1, 1, 3, 3), fb.ones(1, 1, 2, 2))
        tensor([[[[4., 4.],
                  [4., 4.]]]])
    """
    return _run(2, input, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) of (N, C, D, H, W) with (O, C / groups, KD, KH, KW)."""
    return _run(3, input, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]


def _transposed(
    dims: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    extra: Any,
    groups: int,
    dilation: Any,
) -> Any:
    op = f"conv_transpose{dims}d"
    s, p, d, groups = _arguments(op, dims, stride, padding, dilation, groups)
    e = _tuple("output_padding", extra, dims, op)
    if any(x >= max(a, b) or x < 0 for x, a, b in zip(e, s, d)):
        raise ConvArgumentError(
            f"{op}: output padding must be smaller than either stride or dilation, got {extra}"
        )
    if len(input._a.shape) == dims + 1:
        return _transposed(dims, input.unsqueeze(0), weight, bias, s, p, e, groups, d).squeeze(0)
    if len(input._a.shape) != dims + 2 or len(weight._a.shape) != dims + 2:
        raise ShapeError(
            f"{op}: Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {op}, but got "
            f"{describe(input)} with "
            f"weight {describe(weight)}"
        )
    size = tuple(
        (n - 1) * a - 2 * b + _reach(k, c) + x
        for n, k, a, b, c, x in zip(input._a.shape[2:], weight._a.shape[2:], s, p, d, e)
    )
    if min(size) <= 0:
        raise ShapeError(
            f"{op}: Calculated output size {list(size)} is too small (input: {describe(input)})"
        )
    return _conv_input_grad(input, weight, bias, size, s, p, d, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, L) with (C, O / groups, K): the gradient of conv1d with respect to its input."""
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)  # type: ignore[no-any-return]


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, H, W) with (C, O / groups, KH, KW)."""
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)  # type: ignore[no-any-return]


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, D, H, W) with (C, O / groups, KD, KH, KW)."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)  # type: ignore[no-any-return]


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """conv1d of (time, batch, channels) with (kernel, in, out)."""
    x, w = input.permute(1, 2, 0), weight.permute(2, 1, 0)
    return conv1d(x, w, bias, padding=pad).permute(2, 0, 1)
