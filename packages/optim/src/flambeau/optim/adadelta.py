"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
from flambeau.optim._rules import Group, Lr, State, check, check_lr, counter, decayed, tick
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class Adadelta(Optimizer):
    """Gradient descent with each coordinate scaled by the ratio of its mean squared steps and gradients.

    v = rho * v + (1 - rho) * g ** 2;  d = sqrt(u + eps) / sqrt(v + eps) * g
    u = rho * u + (1 - rho) * d ** 2;  p = p - lr * d

    Args: lr: >= 0; the paper's is 1.  rho: in [0, 1].  eps, weight_decay: >= 0.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        capturable, foreach: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Zeiler 2012, arXiv:1212.5701, algorithm 1.
    """

    like_param = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check(0.0 <= rho <= 1.0, "rho value", rho, "0 <= rho <= 1")
        check(eps >= 0.0, "epsilon value", eps)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for both averages."""
        state["step"] = counter()
        state["square_avg"] = zeros_like(param)
        state["acc_delta"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        rho, eps = group["rho"], group["eps"]
        tick(state)
        grad = decayed(grad, param, group["weight_decay"])
        square = state["square_avg"].mul_(rho).add_(grad * grad, alpha=1 - rho)
        delta = (state["acc_delta"] + eps).sqrt() / (square + eps).sqrt() * grad
        state["acc_delta"].mul_(rho).add_(delta * delta, alpha=1 - rho)
        param.sub_(delta * group["lr"])
