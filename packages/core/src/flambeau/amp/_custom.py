"""Autocast inside functions with a hand-written derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from flambeau import dtypes
from flambeau.amp._mode import _type, autocast, get_autocast_dtype, is_autocast_enabled
from flambeau.dtypes import dtype
from flambeau.tensor import Tensor


def _cast(value: Any, type_: str, d: dtype) -> Any:
    """value with its floating-point tensors of a device type in dtype d; float64 stays."""
    if isinstance(value, Tensor):
        kind = value._kind
        fits = kind.dtype.category == dtypes.FLOATING and kind.dtype is not dtypes.float64
        return value.to(d) if fits and kind.device.type == type_ else value
    if isinstance(value, Mapping):
        return {_cast(k, type_, d): _cast(v, type_, d) for k, v in value.items()}
    if value.__class__ in (list, tuple):
        return value.__class__([_cast(v, type_, d) for v in value])
    return value


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: dtype | None = None
) -> Callable[..., Any]:
    """Decorate `forward` of an autograd.Function: it and its backward run in one autocast state.

    Args: cast_inputs: inside autocast, floating-point inputs get this dtype and forward runs without autocast.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    forward = fwd

    @functools.wraps(forward)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        inside = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = inside and cast_inputs is None
        if not inside or cast_inputs is None:
            return forward(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            type_ = _type(device_type)
            return forward(
                ctx, *_cast(args, type_, cast_inputs), **_cast(kwargs, type_, cast_inputs)
            )

    return decorated


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorate `backward` of an autograd.Function whose forward has `custom_fwd`."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    backward = bwd

    @functools.wraps(backward)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return backward(ctx, *args, **kwargs)

    return decorated
