"""Checkpointing: trade time for memory by computing a part of a model again in the backward pass.

The first run records its graph as ever; then the values that its nodes saved are dropped. When the backward pass
reaches one of these nodes, the function runs again, and each node takes over what its twin of the new graph saved. So
gradients flow along the first graph, and are the bits that they would be without checkpointing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flambeau.autograd.node as _node
from flambeau import random
from flambeau.autograd.node import Node, Storage, freed, plain_class, stand_in
from flambeau.autograd.state import state
from flambeau.errors import ArgumentError, GradError, InplaceModifiedError
from flambeau.tensor import Tensor, describe, wrap

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]


class CheckpointError(GradError):
    """A checkpointed function recorded another graph when it ran again."""


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), computed again in the backward pass instead of keeping what it saves for it.

    The second run sees the same random numbers and the same autocast, and the gradients are the same bits. What the
    function changes besides its result, such as the running statistics of a batch norm, it changes twice. Arrays that
    a hand-written `autograd.Function` hangs on its ctx, instead of using `save_for_backward`, are kept.

    Args: use_reentrant: both values do what False does in PyTorch.  context_fn: gives a context for the first run and
        one for the second.  determinism_check: "none" leaves out the comparison of the results' shapes and dtypes.
        debug, early_stop: accepted, without effect.  preserve_rng_state: False runs again with other random numbers.
    Raises, in the backward pass: CheckpointError: the second run recorded other operations than the first.
        InplaceModifiedError: an argument was changed in place since the first run.

    Example:
        >>> import flambeau as fb
        >>> x = fb.ones(3, requires_grad=True)
        >>> y = fb.utils.checkpoint.checkpoint(lambda x: x.exp().tanh(), x, use_reentrant=False)
        >>> y.sum().backward(); x.grad
        tensor([0.0469, 0.0469, 0.0469])
    """
    if determinism_check not in ("default", "none"):
        raise ArgumentError(
            f"checkpoint: determinism_check must be 'default' or 'none', got {determinism_check!r}"
        )
    first, again = context_fn()
    if not state.grad:
        with first:
            return function(*args, **kwargs)
    segment = _Segment(function, args, kwargs, again, preserve_rng_state, determinism_check)
    start = _node.next_seq()
    with first:
        result = function(*args, **kwargs)
    segment.take(_nodes(result, start))
    return result


# ---- what a result was computed from
def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a result: in sequences, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for v in value:
            yield from _tensors(v)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _tensors([getattr(value, f.name) for f in dataclasses.fields(value)])


def _nodes(result: Any, start: int) -> list[Node]:
    """The nodes recorded since start that lead to a result and have saved something, oldest first."""
    found: set[Node] = set()
    stack: list[Any] = [t._g for t in _tensors(result)]
    while stack:
        n = stack.pop()
        if n is not None and n.seq > start and n not in found:
            found.add(n)
            stack.extend(n.edges)
    return sorted((n for n in found if n.saved), key=lambda n: n.seq)


def _apply(self: Any, g: Any) -> Any:
    _fill(self)
    return self.apply(g)


def _fill(n: Any) -> Any:
    if n.saved is None:
        raise freed(n)
    n.saved[0].fill()
    return n


_saved_tensors = property(lambda self: _fill(self).saved_tensors)


