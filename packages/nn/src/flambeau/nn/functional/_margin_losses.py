"""Losses of regression, ranking and embeddings: everything but squared errors and cross entropies."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import flambeau as fb
from flambeau.errors import DTypeError, FlambeauError
from flambeau.nn.functional._distance import pairwise_distance
from flambeau.nn.functional._reduction import check_reduction, legacy, reduce_loss, same_shapes
from flambeau.ops import activation as A
from flambeau.tensor import Tensor, describe


class LossArgumentError(FlambeauError, ValueError, RuntimeError):
    """An argument that a loss cannot have, or targets that do not fit."""


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
    *,
    broadcast: bool = False,
) -> Tensor:
    """0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta, with d = input - target.

    Raises: ShapeError: the shapes differ and broadcast is False.
    """
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("smooth_l1_loss", reduction)
    same_shapes("smooth_l1_loss", input, target, broadcast)
    if beta < 0:
        raise LossArgumentError("smooth_l1_loss does not support negative values for beta.")
    d: Any = (input - target).abs()
    loss = d if beta == 0 else fb.where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta)
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
    *,
    broadcast: bool = False,
) -> Tensor:
    """0.5 d^2 where |d| < delta, else delta (|d| - 0.5 delta), with d = input - target.

    Raises: ShapeError: the shapes differ and broadcast is False.
    """
    check_reduction("huber_loss", reduction)
    same_shapes("huber_loss", input, target, broadcast)
    if delta <= 0:
        raise LossArgumentError("huber_loss does not support non-positive values for delta.")
    d: Any = (input - target).abs()
    loss = fb.where(d < delta, d * d * 0.5, (d - 0.5 * delta) * delta)
    if weight is not None:
        loss = loss * weight
        if reduction == "mean":
            return loss.sum() / weight.sum()  # type: ignore[no-any-return]
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log target - input), input being log-probabilities; reduction "batchmean" is the mathematical mean."""
    x: Any = input
    t: Any = target
    reduction = legacy(size_average, reduce, reduction)
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' "
            "divides only by "
            "the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the same as "
            "'batchmean' in the next major release.",
            stacklevel=2,
        )
    if reduction != "batchmean":
        check_reduction("kl_div", reduction)
    loss = t.exp() * (t - x) if log_target else fb.xlogy(t, t) - t * x
    if reduction == "batchmean":
        return loss.sum() / (x._a.shape[0] if x._a.shape else 1)  # type: ignore[no-any-return]
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target * input, or input - target * log(input + eps); full adds Stirling's term of log target!."""
    x: Any = input
    t: Any = target
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("poisson_nll_loss", reduction)
    loss = x.exp() - t * x if log_input else x - t * (x + eps).log()
    if full:
        stirling = t * t.log() - t + 0.5 * (2 * math.pi * t).log()
        loss = loss + fb.where(t > 1, stirling, 0.0)
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """0.5 (log var + (input - target)^2 / var), var being at least eps.

    Raises: LossArgumentError: var has the wrong size or a negative value.
    """
    x: Any = input
    if isinstance(var, float):
        if var < 0:
            raise LossArgumentError("var has negative entry/entries")
        var = fb.full_like(x, var)
    elif bool((var < 0).any()):
        raise LossArgumentError("var has negative entry/entries")
    if var._a.shape != x._a.shape:
        if x._a.shape[:-1] == var._a.shape:
            var = var.unsqueeze(-1)
        elif not (
            x._a.shape[:-1] == var._a.shape[:-1] and var._a.shape[-1:] == (1,)
        ) and not _broadcastable(x, var):
            raise LossArgumentError(
                f"var is of incorrect size: {describe(var)} for input {describe(x)}"
            )
    if reduction not in ("none", "mean", "sum"):
        raise LossArgumentError(f"{reduction} is not valid")
    var = var.clone()
    with fb.no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (x - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def _broadcastable(x: Any, var: Any) -> bool:
    return len(x._a.shape) == len(var._a.shape) and all(
        m in (1, n) for n, m in zip(x._a.shape, var._a.shape)
    )


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1."""
    x: Any = input
    t: Any = target
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("hinge_embedding_loss", reduction)
    loss = fb.where(t.ne(1), (margin - x).clamp_min(0), 0.0) + fb.where(t.ne(-1), x, 0.0)
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * input)), targets being 1 or -1."""
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("soft_margin_loss", reduction)
    return reduce_loss(A.softplus(-(target * input)), reduction)  # type: ignore[no-any-return]


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin), target being 1 where input1 should rank higher, else -1."""
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("margin_ranking_loss", reduction)
    a, b, t = input1, input2, target
    if not len(a._a.shape) == len(b._a.shape) == len(t._a.shape):
        raise LossArgumentError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{a.shape}, input2: {b.shape}, target: {t.shape} "
        )
    loss: Any = (-t * (a - b) + margin).clamp_min(0)
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1."""
    a: Any = input1
    b: Any = input2
    t: Any = target
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("cosine_embedding_loss", reduction)
    rank = len(t._a.shape)
    if rank not in (0, 1) or len(a._a.shape) != rank + 1 or len(b._a.shape) != rank + 1:
        raise LossArgumentError(
            f"cosine_embedding_loss: {rank}D target tensor expects {rank + 1}D input tensors, but found inputs "
            f"with sizes "
            f"{list(a._a.shape)} and {list(b._a.shape)}."
        )
    eps = 1e-12
    cos = (a * b).sum(-1) / ((a * a).sum(-1).add(eps) * (b * b).sum(-1).add(eps)).sqrt()
    loss = fb.where(t.eq(1), 1 - cos, 0.0) + fb.where(t.eq(-1), (cos - margin).clamp_min(0), 0.0)
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d being the p-distance over the last dimension."""
    reduction = legacy(size_average, reduce, reduction)
    if margin <= 0:
        raise LossArgumentError(f"margin must be greater than 0, got {margin}")
    ranks = {len(t._a.shape) for t in (anchor, positive, negative)}
    if len(ranks) > 1:
        raise LossArgumentError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
            "but got: anchor "
            f"{len(anchor._a.shape)}D, positive {len(positive._a.shape)}D, and negative "
            f"{len(negative._a.shape)}D inputs"
        )

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)  # type: ignore[no-any-return]


def _triplet(
    a: Any,
    pos: Any,
    neg: Any,
    distance: Callable[..., Any],
    margin: float,
    swap: bool,
    reduction: str,
) -> Any:
    check_reduction("triplet_margin_loss", reduction)
    near, far = distance(a, pos), distance(a, neg)
    if swap:
        far = fb.minimum(far, distance(pos, neg))
    return reduce_loss((near - far + margin).clamp_min(0), reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with a distance of one's own."""
    if margin <= 0:
        raise LossArgumentError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)  # type: ignore[no-any-return]


