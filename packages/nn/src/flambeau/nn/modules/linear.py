"""The module from which PyTorch's programs import linear layers."""

from flambeau.nn.modules._lazy import (
    LazyLinear,
)
from flambeau.nn.modules._linear import (
    Bilinear,
    Identity,
    Linear,
    NonDynamicallyQuantizableLinear,
)

__all__ = [
    "Bilinear", "Identity", "LazyLinear", "Linear", "NonDynamicallyQuantizableLinear",
]  # fmt: skip
