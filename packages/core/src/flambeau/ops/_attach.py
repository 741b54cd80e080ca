"""Publish every family of operations, and give Tensor its operators."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau import _late
from flambeau.autograd import engine, inplace
from flambeau.ops import casting, elementwise, linalg, movement, reduce
from flambeau.ops._op import inplace_of
from flambeau.ops._public import publish
from flambeau.tensor import Tensor

#: Modules of flambeau.ops in the order in which they are published.
FAMILIES = [
    "elementwise",
    "movement",
    "casting",
    "creation",
    "reduce",
    "extremes",
    "statistics",
    "scan",
    "order",
    "quantiles",
    "counts",
    "composite",
    "complex_parts",
    "special",
    "activation",
    "linalg",
    "random",
    "masking",
    "index",
    "scatter",
    "index_more",
    "search",
    "diagonal",
    "join",
    "einsum",
    "rearrange",
]

OPERATORS = {
    "add": "add",
    "radd": "add",
    "sub": "sub",
    "rsub": "rsub",
    "mul": "mul",
    "rmul": "mul",
    "truediv": "div",
    "rtruediv": "rdiv",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "rmod": "rremainder",
    "pow": "pow",
    "rpow": "rpow",
    "neg": "neg",
    "abs": "abs",
    "invert": "bitwise_not",
    "and": "bitwise_and",
    "rand": "bitwise_and",
    "or": "bitwise_or",
    "ror": "bitwise_or",
    "xor": "bitwise_xor",
    "rxor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
    "eq": "eq",
    "ne": "ne",
    "lt": "lt",
    "le": "le",
    "gt": "gt",
    "ge": "ge",
}
INPLACE = {
    "iadd": "add",
    "isub": "sub",
    "imul": "mul",
    "itruediv": "div",
    "ifloordiv": "floor_divide",
    "imod": "remainder",
    "ipow": "pow",
    "iand": "bitwise_and",
    "ior": "bitwise_or",
    "ixor": "bitwise_xor",
    "ilshift": "bitwise_left_shift",
    "irshift": "bitwise_right_shift",
}


def attach(namespace: dict[str, Any]) -> None:
    """Fill flambeau's namespace and the Tensor class."""
    for name in FAMILIES:
        publish(importlib.import_module(f"flambeau.ops.{name}"), namespace)
    _late.add, _late.clone, _late.view = elementwise.add, casting.clone, movement.view
    _late.reduce_sum, _late.sum_all = reduce.reduce_sum, reduce.sum_all
    _late.backward, _late.update = engine.backward, inplace.update
    for operator, name in OPERATORS.items():
        setattr(Tensor, f"__{operator}__", getattr(elementwise, name))
    for operator, name in INPLACE.items():
        setattr(Tensor, f"__{operator}__", inplace_of(getattr(elementwise, name)))
    for name, fn in {
        "rfloordiv": lambda self, other: elementwise.floor_divide(other, self),
        "matmul": linalg.matmul,
        "rmatmul": lambda self, other: linalg.matmul(other, self),
        "pos": lambda self: self,
    }.items():
        setattr(Tensor, f"__{name}__", fn)
