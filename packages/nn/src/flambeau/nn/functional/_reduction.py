"""What all losses share: reductions, and the check that input and target have one shape."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.errors import FlambeauError, ShapeError
from flambeau.shape import broadcast_shapes
from flambeau.tensor import Tensor, describe


class ReductionError(FlambeauError, ValueError):
    """A reduction that does not exist."""


def check_reduction(op: str, reduction: str) -> None:
    """Raise ReductionError unless reduction is one of the three."""
    if reduction not in ("mean", "sum", "none"):
        raise ReductionError(
            f"{op}: {reduction!r} is not a valid value for reduction. Hint: 'mean', 'sum' or 'none'"
        )


def reduce_loss(loss: Any, reduction: str) -> Any:
    """Mean, sum, or the loss as it is."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def legacy(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's old pair of arguments means."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        found = "none"
    else:
        found = "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.",
        stacklevel=3,
    )
    return found


def same_shapes(op: str, input: Tensor, target: Any, broadcast: bool) -> None:
    """Refuse shapes that would broadcast silently, unless the caller asks for it.

    Raises: ShapeError: input and target differ.
    """
    a, b = input._a.shape, target._a.shape
    if a == b:
        return
    if broadcast:
        broadcast_shapes(a, b)
        return
    if a == (*b, 1):
        fix = "target.unsqueeze(-1), or input.squeeze(-1)"
    elif b == (*a, 1):
        fix = "target.squeeze(-1), or input.unsqueeze(-1)"
    else:
        fix = "reshape one of them; broadcast=True allows it where it is meant"
    raise ShapeError(
        f"{op}: input and target must have the same shape, got {describe(input)} and {describe(target)}; "
        f"broadcasting them "
        f"would compare every element with others' targets. Hint: {fix}"
    )
