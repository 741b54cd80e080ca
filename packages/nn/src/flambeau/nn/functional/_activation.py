"""Activations under the signatures of torch.nn.functional; the operations are core's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import flambeau as fb
from flambeau.autograd.inplace import update
from flambeau.autograd.state import state
from flambeau.errors import FlambeauError
from flambeau.nn.functional._fused import FusedNode, record
from flambeau.ops import activation as A
from flambeau.ops._recover import no_room
from flambeau.ops.elementwise import relu as _relu, sigmoid as _sigmoid, tanh as _tanh
from flambeau.tensor import Tensor, wrap


class ActivationArgumentError(FlambeauError, ValueError):
    """An argument that an activation cannot have."""


def _inplace(name: str, input: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    return update(name + "_", input, fn, saves=True)


class GeluBackward0(FusedNode):
    """Node of gelu whose derivative was computed with it."""

    __slots__ = ()

    def backward(self, g: Any, inputs: Any, kept: Any, needs: Any) -> Any:
        """By the derivative that was kept."""
        return (self.kind.k["mul"](g._a, kept[0]),)

    def composite(self, x: Any) -> Any:
        """In differentiable operations."""
        return A.gelu(x)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0)."""
    return input.relu_() if inplace else _relu(input)


def relu_(input: Tensor) -> Tensor:
    """In-place relu."""
    return input.relu_()


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input))."""
    return _sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return _tanh(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input times the normal distribution function of input; approximate: "none" or "tanh"."""
    m = input._kind
    if approximate != "none" or input._g is None or not state.grad or m.k["gelu_slope"] is None:
        return A.gelu(input, approximate=approximate)
    try:
        native, slope = m.k["gelu_slope"](input._a)
    except MemoryError as error:
        raise no_room("gelu", m, error) from None
    y = wrap(native, m)
    record(GeluBackward0, y, (input,), (slope,))
    return y


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input)."""
    return _inplace("silu", input, A.silu) if inplace else A.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input))."""
    return _inplace("mish", input, A.mish) if inplace else A.mish(input)


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta * input)) / beta, and input itself where beta * input > threshold."""
    return A.softplus(input, float(beta), float(threshold))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input))."""
    return A.logsigmoid(input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha * (exp(input) - 1)."""
    return _inplace("elu", input, lambda x: A.elu(x, alpha)) if inplace else A.elu(input, alpha)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """In-place elu."""
    return elu(input, alpha, True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled elu with self-normalising constants."""
    return _inplace("selu", input, A.selu) if inplace else A.selu(input)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """elu with a continuous derivative."""
    return _inplace("celu", input, lambda x: A.celu(x, alpha)) if inplace else A.celu(input, alpha)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, else negative_slope * input."""
    if inplace:
        return _inplace("leaky_relu", input, lambda x: A.leaky_relu(x, negative_slope))
    return A.leaky_relu(input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """In-place leaky_relu."""
    return leaky_relu(input, negative_slope, True)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input clipped to [min_val, max_val]."""
    if min_val > max_val:
        raise ActivationArgumentError("min_val cannot be greater than max_val")
    if inplace:
        return _inplace("hardtanh", input, lambda x: A.hardtanh(x, min_val, max_val))
    return A.hardtanh(input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """In-place hardtanh."""
    return hardtanh(input, min_val, max_val, True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input clipped to [0, 6]."""
    return _inplace("relu6", input, A.relu6) if inplace else A.relu6(input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """input / 6 + 1 / 2, clipped to [0, 1]."""
    return _inplace("hardsigmoid", input, A.hardsigmoid) if inplace else A.hardsigmoid(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * hardsigmoid(input)."""
    return _inplace("hardswish", input, A.hardswish) if inplace else A.hardswish(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it is above threshold, else value."""
    if inplace:
        return _inplace("threshold", input, lambda x: A.threshold(x, threshold, value))
    return A.threshold(input, threshold, value)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """In-place threshold."""
    return _inplace("threshold", input, lambda x: A.threshold(x, threshold, value))


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """leaky_relu with random slopes in training, with their mean otherwise."""
    if lower > upper:
        raise ActivationArgumentError(
            f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    if inplace:
        return _inplace("rrelu", input, lambda x: A.rrelu(x, lower, upper, training))
    return A.rrelu(input, lower, upper, training)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """In-place rrelu."""
    return rrelu(input, lower, upper, training, True)


def selu_(input: Tensor) -> Tensor:
    """In-place selu."""
    return selu(input, True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """In-place celu."""
    return celu(input, alpha, True)


hardshrink, softshrink, prelu = A.hardshrink, A.softshrink, A.prelu
tanhshrink, softsign = A.tanhshrink, A.softsign


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along dim times the sigmoid of the second."""
    return A.glu(input, dim)


# ---- softmax family
def _softmax_dim(name: str, rank: int, level: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=level + 1,
    )
    return 0 if rank in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """exp(input) over its sum along dim.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.softmax(fb.zeros(2), dim=0)
        tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = _softmax_dim("softmax", len(input._a.shape), _stacklevel)
    return A.softmax(input, dim, dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Logarithm of softmax, computed without overflow."""
    if dim is None:
        dim = _softmax_dim("log_softmax", len(input._a.shape), _stacklevel)
    return A.log_softmax(input, dim, dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """softmax of -input."""
    if dim is None:
        dim = _softmax_dim("softmin", len(input._a.shape), _stacklevel)
    return A.softmax(-input, dim, dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample of the Gumbel-softmax distribution; hard: one-hot, with the soft sample's gradient.

    Reference: Jang et al. 2017, arXiv:1611.01144.
    """
    x: Any = logits
    noise = -fb.empty_like(x).exponential_().log()
    soft: Any = A.softmax((x + noise) / tau, dim)
    if not hard:
        return soft  # type: ignore[no-any-return]
    at = soft.detach().argmax(dim, keepdim=True)
    sharp = fb.zeros_like(x).scatter(dim, at, 1.0)
    return sharp - soft.detach() + soft  # type: ignore[no-any-return]
