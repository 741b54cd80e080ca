"""The kernel table of the CPU: name -> callable on ndarrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau_cpu.kernels import (
    activation,
    attention,
    conv,
    ctc,
    elementwise,
    index,
    join,
    linalg,
    lookup,
    memory,
    nn,
    norm,
    optim,
    order,
    pool,
    reduce,
    rnn,
    special,
)

TABLE: dict[str, Callable[..., Any]] = {
    **memory.TABLE,
    **elementwise.TABLE,
    **special.TABLE,
    **activation.TABLE,
    **reduce.TABLE,
    **order.TABLE,
    **linalg.TABLE,
    **index.TABLE,
    **join.TABLE,
    **conv.TABLE,
    **pool.TABLE,
    **norm.TABLE,
    **rnn.TABLE,
    **lookup.TABLE,
    **attention.TABLE,
    **ctc.TABLE,
    **nn.TABLE,
    **optim.TABLE,
}
