"""Losses between predictions and targets of one shape, and classification losses."""

from __future__ import annotations

from typing import Any

from flambeau.nn.functional import _cross_entropy as C, _losses as F
from flambeau.nn.functional._reduction import legacy
from flambeau.nn.modules._module import Module
from flambeau.tensor import Tensor


class _Loss(Module):
    """Base: how the elements' losses are reduced."""

    reduction: str

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.reduction = legacy(size_average, reduce, reduction)


class _WeightedLoss(_Loss):
    """Base: with a weight tensor, kept as a buffer."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """Mean squared error: (x - y)^2.

    Args: reduction: "mean", "sum" or "none".  broadcast: allow input and target of different shapes.
    Raises: ShapeError: the shapes differ and broadcast is False.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.MSELoss()(fb.zeros(2), fb.ones(2))
        tensor(1.)
    """

    def __init__(
        self,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        *,
        broadcast: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.broadcast = broadcast

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        return F.mse_loss(input, target, reduction=self.reduction, broadcast=self.broadcast)


class L1Loss(_Loss):
    """Mean absolute error: |x - y|.

    Args: reduction: "mean", "sum" or "none".  broadcast: allow input and target of different shapes.
    """

    def __init__(
        self,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        *,
        broadcast: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.broadcast = broadcast

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        return F.l1_loss(input, target, reduction=self.reduction, broadcast=self.broadcast)


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities: -(t log p + (1 - t) log(1 - p)), logarithms ending at -100.

    Raises: ShapeError: the shapes differ, or input outside [0, 1].
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        return F.binary_cross_entropy(
            input, target, self._buffers["weight"], None, None, self.reduction
        )


class BCEWithLogitsLoss(_Loss):
    """Binary cross entropy of logits: sigmoid and BCELoss in one, finite for any logit.

    Args: weight: of each element.  pos_weight: of positive targets.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        weights = self._buffers
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            weights["weight"],
            reduction=self.reduction,
            pos_weight=weights["pos_weight"],
        )


class NLLLoss(_WeightedLoss):
    """Negative log-likelihood of class indices under log-probabilities (N, C, ...).

    Args: weight: (C,).  ignore_index: targets that do not count.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        return C.nll_loss(
            input,
            target,
            weight=self._buffers["weight"],
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class NLLLoss2d(NLLLoss):
    """The old name of NLLLoss for images."""


class CrossEntropyLoss(_WeightedLoss):
    """Cross entropy between logits (N, C, ...) and class indices (N, ...), or class probabilities of input's shape.

    Args: weight: (C,).  ignore_index: targets that do not count.  label_smoothing: in [0, 1].
    Raises: IndexRangeError: a target outside [0, C).

    Example:
        >>> import flambeau as fb
        >>> fb.nn.CrossEntropyLoss()(fb.zeros(1, 2), fb.tensor([1]))
        tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        weight = self._buffers["weight"]
        return C.cross_entropy(
            input,
            target,
            weight,
            None,
            self.ignore_index,
            None,
            self.reduction,
            self.label_smoothing,
        )
