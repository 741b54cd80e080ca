"""Convolution and its two gradients: a few images at a time are laid out as columns, and one matrix product
does the rest.

Arrays are (N, C, *spatial); stride, padding and dilation have one number for each spatial dimension. Inside,
images lie
channel by channel, (C, images, *spatial), so that a matrix product covers several images. With stride 1 the
columns of
one kernel position are a shifted slice of the flattened padded images: long copies instead of many short
ones, at the
price of some columns at the right and lower border that belong to no output and are left out in the end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flambeau_cpu.kernels.half import through_float32

Array = Any  # ndarrays; NumPy types what ufuncs and index tuples give only loosely
Ints = tuple[int, ...]

#: Columns of one matrix product: OpenBLAS is fastest about here (129 GFLOP/s at 1,024, 111 at 18,432), and
# they stay in L2.
_COLUMNS = 1024


class _Plan:
    """Sizes of one convolution of one group of channels."""

    def __init__(
        self, size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
    ) -> None:
        self.size, self.kernel, self.stride, self.padding, self.dilation = (
            size,
            kernel,
            stride,
            padding,
            dilation,
        )
        self.padded = tuple(n + 2 * p for n, p in zip(size, padding))
        self.out = tuple(
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(self.padded, kernel, stride, dilation)
        )
        self.positions = list(itertools.product(*(range(k) for k in kernel)))
        self.flat = all(s == 1 for s in stride)
        # Laid out flat, the padding between two rows (or images) serves both, where no window reaches across it.
        shared = self.flat and all(p <= d * (k - 1) for p, d, k in zip(padding, dilation, kernel))
        self.laid = tuple(n + p for n, p in zip(size, padding)) if shared else self.padded
        self.volume = math.prod(self.laid if self.flat else self.out)
        self.interior = tuple(slice(p, p + n) for n, p in zip(size, padding))
        self.valid = tuple(slice(0, n) for n in self.out)
        rows = [math.prod(self.laid[i + 1 :]) for i in range(len(size))]
        self.offsets = [
            sum(k * d * r for k, d, r in zip(p, dilation, rows)) for p in self.positions
        ]
        self.tail = max(self.offsets, default=0)

    def chunks(self, n: int) -> Iterator[tuple[int, int]]:
        """Ranges of images that make about _COLUMNS columns together."""
        step = max(1, _COLUMNS // max(self.volume, 1))
        for start in range(0, n, step):
            yield start, min(start + step, n)

    def window(self, position: Ints) -> tuple[slice, ...]:
        """The part of a padded image that one kernel position meets."""
        return tuple(
            slice(k * d, k * d + s * (n - 1) + 1, s)
            for k, d, s, n in zip(position, self.dilation, self.stride, self.out)
        )


class _Columns:
    """Scratch memory that turns images into columns, used again for every chunk."""

    def __init__(self, plan: _Plan, channels: int, images: int, dtype: Any) -> None:
        self.plan, self.channels = plan, channels
        self.buffer = np.zeros((channels, images * math.prod(plan.laid) + plan.tail), dtype)
        self.width = (
            min(images * plan.volume, max(_COLUMNS, 1)) if plan.flat else images * plan.volume
        )
        self.columns = np.empty((len(plan.positions), channels, self.width), dtype)

    def blocks(self, x: Array) -> Iterator[tuple[int, int, Array]]:
        """Columns of the images x, in ranges: (start, end, array (kernel positions * channels, end -
        start)).
        """
        plan, m = self.plan, x.shape[0]
        inside = m * math.prod(plan.laid)
        padded = self.buffer[:, :inside].reshape(self.channels, m, *plan.laid)
        padded[(slice(None), slice(None), *plan.interior)] = x.swapaxes(0, 1)
        if self.buffer.shape[1] > inside + plan.tail:
            self.buffer[:, inside : inside + plan.tail] = (
                0  # what an earlier, larger chunk left behind the last image
            )
        rows = len(plan.positions) * self.channels
        if not plan.flat:
            columns = self.columns[:, :, : m * plan.volume]
            shaped = columns.reshape(len(plan.positions), self.channels, m, *plan.out)
            for k, position in enumerate(plan.positions):
                shaped[k] = padded[(slice(None), slice(None), *plan.window(position))]
            yield 0, m * plan.volume, columns.reshape(rows, -1)
            return
        for start in range(0, inside, self.width):
            end = min(start + self.width, inside)
            columns = self.columns[:, :, : end - start]
            for k, offset in enumerate(plan.offsets):
                columns[k] = self.buffer[:, offset + start : offset + end]
            yield start, end, columns.reshape(rows, -1)

    def rows_of(self, g: Array, buffer: Array) -> Array:
        """Gradients (m, O, *out) as (O, m * volume), zero where a column belongs to no output."""
        plan, m, channels = self.plan, g.shape[0], g.shape[1]
        rows = buffer[:, : m * plan.volume]
        if plan.flat:
            rows.reshape(channels, m, *plan.laid)[(slice(None), slice(None), *plan.valid)] = (
                g.swapaxes(0, 1)
            )
        else:
            rows.reshape(channels, m, *plan.out)[...] = g.swapaxes(0, 1)
        return rows


def _images(plan: _Plan, n: int) -> int:
    return min(n, max(1, _COLUMNS // max(plan.volume, 1)))


def _pointwise(plan: _Plan) -> bool:
    return plan.flat and math.prod(plan.kernel) == 1 and not any(plan.padding)


def _forward(x: Array, w: Array, y: Array, bias: Any, plan: _Plan) -> None:
    """One group: y = x * w."""
    n, channels = x.shape[:2]
    many = w.shape[0]
    if _pointwise(plan):
        out = np.matmul(w.reshape(many, channels), x.reshape(n, channels, plan.volume))
        if bias is not None:
            out += bias.reshape(-1, 1)
        y[...] = out.reshape(y.shape)
        return
    scratch = _Columns(plan, channels, _images(plan, n), x.dtype)
    matrix = np.ascontiguousarray(np.moveaxis(w, 1, -1)).reshape(many, -1)
    shift = None if bias is None else bias.reshape(-1, *(1,) * len(plan.out))
    for a, b in plan.chunks(n):
        z = np.empty((many, (b - a) * plan.volume), x.dtype)
        for start, end, columns in scratch.blocks(x[a:b]):
            np.matmul(matrix, columns, out=z[:, start:end])
        z = z.reshape(many, b - a, *(plan.laid if plan.flat else plan.out))
        z = z.swapaxes(0, 1)[(slice(None), slice(None), *plan.valid)]
        if shift is None:
            y[a:b] = z
        else:
            np.add(z, shift, out=y[a:b])


def _groups(groups: int, inputs: int, outputs: int) -> Iterator[tuple[slice, slice]]:
    i, o = inputs // groups, outputs // groups
    for g in range(groups):
        yield slice(g * i, (g + 1) * i), slice(g * o, (g + 1) * o)


def _depthwise(w: Array, groups: int) -> bool:
    return groups > 1 and w.shape[1] == 1 and w.shape[0] == groups


def conv(
    x: Array, w: Array, bias: Array | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Array:
    """y[n, o] = bias[o] + sum over c and kernel positions of w[o, c, k] x[n, c, stride * i + dilation *
    k - padding].
    """
    plan = _Plan(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if min(plan.out) <= 0 or x.shape[1] != w.shape[1] * groups:
        raise ValueError("sizes do not fit")  # core says which
    y = np.empty((x.shape[0], w.shape[0], *plan.out), x.dtype)
    if _depthwise(w, groups):
        return _depthwise_forward(x, w, y, bias, plan)
    for c, o in _groups(groups, x.shape[1], w.shape[0]):
        _forward(x[:, c], w[o], y[:, o], None if bias is None else bias[o], plan)
    return y


def _pad(x: Array, plan: _Plan) -> Array:
    if not any(plan.padding):
        return x
    padded: Array = np.zeros((*x.shape[:2], *plan.padded), x.dtype)
    padded[(slice(None), slice(None), *plan.interior)] = x
    return padded


def _depthwise_forward(x: Array, w: Array, y: Array, bias: Array | None, plan: _Plan) -> Array:
    y[...] = 0 if bias is None else bias.reshape(-1, *(1,) * len(plan.out))
    for a in range(x.shape[0]):
        padded = _pad(x[a : a + 1], plan)[0]
        for position in plan.positions:
            factor = w[(slice(None), 0, *position)].reshape(-1, *(1,) * len(plan.out))
            y[a] += padded[(slice(None), *plan.window(position))] * factor
    return y


def conv_weight_grad(
    x: Array, g: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Array:
    """The gradient of conv's weight, (O, C / groups, *kernel)."""
    plan = _Plan(x.shape[2:], kernel, stride, padding, dilation)
    gw: Array = np.zeros((g.shape[1], x.shape[1] // groups, *kernel), x.dtype)
    if _depthwise(gw, groups):
        for a in range(x.shape[0]):
            padded = _pad(x[a : a + 1], plan)[0]
            for position in plan.positions:
                window = padded[(slice(None), *plan.window(position))]
                gw[(slice(None), 0, *position)] += np.einsum(
                    "cl,cl->c", window.reshape(len(gw), -1), g[a].reshape(len(gw), -1)
                )
        return gw
    for c, o in _groups(groups, x.shape[1], g.shape[1]):
        _weight_grad(x[:, c], g[:, o], gw[o], plan)
    return gw


def _weight_grad(x: Array, g: Array, gw: Array, plan: _Plan) -> None:
    n, channels = x.shape[:2]
    many = g.shape[1]
    if _pointwise(plan):
        total = np.matmul(g.reshape(n, many, -1), x.reshape(n, channels, -1).swapaxes(1, 2)).sum(0)
        gw[...] = total.reshape(gw.shape)
        return
    images = _images(plan, n)
    scratch = _Columns(plan, channels, images, x.dtype)
    buffer = np.zeros((many, images * plan.volume), x.dtype)
    total = np.zeros((many, len(plan.positions) * channels), x.dtype)
    for a, b in plan.chunks(n):
        if plan.flat and b - a != images:
            buffer = np.zeros((many, (b - a) * plan.volume), x.dtype)
        rows = scratch.rows_of(g[a:b], buffer)
        for start, end, columns in scratch.blocks(x[a:b]):
            total += np.dot(rows[:, start:end], columns.T)
    gw[...] = np.moveaxis(total.reshape(many, *plan.kernel, channels), -1, 1)


def conv_input_grad(
    g: Array,
    w: Array,
    bias: Array | None,
    size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """The gradient of conv's input, (N, C, *size), which is the transposed convolution of g; plus
    bias[c], if given.
    """
    inputs = w.shape[1] * groups
    if g.shape[1] != w.shape[0]:
        raise ValueError("channels do not fit")  # core says which
    plan = _Plan(size, w.shape[2:], stride, padding, dilation)
    gx = np.empty((g.shape[0], inputs, *size), g.dtype)
    if _depthwise(w, groups):
        _depthwise_input(g, w, gx, plan)
    else:
        room = tuple(d * (k - 1) - p for k, p, d in zip(plan.kernel, padding, dilation))
        back = (
            _Plan(g.shape[2:], plan.kernel, stride, room, dilation)
            if plan.flat and min(room, default=0) >= 0
            else None
        )
        for c, o in _groups(groups, inputs, g.shape[1]):
            if back is not None and back.out == size:
                flipped = w[o][
                    (slice(None), slice(None), *(slice(None, None, -1),) * len(size))
                ].swapaxes(0, 1)
                _forward(g[:, o], flipped, gx[:, c], None, back)
            else:
                _scatter(g[:, o], w[o], gx[:, c], plan)
    if bias is not None:
        gx += bias.reshape(-1, *(1,) * len(size))
    return gx


def _depthwise_input(g: Array, w: Array, gx: Array, plan: _Plan) -> None:
    padded: Array = np.empty((g.shape[1], *plan.padded), g.dtype)
    for a in range(g.shape[0]):
        padded[...] = 0
        for position in plan.positions:
            factor = w[(slice(None), 0, *position)].reshape(-1, *(1,) * len(plan.out))
            padded[(slice(None), *plan.window(position))] += g[a] * factor
        gx[a] = padded[(slice(None), *plan.interior)]


def _scatter(g: Array, w: Array, gx: Array, plan: _Plan) -> None:
    """One group, any stride: every kernel position adds its share."""
    many, channels = w.shape[:2]
    out = g.shape[2:]
    matrix = np.ascontiguousarray(np.moveaxis(w, 0, -1)).reshape(
        channels * len(plan.positions), many
    )
    step = max(1, _COLUMNS // max(math.prod(out), 1))
    for a in range(0, g.shape[0], step):
        part = g[a : a + step]
        m = part.shape[0]
        share = np.dot(matrix, np.ascontiguousarray(part.swapaxes(0, 1)).reshape(many, -1))
        share = share.reshape(channels, len(plan.positions), m, *out)
        padded: Array = np.zeros((channels, m, *plan.padded), g.dtype)
        for k, position in enumerate(plan.positions):
            window = tuple(
                slice(p * d, p * d + s * (n - 1) + 1, s)
                for p, d, s, n in zip(position, plan.dilation, plan.stride, out)
            )
            padded[(slice(None), slice(None), *window)] += share[:, k]
        gx[a : a + m] = padded[(slice(None), slice(None), *plan.interior)].swapaxes(0, 1)


TABLE: dict[str, Callable[..., Any]] = {
    name: through_float32(kernel)
    for name, kernel in (
        ("conv", conv),
        ("conv_weight_grad", conv_weight_grad),
        ("conv_input_grad", conv_input_grad),
    )
}
