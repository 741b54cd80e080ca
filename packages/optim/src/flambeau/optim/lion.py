"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.ops.creation import zeros_like
from flambeau.optim._rules import Group, Lr, State, check, check_betas, check_lr
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class Lion(Optimizer):
    """Steps by the sign of the momentum: every coordinate moves by lr.

    p = (1 - lr * weight_decay) * p - lr * sign(beta1 * m + (1 - beta1) * g);  m = beta2 * m + (1 - beta2) * g

    Args: lr: >= 0; a third to a tenth of AdamW's suits it.  betas: in [0, 1).
        weight_decay: >= 0; three to ten times AdamW's.  maximize: go up instead of down.
    Raises: OptimizerError: a value outside its range.
    Reference: Chen et al. 2023, arXiv:2302.06675, algorithm 2.

    Example:
        >>> import flambeau as fb
        >>> w = fb.tensor([1.0, -2.0], requires_grad=True)
        >>> opt = fb.optim.Lion([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> opt.step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    like_param = ("exp_avg",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        super().__init__(
            params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        )

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """No momentum yet."""
        state["exp_avg"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        beta1, beta2 = group["betas"]
        lr, mean = group["lr"], state["exp_avg"]
        direction = (mean * beta1 + grad * (1 - beta1)).sign()
        param.mul_(1 - lr * group["weight_decay"]).sub_(direction * lr)
        mean.mul_(beta2).add_(grad, alpha=1 - beta2)
