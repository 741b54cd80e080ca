"""Softmax over many classes, most of them rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flambeau as fb
from flambeau.errors import FlambeauError, IndexRangeError, ShapeError
from flambeau.nn.functional._activation import log_softmax
from flambeau.nn.modules._container import ModuleList, Sequential
from flambeau.nn.modules._linear import Linear
from flambeau.nn.modules._module import Module
from flambeau.tensor import Tensor, describe


class CutoffError(FlambeauError, ValueError):
    """Cutoffs that are not increasing class numbers."""


class _ASMoutput(NamedTuple):
    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """log_softmax over clusters of classes: frequent ones in the head, rarer ones in ever smaller tails.

    Args: cutoffs: where the tails begin; classes are sorted by frequency.  div_value: how much smaller each tail is.
    Reference: Grave et al. 2017, arXiv:1609.04309.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given = list(cutoffs)
        if not given:
            raise CutoffError("cutoffs should be a sequence of length larger than 0")
        if (
            given != sorted(set(given))
            or min(given) <= 0
            or max(given) > n_classes - 1
            or any(int(c) != c for c in given)
        ):
            raise CutoffError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, "
                "where each value is "
                f"between 1 and n_classes-1, got {given}"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*given, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, device=device, dtype=dtype),
                    Linear(hidden, size, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """Log-probabilities of the targets, and the mean loss.

        Raises: ShapeError: ranks do not fit.  IndexRangeError: a target outside the classes.
        """
        x: Any = input_
        t: Any = target_
        rank = len(t._a.shape)
        if rank > 1 or len(x._a.shape) != rank + 1 or (rank and x._a.shape[0] != t._a.shape[0]):
            raise ShapeError(
                f"AdaptiveLogSoftmaxWithLoss: {rank}D target tensor expects {rank + 1}D input tensors of the "
                f"same batch size, "
                f"but found {describe(x)} and {describe(t)}"
            )
        if not rank:
            x, t = x.unsqueeze(0), t.unsqueeze(0)
        if t.numel() and (int(t.min()) < 0 or int(t.max()) >= self.n_classes):
            raise IndexRangeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{int(t.min())}, "
                f"{int(t.max())}] were "
                "found. "
            )
        output = self._of_targets(x, t)
        loss = (-output).mean()
        return _ASMoutput(output if rank else output.squeeze(0), loss)

    def _of_targets(self, x: Any, t: Any) -> Any:
        """Each row's log-probability of its target: a tail is computed for the rows that need it, if any."""
        place, inside = t, None
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            rows = ((t >= low) & (t < high)).nonzero().squeeze(1)
            if not rows.numel():
                continue
            here = log_softmax(self.tail[i](x.index_select(0, rows)), 1)
            found = here.gather(1, (t[rows] - low).unsqueeze(1)).squeeze(1)
            inside = fb.zeros_like(x[:, 0]) if inside is None else inside
            inside = inside.index_copy(0, rows, found)
            place = place.index_fill(0, rows, self.shortlist_size + i)
        output = log_softmax(self.head(x), 1).gather(1, place.unsqueeze(1)).squeeze(1)
        return output if inside is None else output + inside

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        head: Any = log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i in range(self.n_clusters):
            parts.append(
                log_softmax(self.tail[i](input), 1) + head[:, self.shortlist_size + i].unsqueeze(1)
            )
        return fb.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row."""
        return self.log_prob(input).argmax(1)
