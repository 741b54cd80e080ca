"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
from flambeau.ops.elementwise import maximum
from flambeau.optim._rules import (
    Group,
    Lr,
    State,
    check,
    check_betas,
    check_lr,
    counter,
    decayed,
    tick,
)
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of the root mean square.

    m = beta1 * m + (1 - beta1) * g;  u = max(beta2 * u, |g| + eps);  p = p - lr / (1 - beta1 ** t) * m / u

    Args: lr: >= 0.  betas: decay of the average and of the largest, in [0, 1).  eps, weight_decay: >= 0.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        foreach, capturable: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Kingma, Ba 2015, arXiv:1412.6980, algorithm 2; as in PyTorch, eps is added to |g|.
    """

    like_param = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for the average and the largest."""
        state["step"] = counter()
        state["exp_avg"] = zeros_like(param)
        state["exp_inf"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        beta1, beta2 = group["betas"]
        t = tick(state)
        grad = decayed(grad, param, group["weight_decay"])
        mean = state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
        largest = state["exp_inf"]
        largest.copy_(maximum(largest * beta2, grad.abs() + group["eps"]))
        param.sub_(mean / largest * (group["lr"] / (1 - beta1**t)))
