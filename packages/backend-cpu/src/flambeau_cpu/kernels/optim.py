"""Optimizer steps, in place on lists of parameters.

Every kernel gets a list of parameters, a list of their gradients, and the rule's state in flat arrays: all parameters'
elements one after the other, row-major (None for state that the options do without). The work is memory-bound, so a
large parameter goes block by block through one scratch array, and small ones are gathered and updated as one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = list[Array]
#: rule(g, s, states, consts): update the flat states by the gradient g and leave in s what is taken from the parameter.
Rule = Callable[[Array, Array, list[Any], Any], None]

#: Elements that go through the caches at a time, at most; 8,192 to 131,072 differ by less than a fifth.
_BLOCK = 36864
#: A single parameter of up to so many elements is gathered like many.
_FEW = 4096
_ONE = np.ones((), np.float32)
_NOTHING: list[Any] = []

_add, _sub, _mul, _div, _sqrt, _copyto = (
    np.add,
    np.subtract,
    np.multiply,
    np.divide,
    np.sqrt,
    np.copyto,
)


class _Gathered:
    """Two scratch arrays for parameters of given shapes, and their parts in those shapes."""

    __slots__ = ("g", "g_parts", "s", "s_parts")

    def __init__(self, shapes: tuple[tuple[int, ...], ...], d: Any) -> None:
        sizes = [int(np.prod(shape)) for shape in shapes]
        ends = np.cumsum(sizes).tolist()
        self.g, self.s = _aligned(ends[-1], d), _aligned(ends[-1], d)
        self.g_parts, self.s_parts = (
            [
                a[end - n : end].reshape(shape)
                for n, end, shape in zip(sizes, ends, shapes, strict=True)
            ]
            for a in (self.g, self.s)
        )


def _aligned(n: int, d: Any) -> Array:
    """Room that begins at a cache line: passes over it take a tenth less time than at malloc's 16 bytes."""
    room = np.empty(n * d.itemsize + 64, np.uint8)
    start = -room.__array_interface__["data"][0] % 64
    return room[start : start + n * d.itemsize].view(d)


class _Scratch(threading.local):
    """Scratch memory of one thread."""

    def __init__(self) -> None:
        self.gathered: dict[Any, _Gathered] = {}
        self.blocks: dict[Any, tuple[Array, Array]] = {}
        self.consts: dict[Any, Any] = {}


_scratch = _Scratch()


def _gather(params: Arrays) -> _Gathered:
    d = params[0].dtype
    key = (d, *[p.shape for p in params])
    found = _scratch.gathered.get(key)
    if found is None:
        if len(_scratch.gathered) > 64:
            _scratch.gathered.clear()
        found = _scratch.gathered[key] = _Gathered(key[1:], d)
    return found


def _blocks(d: Any) -> tuple[Array, Array]:
    found = _scratch.blocks.get(d)
    if found is None:
        found = _scratch.blocks[d] = (_aligned(_BLOCK, d), _aligned(_BLOCK, d))
    return found


def _consts(d: Any, *values: float) -> Any:
    """0-d arrays of options: NumPy takes 0.2 us longer for a Python number at every call."""
    key = (d, *values)
    found = _scratch.consts.get(key)
    if found is None:
        if len(_scratch.consts) > 64:
            _scratch.consts.clear()
        found = _scratch.consts[key] = [np.array(v, d) for v in values]
    return found


def _apply(
    rule: Rule,
    consts: Any,
    params: Arrays,
    grads: Arrays,
    states: list[Any],
    decay: float,
    shrink: float,
    maximize: bool,
) -> None:
    """Run a rule over all parameters.

    Args: decay: decay * p is added to the gradient.  shrink: p is first multiplied by 1 - shrink.
    """
    if len(params) == 1 and params[0].size > _FEW:
        _large(rule, consts, params[0], grads[0], states, decay, shrink, maximize)
        return
    room = _gather(params)
    if rule is _plain and not (decay or maximize):
        # nothing to gather for
        lr = consts[0]
        for p, g, part in zip(params, grads, room.s_parts, strict=True):
            _mul(g, lr, part)
            _sub(p, part, p)
        return
    for p, g, part in zip(params, grads, room.g_parts, strict=True):
        if decay:
            _mul(p, decay, part)
            (_sub if maximize else _add)(part, g, part)
        elif maximize:
            np.negative(g, part)
        else:
            _copyto(part, g)
        if shrink:
            _mul(p, 1 - shrink, p)
    rule(room.g, room.s, states, consts)
    for p, part in zip(params, room.s_parts, strict=True):
        _sub(p, part, p)