# ---- classification by margins
def _labels(op: str, x: Any, t: Any) -> tuple[Any, Any]:
    """Input as (N, C) and class indices as (N,)."""
    if t._kind is not t._kind.int64:
        raise DTypeError(
            f"{op}: expected scalar type Long for target, got {describe(t)}. Hint: target.long()"
        )
    rank = len(x._a.shape)
    if rank > 2 or (not x.numel() and 0 in x._a.shape[-1:]):
        raise LossArgumentError(
            f"{op}: Expected non-empty vector or matrix with optional 0-dim batch size, but got {describe(x)}"
        )
    rows = x if rank == 2 else x.reshape(1, -1)
    t = t.reshape(-1) if len(t._a.shape) < 2 else t
    if t._a.shape != (rows._a.shape[0],):
        raise LossArgumentError(
            f"{op}: inconsistent target size, got {describe(t)} for input {describe(x)}"
        )
    return rows, t


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over the classes i != target of weight[target] max(0, margin - input[target] + input[i])^p."""
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("multi_margin_loss", reduction)
    if p not in (1, 2):
        raise LossArgumentError("only p == 1 and p == 2 supported")
    x, t = _labels("multi_margin_loss", input, target)
    own = x.gather(1, t.unsqueeze(1))
    terms = (x - own + margin).clamp_min(0)
    if p == 2:
        terms = terms * terms
    if weight is not None:
        if weight._a.shape != (x._a.shape[1],):
            raise LossArgumentError(
                f"multi_margin_loss: inconsistent weight size, expected {x._a.shape[1]} but got {describe(weight)}"
            )
        terms = terms * weight[t].unsqueeze(1)
    others = fb.ones_like(x.detach()).scatter(1, t.unsqueeze(1), 0.0)
    loss = (terms * others).sum(1) / x._a.shape[1]
    if len(input._a.shape) < 2 and reduction == "none":
        return loss[0]  # type: ignore[no-any-return]
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Sum over labels j and other classes i of max(0, 1 - (input[j] - input[i])) / C; targets end at the first -1."""
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("multilabel_margin_loss", reduction)
    x: Any = input
    t: Any = target
    if t._kind is not t._kind.int64:
        raise DTypeError(
            f"multilabel_margin_loss: expected scalar type Long for target, got {describe(t)}"
        )
    if x._a.shape != t._a.shape or len(x._a.shape) > 2:
        raise LossArgumentError(
            f"multilabel_margin_loss: inconsistent target size, got {describe(t)} for input {describe(x)}"
        )
    rows = x.reshape(1, -1) if len(x._a.shape) < 2 else x
    t = t.reshape(rows._a.shape)
    n, c = rows._a.shape
    alive = (t < 0).long().cumsum(1).eq(0)
    index = fb.where(alive, t, 0)
    counts = fb.zeros((n, c), dtype=x.dtype, device=x.device).scatter_add(
        1, index, alive.to(x.dtype)
    )
    is_label = counts > 0
    own = rows.gather(1, index)
    terms = (1 - own.unsqueeze(2) + rows.unsqueeze(1)).clamp_min(0)
    valid = (alive.unsqueeze(2) & is_label.logical_not().unsqueeze(1)).to(x.dtype)
    loss = (terms * valid).sum((1, 2)) / c
    if reduction == "none":
        return loss if len(x._a.shape) == 2 else loss[0]  # type: ignore[no-any-return]
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over the classes of binary cross entropies of logits."""
    x: Any = input
    t: Any = target
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("multilabel_soft_margin_loss", reduction)
    loss: Any = -(t * A.logsigmoid(x) + (1 - t) * A.logsigmoid(-x))
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss.mean(-1), reduction)  # type: ignore[no-any-return]
