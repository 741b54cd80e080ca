"""The module from which PyTorch's programs import Flatten and Unflatten."""

from flambeau.nn.modules._flatten import (
    Flatten,
    Unflatten,
)

__all__ = [
    "Flatten", "Unflatten",
]  # fmt: skip
