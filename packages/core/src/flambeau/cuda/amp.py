"""Mixed precision on the device behind `cuda`; where there is none, nothing is scaled or cast."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau import amp, dtypes
from flambeau.dtypes import dtype

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


class autocast(amp.autocast):
    """`flambeau.amp.autocast("cuda")`."""

    def __init__(
        self, enabled: bool = True, dtype: dtype = dtypes.float16, cache_enabled: bool = True
    ) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """`flambeau.amp.GradScaler("cuda")`."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, cast_inputs: dtype | None = None
) -> Callable[..., Any]:
    """`flambeau.amp.custom_fwd` for the device behind `cuda`."""
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


custom_bwd = functools.partial(amp.custom_bwd, device_type="cuda")
