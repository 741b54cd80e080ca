"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.dtypes import finfo
from flambeau.errors import DTypeError
from flambeau.ops.creation import zeros_like
from flambeau.ops.elementwise import maximum
from flambeau.optim._rules import (
    Group,
    Lr,
    State,
    check_lr,
    counter,
    number,
    require,
    root_mean_square,
    tick,
)
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor, describe


class Adafactor(Optimizer):
    """Adam's scaling with the squared gradients of a matrix kept as one row and one column.

    b = t ** beta2_decay;  row = row + b * (mean of g ** 2 over columns - row);  column likewise over rows
    v = row @ column / mean(row);  u = g / sqrt(max(v, eps[0] ** 2));  r = min(lr, 1 / sqrt(t))
    p = p - max(eps[1], rms(p)) * r * u / max(1, rms(u) / d)

    Args: lr: largest relative step, >= 0.  beta2_decay: <= 0.  eps: below which squared gradients are lifted (None: the
        dtype's resolution), and the smallest scale of a parameter.  d: where steps are clipped, >= 1.
        weight_decay: >= 0, taken off the parameter times lr.  maximize: go up instead of down.
        foreach: accepted for PyTorch's sake, without effect.
    Raises: OptimizerError: a value outside its range.  DTypeError (at a step): complex parameters.
    Reference: Shazeer, Stern 2018, arXiv:1804.04235, algorithms 4 and 5, as PyTorch reads them.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        require(beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}")
        require(eps[0] is None or eps[0] >= 0.0, f"epsilon1 should be >= 0 but is: {eps[0]}")
        require(eps[1] >= 0.0, f"epsilon2 should be >= 0 but is: {eps[1]}")
        require(d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}")
        require(weight_decay >= 0.0, f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Zeros for row and column, or for the whole of a vector."""
        if param.is_complex():
            raise DTypeError(f"Adafactor does not support complex parameters ({describe(param)})")
        state["step"] = counter()
        whole: Any = param
        if param.dim() > 1:
            state["row_var"] = zeros_like(whole[..., :1])
            state["col_var"] = zeros_like(whole[..., :1, :])
        else:
            state["variance"] = zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """One parameter's step."""
        lr, (eps1, eps2) = number(group["lr"]), group["eps"]
        eps1 = finfo(param.dtype).eps if eps1 is None else eps1
        t = tick(state)
        share = t ** group["beta2_decay"]
        size = max(eps2, root_mean_square(param)) * min(lr, t**-0.5)
        if group["weight_decay"] != 0:
            param.mul_(1 - lr * group["weight_decay"])
        square = grad * grad
        if param.dim() > 1:
            row, column = state["row_var"], state["col_var"]
            row.add_(square.mean(-1, keepdim=True) - row, alpha=share)
            column.add_(square.mean(-2, keepdim=True) - column, alpha=share)
            variance = row * column / maximum(row.mean(-2, keepdim=True), eps1)
        else:
            variance = state["variance"].add_(square - state["variance"], alpha=share)
        step = maximum(variance, eps1 * eps1).rsqrt() * grad
        param.sub_(step * (size / max(1.0, root_mean_square(step) / group["d"])))
