"""Anomaly mode: backward errors name the forward line, and gradients that are nan raise where they come up."""

from __future__ import annotations

import traceback

import flambeau.autograd.node as _node
from flambeau.autograd.engine import ANOMALY

_PLAIN = _node.next_seq


class _TracedSeq(int):
    """A sequence number that remembers the Python stack that made the node."""

    trace: str


def _traced_seq() -> _TracedSeq:
    seq = _TracedSeq(_PLAIN())
    frames = [f for f in traceback.extract_stack()[:-1] if not f.filename.startswith("<flambeau")]
    own = ("/flambeau/ops/", "/flambeau/autograd/", "/flambeau/nn/")
    while len(frames) > 1 and any(part in frames[-1].filename.replace("\\", "/") for part in own):
        frames.pop()
    seq.trace = "".join(traceback.format_list(frames[-6:]))
    return seq


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
        from flambeau.ops._source import SCOPE

        ANOMALY.on, ANOMALY.check_nan = on, check_nan
        # Generated code and hand-written nodes read these names at every call, so tracing costs nothing when it is off.
        SCOPE["next_seq"] = _node.next_seq = _traced_seq if on else _PLAIN

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
