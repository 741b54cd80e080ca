"""Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
from flambeau.ops.elementwise import maximum
from flambeau.optim._fused import Call
from flambeau.optim._rules import (
    Group,
    Lr,
    OptimizerError,
    State,
    check,
    check_betas,
    check_flags,
    check_lr,
    counter,
    decayed,
    number,
    tick,
)
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor

Betas = tuple[float | Tensor, float | Tensor]


class Adam(Optimizer):
    """Gradient descent with momentum, each coordinate scaled by the root of its mean squared gradient.

    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g ** 2
    p = p - lr * (m / (1 - beta1 ** t)) / (sqrt(v / (1 - beta2 ** t)) + eps)      at step t = 1, 2, ...

    Args: lr: learning rate >= 0, a number or a tensor of one.  betas: decay of the two averages, in [0, 1).
        eps: >= 0, added to the root.  weight_decay: >= 0; adds weight_decay * p to the gradient, or, if
        decoupled_weight_decay, takes lr * weight_decay * p from p.  amsgrad: divide by the largest v so far.
        maximize: go up instead of down.  differentiable: record the update for autograd.
        foreach, capturable, fused: accepted for PyTorch's sake, without effect; several parameters share one
        pass wherever the device has a kernel for it.
    Raises: OptimizerError: a value outside its range.
    Reference: Kingma, Ba 2015, arXiv:1412.6980, algorithm 1; amsgrad: Reddi et al. 2018, arXiv:1904.09237.

    Example:
        >>> import flambeau as fb
        >>> w = fb.tensor([1.0, -2.0], requires_grad=True)
        >>> opt = fb.optim.Adam([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> opt.step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    kernel = "adam_step_"
    like_param = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_lr(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
            raise OptimizerError(f"betas must be either both floats or both Tensors, got {betas}")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor) and beta.numel() != 1:
                raise OptimizerError(f"Tensor betas[{i}] must be 1-element")
        check_flags(fused, foreach, differentiable)
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad":
            amsgrad, "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable, "fused": fused, "decoupled_weight_decay":
            decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for both averages."""
        state["step"] = counter()
        state["exp_avg"] = zeros_like(param)
        state["exp_avg_sq"] = zeros_like(param)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        beta1, beta2 = map(number, group["betas"])
        lr, weight_decay = group["lr"], group["weight_decay"]
        t = tick(state)
        if group["decoupled_weight_decay"]:
            if weight_decay != 0:
                param.mul_(1 - lr * weight_decay)
        else:
            grad = decayed(grad, param, weight_decay)
        mean = state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).add_(grad * grad, alpha=1 - beta2)
        if group["amsgrad"]:
            square = state["max_exp_avg_sq"].copy_(maximum(state["max_exp_avg_sq"], square))
        root = square.sqrt() / (1 - beta2**t) ** 0.5 + group["eps"]
        param.sub_(mean / root * (lr / (1 - beta1**t)))

    def call(self, group: Group) -> Call | None:
        """The arguments of `adam_step_`."""
        if group["differentiable"]:
            return None
        beta1, beta2 = group["betas"]
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None, "step")
        return names, (
            number(group["lr"]), number(beta1), number(beta2), group["eps"],
            number(group["weight_decay"]), group["decoupled_weight_decay"], group["maximize"],
        )  # fmt: skip
