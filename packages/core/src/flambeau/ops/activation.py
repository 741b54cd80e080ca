"""Softmax and activation functions, each one node of the tape; `nn.functional` adds its own spelling to them."""

from __future__ import annotations

import math
from typing import Any

from flambeau.errors import ArgumentError, ShapeError
from flambeau.ops._op import broadcast, op, same
from flambeau.ops._public import Public, inplace_variant
from flambeau.ops.casting import convert
from flambeau.ops.composite import clamp_max
from flambeau.ops.elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    div,
    erf,
    exp,
    expm1,
    ge,
    gt,
    le,
    log,
    log1p,
    lt,
    maximum,
    minimum,
    mul,
    neg,
    rsub,
    sigmoid,
    sub,
    tanh,
    where,
)
from flambeau.ops.movement import narrow, reshape
from flambeau.ops.reduce import reduce_sum
from flambeau.shape import wrap_dim
from flambeau.tensor import Tensor, describe


def _drop(g: Tensor, mask: Tensor) -> Tensor:
    """g, and 0 where mask holds; nan belongs to the part that stays wherever a mask is a comparison."""
    return where(bitwise_not(mask), g, 0)


# ---- softmax
@op(shape=same, dtype="floating", kernel="softmax", whole=True, node="SoftmaxBackward0")
def _softmax(input: Tensor, dim: int) -> Tensor:
    e = exp(sub(input, _largest(input, dim)))
    return div(e, _total(e, dim))


@op(shape=same, dtype="floating", kernel="log_softmax", whole=True, node="LogSoftmaxBackward0")
def _log_softmax(input: Tensor, dim: int) -> Tensor:
    z = sub(input, _largest(input, dim))
    return sub(z, log(_total(exp(z), dim)))


@op(
    shape=same,
    dtype="floating",
    kernel="softmax_backward",
    whole=True,
    node="SoftmaxBackwardBackward0",
)
def _softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    return mul(y, sub(grad, _total(mul(grad, y), dim)))


@op(
    shape=same,
    dtype="floating",
    kernel="log_softmax_backward",
    whole=True,
    node="LogSoftmaxBackwardBackward0",
)
def _log_softmax_backward(grad: Tensor, y: Tensor, dim: int) -> Tensor:
    return sub(grad, mul(exp(y), _total(grad, dim)))


def _largest(input: Tensor, dim: int) -> Tensor:
    from flambeau.ops.extremes import reduce_max

    return reduce_max(input, (dim,) if input._a.shape else None, True) if input.numel() else input


def _total(input: Tensor, dim: int) -> Tensor:
    return reduce_sum(input, (dim,) if input._a.shape else None, True)


_softmax.vjp(input=lambda g, y, dim: _softmax_backward(g, y, dim))
_softmax_backward.vjp(
    grad=lambda g, y, dim: _softmax_backward(g, y, dim),
    y=lambda g, grad, y, dim: sub(
        mul(g, sub(grad, _total(mul(grad, y), dim))), mul(grad, _total(mul(g, y), dim))
    ),
)
_log_softmax.vjp(input=lambda g, y, dim: _log_softmax_backward(g, y, dim))
_log_softmax_backward.vjp(
    grad=lambda g, y, dim: sub(g, _total(mul(g, exp(y)), dim)),
    y=lambda g, grad, y, dim: neg(mul(mul(g, exp(y)), _total(grad, dim))),
)


