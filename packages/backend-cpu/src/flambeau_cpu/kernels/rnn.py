"""Recurrent layers: one call runs all time steps of one layer in one direction, and one call runs them back.

Inside, everything lies feature by feature, (features, batch): the gates of a step are then contiguous blocks
of rows, and
OpenBLAS multiplies a tall matrix by few columns faster than few rows by a wide one. Sigmoids are computed as
0.5 tanh(z / 2) + 0.5; the halves are folded into the weights, so that one tanh serves all gates of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau_cpu.kernels.half import through_float32

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
Maybe = Array | None
_add, _sub, _mul, _tanh, _dot = np.add, np.subtract, np.multiply, np.tanh, np.dot


def _projected(x: Array, w: Array, bias: Maybe) -> Array:
    """w @ x for all steps: (gates, T, B)."""
    steps, batch, inputs = x.shape
    p = _dot(w, np.ascontiguousarray(x).reshape(steps * batch, inputs).T)
    if bias is not None:
        p += bias[:, None]
    return p.reshape(w.shape[0], steps, batch)


def _by_feature(a: Array) -> Array:
    """(T, F, B) -> (F, T * B), contiguous."""
    return np.ascontiguousarray(a.transpose(1, 0, 2)).reshape(a.shape[1], -1)


def _both(a: Maybe, b: Maybe) -> Maybe:
    return a if b is None else b if a is None else a + b


def _out(states: Array, reverse: bool) -> Array:
    """(T, H, B) as the layer's output (T, B, H)."""
    states = states[::-1] if reverse else states
    return np.ascontiguousarray(states.transpose(0, 2, 1))


def rnn_layer(
    mode: str,
    x: Array,
    h0: Array,
    c0: Maybe,
    w_ih: Array,
    w_hh: Array,
    b_ih: Maybe,
    b_hh: Maybe,
    reverse: bool,
) -> tuple[Array, Array, Maybe, tuple[Any, ...]]:
    """One layer over x (T, B, I): output (T, B, H), last h and c (B, H), and what the backward kernel needs."""
    x = x[::-1] if reverse else x
    kept: tuple[Any, ...]
    if mode == "LSTM":
        states, gates, cells = _lstm(x, h0, c0, w_ih, w_hh, _both(b_ih, b_hh))
        # copies: what a program does to the output in place must not reach the backward pass
        out = (states[:0:-1] if reverse else states[1:]).copy()
        last_c = np.ascontiguousarray(cells[-1].T)
        return out, states[-1].copy(), last_c, (states, gates, cells)
    hidden, batch = h0.shape[1], h0.shape[0]
    states = np.empty((x.shape[0] + 1, hidden, batch), x.dtype)
    states[0] = h0.T
    if mode == "GRU":
        kept = _gru(x, states, w_ih, w_hh, b_ih, b_hh)
    else:
        _simple(mode, x, states, w_ih, w_hh, _both(b_ih, b_hh))
        kept = ()
    return _out(states[1:], reverse), np.ascontiguousarray(states[-1].T), None, (states, *kept)


