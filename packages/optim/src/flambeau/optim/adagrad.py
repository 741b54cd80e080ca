"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import full_like
from flambeau.optim._rules import (
    Group,
    Lr,
    State,
    check,
    check_flags,
    check_lr,
    counter,
    decayed,
    tick,
)
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class Adagrad(Optimizer):
    """Gradient descent with each coordinate scaled by the root of the sum of its squared gradients.

    s = s + g ** 2;  p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args: lr, lr_decay, weight_decay, eps: >= 0.  initial_accumulator_value: where s starts.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        foreach, fused: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Duchi, Hazan, Singer 2011, JMLR 12, figure 1 (diagonal form).
    """

    like_param = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check(lr_decay >= 0.0, "lr_decay value", lr_decay)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        check(
            initial_accumulator_value >= 0.0,
            "initial_accumulator_value value",
            initial_accumulator_value,
        )
        check(eps >= 0.0, "epsilon value", eps)
        check_flags(fused, foreach, differentiable)
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize":
            maximize, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self.init(param, self.state[param], group)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """The sum at its start."""
        start = group["initial_accumulator_value"]
        state["step"] = counter()
        state["sum"] = full_like(param, complex(start, start) if param.is_complex() else start)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        t = tick(state)
        grad = decayed(grad, param, group["weight_decay"])
        total = state["sum"].add_(grad * grad)
        rate = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        param.sub_(grad / (total.sqrt() + group["eps"]) * rate)

    def share_memory(self) -> None:
        """Nothing to do: tensors that cross a process border share their memory by themselves."""
