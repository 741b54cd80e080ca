"""The nan guard: the operation that first makes a value that is not a number raises, in either direction."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator
from typing import Any

import numpy as np

from flambeau.autograd import engine
from flambeau.autograd.anomaly import set_detect_anomaly
from flambeau.backend import exchange
from flambeau.backend.protocol import Device
from flambeau.errors import AnomalyError

#: Kernels whose result is what the program asked for, or memory that nothing was written to yet.
_UNCHECKED = frozenset(("from_host", "to_host", "item", "fill", "empty"))
#: Kernels that hand on what is there: a nan is no mistake before something is computed from it.
_MOVING = frozenset(
    (
        "copy cast where view permute expand slice as_strided diagonal unfold gather index index_select masked_select "
        "masked_fill index_put tril triu cat stack flip roll repeat repeat_each constant_pad_nd real imag"
    ).split()
)
_RUN = engine.run.__code__


class nan_guard(ContextDecorator):
    """Within the block, the operation that makes a nan raises: an error that names it, its module and the place.

    The forward pass is checked after every kernel, the backward pass after every function; where an argument held nan
    before, the error says that instead. It covers all threads, makes everything slower (each result is read), and waits
    for devices. Under a GradScaler gradients that overflow are meant: unscale first, or guard the forward pass only.

    Args: inf: infinite values that come out of finite ones raise too.
    Raises: AnomalyError: in the block, with the name of the kernel or backward function and of the module.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor([4.0, 0.0, -1.0])
        >>> with fb.autograd.nan_guard():
        ...     try:
        ...         x.sqrt()
        ...     except RuntimeError as error:
        ...         print(str(error).splitlines()[0])
        sqrt: made nan, 1 of 3 elements, the first at [2], from -1.0 (arguments: float32 (3,)).
    """

    def __init__(self, inf: bool = False) -> None:
        self.inf = inf
        self._anomaly: list[set_detect_anomaly] = []

    def __enter__(self) -> nan_guard:
        if not self._anomaly:
            exchange.add(self._layer)
        self._anomaly.append(set_detect_anomaly(True))
        return self

    def __exit__(self, *exc: object) -> None:
        self._anomaly.pop().__exit__()
        if not self._anomaly:
            exchange.remove(self._layer)

    def _layer(self, kernel: Any, name: str, device: str, dev: Device) -> Callable[..., Any]:
        if name in _UNCHECKED or device == "meta":
            return kernel  # type: ignore[no-any-return]
        read, copy = _reader(dev), dev.kernels["copy"]

        def guarded(*args: Any, **kwargs: Any) -> Any:
            out = kwargs.get("out", ...)
            if not any(a is out for a in args):
                result = kernel(*args, **kwargs)
                self._check(name, result, args, read)
                return result
            # In place: what was there is needed to tell who made the nan, and put back where this operation did.
            before = copy(out)
            result = kernel(*args, **kwargs)
            try:
                self._check(name, result, [before if a is out else a for a in args], read)
            except AnomalyError:
                copy(before, out=out)
                raise
            return result

        return guarded

    def _check(self, name: str, result: Any, args: Any, read: Callable[[Any], Any]) -> None:
        tests = (("nan", np.isnan), ("inf", np.isinf))[: 1 + self.inf]
        for array in _arrays(result):
            host = read(array)
            for what, test in tests:
                if host is not None and test(host).any() and not _in_backward():
                    _complain(name, what, test, host, [read(a) for a in args])


def _complain(name: str, what: str, test: Any, host: Any, args: list[Any]) -> None:
    known = [a for a in args if a is not None]
    held = next((i for i, a in enumerate(args) if a is not None and test(a).any()), None)
    if held is None:
        raise AnomalyError(_made(name, what, test(host), known))
    if what == "nan" and name not in _MOVING:
        raise AnomalyError(
            f"{name}: argument {held} holds nan that no operation in this guard made{_shapes(known)}. "
            "Hint: look for it in the data and in the parameters, or begin the guard earlier"
        )


def _reader(dev: Device) -> Callable[[Any], Any]:
    """From a native array to its values; None for what is not an array of floating-point or complex numbers."""
    to_host: Any = dev.kernels["to_host"]

    def read(x: Any) -> Any:
        if not hasattr(x, "shape"):
            return np.asarray(x) if isinstance(x, float) else None
        host = np.asarray(to_host(x))
        # bfloat16 is a type of its own to NumPy, without a kind.
        return host if host.dtype.kind in "fc" or host.dtype.name == "bfloat16" else None

    return read


def _arrays(result: Any) -> Iterator[Any]:
    if isinstance(result, tuple | list):
        for r in result:
            yield from _arrays(r)
    elif hasattr(result, "shape"):
        yield result


def _in_backward() -> bool:
    """Whether a backward pass called: rules may compute a nan that they mask; the engine checks what they give."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _RUN:
            return True
        frame = frame.f_back
    return False


def _made(name: str, what: str, bad: Any, args: list[Any]) -> str:
    count, at = int(bad.sum()), tuple(int(i) for i in np.argwhere(bad)[0])
    values = [str(a[at] if a.ndim else a) for a in args if a.shape == bad.shape or not a.ndim]
    came = f", from {' and '.join(values)}" if values and len(values) == len(args) else ""
    return (
        f"{name}: made {what}, {count} of {bad.size} elements, the first at {list(at)}{came}{_shapes(args)}.\n"
        "Hint: look at the arguments there: division by zero, log or sqrt below zero, exp too large, a learning "
        "rate too high"
    )


def _shapes(args: list[Any]) -> str:
    arrays = [f"{a.dtype} {a.shape}" for a in args if a.ndim]
    return f" (arguments: {', '.join(arrays)})" if arrays else ""
