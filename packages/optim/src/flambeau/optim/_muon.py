"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flambeau.errors import DTypeError
from flambeau.ops.creation import zeros_like
from flambeau.ops.elementwise import maximum
from flambeau.optim._rules import Group, Lr, State, check_lr, norm, number, require
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor, describe


class Muon(Optimizer):
    """Momentum whose step is made orthogonal: for the weight matrices of hidden layers.

    b = b + (1 - momentum) * (g - b);  o = orthogonalize(g + momentum * (b - g) if nesterov else b)
    p = (1 - lr * weight_decay) * p - adjusted lr * o

    Biases, embeddings and everything else that is no matrix belong to another optimizer, such as AdamW.

    Args: lr, weight_decay, momentum: >= 0.  ns_coefficients, ns_steps, eps: of the Newton-Schulz iteration.
        adjust_lr_fn: "original" (or None) scales lr by sqrt(max(1, rows / columns)), "match_rms_adamw" by
        0.2 * sqrt(max(rows, columns)), which lets AdamW's lr and weight_decay be used.
    Raises: OptimizerError: a value outside its range, or a parameter that is no matrix.
    Numerics: the iteration runs in float32 (float64 for float64 parameters); PyTorch's runs in bfloat16, so its
        steps differ from these by that rounding, about 1e-2 relative.
    Reference: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks";
        match_rms_adamw: Liu et al. 2025, arXiv:2502.16982.
    """

    like_param = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        require(momentum >= 0.0, f"momentum should be >= 0 but is: {momentum}")
        require(weight_decay >= 0.0, f"weight decay should be >= 0 but is: {weight_decay}")
        require(
            adjust_lr_fn in (None, "original", "match_rms_adamw"),
            f"Adjust learning rate function {adjust_lr_fn} is not supported. Hint: 'original' or 'match_rms_adamw'",
        )
        require(
            ns_steps < 100,
            f"Number of steps must be less than 100 for computational efficiency, got {ns_steps}",
        )
        require(
            len(ns_coefficients) == 3,
            f"Coefficients must be a tuple of exactly 3 values, got {ns_coefficients}",
        )
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn":
            adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of matrices."""
        super().add_param_group(param_group)
        for param in param_group["params"]:
            if param.dim() != 2:
                self.param_groups.pop()
                require(
                    False,
                    f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}",
                )

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """No momentum yet."""
        if param.is_complex():
            raise DTypeError(f"Muon does not support complex parameters ({describe(param)})")
        state["momentum_buffer"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        lr, momentum = number(group["lr"]), group["momentum"]
        velocity = state["momentum_buffer"].mul_(momentum).add_(grad, alpha=1 - momentum)
        if group["nesterov"]:
            velocity = grad * (1 - momentum) + velocity * momentum
        step = orthogonalized(velocity, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = param.shape
        scale = 0.2 * math.sqrt(max(rows, columns))
        if group["adjust_lr_fn"] != "match_rms_adamw":
            scale = math.sqrt(max(1, rows / columns))
        param.mul_(1 - lr * group["weight_decay"]).sub_(step * (lr * scale))


def orthogonalized(
    x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Any:
    """A matrix near x with singular values near 1, by the iteration x = a x + (b A + c A A) x with A = x x^T."""
    a, b, c = coefficients
    tall = x._a.shape[0] > x._a.shape[1]
    y: Any = x.mT if tall else x
    y = y / maximum(norm(y), eps)
    for _ in range(steps):
        gram = y @ y.mT
        y = y * a + (gram * b + (gram @ gram) * c) @ y
    return y.mT if tall else y
