"""Entering listed functions through autocast: their code is exchanged in place while some thread is inside autocast.

docs/adr/0007 says why. A function object is what every `from ... import`, method and operator shares, so an exchanged
`__code__` reaches all of them, and puts no check into functions while nobody uses autocast.
"""

from __future__ import annotations

import importlib
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

from flambeau import dtypes
from flambeau.amp._lists import CPU, GPU, INNER
from flambeau.autograd.node import AccumulateGrad
from flambeau.autograd.state import state
from flambeau.dtypes import dtype
from flambeau.errors import FlambeauError
from flambeau.tensor import Tensor

_CASTABLE = (dtypes.float16, dtypes.bfloat16, dtypes.float32)
_MODULES = ("flambeau", "flambeau.nn.functional")


class UnsafeAutocastError(FlambeauError, RuntimeError):
    """A function that overflows in float16 was called within autocast."""


@dataclass(frozen=True)
class Mode:
    """Autocast of one device type: its dtype, and the policies of its functions."""

    type: str
    dtype: dtype
    enabled: bool

    @property
    def policies(self) -> dict[str, str]:
        """Function -> policy."""
        return CPU if self.type == "cpu" else GPU


class _Local(threading.local):
    """What one thread is inside of. on: device types with autocast, None: there are none, or a function is running."""

    def __init__(self) -> None:
        self.on: dict[str, Mode] | None = None
        self.modes: dict[str, Mode] = {}
        self.caching = True
        self.cache: dict[int, tuple[Any, int, Any, Tensor]] = {}
        self.stack: list[Any] = []
        #: Device types that set_autocast_enabled switched on.
        self.held: frozenset[str] = frozenset()


local = _Local()


# ---- casts
def cast(x: Any, mode: Mode, to: dtype) -> Any:
    """x with its tensors in dtype `to`, lists and tuples too; float64, integers and other devices stay."""
    if isinstance(x, Tensor):
        kind = x._kind
        if kind.dtype is to or kind.dtype not in _CASTABLE or kind.device.type != mode.type:
            return x
        keep = (
            to is mode.dtype
            and kind.dtype is dtypes.float32
            and x._g.__class__ is AccumulateGrad
            and x._v is None
            and local.caching
            and local.stack  # else no end of a block would ever forget it
            and state.grad
        )
        return _kept(x, to) if keep else x.to(to)
    if x.__class__ is list:
        return [cast(v, mode, to) for v in x]
    if x.__class__ is tuple:
        return tuple([cast(v, mode, to) for v in x])
    return x


def _kept(x: Tensor, to: dtype) -> Tensor:
    """A parameter's cast, made once for the outermost autocast block, and again when the parameter has changed."""
    found = local.cache.get(id(x))
    if found is not None and found[0]() is x and found[1] == x._version and found[2] is to:
        return found[3]
    made: Tensor = x.to(to)
    local.cache[id(x)] = (ref(x), x._version, to, made)
    return made


def _tensors(values: Any) -> Any:
    for v in values:
        if isinstance(v, Tensor):
            yield v
        elif v.__class__ in (list, tuple):
            yield from _tensors(v)


def _mode_of(on: dict[str, Mode], args: Any, kwargs: dict[str, Any]) -> Mode | None:
    for t in _tensors((*args, *kwargs.values())):
        mode = on.get(t._kind.device.type)
        if mode is not None:
            return mode
    return None


def _target(policy: str, mode: Mode, args: Any, kwargs: dict[str, Any]) -> dtype | None:
    """The dtype of the operands under a policy; None: they stay as they are."""
    if policy == "low":
        return mode.dtype
    if policy == "as_is":
        return None
    values = (*args, *kwargs.values())
    if policy == "float32_unless_dtype" and any(isinstance(v, dtype) for v in values):
        return None
    if policy == "widest" and all(
        t._kind.dtype is not dtypes.float32 or t._kind.device.type != mode.type
        for t in _tensors(values)
    ):
        return None
    return dtypes.float32


