"""Write the type stubs of the functions and methods that flambeau's operations publish.

    python scripts/make_stubs.py            writes _functions.pyi and _methods.pyi in core
    python scripts/make_stubs.py --check    exits with 1 where they are out of date

The operations are declared once, in packages/core/src/flambeau/ops; type checkers cannot see how they
become functions of flambeau and methods of Tensor.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

CORE = Path(__file__).resolve().parent.parent / "packages" / "core" / "src" / "flambeau"
KNOWN = {
    "Tensor",
    "Any",
    "Sequence",
    "None",
    "int",
    "float",
    "bool",
    "complex",
    "str",
    "tuple",
    "list",
    "Callable",
}
BUILTIN = ("int", "float", "bool", "complex", "str", "tuple", "list", "type")
HEADER = '''"""Made by scripts/make_stubs.py from the declarations in ops/: not to be edited."""

from builtins import bool as _bool, complex as _complex, float as _float, int as _int, list as _list, str as _str
from builtins import tuple as _tuple
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.tensor import Tensor

'''


def annotation(value: Any) -> str:
    """An annotation with names that mean the same inside a class whose methods are called float and int."""
    if value is inspect.Parameter.empty:
        return "Any"
    text = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    if {"Mask", "Index"} & set(re.findall(r"\w+", text)):
        text = re.sub(r"\b(Mask|Index)\b", "Tensor", text)
    if not set(re.findall(r"[A-Za-z_.]\w*", text)) <= KNOWN:
        return "Any"
    return re.sub(rf"\b({'|'.join(BUILTIN)})\b", r"_\1", text)


def parameter(p: inspect.Parameter, widen: bool) -> str:
    """One parameter of a stub; operands that may be numbers are widened."""
    kind = annotation(p.annotation)
    if widen and kind == "Tensor":
        kind = "Tensor | _complex"
    default = "" if p.default is p.empty else " = ..."
    return f"{p.name}: {kind}{default}"


def signature(fn: Any, method: bool, inplace: bool) -> str:
    """The text between `def name` and the colon."""
    record = getattr(fn, "op", None)
    plain = getattr(fn, "__wrapped__", fn)
    parameters = list(inspect.signature(plain).parameters.values())
    widen = record is not None and record.mixes
    parts: list[str] = []
    star = False
    for i, p in enumerate(parameters):
        if method and i == 0:
            parts.append("self")
            continue
        if p.kind is p.VAR_POSITIONAL:
            parts.append(f"*{p.name}: {annotation(p.annotation)}")
            star = True
            continue
        if p.kind is p.VAR_KEYWORD:
            parts.append(f"**{p.name}: {annotation(p.annotation)}")
            continue
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        if inplace and p.name == "out":
            continue
        parts.append(parameter(p, widen and (i != 0 or not method)))
    if parts and parts[-1] == "*":
        parts.pop()
    if record is not None and not inplace:
        out = "out: Tensor | None = ..."
        parts += [out] if star else ["*", out]
    returns = annotation(inspect.signature(plain).return_annotation)
    return f"({', '.join(parts)}) -> {'Tensor' if record is not None or inplace else returns}"


def published() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Functions, methods and properties by public name, as the families publish them."""
    import flambeau  # noqa: F401
    from flambeau.ops._attach import FAMILIES, INPLACE, INPLACE_FUNCTIONS, LATER, OPERATORS
    from flambeau.tensor import Tensor

    functions: dict[str, Any] = {}
    methods: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    modules = {f: importlib.import_module(f"flambeau.ops.{f}") for f in (*FAMILIES, *LATER)}
    families = [(modules[f], modules[f].PUBLIC) for f in FAMILIES]
    for module, public in families + [(modules[f], public) for f, public in LATER.items()]:
        others: dict[str, list[str]] = {}
        for alias, name in public.aliases.items():
            others.setdefault(name, []).append(alias)
        for table, names in (
            (functions, public.functions + " " + public.both),
            (methods, public.methods + " " + public.both),
            (properties, public.properties),
        ):
            for name in names.split():
                for n in (name, *others.get(name, ())):
                    table[n] = getattr(module, name)
        functions.update(public.made_both)
        methods.update({**public.made_methods, **public.made_both})
        for name in public.inplace.split():
            for n in (name, *others.get(name, ())):
                methods[n.rstrip("_") + "_"] = getattr(Tensor, n.rstrip("_") + "_")
    functions.update({name: getattr(Tensor, name) for name in INPLACE_FUNCTIONS})
    for operator in (*OPERATORS, *INPLACE, "eq", "ne", "rfloordiv", "matmul", "rmatmul", "pos"):
        methods[f"__{operator}__"] = None
    return functions, methods, properties


UNARY = ("neg", "abs", "invert", "pos")


def operator_stub(name: str) -> str:
    """An operator takes a tensor or a number and gives a tensor."""
    bare = name.strip("_")
    other = "" if bare in UNARY else ", other: Any"
    ignore = "  # type: ignore[override]" if bare in ("eq", "ne") else ""
    return f"    def {name}(self{other}) -> Tensor: ...{ignore}\n"


def functions_text(functions: dict[str, Any]) -> str:
    """The stub of flambeau's functions."""
    lines = [HEADER]
    for name, fn in sorted(functions.items()):
        if isinstance(fn, type):
            lines.append(f"from {fn.__module__} import {fn.__name__} as {name}\n")
        else:
            lines.append(f"def {name}{signature(fn, False, False)}: ...\n")
    return "".join(lines)


def methods_text(methods: dict[str, Any], properties: dict[str, Any]) -> str:
    """The stub of Tensor's base class."""
    lines = [HEADER, "class TensorMethods:\n"]
    for name in sorted(properties):
        lines.append(f"    @property\n    def {name}(self) -> Tensor: ...\n")
    for name, fn in sorted(methods.items()):
        if fn is None:
            lines.append(operator_stub(name))
        elif isinstance(fn, property):
            lines.append(f"    @property\n    def {name}(self) -> Tensor: ...\n")
            if fn.fset is not None:
                lines.append(f"    @{name}.setter\n    def {name}(self, value: Any) -> None: ...\n")
        else:
            inplace = name.endswith("_") and not name.startswith("__")
            lines.append(f"    def {name}{signature(fn, True, inplace)}: ...\n")
    return "".join(lines)


def main(argv: list[str]) -> int:
    """Write the stubs, or compare them."""
    functions, methods, properties = published()
    texts = {
        "_functions.pyi": functions_text(functions),
        "_methods.pyi": methods_text(methods, properties),
    }
    stale = [
        name
        for name, text in texts.items()
        if not (CORE / name).is_file() or (CORE / name).read_text() != text
    ]
    if "--check" in argv:
        if stale:
            print(f"out of date: {', '.join(stale)}; run python scripts/make_stubs.py")
        return 1 if stale else 0
    for name in stale:
        (CORE / name).write_text(texts[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
