"""Writing down what runs: kernels by wrapping them, modules and named ranges around them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from threading import get_ident
from time import perf_counter_ns
from typing import Any, NamedTuple

from flambeau.backend import exchange
from flambeau.backend.protocol import Device
from flambeau.errors import FlambeauError

OP, MODULE, RANGE = "op", "module", "range"


class ProfilerError(FlambeauError, RuntimeError):
    """The profiler was used out of turn."""


class Label(NamedTuple):
    """What events of one place share: op, module or range; its name; the device type of an op."""

    kind: str
    name: str
    device: str = "cpu"


#: (start, end, thread, label, shapes of the arguments, line of the caller); times in ns.
Event = tuple[int, int, int, Label, Any, str]

_lock = threading.Lock()
#: The recorder at work, in a list of at most one.
ACTIVE: list[Recorder] = []


class Recorder:
    """From start() to stop(), every kernel call, module call and named range of all threads becomes an event."""

    def __init__(self, shapes: bool, stack: bool, wait: bool) -> None:
        self.events: list[Event] = []
        self.shapes, self.stack, self.wait = shapes, stack, wait
        self.module: Any = None
        self.began = self.ended = 0

    def start(self) -> None:
        """Begin.

        Raises: ProfilerError: another profile is running.
        """
        with _lock:
            if ACTIVE:
                raise ProfilerError(
                    "profiler: another profile is running, and two cannot exchange the same kernels. "
                    "Hint: one profile() around both, with record_function() ranges inside"
                )
            ACTIVE.append(self)
        try:
            exchange.add(self._layer)
            self.attach()
        except BaseException:
            self.stop()
            raise
        self.began = perf_counter_ns()

    def attach(self) -> None:
        """Take in the devices and the package nn that were opened and imported by now."""
        exchange.attach()
        if self.module is None:
            module = getattr(sys.modules.get("flambeau.nn"), "Module", None)
            if module is not None:
                self._watch(module)

    def _layer(self, kernel: Any, name: str, device: str, dev: Device) -> Callable[..., Any]:
        wait = dev.synchronize if self.wait and dev.caps.asynchronous else None
        label = Label(OP, name, device)
        if self.shapes or self.stack or wait:
            return self._detailed(kernel, label, wait)
        return self._timed(kernel, label)

    def _timed(self, kernel: Any, label: Label) -> Callable[..., Any]:
        add = self.events.append

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter_ns()
            try:
                return kernel(*args, **kwargs)
            finally:
                add((start, perf_counter_ns(), get_ident(), label, None, ""))

        return timed

    def _detailed(self, kernel: Any, label: Label, wait: Any) -> Callable[..., Any]:
        add, shapes, stack = self.events.append, self.shapes, self.stack

        def timed(*args: Any, **kwargs: Any) -> Any:
            seen = [_shape(a) for a in args] if shapes else None
            line = caller() if stack else ""
            start = perf_counter_ns()
            try:
                result = kernel(*args, **kwargs)
                if wait is not None:
                    wait()
                return result
            finally:
                add((start, perf_counter_ns(), get_ident(), label, seen, line))

        return timed

    def _watch(self, module: Any) -> None:
        # Global hooks would leave every later call of a module on the slow path; the method is put back as it was.
        plain = module.__call__
        add, names = self.events.append, _Names()

        def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
            label, outermost = names.enter(self)
            start = perf_counter_ns()
            try:
                return plain(self, *args, **kwargs)
            finally:
                add((start, perf_counter_ns(), get_ident(), label, None, ""))
                if outermost:
                    names.leave()

        self.module = (module, plain, __call__)
        module.__call__ = __call__

    def stop(self) -> None:
        """End, and put every kernel back."""
        self.ended = perf_counter_ns()
        exchange.remove(self._layer)
        if self.module is not None:
            module, plain, call = self.module
            if module.__call__ is call:
                module.__call__ = plain
        self.module = None
        with _lock:
            if self in ACTIVE:
                ACTIVE.remove(self)


def _shape(x: Any) -> Any:
    if isinstance(x, list | tuple) and x and hasattr(x[0], "shape"):
        return [_shape(v) for v in x]
    shape = getattr(x, "shape", None)
    return [] if shape is None else list(shape)


def caller() -> str:
    """The line outside flambeau that led here."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename.replace("\\", "/")
        if not name.startswith("<flambeau") and "/flambeau/" not in name:
            return f"{name}({frame.f_lineno}): {frame.f_code.co_name}"
        frame = frame.f_back
    return ""


class _Names(threading.local):
    """What modules are called in this thread: by their path below the outermost module that runs."""

    def __init__(self) -> None:
        self.inside = False
        #: With the modules themselves, so that an id stays the same module's.
        self.labels: dict[int, tuple[Any, Label]] = {}

    def enter(self, module: Any) -> tuple[Label, bool]:
        """The label of a module that is called, and whether it is the outermost."""
        outermost = not self.inside
        self.inside = True
        found = self.labels.get(id(module))
        if found is None:
            top = type(module).__name__
            tree = module.named_modules() if outermost else [("", module)]
            for path, m in tree:
                name = f"{top}.{path} ({type(m).__name__})" if path else top
                self.labels.setdefault(id(m), (m, Label(MODULE, name)))
            found = self.labels[id(module)]
        return found[1], outermost

    def leave(self) -> None:
        """The outermost module has returned."""
        self.inside = False


class record_function(ContextDecorator):
    """A named range in the profile: a context manager and a decorator. It costs almost nothing without a profile.

    Example:
        >>> import flambeau as fb
        >>> with fb.profiler.profile() as prof:
        ...     with fb.profiler.record_function("forward"):
        ...         y = fb.ones(3) + 1
        >>> [row.count for row in prof.key_averages() if row.key == "forward"]
        [1]
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self.open: list[tuple[Recorder | None, int]] = []

    def _recreate_cm(self) -> record_function:
        return type(self)(self.name, self.args)

    def __enter__(self) -> record_function:
        recorder = ACTIVE[0] if ACTIVE else None
        self.open.append((recorder, perf_counter_ns()))
        return self

    def __exit__(self, *exc: object) -> None:
        recorder, start = self.open.pop()
        if recorder is not None:
            recorder.events.append(
                (start, perf_counter_ns(), get_ident(), Label(RANGE, self.name), None, "")
            )
