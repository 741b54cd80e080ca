"""What nodes save, packed by the user's hooks: the machinery of `autograd.graph.saved_tensors_hooks`.

Nothing here is imported, and no node asks for it, before the first hooks are set. Then generated code reaches it where
it numbers a new node, whose values are saved by then; nodes written by hand call `node.packer`. A node whose values are
packed becomes an instance of a subclass that unpacks them for its `apply`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import flambeau.autograd.node as _node
from flambeau.autograd import marks
from flambeau.autograd.function import FunctionCtx
from flambeau.autograd.node import Node, Storage, freed, plain_class, stand_in
from flambeau.errors import ArgumentError, GradError
from flambeau.kinds import Kind
from flambeau.tensor import Tensor, wrap

Pack = Callable[[Tensor], Any]
Unpack = Callable[[Any], Tensor]


class _Local(threading.local):
    """hooks: pairs set in this thread, the last one counts.  refused: messages of blocks that allow none."""

    def __init__(self) -> None:
        self.hooks: list[tuple[Pack, Unpack]] = []
        self.refused: list[str] = []


local = _Local()
_lock = threading.Lock()
_users = 0


class _Packed:
    """One saved tensor, in the user's hands: made from it, what the hook gave, and what the hook cannot keep."""

    __slots__ = ("edge", "packed", "unpack", "version")

    def __init__(self, t: Tensor, edge: Any, version: int) -> None:
        pack, self.unpack = local.hooks[-1]
        self.packed = pack(t)
        self.edge, self.version = edge, version

    def take(self) -> Tensor:
        """The tensor again, with its history; it counts as unchanged."""
        t = self.unpack(self.packed)
        if not isinstance(t, Tensor):
            raise ArgumentError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(t).__name__}"
            )
        made = wrap(t._a, t._kind, self.edge)
        made._s = Storage(self.version)
        return made


class _Input(_Packed):
    """A saved tensor."""

    __slots__ = ()

    def __init__(self, t: Tensor) -> None:
        super().__init__(t.detach(), t._g, t._version)

    def __call__(self, ctx: Any) -> Tensor:
        return self.take()


class _Native(_Packed):
    """A saved output of which the node keeps the native array alone."""

    __slots__ = ()

    def __init__(self, native: Any, kind: Kind, storage: Storage) -> None:
        t = wrap(native, kind)
        t._s = storage
        super().__init__(t, None, storage.version)


class _Output(_Packed):
    """A saved output of a Function."""

    __slots__ = ("link",)

    def __init__(self, pair: Any, storage: Any, version: int, link: Any) -> None:
        t = wrap(*pair)
        t._s = storage
        super().__init__(t, None, version)
        self.link = link

    def __call__(self, ctx: Any) -> Tensor:
        t = self.take()
        made: Tensor = ctx._unpack((t._a, t._kind), t._s, self.version, self.link)
        return made


# ---- nodes
def pack(n: Node, kind: Kind | None = None) -> None:
    """Hand what a new node saved to this thread's hooks.  kind: of the output, for nodes of declared operations."""
    if not local.hooks or not n.saved or plain_class(n) is not type(n):
        return
    if isinstance(n, FunctionCtx):
        n.saved = tuple([s if s is None else _argument(*s) for s in n.saved])
        return
    saved = n.saved
    op = getattr(type(n), "op", None)
    last: tuple[Any, ...] = ()
    if op is not None and op.saves_output:
        saved, last = saved[:-3], saved[-3:]
        if last[1] is not None and kind is not None:
            last = (_Native(last[0], kind, last[1]), Storage(last[2]), last[2])
    n.saved = (*_packed(saved), *last)
    stand_in(n, _apply)


def _argument(t: Any, storage: Any, version: int, link: Any) -> Any:
    return _Input(t) if isinstance(t, Tensor) else _Output(t, storage, version, link)


def _packed(value: Any) -> Any:
    """A structure of saved values with its tensors packed; native arrays that a fused kernel left stay."""
    if isinstance(value, Tensor):
        return _Input(value)
    return tuple([_packed(v) for v in value]) if value.__class__ is tuple else value


def _unpacked(value: Any) -> Any:
    if value.__class__ is _Input:
        return value.take()
    if value.__class__ is _Native:
        return value.take()._a
    return tuple([_unpacked(v) for v in value]) if value.__class__ is tuple else value


def _apply(self: Any, g: Any) -> Any:
    packed = self.saved
    if packed is None:
        raise freed(self)
    self.saved = _unpacked(packed)
    try:
        return self.plain.apply(self, g)
    finally:
        self.saved = packed


# ---- in and out
def _mark(seq: Any) -> None:
    """Called where any node is numbered: packs those of generated code, whose values are saved by then."""
    frame = sys._getframe(2)
    if local.hooks and frame.f_code.co_filename.startswith("<flambeau "):
        names = frame.f_locals
        if "_t" in names:
            pack(names["_n"], names["_t"]._kind)


def push(pack_hook: Pack, unpack_hook: Unpack) -> None:
    """Begin to pack what this thread's operations save.

    Raises: GradError: within `disable_saved_tensors_hooks`.
    """
    global _users
    if local.refused:
        raise GradError(local.refused[-1])
    local.hooks.append((pack_hook, unpack_hook))
    with _lock:
        _users += 1
        if _users == 1:
            marks.add(_mark)
            _node.packer = pack


def pop() -> None:
    """End what the last `push` began."""
    global _users
    local.hooks.pop()
    with _lock:
        _users -= 1
        if not _users:
            marks.remove(_mark)
            _node.packer = None
