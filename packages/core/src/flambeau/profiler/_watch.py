"""Calls around kernels that become events: backward functions, optimizer steps, batches of a DataLoader."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from flambeau.autograd import engine, marks
from flambeau.autograd.node import Node
from flambeau.profiler._record import RANGE, Event, Label

NODE = "node"
BACKWARD = Label(RANGE, "autograd backward")


def _date(seq: Any) -> None:
    """Let a node remember when and in which thread it was made."""
    seq.made, seq.thread = perf_counter_ns(), get_ident()


class Watch:
    """From start() to stop(), methods of these classes are exchanged for ones that write events down."""

    def __init__(self, events: list[Event]) -> None:
        self.add = events.append
        self.labels: dict[Any, Label] = {}
        self.placed: list[tuple[Any, str, Any, Any]] = []
        self.seen: set[type] = set()

    def start(self) -> None:
        """Begin."""
        self._put(engine, "run", self._timed(engine.run, lambda *args: BACKWARD))
        marks.add(_date)
        # Functions make their classes of nodes when they are first called.
        setattr(Node, "__init_subclass__", classmethod(lambda cls: self._node(cls)))  # noqa: B010
        for cls in _below(Node):
            self._node(cls)
        self.attach()

    def attach(self) -> None:
        """Take in the optimizers and loaders that were imported or defined by now."""
        for cls in _below(_class("flambeau.optim", "Optimizer")):
            for name in ("step", "zero_grad"):
                self._method(cls, name, f"Optimizer.{name}#", f".{name}")
        for cls in _below(_class("flambeau.utils.data._iterate", "LoaderIterator")):
            self._method(cls, "__next__", "enumerate(DataLoader)#", ".__next__")

    def stop(self) -> None:
        """End, and put every method back."""
        for owner, name, plain, placed in reversed(self.placed):
            if vars(owner).get(name) is placed:
                setattr(owner, name, plain)
        marks.remove(_date)
        if "__init_subclass__" in vars(Node):
            delattr(Node, "__init_subclass__")
        self.placed = []
        self.seen.clear()

    def _put(self, owner: Any, name: str, placed: Any) -> None:
        self.placed.append((owner, name, vars(owner)[name], placed))
        setattr(owner, name, placed)

    def _timed(self, plain: Any, label_of: Callable[..., Label]) -> Callable[..., Any]:
        add = self.add

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter_ns()
            try:
                return plain(*args, **kwargs)
            finally:
                add((start, perf_counter_ns(), get_ident(), label_of(*args), None, ""))

        return timed

    def _method(self, cls: type, name: str, before: str, after: str) -> None:
        if (cls, name) in self.labels or name not in vars(cls):
            return
        self.labels[cls, name] = Label(RANGE, "")  # the class is done

        def label_of(self_: Any, *args: Any) -> Label:
            key = (type(self_).__name__, name)
            if key not in self.labels:
                self.labels[key] = Label(RANGE, f"{before}{key[0]}{after}")
            return self.labels[key]

        self._put(cls, name, self._timed(vars(cls)[name], label_of))

    def _node(self, cls: type) -> None:
        if (
            cls in self.seen
            or "apply" not in vars(cls)
            or isinstance(vars(cls)["apply"], classmethod)
            or "plain" in vars(cls)  # a stand-in: it calls the apply of its own class
        ):
            return
        self.seen.add(cls)
        plain, add, labels = vars(cls)["apply"], self.add, self.labels

        def apply(n: Any, g: Any) -> Any:
            label = labels.get(n.__class__)
            if label is None:
                label = labels[n.__class__] = Label(NODE, n.name())
            start = perf_counter_ns()
            try:
                return plain(n, g)
            finally:
                add((start, perf_counter_ns(), get_ident(), label, n.seq, ""))

        self._put(cls, "apply", apply)


def _class(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


def _below(cls: Any) -> Iterator[type]:
    """A class and all that inherit from it."""
    if cls is not None:
        yield cls
        for inheriting in cls.__subclasses__():
            yield from _below(inheriting)
