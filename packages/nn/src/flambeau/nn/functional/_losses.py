"""Losses between predictions and targets of one shape: squared, absolute, binary cross entropy."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau.errors import DTypeError, ShapeError
from flambeau.nn.functional._reduction import check_reduction, legacy, reduce_loss, same_shapes
from flambeau.ops._op import op
from flambeau.ops._recover import common_device
from flambeau.ops.elementwise import mul, neg, sub
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe


def _scalar(x: Shape, *rest: Any) -> Shape:
    return () if rest[-1] else x


def _spread(g: Any, scale: bool, like: Any) -> Any:
    """The gradient of a mean (over like's elements) as a factor of like's elements."""
    return mul(g, 1.0 / like.numel()) if scale and like.numel() else g


@op(shape=_scalar, kernel="mse_loss", node="MseLossBackward0")
def _mse(input: Tensor, target: Tensor, mean: bool) -> Tensor:
    """Mean or sum of squared differences, as one node."""
    d: Any = sub(input, target)
    total = mul(d, d)
    return total.mean() if mean else total.sum()


@op(shape=lambda g, x, t, mean: x, kernel="mse_loss_backward", node="MseLossBackwardBackward0")
def _mse_grad(grad: Tensor, input: Tensor, target: Tensor, mean: bool) -> Tensor:
    """2 (input - target) grad, over the element count for a mean."""
    return mul(sub(input, target), mul(_spread(grad, mean, input), 2.0))


_mse_grad.vjp(
    grad=lambda g, input, target, mean: mul(g, _mse_slope(input, target, mean)).sum(),
    input=lambda g, grad, input, mean: mul(g, mul(_spread(grad, mean, input), 2.0)),
    target=lambda g, grad, input, mean: mul(g, mul(_spread(grad, mean, input), -2.0)),
)


def _mse_slope(x: Any, target: Any, mean: bool) -> Any:
    return mul(sub(x, target), 2.0 / x.numel() if mean and x.numel() else 2.0)


_mse.vjp(
    input=lambda g, input, target, mean: _mse_grad(g, input, target, mean),
    target=lambda g, input, target, mean: _mse_grad(g, target, input, mean),
)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
    *,
    broadcast: bool = False,
) -> Tensor:
    """Mean squared error; weight: of each element, dividing by the weights' sum.

    Raises: ShapeError: the shapes differ and broadcast is False.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.mse_loss(fb.tensor([1.0, 2.0]), fb.tensor([1.0, 4.0]))
        tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy(size_average, reduce, reduction)
    if (
        input._kind is target._kind
        and input._a.shape == target._a.shape
        and weight is None
        and input._kind.inexact is not None
    ):
        if reduction == "mean":
            return _mse(input, target, True)
        if reduction == "sum":
            return _mse(input, target, False)
    check_reduction("mse_loss", reduction)
    same_shapes("mse_loss", input, target, broadcast)
    d: Any = sub(input, target)
    return _weighted("mse_loss", mul(d, d), weight, reduction, input)  # type: ignore[no-any-return]


def _weighted(name: str, loss: Any, weight: Any, reduction: str, input: Tensor) -> Any:
    if weight is None:
        return reduce_loss(loss, reduction)
    if weight._a.shape != input._a.shape:
        raise ShapeError(
            f"{name}: Weights and input must have the same size, got {describe(weight)} and {describe(input)}"
        )
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduce_loss(loss, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
    *,
    broadcast: bool = False,
) -> Tensor:
    """Mean absolute error.

    Raises: ShapeError: the shapes differ and broadcast is False.
    """
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("l1_loss", reduction)
    same_shapes("l1_loss", input, target, broadcast)
    return _weighted("l1_loss", sub(input, target).abs(), weight, reduction, input)  # type: ignore[no-any-return]


# ---- binary cross entropy
@op(shape=_scalar, kernel="bce_loss", node="BinaryCrossEntropyBackward0")
def _bce(input: Tensor, target: Tensor, mean: bool) -> Tensor:
    """Mean or sum of -(t log p + (1 - t) log(1 - p)), as one node; logarithms end at -100."""
    loss = _bce_terms(input, target)
    return loss.mean() if mean else loss.sum()  # type: ignore[no-any-return]


def _bce_terms(p: Any, t: Any) -> Any:
    return -(t * fb.clamp(fb.log(p), min=-100.0) + (1 - t) * fb.clamp(fb.log1p(-p), min=-100.0))


@op(
    shape=lambda g, p, t, mean: p,
    kernel="bce_loss_backward",
    node="BinaryCrossEntropyBackwardBackward0",
)
def _bce_grad(grad: Tensor, input: Tensor, target: Tensor, mean: bool) -> Tensor:
    """grad (p - t) / (p (1 - p)), over the element count for a mean."""
    return mul(_bce_slope(input, target), _spread(grad, mean, input))


def _bce_slope(p: Any, t: Any) -> Any:
    return (p - t) / fb.clamp(p * (1 - p), min=1e-12)


def _bce_second(g: Any, grad: Any, p: Any, t: Any, mean: bool) -> Any:
    width = fb.clamp(p * (1 - p), min=1e-12)
    return g * _spread(grad, mean, p) * (p * p - 2 * p * t + t) / (width * width)


_bce_grad.vjp(
    grad=lambda g, input, target, mean: (g * _spread(_bce_slope(input, target), mean, input)).sum(),
    input=lambda g, grad, input, target, mean: _bce_second(g, grad, input, target, mean),
    target=lambda g, grad, input, mean: (
        -g * _spread(grad, mean, input) / fb.clamp(input * (1 - input), min=1e-12)
    ),
)
_bce.vjp(
    input=lambda g, input, target, mean: _bce_grad(g, input, target, mean),
    target=lambda g, input, mean: (
        _spread(g, mean, input) * (fb.log1p(-input) - fb.log(input)).clamp(-100.0, 100.0)
    ),
)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross entropy between probabilities and targets, both in [0, 1].

    Raises: ShapeError: the shapes differ, or a probability outside [0, 1].
    """
    if size_average is not None or reduce is not None:
        reduction = legacy(size_average, reduce, reduction)
    if input._kind is target._kind and input._a.shape == target._a.shape and weight is None:
        if reduction == "mean":
            return _bce(input, target, True)
        if reduction == "sum":
            return _bce(input, target, False)
    check_reduction("binary_cross_entropy", reduction)
    if input._a.shape != target._a.shape:
        raise ShapeError(
            f"binary_cross_entropy: Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) "
            f"is not allowed, got {describe(input)} and {describe(target)}. Hint: target.view_as(input)"
        )
    if input._kind is not target._kind:
        common_device("binary_cross_entropy", (input, target))
        raise DTypeError(
            f"binary_cross_entropy: input and target must have one dtype, got {describe(input)} and "
            f"{describe(target)}. "
            "Hint: target.to(input.dtype)"
        )
    check_probabilities(input, target)
    loss = _bce_none(input, target)
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


@op(shape=lambda p, t: p, kernel="bce_terms", node="BinaryCrossEntropyBackward0")
def _bce_none(input: Tensor, target: Tensor) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)); logarithms end at -100."""
    return _bce_terms(input, target)  # type: ignore[no-any-return]


_bce_none.vjp(
    input=lambda g, input, target: g * _bce_slope(input, target),
    target=lambda g, input: g * (fb.log1p(-input) - fb.log(input)).clamp(-100.0, 100.0),
)


def check_probabilities(p: Any, target: Any) -> None:
    """Raise ShapeError unless all values are in [0, 1] and no target is nan."""
    if not p.numel():
        return
    if not bool((p.ge(0) & p.le(1)).all()) and not bool(p.isnan().any()):
        raise ShapeError(
            f"binary_cross_entropy: all elements of input should be between 0 and 1, got {p.min().item():g} to "
            f"{p.max().item():g} ({describe(p)}). Hint: binary_cross_entropy_with_logits takes raw scores"
        )
    if bool(target.isnan().any()):
        raise ShapeError(
            f"binary_cross_entropy: target contains nan ({describe(target)}). Hint: target.isnan().any()"
        )


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of logits: sigmoid and loss together, finite for any logit.

    Args: pos_weight: weight of positive targets, broadcast to input.
    Raises: ShapeError: the shapes differ.
    """
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("binary_cross_entropy_with_logits", reduction)
    x: Any = input
    t: Any = target
    if x._a.shape != t._a.shape:
        raise ShapeError(
            f"binary_cross_entropy_with_logits: Target size ({t.shape}) must be the same as input size "
            f"({x.shape}), got "
            f"{describe(x)} and {describe(t)}. Hint: target.view_as(input)"
        )
    if pos_weight is None:
        loss = _bce_logits(x, t) if x._kind is t._kind else _bce_logits(x, t.to(x.dtype))
    else:
        factor = (pos_weight - 1) * t + 1
        loss = (1 - t) * x + factor * fb.nn.functional.softplus(-x)  # type: ignore[attr-defined]
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


@op(shape=lambda x, t: x, kernel="bce_with_logits", node="BinaryCrossEntropyWithLogitsBackward0")
def _bce_logits(input: Tensor, target: Tensor) -> Tensor:
    """max(x, 0) - x t + log(1 + exp(-|x|))."""
    x: Any = input
    return x.relu() - x * target + fb.log1p(fb.exp(-x.abs()))  # type: ignore[no-any-return]


_bce_logits.vjp(
    input=lambda g, input, target: g * (fb.sigmoid(input) - target),
    target=lambda g, input: neg(g * input),
)


__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "l1_loss", "mse_loss"]
