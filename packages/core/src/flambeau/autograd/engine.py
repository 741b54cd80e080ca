"""The backward pass: walk the tape from the newest node to the oldest, summing gradients on the way."""

from __future__ import annotations

from heapq import heappop, heappush
from operator import attrgetter
from typing import Any
from weakref import ref

from flambeau import _late
from flambeau.autograd.node import AccumulateGrad, Hooks, Node, OutputEdge, Storage
from flambeau.autograd.state import state
from flambeau.errors import AnomalyError, ArgumentError, DeviceError, GradError, ShapeError
from flambeau.tensor import Tensor, describe, wrap


class _Anomaly:
    """What anomaly mode has switched on: tracing, and a check for nan after every node."""

    on = False
    check_nan = False


ANOMALY = _Anomaly()


def run(
    roots: list[tuple[Node, Tensor]],
    *,
    retain: bool,
    create: bool,
    wanted: dict[Node, Tensor | None] | None = None,
    accumulate: set[Node] | None = None,
) -> None:
    """Send gradients down from the roots.

    The pending node with the highest sequence number is always next: whatever could still send a gradient to
    it is newer.

    Args: wanted: nodes whose incoming gradient is asked for; filled in, and no leaf is touched.
        accumulate: with wanted=None, the nodes of the leaves to fill; None for all.
    """
    pending: dict[Node, Any] = {}
    heap: list[tuple[int, Node]] = []
    leaves: list[AccumulateGrad] = []
    for node, g in roots:
        _arrive(pending, heap, leaves, node, g)
    needed = None
    if wanted is not None or accumulate is not None:
        needed = _needed(list(pending), set(wanted or ()) | (accumulate or set()))
    previous = state.grad
    state.grad = create
    try:
        while heap:
            n = heappop(heap)[1]
            g = pending.pop(n)
            if n.hooks is not None:
                g = _before(n, g)
            if needed is not None:
                if wanted is not None and n in wanted:
                    wanted[n] = g
                if n not in needed:
                    continue
            if n.__class__ is OutputEdge:
                _collect(pending, heap, n, g)
                continue
            results = n.apply(g)
            if n.hooks is not None and n.hooks.after:
                results = _after(n, results, g)
            if ANOMALY.check_nan:
                _check_nan(n, results)
            if not retain and n.saved:
                n.saved = None
            for edge, d in zip(n.edges, results):
                if edge is None or d is None:
                    continue
                if edge in pending:
                    pending[edge] = _late.add(pending[edge], d)
                    continue
                pending[edge] = d
                if edge.seq:
                    heappush(heap, (-edge.seq, edge))
                else:
                    leaves.append(edge)
        for leaf in leaves:
            _leaf(leaf, pending[leaf], create, wanted, accumulate)
    except MemoryError as error:
        from flambeau._live import uncaught

        raise uncaught("backward", error) from None
    finally:
        state.grad = previous


def _arrive(
    pending: dict[Node, Any], heap: list[Any], leaves: list[Any], node: Node, g: Tensor
) -> None:
    if node in pending:
        pending[node] = _late.add(pending[node], g)
        return
    pending[node] = g
    if node.seq:
        heappush(heap, (-node.seq, node))
    else:
        leaves.append(node)


def _leaf(
    n: AccumulateGrad,
    g: Tensor,
    create: bool,
    wanted: dict[Node, Tensor | None] | None,
    accumulate: set[Node] | None,
) -> None:
    if n.hooks is not None:
        g = _before(n, g)
    if wanted is not None:
        if n in wanted:
            wanted[n] = g
    elif accumulate is None or n in accumulate:
        _accumulate(n, g, create)


