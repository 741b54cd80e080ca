"""GradScaler: losses are multiplied so that small float16 gradients do not vanish, and steps with inf are skipped."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from flambeau import dtypes
from flambeau.autograd.modes import no_grad
from flambeau.device import device as device_type
from flambeau.errors import ArgumentError, DTypeError, FlambeauError
from flambeau.tensor import Tensor, describe

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class ScalerError(FlambeauError, RuntimeError, AssertionError):
    """A method of GradScaler was called out of turn."""


class UnscaleError(DTypeError, ValueError):
    """The gradients themselves are float16, so that unscaling them loses what scaling saved."""


class GradScaler:
    """Scales losses up and gradients down again, with a factor that adapts: halved when a gradient is inf or nan.

    Per iteration: `scale(loss).backward()`, `step(optimizer)`, `update()`. step() skips the optimizer's step when a
    gradient is not finite; update() multiplies the factor by backoff_factor then, and by growth_factor after
    growth_interval iterations without.

    Args:
        device: "cuda" (nothing behind it: the scaler is disabled), "cpu" ...
        init_scale, growth_factor (> 1), backoff_factor (< 1), growth_interval: of the factor, dimensionless.
        enabled: False makes step() call the optimizer's, and every other method do nothing.
    Raises: ScalerError: growth_factor or backoff_factor is out of range.
    """

    _growth_factor: float
    _backoff_factor: float
    _growth_interval: int

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled and device_type(device).type != "cuda"
        if self._enabled and growth_factor <= 1.0:
            raise ScalerError(
                f"GradScaler: The growth factor must be > 1.0, got growth_factor={growth_factor}"
            )
        if self._enabled and backoff_factor >= 1.0:
            raise ScalerError(
                f"GradScaler: The backoff factor must be < 1.0, got backoff_factor={backoff_factor}"
            )
        self._scale, self._growth_tracker = _float32(init_scale), 0
        self._used = False
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._stages: dict[int, str] = {}
        self._found_inf: dict[int, bool] = {}

    # ---- one iteration
    def scale(self, outputs: Any) -> Any:
        """outputs times the factor: a tensor, or a list, tuple or other iterable of tensors."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._used = True
            return outputs * self._factor(outputs)
        if isinstance(outputs, list | tuple):
            return type(outputs)(map(self.scale, outputs))
        if isinstance(outputs, Iterable) and not isinstance(outputs, str | Mapping):
            return map(self.scale, outputs)
        raise ArgumentError(
            f"GradScaler.scale: outputs must be a Tensor or an iterable of Tensors, got {outputs!r}"
        )

    def _factor(self, like: Tensor) -> Tensor:
        # A 0-d float32 tensor: a number beyond float16's range would become inf next to a float16 loss.
        kind = like._kind.of(dtypes.float32)
        from flambeau.tensor import wrap

        return wrap(kind.k["fill"]((), self._scale, dtypes.float32), kind)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the factor, to clip or inspect them before step().

        Raises: ScalerError: called twice, or after step().  UnscaleError: a gradient is float16.
        """
        if not self._enabled:
            return
        self._check_used("unscale_")
        key = id(optimizer)
        stage = self._stages.get(key, _READY)
        if stage is _UNSCALED:
            raise ScalerError(
                "unscale_() has already been called on this optimizer since the last update(). Hint: scaler.update()"
            )
        if stage is _STEPPED:
            raise ScalerError(
                "unscale_() is being called after step(). Hint: unscale_, step, update in this order"
            )
        grads = [
            p.grad
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        for g in grads:
            if g._kind.dtype is dtypes.float16:
                raise UnscaleError(
                    f"Attempting to unscale FP16 gradients ({describe(g)}). Hint: keep the parameters in float32; "
                    "autocast casts them"
                )
        found = False
        factor = 1.0 / self._scale
        with no_grad():
            for g in grads:
                found = not bool(g.isfinite().all()) or found
                g.mul_(factor)
        if grads:
            self._found_inf[key] = found
        self._stages[key] = _UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(*args, **kwargs) on the unscaled gradients, unless one of them is inf or nan; what it returns.

        Raises: ScalerError: called twice without update(), or no parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise ScalerError(
                "Closure use is not currently supported if GradScaler is enabled. Hint: step(optimizer)"
            )
        self._check_used("step")
        key = id(optimizer)
        stage = self._stages.get(key, _READY)
        if stage is _STEPPED:
            raise ScalerError(
                "step() has already been called since the last update(). Hint: scaler.update()"
            )
        if stage is _READY:
            self.unscale_(optimizer)
        if key not in self._found_inf:
            raise ScalerError(
                "No inf checks were recorded for this optimizer. Hint: no parameter of it has a gradient"
            )
        result = None if self._found_inf[key] else optimizer.step(*args, **kwargs)
        self._stages[key] = _STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the factor, or set it to new_scale; ends the iteration.

        Raises: ScalerError: no optimizer's gradients were looked at.  ArgumentError: new_scale is no number.
        """
        if not self._enabled:
            return
        self._check_used("update")
        if new_scale is not None:
            self._scale = _as_scale(new_scale)
        elif not self._found_inf:
            raise ScalerError(
                "No inf checks were recorded prior to update. Hint: scaler.step(optimizer)"
            )
        elif any(self._found_inf.values()):
            self._scale = _float32(self._scale * self._backoff_factor)
            self._growth_tracker = 0
        elif self._growth_tracker + 1 == self._growth_interval:
            self._grow()
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
        self._stages, self._found_inf = {}, {}

    def _grow(self) -> None:
        grown = _float32(self._scale * self._growth_factor)
        if grown != inf:
            self._scale = grown

    def _check_used(self, name: str) -> None:
        if not self._used:
            raise ScalerError(
                f"Attempted {name} but _scale is None. This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )

    # ---- settings
    def is_enabled(self) -> bool:
        """Whether it scales."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor; 1.0 if disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the factor is multiplied by when it grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the factor is multiplied by when it grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by after inf or nan."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the factor is multiplied by after inf or nan."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many finite iterations in a row make the factor grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many finite iterations in a row make the factor grow."""
        self._growth_interval = new_interval

    # ---- saving
    def state_dict(self) -> dict[str, Any]:
        """scale, growth_factor, backoff_factor, growth_interval and _growth_tracker; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what state_dict() gave; does nothing if disabled.

        Raises: ScalerError: state_dict is empty.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ScalerError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._scale = _float32(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]

    def __getstate__(self) -> dict[str, Any]:
        if self._enabled and self._stages:
            raise ScalerError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        return {**self.__dict__, "_used": False}


def _float32(value: float) -> float:
    """value as the float32 that tensors are multiplied by."""
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return inf
    return rounded


def _as_scale(value: Any) -> float:
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.requires_grad:
            return _float32(value.item())
    elif isinstance(value, int | float):
        return _float32(value)
    raise ArgumentError(
        "GradScaler.update: new_scale should be a float or a 1-element Tensor with requires_grad=False, got "
        f"{describe(value)}"
    )
