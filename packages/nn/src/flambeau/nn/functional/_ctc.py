"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau.errors import FlambeauError, GradError, UnsupportedOpError
from flambeau.nn.functional._fused import FusedNode, record
from flambeau.nn.functional._reduction import check_reduction
from flambeau.tensor import Tensor, describe, wrap


class CtcError(FlambeauError, RuntimeError, ValueError):
    """Lengths or targets that do not fit."""


class CtcLossBackward0(FusedNode):
    """Node of ctc_loss. The gradient is PyTorch's: that of log_softmax and loss together, exp(log p) - posterior."""

    __slots__ = ()

    def backward(self, g: Any, inputs: Any, kept: Any, needs: Any) -> Any:
        """By the kernel's own gradient, scaled."""
        return (self.kind.k["ctc_loss_backward"](g._a, *kept, self.attrs[0]),)

    def again(self, g: Any, inputs: Any) -> Any:
        """Not differentiable twice.

        Raises: GradError: always.
        """
        raise GradError("ctc_loss: the second derivative is not implemented")


def _lengths(name: str, given: Any, count: int) -> list[int]:
    found = given.tolist() if isinstance(given, Tensor) else [int(n) for n in given]
    found = found if isinstance(found, list) else [found]
    if len(found) != count:
        raise CtcError(f"ctc_loss: {name} must be of size batch_size ({count}), got {len(found)}")
    return found


def _sequences(targets: Any, labels: list[int]) -> list[list[int]]:
    rows = targets.tolist()
    shape = targets._a.shape
    if len(shape) == 1:
        if sum(labels) > len(rows):
            raise CtcError(
                f"ctc_loss: target_lengths add up to {sum(labels)}, but there are {len(rows)} targets"
            )
        starts = [sum(labels[:i]) for i in range(len(labels))]
        return [[int(v) for v in rows[a : a + n]] for a, n in zip(starts, labels)]
    if max(labels, default=0) > shape[1]:
        raise CtcError(
            f"ctc_loss: Expected target_lengths of at most {shape[1]}, but got {max(labels)}"
        )
    return [[int(v) for v in row[:n]] for row, n in zip(rows, labels)]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Negative log-probability of label sequences under per-step distributions, summed over all alignments.

    Args: log_probs: (T, N, C) or (T, C), log-probabilities.  targets: (N, S) or concatenated (sum of lengths,).
        blank: the class between labels.  reduction: "mean" divides each loss by its target's length first.
        zero_infinity: losses of impossible alignments (and their gradients) become 0.
    Raises: CtcError: lengths, targets or blank do not fit.
    Reference: Graves et al. 2006.
    """
    check_reduction("ctc_loss", reduction)
    x: Any = log_probs
    single = len(x._a.shape) == 2
    if single:
        x = x.unsqueeze(1)
    if len(x._a.shape) != 3:
        raise CtcError(
            f"ctc_loss: log_probs must be (T, N, C) or (T, C), got {describe(log_probs)}"
        )
    steps, batch, classes = x._a.shape
    if not 0 <= blank < classes:
        raise CtcError(f"blank must be in label range, got {blank} for {classes} classes")
    inputs, labels = (
        _lengths("input_lengths", input_lengths, batch),
        _lengths("target_lengths", target_lengths, batch),
    )
    if max(inputs, default=0) > steps or min(inputs, default=0) < 0:
        raise CtcError(
            f"ctc_loss: Expected input_lengths to have value at most {steps}, but got value {max(inputs)}"
        )
    sequences = _sequences(targets, labels)
    m = x._kind
    if m.k["ctc_loss"] is None:
        raise UnsupportedOpError(
            f"ctc_loss: {m.device} has no kernel 'ctc_loss'. Hint: log_probs.cpu()"
        )
    native, kept = m.k["ctc_loss"](x._a, sequences, inputs, blank)
    loss: Any = wrap(native, m)
    n = record(CtcLossBackward0, loss, (x,), (x._a, native, kept))
    if n is not None:
        n.attrs = (zero_infinity,)
    if zero_infinity:
        loss = fb.where(loss.detach().eq(float("inf")), 0.0, loss)
    if reduction == "mean":
        sizes = fb.tensor([max(n, 1) for n in labels], dtype=loss.dtype, device=loss.device)
        return (loss / sizes).mean()  # type: ignore[no-any-return]
    if reduction == "sum":
        return loss.sum()  # type: ignore[no-any-return]
    return loss.squeeze(0) if single else loss  # type: ignore[no-any-return]
