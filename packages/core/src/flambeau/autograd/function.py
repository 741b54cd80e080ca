"""Operations with a derivative that the user writes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import ref

import flambeau.autograd.node as _node
from flambeau.autograd.node import Node, OutputEdge, Storage, freed, stale
from flambeau.autograd.state import state
from flambeau.errors import ArgumentError, GradError, ShapeError, UnsupportedOpError
from flambeau.shape import broadcast_two
from flambeau.tensor import Tensor, wrap


class FunctionCtx(Node):
    """The context that `forward` and `backward` share; it is the tape node as well."""

    owner: type[Function]
    materialize = True
    dirty: tuple[Tensor, ...] = ()
    fixed: tuple[Tensor, ...] = ()
    to_save: tuple[Any, ...] = ()
    needs_input_grad: tuple[bool, ...] = ()
    outputs: list[Any]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for backward; they come back as `saved_tensors`.

        Raises: ArgumentError: something that is neither a Tensor nor None.
        """
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise ArgumentError(
                    f"save_for_backward can only save variables, but got {type(t).__name__}. Hint: ctx.name = value"
                )
        self.to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Name the inputs that forward changed in place."""
        self.dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Name the outputs that have no gradient."""
        self.fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs without a gradient."""
        self.materialize = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What save_for_backward kept.

        Raises: GradError: the graph was walked before.  InplaceModifiedError: one was changed in place since.
        """
        if self.saved is None:
            raise freed(self)
        return tuple(
            None if s is None else s(self) if callable(s) else self._unpack(*s) for s in self.saved
        )

    def _unpack(self, t: Any, storage: Storage | None, version: int, edge: Any) -> Tensor:
        if isinstance(t, Tensor):
            now, made = t._version, t
        else:
            native, kind = t
            made = wrap(native, kind, edge and self._edge(t, *edge))
            made._s = storage
            now = made._version
        if now != version:
            raise stale(self, made._a.shape, version, now)
        return made

    def _edge(self, saved: Any, edge: Any, index: int) -> Node:
        found: Node | None = edge()
        if found is None:  # the user dropped this output, and its edge with it
            found = OutputEdge(self, index, saved[0].shape, saved[1])
        return found

    def _keep(self, outputs: list[Tensor]) -> None:
        """Take the saved tensors over, without holding an output: that would be a cycle through this node."""
        kept: list[Any] = []
        for t in self.to_save:
            if t is None:
                kept.append(None)
            elif any(t is o for o in outputs):
                if t._s is None:
                    t._s = Storage()
                # This node, or one that leads to it: a strong reference would be a cycle.
                edge = t._g
                kept.append(((t._a, t._kind), t._s, t._version, edge and (ref(edge), t.output_nr)))
            else:
                kept.append((t, None, t._version, None))
        self.saved = tuple(kept)
        self.to_save = self.dirty = self.fixed = ()

    def apply(self, g: Any) -> tuple[Tensor | None, ...]:
        """Call the user's backward and check what it returns."""
        if self.saved is None:
            raise freed(self)
        arrived = {0: g} if isinstance(g, Tensor) else g
        grads = [arrived.get(i) for i in range(len(self.outputs))]
        for d in grads:
            if d is not None and d._s is None:
                d._s = Storage()  # the user's code may keep it: never becomes .grad itself
        if self.materialize:
            grads = [self._zeros(i) if d is None else d for i, d in enumerate(grads)]
        results = self.owner.backward(self, *grads)
        results = results if isinstance(results, tuple) else (results,)
        expected = len(self.edges)
        if len(results) > expected and all(r is None for r in results[expected:]):
            results = results[:expected]
        if len(results) != expected:
            raise GradError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{expected}, got {len(results)})"
            )
        return tuple(
            None if e is None else self._fit(i, e, d)
            for i, (e, d) in enumerate(zip(self.edges, results, strict=True))
        )

    def _zeros(self, i: int) -> Tensor | None:
        if self.outputs[i] is None:
            return None
        shape, kind = self.outputs[i]
        return wrap(kind.k["fill"](shape, 0, kind.dtype), kind)

    def _fit(self, i: int, edge: Any, d: Any) -> Tensor | None:
        if d is None:
            return None
        if not isinstance(d, Tensor):
            raise ArgumentError(
                f"function {self.name()} returned a gradient different from Tensor at position {i}: {d!r}"
            )
        if d._a.shape != edge.shape:
            try:
                fits = broadcast_two(edge.shape, d._a.shape) == d._a.shape
            except ValueError:
                fits = False
            if not fits:
                raise ShapeError(
                    f"Function {self.name()} returned an invalid gradient at index {i} - got "
                    f"{list(d._a.shape)} but expected "
                    f"shape compatible with {list(edge.shape)}"
                )
            from flambeau.ops._recover import sum_to

            return sum_to(d, edge.shape)
        if d._s is None:
            d._s = Storage()
        return d