def softmax(input: Tensor, dim: int, dtype: Any = None, *, out: Tensor | None = None) -> Tensor:
    """exp(x) over the sum of exp(x) along dim: positive numbers that add up to 1.

    Args:
        input: floating-point, any shape.
        dim: the dimension that adds up to 1.
        dtype: convert input to it first.
        out: where to put the result.
    Raises: IndexRangeError: there is no such dimension.  DTypeError: integers and no dtype given.

    Example:
        >>> import flambeau as fb
        >>> fb.softmax(fb.tensor([0.0, 0.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    if dtype is not None:
        input = convert(input, input._kind.of(dtype))
    return _softmax(input, _dim("softmax", input, dim), out=out)


def log_softmax(input: Tensor, dim: int, dtype: Any = None, *, out: Tensor | None = None) -> Tensor:
    """The logarithm of softmax, computed without leaving the range: x - log(sum(exp(x))) along dim.

    Args, Raises: as for softmax.
    """
    if dtype is not None:
        input = convert(input, input._kind.of(dtype))
    return _log_softmax(input, _dim("log_softmax", input, dim), out=out)


def _dim(name: str, input: Tensor, dim: Any) -> int:
    if dim.__class__ is not int:
        raise ArgumentError(
            f"{name}(): argument 'dim' must be int, not {type(dim).__name__}. Hint: {name}(x, dim=-1)"
        )
    return wrap_dim(dim, len(input._a.shape), name)


# ---- smooth
_PHI, _ROOT_2_PI = math.sqrt(0.5), math.sqrt(2 / math.pi)
_CUBIC = 0.044715


@op(dtype="floating", kernel="gelu", node="GeluBackward0")
def _gelu(input: Tensor, approximate: str) -> Tensor:
    return mul(mul(input, 0.5), add(_bell(input, approximate), 1))


def _bell(x: Tensor, approximate: str) -> Tensor:
    """erf(x / sqrt 2) or its approximation by tanh."""
    if approximate == "tanh":
        return tanh(mul(mul(x, add(mul(mul(x, x), _CUBIC), 1)), _ROOT_2_PI))
    return erf(mul(x, _PHI))


def _density(x: Tensor) -> Tensor:
    """The normal distribution's density."""
    return mul(exp(mul(mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))


@op(shape=broadcast, dtype="floating", node="GeluBackwardBackward0")
def gelu_backward(grad: Tensor, input: Tensor, approximate: str) -> Tensor:
    """grad times the derivative of gelu."""
    t = _bell(input, approximate)
    if approximate == "tanh":
        inner = mul(add(mul(mul(input, input), 3 * _CUBIC), 1), _ROOT_2_PI)
        slope = mul(mul(mul(input, 0.5), rsub(mul(t, t), 1)), inner)
    else:
        slope = mul(input, _density(input))
    return mul(grad, add(mul(add(t, 1), 0.5), slope))


def _gelu_curvature(x: Tensor, approximate: str) -> Tensor:
    """The second derivative of gelu."""
    if approximate == "none":
        return mul(_density(x), rsub(mul(x, x), 2))
    t = _bell(x, approximate)
    du = mul(add(mul(mul(x, x), 3 * _CUBIC), 1), _ROOT_2_PI)
    bend = sub(mul(x, 6 * _CUBIC * _ROOT_2_PI), mul(mul(mul(du, du), t), 2))
    return mul(rsub(mul(t, t), 1), add(du, mul(mul(x, 0.5), bend)))


_gelu.vjp(input=lambda g, input, approximate: gelu_backward(g, input, approximate))
gelu_backward.vjp(
    grad=lambda g, input, approximate: gelu_backward(g, input, approximate),
    input=lambda g, grad, input, approximate: mul(
        mul(g, grad), _gelu_curvature(input, approximate)
    ),
)


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x.

    Args:
        input: floating-point, any shape.
        approximate: "none": by the error function; "tanh": 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
    Raises: ArgumentError: another approximation.  DTypeError: integers.
    Reference: Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(
            f"gelu: approximate argument must be either none or tanh, got {approximate!r}"
        )
    return _gelu(input, approximate)


@op(dtype="floating")
def silu(input: Tensor) -> Tensor:
    """x * sigmoid(x), also called swish.

    Reference: Elfwing, Uchibe, Doya 2017, arXiv:1702.03118.
    """
    return div(input, add(exp(neg(input)), 1))


@op(shape=broadcast, dtype="floating", node="SiluBackwardBackward0")
def silu_backward(grad: Tensor, input: Tensor) -> Tensor:
    """grad times the derivative of silu."""
    s = sigmoid(input)
    return mul(grad, mul(s, add(mul(input, rsub(s, 1)), 1)))


def _silu_curvature(x: Tensor) -> Tensor:
    s = sigmoid(x)
    return mul(mul(s, rsub(s, 1)), add(mul(x, rsub(mul(s, 2), 1)), 2))


silu.vjp(input=lambda g, input: silu_backward(g, input))
silu_backward.vjp(
    grad=lambda g, input: silu_backward(g, input),
    input=lambda g, grad, input: mul(mul(g, grad), _silu_curvature(input)),
)


@op(dtype="floating")
def mish(input: Tensor) -> Tensor:
    """x * tanh(softplus(x)).

    Reference: Misra 2019, arXiv:1908.08681.
    """
    return mul(input, tanh(_softplus(input, 1.0, 20.0)))


def _mish_back(g: Tensor, input: Tensor) -> Tensor:
    t = tanh(_softplus(input, 1.0, 20.0))
    return mul(g, add(t, mul(mul(input, sigmoid(input)), rsub(mul(t, t), 1))))


mish.vjp(input=_mish_back)


@op(dtype="floating", kernel="softplus", node="SoftplusBackward0")
def _softplus(input: Tensor, beta: float, threshold: float) -> Tensor:
    z = mul(input, beta)
    smooth = add(maximum(z, 0), log1p(exp(neg(abs(z)))))
    return where(gt(z, threshold), input, div(smooth, beta))


def _softplus_back(g: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
    z = mul(input, beta)
    return where(gt(z, threshold), g, mul(g, sigmoid(z)))


_softplus.vjp(input=_softplus_back)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold."""
    return _softplus(input, beta, threshold)


@op(dtype="floating", node="LogSigmoidBackward0")
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    return sub(minimum(input, 0), log1p(exp(neg(abs(input)))))


logsigmoid.vjp(input=lambda g, input: mul(g, sigmoid(neg(input))))


@op(dtype="floating", kernel="elu", node="EluBackward0")
def _elu(input: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    low = mul(expm1(mul(minimum(input, 0), input_scale)), alpha * scale)
    return add(low, mul(maximum(input, 0), scale))


def _elu_back(g: Tensor, input: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    slope = mul(exp(mul(clamp_max(input, 0), input_scale)), alpha * scale * input_scale)
    return mul(g, where(le(input, 0), slope, scale))


_elu.vjp(input=_elu_back)


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1).

    Reference: Clevert, Unterthiner, Hochreiter 2015, arXiv:1511.07289.
    """
    return _elu(input, alpha, 1.0, 1.0)


def selu(input: Tensor) -> Tensor:
    """elu scaled so that layers keep mean 0 and variance 1: scale = 1.0507009873554805, alpha = 1.6732632423543772.

    Reference: Klambauer et al. 2017, arXiv:1706.02515.
    """
    return _elu(input, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x / alpha) - 1).

    Raises: ArgumentError: alpha is 0.
    Reference: Barron 2017, arXiv:1704.07483.
    """
    if alpha == 0:
        raise ArgumentError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, alpha, 1.0, 1.0 / alpha)


# ---- piecewise linear
@op(dtype="floating")
def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return where(gt(input, 0), input, mul(input, negative_slope))


leaky_relu.vjp(
    input=lambda g, input, negative_slope: where(gt(input, 0), g, mul(g, negative_slope))
)


@op(kernel="hardtanh")
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to [min_val, max_val]; the gradient at the limits is 0."""
    return minimum(maximum(input, min_val), max_val)


hardtanh.vjp(
    input=lambda g, input, min_val, max_val: _drop(
        g, bitwise_or(le(input, min_val), ge(input, max_val))
    )
)


def relu6(input: Tensor) -> Tensor:
    """x limited to [0, 6]."""
    return hardtanh(input, 0.0, 6.0)


@op(dtype="floating")
def hardsigmoid(input: Tensor) -> Tensor:
    """x / 6 + 1 / 2 limited to [0, 1]."""
    return mul(minimum(maximum(add(input, 3), 0), 6), 1 / 6)


hardsigmoid.vjp(
    input=lambda g, input: where(bitwise_and(gt(input, -3), lt(input, 3)), mul(g, 1 / 6), 0)
)


@op(dtype="floating")
def hardswish(input: Tensor) -> Tensor:
    """x * hardsigmoid(x).

    Reference: Howard et al. 2019, arXiv:1905.02244.
    """
    return mul(input, hardsigmoid(input))


hardswish.vjp(
    input=lambda g, input: mul(
        g, _drop(where(lt(input, 3), add(mul(input, 1 / 3), 0.5), 1), le(input, -3))
    )
)


@op(dtype="floating")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 within [-lambd, lambd], x outside."""
    return _drop(input, le(abs(input), lambd))


hardshrink.vjp(input=lambda g, input, lambd: _drop(g, le(abs(input), lambd)))


@op(dtype="floating", kernel="softshrink", node="SoftshrinkBackward0")
def _softshrink(input: Tensor, lambd: float) -> Tensor:
    return sub(input, minimum(maximum(input, -lambd), lambd))


_softshrink.vjp(input=lambda g, input, lambd: _drop(g, le(abs(input), lambd)))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 within [-lambd, lambd].

    Raises: ArgumentError: lambd is negative.
    """
    if lambd < 0:
        raise ArgumentError(
            f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}."
        )
    return _softshrink(input, lambd)


