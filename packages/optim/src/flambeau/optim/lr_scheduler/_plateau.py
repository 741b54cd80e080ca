"""A schedule that follows a metric instead of a count."""

from __future__ import annotations

from math import inf
from typing import Any

from flambeau.optim._rules import require
from flambeau.optim.lr_scheduler._base import (
    LRScheduler,
    _warn_epoch,
    check_optimizer,
    rates,
    set_rate,
)
from flambeau.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """lr * factor when a metric has not become better for more than `patience` epochs.

    Args: mode: "min" or "max": which is better.  factor: < 1.  patience: epochs without progress that are allowed.
        threshold: progress that counts, of the best ("rel") or as it is ("abs"), as threshold_mode says.
        cooldown: epochs after a fall that do not count.  min_lr: of all groups, or one for each.
        eps: least fall of lr that is carried out.
    Raises: OptimizerError: a value outside its range.

    Example:
        >>> import flambeau as fb
        >>> opt = fb.optim.SGD([fb.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = fb.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=1)
        >>> for loss in [3.0, 2.0, 2.0, 2.0]:
        ...     scheduler.step(loss)
        >>> scheduler.get_last_lr()
        [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        require(factor < 1.0, f"Factor should be < 1.0, got {factor}")
        check_optimizer(optimizer)
        self.factor = factor
        self.optimizer = optimizer
        count = len(optimizer.param_groups)
        self.default_min_lr: Any = None
        self.min_lrs: list[Any]
        if isinstance(min_lr, list | tuple):
            require(len(min_lr) == count, f"expected {count} min_lrs, got {len(min_lr)}")
            self.min_lrs = list(min_lr)
        else:
            self.default_min_lr = min_lr
            self.min_lrs = [min_lr] * count
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = rates(optimizer)
        self._init_is_better(mode, threshold, threshold_mode)
        self._reset()

    def _init_is_better(self, mode: str, threshold: float, threshold_mode: str) -> None:
        require(mode in ("min", "max"), f"mode {mode} is unknown! Hint: 'min' or 'max'")
        require(
            threshold_mode in ("rel", "abs"),
            f"threshold mode {threshold_mode} is unknown! Hint: 'rel' or 'abs'",
        )
        self.mode_worse = inf if mode == "min" else -inf
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode

    def _reset(self) -> None:
        """Forget what was seen."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at the metric of an epoch, and lower the learning rates if it is time.

        Args: metrics: a number, or a tensor of one.
        """
        current = float(metrics)
        if epoch is not None:
            _warn_epoch()
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = rates(self.optimizer)

    def _reduce_lr(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            require(
                self.default_min_lr is not None,
                f"The number of param groups in the `optimizer` ({len(groups)}) differs from when `ReduceLROnPlateau` "
                f"was initialized ({len(self.min_lrs)}), usually due to a param group that was added since. "
                "Please modify the `min_lrs` field to match the length of the `optimizer` param groups.",
            )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                set_rate(group, "lr", new)

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs do not count yet."""
        return self.cooldown_counter > 0

    def _is_better(self, a: float, best: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        margin = 1.0 + sign * self.threshold
        limit = best * margin if self.threshold_mode == "rel" else best + sign * self.threshold
        return a < limit if self.mode == "min" else a > limit

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` gave."""
        super().load_state_dict(state_dict)
        self._init_is_better(self.mode, self.threshold, self.threshold_mode)