class Function:
    """Base class of operations with a hand-written derivative: override `forward` and `backward`, call `apply`.

    Example:
        >>> import flambeau as fb
        >>> class Square(fb.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         (x,) = ctx.saved_tensors
        ...         return 2 * x * grad
        >>> x = fb.tensor(3.0, requires_grad=True)
        >>> Square.apply(x).backward(); x.grad
        tensor(6.)
    """

    _node: type[FunctionCtx]

    def __init__(self) -> None:
        raise ArgumentError(
            f"{type(self).__name__} should not be instantiated. Methods on autograd functions are all "
            f"static, so you should "
            f"invoke them on the class itself. Hint: {type(self).__name__}.apply(x)"
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._node = type(f"{cls.__name__}Backward", (FunctionCtx,), {"owner": cls})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The operation: (ctx, *inputs), or (*inputs) where setup_context is overridden."""
        raise unimplemented("forward")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Fill ctx after a forward that does not take it."""
        raise unimplemented("setup_context")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the inputs, given those of the outputs."""
        raise unimplemented("backward")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward and record the node."""
        ctx = _new_ctx(cls, args)
        recording = state.grad and any(ctx.needs_input_grad)
        state_before = state.grad
        state.grad = False
        try:
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args, **kwargs)
            else:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
        finally:
            state.grad = state_before
        return _attach(ctx, args, output, recording)


def unimplemented(name: str) -> UnsupportedOpError:
    """The error of calling a Function method that nobody wrote."""
    return UnsupportedOpError(
        f"You must implement the {name} function for custom autograd.Function. Hint: make it a @staticmethod"
    )


def _new_ctx(cls: type[Function], args: tuple[Any, ...]) -> FunctionCtx:
    ctx = cls._node()
    ctx.edges = tuple([a._g if isinstance(a, Tensor) else None for a in args])
    ctx.needs_input_grad = tuple([e is not None for e in ctx.edges])
    ctx.hooks, ctx.seq, ctx.saved = None, _node.next_seq(), ()
    return ctx


def _attach(ctx: FunctionCtx, args: tuple[Any, ...], output: Any, recording: bool) -> Any:
    single = not isinstance(output, tuple | list)
    outputs = [output] if single else list(output)
    for i, o in enumerate(outputs):
        if not isinstance(o, Tensor):
            continue
        if any(o is d for d in ctx.dirty):
            from flambeau.autograd.inplace import check_writable

            if recording:
                check_writable(type(ctx).__name__, o)
        elif any(o is a for a in args) or (recording and o._g is not None):
            outputs[i] = o.detach()
    if recording:
        _record(ctx, outputs)
    ctx._keep([o for o in outputs if isinstance(o, Tensor)] if recording else [])
    if recording and _node.packer is not None:
        _node.packer(ctx)
    if single:
        return outputs[0]
    return tuple(outputs)


def _record(ctx: FunctionCtx, outputs: list[Any]) -> None:
    """Hang the outputs on the node, each behind an OutputEdge if there are several."""
    ctx.outputs = [(o._a.shape, o._kind) if isinstance(o, Tensor) else None for o in outputs]
    ctx.shape, ctx.kind = next((o for o in ctx.outputs if o is not None), ((), None))
    for i, o in enumerate(outputs):
        if not isinstance(o, Tensor) or o._kind.inexact is None or any(o is f for f in ctx.fixed):
            continue
        edge = ctx if len(outputs) == 1 else OutputEdge(ctx, i, o._a.shape, o._kind)
        if any(o is d for d in ctx.dirty):
            from flambeau.autograd.inplace import bump, rebase

            bump(o)
            rebase(o, wrap(o._a, o._kind, edge))
        else:
            o._g = edge


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a Function's backward that is not itself differentiable: double backward raises instead of
    being wrong.
    """

    @functools.wraps(fn)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        watched = state.grad and any(isinstance(g, Tensor) and g._g is not None for g in grads)
        before = state.grad
        state.grad = False
        try:
            results = fn(ctx, *grads)
        finally:
            state.grad = before
        if not watched:
            return results
        made = results if isinstance(results, tuple) else (results,)
        return tuple(_poisoned(ctx, r) if isinstance(r, Tensor) else r for r in made)

    return wrapper


class _OnceError(Node):
    __slots__ = ("culprit",)

    culprit: str

    def apply(self, g: Tensor) -> Any:
        raise GradError(
            f"{self.culprit}: trying to differentiate twice a function that was marked with @once_differentiable"
        )


def _poisoned(ctx: FunctionCtx, t: Tensor) -> Tensor:
    node = _OnceError()
    node.culprit = ctx.name()
    node.edges, node.saved, node.hooks = tuple(e for e in ctx.edges if e is not None), (), None
    node.seq, node.shape, node.kind = _node.next_seq(), t._a.shape, t._kind
    return wrap(t._a, t._kind, node)
