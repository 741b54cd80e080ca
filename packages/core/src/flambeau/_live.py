"""What error messages look up while the program stands still: the function that the user called with the names of its
arguments, a parameter's name, the largest tensors on a device.
"""

from __future__ import annotations

import gc
import re
import sys
from types import FrameType
from typing import Any

from flambeau.autograd.inplace import root
from flambeau.backend._memory import human
from flambeau.device import device as device_type
from flambeau.dtypes import promote_types
from flambeau.errors import (
    DeviceError,
    DTypeError,
    IndexRangeError,
    OutOfMemoryError,
    out_of_bounds,
)
from flambeau.tensor import Tensor, describe

_SHOWN = 5


# ---- the call
def running(frame: FrameType | None = None) -> tuple[str, list[tuple[str, Tensor]]]:
    """The public function that is running, and the tensors it was given with the names of their parameters.

    Of functions that call one another it is the one that other code than flambeau's called; "" if there is none.
    A layer that calls no public function is named by its class, an optimizer's step by class and method.

    Args: frame: the innermost one; the caller's if None.
    """
    frame = sys._getframe(1) if frame is None else frame
    name, given = "", None
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("flambeau."):
        code, of = frame.f_code.co_name, frame.f_locals.get("self")
        module = frame.f_globals["__name__"]
        if module.startswith("flambeau.optim."):
            if code == "step" and of is not None:
                name = f"{type(of).__name__}.step"
            elif code == "update":
                given = frame
        elif module.startswith("flambeau.nn.modules."):
            if code == "forward" and of is not None and not name:
                name, given = _layer(type(of).__name__), frame
            elif code == "__call__" and not name:
                break  # it called a forward() of the user's
        else:
            found = _published(frame)
            if found:
                name, given = found, frame
        frame = frame.f_back
    return name, [] if given is None else _arguments(given)


def _published(frame: FrameType) -> str:
    """The public name of a frame's function, "" if it has none."""
    homes = (vars(sys.modules["flambeau"]), vars(Tensor), _functional())
    own = frame.f_code.co_name
    bare = own.strip("_")
    keys = {own: own, f"__{own}__": own, f"__i{bare}__": own, bare: bare, f"__{bare}__": bare}
    made = frame.f_locals.get("name")  # where functions that make functions keep it
    if isinstance(made, str):
        keys[made] = made
    for key, name in keys.items():
        if any(getattr(home.get(key), "__globals__", None) is frame.f_globals for home in homes):
            return name
    return ""


def _functional() -> dict[str, Any]:
    module = sys.modules.get("flambeau.nn.functional")
    return {} if module is None else vars(module)


def _layer(name: str) -> str:
    """A layer's function if it has one, as linear and conv_transpose2d, else its own name, as LSTM."""
    function = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return function if function in _functional() else name


def _arguments(frame: FrameType) -> list[tuple[str, Tensor]]:
    """A frame's parameters that are tensors or hold some."""
    code, values = frame.f_code, frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)  # 4: *args
    return [pair for name in code.co_varnames[:count] for pair in _tensors(name, values.get(name))]


def _tensors(name: str, value: Any) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, list | tuple):
        inside: Any = enumerate(value)
    elif isinstance(value, dict):
        inside = value.items()
    else:
        return []
    return [(f"{name}[{k!r}]", v) for k, v in inside if isinstance(v, Tensor)]


def called(default: str) -> str:
    """The public function that is running, or the default where none is."""
    return running(sys._getframe(1))[0] or default


# ---- what is said of the operands
def two_devices(op: str, a: Tensor, b: Tensor, names: tuple[str, str] = ("", "")) -> DeviceError:
    """The error of operands on two devices, in the words of the public function that was called with them.

    Args: op, names: of the operation that found them and of its operands, for want of a better name.
    """
    name, given = running(sys._getframe(1))
    given = [(n, t) for n, t in given if t._a.shape or t._kind.device.type != "cpu"]
    pair = [_as_given(t, n, given) for t, n in zip((a, b), names)]
    for other in given[1:]:
        if {given[0][1].device, other[1].device} == {a.device, b.device}:
            pair = [given[0], other]
            break
    (first, a), (second, b) = pair
    return DeviceError(
        f"{name or op}: Expected all tensors to be on the same device, but found at least two devices, "
        f"{a.device} and {b.device} ({_named(first, a)}; {_named(second, b)}). "
        f"Hint: {_meeting(name, first, a, second, b)}"
    )


