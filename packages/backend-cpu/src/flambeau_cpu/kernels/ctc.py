"""Connectionist temporal classification by the forward-backward algorithm, in logarithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
_LOW = -np.inf


def _three(a: Array, b: Array, c: Array) -> Array:
    """log(exp a + exp b + exp c)."""
    top = np.maximum(np.maximum(a, b), c)
    safe = np.where(np.isneginf(top), 0.0, top)
    return np.log(np.exp(a - safe) + np.exp(b - safe) + np.exp(c - safe)) + safe


def _shifted(a: Array, by: int) -> Array:
    out = np.full_like(a, _LOW)
    out[by:] = a[: len(a) - by]
    return out


def _pass(lp: Array, labels: Array, skip: Array) -> Array:
    """Log-probabilities of all prefixes: (T, 2 L + 1)."""
    steps, n = lp.shape[0], len(labels)
    alpha = np.full((steps, n), _LOW)
    alpha[0, : min(2, n)] = lp[0, labels[: min(2, n)]]
    for t in range(1, steps):
        before = alpha[t - 1]
        alpha[t] = (
            _three(before, _shifted(before, 1), np.where(skip, _shifted(before, 2), _LOW))
            + lp[t, labels]
        )
    return alpha


def ctc_loss(
    x: Array, sequences: list[list[int]], lengths: list[int], blank: int
) -> tuple[Array, Any]:
    """Negative log-likelihoods (N,) of (T, N, C) log-probabilities, and d(-log p)/d(log_softmax input), (T, N, C)."""
    loss = np.empty(len(sequences), x.dtype)
    grad = np.zeros(x.shape, np.float64)
    for i, (sequence, steps) in enumerate(zip(sequences, lengths)):
        labels = np.full(2 * len(sequence) + 1, blank)
        labels[1::2] = sequence
        skip = np.zeros(len(labels), np.bool_)
        skip[2:] = (labels[2:] != blank) & (labels[2:] != labels[:-2])
        if not steps:
            loss[i] = 0 if not sequence else np.inf
            continue
        lp = x[:steps, i].astype(np.float64)
        alpha = _pass(lp, labels, skip)
        back_skip = np.zeros(len(labels), np.bool_)
        back_skip[:-2] = skip[2:]
        beta = _pass(lp[::-1], labels[::-1], back_skip[::-1])[::-1, ::-1]
        ends = alpha[-1, -2:] if len(labels) > 1 else alpha[-1, -1:]
        total = np.logaddexp.reduce(ends)
        loss[i] = -total
        both = alpha + beta - lp[:, labels] - total
        posterior: Array = np.zeros_like(lp)
        everywhere: Any = (slice(None), labels)
        np.add.at(posterior, everywhere, np.exp(both))
        grad[:steps, i] = np.exp(lp) - posterior
    return loss, grad.astype(x.dtype)


def ctc_loss_backward(g: Array, x: Array, loss: Array, grad: Array, zero_infinity: bool) -> Array:
    """The gradient of every sequence times that of its loss."""
    out = grad * g[None, :, None]
    impossible = np.isinf(loss)
    if impossible.any():
        out[:, impossible] = 0 if zero_infinity else np.nan
    return out


TABLE: dict[str, Callable[..., Any]] = {
    "ctc_loss": ctc_loss,
    "ctc_loss_backward": ctc_loss_backward,
}