@op()
def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else value."""
    return where(bitwise_not(le(input, threshold)), input, value)


threshold.vjp(input=lambda g, input, threshold: _drop(g, le(input, threshold)))


@op(shape=broadcast, dtype="floating", kernel="prelu", node="PreluKernelBackward0")
def _prelu(input: Tensor, weight: Tensor) -> Tensor:
    return where(gt(input, 0), input, mul(input, weight))


_prelu.vjp(
    input=lambda g, input, weight: where(gt(input, 0), g, mul(g, weight)),
    weight=lambda g, input: _drop(mul(g, input), gt(input, 0)),
)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x, with one weight for all or one for each index of dimension 1.

    Args:
        input: (n, channels, *) or any shape.
        weight: (1,) or (channels,).
    Raises: ShapeError: the number of weights is neither 1 nor that of the channels.
    Reference: He et al. 2015, arXiv:1502.01852.
    """
    shape, count = input._a.shape, weight.numel()
    if count != 1:
        if not shape:
            raise ShapeError(
                f"prelu: Not allow zero-dim input tensor, got {describe(input)}; weight: {describe(weight)}"
            )
        channels = shape[1] if len(shape) > 1 else 1
        if channels != count:
            raise ShapeError(
                "prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{count} and channel size = {channels} (input: {describe(input)}; weight: {describe(weight)})"
            )
    if len(weight._a.shape) > 1:
        raise ShapeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got {describe(weight)}"
        )
    if count != 1 or len(shape) != 1:
        weight = reshape(
            weight, () if not shape else tuple(count if i == 1 else 1 for i in range(len(shape)))
        )
    return _prelu(input, weight)


