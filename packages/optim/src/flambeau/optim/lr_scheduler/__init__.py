"""Learning-rate schedules: call `scheduler.step()` after `optimizer.step()`, once per epoch or per batch."""

from __future__ import annotations

from flambeau.optim.lr_scheduler._base import LRScheduler, _LRScheduler
from flambeau.optim.lr_scheduler._chains import ChainedScheduler, SequentialLR
from flambeau.optim.lr_scheduler._cosine import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    WarmupCosineLR,
)
from flambeau.optim.lr_scheduler._cycles import CyclicLR, OneCycleLR
from flambeau.optim.lr_scheduler._factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from flambeau.optim.lr_scheduler._plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
    "WarmupCosineLR", "_LRScheduler",
]  # fmt: skip
