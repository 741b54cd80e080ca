"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
from flambeau.optim._fused import Call
from flambeau.optim._rules import Group, Lr, State, check, check_lr, counter, decayed, number, tick
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class RMSprop(Optimizer):
    """Gradient descent with each coordinate scaled by the root of its mean squared gradient.

    v = alpha * v + (1 - alpha) * g ** 2;  a = sqrt(v) + eps, or if centered  a = sqrt(v - mean(g) ** 2) + eps
    p = p - lr * g / a,  or with momentum  b = momentum * b + g / a,  p = p - lr * b

    Args: lr, alpha, eps, weight_decay, momentum: >= 0.  centered: divide by the estimated standard deviation.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        capturable, foreach: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Hinton 2012, lecture 6e of the course "Neural networks for machine learning"; centered: Graves 2013,
        arXiv:1308.0850. As in PyTorch, eps is added after the root.
    """

    kernel = "rmsprop_step_"
    like_param = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check(momentum >= 0.0, "momentum value", momentum)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        check(alpha >= 0.0, "alpha value", alpha)
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize":
            maximize, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for every average that the options need."""
        state["step"] = counter()
        state["square_avg"] = zeros_like(param)
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        alpha, square_avg = group["alpha"], state["square_avg"]
        tick(state)
        grad = decayed(grad, param, group["weight_decay"])
        square_avg.mul_(alpha).add_(grad * grad, alpha=1 - alpha)
        variance = square_avg
        if group["centered"]:
            mean = state["grad_avg"].mul_(alpha).add_(grad, alpha=1 - alpha)
            variance = square_avg - mean * mean
        scaled = grad / (variance.sqrt() + group["eps"])
        if group["momentum"] > 0:
            scaled = state["momentum_buffer"].mul_(group["momentum"]).add_(scaled)
        param.sub_(scaled * group["lr"])

    def call(self, group: Group) -> Call | None:
        """The arguments of `rmsprop_step_`."""
        if group["differentiable"]:
            return None
        momentum = group["momentum"]
        names = (
            "square_avg",
            "grad_avg" if group["centered"] else None,
            "momentum_buffer" if momentum > 0 else None,
            "step",
        )
        return names, (
            number(group["lr"]), group["alpha"], group["eps"], group["weight_decay"], momentum,
            group["maximize"],
        )  # fmt: skip
