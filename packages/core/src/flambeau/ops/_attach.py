"""Publish every family of operations, and give Tensor its operators."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau import _late
from flambeau.autograd import engine, inplace
from flambeau.errors import ArgumentError
from flambeau.ops import casting, elementwise, linalg, movement, reduce
from flambeau.ops._op import inplace_of
from flambeau.ops._public import Public, postpone, publish
from flambeau.tensor import Tensor

#: Modules of flambeau.ops in the order in which they are published.
FAMILIES = [
    "elementwise",
    "movement",
    "casting",
    "placement",
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

#: Modules of flambeau.ops that few programs need: imported when one of their names is used.
LATER = {
    "storage": Public(
        methods="data_ptr untyped_storage storage is_set_to",
        functions="is_storage TypedStorage UntypedStorage",
    ),
    "sharing": Public(methods="is_shared share_memory_"),
    "strides": Public(
        functions="empty_strided empty_permuted alias_copy as_strided_copy detach_copy diagonal_copy expand_copy "
        "permute_copy select_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy "
        "unfold_copy unsqueeze_copy view_as_complex_copy view_as_real_copy view_copy",
        methods="new_empty_strided as_subclass resize_",
        both="as_strided_ narrow_copy is_same_size resize_as_",
    ),
    "draws": Public(methods="geometric_ cauchy_ log_normal_"),
    "legacy": Public(
        functions="scalar_tensor frombuffer to_dlpack range can_cast typename detach is_inference",
        methods="apply_ map_",
    ),
    "numeric": Public(functions="gradient vander", both="cov corrcoef"),
}

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


def _comparison(name: str) -> Any:
    """`==` or `!=`, which leave what is neither tensor nor number to Python: `x == None` is False."""
    fn = getattr(elementwise, name)

    def compare(self: Tensor, other: Any) -> Any:
        try:
            return fn(self, other)
        except ArgumentError:
            return NotImplemented

    compare.__name__ = compare.__qualname__ = f"__{name}__"
    return compare


#: In-place variants that PyTorch offers as functions too: `flambeau.relu_(x)`.
INPLACE_FUNCTIONS = (
    "abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ asin_ asinh_ atan_ atanh_ ceil_ "
    "clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ detach_ erf_ erfc_ exp2_ exp_ expm1_ fix_ "
    "floor_ frac_ gcd_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ negative_ rad2deg_ reciprocal_ "
    "relu_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ trunc_ xlogy_"
).split()


def attach(namespace: dict[str, Any]) -> None:
    """Fill flambeau's namespace and the Tensor class."""
    for name in FAMILIES:
        publish(importlib.import_module(f"flambeau.ops.{name}"), namespace)
    for name, public in LATER.items():
        postpone(f"flambeau.ops.{name}", public)
    _late.add, _late.clone, _late.view = elementwise.add, casting.clone, movement.view
    _late.reduce_sum, _late.sum_all = reduce.reduce_sum, reduce.sum_all
    _late.backward, _late.update = engine.backward, inplace.update
    for name in INPLACE_FUNCTIONS:
        namespace[name] = getattr(Tensor, name)
    for operator, name in OPERATORS.items():
        setattr(Tensor, f"__{operator}__", getattr(elementwise, name))
    for name in ("eq", "ne"):
        setattr(Tensor, f"__{name}__", _comparison(name))
    for operator, name in INPLACE.items():
        setattr(Tensor, f"__{operator}__", inplace_of(getattr(elementwise, name)))
    for name, fn in {
        "rfloordiv": lambda self, other: elementwise.floor_divide(other, self),
        "matmul": linalg.matmul,
        "rmatmul": lambda self, other: linalg.matmul(other, self),
        "pos": lambda self: self,
    }.items():
        setattr(Tensor, f"__{name}__", fn)