def rnn_layer_backward(
    mode: str,
    gy: Maybe,
    gh: Maybe,
    gc: Maybe,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    kept: tuple[Any, ...],
    reverse: bool,
    needs: tuple[bool, ...],
) -> tuple[Maybe, ...]:
    """Gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh."""
    steps, batch = x.shape[:2]
    hidden = w_hh.shape[1]
    if gy is not None and reverse:
        gy = gy[::-1]
    dh = np.zeros((hidden, batch), x.dtype) if gh is None else np.array(gh.T, order="C")
    if mode == "LSTM":
        dc = np.zeros((hidden, batch), x.dtype) if gc is None else np.array(gc.T, order="C")
        return _lstm_grads(gy, dh, dc, x, w_ih, w_hh, kept, reverse, needs)
    if gy is not None:
        gy = np.ascontiguousarray(gy.transpose(0, 2, 1))
    states = kept[0]
    if mode == "GRU":
        outer, inner, dh = _gru_back(gy, dh, w_hh, kept)
    else:
        inner, dh = _simple_back(mode, gy, dh, w_hh, states)
        outer = inner
    x = np.ascontiguousarray(x[::-1] if reverse else x).reshape(steps * batch, -1)
    flat = _by_feature(outer)
    flat_inner = flat if inner is outer else _by_feature(inner)
    gx = None
    if needs[0]:
        gx = _dot(flat.T, w_ih).reshape(steps, batch, -1)
        gx = np.ascontiguousarray(gx[::-1]) if reverse else gx
    gw_ih = _dot(flat, x) if needs[3] else None
    gw_hh = _dot(flat_inner, _by_feature(states[:-1]).T) if needs[4] else None
    gb_ih = np.add.reduce(flat, 1) if needs[5] or needs[6] else None
    gb_hh = gb_ih.copy() if inner is outer and gb_ih is not None else None
    if inner is not outer and needs[6]:
        gb_hh = np.add.reduce(flat_inner, 1)
    return gx, np.ascontiguousarray(dh.T), None, gw_ih, gw_hh, gb_ih, gb_hh


# ---- LSTM: gates in the order i, f, o, g while they are computed, so that the three sigmoids lie together
#: OpenBLAS (interface/gemm.c) multiplies without packing its operands first where rows * inner * columns is at most
#: this. A step's product is a third faster in pieces of that size: 1024x357 by 357x32 takes 162 us instead of 224.
_UNPACKED = 1_000_000


def _pieces(rows: int, inner: int, columns: int) -> int:
    """Into how many blocks of rows a product is split: none smaller than 16 rows, 1 if that does not suffice."""
    n = 1
    while rows // n * inner * columns > _UNPACKED and rows % (2 * n) == 0 and rows // n >= 32:
        n *= 2
    return n if rows // n * inner * columns <= _UNPACKED else 1


def _lstm_weights(w_ih: Array, w_hh: Array, bias: Maybe) -> Array:
    """Rows of gates i, f, o, g, columns for (state, input, 1); the sigmoids' halves are in them."""
    hidden, inputs = w_hh.shape[1], w_ih.shape[1]
    weights = np.empty((4, hidden, hidden + inputs + (bias is not None)), w_hh.dtype)
    for to, gate in enumerate((0, 1, 3, 2)):
        rows = slice(gate * hidden, (gate + 1) * hidden)
        weights[to, :, :hidden], weights[to, :, hidden : hidden + inputs] = w_hh[rows], w_ih[rows]
        if bias is not None:
            weights[to, :, -1] = bias[rows]
    weights[:3] *= weights.dtype.type(0.5)
    return weights.reshape(4 * hidden, -1)