# ---- compositions
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return sub(input, tanh(input))


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return div(input, add(abs(input), 1))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along dim times the sigmoid of the second.

    Raises: ShapeError: dim has an odd size.
    Reference: Dauphin et al. 2016, arXiv:1612.08083.
    """
    shape = input._a.shape
    if not shape:
        raise ShapeError("glu does not support 0-dimensional tensors")
    at = wrap_dim(dim, len(shape), "glu")
    half, odd = divmod(shape[at], 2)
    if odd:
        raise ShapeError(
            f"glu: Halving dimension must be even, but dimension {at} is size {shape[at]} ({describe(input)})"
        )
    return mul(narrow(input, at, 0, half), sigmoid(narrow(input, at, half, half)))


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    generator: Any = None,
) -> Tensor:
    """leaky_relu with a slope drawn from [lower, upper] for each element; with their mean outside training.

    Reference: Xu et al. 2015, arXiv:1505.00853.
    """
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    from flambeau.ops.random import uniform_

    slope = uniform_(input.detach().clone(), lower, upper, generator=generator)
    return mul(input, where(le(input, 0), slope, 1))


celu_, selu_, rrelu_ = inplace_variant(celu), inplace_variant(selu), inplace_variant(rrelu)
threshold_ = inplace_variant(threshold)

PUBLIC = Public(
    both="softmax log_softmax prelu hardshrink",
    functions="celu selu rrelu threshold celu_ selu_ rrelu_ threshold_",
)
