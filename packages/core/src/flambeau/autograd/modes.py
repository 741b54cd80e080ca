"""Grad modes: context managers that are decorators as well."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from flambeau.autograd.state import state
from flambeau.errors import ArgumentError

F = TypeVar("F", bound=Callable[..., Any])


class _Mode:
    """A grad mode to enter, or to wrap around a function or generator."""

    grad = False

    def __new__(cls, fn: Any = None) -> Any:
        made = object.__new__(cls)
        return made(fn) if callable(fn) else made  # `@no_grad` without parentheses

    def __enter__(self) -> None:
        self.previous = state.grad
        state.grad = self.grad

    def __exit__(self, *exc: object) -> None:
        state.grad = self.previous

    def _again(self) -> _Mode:
        mode: _Mode = type(self)()
        return mode

    def __call__(self, fn: F) -> F:
        if inspect.isgeneratorfunction(fn):

            @functools.wraps(fn)
            def generator(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    it = fn(*args, **kwargs)
                sent: Any = None
                while True:
                    with self._again():
                        try:
                            item = it.send(sent)
                        except StopIteration as end:
                            return end.value
                    sent = yield item

            return generator  # type: ignore[return-value]

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return fn(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_Mode):
    """Operations inside record no graph: results do not require grad.

    Example:
        >>> import flambeau as fb
        >>> x = fb.ones(1, requires_grad=True)
        >>> with fb.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """


class enable_grad(_Mode):
    """Operations inside record the graph again, within no_grad."""

    grad = True


class set_grad_enabled(_Mode):
    """Record the graph or not, at once, and until the end of a with block if it is used as one."""

    def __new__(cls, mode: bool) -> Any:
        return object.__new__(cls)

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise ArgumentError(f"set_grad_enabled: mode must be a bool, got {mode!r}")
        self.previous = state.grad
        self.grad = mode
        state.grad = mode

    def __enter__(self) -> None:
        state.grad = self.grad

    def _again(self) -> _Mode:
        return type(self)(self.grad)

    def __call__(self, fn: F) -> F:
        state.grad = self.previous  # as a decorator it acts only inside the function
        return super().__call__(fn)


class inference_mode(_Mode):
    """no_grad for code that never meets autograd; `inference_mode(False)` does nothing."""

    mode: bool

    def __new__(cls, mode: Any = True) -> Any:
        made = object.__new__(cls)
        made.mode = True if callable(mode) else bool(mode)
        return made(mode) if callable(mode) else made

    def __enter__(self) -> None:
        self.previous, self.outer = state.grad, state.inference
        if self.mode:
            state.grad, state.inference = False, True

    def __exit__(self, *exc: object) -> None:
        state.grad, state.inference = self.previous, self.outer

    def _again(self) -> _Mode:
        mode: _Mode = type(self)(self.mode)
        return mode


def is_grad_enabled() -> bool:
    """Whether operations record the graph in this thread."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside inference_mode."""
    return state.inference