def two_dtypes(op: str, a: Tensor, b: Tensor, names: tuple[str, str]) -> DTypeError:
    """The error of operands of two dtypes, in the words of the public function that was called with them.

    Args: op, names: of the operation that found them and of its operands, for want of a better name.
    """
    name, given = running(sys._getframe(1))
    (first, a), (second, b) = [_as_given(t, n, given) for t, n in zip((a, b), names)]
    wider = promote_types(a.dtype, b.dtype)
    if _owner(b) and b.dtype.is_floating_point and not _owner(a):
        hint = f"{first}.to({b.dtype!r})"
        if a.dtype.is_floating_point:
            hint += f", or model.to({a.dtype!r})"
    else:
        hint = f"{first if wider is not a.dtype else second}.to({wider!r})"
    return DTypeError(
        f"{name or op}: expected all operands to have the same dtype, but got {_named(first, a)} and "
        f"{_named(second, b)}. Hint: {hint}"
    )


def _as_given(t: Tensor, name: str, given: list[tuple[str, Tensor]]) -> tuple[str, Tensor]:
    """An operand as the argument that it is or, where there is only one of its kind, was made of."""
    same = [x for x in given if x[1] is t] or [x for x in given if x[1]._kind is t._kind]
    if len(same) == 1:
        return same[0]
    owner = _owner(t)
    return (owner.rpartition(".")[2] if owner else name), t


def _owner(t: Tensor) -> str:
    """What a module calls the tensor, or the one that it is a view of."""
    return name_of(t) or name_of(root(t)) or ""


def _named(name: str, t: Tensor) -> str:
    return f"{name}: {describe(t)}" if name else describe(t)


def _meeting(op: str, first: str, a: Tensor, second: str, b: Tensor) -> str:
    """The line that brings two tensors to one device."""
    if op.endswith(".step"):
        return f"model.to('{a.device}') before the optimizer is made and gradients are computed"
    fixed, moves = _owner(a), _owner(b)
    if bool(fixed) == bool(moves):
        return f"{second or 'x'}.to('{a.device}')"
    if fixed:
        return f"{second or 'x'}.to('{a.device}'), or model.to('{b.device}')"
    return f"{first or 'x'}.to('{b.device}'), or model.to('{a.device}')"


def located(error: IndexRangeError, t: Tensor, op: str = "") -> IndexRangeError:
    """The error of a position out of range, saying in which tensor, and in which function unless it was `t[...]`."""
    if error.where is None:
        return error
    name = running(sys._getframe(1))[0] or op
    return out_of_bounds(
        *error.where, op="" if name in ("getitem", "setitem") else name, of=describe(t)
    )


# ---- parameters
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


# ---- memory
def out_of_memory(
    op: str, device: device_type, error: MemoryError, frame: FrameType | None = None
) -> OutOfMemoryError:
    """The error of an allocation that failed, with the largest tensors that live on the device.

    Args: op: the name, if no public function is running.  frame: where it failed; the caller's if None.
    """
    if isinstance(error, OutOfMemoryError) and error.listed:
        return error
    op = running(frame or sys._getframe(1))[0] or op
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
    made = OutOfMemoryError("\n".join(lines))
    made.listed = True
    return made


def uncaught(op: str, error: MemoryError) -> OutOfMemoryError:
    """`out_of_memory` for an error that passes by: its traceback says what was running, and on which device."""
    frame, step = None, error.__traceback__
    while step is not None:
        if str(step.tb_frame.f_globals.get("__name__")).startswith("flambeau."):
            frame = step.tb_frame
        step = step.tb_next
    given = running(frame)[1]
    return out_of_memory(op, given[0][1].device if given else device_type("cpu"), error, frame)


def _bytes(t: Tensor) -> int:
    return t.numel() * t._kind.dtype.itemsize
