"""How often values occur: distinct elements, bins, histograms."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes, return_types
from flambeau.errors import ShapeError, UnsupportedOpError
from flambeau.ops._op import op
from flambeau.ops._pick import pick, results
from flambeau.ops._public import Public
from flambeau.ops._recover import write_out
from flambeau.ops.casting import convert
from flambeau.ops.creation import arange, linspace
from flambeau.ops.elementwise import (
    add,
    bitwise_and,
    div,
    floor,
    ge,
    le,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    sub,
    where,
)
from flambeau.ops.extremes import reduce_max, reduce_min
from flambeau.ops.movement import _expand, _slice, _view, reshape, select
from flambeau.ops.order import arg_sort
from flambeau.ops.reduce import filled, one_dim, reduce_any, reduce_sum, reduction
from flambeau.ops.scan import scan
from flambeau.tensor import Tensor, describe, wrap

Index = Tensor  # an operand that must be int64


@op(shape=lambda weights, index, size: (size,), kernel="tally")
def tally(weights: Tensor, index: Index, size: int) -> Tensor:
    """The sum of the weights at each index from 0 to size - 1."""
    kind = weights._kind
    zeros = kind.k["fill"]((size,), 0, kind.dtype)
    return wrap(kind.k["scatter"](zeros, index._a, weights._a, 0, "add"), kind)


@op(shape=lambda values, index, size: (size, *values[1:]))
def _representatives(values: Tensor, index: Index, size: int) -> Tensor:
    """For each index from 0 to size - 1 the last of the values that have it."""
    kind = values._kind
    zeros = kind.k["fill"]((size,), 0, kind.dtype)
    return wrap(kind.k["scatter"](zeros, index._a, values._a, 0, "set"), kind)


# ---- distinct elements
def _groups(starts: Tensor) -> tuple[Tensor, int]:
    """Number of its group for each element, and how many groups there are, from where groups start."""
    group = sub(scan(convert(starts, starts._kind.int64), 0, "sum", False), 1)
    size = group._a.shape[0]
    return group, int(select(group, 0, size - 1).item()) + 1 if size else 0


def _starts(rows: Tensor) -> Tensor:
    """Whether each row of a matrix differs from the one before; true for the first."""
    n = rows._a.shape[0]
    differ = reduce_any(
        ne(_slice(rows, (slice(1, n),)), _slice(rows, (slice(0, max(n - 1, 0)),))), (1,), False
    )
    first = filled((n,), True, wrap(rows._a, rows._kind.boolean))
    first._kind.k["copy"](differ._a, out=first._kind.k["slice"](first._a, (slice(1, n),)))
    return first


def _distinct(input: Tensor, dim: Any, name: str, ordered: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct elements (slices along dim), the number of each element's one, and how often each occurs."""
    x = input.detach()
    shape = x._a.shape
    if dim is None:
        kernel = x._kind.k["unique"]
        if kernel is not None:
            found, inverse, counts = kernel(x._a, ordered)
            return wrap(found, x._kind), wrap(inverse, x._kind.int64), wrap(counts, x._kind.int64)
        found, inverse, counts = _distinct_rows(reshape(x, (-1, 1)), ordered)
        return reshape(found, (-1,)), reshape(inverse, shape), counts
    at = one_dim(dim, len(shape), name)
    moved = x.movedim(at, 0) if shape else reshape(x, (1,))
    rest = moved._a.shape[1:]
    rows = reshape(moved, (moved._a.shape[0], math.prod(rest)))
    found, inverse, counts = _distinct_rows(rows, ordered)
    return reshape(found, (-1, *rest) if rest else (-1,)).movedim(0, at), inverse, counts


def _distinct_rows(rows: Tensor, ordered: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct rows of a matrix, the number of each row's one, and how often each occurs."""
    n, width = rows._a.shape
    order = arange(n, device=rows.device)
    if ordered:
        for column in range(width - 1, -1, -1):  # stable sorts from the last column to the first
            keys = pick(select(rows, 1, column), order, 0)
            order = pick(order, arg_sort(keys, 0, False), 0)
    group, count = _groups(_starts(_rows_at(rows, order)))
    inverse = _representatives(group, order, n)
    found = _rows_at(rows, _representatives(order, group, count))
    return found, inverse, tally(filled((n,), 1, group), group, count)


def _rows_at(rows: Tensor, order: Tensor) -> Tensor:
    n, width = order._a.shape[0], rows._a.shape[1]
    return pick(rows, _expand(_view(order, (n, 1)), (n, width)), 0)


def _asked(found: tuple[Tensor, Tensor, Tensor], inverse: bool, counts: bool) -> Any:
    chosen = [found[0], *([found[1]] if inverse else []), *([found[2]] if counts else [])]
    return tuple(chosen) if len(chosen) > 1 else chosen[0]


@reduction
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: Any = None,
) -> Any:
    """The distinct elements in ascending order, or the distinct slices along dim.

    Args: sorted: accepted; the result is always in order.
        return_inverse: also the position in the result of every element of input.
        return_counts: also how often each distinct element occurs.

    Example:
        >>> import flambeau as fb
        >>> fb.unique(fb.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
    """
    return _asked(_distinct(input, dim, "unique", True), return_inverse, return_counts)


