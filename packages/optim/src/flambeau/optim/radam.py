"""RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
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


class RAdam(Optimizer):
    """Adam that does without the scaling until enough gradients were seen to trust it, and rectifies it then.

    m, v as in Adam;  r = 2 / (1 - beta2) - 1;  r_t = r - 2 * t * beta2 ** t / (1 - beta2 ** t)
    p = p - lr * m / (1 - beta1 ** t) * s, where s = 1 while r_t <= 5 and then
    s = sqrt((r_t - 4) * (r_t - 2) * r / ((r - 4) * (r - 2) * r_t)) * sqrt(1 - beta2 ** t) / (sqrt(v) + eps)

    Args: lr, eps, weight_decay: >= 0.  betas: in [0, 1).
        decoupled_weight_decay: take lr * weight_decay * p from p instead of adding weight_decay * p to the gradient.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        foreach, capturable: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Liu et al. 2020, arXiv:1908.03265, algorithm 2; as in PyTorch, the limit is 5 where the paper has 4.
    """

    like_param = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize":
            maximize, "foreach": foreach, "capturable": capturable, "decoupled_weight_decay":
            decoupled_weight_decay, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for both averages."""
        state["step"] = counter()
        state["exp_avg"] = zeros_like(param)
        state["exp_avg_sq"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        beta1, beta2 = group["betas"]
        lr, weight_decay = group["lr"], group["weight_decay"]
        t = tick(state)
        if group["decoupled_weight_decay"]:
            param.mul_(1 - lr * weight_decay)
        else:
            grad = decayed(grad, param, weight_decay)
        mean = state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).add_(grad * grad, alpha=1 - beta2)
        rate = lr / (1 - beta1**t)
        limit = 2 / (1 - beta2) - 1
        length = limit - 2 * t * beta2**t / (1 - beta2**t)
        if length > 5:
            rectify = (
                (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
            ) ** 0.5
            mean = mean / (square.sqrt() + group["eps"])
            rate = rate * rectify * (1 - beta2**t) ** 0.5
        param.sub_(mean * rate)
