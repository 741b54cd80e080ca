"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
from flambeau.optim._rules import Group, Lr, State, check, check_lr, counter, decayed, number, tick
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class ASGD(Optimizer):
    """Gradient descent that keeps the average of the parameters in `state[p]["ax"]`.

    p = (1 - lambd * eta) * p - eta * g;  ax = ax + mu * (p - ax)
    then eta = lr / (1 + lambd * lr * t) ** alpha and mu = 1 / max(1, t - t0)

    Args: lr, weight_decay: >= 0.  lambd: decay.  alpha: power of eta's schedule.  t0: step at which averaging starts.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        foreach, capturable: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.
    Reference: Polyak, Juditsky 1992, SIAM J. Control Optim. 30(4).
    """

    like_param = ("ax",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """The first step length, and no average yet."""
        state["step"] = counter()
        state["eta"] = counter() + number(group["lr"])
        state["mu"] = counter() + 1
        state["ax"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        lr, lambd = number(group["lr"]), group["lambd"]
        t = tick(state)
        grad = decayed(grad, param, group["weight_decay"])
        eta, mu, average = state["eta"].item(), state["mu"].item(), state["ax"]
        param.mul_(1 - lambd * eta).sub_(grad * eta)
        if mu == 1:
            average.copy_(param)
        else:
            average.add_((param - average) * mu)
        state["eta"].copy_(counter() + lr / (1 + lambd * lr * t) ** group["alpha"])
        state["mu"].copy_(counter() + 1 / max(1, t - group["t0"]))