def _lstm(
    x: Array, h0: Array, c0: Any, w_ih: Array, w_hh: Array, bias: Maybe
) -> tuple[Array, Array, Array]:
    """States (T + 1, B, H) from the first on, gates (T, 4H, B), cells (T + 1, H, B)."""
    steps, batch, inputs = x.shape
    hidden, d = h0.shape[1], x.dtype
    two, three, four = 2 * hidden, 3 * hidden, 4 * hidden
    half = d.type(0.5)
    weights = _lstm_weights(w_ih, w_hh, bias)
    n = _pieces(four, weights.shape[1], batch)
    blocks = weights.reshape(n, four // n, -1)
    # each step multiplies (state, input, 1) by all weights at once
    column = np.ones((weights.shape[1], batch), d)
    h, now = column[:hidden], column[hidden : hidden + inputs]
    gates = np.empty((steps, four, batch), d)
    split = gates.reshape(steps, n, four // n, batch)
    cells = np.empty((steps + 1, hidden, batch), d)
    states = np.empty((steps + 1, batch, hidden), d)
    cells[0], states[0], h[...] = c0.T, h0, h0.T
    share = np.empty((hidden, batch), d)
    for t in range(steps):
        now[...] = x[t].T
        np.matmul(blocks, column, out=split[t])
        a, c = gates[t], cells[t + 1]
        _tanh(a, out=a)
        sigmoids = a[:three]
        _mul(sigmoids, half, out=sigmoids)
        _add(sigmoids, half, out=sigmoids)
        _mul(a[hidden:two], cells[t], out=c)
        _mul(a[:hidden], a[three:], out=share)
        _add(c, share, out=c)
        _tanh(c, out=share)
        _mul(a[two:three], share, out=h)
        states[t + 1] = h.T
    return states, gates, cells


def _lstm_grads(
    gy: Maybe,
    dh: Array,
    dc: Array,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    kept: tuple[Any, ...],
    reverse: bool,
    needs: tuple[bool, ...],
) -> tuple[Maybe, ...]:
    """Gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh."""
    steps, batch, inputs = x.shape
    states, gates, cells = kept
    dz, dh, dc = _lstm_back(gy, dh, dc, w_hh, gates, cells)
    gx = None
    if needs[0]:
        gx = _dot(dz.T, w_ih).reshape(steps, batch, inputs)
        gx = np.ascontiguousarray(gx[::-1]) if reverse else gx
    gw_ih = gw_hh = gb_ih = gb_hh = None
    if needs[3]:
        x = np.ascontiguousarray(x[::-1] if reverse else x)
        gw_ih = _dot(dz, x.reshape(steps * batch, inputs))
    if needs[4]:
        gw_hh = _dot(dz, states[:-1].reshape(steps * batch, -1))
    if needs[5] or needs[6]:
        gb_ih = np.add.reduce(dz, 1)
        gb_hh = gb_ih.copy()
    return gx, np.ascontiguousarray(dh.T), np.ascontiguousarray(dc.T), gw_ih, gw_hh, gb_ih, gb_hh


def _lstm_back(
    gy: Maybe, dh: Array, dc: Array, w_hh: Array, gates: Array, cells: Array
) -> tuple[Array, Array, Array]:
    """Gradients of the gates before activation (4H, T * B), and of the first h and c.

    Step by step, so that everything but the result stays in the cache.
    """
    steps, four, batch = gates.shape
    hidden, d = four // 4, gates.dtype
    one = d.type(1)
    n = _pieces(hidden, four, batch)
    blocks = w_hh.reshape(four, n, hidden // n).transpose(1, 2, 0)
    split = dh.reshape(n, hidden // n, batch)
    whole = np.empty((4, hidden, steps, batch), d)
    dz = np.empty((4, hidden, batch), d)  # gates in the order of the weights: i, f, g, o
    flat = dz.reshape(four, batch)
    slopes = np.empty((3, hidden, batch), d)
    s, r = np.empty((hidden, batch), d), np.empty((hidden, batch), d)
    for t in range(steps - 1, -1, -1):
        if gy is not None:
            _add(dh, gy[t].T, out=dh)
        a = gates[t].reshape(4, hidden, batch)
        i, f, o, g = a
        _mul(a[:3], a[:3], out=slopes)
        _sub(a[:3], slopes, out=slopes)
        _tanh(cells[t + 1], out=r)
        _mul(dh, r, out=s)
        _mul(s, slopes[2], out=dz[3])
        _mul(r, r, out=r)
        _sub(one, r, out=r)
        _mul(r, o, out=r)
        _mul(r, dh, out=r)
        _add(dc, r, out=dc)
        _mul(dc, g, out=s)
        _mul(s, slopes[0], out=dz[0])
        _mul(dc, cells[t], out=s)
        _mul(s, slopes[1], out=dz[1])
        _mul(g, g, out=s)
        _sub(one, s, out=s)
        _mul(s, i, out=s)
        _mul(s, dc, out=dz[2])
        _mul(dc, f, out=dc)
        whole[:, :, t] = dz
        np.matmul(blocks, flat, out=split)
    return whole.reshape(four, steps * batch), dh, dc


# ---- GRU: gates in the order r, z, n
def _gru(
    x: Array, states: Array, w_ih: Array, w_hh: Array, b_ih: Maybe, b_hh: Maybe
) -> tuple[Array, Array]:
    steps, (hidden, batch) = x.shape[0], states.shape[1:]
    two = 2 * hidden
    half = x.dtype.type(0.5)
    bias = b_ih
    inner = None
    if b_hh is not None:
        bias = np.concatenate([b_hh[:two], np.zeros(hidden, x.dtype)])
        bias = bias if b_ih is None else bias + b_ih
        inner = b_hh[two:, None]
    p = _projected(x, w_ih, bias)
    gates = np.empty((steps, 3 * hidden, batch), x.dtype)
    news = np.empty((steps, hidden, batch), x.dtype)  # w_hn h + b_hn
    z = np.empty((3 * hidden, batch), x.dtype)
    for t in range(steps):
        a, h = gates[t], states[t]
        _dot(w_hh, h, out=z)
        rz = a[:two]
        _add(z[:two], p[:two, t], out=rz)
        _mul(rz, half, out=rz)
        _tanh(rz, out=rz)
        _mul(rz, half, out=rz)
        _add(rz, half, out=rz)
        hn = news[t]
        if inner is None:
            hn[...] = z[two:]
        else:
            _add(z[two:], inner, out=hn)
        n = a[two:]
        _mul(a[:hidden], hn, out=n)
        _add(n, p[two:, t], out=n)
        _tanh(n, out=n)
        new = states[t + 1]
        np.subtract(h, n, out=new)
        _mul(new, a[hidden:two], out=new)
        _add(new, n, out=new)
    return gates, news


def _gru_back(
    gy: Maybe, dh: Array, w_hh: Array, kept: tuple[Any, ...]
) -> tuple[Array, Array, Array]:
    states, gates, news = kept
    steps, three, batch = gates.shape
    hidden = three // 3
    g3 = gates.reshape(steps, 3, hidden, batch)
    r, z, n = g3[:, 0], g3[:, 1], g3[:, 2]
    one = gates.dtype.type(1)
    to_n = (one - z) * (one - n * n)
    to_z = (states[:-1] - n) * z * (one - z)
    to_r = news * r * (one - r)
    outer, inner = np.empty_like(g3), np.empty_like(g3)
    flat = inner.reshape(steps, three, batch)
    back = np.ascontiguousarray(w_hh.T)
    for t in range(steps - 1, -1, -1):
        if gy is not None:
            _add(dh, gy[t], out=dh)
        dn = outer[t, 2]
        _mul(dh, to_n[t], out=dn)
        _mul(dh, to_z[t], out=inner[t, 1])
        _mul(dn, to_r[t], out=inner[t, 0])
        _mul(dn, r[t], out=inner[t, 2])
        _mul(dh, z[t], out=dh)
        _add(dh, _dot(back, flat[t]), out=dh)
    outer[:, :2] = inner[:, :2]
    return outer.reshape(steps, three, batch), flat, dh


# ---- plain
def _simple(mode: str, x: Array, states: Array, w_ih: Array, w_hh: Array, bias: Maybe) -> None:
    p = _projected(x, w_ih, bias)
    zero = x.dtype.type(0)
    for t in range(x.shape[0]):
        new = states[t + 1]
        _dot(w_hh, states[t], out=new)
        _add(new, p[:, t], out=new)
        if mode == "RNN_TANH":
            _tanh(new, out=new)
        else:
            np.maximum(new, zero, out=new)


def _simple_back(
    mode: str, gy: Maybe, dh: Array, w_hh: Array, states: Array
) -> tuple[Array, Array]:
    out = states[1:]
    slopes = (1 - out * out) if mode == "RNN_TANH" else (out > 0).astype(out.dtype)
    dz = np.empty_like(out)
    back = np.ascontiguousarray(w_hh.T)
    for t in range(out.shape[0] - 1, -1, -1):
        if gy is not None:
            _add(dh, gy[t], out=dh)
        _mul(dh, slopes[t], out=dz[t])
        _dot(back, dz[t], out=dh)
    return dz, dh


TABLE: dict[str, Callable[..., Any]] = {
    "rnn_layer": through_float32(rnn_layer, at=1, rounded=3),
    "rnn_layer_backward": through_float32(rnn_layer_backward, at=4),
}
