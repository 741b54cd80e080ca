"""Intel's oneDNN, which is not used here; what is set has no effect."""

from __future__ import annotations

enabled = True


def is_available() -> bool:
    """Whether oneDNN is used: no."""
    return False
