"""Quantiles: elements at a fraction of the way through the sorted elements."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.errors import DTypeError, ShapeError
from flambeau.ops._pick import pick
from flambeau.ops._public import Public
from flambeau.ops._recover import write_out
from flambeau.ops.casting import convert
from flambeau.ops.elementwise import (
    add,
    bitwise_or,
    ceil,
    eq,
    floor,
    gt,
    lt,
    maximum,
    mul,
    rint,
    rsub,
    sub,
    where,
)
from flambeau.ops.movement import _view, reshape
from flambeau.ops.order import sort
from flambeau.ops.reduce import filled, one_dim, reduce_any, reduce_sum, reduced, reduction
from flambeau.tensor import Tensor, describe

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _levels(name: str, input: Tensor, q: Any) -> Tensor:
    """The probabilities as a tensor of input's kind."""
    if input._kind.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(
            f"{name}() input tensor must be either float or double dtype, got {describe(input)}"
        )
    if input.numel() == 0:
        raise ShapeError(f"{name}() input tensor must be non-empty, got {describe(input)}")
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise ShapeError(f"{name}() q must be in the range [0, 1] but got {q}")
        return filled((), float(q), input)
    if len(q._a.shape) > 1:
        raise ShapeError(f"{name}() q must be a scalar or 1D tensor, got {describe(q)}")
    if q._kind is not input._kind:
        raise DTypeError(
            f"{name}() q tensor must be same dtype as the input tensor, got {describe(q)} and {describe(input)}"
        )
    if bool(reduce_any(bitwise_or(lt(q, 0), gt(q, 1)), None, False)):
        raise ShapeError(f"{name}() q values must be in the range [0, 1], got {q.tolist()}")
    return q


def _quantiles(
    name: str,
    input: Tensor,
    q: Any,
    dim: Any,
    keepdim: bool,
    interpolation: str,
    out: Any,
    ignore_nan: bool,
) -> Tensor:
    if interpolation not in _INTERPOLATIONS:
        raise ShapeError(
            f"{name}() interpolation must be one of {', '.join(_INTERPOLATIONS)}, but got {interpolation!r}"
        )
    q = _levels(name, input, q)
    rank = len(input._a.shape)
    at = None if dim is None else one_dim(dim, rank, name)
    shape = reduced(input._a.shape, None if at is None or rank == 0 else (at,), keepdim)
    x = reshape(input, (-1,)) if at is None or rank == 0 else input.movedim(at, -1)
    x = sort(x, -1).values
    n, last = x._a.shape[-1], len(x._a.shape) - 1
    present = reduce_sum(convert(eq(x, x), x._kind), (last,), True)
    if ignore_nan:
        places = maximum(mul(sub(present, 1), reshape(q, (-1,))), 0)
    else:
        places = where(
            eq(present, n), mul(reshape(q, (-1,)), n - 1), float(n - 1)
        )  # a nan stands last
    found = _between(x, places, interpolation)
    count = found._a.shape[-1]
    if not q._a.shape:
        found = _view(found, shape)
    else:
        found = reshape(found.movedim(-1, 0), (count, *shape))
    return found if out is None else write_out(found, out)


def _between(x: Tensor, places: Tensor, interpolation: str) -> Tensor:
    """Elements at fractional positions along the last dimension."""
    last = len(x._a.shape) - 1

    def at(place: Tensor) -> Tensor:
        found: Tensor = pick(x, convert(place, x._kind.int64), last)
        return found

    if interpolation == "nearest":
        return at(rint(places))
    low, high = floor(places), ceil(places)
    if interpolation == "lower":
        return at(low)
    if interpolation == "higher":
        return at(high)
    below, above = at(low), at(high)
    weight = sub(places, low) if interpolation == "linear" else filled((), 0.5, x)
    step = sub(above, below)
    return where(
        lt(weight, 0.5), add(below, mul(weight, step)), sub(above, mul(step, rsub(weight, 1)))
    )


@reduction
def quantile(
    input: Tensor,
    q: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """Quantiles of all elements or along dim; a nan makes the result nan.

    Args: q: a number in [0, 1], or a 1-D tensor of several: then the result has one more dimension, the first.
        interpolation: between two elements: linear, lower, higher, midpoint, nearest.
    Raises: DTypeError: input is neither float32 nor float64.  ShapeError: q is out of range, or no elements.

    Example:
        >>> import flambeau as fb
        >>> fb.quantile(fb.tensor([0.0, 1.0, 2.0, 3.0]), 0.5)
        tensor(1.5000)
    """
    return _quantiles("quantile", input, q, dim, keepdim, interpolation, out, False)


@reduction
def nanquantile(
    input: Tensor,
    q: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """`quantile` of the elements that are not nan."""
    return _quantiles("nanquantile", input, q, dim, keepdim, interpolation, out, True)


PUBLIC = Public(both="quantile nanquantile")
