"""Schedules that follow a cosine."""

from __future__ import annotations

import math

from flambeau.optim._rules import require
from flambeau.optim.lr_scheduler._base import LRScheduler, Rates
from flambeau.optim.optimizer import Optimizer


def _fall(share: float) -> float:
    """From 1 at share 0 to 0 at share 1."""
    return (1 + math.cos(math.pi * share)) / 2


class CosineAnnealingLR(LRScheduler):
    """Down from the initial lr to eta_min along half a cosine of T_max epochs, and up again if it goes on.

    eta_min + (initial lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2, from the lr before so that schedules chain.

    Args: T_max: epochs of half a period.  eta_min: the least lr.
    Reference: Loshchilov, Hutter 2017, arXiv:1608.03983, without the restarts.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        require(T_max > 0, f"T_max must be a positive number of epochs, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """The next learning rates."""
        now = self._now()
        least, period = self.eta_min, self.T_max
        if self._is_initial:
            return now
        if self._step_count == 1 and self.last_epoch > 0:
            return self._get_closed_form_lr()
        if (self.last_epoch - 1 - period) % (2 * period) == 0:
            rise = (1 - math.cos(math.pi / period)) / 2
            return [lr + (base - least) * rise for lr, base in zip(now, self.base_lrs, strict=True)]
        ratio = (1 + math.cos(math.pi * self.last_epoch / period)) / (
            1 + math.cos(math.pi * (self.last_epoch - 1) / period)
        )
        return [ratio * (lr - least) + least for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        return [
            self.eta_min + (base - self.eta_min) * _fall(self.last_epoch / self.T_max)
            for base in self.base_lrs
        ]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down along half a cosine and back to the initial lr at once, each time T_mult times slower than before.

    `step(epoch)` takes fractions of an epoch too.

    Args: T_0: epochs of the first fall.  T_mult: factor of the next.  eta_min: the least lr.
    Raises: OptimizerError: a value outside its range.
    Reference: Loshchilov, Hutter 2017, arXiv:1608.03983.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        require(isinstance(T_0, int) and T_0 > 0, f"Expected positive integer T_0, but got {T_0}")
        require(
            isinstance(T_mult, int) and T_mult >= 1,
            f"Expected integer T_mult >= 1, but got {T_mult}",
        )
        require(
            isinstance(eta_min, int | float),
            f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}",
        )
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """The learning rates at T_cur of T_i epochs."""
        self._now()
        return [
            self.eta_min + (base - self.eta_min) * _fall(self.T_cur / self.T_i)
            for base in self.base_lrs
        ]

    def step(self, epoch: float | None = None) -> None:
        """Go one epoch on, or to a (fraction of an) epoch."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            require(epoch >= 0, f"Expected non-negative epoch, but got {epoch}")
            self._locate(epoch)
        self.last_epoch = math.floor(epoch)
        self._get_lr_called_within_step = True
        try:
            values = self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        self._set(values)

    def _locate(self, epoch: float) -> None:
        """Which fall an epoch is in, and where in it."""
        first, factor = self.T_0, self.T_mult
        if epoch < first:
            self.T_i, self.T_cur = first, epoch
        elif factor == 1:
            self.T_cur = epoch % first
        else:
            n = int(math.log(epoch / first * (factor - 1) + 1, factor))
            self.T_cur = epoch - first * (factor**n - 1) / (factor - 1)
            self.T_i = first * factor**n


class WarmupCosineLR(LRScheduler):
    """Up in a straight line for warmup_steps steps, then down along half a cosine to the least lr, which stays.

    lr * (step + 1) / (warmup_steps + 1) while step < warmup_steps, then
    least + (lr - least) * (1 + cos(pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2

    Args: warmup_steps: >= 0.  total_steps: at which the least lr is reached, > warmup_steps.
        min_lr_ratio: the least lr as a part of the initial lr, in [0, 1].
    Raises: OptimizerError: a value outside its range.
    Reference: the schedule of Touvron et al. 2023, arXiv:2302.13971, section 2.3, and most language models since.

    Example:
        >>> import flambeau as fb
        >>> opt = fb.optim.SGD([fb.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = fb.optim.lr_scheduler.WarmupCosineLR(opt, warmup_steps=3, total_steps=7)
        >>> rates = []
        >>> for _ in range(8):
        ...     rates += scheduler.get_last_lr()
        ...     opt.step(); scheduler.step()
        >>> [round(lr, 3) for lr in rates]
        [0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int,
        min_lr_ratio: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        require(warmup_steps >= 0, f"warmup_steps must be >= 0, got {warmup_steps}")
        require(
            total_steps > warmup_steps,
            f"total_steps must be > warmup_steps, got {total_steps} <= {warmup_steps}",
        )
        require(
            0.0 <= min_lr_ratio <= 1.0, f"min_lr_ratio must be between 0 and 1, got {min_lr_ratio}"
        )
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.min_lr_ratio = min_lr_ratio
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """The learning rate of a step as a part of the initial one."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        share = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return self.min_lr_ratio + (1.0 - self.min_lr_ratio) * _fall(share)

    def get_lr(self) -> Rates:
        """The next learning rates: the present ones times the ratio of two factors, so that schedules chain."""
        now = self._now()
        before = 1.0 if self._is_initial else self.factor(self.last_epoch - 1)
        if before == 0.0:
            return now
        return [lr * (self.factor(self.last_epoch) / before) for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]
