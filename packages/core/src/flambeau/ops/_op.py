"""How an operation is declared: once, with its rules, its derivative and its documentation together.

`@op` turns a declaration into one Python function without `*args`, generated for its signature when it is first called:
it checks the operands' kinds, calls the device's kernel, wraps the result and records a node. The same
function object is the Tensor method. Whatever is not the plain case (mixed dtypes, host arrays, a failing
kernel) leaves it for `_recover`.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from flambeau.ops._source import (
    SCOPE,
    backward_source,
    compile_in_scope,
    forward_source,
    inplace_source,
)
from flambeau.shape import broadcast_shapes

if TYPE_CHECKING:
    from flambeau.tensor import Tensor

Rule = Callable[..., Any]


class OpFunction(Protocol):
    """A declared operation: call it; `.op` is its record; `.vjp(operand=rule)` declares its derivative."""

    __name__: str
    __qualname__: str
    op: Op

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the operation."""

    def vjp(self, **rules: Rule) -> None:
        """Declare, per operand, the gradient as a function of g and of what the parameters' names say is saved."""

    def vjp_joint(self, rule: Rule) -> Rule:
        """Declare all operands' gradients in one function; its parameter `needs` says which are wanted."""


class Primitive(Exception):
    """Body of an op for which a backend must give the kernel; the statement marks it and never runs."""


def same(x: Any, *attrs: Any) -> Any:
    """Shape rule: the first operand's shape."""
    return x


def broadcast(*shapes: Any) -> Any:
    """Shape rule: the operands' common shape."""
    return tuple(broadcast_shapes(*(s for s in shapes if s.__class__ is tuple)))


class Param:
    """A parameter of an op: an operand ("tensor", "optional", "index", "mask") or an attribute ("attr")."""

    __slots__ = ("kind", "name")
    KINDS = {
        "Tensor": "tensor",
        "Tensor | None": "optional",
        "Index": "index",
        "Mask": "mask",
        "TensorLike": "tensor",
    }

    def __init__(self, name: str, annotation: Any) -> None:
        self.name = name
        self.kind = self.KINDS.get(str(annotation), "attr")


class Op:
    """The record of an operation: what its declaration said and what was made from it."""

    def __init__(self, fn: Callable[..., Any], options: dict[str, Any]) -> None:
        self.fn = fn
        self.public = fn.__name__
        #: What messages call it.
        self.label = fn.__name__.strip("_")
        self.kernel: str = options["kernel"] or fn.__name__
        self.shape: Callable[..., Any] = options["shape"]
        self.dtype: str = options["dtype"]
        self.view: bool = options["view"]
        self.swap: bool = options["swap"]
        self.elementwise: bool = self.shape in (same, broadcast) and not (
            self.view or options["whole"]
        )
        self.body = None if "Primitive" in fn.__code__.co_names else fn
        self.node_name: str = options["node"] or _node_name(fn.__name__)
        self.rules: dict[str, Rule] = {}
        self.joint: Rule | None = None
        self.function: Any = None
        self.params = [Param(n, fn.__annotations__.get(n)) for n in _names(fn)]
        self.operands = [p for p in self.params if p.kind != "attr"]
        self.attrs = [p for p in self.params if p.kind == "attr"]
        #: The operand whose kind decides: the first that is neither a mask nor an index.
        self.lead: int = [p.kind == "tensor" for p in self.operands].index(True)
        #: Whether operands may be Python numbers.
        self.mixes = self.elementwise and self.shape is broadcast

    def set_joint(self, rule: Rule) -> Rule:
        """Take one rule for all operands."""
        self.joint = rule
        return rule

    def parameters_of(self, rule: Rule) -> list[str]:
        """Names of the rule's parameters after g: they say what is saved."""
        return _names(rule)[1:]

    @property
    def saves_output(self) -> bool:
        """Whether a rule asks for `y`, the output (an operand of that name comes first)."""
        return bool(self.used_by("y")) and all(p.name != "y" for p in self.operands)

    def used_by(self, name: str) -> list[str]:
        """The operands whose derivative needs the value of `name` (an operand, or "y")."""
        if self.joint is not None:
            everyone = [p.name for p in self.operands if p.kind in ("tensor", "optional")]
            return everyone if name in self.parameters_of(self.joint) else []
        return [operand for operand, rule in self.rules.items() if name in self.parameters_of(rule)]


