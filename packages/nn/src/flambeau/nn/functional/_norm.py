"""Normalisations."""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau.autograd.inplace import bump
from flambeau.errors import FlambeauError, ShapeError
from flambeau.nn.functional._fused import FusedNode, record
from flambeau.ops._recover import common_device, no_room
from flambeau.tensor import Tensor, describe, wrap


class NormArgumentError(FlambeauError, ValueError, RuntimeError):
    """Statistics that cannot be computed, or groups that do not divide the channels."""


class NativeLayerNormBackward0(FusedNode):
    """Node of layer_norm, rms_norm and group_norm."""

    __slots__ = ()

    def backward(self, g: Any, inputs: Any, kept: Any, needs: Any) -> Any:
        """By the kernel; weight and bias come back flat."""
        _, weight, bias = inputs
        xhat, rstd = kept
        rows, layout, _, centred = self.attrs
        k = self.kind.k
        w = None if weight is None else weight._a
        gx, gw, gb = k["normalize_backward"](g._a, xhat, rstd, w, rows, layout, centred, needs)
        if weight is not None and gw is not None:
            gw = k["view"](gw, weight._a.shape)
        if bias is not None and gb is not None:
            gb = k["view"](gb, bias._a.shape)
        return gx, gw, gb

    def composite(self, x: Any, weight: Any, bias: Any) -> Any:
        """In differentiable operations."""
        rows, layout, eps, centred = self.attrs
        return _normalize_composite(x, weight, bias, rows, layout, eps, centred)


def _normalize_composite(
    x: Any, weight: Any, bias: Any, rows: int, layout: Any, eps: float, centred: bool
) -> Any:
    flat = x.reshape(rows, -1) if x.numel() else x.reshape(rows, 0)
    if centred:
        flat = flat - flat.mean(1, keepdim=True)
    y = (flat * ((flat * flat).mean(1, keepdim=True) + eps).rsqrt()).reshape(layout)
    if weight is not None:
        y = y * weight.reshape(-1, 1)
    if bias is not None:
        y = y + bias.reshape(-1, 1)
    return y.reshape(x._a.shape)


def _normalize(
    x: Any, weight: Any, bias: Any, rows: int, layout: Any, eps: float, centred: bool
) -> Any:
    m = x._kind
    if (
        m.k["normalize"] is None
        or m.inexact is None
        or (weight is not None and weight._kind is not m)
        or (bias is not None and bias._kind is not m)
    ):
        return _normalize_composite(x, weight, bias, rows, layout, eps, centred)
    try:
        native, xhat, rstd = m.k["normalize"](
            x._a,
            None if weight is None else weight._a,
            None if bias is None else bias._a,
            rows,
            layout,
            eps,
            centred,
        )
    except MemoryError as error:
        raise no_room("normalize", m, error) from None
    y = wrap(native, m)
    n = record(NativeLayerNormBackward0, y, (x, weight, bias), (xhat, rstd))
    if n is not None:
        n.attrs = (rows, layout, eps, centred)
    return y


