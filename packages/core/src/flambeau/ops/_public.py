"""How a family of operations reaches users: as functions of flambeau, Tensor methods, in-place variants, properties."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from flambeau._lazy import FORWARDED
from flambeau.ops._op import inplace_of
from flambeau.tensor import Tensor


@dataclass(frozen=True)
class Public:
    """What a family module offers; every field but aliases holds names of its functions, separated by blanks.

    functions: `flambeau.f`.  methods: `Tensor.f`.  both: function and method.  inplace: `Tensor.f_` made from f.
    properties: attributes without parentheses.  aliases: {other name: name}, wherever the name stands.
    made_methods, made_both: functions whose public name is not the name in the module.
    """

    functions: str = ""
    methods: str = ""
    both: str = ""
    inplace: str = ""
    properties: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    made_methods: Mapping[str, Any] = field(default_factory=dict)
    made_both: Mapping[str, Any] = field(default_factory=dict)


def inplace_variant(fn: Callable[..., Any]) -> Any:
    """`f_` of f: the generated fast one for declared elementwise ops, else f's result stored into the tensor."""
    record = getattr(fn, "op", None)
    if record is not None and record.elementwise:
        return inplace_of(fn)
    name = fn.__name__.rstrip("_") + "_"

    @functools.wraps(fn)
    def variant(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        from flambeau.autograd.inplace import update

        return update(name, self, lambda src: fn(src, *args, **kwargs), saves=True)

    variant.__name__ = variant.__qualname__ = name
    variant.__doc__ = f"In-place version of {name[:-1]}: the result replaces this tensor's values."
    return variant


def publish(family: ModuleType, namespace: dict[str, Any]) -> None:
    """Put a family's functions into flambeau's namespace and its methods on Tensor."""
    public: Public = family.PUBLIC
    names: dict[str, list[str]] = {}
    for alias, name in public.aliases.items():
        names.setdefault(name, []).append(alias)
    for name in (public.functions + " " + public.both).split():
        for n in (name, *names.get(name, ())):
            namespace[n] = getattr(family, name)
    for name in (public.methods + " " + public.both).split():
        for n in (name, *names.get(name, ())):
            setattr(Tensor, n, getattr(family, name))
    for name in public.properties.split():
        for n in (name, *names.get(name, ())):
            setattr(Tensor, n, property(getattr(family, name)))
    for name in public.inplace.split():
        variant = inplace_variant(getattr(family, name))
        for n in (name, *names.get(name, ())):
            setattr(Tensor, n.rstrip("_") + "_", variant)
    for name, fn in (*public.made_methods.items(), *public.made_both.items()):
        setattr(Tensor, name, fn)
    namespace.update(public.made_both)


class _Postponed:
    """A method that takes its place on Tensor when it is first asked for: its module is imported then."""

    __slots__ = ("module", "name", "public")

    def __init__(self, module: str, name: str, public: str) -> None:
        self.module, self.name, self.public = module, name, public

    def __get__(self, x: Any, owner: Any = None) -> Any:
        fn = getattr(importlib.import_module(self.module), self.name)
        setattr(Tensor, self.public, fn)
        return fn if x is None else fn.__get__(x, owner)


def postpone(module: str, public: Public) -> None:
    """Offer a family's functions and methods under their names, without importing it; it has no `PUBLIC` itself."""
    names: dict[str, list[str]] = {}
    for alias, name in public.aliases.items():
        names.setdefault(name, []).append(alias)
    for name in (public.functions + " " + public.both).split():
        for n in (name, *names.get(name, ())):
            FORWARDED[n] = (module, name)
    for name in (public.methods + " " + public.both).split():
        for n in (name, *names.get(name, ())):
            setattr(Tensor, n, _Postponed(module, name, n))
