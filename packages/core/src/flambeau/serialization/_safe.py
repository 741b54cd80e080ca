"""Classes and functions that callers declare harmless, so that `load` uses them without unsafe=True."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.errors import ArgumentError
from flambeau.serialization._unpickle import Declared

_declared: dict[str, Declared] = {}


def _named(entry: Any) -> tuple[str, Any]:
    """The dotted name and the object that an entry of add_safe_globals stands for."""
    if isinstance(entry, tuple) and len(entry) == 2 and type(entry[1]) is str:
        value, name = entry
    else:
        value, name = entry, None
    if not callable(value) or not (name or hasattr(value, "__qualname__")):
        raise ArgumentError(
            f"add_safe_globals: needs classes and functions, or pairs of one and its name, got {entry!r}. "
            "Hint: add_safe_globals([MyClass])"
        )
    return name or f"{value.__module__}.{value.__qualname__}", value


def add_safe_globals(safe_globals: Iterable[Any]) -> None:
    """Let `load` use classes and functions: a pickle may then call them with arguments of its choosing.

    Args: safe_globals: classes and functions, or pairs of one and the name ("module.name") that files have for it.
    Raises: ArgumentError: something else.

    Example:
        >>> import flambeau as fb, fractions, io
        >>> f = io.BytesIO(); fb.save(fractions.Fraction(1, 3), f); _ = f.seek(0)
        >>> with fb.serialization.safe_globals([fractions.Fraction]):
        ...     fb.load(f)
        Fraction(1, 3)
    """
    if isinstance(safe_globals, str) or not isinstance(safe_globals, Iterable):
        raise ArgumentError(
            f"add_safe_globals: needs a list, got {safe_globals!r}. Hint: add_safe_globals([MyClass])"
        )
    _declared.update([(name, Declared(value)) for name, value in map(_named, safe_globals)])


def get_safe_globals() -> list[Any]:
    """What add_safe_globals was given, as classes and functions, or as pairs where a name was given with them."""
    return [
        d.value if _named(d.value)[0] == name else (d.value, name) for name, d in _declared.items()
    ]


def clear_safe_globals() -> None:
    """Take back what add_safe_globals allowed."""
    _declared.clear()


class safe_globals:
    """`add_safe_globals` for the length of a with block."""

    def __init__(self, safe_globals: Iterable[Any]) -> None:
        self._entries = safe_globals
        self._before: dict[str, Declared] = {}

    def __enter__(self) -> None:
        self._before = dict(_declared)
        add_safe_globals(self._entries)

    def __exit__(self, *exc: object) -> None:
        _declared.clear()
        _declared.update(self._before)


def find_declared(module: str, name: str) -> Declared | None:
    """What the caller declared under a name."""
    return _declared.get(f"{module}.{name}")