@reduction
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    """The elements (or slices along dim) without those that equal the one before.

    Args: as those of `unique`.

    Example:
        >>> import flambeau as fb
        >>> fb.unique_consecutive(fb.tensor([1, 1, 2, 1]))
        tensor([1, 2, 1])
    """
    return _asked(_distinct(input, dim, "unique_consecutive", False), return_inverse, return_counts)


# ---- bins
@reduction
def bincount(input: Tensor, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each integer from 0 on occurs, or the sum of the weights of its places.

    Args: minlength: the least number of bins; there are always enough for the largest integer.
    Raises: ShapeError: input is not 1-D or has negative integers, or weights has another shape.
        UnsupportedOpError: input is not of integers.

    Example:
        >>> import flambeau as fb
        >>> fb.bincount(fb.tensor([0, 2, 2]))
        tensor([1, 0, 2])
    """
    if input._kind.dtype.category != dtypes.INTEGER:
        raise UnsupportedOpError(
            f"bincount(): not implemented for {input._kind.dtype.name}, got {describe(input)}"
        )
    if minlength < 0:
        raise ShapeError(f"bincount(): minlength should be >= 0, got {minlength}")
    shape = input._a.shape
    if len(shape) != 1 or (shape[0] and reduce_min(input, None, False).item() < 0):
        raise ShapeError(
            f"bincount() only supports 1-d non-negative integral inputs, got {describe(input)}"
        )
    if weights is not None and weights._a.shape != shape:
        raise ShapeError(
            f"bincount(): weights should have the same shape as input, got {describe(weights)} for {describe(input)}"
        )
    size = max(minlength, int(reduce_max(input, None, False).item()) + 1 if shape[0] else 0)
    if weights is None:
        weights = filled(shape, 1, wrap(input._a, input._kind.int64))
    elif weights._kind.dtype is not dtypes.float32:
        weights = convert(weights, weights._kind.of(dtypes.float64))
    return tally(weights.detach(), convert(input, input._kind.int64), size)


def _limits(name: str, x: Tensor, limits: Any) -> tuple[float, float]:
    """The range of the bins: as given, or that of the elements; half a unit to each side where it is empty."""
    if limits is None:
        if x.numel() == 0:
            return 0.0, 1.0
        limits = reduce_min(x, None, False).item(), reduce_max(x, None, False).item()
    low, high = limits
    if low > high:
        raise ShapeError(f"{name}(): max must be larger than min, got min={low} and max={high}")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ShapeError(f"{name}(): range of [{low}, {high}] is not finite ({describe(x)})")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _check_bins(name: str, input: Tensor, bins: Any) -> None:
    if not input._kind.dtype.is_floating_point:
        raise UnsupportedOpError(
            f"{name}(): not implemented for {input._kind.dtype.name}, got {describe(input)}. Hint: x.float()"
        )
    if isinstance(bins, int) and bins <= 0:
        raise ShapeError(f"{name}(): bins must be > 0, but got {bins}")


def _bin(x: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Number of the even bin that each element falls in."""
    place = convert(floor(div(mul(sub(x, low), bins), high - low)), x._kind.int64)
    return minimum(maximum(place, 0), bins - 1)


def _inside(x: Tensor, low: float, high: float) -> Tensor:
    return bitwise_and(ge(x, low), le(x, high))


@reduction
def histc(
    input: Tensor, bins: int = 100, min: float = 0, max: float = 0, *, out: Any = None
) -> Tensor:
    """How many elements fall in each of `bins` even bins between min and max (those of input if equal).

    Raises: ShapeError: bins < 1, max < min, or a range that is not finite.  UnsupportedOpError: not floating-point.

    Example:
        >>> import flambeau as fb
        >>> fb.histc(fb.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
        tensor([0., 2., 1., 0.])
    """
    _check_bins("histc", input, bins)
    x = reshape(input.detach(), (-1,))
    low, high = _limits("histc", x, None if min == max else (min, max))
    inside = _inside(x, low, high)
    place = _bin(where(inside, x, low), low, high, bins)
    found: Tensor = tally(convert(inside, x._kind), place, bins)
    return found if out is None else write_out(found, out)


def _edges(x: Tensor, bins: Any, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The edges of the bins, and the number of the bin that each element falls in."""
    if isinstance(bins, Tensor):
        n = bins._a.shape[0] - 1
        below = le(reshape(bins, (1, -1)), reshape(x, (-1, 1)))
        place = sub(reduce_sum(convert(below, x._kind.int64), (1,), False), 1)
        return bins, minimum(maximum(place, 0), n - 1)
    edges = linspace(low, high, bins + 1, dtype=x.dtype, device=x.device)
    place = _bin(x, low, high, bins)
    # rounding may have put an element on the wrong side of an edge
    place = where(lt(x, pick(edges, place, 0)), maximum(sub(place, 1), 0), place)
    return edges, where(
        ge(x, pick(edges, add(place, 1), 0)), minimum(add(place, 1), bins - 1), place
    )


def _histogram(
    name: str, x: Tensor, bins: list[Any], ranges: Any, weight: Any, density: bool
) -> tuple[Tensor, list[Tensor]]:
    """Counts over the bins of every column of x, and the edges."""
    n, columns = x._a.shape
    weights = filled((n,), 1, x) if weight is None else reshape(weight.detach(), (-1,))
    flat: Any = 0
    edges = []
    for d in range(columns):
        column, b = select(x, 1, d), bins[d]
        if isinstance(b, Tensor):
            low, high = b[0].item(), b[-1].item()
        else:
            given = None if ranges is None else (float(ranges[2 * d]), float(ranges[2 * d + 1]))
            low, high = _limits(name, column, given)
        inside = _inside(column, low, high)
        edge, place = _edges(where(inside, column, low), b, low, high)
        weights = where(inside, weights, 0.0)
        edges.append(edge)
        flat = add(mul(place, 1), mul(flat, edge._a.shape[0] - 1) if d else 0)
    shape = [e._a.shape[0] - 1 for e in edges]
    hist = reshape(tally(weights, flat, math.prod(shape)), tuple(shape))
    if density:
        hist = div(hist, reduce_sum(hist, None, False))
        for d, edge in enumerate(edges):
            widths = reshape(sub(edge[1:], edge[:-1]), (-1,) + (1,) * (columns - d - 1))
            hist = div(hist, widths)
    return hist, edges


@reduction
def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: Any = None,
    weight: Any = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """Counts of the elements in bins, and the edges of the bins; the last bin includes its upper edge.

    Args: bins: their number, or a 1-D tensor of increasing edges.  range: (low, high) of even bins; those of input if
        not given.  weight: what each element counts.  density: scale the counts so that the integral is 1.
    Raises: ShapeError, UnsupportedOpError: as `histc`.

    Example:
        >>> import flambeau as fb
        >>> fb.histogram(fb.tensor([1.0, 2.0, 1.0]), bins=2, range=(0.0, 3.0)).hist
        tensor([2., 1.])
    """
    _check_bins("histogram", input, bins)
    x = reshape(input.detach(), (-1, 1))
    hist, edges = _histogram("histogram", x, [bins], range, weight, density)
    return results(return_types.histogram, (hist, edges[0]), out)


@reduction
def histogramdd(
    input: Tensor, bins: Any, range: Any = None, weight: Any = None, density: bool = False
) -> Any:
    """Counts of points in a grid of bins, and the edges along each dimension.

    Args: input: (..., D), the last dimension holds coordinates.  bins: one number, D numbers or D tensors of edges.
        range: low and high for each dimension, one after the other.  weight, density: as in `histogram`.
    Raises: ShapeError, UnsupportedOpError: as `histc`.
    """
    columns = input._a.shape[-1]
    each = [bins] * columns if isinstance(bins, int) else list(bins)
    for b in each:
        _check_bins("histogramdd", input, b)
    x = reshape(input.detach(), (-1, columns))
    hist, edges = _histogram("histogramdd", x, each, range, weight, density)
    return return_types.histogramdd(hist, tuple(edges))


PUBLIC = Public(both="unique unique_consecutive bincount histc histogram", functions="histogramdd")
