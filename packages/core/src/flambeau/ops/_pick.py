"""Elements at positions along one dimension: how max, sort, median ... get their values, and where gradients go.

A position tensor comes from an operation without derivative (`argmax`, `argsort` ...). It has the input's shape, with
dimension `dim` of any size, or without that dimension.
"""

from __future__ import annotations

from typing import Any

from flambeau.errors import ArgumentError
from flambeau.ops._op import op
from flambeau.ops._recover import write_out
from flambeau.shape import Shape
from flambeau.tensor import Tensor, wrap

Index = Tensor  # an operand that must be int64


def _positions(index: Tensor, dim: int, shape: Shape) -> Any:
    """The native position array with dimension dim."""
    kind = index._kind
    if len(index._a.shape) == len(shape):
        return index._a
    return kind.k["view"](index._a, (*index._a.shape[:dim], 1, *index._a.shape[dim:]))


@op(shape=lambda x, index, dim: index, kernel="pick")
def pick(input: Tensor, index: Index, dim: int) -> Tensor:
    """input's elements at positions along dim."""
    return _picked(input, index, dim)


def _picked(input: Tensor, index: Tensor, dim: int) -> Tensor:
    kind = input._kind
    found = kind.k["gather"](input._a, _positions(index, dim, input._a.shape), dim)
    return wrap(kind.k["view"](found, index._a.shape), kind)


@op(shape=lambda g, index, dim, shape, distinct: shape)
def pick_backward(grad: Tensor, index: Index, dim: int, shape: Shape, distinct: bool) -> Tensor:
    """Zeros of a shape with grad added at positions along dim; distinct: no position stands twice."""
    kind = grad._kind
    where = _positions(index, dim, shape)
    g = kind.k["view"](grad._a, where.shape) if grad._a.shape != where.shape else grad._a
    zeros = kind.k["fill"](shape, 0, kind.dtype)
    return wrap(kind.k["scatter"](zeros, where, g, dim, "set" if distinct else "add"), kind)


pick_backward.vjp(grad=lambda g, index, dim: pick(g, index, dim))
pick.vjp(input=lambda g, index, dim, input_shape: pick_backward(g, index, dim, input_shape, False))


def picker(name: str, distinct: bool = True, node: str = "") -> Any:
    """`pick` under the node name that users of an operation see; distinct: its positions are."""

    def picked(input: Tensor, index: Index, dim: int) -> Tensor:
        return _picked(input, index, dim)

    picked.__name__ = picked.__qualname__ = f"_{name}_values"
    made = op(
        shape=lambda x, index, dim: index,
        kernel="pick",
        node=node or f"{name.capitalize()}Backward0",
    )(picked)
    made.vjp(
        input=lambda g, index, dim, input_shape: pick_backward(g, index, dim, input_shape, distinct)
    )
    return made


def results(cls: Any, found: tuple[Tensor, ...], out: Any) -> Any:
    """Several results as a named tuple, written to the tensors of `out=` if there are any."""
    if out is not None:
        if len(out) != len(found):
            raise ArgumentError(
                f"{cls.__name__}(): out= takes {len(found)} tensors, got {len(out)}"
            )
        found = tuple([write_out(t, o) for t, o in zip(found, out)])
    return tuple.__new__(cls, found)
