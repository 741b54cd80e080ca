"""Schedules that raise the learning rate and let it fall, with the momentum the other way round."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

from flambeau.optim._rules import OptimizerError, require
from flambeau.optim.lr_scheduler._base import (
    LRScheduler,
    Rates,
    check_optimizer,
    per_group,
    set_rate,
)
from flambeau.optim.optimizer import Optimizer


def _take_momentum(scheduler: Any, base: Any, largest: Any, begin: bool) -> tuple[Rates, Rates]:
    """Note the range of momenta; the groups begin with the largest."""
    optimizer = scheduler.optimizer
    require(
        "momentum" in optimizer.defaults or "betas" in optimizer.defaults,
        "optimizer must support momentum or beta1 with `cycle_momentum` option enabled. Hint: cycle_momentum=False",
    )
    scheduler.use_beta1 = "betas" in optimizer.defaults
    lows, highs = (
        per_group("base_momentum", optimizer, base),
        per_group("max_momentum", optimizer, largest),
    )
    if begin:
        for low, high, group in zip(lows, highs, optimizer.param_groups, strict=True):
            _set_momentum(scheduler, group, high)
            group["max_momentum"], group["base_momentum"] = high, low
    return lows, highs


def _set_momentum(scheduler: Any, group: dict[str, Any], value: Any) -> None:
    if scheduler.use_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class CyclicLR(LRScheduler):
    """lr up from base_lr to max_lr in step_size_up batches and down again in step_size_down, over and over.

    Args: base_lr, max_lr: of all groups, or one for each.  step_size_up, step_size_down (None: as up): batches.
        mode: "triangular" (the same height), "triangular2" (half the height each time) or "exp_range"
        (gamma ** batches of it).  scale_fn: the height instead of mode, a function of the cycle (from 1) or of the
        batches, as scale_mode says: "cycle" or "iterations".
        cycle_momentum: momentum (or beta1) from max_momentum to base_momentum and back.
    Raises: OptimizerError: an unknown mode, or an optimizer without momentum.
    Reference: Smith 2017, arXiv:1506.01186.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        require(
            mode in ("triangular", "triangular2", "exp_range") or scale_fn is not None,
            f"mode {mode!r} is invalid and scale_fn is None",
        )
        self.optimizer = optimizer
        base_lrs = per_group("base_lr", optimizer, base_lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        down = float(step_size_up if step_size_down is None else step_size_down)
        self.total_size = float(step_size_up) + down
        self.step_ratio = float(step_size_up) / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        self._init_scale_fn()
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums, self.max_momentums = _take_momentum(
                self, base_momentum, max_momentum, last_epoch == -1
            )
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_rate(group, "lr", lr)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _init_scale_fn(self) -> None:
        if self._scale_fn_custom is None:
            self.scale_mode = "iterations" if self.mode == "exp_range" else "cycle"

    def scale_fn(self, x: float) -> float:
        """The height of a cycle, or at a batch."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "exp_range":
            return math.pow(self.gamma, x)
        return math.pow(0.5, x - 1) if self.mode == "triangular2" else 1.0

    def get_lr(self) -> Rates:
        """The next learning rates; momenta are set on the way."""
        self._now()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(
                self.base_momentums, self.max_momentums, self.optimizer.param_groups, strict=True
            )
            for low, high, group in momenta:
                _set_momentum(self, group, high - (high - low) * height * scale)
        return [
            low + (high - low) * height * scale
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of scale_fn only the attributes of a callable object."""
        state = super().state_dict()
        function = state["_scale_fn_custom"]
        plain = function is None or isinstance(function, types.FunctionType)
        state["_scale_fn_custom"] = None if plain else dict(function.__dict__)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` gave."""
        state = dict(state_dict)
        attributes = state.pop("_scale_fn_custom")
        super().load_state_dict(state)
        if attributes is not None:
            self._scale_fn_custom.__dict__.update(attributes)
        self._init_scale_fn()


class OneCycleLR(LRScheduler):
    """One cycle over the whole training: lr up to max_lr, then down far below where it began; step after each batch.

    Args: max_lr: of all groups, or one for each.  total_steps: batches in all, or epochs and steps_per_epoch.
        pct_start: part of the cycle that goes up.  anneal_strategy: "cos" or "linear".
        cycle_momentum: momentum (or beta1) from max_momentum to base_momentum and back.
        div_factor: max_lr over the first lr.  final_div_factor: the first lr over the last.
        three_phase: come down to the first lr as it went up, and then to the last.
    Raises: OptimizerError: a value outside its range; at a step, more steps than total_steps.
    Reference: Smith, Topin 2018, arXiv:1708.07120; two phases instead of three are fastai's.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        ok = isinstance(pct_start, float) and 0 <= pct_start <= 1
        require(ok, f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        known = anneal_strategy in ("cos", "linear")
        require(
            known,
            f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}",
        )
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        max_lrs = per_group("max_lr", optimizer, max_lr)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            _take_momentum(self, base_momentum, max_momentum, last_epoch == -1)
        if last_epoch == -1:
            for largest, group in zip(max_lrs, optimizer.param_groups, strict=True):
                group["initial_lr"] = largest / div_factor
                group["max_lr"] = largest
                group["min_lr"] = group["initial_lr"] / final_div_factor
        super().__init__(optimizer, last_epoch)

    def _anneal(self, start: Any, end: Any, share: float) -> Any:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
        return (end - start) * share + start

    def get_lr(self) -> Rates:
        """The next learning rates; momenta are set on the way."""
        self._now()
        step = self.last_epoch
        require(
            step <= self.total_steps,
            f"Tried to step {step} times. The specified number of total steps is {self.total_steps}",
        )
        start = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if step <= end or phase is self._schedule_phases[-1]:
                break
            start = end
        share = (step - start) / (end - start)
        lrs = []
        for group in self.optimizer.param_groups:
            lrs.append(self._anneal(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                _set_momentum(
                    self,
                    group,
                    self._anneal(
                        group[phase["start_momentum"]], group[phase["end_momentum"]], share
                    ),
                )
        return lrs


def _total_steps(total: int | None, epochs: int | None, per_epoch: int | None) -> int:
    if total is not None:
        require(
            isinstance(total, int) and total > 0,
            f"Expected positive integer total_steps, but got {total}",
        )
        return total
    if epochs is None or per_epoch is None:
        raise OptimizerError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in (("epochs", epochs), ("steps_per_epoch", per_epoch)):
        require(
            isinstance(value, int) and value > 0,
            f"Expected positive integer {name}, but got {value}",
        )
    return epochs * per_epoch


def _phases(total: int, pct: float, three: bool) -> list[dict[str, Any]]:
    def phase(
        end: float, start_lr: str, end_lr: str, start_momentum: str, end_momentum: str
    ) -> dict[str, Any]:
        return {
            "end_step": end, "start_lr": start_lr, "end_lr": end_lr, "start_momentum":
            start_momentum, "end_momentum": end_momentum,
        }  # fmt: skip

    up = phase(float(pct * total) - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three:
        return [up, phase(total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    return [
        up,
        phase(float(2 * pct * total) - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
        phase(total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
    ]
