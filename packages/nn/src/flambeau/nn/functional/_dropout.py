"""Dropout: random elements or channels become zero in training, the rest is scaled up."""

from __future__ import annotations

import math
from typing import Any

from flambeau import random as streams
from flambeau.errors import FlambeauError, ShapeError
from flambeau.ops._op import op
from flambeau.ops._recover import no_room
from flambeau.ops.elementwise import mul
from flambeau.tensor import Tensor, describe, wrap

Mask = Tensor


class ProbabilityError(FlambeauError, ValueError):
    """A probability outside [0, 1]."""


@op(shape=lambda x, mask, scale: x, kernel="dropout", node="MulBackward0")
def _masked(input: Tensor, mask: Mask, scale: float) -> Tensor:
    """input * mask * scale, as one node."""
    return mul(mul(input, mask), scale)


_masked.vjp(input=lambda g, mask, scale: _masked(g, mask, scale))


def _check(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ProbabilityError(f"{name} probability has to be between 0 and 1, but got {p}")


def _keep(shape: Any, p: float, kind: Any) -> Tensor:
    """A bool mask of the elements that stay: each with probability 1 - p."""
    try:
        drawn = streams.bernoulli(streams.default_generator, shape, 1.0 - p)
    except MemoryError as error:
        raise no_room("dropout", kind, error) from None
    return wrap(kind.boolean.k["from_host"](drawn), kind.boolean)


def _drop(input: Tensor, p: float, shape: Any, inplace: bool) -> Tensor:
    kind = input._kind
    if p == 1.0:
        out = mul(input, 0.0)
    else:
        mask = _keep(shape, p, kind)
        if shape != input._a.shape:
            mask = mask.expand(input._a.shape)
        out = _masked(input, mask, 1.0 / (1.0 - p))
    return _into(input, out) if inplace else out


def _into(input: Tensor, value: Tensor) -> Tensor:
    from flambeau.autograd.inplace import update

    return update("dropout_", input, lambda _: value, saves=False)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability p and divide the others by 1 - p; unchanged if not training.

    Raises: ProbabilityError: p outside [0, 1].

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.dropout(fb.ones(3), 0.5, training=False)
        tensor([1., 1., 1.])
    """
    if not 0.0 <= p <= 1.0:
        _check("dropout", p)
    if not training or p == 0.0:
        return input
    return _drop(input, p, input._a.shape, inplace)


def _channels(
    name: str,
    input: Tensor,
    p: float,
    training: bool,
    inplace: bool,
    ranks: tuple[int, int],
    alpha: bool = False,
) -> Tensor:
    _check(name, p)
    shape = input._a.shape
    if len(shape) not in ranks:
        raise ShapeError(
            f"{name}: Expected {ranks[0]}D or {ranks[1]}D input, got {describe(input)}"
        )
    if not training or p == 0.0:
        return input
    batched = len(shape) == ranks[1]
    lead = shape[:2] if batched else shape[:1]
    return _drop(input, p, (*lead, *(1,) * (len(shape) - len(lead))), inplace)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, L) or (C, L) with probability p."""
    return _channels("dropout1d", input, p, training, inplace, (2, 3))


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, H, W) with probability p."""
    _check("dropout2d", p)
    return _feature("dropout2d", input, p, training, inplace)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, D, H, W) with probability p."""
    _check("dropout3d", p)
    return _feature("dropout3d", input, p, training, inplace)


def _feature(name: str, input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    shape = input._a.shape
    if len(shape) < 2:
        raise ShapeError(f"{name}: needs (N, C, ...), got {describe(input)}")
    if not training or p == 0.0:
        return input
    return _drop(input, p, (*shape[:2], *(1,) * (len(shape) - 2)), inplace)


def _alpha(input: Tensor, p: float, shape: Any, inplace: bool) -> Tensor:
    """Dropped elements take SELU's negative limit; an affine map restores mean and variance (Klambauer et al. 2017)."""
    limit = -1.7580993408473766
    if p == 1.0:
        out: Any = mul(input, 0.0)
        return _into(input, out) if inplace else out
    a = 1.0 / math.sqrt((1 - p) * (1 + p * limit * limit))
    mask: Any = _keep(shape, p, input._kind)
    if shape != input._a.shape:
        mask = mask.expand(input._a.shape)
    shift = mul((~mask).to(input.dtype), a * limit) - a * limit * p
    out = _masked(input, mask, a) + shift
    return _into(input, out) if inplace else out


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps the mean and variance of self-normalising (SELU) activations."""
    _check("dropout", p)
    return _alpha(input, p, input._a.shape, inplace) if training and p != 0.0 else input


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """alpha_dropout of whole channels."""
    _check("dropout", p)
    shape = input._a.shape
    if not training or p == 0.0:
        return input
    if len(shape) < 2:
        raise ShapeError(
            f"feature_alpha_dropout: Feature dropout requires at least 2 dimensions in the input, got "
            f"{describe(input)}"
        )
    return _alpha(input, p, (*shape[:2], *(1,) * (len(shape) - 2)), inplace)
