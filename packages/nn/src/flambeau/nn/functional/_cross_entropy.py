"""Cross entropy and the negative log-likelihood of classes."""

from __future__ import annotations

from typing import Any

import flambeau as fb
import flambeau.autograd.node as _node
from flambeau import dtypes
from flambeau.autograd.node import Node, freed, stale
from flambeau.autograd.state import state
from flambeau.errors import DTypeError, FlambeauError, IndexRangeError, ShapeError
from flambeau.nn.functional._linear import linear
from flambeau.nn.functional._reduction import check_reduction, legacy, reduce_loss
from flambeau.ops._recover import no_room
from flambeau.tensor import Tensor, describe, wrap

_new = object.__new__


class NllLossBackward0(Node):
    """Node of the fused cross entropy of (N, C) logits and class indices."""

    __slots__ = ("ignore", "weight")

    def apply(self, g: Tensor) -> Any:
        """Softmax minus one-hot, over the number of targets that count."""
        s = self.saved
        if s is None:
            raise freed(self)
        x, x_v, target, t_v, e, total = s
        for t, v in ((x, x_v), (target, t_v)):
            now = 0 if t._s is None else t._s.version
            if now != v:
                raise stale(self, t._a.shape, v, now)
        if state.grad:
            return (_soft_grad(g, x, target, self.ignore),)  # type: ignore[attr-defined]
        m = x._kind
        return (wrap(m.k["cross_entropy_backward"](g._a, e, total, target._a, self.ignore), m),)  # type: ignore[attr-defined]


def _soft_grad(g: Any, x: Any, target: Any, ignore: int) -> Any:
    """The gradient in differentiable operations, for second derivatives."""
    keep = target.ne(ignore)
    kept = keep.to(x.dtype)
    safe = fb.where(keep, target, 0)
    hot = fb.zeros_like(x).scatter(1, safe.unsqueeze(1), 1.0)
    return (fb.softmax(x, 1) - hot) * (kept / kept.sum()).unsqueeze(1) * g


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy between logits (N, C, ...) and classes: indices (N, ...) int64, or probabilities of input's shape.

    Args: weight: (C,), of each class.  ignore_index: targets that do not count.  reduction: "mean", "sum" or "none".
        label_smoothing: share of the uniform distribution in the target, in [0, 1].
    Raises: IndexRangeError: a target outside [0, C).  ShapeError, DTypeError: target does not fit input.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.cross_entropy(fb.zeros(2, 4), fb.tensor([0, 3]))
        tensor(1.3863)
    """
    m = input._kind
    if (
        weight is None
        and reduction == "mean"
        and label_smoothing == 0.0
        and size_average is None
        and reduce is None
        and target._kind is m.int64
        and len(input._a.shape) == 2
        and input._a.shape[:1] == target._a.shape
        and m.k["cross_entropy"] is not None
    ):
        try:
            loss, e, total = m.k["cross_entropy"](input._a, target._a, ignore_index)
        except IndexError:
            _check_range(input, target, ignore_index)
            raise
        except MemoryError as error:
            raise no_room("cross_entropy", m, error) from None
        t: Tensor = _new(Tensor)
        t._a, t._kind = loss, m
        t._s = t._v = None
        if state.grad and input._g is not None:
            n = NllLossBackward0()
            n.edges = (input._g,)
            s, u = input._s, target._s
            n.saved = (
                input,
                0 if s is None else s.version,
                target,
                0 if u is None else u.version,
                e,
                total,
            )
            n.ignore, n.hooks = ignore_index, None  # type: ignore[attr-defined]
            n.seq, n.shape, n.kind = _node.next_seq(), (), m
            t._g = n
            if _node.packer is not None:
                _node.packer(n)
        else:
            t._g = None
        return t
    return _general(  # type: ignore[no-any-return]
        input,
        target,
        weight,
        legacy(size_average, reduce, reduction),
        ignore_index,
        label_smoothing,
    )


def _general(
    x: Any, target: Any, weight: Any, reduction: str, ignore: int, smoothing: float
) -> Any:
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= smoothing <= 1.0:
        raise ShapeError(f"label_smoothing must be between 0.0 and 1.0. Got: {smoothing}")
    if not x._a.shape:
        raise ShapeError(f"cross_entropy: input needs a class dimension, got {describe(x)}")
    dim = 0 if x.dim() == 1 else 1
    classes = x._a.shape[dim]
    if target._a.shape == x._a.shape and target._kind.inexact is not None:
        return _probabilities(x, target, weight, reduction, smoothing, dim)
    _check_target("cross_entropy", x, target, dim)
    if weight is not None and weight._a.shape != (classes,):
        raise ShapeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or no classes "
            f"but got weight "
            f"tensor of shape: {list(weight._a.shape)}"
        )
    logp = fb.log_softmax(x, dim)
    if smoothing == 0.0:
        return nll_loss(logp, target, weight, ignore_index=ignore, reduction=reduction)
    keep = target.ne(ignore)
    hard = nll_loss(logp, target, weight, ignore_index=ignore, reduction="none")
    shape = [1] * x.dim()
    shape[dim] = classes
    spread = -(logp if weight is None else logp * weight.view(shape)).sum(dim)
    spread = fb.where(keep, spread, 0.0)
    loss = hard * (1.0 - smoothing) + spread * (smoothing / classes)
    if reduction == "mean":
        return loss.sum() / _weights_of(target, weight, keep, x).sum()
    return reduce_loss(loss, reduction)


def _probabilities(
    x: Any, target: Any, weight: Any, reduction: str, smoothing: float, dim: int
) -> Any:
    classes = x._a.shape[dim]
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / classes
    terms = fb.log_softmax(x, dim) * target
    if weight is not None:
        shape = [1] * x.dim()
        shape[dim] = classes
        terms = terms * weight.view(shape)
    loss = -terms.sum(dim)
    if reduction == "mean":
        count = x.numel() // classes if classes else 0
        return loss.sum() / count if count else loss.sum() * float("nan")
    return reduce_loss(loss, reduction)


def _weights_of(target: Any, weight: Any, keep: Any, x: Any) -> Any:
    if weight is None:
        return keep.to(x.dtype)
    return fb.where(keep, weight[fb.where(keep, target, 0)], 0.0)


class TargetError(FlambeauError, ValueError):
    """A target whose batch does not fit the input's."""


