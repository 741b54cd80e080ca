"""LAMB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
from flambeau.ops.elementwise import where
from flambeau.optim._rules import (
    Group,
    Lr,
    State,
    check,
    check_betas,
    check_lr,
    counter,
    norm,
    tick,
)
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class LAMB(Optimizer):
    """Adam whose step has, parameter by parameter, the parameter's own length times lr: for large batches.

    m, v as in Adam;  r = (m / (1 - beta1 ** t)) / (sqrt(v / (1 - beta2 ** t)) + eps) + weight_decay * p
    p = p - lr * |p| / |r| * r      (the ratio counts as 1 where p or r is zero)

    Args: lr, eps, weight_decay: >= 0.  betas: in [0, 1).  maximize: go up instead of down.
    Raises: OptimizerError: a value outside its range.
    Reference: You et al. 2020, arXiv:1904.00962, algorithm 2, with the identity as scaling function.
    """

    like_param = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for both averages."""
        state["step"] = counter()
        state["exp_avg"] = zeros_like(param)
        state["exp_avg_sq"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        beta1, beta2 = group["betas"]
        t = tick(state)
        mean = state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).add_(grad * grad, alpha=1 - beta2)
        step = mean / (1 - beta1**t) / ((square / (1 - beta2**t)).sqrt() + group["eps"])
        step = step + param * group["weight_decay"]
        length, weight = norm(step), norm(param)
        ratio = where(length * weight > 0, weight / length, 1.0)
        param.sub_(step * (ratio * group["lr"]))