def _large(
    rule: Rule,
    consts: Any,
    param: Array,
    grad: Array,
    states: list[Any],
    decay: float,
    shrink: float,
    maximize: bool,
) -> None:
    flat = param.reshape(-1)  # a copy only where the layout demands it
    grad = grad.reshape(-1)
    scratch, spare = _blocks(param.dtype)
    count = -(-flat.size // _BLOCK)
    size = -(-flat.size // count)  # equal blocks
    for start in range(0, flat.size, size):
        part = slice(start, start + size)
        p, g = flat[part], grad[part]
        s = scratch[: p.size]
        if decay:
            own = spare[: p.size]
            _mul(p, decay, own)
            g = (_sub if maximize else _add)(own, g, own)
        elif maximize:
            g = np.negative(g, spare[: p.size])
        if shrink:
            _mul(p, 1 - shrink, p)
        rule(g, s, [None if a is None else a[part] for a in states], consts)
        _sub(p, s, p)
    if not param.flags.c_contiguous:
        param[...] = flat.reshape(param.shape)


def sgd_step_(
    params: Arrays,
    grads: Arrays,
    velocity: Array | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """velocity = momentum * velocity + (1 - dampening) * g; p -= lr * velocity, or lr * (g + momentum * velocity)."""
    d = params[0].dtype
    if velocity is None:
        _apply(_plain, _consts(d, lr), params, grads, _NOTHING, weight_decay, 0.0, maximize)
        return
    rule = _nesterov if nesterov else _momentum if dampening == 0 else _dampened
    _apply(
        rule,
        _consts(d, lr, momentum, 1 - dampening),
        params,
        grads,
        [velocity],
        weight_decay,
        0.0,
        maximize,
    )


def _plain(g: Array, s: Array, states: Any, c: Any) -> None:
    _mul(g, c[0], s)


def _momentum(g: Array, s: Array, states: Any, c: Any) -> None:
    lr, momentum, _ = c
    b = states[0]
    _mul(b, momentum, b)
    _add(b, g, b)
    _mul(b, lr, s)


def _dampened(g: Array, s: Array, states: Any, c: Any) -> None:
    lr, momentum, keep = c
    b = states[0]
    _mul(g, keep, s)
    _mul(b, momentum, b)
    _add(b, s, b)
    _mul(b, lr, s)


def _nesterov(g: Array, s: Array, states: Any, c: Any) -> None:
    lr, momentum, _ = c
    b = states[0]
    _mul(b, momentum, b)
    _add(b, g, b)
    _mul(b, momentum, s)
    _add(s, g, s)
    _mul(s, lr, s)


def rmsprop_step_(
    params: Arrays,
    grads: Arrays,
    square_avg: Array,
    grad_avg: Array | None,
    velocity: Array | None,
    step: Array,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
) -> None:
    """v = alpha * v + (1 - alpha) * g * g; p -= lr * g / (sqrt(v) + eps), through the velocity if there is one."""
    _add(step, _ONE, step)
    consts = _consts(params[0].dtype, lr, alpha, 1 - alpha, (1 - alpha) ** 0.5, eps, momentum)
    _apply(
        _rms, consts, params, grads, [square_avg, grad_avg, velocity], weight_decay, 0.0, maximize
    )


def _rms(g: Array, s: Array, states: Any, c: Any) -> None:
    lr, alpha, rest, root, eps, momentum = c
    square, mean, velocity = states
    _mul(g, root, s)
    _mul(s, s, s)
    _mul(square, alpha, square)
    _add(square, s, square)
    if mean is None:
        _sqrt(square, s)
    else:
        _mul(g, rest, s)
        _mul(mean, alpha, mean)
        _add(mean, s, mean)
        _mul(mean, mean, s)
        _sub(square, s, s)
        _sqrt(s, s)
    _add(s, eps, s)
    _div(g, s, s)
    if velocity is None:
        _mul(s, lr, s)
    else:
        _mul(velocity, momentum, velocity)
        _add(velocity, s, velocity)
        _mul(velocity, lr, s)


def adam_step_(
    params: Arrays,
    grads: Arrays,
    exp_avg: Array,
    exp_avg_sq: Array,
    max_exp_avg_sq: Array | None,
    step: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    """Count a step, move both averages, and p -= lr * m / (1 - beta1 ** t) / (sqrt(v / (1 - beta2 ** t)) + eps)."""
    _add(step, _ONE, step)
    t = step.item(0)
    # the bias correction of v goes into eps and the step size: m / (sqrt(v) / r + eps) = r * m / (sqrt(v) + r * eps)
    r = (1 - beta2**t) ** 0.5
    d = params[0].dtype
    b1, r1, b2, r2 = _consts(d, beta1, 1 - beta1, beta2, (1 - beta2) ** 0.5)
    consts = b1, r1, b2, r2, np.array(eps * r, d), np.array(lr / (1 - beta1**t) * r, d)
    states = [exp_avg, exp_avg_sq, max_exp_avg_sq]
    decay, shrink = (0.0, lr * weight_decay) if decoupled else (weight_decay, 0.0)
    _apply(_adam, consts, params, grads, states, decay, shrink, maximize)


def _adam(g: Array, s: Array, states: Any, c: Any) -> None:
    beta1, rest1, beta2, root2, eps, size = c
    m, v, largest = states
    _mul(g, rest1, s)
    _mul(m, beta1, m)
    _add(m, s, m)
    _mul(g, root2, s)
    _mul(s, s, s)
    _mul(v, beta2, v)
    _add(v, s, v)
    if largest is None:
        _sqrt(v, s)
    else:
        np.maximum(largest, v, out=largest)
        _sqrt(largest, s)
    _add(s, eps, s)
    _div(m, s, s)
    _mul(s, size, s)


TABLE: dict[str, Callable[..., Any]] = {
    "sgd_step_": sgd_step_,
    "rmsprop_step_": rmsprop_step_,
    "adam_step_": adam_step_,
}