def _rows(
    op: str, input: Any, normalized_shape: Any, weight: Any, bias: Any
) -> tuple[int, tuple[int, ...]]:
    last = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not last:
        raise NormArgumentError(
            f"{op}: Expected normalized_shape to be at least 1-dimensional, got {normalized_shape}"
        )
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._a.shape != last:
            raise ShapeError(
                f"{op}: Expected {name} to be of same shape as normalized_shape {list(last)}, got {describe(t)}"
            )
    shape = input._a.shape
    if shape[-len(last) :] != last:
        raise ShapeError(
            f"{op}: Given normalized_shape={list(last)}, expected input with shape [*, "
            f"{', '.join(map(str, last))}], but got "
            f"input of size{list(shape)} ({describe(input)}). Hint: LayerNorm({shape[-1] if shape else 1})"
        )
    rows = math.prod(shape[: -len(last)])
    return rows, (rows, math.prod(last), 1)


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The last axes to zero mean and unit variance, then scale and shift.

    y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias

    Raises: ShapeError: input does not end with normalized_shape.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.layer_norm(fb.tensor([[1.0, 3.0]]), (2,), eps=0.0)
        tensor([[-1.,  1.]])
    """
    rows, layout = _rows("layer_norm", input, normalized_shape, weight, bias)
    return _normalize(input, weight, bias, rows, layout, eps, True)  # type: ignore[no-any-return]


def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """The last axes to unit mean square: x / sqrt(mean(x^2) + eps) * weight. Reference: Zhang, Sennrich 2019."""
    rows, layout = _rows("rms_norm", input, normalized_shape, weight, None)
    if eps is None:
        # of float32 for 16-bit floats too, in which PyTorch does not compute either
        eps = fb.finfo(fb.promote_types(input.dtype, fb.float32)).eps
    return _normalize(input, weight, None, rows, layout, eps, False)  # type: ignore[no-any-return]


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each sample's channels, in num_groups groups, to zero mean and unit variance. Reference: Wu, He 2018.

    Raises: NormArgumentError: num_groups does not divide the channels.  ShapeError: fewer than two dimensions.
    """
    shape = input._a.shape
    if len(shape) < 2:
        raise ShapeError(
            f"group_norm: Expected at least 2 dimensions for input tensor but received {describe(input)}"
        )
    n, c = shape[:2]
    if num_groups <= 0 or c % num_groups:
        raise NormArgumentError(
            f"group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(shape)} and num_groups={num_groups}"
        )
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._a.shape != (c,):
            raise ShapeError(
                f"group_norm: Expected {name} to be a vector of size {c}, but got {describe(t)}"
            )
    layout = (n, c, math.prod(shape[2:]))
    if layout[2] == 1:
        layout = (n, c, 1)
    return _normalize(input, weight, bias, n * num_groups, layout, eps, True)  # type: ignore[no-any-return]


# ---- batch
class NativeBatchNormBackward0(FusedNode):
    """Node of batch_norm in training."""

    __slots__ = ()

    def backward(self, g: Any, inputs: Any, kept: Any, needs: Any) -> Any:
        """By the kernel."""
        weight = inputs[1]
        xhat, rstd = kept
        layout, _ = self.attrs
        w = None if weight is None else weight._a
        return self.kind.k["batch_norm_backward"](g._a, xhat, rstd, w, layout, needs)

    def composite(self, x: Any, weight: Any, bias: Any) -> Any:
        """In differentiable operations."""
        return _batch_composite(x, weight, bias, *self.attrs)[0]


def _batch_composite(x: Any, weight: Any, bias: Any, layout: Any, eps: float) -> Any:
    shaped = x.reshape(layout)
    mean = shaped.mean((0, 2), keepdim=True)
    centred = shaped - mean
    var = (centred * centred).mean((0, 2), keepdim=True)
    y = centred * (var + eps).rsqrt()
    if weight is not None:
        y = y * weight.reshape(-1, 1)
    if bias is not None:
        y = y + bias.reshape(-1, 1)
    return y.reshape(x._a.shape), mean.detach().reshape(-1), var.detach().reshape(-1)


def _check_batch(op: str, x: Any, **vectors: Any) -> Any:
    shape = x._a.shape
    if len(shape) < 2:
        raise ShapeError(f"{op}: expected at least (N, C), got {describe(x)}")
    for name, t in vectors.items():
        if t is not None and t._a.shape != (shape[1],):
            raise ShapeError(
                f"{op}: {name} should contain {shape[1]} elements not {t.numel()} (input: {describe(x)}). "
                f"Hint: num_features={shape[1]}"
            )
    return (shape[0], shape[1], math.prod(shape[2:]))


