"""Pooling with windows of one size: maximum, mean, power mean, and the inverse of the maximum."""

from __future__ import annotations

import itertools
import math
from typing import Any

import flambeau as fb
from flambeau.errors import ShapeError
from flambeau.nn.functional._conv import ConvArgumentError, Ints, _tuple
from flambeau.nn.functional._fused import FusedNode, record
from flambeau.ops._op import op
from flambeau.ops._recover import no_room
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe, wrap


def _out_size(
    op: str, size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: bool
) -> Ints:
    out = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        span = n + 2 * p - d * (k - 1) - 1
        m = (-(-span // s) if ceil else span // s) + 1
        if ceil and (m - 1) * s >= n + p:
            m -= 1
        if m <= 0:
            raise ShapeError(
                f"{op}: Given input size per channel: {list(size)} and kernel {list(kernel)}, the output size "
                f"would be too "
                "small. Hint: a smaller kernel_size or stride, or padding"
            )
        out.append(m)
    return tuple(out)


def _arguments(
    op: str, dims: int, input: Any, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Ints, ...]:
    k = _tuple("kernel_size", kernel, dims, op)
    s = k if stride is None or stride == [] or stride == () else _tuple("stride", stride, dims, op)
    p, d = _tuple("padding", padding, dims, op), _tuple("dilation", dilation, dims, op)
    rank = len(input._a.shape)
    if rank not in (dims + 1, dims + 2):
        raise ShapeError(
            f"{op}: Expected {dims + 1}D or {dims + 2}D (batch mode) input, got {describe(input)}"
        )
    if min(k) <= 0 or min(s) <= 0:
        raise ConvArgumentError(
            f"{op}: kernel_size and stride must be greater than zero, got {kernel} and {stride}"
        )
    if any(2 * a > b for a, b in zip(p, k)) or min(p) < 0:
        raise ConvArgumentError(
            f"{op}: pad should be at most half of effective kernel size, but got pad={max(p)} and kernel_size={k}"
        )
    if min(d) <= 0:
        raise ConvArgumentError(f"{op}: dilation should be greater than zero, got {dilation}")
    return k, s, p, d


class MaxPoolWithIndicesBackward0(FusedNode):
    """Node of a maximum pooling."""

    __slots__ = ()

    def backward(self, g: Any, inputs: Any, kept: Any, needs: Any) -> Any:
        """Every gradient goes to the element that was the maximum."""
        return (self.kind.k["max_pool_backward"](g._a, inputs[0]._a, kept[0], *self.attrs),)

    def again(self, g: Any, inputs: Any) -> Any:
        """By positions, which is differentiable."""
        shape = inputs[0]._a.shape
        lead, size = shape[: -len(self.attrs[0])], shape[-len(self.attrs[0]) :]
        m = g._kind
        at: Any = wrap(m.k["pool_indices"](inputs[0]._a, self.saved[2][0], *self.attrs), m.int64)
        zeros: Any = fb.zeros((*lead, math.prod(size)), dtype=g.dtype, device=g.device)
        flat = zeros.scatter_add(len(lead), at.reshape((*lead, -1)), g.reshape((*lead, -1)))
        return (flat.reshape(shape),)


def _max_pool(
    dims: int,
    input: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
    want: bool,
) -> Any:
    op = f"max_pool{dims}d"
    k, s, p, d = _arguments(op, dims, input, kernel, stride, padding, dilation)
    size = input._a.shape[-dims:]
    out = _out_size(op, size, k, s, p, d, ceil)
    m = input._kind
    if m.k["max_pool"] is None:
        return _max_by_parts(input, out, k, s, p, d, want)
    try:
        native = m.k["max_pool"](input._a, out, k, s, p, d)
    except MemoryError as error:
        raise no_room(op, m, error) from None
    y = wrap(native, m)
    n = record(MaxPoolWithIndicesBackward0, y, (input,), (native,))
    if n is not None:
        n.attrs = (k, s, p, d)
    if not want:
        return y
    return y, wrap(m.k["pool_indices"](input._a, native, k, s, p, d), m.int64)


def _max_by_parts(x: Any, out: Ints, k: Ints, s: Ints, p: Ints, d: Ints, want: bool) -> Any:
    """Maximum pooling in public operations, for devices without the kernel."""
    size = x._a.shape[-len(out) :]
    at = _positions(size, out, k, s, p, d)
    inside = fb.tensor(at >= 0, device=x.device)
    index = fb.tensor(at.clip(0), device=x.device)
    flat = x.reshape((*x._a.shape[: -len(out)], -1))
    picked = fb.where(inside, flat[..., index], float("-inf"))
    y, which = picked.max(-1)
    shape = (*x._a.shape[: -len(out)], *out)
    y = y.reshape(shape)
    if not want:
        return y
    spread = index.expand((*which._a.shape, index._a.shape[-1]))
    return y, spread.gather(-1, which.unsqueeze(-1)).reshape(shape)


def _positions(size: Ints, out: Ints, k: Ints, s: Ints, p: Ints, d: Ints) -> Any:
    """Flat input positions (output positions, kernel positions); -1 in the padding."""
    import numpy as np

    flat = np.zeros((1, 1), np.int64)
    valid = np.ones((1, 1), np.bool_)
    for n, o, kk, ss, pp, dd in zip(size, out, k, s, p, d):
        at = np.arange(o)[:, None] * ss - pp + np.arange(kk)[None] * dd
        flat = (flat[:, None, :, None] * n + at[None, :, None, :]).reshape(flat.shape[0] * o, -1)
        ok = (at >= 0) & (at < n)
        valid = (valid[:, None, :, None] & ok[None, :, None, :]).reshape(flat.shape)
    return np.where(valid, flat, -1)


def _published(dims: int) -> Any:
    def max_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return _max_pool(
            dims, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
        )

    def with_indices(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return _max_pool(dims, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    max_pool.__name__ = max_pool.__qualname__ = f"max_pool{dims}d"
    with_indices.__name__ = with_indices.__qualname__ = f"max_pool{dims}d_with_indices"
    max_pool.__doc__ = f"""Largest element of each window, over the last {dims} dimensions.

    Args: stride: kernel_size if None.  padding: of -inf.  return_indices: also the flat positions of the maxima.
    Raises: ShapeError: the rank does not fit, or the output would be empty.
    """
    with_indices.__doc__ = f"max_pool{dims}d and the flat positions of the maxima."
    return max_pool, with_indices


max_pool1d, max_pool1d_with_indices = _published(1)
max_pool2d, max_pool2d_with_indices = _published(2)
max_pool3d, max_pool3d_with_indices = _published(3)


# ---- means
def _avg_shape(x: Shape, windows: Ints, *rest: Any) -> Shape:
    return (*x[: -len(windows)], *windows)


@op(shape=_avg_shape, kernel="avg_pool", node="AvgPoolBackward0")
def _avg_pool(
    input: Tensor,
    windows: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    include: bool,
    divisor: int,
) -> Tensor:
    """Mean over windows."""
    ones = (1,) * len(kernel)
    at = _positions(input._a.shape[-len(windows) :], windows, kernel, stride, padding, ones)
    x: Any = input
    flat = x.reshape((*x._a.shape[: -len(windows)], -1))
    inside = fb.tensor(at >= 0, device=x.device)
    total = fb.where(inside, flat[..., fb.tensor(at.clip(0), device=x.device)], 0.0).sum(-1)
    counts = _counts(
        x._a.shape[-len(windows) :], windows, kernel, stride, padding, include, divisor
    )
    scale = fb.tensor(1.0 / counts, dtype=x.dtype, device=x.device)
    return (total * scale).reshape((*x._a.shape[: -len(windows)], *windows))  # type: ignore[no-any-return]


def _counts(
    size: Ints, out: Ints, kernel: Ints, stride: Ints, padding: Ints, include: bool, divisor: int
) -> Any:
    import numpy as np

    total = np.ones(1)
    for n, o, k, s, p in zip(size, out, kernel, stride, padding):
        start = np.arange(o) * s - p
        end = np.minimum(start + k, n + p)
        count = end - start if include else np.minimum(end, n) - np.maximum(start, 0)
        total = np.multiply.outer(total, count)
    return np.full(math.prod(out), float(divisor)) if divisor else total.reshape(-1)


@op(
    shape=lambda g, size, *rest: (*g[: -len(size)], *size),
    kernel="avg_pool_backward",
    node="AvgPoolBackwardBackward0",
)
def _avg_pool_backward(
    grad: Tensor, size: Ints, kernel: Ints, stride: Ints, padding: Ints, include: bool, divisor: int
) -> Tensor:
    """Each gradient shared out over its window."""
    g: Any = grad
    out, lead = g._a.shape[-len(size) :], g._a.shape[: -len(size)]
    counts = _counts(size, out, kernel, stride, padding, include, divisor)
    share = g.reshape((*lead, -1)) * fb.tensor(1.0 / counts, dtype=g.dtype, device=g.device)
    whole = fb.zeros(
        (
            *lead,
            *(
                max(n + 2 * p, (o - 1) * s + k)
                for n, p, o, s, k in zip(size, padding, out, stride, kernel)
            ),
        ),
        dtype=g.dtype,
        device=g.device,
    )
    share = share.reshape((*lead, *out))
    for position in itertools.product(*(range(k) for k in kernel)):
        whole[
            (..., *(slice(a, a + s * (o - 1) + 1, s) for a, s, o in zip(position, stride, out)))
        ] += share
    return whole[(..., *(slice(p, p + n) for p, n in zip(padding, size)))].clone()


_avg_pool.vjp(
    input=lambda g, kernel, stride, padding, include, divisor, input_shape: _avg_pool_backward(
        g, input_shape[-len(kernel) :], kernel, stride, padding, include, divisor
    )
)
_avg_pool_backward.vjp(
    grad=lambda g, kernel, stride, padding, include, divisor, grad_shape: _avg_pool(
        g, grad_shape[-len(kernel) :], kernel, stride, padding, include, divisor
    )
)


def _mean_pool(
    dims: int,
    input: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil: bool,
    include: bool,
    divisor: Any,
) -> Any:
    op = f"avg_pool{dims}d"
    k, s, p, d = _arguments(op, dims, input, kernel, stride, padding, 1)
    if divisor == 0:
        raise ConvArgumentError(f"{op}: divisor must be not zero")
    out = _out_size(op, input._a.shape[-dims:], k, s, p, d, ceil)
    return _avg_pool(input, out, k, s, p, bool(include), divisor or 0)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window over the last dimension."""
    return _mean_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)  # type: ignore[no-any-return]


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Tensor:
    """Mean of each window over the last two dimensions.

    Args: count_include_pad: zeros of the padding count.  divisor_override: divides instead of the count.
    """
    return _mean_pool(  # type: ignore[no-any-return]
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Tensor:
    """Mean of each window over the last three dimensions."""
    return _mean_pool(  # type: ignore[no-any-return]
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _power_pool(dims: int, input: Any, p: float, kernel: Any, stride: Any, ceil: bool) -> Any:
    k = _tuple("kernel_size", kernel, dims, f"lp_pool{dims}d")
    mean = _mean_pool(dims, input.pow(p), k, stride, 0, ceil, True, None)
    return (mean.sign() * mean.abs().relu() * math.prod(k)).pow(1.0 / p)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^p over each window)^(1/p), over the last dimension."""
    return _power_pool(1, input, norm_type, kernel_size, stride, ceil_mode)  # type: ignore[no-any-return]


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^p over each window)^(1/p), over the last two dimensions."""
    return _power_pool(2, input, norm_type, kernel_size, stride, ceil_mode)  # type: ignore[no-any-return]


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^p over each window)^(1/p), over the last three dimensions."""
    return _power_pool(3, input, norm_type, kernel_size, stride, ceil_mode)  # type: ignore[no-any-return]


# ---- the inverse
def _unpool_size(
    op: str, dims: int, input: Any, k: Ints, s: Ints, p: Ints, output_size: Any
) -> Ints:
    default = tuple((n - 1) * b + a - 2 * c for n, a, b, c in zip(input._a.shape[-dims:], k, s, p))
    if output_size is None:
        return default
    given = tuple(output_size)[-dims:]
    if len(tuple(output_size)) not in (dims, dims + 2, dims + 1):
        raise ConvArgumentError(
            f"{op}: output_size should have {dims} or {dims + 2} elements, got {output_size}"
        )
    for n, m, b in zip(given, default, s):
        if not m - b < n < m + b:
            raise ConvArgumentError(
                f"{op}: invalid output_size {list(given)} (each must be within the stride of {list(default)})"
            )
    return given


def _unpool(
    dims: int, input: Any, indices: Any, kernel: Any, stride: Any, padding: Any, output_size: Any
) -> Any:
    op = f"max_unpool{dims}d"
    k = _tuple("kernel_size", kernel, dims, op)
    s = k if stride is None else _tuple("stride", stride, dims, op)
    p = _tuple("padding", padding, dims, op)
    if input._a.shape != indices._a.shape:
        raise ShapeError(
            f"{op}: Expected shape of indices to be same as that of the input tensor, got {describe(indices)} "
            f"and {describe(input)}"
        )
    size = _unpool_size(op, dims, input, k, s, p, output_size)
    lead = input._a.shape[:-dims]
    zeros = fb.zeros((*lead, math.prod(size)), dtype=input.dtype, device=input.device)
    flat = zeros.scatter(len(lead), indices.reshape((*lead, -1)), input.reshape((*lead, -1)))
    return flat.reshape((*lead, *size))


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Puts maxima back where max_pool1d found them, zeros elsewhere."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Puts maxima back where max_pool2d found them, zeros elsewhere."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Puts maxima back where max_pool3d found them, zeros elsewhere."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]
