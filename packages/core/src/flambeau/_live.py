"""What error messages look up among the living objects: a parameter's name, the largest tensors on a device."""

from __future__ import annotations

import gc
from typing import Any

from flambeau.backend._memory import human
from flambeau.device import device as device_type
from flambeau.errors import OutOfMemoryError
from flambeau.tensor import Tensor, describe

_SHOWN = 5


def name_of(t: Tensor) -> str | None:
    """What a module calls a parameter or buffer of its own, as `Linear(3->2).weight`; None if none does."""
    for table in gc.get_referrers(t):
        if type(table) is not dict:
            continue
        for owner in gc.get_referrers(table):
            # Up to Python 3.12 an attribute is held by the instance's dict, or by the instance where it has none yet.
            modules = gc.get_referrers(owner) if type(owner) is dict else [owner]
            for module in modules:
                if _owns(module, table):
                    name = next((k for k, v in table.items() if v is t), "?")
                    return f"{module._brief()}.{name}"
    return None


def _owns(module: Any, table: Any) -> bool:
    held = getattr(module, "__dict__", None)
    if type(held) is not dict or not hasattr(type(module), "_brief"):
        return False
    return held.get("_parameters") is table or held.get("_buffers") is table


def out_of_memory(op: str, device: device_type, error: MemoryError) -> OutOfMemoryError:
    """The error of an allocation that failed, with the largest tensors that live on the device."""
    living = [
        t
        for t in gc.get_objects()
        if isinstance(t, Tensor) and hasattr(t, "_kind") and t._kind.device == device
    ]
    whole = [t for t in living if t._v is None and t._a is not None]
    whole.sort(key=_bytes, reverse=True)
    lines = [f"{op}: {device} has no room: {error or 'out of memory'}"]
    if whole:
        lines.append(
            f"  {len(whole)} tensors live there, {human(sum(map(_bytes, whole)))} in all, the largest:"
        )
        for t in whole[:_SHOWN]:
            name = name_of(t)
            lines.append(f"    {human(_bytes(t))}  {describe(t)}{f'  {name}' if name else ''}")
    lines.append(
        "Hint: a smaller batch with gradient accumulation, no_grad() for evaluation, "
        "del what is not needed any more"
    )
    return OutOfMemoryError("\n".join(lines))


def _bytes(t: Tensor) -> int:
    return t.numel() * t._kind.dtype.itemsize
