"""Dropout layers."""

from __future__ import annotations

from flambeau.nn.functional import _dropout as F
from flambeau.nn.modules._module import Module
from flambeau.tensor import Tensor


class _DropoutNd(Module):
    """Base: probability p, and whether the input itself is changed."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            F._check("dropout", p)
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """In training, zeroes each element with probability p and divides the others by 1 - p.

    Reference: Srivastava et al. 2014, "Dropout", JMLR 15.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Dropout(0.2).eval()(fb.ones(2))
        tensor([1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input with random zeros in training, unchanged in evaluation."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """In training, zeroes whole channels of (N, C, L) or (C, L) with probability p."""

    def forward(self, input: Tensor) -> Tensor:
        """The input with random zeros in training, unchanged in evaluation."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """In training, zeroes whole channels of (N, C, H, W) with probability p."""

    def forward(self, input: Tensor) -> Tensor:
        """The input with random zeros in training, unchanged in evaluation."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """In training, zeroes whole channels of (N, C, D, H, W) with probability p."""

    def forward(self, input: Tensor) -> Tensor:
        """The input with random zeros in training, unchanged in evaluation."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance of SELU activations.

    Reference: Klambauer et al. 2017, arXiv:1706.02515.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input with random zeros in training, unchanged in evaluation."""
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_DropoutNd):
    """AlphaDropout of whole channels."""

    def forward(self, input: Tensor) -> Tensor:
        """The input with random zeros in training, unchanged in evaluation."""
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
