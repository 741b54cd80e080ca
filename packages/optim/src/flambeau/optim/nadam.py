"""NAdam."""

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


class NAdam(Optimizer):
    """Adam with Nesterov's momentum.

    mu_t = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2), M_t = mu_1 * ... * mu_t;  m, v as in Adam
    p = p - lr * (mu_(t+1) * m / (1 - M_(t+1)) + (1 - mu_t) * g / (1 - M_t)) / (sqrt(v / (1 - beta2 ** t)) + eps)

    Args: lr, eps, weight_decay, momentum_decay: >= 0.  betas: in [0, 1).
        decoupled_weight_decay: take lr * weight_decay * p from p instead of adding weight_decay * p to the gradient.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        foreach, capturable: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 8.
    """

    like_param = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        check(momentum_decay >= 0.0, "momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay":
            momentum_decay, "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for both averages, 1 for the product of momenta."""
        state["step"] = counter()
        state["mu_product"] = counter() + 1
        state["exp_avg"] = zeros_like(param)
        state["exp_avg_sq"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        beta1, beta2 = group["betas"]
        lr, weight_decay, decay = group["lr"], group["weight_decay"], group["momentum_decay"]
        t = tick(state)
        if group["decoupled_weight_decay"]:
            param.mul_(1 - lr * weight_decay)
        else:
            grad = decayed(grad, param, weight_decay)
        mu, mu_next = (beta1 * (1.0 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        product = state["mu_product"].mul_(mu).item()
        mean = state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).add_(grad * grad, alpha=1 - beta2)
        root = (square / (1 - beta2**t)).sqrt() + group["eps"]
        param.sub_(grad / root * (lr * (1 - mu) / (1 - product)))
        param.sub_(mean / root * (lr * mu_next / (1 - product * mu_next)))
