"""What each thread knows for itself: whether operations record gradients."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau.backend.protocol import Device


class _State(threading.local):
    """grad: operations record a tape.  inference: inside inference_mode.  ready: devices this thread is set up for."""

    def __init__(self) -> None:
        self.grad = True
        self.inference = False
        self.ready: tuple[Device, ...] = ()
        self.set_up()

    def set_up(self) -> None:
        """Let every opened device prepare this thread for its kernels."""
        from flambeau.backend.registry import opened

        now = opened()
        for dev in now:
            if dev not in self.ready:
                dev.thread_init()
        self.ready = now


state = _State()