def _check_target(op: str, x: Any, target: Any, dim: int) -> None:
    if target._kind.dtype.category != dtypes.INTEGER:
        raise DTypeError(
            f"{op}: expected scalar type Long for class indices, or floating-point probabilities of input's "
            f"shape, got target "
            f"{describe(target)} (input: {describe(x)}). Hint: target.long()"
        )
    have, shape = target._a.shape, x._a.shape
    wanted = shape[:dim] + shape[dim + 1 :]
    if have == wanted:
        return
    hint = (
        "Hint: target.squeeze(1)"
        if have == (*wanted, 1)
        else f"Hint: class indices of shape {tuple(wanted)}"
    )
    if have[:1] != shape[:1] and dim:
        raise TargetError(
            f"{op}: Expected input batch_size ({shape[0]}) to match target batch_size "
            f"({have[0] if have else 'none'}), got "
            f"input {describe(x)} and target {describe(target)}. {hint}"
        )
    rule = (
        f"{len(wanted)}D target tensor expected, multi-target not supported"
        if len(have) != len(wanted)
        else "size mismatch"
    )
    raise ShapeError(
        f"{op}: {rule}: needs target {tuple(wanted)}, got {describe(target)} (input: {describe(x)}). {hint}"
    )


def _check_range(x: Any, target: Any, ignore: int) -> None:
    """Raise IndexRangeError for a target that is no class."""
    classes = x._a.shape[0 if x.dim() == 1 else 1]
    bad = target.lt(0).bitwise_or(target.ge(classes)).bitwise_and(target.ne(ignore))
    wrong = [t for t, b in zip(target.reshape(-1).tolist(), bad.reshape(-1).tolist()) if b]
    if wrong:
        from flambeau._live import called

        raise IndexRangeError(
            f"{called('cross_entropy')}: Target {wrong[0]} is out of bounds: classes are 0 to {classes - 1}, as input "
            f"is {describe(x)}. "
            f"Hint: {'number classes from 0' if wrong[0] == classes else 'check the labels, or set ignore_index'}"
        )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of class indices under log-probabilities (N, C, ...); the other half of cross_entropy.

    Raises: IndexRangeError: a target outside [0, C).  ShapeError, DTypeError: target does not fit input.
    """
    reduction = legacy(size_average, reduce, reduction)
    check_reduction("nll_loss", reduction)
    x: Any = input
    t: Any = target
    if not x._a.shape:
        raise ShapeError(f"nll_loss: input tensor should be 1D or 2D, got {describe(x)}")
    dim = 0 if x.dim() == 1 else 1
    _check_target("nll_loss", x, t, dim)
    keep = t.ne(ignore_index)
    safe = fb.where(keep, t, 0)
    try:
        picked = x.gather(dim, safe.unsqueeze(dim)).squeeze(dim)
    except IndexError:
        _check_range(x, t, ignore_index)
        raise
    weights = None
    if weight is not None or not bool(keep.all()):
        weights = _weights_of(t, weight, keep, x)
        loss = fb.where(keep, -picked * weights, 0.0)
    else:
        loss = -picked
    if reduction == "mean":
        return loss.mean() if weights is None else loss.sum() / weights.sum()  # type: ignore[no-any-return]
    return reduce_loss(loss, reduction)  # type: ignore[no-any-return]


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target); linear_weight: (classes, *, in_features)."""
    shape = linear_weight._a.shape[:-1]
    w: Any = linear_weight
    flat = w.reshape(-1, w._a.shape[-1])
    bias: Any = linear_bias
    logits: Any = linear(input, flat, None if bias is None else bias.reshape(-1))
    logits = logits.reshape((*input._a.shape[:-1], *shape))
    ignore = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits,
        target,
        weight,
        ignore_index=ignore,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
