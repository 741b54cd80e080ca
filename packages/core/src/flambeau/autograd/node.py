"""The tape: nodes that know how to turn an output's gradient into their inputs' gradients.

A tensor that takes part in autograd points to one node (`Tensor._g`): the operation that made it, or, for a leaf,
the `AccumulateGrad` that fills its `.grad`. A node's edges are the `_g` of its inputs, so recording is a few stores.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau.errors import GradError, InplaceModifiedError

if TYPE_CHECKING:
    from flambeau.tensor import Tensor

#: Creation order of nodes, which is a topological order of every graph. `marks` exchanges it.
next_seq = itertools.count(1).__next__

Grads = tuple["Tensor | None", ...]

#: While hooks on saved tensors are set: hands what a new node saved to them. For nodes that are not generated.
packer: Callable[[Node], None] | None = None


class Storage:
    """What all views of one memory block share: a version that in-place operations bump, and the live views."""

    __slots__ = ("__weakref__", "limit", "version", "views")

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self.views: list[weakref.ref[Tensor]] = []
        self.limit = 16

    def track(self, view: Tensor) -> None:
        """Remember a differentiable view, so that an in-place change of the base can renew its history."""
        views = self.views
        views.append(weakref.ref(view))
        if len(views) > self.limit:
            self.views = [r for r in views if r() is not None]
            self.limit = 2 * len(self.views) + 16


class Node:
    """An operation on the tape; `tensor.grad_fn` for tensors that are not leaves."""

    __slots__ = ("__weakref__", "attrs", "edges", "hooks", "kind", "saved", "seq", "shape")

    attrs: Any
    edges: tuple[Any, ...]
    saved: Any
    hooks: Any
    shape: tuple[int, ...]
    kind: Any
    seq: int

    def apply(self, g: Tensor) -> Grads:
        """The gradients of the inputs, given the gradient of the output."""
        raise NotImplementedError

    def name(self) -> str:
        """The operation's name, as printed: MulBackward0."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The nodes of the inputs, each with the index of the output it comes from."""
        return tuple(
            (e.parent, e.index) if isinstance(e, OutputEdge) else (e, 0) for e in self.edges
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for the user's notes about this node."""
        return _metadata.setdefault(self, {})

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(grad_inputs, grad_outputs) after this node ran; a result that is not None replaces grad_inputs."""
        return register(self, "after", hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook(grad_outputs) before this node runs; a result that is not None replaces grad_outputs."""
        return register(self, "before", hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


_metadata: weakref.WeakKeyDictionary[Node, dict[str, Any]] = weakref.WeakKeyDictionary()


def plain_class(n: Node) -> type[Node]:
    """A node's own class, whatever stands in for it."""
    return getattr(type(n), "plain", type(n))


_stand_ins: dict[Any, type[Node]] = {}


def stand_in(n: Node, apply: Callable[..., Any], **more: Any) -> None:
    """Give a node another apply, and other attributes: an instance of a subclass, whose `plain` is its own class."""
    cls = plain_class(n)
    made = _stand_ins.get((cls, apply))
    if made is None:
        body = {"__slots__": (), "__module__": cls.__module__, "apply": apply, "plain": cls, **more}
        made = _stand_ins[cls, apply] = type(cls.__name__, (cls,), body)
    n.__class__ = made


class Hooks:
    """Hooks of one node: on the tensor's gradient, then its retain_grad, before and after the node, after
    accumulation.
    """

    __slots__ = ("after", "before", "keep", "post", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, Callable[..., Any]] = {}
        self.keep: dict[int, Callable[..., Any]] = {}
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}
        self.post: dict[int, Callable[..., Any]] = {}


class RemovableHandle:
    """Returned by every `register_*hook`; `remove()` or leaving a with block takes the hook away."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Any]) -> None:
        self.id = next(self._ids)
        self._hooks = hooks

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register(node: Node, when: str, hook: Callable[..., Any]) -> RemovableHandle:
    if node.hooks is None:
        node.hooks = Hooks()
    table = getattr(node.hooks, when)
    handle = RemovableHandle(table)
    table[handle.id] = hook
    return handle


class AccumulateGrad(Node):
    """The end of the tape at a leaf: adds what arrives to the leaf's `.grad`."""

    __slots__ = ("leaf",)

    def __init__(self, leaf: Tensor) -> None:
        self.leaf = weakref.ref(leaf)  # a strong one would be a cycle: the leaf points here
        self.edges = ()
        self.saved = ()
        self.hooks = None
        self.seq = 0
        self.shape = leaf._a.shape
        self.kind = leaf._kind

    @property
    def variable(self) -> Tensor | None:
        """The leaf, or None once it is gone."""
        return self.leaf()


class OutputEdge(Node):
    """Stands between a node with several outputs and the tensor that is output `index`."""

    __slots__ = ("index", "parent")

    def __init__(self, parent: Node, index: int, shape: tuple[int, ...], kind: Any) -> None:
        self.parent, self.index, self.shape, self.kind = parent, index, shape, kind
        self.edges = (parent,)
        self.saved = ()
        self.hooks = None
        self.seq = next_seq()


def freed(node: Node) -> GradError:
    """The error of walking a graph twice."""
    return GradError(
        f"{node.name()}: Trying to backward through the graph a second time: the values saved for it "
        f"were freed by the first "
        "walk. Hint: recompute the loss inside the loop, or call backward(retain_graph=True) the first time"
        + (called_at(node) or "; autograd.detect_anomaly() names the line that built it")
    )


def stale(node: Node, shape: tuple[int, ...], saved: int, now: int) -> InplaceModifiedError:
    """The error of a saved tensor that was changed in place."""
    return InplaceModifiedError(
        f"{node.name()}: one of the variables needed for gradient computation has been modified by an "
        f"inplace operation: "
        f"a tensor of shape {tuple(shape)} is at version {now}, expected version {saved}. "
        "Hint: clone() it before the in-place change, or enable autograd.set_detect_anomaly(True) to see where the "
        "operation was called" + called_at(node)
    )


def called_at(node: Node) -> str:
    trace = getattr(node.seq, "trace", None)
    return f"\nThe operation was called here:\n{trace}" if trace else ""
