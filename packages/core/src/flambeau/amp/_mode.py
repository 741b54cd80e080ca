"""autocast: listed functions run in half precision, or in float32 where half precision loses too much."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.amp._hooks import Mode, install, local, uninstall
from flambeau.device import canonical, device
from flambeau.dtypes import dtype, dtype as _dtype
from flambeau.errors import ArgumentError, UnsupportedDTypeError
from flambeau.kinds import kind_of

_HALF = (dtypes.bfloat16, dtypes.float16)


def _type(device_type: Any) -> str:
    """The device type behind a name: what stands behind `cuda`, or `cuda` itself if nothing does."""
    if not isinstance(device_type, str):
        raise ArgumentError(
            f"autocast: device_type must be a str, got {device_type!r}. Hint: x.device.type"
        )
    return device(device_type).type


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast acts on devices of this type."""
    from flambeau.backend.registry import devices

    wanted = _type(device_type)
    return any(entry.type == wanted and entry.reason is None for entry in devices())


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether this thread is inside autocast for the device type."""
    mode = local.modes.get(_type(device_type))
    return mode is not None and mode.enabled


def get_autocast_dtype(device_type: str) -> dtype:
    """The dtype of autocast for the device type: bfloat16 on the CPU and float16 elsewhere, unless chosen otherwise."""
    return _dtype_of(_type(device_type))


def _dtype_of(type_: str) -> dtype:
    mode = local.modes.get(type_)
    if mode is not None:
        return mode.dtype
    return dtypes.bfloat16 if type_ == "cpu" else dtypes.float16


def set_autocast_dtype(device_type: str, dtype: dtype) -> None:
    """Choose the dtype of autocast for the device type in this thread, at most until the block around it ends.

    Raises: ArgumentError: dtype is none.
    """
    if not isinstance(dtype, _dtype):
        raise ArgumentError(f"set_autocast_dtype: dtype must be a flambeau dtype, got {dtype!r}")
    type_ = _type(device_type)
    _set(Mode(type_, dtype, is_autocast_enabled(device_type)))


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast for the device type on or off in this thread, at most until the block around it ends.

    Programs use `with autocast(...)`; libraries that restore a state themselves use this. One argument alone is
    enabled, for "cuda".
    """
    if enabled is None:
        device_type, enabled = "cuda", device_type
    type_ = _type(device_type)
    mode = Mode(type_, _dtype_of(type_), bool(enabled) and type_ != "cuda")
    if mode.enabled:
        _check(type_, mode.dtype)
    _hold((local.held | {type_}) if mode.enabled else (local.held - {type_}))
    _set(mode)


def _hold(wanted: frozenset[str]) -> None:
    """Count the device types that are switched on without a block among the users of the hooks."""
    for _ in wanted - local.held:
        install()
    for _ in local.held - wanted:
        uninstall()
    local.held = wanted


def is_autocast_cache_enabled() -> bool:
    """Whether casts of parameters are kept until the outermost block ends."""
    return local.caching


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Choose whether casts of parameters are kept in this thread, at most until the block around it ends."""
    local.caching = bool(enabled)


#: PyTorch's older names.
is_autocast_cpu_enabled = functools.partial(is_autocast_enabled, "cpu")
set_autocast_cpu_enabled = functools.partial(set_autocast_enabled, "cpu")
get_autocast_cpu_dtype = functools.partial(get_autocast_dtype, "cpu")
set_autocast_cpu_dtype = functools.partial(set_autocast_dtype, "cpu")
get_autocast_gpu_dtype = functools.partial(get_autocast_dtype, "cuda")
set_autocast_gpu_dtype = functools.partial(set_autocast_dtype, "cuda")


def clear_autocast_cache() -> None:
    """Forget the kept casts of parameters."""
    local.cache.clear()


def _set(mode: Mode) -> None:
    local.modes = {**local.modes, mode.type: mode}
    local.on = {t: m for t, m in local.modes.items() if m.enabled} or None


def _check(type_: str, chosen: dtype) -> None:
    try:
        kind_of(canonical(type_), chosen)
    except UnsupportedDTypeError as error:
        other = _HALF[1 - _HALF.index(chosen)] if chosen in _HALF else dtypes.float16
        reason = str(error).removesuffix("x.float()")  # the tensors here are float32
        raise UnsupportedDTypeError(
            f"autocast: dtype={chosen!r} cannot be used on {type_}: {reason}"
            f"{', or ' if reason == str(error) else ''}autocast('{type_}', dtype={other!r})"
        ) from None


class autocast:
    """Within the block, matrix products and convolutions run in half precision, losses in float32: PyTorch's lists.

    Parameters stay in their dtype; their casts are kept until the outermost block ends. Backward belongs outside
    the block. It acts on this thread only, and on one type of device. As a decorator it acts within the function.

    Args:
        device_type: "cpu", "opencl" ..., or "cuda" for what stands behind it (nothing: the block changes nothing).
        dtype: bfloat16 (the CPU's default, needs the package ml_dtypes) or float16 (the default elsewhere).
        enabled: False switches it off within the block.
        cache_enabled: whether casts of parameters are kept; None leaves it as it is.
    Raises: UnsupportedDTypeError: the dtype is bfloat16, and NumPy has none because ml_dtypes is not installed.

    Example:
        >>> import flambeau as fb
        >>> x = fb.ones(2, 2)
        >>> with fb.autocast("cpu", dtype=fb.float16):
        ...     print((x @ x).dtype, (x + x).dtype)
        flambeau.float16 flambeau.float32
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        type_ = _type(device_type)
        self.device = device_type
        self.fast_dtype = chosen = _dtype_of(type_) if dtype is None else dtype
        self.cache_enabled = cache_enabled
        if type_ == "cuda":  # nothing stands behind it
            enabled = False
        if enabled and chosen not in _HALF:
            warnings.warn(
                f"autocast: {type_} has no autocast to {chosen!r}, only to bfloat16 and float16; disabled. "
                f"Hint: autocast('{type_}', dtype=flambeau.bfloat16)",
                stacklevel=2,
            )
            enabled = False
        if enabled:
            _check(type_, chosen)
        self.enabled = enabled
        self._mode = Mode(type_, chosen, enabled)

    def __enter__(self) -> autocast:
        if self.enabled:
            install()
        local.stack.append((local.modes, local.on, local.caching, local.held))
        if self.cache_enabled is not None:
            local.caching = self.cache_enabled
        _set(self._mode)
        return self

    def __exit__(self, *exc: object) -> None:
        local.modes, local.on, local.caching, held = local.stack.pop()
        _hold(held)
        if not local.stack:
            local.cache.clear()
        if self.enabled:
            uninstall()

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(func):
            raise ArgumentError(
                f"autocast: as a decorator it takes a function, got {type(func).__name__}. Hint: "
                "with autocast(...): y = model(x)"
            )

        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return wrapped
