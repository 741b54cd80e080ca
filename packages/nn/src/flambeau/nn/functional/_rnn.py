"""Recurrent layers and cells as functions."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau.nn.functional._fused import FusedNode, record
from flambeau.nn.functional._linear import _linear
from flambeau.tensor import Tensor, wrap

#: Gates of each kind of cell.
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def cell(mode: str, x: Any, state: tuple[Any, ...], weights: Any) -> tuple[Any, ...]:
    """One step of one cell on (B, I): the new state, (h,) or (h, c)."""
    w_ih, w_hh, b_ih, b_hh, *projection = weights
    h = state[0]
    a, b = _linear(x, w_ih, b_ih), _linear(h, w_hh, b_hh)
    if mode == "LSTM":
        i, f, g, o = (a + b).chunk(4, 1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (
            _linear(h, projection[0], None) if projection and projection[0] is not None else h
        ), c
    if mode == "GRU":
        (ar, az, an), (br, bz, bn) = a.chunk(3, 1), b.chunk(3, 1)
        r, z = (ar + br).sigmoid(), (az + bz).sigmoid()
        n = (an + r * bn).tanh()
        return (n + z * (h - n),)
    return ((a + b).tanh() if mode == "RNN_TANH" else (a + b).relu(),)


class RnnLayerBackward0(FusedNode):
    """Node of one recurrent layer in one direction: output, last h, last c."""

    __slots__ = ()

    def backward(self, g: Any, inputs: Any, kept: Any, needs: Any) -> Any:
        """By the kernel."""
        mode, reverse = self.attrs
        parts = [g[i]._a if i in g else None for i in range(3)]
        x, w_ih, w_hh = inputs[0]._a, inputs[3]._a, inputs[4]._a
        return self.kind.k["rnn_layer_backward"](mode, *parts, x, w_ih, w_hh, kept, reverse, needs)

    def composite(self, *inputs: Any) -> Any:
        """Step by step, in differentiable operations."""
        mode, reverse = self.attrs
        x, h, c, *weights = inputs
        return by_steps(mode, x, (h,) if c is None else (h, c), weights, reverse)


def by_steps(
    mode: str, x: Any, state: tuple[Any, ...], weights: Any, reverse: bool
) -> tuple[Any, ...]:
    """One layer over (T, B, I), step by step: (output, h) or (output, h, c)."""
    steps = range(x._a.shape[0])
    outputs: list[Any] = []
    for t in reversed(steps) if reverse else steps:
        state = cell(mode, x[t], state, weights)
        outputs.append(state[0])
    if reverse:
        outputs.reverse()
    return (fb.stack(outputs), *state)


def layer(
    mode: str, x: Any, state: tuple[Any, ...], weights: Any, reverse: bool
) -> tuple[Any, ...]:
    """One layer over (T, B, I): (output (T, B, H), h) or (output, h, c)."""
    m = x._kind
    w_ih, w_hh, b_ih, b_hh, *projection = weights
    usable = (
        m.k["rnn_layer"] is not None
        and x._a.shape[0]
        and not (projection and projection[0] is not None)
    )
    if not usable or any(
        t is not None and t._kind is not m for t in (*state, w_ih, w_hh, b_ih, b_hh)
    ):
        return by_steps(mode, x, state, weights, reverse)
    h, c = state if len(state) == 2 else (state[0], None)
    inputs: tuple[Tensor | None, ...] = (x, h, c, w_ih, w_hh, b_ih, b_hh)
    native = [None if t is None else t._a for t in inputs]
    out, last_h, last_c, kept = m.k["rnn_layer"](mode, *native, reverse)
    result = (
        (wrap(out, m), wrap(last_h, m))
        if last_c is None
        else (wrap(out, m), wrap(last_h, m), wrap(last_c, m))
    )
    n = record(RnnLayerBackward0, result, inputs, kept)
    if n is not None:
        n.attrs = (mode, reverse)
    return result


def packed(
    mode: str, data: Any, sizes: list[int], state: tuple[Any, ...], weights: Any, reverse: bool
) -> tuple[Any, ...]:
    """One layer over a packed batch: data (sum of sizes, I), sizes[t] sequences being alive at step t."""
    starts = [0]
    for n in sizes:
        starts.append(starts[-1] + n)
    outputs: list[Any] = [None] * len(sizes)
    whole = state
    if reverse:
        alive = tuple(s[: sizes[-1]] for s in state)
        for t in reversed(range(len(sizes))):
            have = alive[0]._a.shape[0]
            if sizes[t] > have:
                alive = tuple(fb.cat([a, s[have : sizes[t]]]) for a, s in zip(alive, whole))
            alive = cell(mode, data[starts[t] : starts[t + 1]], alive, weights)
            outputs[t] = alive[0]
        return (fb.cat(outputs), *alive)
    ended: list[tuple[Any, ...]] = []
    alive = state
    for t, n in enumerate(sizes):
        if n < alive[0]._a.shape[0]:
            ended.append(tuple(a[n:] for a in alive))
            alive = tuple(a[:n] for a in alive)
        alive = cell(mode, data[starts[t] : starts[t + 1]], alive, weights)
        outputs[t] = alive[0]
    ended.append(alive)
    return (fb.cat(outputs), *(fb.cat([e[i] for e in reversed(ended)]) for i in range(len(alive))))
