"""Apple's Metal, which is not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether MPS is used: no."""
    return False


def is_built() -> bool:
    """Whether this was compiled with MPS: no."""
    return False
