"""OpenMP, which is not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether OpenMP is used: no."""
    return False
