"""Anomaly mode: backward errors name the forward line, and gradients that are nan raise where they come up."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from flambeau.autograd import marks
from flambeau.autograd.engine import ANOMALY


def _trace(seq: Any) -> None:
    """Let a node remember the Python stack that made it."""
    own = ("/flambeau/ops/", "/flambeau/autograd/", "/flambeau/nn/")
    frames = [
        f
        for f in traceback.extract_stack()
        if not f.filename.startswith("<flambeau")
        and not any(part in f.filename.replace("\\", "/") for part in own)
    ]
    seq.trace = "".join(traceback.format_list(frames[-6:])) + module_at(sys._getframe(1))


def module_at(frame: Any) -> str:
    """Which module runs in a frame, as error messages say it; nothing if none does."""
    nn = sys.modules.get("flambeau.nn")
    code = nn.Module.__call__.__code__ if nn is not None else None
    running = []
    while frame is not None:
        if frame.f_code is code:
            running.append(frame.f_locals["self"])
        frame = frame.f_back
    if not running:
        return ""
    inner, outer = running[0], running[-1]
    path = next((name for name, m in outer.named_modules() if m is inner), "")
    return f"  in module {path}: {inner._brief()}" if path else f"  in module {inner._brief()}"


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return ANOMALY.on


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for nan."""
    return ANOMALY.check_nan


class set_detect_anomaly:
    """Switch anomaly mode at once; as a context manager, until the end of the block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.previous = (ANOMALY.on, ANOMALY.check_nan)
        self._switch(mode, mode and check_nan)

    def _switch(self, on: bool, check_nan: bool) -> None:
        if on != ANOMALY.on:
            (marks.add if on else marks.remove)(_trace)
        ANOMALY.on, ANOMALY.check_nan = on, check_nan

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        self._switch(*self.previous)


class detect_anomaly(set_detect_anomaly):
    """Within the block, an error of backward() names the line of the forward call, and nan gradients raise.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor(-1.0, requires_grad=True)
        >>> with fb.autograd.detect_anomaly():
        ...     try:
        ...         (x.sqrt() * 0).backward()
        ...     except RuntimeError as error:
        ...         print(str(error).splitlines()[0])
        Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check = check_nan
        self.previous = (ANOMALY.on, ANOMALY.check_nan)

    def __enter__(self) -> None:
        self._switch(True, self.check)