def _names(fn: Callable[..., Any]) -> list[str]:
    code = fn.__code__
    return list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def _node_name(public: str) -> str:
    return "".join(w.capitalize() for w in public.split("_")) + "Backward0"


OPS: dict[str, OpFunction] = {}


def op(
    *,
    shape: Callable[..., Any] = same,
    dtype: str = "same",
    kernel: str | None = None,
    node: str | None = None,
    view: bool = False,
    whole: bool = False,
    swap: bool = False,
) -> Callable[[Callable[..., Any]], OpFunction]:
    """Declare an operation; the decorated function's signature, docstring and body are its own.

    Parameters annotated `Tensor` are operands (`Tensor | None`: may be absent, `Index`: int64, `Mask`: bool),
    all others are attributes. Kernels get the operands and then the attributes by position.

    Args:
        shape: the rule from operand shapes and attributes to the result's shape.
        dtype: "same"; "promote" (operands to a common dtype); "inexact" (integers to the default float dtype);
            "floating" (integers are refused); "boolean"; "compare" (a common dtype in, bool out); "int64";
            "real" (complex64 -> float32); "complex" (float32 -> complex64).
        kernel: the kernel's name, where it is not the function's.
        node: the tape node's name, where it is not made from the function's.
        view: the result shares memory with the first operand.
        whole: the kernel is no elementwise kernel (takes no `out`) although the result has an operand's shape.
        swap: the kernel gets the two operands exchanged.
    """
    options = {
        "shape": shape,
        "dtype": dtype,
        "kernel": kernel,
        "node": node,
        "view": view,
        "whole": whole,
        "swap": swap,
    }

    def declare(fn: Callable[..., Any]) -> OpFunction:
        if fn.__name__ in OPS:
            raise ValueError(
                f"an op named {fn.__name__!r} is declared already, in {OPS[fn.__name__].op.fn.__module__}"
            )
        record = Op(fn, options)
        function = _lazy(record, fn, _build)
        function.op = record
        function.vjp = lambda **rules: record.rules.update(rules)
        function.vjp_joint = record.set_joint
        record.function = OPS[record.public] = function
        made: OpFunction = function
        return made

    return declare


def _first_call(*args: Any, _pending: Any = None, **kwargs: Any) -> Any:
    record, build = _pending  # generated code replaces this body, see _become
    return build(record)(*args, **kwargs)


def _lazy(record: Op, fn: Callable[..., Any], build: Callable[[Op], Any], name: str = "") -> Any:
    """A function that generates its code at the first call: importing flambeau compiles nothing."""
    function = types.FunctionType(_first_call.__code__, SCOPE, name or fn.__name__)
    function.__kwdefaults__ = {"_pending": (record, build)}
    function.__doc__, function.__module__ = fn.__doc__, fn.__module__
    function.__qualname__ = function.__name__
    function.__wrapped__ = fn  # type: ignore[attr-defined]
    return function


def _become(function: Any, source: str, label: str) -> Any:
    made = compile_in_scope(source, function.__name__, label)
    function.__code__ = made.__code__
    function.__defaults__, function.__kwdefaults__ = made.__defaults__, made.__kwdefaults__
    return function


def _build(record: Op) -> Any:
    from flambeau.autograd.node import Node

    SCOPE[f"OP_{record.public}"] = record
    if record.rules or record.joint:
        for operand, rule in record.rules.items():
            SCOPE[f"RULE_{record.public}_{operand}"] = rule
        SCOPE[f"RULE_{record.public}"] = record.joint
        apply = compile_in_scope(backward_source(record), "apply", f"{record.public} backward")
        SCOPE[f"NODE_{record.public}"] = type(
            record.node_name, (Node,), {"__slots__": (), "apply": apply, "op": record}
        )
    return _become(
        record.function, forward_source(record, inspect.signature(record.fn)), record.public
    )


def inplace_of(function: Any) -> Any:
    """The in-place variant of a declared elementwise op: `add_` of `add`."""
    record: Op = function.op

    def build(record: Op) -> Any:
        SCOPE[f"OP_{record.public}"] = record
        return _become(
            made, inplace_source(record, inspect.signature(record.fn)), f"{record.public}_"
        )

    made = _lazy(record, record.fn, build, f"{record.public}_")
    made.__doc__ = f"In-place version of {record.public}: the result replaces this tensor's values."
    return made
