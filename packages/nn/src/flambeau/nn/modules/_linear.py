"""Linear layers and the identity."""

from __future__ import annotations

import math
from typing import Any

from flambeau.nn import init
from flambeau.nn.functional._linear import _linear, bilinear
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.creation import empty
from flambeau.tensor import Tensor


class Identity(Module):
    """Returns its input; takes and ignores any arguments.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Identity(54)(fb.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input itself."""
        return input


class Linear(Module):
    """y = x W^T + b.

    Args: in_features, out_features: sizes of the last dimension of input and output.  bias: whether b is learnt.
    Shape: (*, in_features) -> (*, out_features); weight: (out_features, in_features); bias: (out_features,).
        Both start uniform in [-1/sqrt(in_features), 1/sqrt(in_features)].
    Raises: ShapeError: the last dimension of the input is not in_features.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Linear(20, 30)(fb.randn(128, 20)).shape
        flambeau.Size([128, 30])
    """

    in_features: int
    out_features: int
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in_features), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight._a.shape[1]
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """(*, in_features) -> (*, out_features)."""
        p = self._parameters  # attribute look-up of parameters costs five times as much
        if "weight" in p and "bias" in p:
            return _linear(input, p["weight"], p["bias"])
        return _linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"

    def _brief(self) -> str:
        return f"{type(self).__name__}({self.in_features}->{self.out_features})"


class NonDynamicallyQuantizableLinear(Linear):
    """A Linear under the name that MultiheadAttention's projection has in PyTorch's printed models."""


class Bilinear(Module):
    """y[o] = x1^T A[o] x2 + b[o].

    Shape: (*, in1_features), (*, in2_features) -> (*, out_features); weight: (out, in1, in2).
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(
            empty((out_features, in1_features, in2_features), device=device, dtype=dtype)
        )
        if bias:
            self.bias = Parameter(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew: uniform within 1/sqrt(in1_features)."""
        bound = 1 / math.sqrt(self.weight.size(1))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """(*, in1), (*, in2) -> (*, out)."""
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
