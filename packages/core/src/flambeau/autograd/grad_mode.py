"""The grad modes under the module's name that PyTorch gives them."""

from __future__ import annotations

from flambeau.autograd.modes import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "enable_grad",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


class set_multithreading_enabled:
    """Nothing, in a block or not: the backward pass runs in the thread that asks for it, whatever mode says."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


def is_multithreading_enabled() -> bool:
    """Whether the backward pass may use several threads: no."""
    return False
