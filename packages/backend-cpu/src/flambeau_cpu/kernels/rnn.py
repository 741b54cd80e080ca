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

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
Maybe = Array | None
_add, _mul, _tanh, _dot = np.add, np.multiply, np.tanh, np.dot


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
        kept: tuple[Any, ...] = _lstm(x, h0, c0, w_ih, w_hh, _both(b_ih, b_hh))
        states = kept[0][:, -h0.shape[1] :]
        last_c = np.ascontiguousarray(kept[2][-1].T)
        return _out(states[1:], reverse), np.ascontiguousarray(states[-1].T), last_c, kept
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
    if gy is not None:
        gy = np.ascontiguousarray((gy[::-1] if reverse else gy).transpose(0, 2, 1))
    dh = np.zeros((hidden, batch), x.dtype) if gh is None else gh.T.copy()
    if mode == "LSTM":
        dc = np.zeros((hidden, batch), x.dtype) if gc is None else gc.T.copy()
        return _lstm_grads(gy, dh, dc, x, w_ih, w_hh, kept, reverse, needs)
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


# ---- LSTM: gates in the order i, f, g, o
def _halves(hidden: int, dtype: Any) -> Array:
    scale = np.full((4 * hidden, 1), 0.5, dtype)
    scale[2 * hidden : 3 * hidden] = 1
    return scale


def _lstm(x: Array, h0: Array, c0: Any, w_ih: Array, w_hh: Array, bias: Maybe) -> tuple[Array, ...]:
    """Each step multiplies (input, 1, state) by all weights at once: stack[t] holds them, the state last."""
    steps, batch, inputs = x.shape
    hidden = h0.shape[1]
    weights = np.empty((4 * hidden, inputs + 1 + hidden), x.dtype)
    weights[:, :inputs], weights[:, inputs + 1 :] = w_ih, w_hh
    weights[:, inputs] = 0 if bias is None else bias
    weights *= _halves(hidden, x.dtype)
    stack = np.empty((steps + 1, weights.shape[1], batch), x.dtype)
    stack[:-1, :inputs] = x.transpose(0, 2, 1)
    stack[:, inputs] = 1
    stack[0, inputs + 1 :] = h0.T
    half = x.dtype.type(0.5)
    gates = np.empty((steps, 4 * hidden, batch), x.dtype)
    cells = np.empty((steps + 1, hidden, batch), x.dtype)
    bounded = np.empty((steps, hidden, batch), x.dtype)
    cells[0] = c0.T
    share = np.empty((hidden, batch), x.dtype)
    two, three = 2 * hidden, 3 * hidden
    for t in range(steps):
        a = gates[t]
        _dot(weights, stack[t], out=a)
        _tanh(a, out=a)
        for part in (a[:two], a[three:]):
            _mul(part, half, out=part)
            _add(part, half, out=part)
        c = cells[t + 1]
        _mul(a[hidden:two], cells[t], out=c)
        _mul(a[:hidden], a[two:three], out=share)
        _add(c, share, out=c)
        tc = bounded[t]
        _tanh(c, out=tc)
        _mul(a[three:], tc, out=stack[t + 1, inputs + 1 :])
    return stack, gates, cells, bounded


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
    """Gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh; one product gives those of all weights."""
    steps, batch, inputs = x.shape
    dz, dh, dc = _lstm_back(gy, dh, dc, w_hh, kept)
    flat = _by_feature(dz)
    gx = None
    if needs[0]:
        gx = _dot(flat.T, w_ih).reshape(steps, batch, inputs)
        gx = np.ascontiguousarray(gx[::-1]) if reverse else gx
    gw_ih = gw_hh = gb_ih = gb_hh = None
    if any(needs[3:]):
        whole = _dot(flat, _by_feature(kept[0][:-1]).T)
        gw_ih, gw_hh = (
            np.ascontiguousarray(whole[:, :inputs]),
            np.ascontiguousarray(whole[:, inputs + 1 :]),
        )
        gb_ih, gb_hh = whole[:, inputs].copy(), whole[:, inputs].copy()
    return gx, np.ascontiguousarray(dh.T), np.ascontiguousarray(dc.T), gw_ih, gw_hh, gb_ih, gb_hh


def _lstm_back(
    gy: Maybe, dh: Array, dc: Array, w_hh: Array, kept: tuple[Any, ...]
) -> tuple[Array, Array, Array]:
    _, gates, cells, bounded = kept
    steps, four, batch = gates.shape
    hidden = four // 4
    g4 = gates.reshape(steps, 4, hidden, batch)
    i, f, g, o = g4[:, 0], g4[:, 1], g4[:, 2], g4[:, 3]
    slopes = np.empty_like(g4)  # d(gate before activation) = slope * dc, for the output gate * dh
    one = gates.dtype.type(1)
    _mul(_mul(i, one - i), g, out=slopes[:, 0])
    _mul(_mul(f, one - f), cells[:-1], out=slopes[:, 1])
    _mul(one - g * g, i, out=slopes[:, 2])
    _mul(_mul(o, one - o), bounded, out=slopes[:, 3])
    through = _mul(one - bounded * bounded, o)
    dz = np.empty_like(g4)
    flat = dz.reshape(steps, four, batch)
    back = np.ascontiguousarray(w_hh.T)
    share = np.empty_like(dh)
    for t in range(steps - 1, -1, -1):
        if gy is not None:
            _add(dh, gy[t], out=dh)
        _mul(dh, through[t], out=share)
        _add(dc, share, out=dc)
        _mul(slopes[t, :3], dc, out=dz[t, :3])
        _mul(slopes[t, 3], dh, out=dz[t, 3])
        _mul(dc, f[t], out=dc)
        _dot(back, flat[t], out=dh)
    return flat, dh, dc


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
    "rnn_layer": rnn_layer,
    "rnn_layer_backward": rnn_layer_backward,
}
