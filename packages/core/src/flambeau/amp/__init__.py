"""Mixed precision: `autocast` for the forward pass, `GradScaler` for float16 gradients."""

from __future__ import annotations

from flambeau.amp._custom import custom_bwd, custom_fwd
from flambeau.amp._mode import autocast, is_autocast_available
from flambeau.amp._scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