# ---- one checkpointed call
class _Segment:
    """A call, what it takes to repeat it, and its nodes, which have (segment, index) in place of their saved values."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Any,
        preserve: bool,
        check: str,
    ) -> None:
        self.function, self.context, self.check = function, context, check
        self.args = tuple([_kept(a) for a in args])
        self.kwargs = {name: _kept(a) for name, a in kwargs.items()}
        self.versions = [t._version for t in self._inputs()]
        self.rng = random.get_rng_state() if preserve else None
        self.autocast = _autocast_now()
        self.nodes: list[weakref.ref[Node]] = []

    def _inputs(self) -> list[Tensor]:
        return [a for a in (*self.args, *self.kwargs.values()) if isinstance(a, Tensor)]

    def take(self, nodes: list[Node]) -> None:
        """Drop what these nodes saved."""
        self.nodes = [weakref.ref(n) for n in nodes]
        for i, n in enumerate(nodes):
            n.saved = (self, i)
            stand_in(n, _apply, saved_tensors=_saved_tensors)  # its own class again after `fill`

    def fill(self) -> None:
        """Run again, and give every node that waits for it what its twin saved."""
        twins = self._again()
        if len(twins) != len(self.nodes):
            raise CheckpointError(
                "checkpoint: a different number of operations saved values when the function ran again: "
                f"{len(twins)} after {len(self.nodes)}. Hint: the function must do the same at each call"
            )
        waiting = []
        for i, (reference, twin) in enumerate(zip(self.nodes, twins)):
            n = reference()
            if n is not None and n.saved and n.saved[0] is self:
                self._compare(i, n, twin)
                waiting.append((n, twin))
        for n, twin in waiting:
            n.saved, n.__class__ = twin.saved, type(twin)
            if n.saved and isinstance(n.saved[0], _Segment):  # of a checkpoint within this one
                inner, i = n.saved
                inner.nodes[i] = weakref.ref(n)

    def _again(self) -> list[Node]:
        for t, version in zip(self._inputs(), self.versions):
            if t._version != version:
                raise InplaceModifiedError(
                    f"checkpoint: an argument of the function has been modified by an inplace operation: {describe(t)} "
                    f"is at version {t._version}, expected version {version}. Hint: clone() it before the change"
                )
        before, now = state.grad, random.get_rng_state()
        state.grad = True
        try:
            with contextlib.ExitStack() as stack:
                for block in _autocast_as(self.autocast):
                    stack.enter_context(block)
                if self.rng is not None:
                    random.set_rng_state(self.rng)
                    stack.callback(random.set_rng_state, now)
                stack.enter_context(self.context)
                start = _node.next_seq()
                return _nodes(self.function(*self.args, **self.kwargs), start)
        finally:
            state.grad = before

    def _compare(self, i: int, n: Node, twin: Node) -> None:
        same = plain_class(n) is plain_class(twin)
        if same and (self.check == "none" or (n.shape == twin.shape and n.kind is twin.kind)):
            return
        was, now = (f"{m.name()} {tuple(m.shape)} {m.kind!r}" for m in (n, twin))
        raise CheckpointError(
            f"checkpoint: recomputed values have different metadata than in the forward pass: operation {i} was {was}, "
            f"and is {now}. Hint: the function must do the same at each call"
        )


def _kept(x: Any) -> Any:
    """An argument for the second run: a tensor as it is now, whatever history it gets by changes in place."""
    if isinstance(x, Tensor) and x._s is None:
        x._s = Storage()
    if x.__class__ is not Tensor or x.is_leaf:
        return x
    made = wrap(x._a, x._kind, x._g)
    made._s = x._s
    return made


def _autocast_now() -> tuple[dict[str, Any], bool]:
    """The modes of autocast by device type, and whether it keeps its casts."""
    amp: Any = sys.modules.get("flambeau.amp._hooks")
    return ({}, True) if amp is None else (dict(amp.local.modes), amp.local.caching)


def _autocast_as(wanted: tuple[dict[str, Any], bool]) -> Iterator[Any]:
    """Blocks within which autocast is as it was."""
    modes, caching = wanted
    for type_ in {*modes, *_autocast_now()[0]}:
        from flambeau.amp import autocast

        mode = modes.get(type_)
        if mode is None:
            yield autocast(type_, enabled=False, cache_enabled=caching)
        else:
            yield autocast(type_, mode.dtype, mode.enabled, caching)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """input through functions in turn, in as many checkpointed segments, of which the last one keeps what it saves.

    Args: functions: a `Sequential`, or a list of modules and functions.  kwargs: preserve_rng_state alone.
    Raises: ArgumentError: segments is not in [1, number of functions], or another keyword is given.

    Example:
        >>> import flambeau as fb
        >>> steps = [fb.sin, fb.exp, fb.tanh]
        >>> fb.utils.checkpoint.checkpoint_sequential(steps, 2, fb.zeros(2), use_reentrant=False)
        tensor([0.7616, 0.7616])
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ArgumentError(
            f"checkpoint_sequential: Unexpected keyword arguments: {', '.join(kwargs)}"
        )
    steps = list(functions.children() if hasattr(functions, "children") else functions)
    if not 1 <= segments <= max(len(steps), 1):
        raise ArgumentError(
            f"checkpoint_sequential: segments must be from 1 to the number of functions, {len(steps)}, got {segments}"
        )
    size = len(steps) // segments
    for i in range(segments - 1):
        part = functools.partial(_in_turn, steps[i * size : (i + 1) * size])
        input = checkpoint(part, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return _in_turn(steps[(segments - 1) * size :], input)


def _in_turn(steps: list[Callable[[Any], Any]], x: Any) -> Any:
    for step in steps:
        x = step(x)
    return x
