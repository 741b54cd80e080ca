"""Nodes of kernels that keep values of their own for the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau.autograd.node as _node
from flambeau.autograd.node import Node, OutputEdge, freed, stale
from flambeau.autograd.state import state
from flambeau.tensor import Tensor, wrap


class FusedNode(Node):
    """A node that saves its inputs, checked for changes, and what its forward kernel left for the backward
    kernel.

    Subclasses define `backward` on native arrays, and `composite`, the same function in differentiable
    operations, which
    stands in where the gradient itself will be differentiated.
    """

    __slots__ = ()

    def composite(self, *inputs: Any) -> Any:
        """The forward pass again, in differentiable operations."""
        raise NotImplementedError

    def backward(
        self, g: Any, inputs: tuple[Any, ...], kept: tuple[Any, ...], needs: tuple[bool, ...]
    ) -> Any:
        """Native gradients of the inputs, None where none is needed."""
        raise NotImplementedError

    def apply(self, g: Any) -> Any:
        """The gradients of the inputs."""
        if self.saved is None:
            raise freed(self)
        inputs, versions, kept = self.saved
        for t, v in zip(inputs, versions):
            if t is not None:
                now = 0 if t._s is None else t._s.version
                if now != v:
                    raise stale(self, t._a.shape, v, now)
        if state.grad:
            return self.again(g, inputs)
        m = self.kind
        grads = self.backward(g, inputs, kept, tuple([e is not None for e in self.edges]))
        return tuple(
            [None if d is None or e is None else wrap(d, m) for d, e in zip(grads, self.edges)]
        )

    def again(self, g: Any, inputs: tuple[Any, ...]) -> Any:
        """The gradients as differentiable results: through the composite."""
        from flambeau.autograd.engine import grad

        y = self.composite(*inputs)
        wanted = [t for t, e in zip(inputs, self.edges) if e is not None]
        if g.__class__ is dict:
            parts = [(y[i], part) for i, part in g.items() if y[i]._g is not None]
            found = iter(
                grad(
                    [p[0] for p in parts],
                    wanted,
                    [p[1] for p in parts],
                    create_graph=True,
                    allow_unused=True,
                )
            )
        else:
            found = iter(grad(y, wanted, g, create_graph=True, allow_unused=True))
        return tuple([None if e is None else next(found) for e in self.edges])


def record(
    make: Callable[[], FusedNode],
    result: Any,
    inputs: tuple[Tensor | None, ...],
    kept: tuple[Any, ...],
) -> Any:
    """Put a fused node on the tape for the result (or results), if an input wants a gradient."""
    edges = tuple([None if t is None else t._g for t in inputs])
    if not state.grad or all(e is None for e in edges):
        return None
    n = make()
    n.edges = edges
    n.saved = (
        inputs,
        tuple([0 if t is None or t._s is None else t._s.version for t in inputs]),
        kept,
    )
    n.hooks, n.seq = None, _node.next_seq()
    if _node.packer is not None:
        _node.packer(n)
    if result.__class__ is tuple:
        n.shape, n.kind = result[0]._a.shape, result[0]._kind
        for i, t in enumerate(result):
            t._g = OutputEdge(n, i, t._a.shape, t._kind)
    else:
        n.shape, n.kind = result._a.shape, result._kind
        result._g = n
    return n
