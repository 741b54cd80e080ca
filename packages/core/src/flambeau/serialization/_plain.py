"""The plain values that pickles make by calling: containers, numbers, dates, paths, the options of a program."""

from __future__ import annotations

import argparse
import datetime
import pathlib
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from flambeau.serialization._unpickle import ENTRY, LEAVES, Allowed, Interpreter


def _ordered_dict(m: Interpreter, pairs: Any = ()) -> Any:
    return _filled(m, OrderedDict(), pairs)


def _filled(m: Interpreter, target: Any, pairs: Any) -> Any:
    items = list(pairs.items()) if isinstance(pairs, dict) else [tuple(p) for p in pairs]
    m.charge(ENTRY * len(items))
    return m.fill(target, [x for key, value in items for x in (key, value)])


def _default_dict(m: Interpreter, factory: Any = None, pairs: Any = ()) -> Any:
    if factory is not None and (not isinstance(factory, Allowed) or factory.name not in _FACTORIES):
        raise TypeError("the factory of a defaultdict is not a plain type")
    made: Any = None if factory is None else _FACTORIES[factory.name]
    return _filled(m, defaultdict(made), pairs)


def _encode(m: Interpreter, text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise TypeError("bytes in an unknown encoding")
    m.charge(len(text))
    return text.encode(encoding)


def _byte_array(m: Interpreter, data: Any = b"", encoding: Any = "latin1") -> bytearray:
    if type(data) is str:
        data = _encode(m, data, encoding)
    if type(data) is not bytes:
        raise TypeError("a bytearray not made from bytes")
    m.charge(len(data))
    return bytearray(data)


def _number(kind: type) -> Callable[..., Any]:
    def make(m: Interpreter, *args: Any) -> Any:
        if len(args) > 2 or not all(type(x) in (int, float, bool) for x in args):
            raise TypeError(f"a {kind.__name__} not made from numbers")
        return kind(*args)

    return make


def _sequence(kind: type) -> Callable[..., Any]:
    def make(m: Interpreter, items: Any = ()) -> Any:
        if type(items) not in (list, tuple, set, frozenset):
            raise TypeError(f"a {kind.__name__} not made from a sequence")
        m.charge(_SET + (ENTRY if kind in (set, frozenset) else 8) * len(items))
        if kind is tuple:
            m.push_tuple(items)
            return m.stack.pop()
        if kind is set:
            return m.add(set(), items)
        return m.frozen(items) if kind is frozenset else kind(items)

    return make


def _deque(m: Interpreter, items: Any = (), maxlen: Any = None) -> Any:
    if type(items) not in (list, tuple) or type(maxlen) not in (int, type(None)):
        raise TypeError("a deque not made from a sequence")
    m.charge(_DEQUE)
    made: deque[Any] = deque(maxlen=maxlen)
    m.extend(made, items)
    return made


def _of_leaves(kind: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Numbers and text only: what slices hold is freed by a function that calls itself, without end."""

    def make(m: Interpreter, *args: Any) -> Any:
        if not all(type(x) in LEAVES for x in args):
            raise TypeError(f"a {name} not made from plain values")
        return kind(*args)

    return make


def _moment(kind: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Dates and times, which pickle as bytes or as numbers, and maybe a time zone."""

    def make(m: Interpreter, *args: Any) -> Any:
        for x in args:
            if type(x) not in LEAVES and not isinstance(x, datetime.tzinfo | datetime.timedelta):
                raise TypeError(f"a {name} not made from plain values")
        return kind(*args)

    return make


def _path(name: str) -> Callable[..., Any]:
    """Paths; those of the other system without what would look at this one's files."""
    native = name.startswith("Pure") or name == type(pathlib.Path()).__name__
    kind = getattr(pathlib, name if native else f"Pure{name}")

    def make(m: Interpreter, *parts: Any) -> Any:
        if not all(type(x) is str for x in parts):
            raise TypeError("a path not made from text")
        m.charge(sum(map(len, parts)))
        return kind(*parts)

    return make


def _text(m: Interpreter, text: Any = "") -> str:
    if type(text) is not str:
        raise TypeError("text that is not text")
    return text


_SET, _DEQUE = 216, 760
_FACTORIES: dict[str, Any] = {
    "list": list, "dict": dict, "set": set, "int": int, "float": float, "tuple": tuple, "str": str, "bool": bool,
    "long": int, "unicode": str, "OrderedDict": OrderedDict, "Counter": Counter, "deque": deque,
}  # fmt: skip
_BUILTINS: dict[str, Callable[..., Any]] = {
    "set": _sequence(set),
    "frozenset": _sequence(frozenset),
    "list": _sequence(list),
    "tuple": _sequence(tuple),
    "dict": lambda m, pairs=(): _filled(m, {}, pairs),
    "complex": _number(complex),
    "int": _number(int),
    "float": _number(float),
    "bool": _number(bool),
    "str": _text,
    "long": _number(int),  # how protocol 2 calls int
    "unicode": _text,  # and str
    "slice": _of_leaves(slice, "slice"),
    "range": _of_leaves(range, "range"),
    "xrange": _of_leaves(range, "range"),  # how protocol 2 calls it
    "bytearray": _byte_array,
    "bytes": lambda m, data=b"": bytes(_byte_array(m, data)),
}
_OTHERS: dict[str, dict[str, Callable[..., Any]]] = {
    "collections": {
        "OrderedDict": _ordered_dict,
        "defaultdict": _default_dict,
        "Counter": lambda m, p=(): _filled(m, Counter(), p),
        "deque": _deque,
    },
    "_codecs": {"encode": _encode},
    "argparse": {"Namespace": lambda m: argparse.Namespace()},
    "types": {"SimpleNamespace": lambda m: types.SimpleNamespace()},
    "datetime": {
        "datetime": _moment(datetime.datetime, "datetime"),
        "date": _moment(datetime.date, "date"),
        "time": _moment(datetime.time, "time"),
        "timedelta": _moment(datetime.timedelta, "timedelta"),
        "timezone": _moment(datetime.timezone, "timezone"),
    },
    "torch.torch_version": {"TorchVersion": _text},
    **{
        module: {
            name: _path(name)
            for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
        }
        for module in ("pathlib", "pathlib._local")
    },
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
}
PLAIN: dict[tuple[str, str], Allowed] = {
    (module, name): Allowed(name, fn)
    for module, names in _OTHERS.items()
    for name, fn in names.items()
}
