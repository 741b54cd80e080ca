"""Averages of weights along the training: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.optim._rules import require
from flambeau.optim.lr_scheduler._base import LRScheduler, Rates, per_group
from flambeau.optim.optimizer import Optimizer

Tensors = Sequence[Any]


def _check_decay(decay: float) -> None:
    require(
        0.0 <= decay <= 1.0,
        f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.",
    )


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Tensors, Tensors, Any], None]:
    """A function that moves averages by average = decay * average + (1 - decay) * current, in place.

    Raises: OptimizerError: decay is not in [0, 1].
    """
    _check_decay(decay)

    def ema_update(ema_param_list: Tensors, current_param_list: Tensors, _: Any) -> None:
        with no_grad():
            for average, current in zip(ema_param_list, current_param_list, strict=True):
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[Tensors, Tensors, Any], None]:
    """A function that moves averages of equal weights, in place: average + (current - average) / (count + 1)."""

    def swa_update(
        averaged_param_list: Tensors, current_param_list: Tensors, num_averaged: Any
    ) -> None:
        count = float(num_averaged) + 1
        with no_grad():
            for average, current in zip(averaged_param_list, current_param_list, strict=True):
                average.copy_(average + (current - average) / count)

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """A function that gives decay * average + (1 - decay) * current.

    Raises: OptimizerError: decay is not in [0, 1].
    """
    _check_decay(decay)

    def ema_update(ema_param: Any, current_param: Any, num_averaged: Any) -> Any:
        with no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """A function that gives the average of equal weights: average + (current - average) / (count + 1)."""

    def swa_update(averaged_param: Any, current_param: Any, num_averaged: Any) -> Any:
        with no_grad():
            return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def update_bn(loader: Iterable[Any], model: Any, device: Any = None) -> None:
    """Compute a model's batch-norm statistics anew, by one pass over data in train mode.

    Args: loader: batches; of a list or tuple, the first element goes through the model.  device: move batches there.
    """
    nn = importlib.import_module("flambeau.nn")
    kinds = tuple(
        getattr(nn, n) for n in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d") if hasattr(nn, n)
    )
    norms = [m for m in model.modules() if isinstance(m, kinds)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    was_training = model.training
    model.train()
    try:
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # the average of all batches
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, list | tuple) else batch
                model(x if device is None else x.to(device))
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From the present lr to swa_lr in anneal_epochs epochs, and constant then.

    Args: swa_lr: of all groups, or one for each.  anneal_epochs: >= 0.  anneal_strategy: "cos" or "linear".
    Raises: OptimizerError: a value outside its range.
    Reference: Izmailov et al. 2018, arXiv:1803.05407.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        known = anneal_strategy in ("cos", "linear")
        require(
            known,
            f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}",
        )
        ok = isinstance(anneal_epochs, int) and anneal_epochs >= 0
        require(ok, f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for rate, group in zip(
            per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True
        ):
            group["swa_lr"] = rate
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t: float) -> float:
        """How far the way to swa_lr is done at a part t of the epochs."""
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def _share(self, step: int) -> float:
        return self.anneal_func(max(0.0, min(1.0, step / max(1, self.anneal_epochs))))

    def get_lr(self) -> Rates:
        """The next learning rates."""
        now = self._now()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, after = self._share(step - 1), self._share(step)
        lrs = []
        for lr, group in zip(now, self.optimizer.param_groups, strict=True):
            goal = group["swa_lr"]
            start = goal if before == 1 else (lr - before * goal) / (1 - before)
            lrs.append(goal * after + start * (1 - after))
        return lrs


def __getattr__(name: str) -> Any:
    if name != "AveragedModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = importlib.import_module("flambeau.optim._averaged_model").AveragedModel
    globals()[name] = value
    return value


__all__ = [
    "SWALR", "AveragedModel",  # noqa: F822 "get_ema_avg_fn", "get_ema_multi_avg_fn",
    "get_swa_avg_fn", "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip
