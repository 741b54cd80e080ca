"""In-place updates: what may be written, how the tape is rebased, how views of one base stay consistent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau.autograd.node as _node
from flambeau.autograd.node import AccumulateGrad, Grads, Hooks, Node, Storage
from flambeau.autograd.state import state
from flambeau.errors import DTypeError, GradError, ShapeError
from flambeau.shape import broadcast_two
from flambeau.tensor import Tensor, describe, wrap


def check_writable(name: str, x: Tensor) -> None:
    """Refuse to change in place what autograd cannot follow, while the graph is recorded.

    Raises: GradError: x is a leaf that requires grad, or a view of one.
    """
    if not state.grad:
        return
    if isinstance(x._g, AccumulateGrad):
        from flambeau._live import name_of

        known = name_of(x)
        raise GradError(
            f"{name}: a leaf Variable that requires grad is being used in an in-place operation "
            f"({f'{known}, ' if known else ''}{describe(x)}). "
            "Hint: wrap the update in `with no_grad():`, or compute a new tensor instead"
        )
    if x._v is not None and _stands_on_leaf(x):
        raise GradError(
            f"{name}: a view of a leaf Variable that requires grad is being used in an in-place operation "
            f"({describe(x)}). Hint: wrap the update in `with no_grad():`, or clone() the leaf first"
        )


def _stands_on_leaf(x: Tensor) -> bool:
    """Whether x is a view, through any number of views, of a leaf that requires grad."""
    while x._v is not None:
        x = x._v[0]
        if isinstance(x._g, AccumulateGrad):
            return True
    return False


def _check_tracked(name: str, x: Tensor, value: Tensor) -> None:
    """Refuse a history that could not reach the base: x is a view that was made while no graph was recorded.

    Raises: GradError: x is such a view, and value or the base has a history.
    """
    t, loose = x, False
    while t._v is not None:
        t, fn, _ = t._v
        loose = loose or fn is None
    if loose and (value._g is not None or t._g is not None):
        raise GradError(
            f"{name}: a view was created in no_grad mode and is being modified inplace with grad mode enabled "
            f"({describe(x)}). Hint: make the view outside of no_grad(), or the change inside"
        )


def root(x: Tensor) -> Tensor:
    """The tensor at the bottom of a chain of views."""
    while x._v is not None:
        x = x._v[0]
    return x


Steps = list[tuple[Callable[..., Tensor], tuple[Any, ...]]]


def steps_to(x: Tensor) -> Steps:
    """How x is made from its root: view functions with their arguments, holding no tensor."""
    steps: Steps = []
    while x._v is not None:
        x, fn, args = x._v
        steps.append((fn, args))
    steps.reverse()
    return steps


def replay(steps: Steps, base: Tensor) -> Tensor:
    """The same view of another tensor of the root's shape."""
    for fn, args in steps:
        base = fn(base, *args)
    return base


class CopySlices(Node):
    """The base's history after an in-place change through a view of it."""

    __slots__ = ("order", "steps")

    def __init__(self, base: Tensor, view: Tensor, value: Tensor) -> None:
        self.edges = (base._g, value._g)
        self.steps = steps_to(view)
        self.order = None if base.is_contiguous() else _order(base)
        self.saved = ()
        self.hooks = None
        self.shape = base._a.shape
        self.kind = base._kind
        self.seq = _node.next_seq()

    def apply(self, g: Tensor) -> Grads:
        """The base loses the gradient of the overwritten part; the new value gets it."""
        g = self._laid_out(g)
        base_g, value_g = self.edges
        to_value = None if value_g is None else replay(self.steps, g).clone()
        if base_g is None:
            return None, to_value
        update("zero_", replay(self.steps, g), lambda part: part * 0, saves=False)
        return g, to_value

    def _laid_out(self, g: Tensor) -> Tensor:
        """A copy of g whose dimensions lie in memory as the base's, so that the same views exist."""
        if self.order is None:
            return g.clone()
        back = [self.order.index(d) for d in range(len(self.order))]
        return g.permute(self.order).clone().permute(back)


def _order(x: Tensor) -> tuple[int, ...]:
    """The dimensions of x from the slowest to the fastest."""
    strides = x.stride()
    return tuple(sorted(range(len(strides)), key=lambda d: -strides[d]))


