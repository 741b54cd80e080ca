"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.optim._fused import Call
from flambeau.optim._rules import (
    Group,
    Lr,
    OptimizerError,
    State,
    check,
    check_flags,
    check_lr,
    decayed,
    number,
)
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    g = grad + weight_decay * p;  b = momentum * b + (1 - dampening) * g (b = g at the first step)
    p = p - lr * b,  or with nesterov  p = p - lr * (g + momentum * b)

    Args: lr: learning rate >= 0, a number or a tensor of one.  momentum, dampening, weight_decay: >= 0.
        nesterov: needs momentum and no dampening.  maximize: go up instead of down.
        differentiable: record the update for autograd.  foreach, fused: accepted for PyTorch's sake, without
        effect; several parameters share one pass wherever the device has a kernel for it.
    Raises: OptimizerError: a value outside its range.
    Reference: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning"; as in
        PyTorch, lr multiplies the velocity instead of the gradient.

    Example:
        >>> import flambeau as fb
        >>> w = fb.tensor([1.0, 2.0], requires_grad=True)
        >>> opt = fb.optim.SGD([w], lr=0.1, momentum=0.9)
        >>> (w * w).sum().backward()
        >>> opt.step()
        >>> w
        tensor([0.8000, 1.6000], requires_grad=True)
    """

    kernel = "sgd_step_"
    like_param = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check(momentum >= 0.0, "momentum value", momentum)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise OptimizerError(
                "Nesterov momentum requires a momentum and zero dampening, "
                f"got momentum={momentum}, dampening={dampening}"
            )
        check_flags(fused, foreach, differentiable)
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable":
            differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        momentum = group["momentum"]
        grad = decayed(grad, param, group["weight_decay"])
        if momentum != 0:
            velocity = state.get("momentum_buffer")
            if velocity is None:
                velocity = state["momentum_buffer"] = grad.detach().clone()
            else:
                velocity.mul_(momentum).add_(grad, alpha=1 - group["dampening"])
            grad = grad.add(velocity, alpha=momentum) if group["nesterov"] else velocity
        param.sub_(grad * group["lr"])

    def call(self, group: Group) -> Call | None:
        """The arguments of `sgd_step_`."""
        if group["differentiable"]:
            return None
        momentum = group["momentum"]
        return ("momentum_buffer" if momentum else None,), (
            number(group["lr"]), momentum, group["dampening"], number(group["weight_decay"]),
            group["nesterov"], group["maximize"],
        )  # fmt: skip
