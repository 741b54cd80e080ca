"""AveragedModel: apart from `swa_utils`, as it needs flambeau.nn and the rest of this package does not."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from copy import deepcopy
from itertools import chain
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.dtypes import int64
from flambeau.errors import FlambeauError
from flambeau.ops.creation import tensor
from flambeau.optim.swa_utils import Tensors, get_swa_avg_fn

_Module: Any = importlib.import_module("flambeau.nn").Module


class AverageError(FlambeauError, AssertionError):
    """Two averaging functions at once."""


class AveragedModel(_Module):  # type: ignore[misc]
    """A copy of a model whose parameters are averages of the model's.

    Args: model: copied.  device: where the averages live.
        avg_fn: new average from (average, current, count).  multi_avg_fn: the same in place on lists, which is faster;
        equal weights if neither is given (`get_ema_multi_avg_fn` gives moving averages).
        use_buffers: average buffers too; otherwise they are copied.
    Raises: AverageError: both functions.

    Example:
        >>> import flambeau as fb
        >>> model = fb.nn.Linear(2, 1)
        >>> average = fb.optim.swa_utils.AveragedModel(model, multi_avg_fn=fb.optim.swa_utils.get_ema_multi_avg_fn(0.9))
        >>> average.update_parameters(model)    # after each optimizer.step()
        >>> average(fb.ones(3, 2)).shape
        flambeau.Size([3, 1])
    """

    def __init__(
        self,
        model: Any,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Tensors, Tensors, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AverageError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Any) -> None:
        """Take the model's present parameters into the averages; the first time, copy them."""
        with no_grad():
            self._update(model)

    def _update(self, model: Any) -> None:
        buffers = self.use_buffers
        ours = list(chain(self.module.parameters(), self.module.buffers() if buffers else ()))
        theirs = list(chain(model.parameters(), model.buffers() if buffers else ()))
        pairs = [(a.detach(), b.detach().to(a.device)) for a, b in zip(ours, theirs, strict=False)]
        count = self.n_averaged
        if count == 0:
            for average, current in pairs:
                average.copy_(current)
        elif self.multi_avg_fn is not None:
            for averages, currents in _by_kind(pairs):
                self.multi_avg_fn(averages, currents, count.to(averages[0].device))
        else:
            average_of = self.avg_fn or get_swa_avg_fn()
            for average, current in pairs:
                average.copy_(average_of(average, current, count.to(average.device)))
        if not buffers:
            for average, current in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(current.detach().to(average.device))
        self.n_averaged += 1


def _by_kind(pairs: list[tuple[Any, Any]]) -> list[tuple[list[Any], list[Any]]]:
    kinds: dict[Any, tuple[list[Any], list[Any]]] = {}
    for average, current in pairs:
        averages, currents = kinds.setdefault(average._kind, ([], []))
        averages.append(average)
        currents.append(current)
    return list(kinds.values())


AveragedModel.__module__ = "flambeau.optim.swa_utils"
