"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import full_like, ones_like, zeros_like
from flambeau.ops.elementwise import maximum, minimum, where
from flambeau.optim._rules import Group, Lr, OptimizerError, State, check_lr, counter, number, tick
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class Rprop(Optimizer):
    """Steps by the gradient's sign alone, longer while it keeps its sign and shorter when it turns.

    size *= etas[1] where g has the sign it had before, etas[0] where it turned (and g counts as 0 there)
    p = p - sign(g) * size,  size kept within step_sizes

    Args: lr: the first size, >= 0.  etas: factors, 0 < etas[0] < 1 < etas[1].  step_sizes: smallest and largest size.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        capturable, foreach: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Riedmiller, Braun 1993, "A direct adaptive method for faster backpropagation learning: the RPROP
        algorithm"; a turned sign does not take back the step before.
    """

    like_param = ("prev", "step_size")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise OptimizerError(
                f"Invalid eta values: {etas[0]}, {etas[1]}. Hint: 0 < etas[0] < 1 < etas[1]"
            )
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize":
            maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """No gradient before, and the first sizes."""
        lr = number(group["lr"])
        state["step"] = counter()
        state["prev"] = zeros_like(param)
        state["step_size"] = full_like(param, complex(lr, lr) if param.is_complex() else lr)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        shorter, longer = group["etas"]
        smallest, largest = group["step_sizes"]
        tick(state)
        prev, size = state["prev"], state["step_size"]
        agreement = grad * prev
        turned = agreement < 0
        factor = where(agreement > 0, longer, where(turned, shorter, ones_like(grad)))
        size.copy_(minimum(maximum(size * factor, smallest), largest))
        grad = where(turned, zeros_like(grad), grad)
        param.sub_(grad.sign() * size)
        prev.copy_(grad)
