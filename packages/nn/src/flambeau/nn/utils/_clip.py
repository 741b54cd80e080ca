"""Clipping of gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flambeau as fb
from flambeau.autograd.modes import no_grad
from flambeau.errors import FlambeauError
from flambeau.tensor import Tensor


class NonFiniteNormError(FlambeauError, RuntimeError):
    """A norm of gradients that is infinite or nan."""


def _listed(tensors: Any) -> list[Any]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def get_total_norm(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all elements of the tensors together, as if they were one vector.

    Raises: NonFiniteNormError: it is infinite or nan, and error_if_nonfinite is set.
    """
    grads = _listed(tensors)
    if not grads:
        return fb.tensor(0.0)
    with no_grad():
        p = float(norm_type)
        if p == float("inf"):
            parts = fb.stack([g.detach().abs().max() for g in grads])
            total = parts.max()
        else:
            norms = fb.stack([g.detach().norm(p) for g in grads])
            total = norms.norm(p)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise NonFiniteNormError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot "
            f"be clipped. To "
            "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total  # type: ignore[no-any-return]


def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale gradients, in place, so that their norm, which is total_norm, becomes at most max_norm."""
    with no_grad():
        factor = (max_norm / (total_norm + 1e-6)).clamp(max=1.0)
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad.mul_(factor.to(p.grad.device))


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of all parameters together, in place, to a norm of at most max_norm; returns the norm before.

    Raises: NonFiniteNormError: the norm is infinite or nan, and error_if_nonfinite is set.

    Example:
        >>> import flambeau as fb
        >>> p = fb.ones(2, requires_grad=True)
        >>> p.grad = fb.tensor([3.0, 4.0])
        >>> fb.nn.utils.clip_grad_norm_([p], max_norm=1.0)
        tensor(5.)
    """
    params = _listed(parameters)
    total = get_total_norm(
        [p.grad for p in params if p.grad is not None], norm_type, error_if_nonfinite
    )
    clip_grads_with_norm_(params, float(max_norm), total)
    return total


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Clip every element of the gradients, in place, to [-clip_value, clip_value]."""
    limit = float(clip_value)
    with no_grad():
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad.clamp_(min=-limit, max=limit)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters flattened into one vector."""
    return fb.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make the parameters views of parts of a vector, in order.

    Raises: ArgumentError: vec is no tensor.
    """
    from flambeau.errors import ArgumentError

    if not isinstance(vec, Tensor):
        raise ArgumentError(f"expected flambeau.Tensor, but got: {type(vec).__name__}")
    start = 0
    for p in parameters:
        n = p.numel()
        p.data = vec.detach()[start : start + n].view(p._a.shape)
        start += n