def _cast_for(name: str, x: Tensor, value: Tensor) -> Tensor:
    if value._kind is x._kind:
        return value
    have, want = value._kind.dtype, x._kind.dtype
    if have.category > want.category:
        raise DTypeError(
            f"{name}: result type {have.name} can't be cast to the desired output type {want.name} ({describe(x)}). "
            f"Hint: use the variant that is not in place, or x.to({have})"
        )
    return value.to(x._kind.device, want)


def _fits(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    try:
        fits = broadcast_two(x._a.shape, shape) == x._a.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{name}: output with shape {list(x._a.shape)} doesn't match the broadcast shape "
            f"{list(shape)} ({describe(x)})"
        )


def update(name: str, x: Any, compute: Callable[[Tensor], Tensor], *, saves: bool) -> Tensor:
    """Replace x's values by compute(x), on the tape too.

    Args: compute: the out-of-place operation, called with a tensor of x's values and history.
        saves: compute may keep its argument's values for the backward pass, so it gets a copy of them.
    """
    if not isinstance(x, Tensor):
        raise DTypeError(f"{name}: needs a Tensor to write to, got {type(x).__name__}")
    check_writable(name, x)
    try:
        src = wrap(x._kind.k["copy"](x._a) if saves and state.grad else x._a, x._kind, x._g)
    except MemoryError as error:
        from flambeau._live import out_of_memory

        raise out_of_memory(name, x._kind.device, error) from None
    value = _cast_for(name, x, compute(src))
    _fits(name, x, value._a.shape)
    store(name, x, value)
    return x


def store(name: str, x: Tensor, value: Tensor) -> None:
    """Copy value's elements into x's memory, bump the version, and rebase x's history on value's."""
    if state.grad and x._v is not None:
        _check_tracked(name, x, value)
    try:
        x._kind.k["copy"](value._a, out=x._a)
    except ValueError as error:
        raise ShapeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            f"location ({describe(x)}). Hint: clone() the tensor before"
        ) from error
    bump(x)
    if state.grad:
        rebase(x, value)


def bump(x: Tensor) -> None:
    """Record that x's memory changed."""
    if x._s is None:
        x._s = Storage(1)
    else:
        x._s.version += 1


def rebase(x: Tensor, value: Tensor) -> None:
    """Make value's history x's, and through x that of its base and of all live views."""
    storage = x._s
    base = root(x)
    if value._g is None and base._g is None and x._g is None:
        return
    if base is x:
        _renew(x, value._g if value._g is not None else _constant(x))
    else:
        _renew(base, CopySlices(base, x, value))
    if storage is not None and storage.views:
        for reference in storage.views:
            view = reference()
            if view is not None and view._v is not None and root(view) is base:
                renewed = replay(steps_to(view), base)
                _renew(view, renewed._g)
                renewed._v = None


def _renew(x: Tensor, node: Any) -> None:
    """Give x a new history; retain_grad() is about x as it is now, so its hook moves along."""
    if x._retains and x._g is not None and x._g.hooks is not None:
        keep = x._g.hooks.keep.pop(id(x), None)
        if keep is not None and node is not None:
            if node.hooks is None:
                node.hooks = Hooks()
            node.hooks.keep[id(x)] = keep
    x._g = node


class FillBackward0(Node):
    """History of a tensor whose values were overwritten by constants: no gradient passes."""

    __slots__ = ()

    def apply(self, g: Tensor) -> Grads:
        """Nothing flows back."""
        return (None,) * len(self.edges)


def _constant(x: Tensor) -> Node:
    n = FillBackward0()
    n.edges, n.saved, n.hooks = (x._g,), (), None
    n.shape, n.kind, n.seq = x._a.shape, x._kind, _node.next_seq()
    return n


def store_out(result: Tensor, out: Tensor) -> Tensor:
    """Write result into out, resizing an empty out; the rule of `out=` arguments."""
    if result._g is not None or (state.grad and out._g is not None):
        raise GradError(
            "out=: functions with out=... arguments don't support automatic differentiation, but one of the arguments "
            f"requires grad (out: {describe(out)}). Hint: assign the result instead, or use no_grad()"
        )
    value = _cast_for("out=", out, result)
    if out._a.shape != value._a.shape:
        if out.numel():
            raise ShapeError(
                f"out=: needs shape {list(value._a.shape)}, got {describe(out)}. Hint: out=empty(0)"
            )
        out._a = value._kind.k["copy"](value._a)
        bump(out)
        return out
    store("out=", out, value)
    return out