def _batch_fused(x: Any, weight: Any, bias: Any, layout: Any, eps: float) -> Any:
    m = x._kind
    try:
        native, xhat, rstd, mean, var = m.k["batch_norm"](
            x._a,
            None if weight is None else weight._a,
            None if bias is None else bias._a,
            layout,
            eps,
        )
    except MemoryError as error:
        raise no_room("batch_norm", m, error) from None
    y = wrap(native, m)
    n = record(NativeBatchNormBackward0, y, (x, weight, bias), (xhat, rstd))
    if n is not None:
        n.attrs = (layout, eps)
    return y, mean, var


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of (N, C, ...) to zero mean and unit variance over the batch, or by running statistics.

    In training the running statistics move by `momentum` towards the batch's, in place. Reference: Ioffe, Szegedy 2015.

    Raises: NormArgumentError: one value per channel in training.  ShapeError: channels do not fit.
    """
    x: Any = input
    if len(x._a.shape) == 1 and not x.numel():
        return x.clone()  # type: ignore[no-any-return]
    layout = _check_batch(
        "batch_norm",
        x,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
    )
    if not training:
        if running_mean is None or running_var is None:
            raise NormArgumentError(
                "batch_norm: Expected running_mean and running_var to be defined when training=False"
            )
        return _by_statistics(x, running_mean, running_var, weight, bias, eps)  # type: ignore[no-any-return]
    count = layout[0] * layout[2]
    if count == 1:
        raise NormArgumentError(
            f"batch_norm: Expected more than 1 value per channel when training, got input size {x.shape}"
        )
    m = x._kind
    if (
        m.k["batch_norm"] is None
        or (weight is not None and weight._kind is not m)
        or (bias is not None and bias._kind is not m)
    ):
        y, mean, var = _batch_composite(x, weight, bias, layout, eps)
        mean, var = mean._a, var._a
    else:
        y, mean, var = _batch_fused(x, weight, bias, layout, eps)
    try:
        if running_mean is not None:
            _follow(running_mean, mean, momentum, 1.0)
        if running_var is not None:
            _follow(running_var, var, momentum, count / (count - 1) if count > 1 else 1.0)
    except Exception:
        common_device("batch_norm", [t for t in (x, running_mean, running_var) if t is not None])
        raise
    return y  # type: ignore[no-any-return]


def _follow(running: Any, native: Any, momentum: float, factor: float) -> None:
    kernel = running._kind.k["blend_"]
    if kernel is None:
        with fb.no_grad():
            running.mul_(1 - momentum).add_(wrap(native, running._kind) * (momentum * factor))
        return
    kernel(running._a, native, momentum, factor)
    bump(running)


def _by_statistics(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    scale = (var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = (-1, *(1,) * (len(x._a.shape) - 2))
    return x * scale.reshape(shape) + shift.reshape(shape)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample to zero mean and unit variance. Reference: Ulyanov et al. 2016."""
    x: Any = input
    n, c, inner = _check_batch(
        "instance_norm",
        x,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
    )
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise NormArgumentError(
                "instance_norm: Expected running_mean and running_var to be defined when use_input_stats=False"
            )
        return _by_statistics(x, running_mean, running_var, weight, bias, eps)  # type: ignore[no-any-return]
    if inner == 1:
        raise NormArgumentError(
            f"instance_norm: Expected more than 1 spatial element when training, got input size {x.shape}"
        )
    if running_mean is not None and running_var is not None:
        with fb.no_grad():
            flat = x.detach().reshape(n, c, inner)
            _follow(running_mean, flat.mean((0, 2))._a, momentum, 1.0)
            _follow(running_var, flat.var(2).mean(0)._a, momentum, 1.0)
    return _normalize(x, weight, bias, n * c, (n, c, inner), eps, True)  # type: ignore[no-any-return]


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta. Reference: Krizhevsky et al. 2012."""
    x: Any = input
    if len(x._a.shape) < 3:
        raise NormArgumentError(
            f"local_response_norm: Expected 3D or higher dimensionality input, got {describe(x)}"
        )
    if not x.numel():
        return input
    n, c = x._a.shape[:2]
    square = (x * x).reshape(n, 1, c, -1)
    padded = fb.nn.functional.pad(square, (0, 0, size // 2, (size - 1) // 2))  # type: ignore[attr-defined]
    mean = fb.nn.functional.avg_pool2d(padded, (size, 1), stride=1)  # type: ignore[attr-defined]
    return x / (mean.reshape(x._a.shape) * alpha + k).pow(beta)  # type: ignore[no-any-return]


def normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None
) -> Tensor:
    """input over its p-norm along dim: x / max(||x||_p, eps)."""
    x: Any = input
    size = (
        fb.linalg.vector_norm(x, p, dim, keepdim=True)  # type: ignore[attr-defined]
        if not hasattr(x, "norm")
        else x.norm(p, dim, keepdim=True)
    )
    return fb.div(x, size.clamp_min(eps).expand_as(x), out=out)
