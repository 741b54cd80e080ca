"""What rules are written with: checks of hyperparameters, step counts, norms, weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dtypes import float32, float64, get_default_dtype
from flambeau.errors import FlambeauError
from flambeau.ops.creation import zeros
from flambeau.tensor import Tensor, describe

Hook = Callable[..., Any]
Group = dict[str, Any]
State = dict[str, Any]
Lr = float | Tensor


class OptimizerError(FlambeauError, ValueError, RuntimeError):
    """A value that an optimizer or a schedule does not take: hyperparameter, parameter list, or state dict."""


def require(ok: Any, text: str) -> None:
    """Raise OptimizerError(text) unless ok."""
    if not ok:
        raise OptimizerError(text)


def check_lr(lr: Lr, text: str = "Invalid learning rate: {}") -> None:
    """Raise OptimizerError unless lr is a number >= 0, or a tensor of one."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise OptimizerError(f"Tensor lr must be 1-element, got {describe(lr)}")
    require(lr >= 0, text.format(lr) + ". Hint: a number >= 0")


def check(ok: Any, what: str, value: Any, hint: str = "a number >= 0") -> None:
    """Raise OptimizerError about a hyperparameter unless ok."""
    require(ok, f"Invalid {what}: {value}. Hint: {hint}")


def check_flags(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """Raise OptimizerError for flags that exclude each other."""
    require(not (fused and differentiable), "`fused` does not support `differentiable`")
    require(not (fused and foreach), "`fused` and `foreach` cannot be `True` together.")


def check_betas(betas: Sequence[Any]) -> None:
    """Raise OptimizerError unless 0 <= beta < 1 for both."""
    for i, beta in enumerate(betas):
        check(0.0 <= beta < 1.0, f"beta parameter at index {i}", beta, "0 <= beta < 1")


def number(value: Any) -> Any:
    """A hyperparameter as a Python number: a tensor's element is read now."""
    return value.item() if isinstance(value, Tensor) else value


def decayed(grad: Tensor, param: Tensor, weight_decay: Any) -> Tensor:
    """The gradient with that of weight_decay / 2 * param ** 2."""
    if isinstance(weight_decay, Tensor):
        return grad + param * weight_decay
    return grad.add(param, alpha=weight_decay) if weight_decay != 0 else grad


def counter() -> Tensor:
    """A step count of 0: a float32 tensor on the cpu, as PyTorch keeps it."""
    wide = get_default_dtype() is float64
    count: Tensor = zeros((), dtype=float64 if wide else float32)
    return count


def tick(state: State) -> Any:
    """Count a step and give the count."""
    return state["step"].add_(1).item()


def norm(x: Tensor) -> Any:
    """The Euclidean length of all elements, as a tensor: reading it would wait for the device."""
    return (x * x).sum().sqrt()


def root_mean_square(x: Tensor) -> float:
    """The root of the mean of all elements' squares."""
    length: float = norm(x).item()
    return length / math.sqrt(x.numel())


def as_real(x: Tensor) -> Any:
    """A complex tensor as pairs of real numbers in the same memory."""
    import flambeau

    root: Any = flambeau
    return root.view_as_real(x)


def as_complex(x: Tensor) -> Any:
    """Pairs of real numbers as complex ones."""
    import flambeau

    root: Any = flambeau
    return root.view_as_complex(x)