def _run(name: str, plain: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """A listed function's call inside autocast; what it calls in turn is left alone."""
    on: Any = local.on
    mode = _mode_of(on, args, kwargs)
    policy = None if mode is None else mode.policies.get(name)
    if mode is None or policy is None or kwargs.get("out") is not None:
        return plain(*args, **kwargs)
    if policy == "banned":
        raise UnsafeAutocastError(
            f"{name}: unsafe to autocast, it overflows in float16. Hint: "
            f"{name}_with_logits (BCEWithLogitsLoss) without the sigmoid before it, or autocast('{mode.type}', "
            "enabled=False) around it"
        )
    to = _target(policy, mode, args, kwargs)
    local.on = None
    try:
        if to is None:
            return plain(*args, **kwargs)
        result = plain(
            *[cast(a, mode, to) for a in args],
            **{k: cast(v, mode, to) for k, v in kwargs.items()},
        )
    finally:
        local.on = on
    if policy == "mixed":
        first = next(_tensors((*args, *kwargs.values())))
        return cast(result, mode, first._kind.dtype)
    return result


# ---- entering
def _enter(*args: Any, _autocast: Any = None, **kwargs: Any) -> Any:
    return _autocast(args, kwargs)  # the code that listed functions get; their own is in the hook


class _Hook:
    """A listed function's two codes."""

    def __init__(self, name: str, fn: types.FunctionType) -> None:
        self.fn, self.code, self.kwdefaults = fn, fn.__code__, fn.__kwdefaults__
        plain = types.FunctionType(
            fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__
        )
        plain.__kwdefaults__ = fn.__kwdefaults__

        def enter(args: Any, kwargs: dict[str, Any]) -> Any:
            if local.on is None:
                return plain(*args, **kwargs)
            return _run(name, plain, args, kwargs)

        # A closure takes only code with as many free variables, even though this code reads none.
        self.enter = _enter.__code__.replace(co_freevars=fn.__code__.co_freevars)
        self.entry = {**(fn.__kwdefaults__ or {}), "_autocast": enter}

    # Other threads may call the function between two of these lines: each state in between works.
    def put(self) -> None:
        """Enter through autocast."""
        self.fn.__kwdefaults__ = self.entry
        self.fn.__code__ = self.enter

    def take(self) -> None:
        """Run the function's own code again."""
        self.fn.__code__ = self.code
        self.fn.__kwdefaults__ = self.kwdefaults


_lock = threading.Lock()
_hooks: list[_Hook] = []
_users = 0


def _module(name: str) -> Any:
    """A module, imported if its package is installed: a listed function must not be missed in the first block."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("flambeau"):
            return None
        raise


def _find() -> list[_Hook]:
    found: dict[int, _Hook] = {}
    places = [(_module(m), n, n) for m in _MODULES for n in {**CPU, **GPU}]
    places += [(Tensor, n, n) for n in {**CPU, **GPU}]
    places += [(_module(m), n, entry) for (m, n), entry in INNER.items()]
    for place, name, entry in places:
        fn = vars(place).get(name) if place is not None else None
        if fn is not None:
            fn = _own(fn)
            if id(fn) not in found:
                found[id(fn)] = _Hook(entry, fn)
    return list(found.values())


def _own(fn: Any) -> types.FunctionType:
    """The function whose code is exchanged: the one that a checking wrapper calls, with its code generated."""
    from flambeau.ops import _op

    while fn.__closure__ and hasattr(fn, "__wrapped__") and not fn.__name__.endswith("_"):
        fn = fn.__wrapped__  # what an in-place variant wraps is the function that is not in place
    if hasattr(fn, "op") and fn.__code__ is _op._first_call.__code__:
        _op._build(fn.op)
    made: types.FunctionType = fn
    return made


def install() -> None:
    """One more block needs the hooks."""
    global _users
    with _lock:
        if not _hooks:
            _hooks.extend(_find())
        _users += 1
        if _users == 1:
            for hook in _hooks:
                hook.put()


def uninstall() -> None:
    """One block less; the last one leaves every function as it was."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            for hook in _hooks:
                hook.take()
