"""SparseAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.errors import DTypeError
from flambeau.optim._rules import Group, Lr, State, check, check_betas, check_lr, require
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor, describe


class SparseAdam(Optimizer):
    """Adam for sparse gradients, of which there are none here: its step refuses dense ones, as PyTorch's does.

    It exists so that code which chooses it by name gets an error that says what to use instead.

    Args: as for Adam; lr and eps are > 0.
    Raises: OptimizerError: a value outside its range, or complex parameters.  DTypeError (at a step): a dense gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        check(lr > 0.0, "learning rate", lr, "a number > 0")
        check(eps > 0.0, "epsilon value", eps, "a number > 0")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        groups = enumerate(self.param_groups)
        found = [
            [i, j] for i, group in groups for j, p in enumerate(group["params"]) if p.is_complex()
        ]
        require(
            not found,
            f"Complex params at indices {found}: SparseAdam does not support complex parameters",
        )

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Refuse a dense gradient."""
        raise DTypeError(
            f"SparseAdam does not support dense gradients, please consider Adam instead (grad: {describe(grad)})"
        )
