"""The base of all schedules.

A schedule defines `get_lr()`, the next learning rates from the present ones, so that schedules chain; where it
defines `_get_closed_form_lr()` too, `step(epoch)` jumps to any epoch. Attribute names are PyTorch's, as they are
the state dict.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.errors import ArgumentError, FlambeauError
from flambeau.optim._rules import OptimizerError, number
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor

Rates = list[Any]


class MissingRateError(FlambeauError, KeyError):
    """A schedule that resumes in the middle, on an optimizer that never began."""

    __str__ = Exception.__str__


def kept(value: Any) -> Any:
    """The value, copied if it is a tensor: what a schedule hands out must not be the optimizer's own lr."""
    return value.clone() if isinstance(value, Tensor) else value


def rates(optimizer: Optimizer, key: str = "lr") -> Rates:
    """The groups' values of an option."""
    return [kept(group[key]) for group in optimizer.param_groups]


def set_rate(group: dict[str, Any], key: str, value: Any) -> None:
    """Set an option; a tensor keeps its identity."""
    if isinstance(group[key], Tensor):
        with no_grad():
            group[key].fill_(number(value))
    else:
        group[key] = value


def per_group(name: str, optimizer: Optimizer, value: Any) -> Rates:
    """One value for each group, from one or from a list."""
    count = len(optimizer.param_groups)
    if isinstance(value, list | tuple):
        if len(value) != count:
            raise OptimizerError(
                f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
                f"param_groups has {count}."
            )
        return [kept(v) for v in value]
    return [kept(value) for _ in range(count)]


def check_optimizer(optimizer: Any) -> None:
    """Raise ArgumentError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"{type(optimizer).__name__} is not an Optimizer")


class LRScheduler:
    """Base class of all schedules.

    Args: optimizer: whose groups' "lr" is set, now and at every step; each group's "initial_lr" keeps the first value.
        last_epoch: -1 to begin; the last epoch that was done, to resume without a state dict.
    Raises: ArgumentError: no optimizer.  MissingRateError: last_epoch is given, and a group has no "initial_lr".

    Make a schedule before `optimizer.load_state_dict`, as making it sets learning rates. `state_dict()` holds
    everything but the optimizer, so a loaded schedule goes on as if it had never stopped.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    optimizer: Optimizer
    base_lrs: Rates
    last_epoch: int
    _last_lr: Rates

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", kept(group["lr"]))
            elif "initial_lr" not in group:
                raise MissingRateError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    "last_epoch >= 0. "
                    "Hint: load the optimizer's state first, or begin with last_epoch=-1"
                )
        self.base_lrs = rates(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> Rates:
        """The learning rates set last, one for each group."""
        return self._last_lr

    def get_lr(self) -> Rates:
        """The next learning rates; called by step."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Set the next learning rates.

        Args: epoch: jump to this epoch, for old programs.
        """
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first value of the schedule is "
                "skipped. Call them in the opposite order.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            _warn_epoch()
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            closed: Callable[[], Rates] | None = getattr(self, "_get_closed_form_lr", None)
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            values = closed() if closed is not None and epoch is not None else self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        self._set(values)

    def _set(self, values: Rates) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_rate(group, "lr", lr)
        self._last_lr = rates(self.optimizer)

    def _now(self) -> Rates:
        """The present learning rates, to compute the next from; warns where a user asks for them by get_lr()."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )
        return rates(self.optimizer)


class _LRScheduler(LRScheduler):
    """The base's old name."""


def _warn_epoch() -> None:
    warnings.warn(
        "The epoch parameter in `scheduler.step()` is deprecated: the closed form of the schedule is used, "
        "where there is one, instead of the chainable form.",
        UserWarning,
        stacklevel=3,
    )


def functions_state(scheduler: Any, key: str) -> list[Any]:
    """What of the functions travels in a state dict: the attributes of callable objects, nothing of plain functions."""
    return [
        None if isinstance(fn, types.FunctionType) else dict(fn.__dict__)
        for fn in getattr(scheduler, key)
    ]
