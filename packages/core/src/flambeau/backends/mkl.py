"""Intel's MKL, which is not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether MKL is used: no."""
    return False