def _needed(roots: list[Node], targets: set[Node]) -> set[Node]:
    """Nodes above a target: the others need not run."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    needed: set[Node] = set()
    for n in sorted(seen, key=attrgetter("seq")):
        if any(e is not None and (e in targets or e in needed) for e in n.edges):
            needed.add(n)
    return needed


def _collect(pending: dict[Node, Any], heap: list[Any], edge: OutputEdge, g: Tensor) -> None:
    parent = edge.parent
    if parent not in pending:
        pending[parent] = {}
        heappush(heap, (-parent.seq, parent))
    parts = pending[parent]
    parts[edge.index] = _late.add(parts[edge.index], g) if edge.index in parts else g


def _before(n: Node, g: Any) -> Any:
    hooks: Hooks = n.hooks
    if g.__class__ is Tensor and g._s is None:
        g._s = Storage()  # a hook may keep it: never becomes .grad itself
    for hook in list(hooks.tensor.values()):
        replaced = hook(g)
        if replaced is not None:
            g = _checked(replaced, g, "hook")
    for keep in hooks.keep.values():
        keep(g)
    for hook in list(hooks.before.values()):
        replaced = hook((g,))
        if replaced is not None:
            g = replaced[0] if isinstance(replaced, tuple) else replaced
    return g


def _checked(replaced: Any, g: Tensor, what: str) -> Tensor:
    if not isinstance(replaced, Tensor):
        raise ArgumentError(
            f"{what}: expected a Tensor, but the hook returned {type(replaced).__name__}"
        )
    if replaced._a.shape != g._a.shape:
        raise ShapeError(
            f"{what}: has changed the size of value, from {describe(g)} to {describe(replaced)}"
        )
    return replaced


def _after(n: Node, results: Any, g: Any) -> Any:
    for hook in list(n.hooks.after.values()):
        replaced = hook(tuple(results), (g,))
        if replaced is not None:
            results = replaced if isinstance(replaced, tuple) else (replaced,)
    return results


def _accumulate(n: AccumulateGrad, g: Tensor, create: bool) -> None:
    leaf = n.leaf()
    if leaf is None or leaf._g is None:  # gone, or switched off since the graph was recorded
        return
    have = leaf._grad
    if g._kind is not leaf._kind:
        g = g.to(leaf._kind.device, leaf._kind.dtype)
    if have is None:
        # A gradient that nobody else holds becomes .grad itself: sharing always leaves a Storage behind.
        if g._s is None and n.hooks is None and not create:
            g._s = Storage()
            leaf._grad = g
        else:
            leaf._grad = _late.clone(g)
    elif create:
        leaf._grad = _late.add(have, g)
    else:
        have.add_(g)
    if n.hooks is not None:
        for hook in list(n.hooks.post.values()):
            hook(leaf)


def _check_nan(n: Node, results: Any) -> None:
    from flambeau.autograd.node import called_at

    for i, d in enumerate(results):
        if d is not None and d._kind.inexact is not None and bool(d.isnan().any()):
            raise AnomalyError(
                f"Function '{n.name()}' returned nan values in its {i}th output.{called_at(n)}"
            )


def retain(t: Tensor) -> None:
    """Make backward() keep `.grad` of a tensor that is not a leaf."""
    back = ref(t)

    def keep(g: Tensor) -> None:
        kept = back()
        if kept is not None:
            kept._grad = g if kept._grad is None else _late.add(kept._grad, g)

    if t._g.hooks is None:
        t._g.hooks = Hooks()
    t._g.hooks.keep[id(t)] = keep


def _root(t: Any, g: Any, create: bool) -> tuple[Node, Tensor]:
    if not isinstance(t, Tensor):
        raise ArgumentError(f"backward: expects tensors, got {type(t).__name__}")
    if t._g is None:
        why = (
            "gradients are switched off by no_grad()"
            if not state.grad
            else "no tensor it was computed from requires grad, or it was computed under no_grad()"
        )
        raise GradError(
            f"element 0 of tensors does not require grad and does not have a grad_fn: {why} ({describe(t)}). "
            "Hint: x.requires_grad_() before the computation, and do not detach() on the way"
        )
    if g is None:
        if t.numel() != 1:
            raise GradError(
                f"grad can be implicitly created only for scalar outputs, got {describe(t)}. "
                "Hint: reduce it first with .sum() or .mean(), or pass gradient="
            )
        if t._kind.inexact is None or t._kind.dtype.is_complex:
            raise GradError(
                f"grad can be implicitly created only for real scalar outputs but got {describe(t)}"
            )
        return t._g, wrap(t._kind.k["fill"](t._a.shape, 1, t._kind.dtype), t._kind)
    if not isinstance(g, Tensor):
        raise ArgumentError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    if g._a.shape != t._a.shape:
        raise GradError(
            f"Mismatch in shape: grad_output[0] has a shape of {list(g._a.shape)} and output[0] has a "
            f"shape of {list(t._a.shape)}."
        )
    if g._kind.device != t._kind.device:
        raise DeviceError(
            f"backward: Expected all tensors to be on the same device, got gradient {describe(g)} for {describe(t)}. "
            f"Hint: gradient.to('{t._kind.device}')"
        )
    if g._g is None or not create:
        kept = wrap(g._a, g._kind, g._g if create else None)
        kept._s = g.detach()._s  # the user holds it too: never becomes .grad itself
        return t._g, kept
    return t._g, g


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: Any = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulate gradients of the tensors into the leaves they were computed from.

    Args: tensors: one or several; grad_tensors: their gradients, None for one-element tensors (1 then).
    Raises: GradError: see Tensor.backward.
    """
    tensors = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
    if grad_tensors is None or isinstance(grad_tensors, Tensor):
        grad_tensors = (grad_tensors,) * len(tensors)
    if len(grad_tensors) != len(tensors):
        raise GradError(f"backward: got {len(tensors)} tensors and {len(grad_tensors)} gradients")
    roots = [_root(t, g, create_graph) for t, g in zip(tensors, grad_tensors, strict=True)]
    retain_ = create_graph if retain_graph is None else bool(retain_graph)
    accumulate = None
    if inputs is not None:
        inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        if not inputs:
            raise GradError("'inputs' argument to backward cannot be empty.")
        for x in inputs:
            if x._g is None:
                raise GradError(
                    f"One of the differentiated Tensors does not require grad ({describe(x)})"
                )
            if not isinstance(x._g, AccumulateGrad):
                x.retain_grad()
        accumulate = {x._g for x in inputs}
    run(roots, retain=retain_, create=create_graph, accumulate=accumulate)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: Any = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of outputs with respect to inputs, without touching any `.grad`.

    Args: allow_unused: None instead of an error for an input that the outputs do not depend on.
        materialize_grads: zeros instead of None.
    Raises: GradError: an input was not used, or requires no grad.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor(3.0, requires_grad=True)
        >>> fb.autograd.grad(x * x, x)
        (tensor(6.),)
    """
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = (grad_outputs,) * len(outputs)
    for x in inputs:
        if x._g is None:
            raise GradError(
                f"One of the differentiated Tensors does not require grad ({describe(x)})"
            )
    roots = [_root(t, g, create_graph) for t, g in zip(outputs, grad_outputs, strict=True)]
    wanted: dict[Node, Tensor | None] = {x._g: None for x in inputs}
    if is_grads_batched:
        raise GradError(
            "grad: is_grads_batched needs vmap, which is not offered. Hint: loop over the rows"
        )
    run(
        roots,
        retain=create_graph if retain_graph is None else bool(retain_graph),
        create=create_graph,
        wanted=wanted,
    )
    found = []
    for x in inputs:
        g = wanted[x._g]
        if g is None and materialize_grads:
            g = wrap(x._kind.k["fill"](x._a.shape, 0, x._kind.dtype), x._kind)
        if g is None and not allow_unused:
            raise GradError(
                f"One of the differentiated Tensors appears to not have been used in the graph ({describe(x)}). "
                "Hint: set allow_unused=True if this is the desired behavior."
            )
        found.append(g)
    return tuple(found)
