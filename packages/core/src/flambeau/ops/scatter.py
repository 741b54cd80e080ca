"""gather, scatter and its reductions: a position for every element, along one dimension."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.inplace import update
from flambeau.dtypes import FLOATING
from flambeau.errors import ArgumentError, DTypeError, ShapeError
from flambeau.ops import elementwise as ew, positions
from flambeau.ops._op import inplace_of
from flambeau.ops._public import Public
from flambeau.ops._recover import write_out
from flambeau.ops.movement import _expand, _slice, _view, reshape
from flambeau.shape import wrap_dim
from flambeau.tensor import Tensor, describe, wrap

Index = Tensor  # an operand that must be int64


# ---- gather and scatter
def _check_index(op: str, input: Tensor, dim: int, index: Any) -> tuple[int, Tensor]:
    """The wrapped dimension and index, which has input's rank and is no larger in the other dimensions."""
    if not isinstance(index, Tensor):
        raise ArgumentError(f"{op}(): argument 'index' must be Tensor, not {type(index).__name__}")
    have, sizes = input._a.shape or (1,), index._a.shape or (1,)
    if not 0 <= dim < len(have):
        dim = wrap_dim(dim, len(input._a.shape), op)
    if index._kind.dtype.category != dtypes.INTEGER:
        raise DTypeError(
            f"{op}(): Expected dtype int32/int64 for index, got {describe(index)}. Hint: index.long()"
        )
    if len(sizes) != len(have):
        if 0 in sizes:
            return dim, positions.zeros((0,) * len(have), input._kind.int64)
        raise ShapeError(
            f"{op}(): Index tensor must have the same number of dimensions as input tensor, got {describe(index)} and "
            f"{describe(input)}"
        )
    for d, n in enumerate(sizes):
        if n > have[d] and d != dim and 0 not in sizes:
            raise ShapeError(
                f"{op}(): Size does not match at dimension {d} expected index {list(sizes)} to be no larger than self "
                f"{list(have)} apart from dimension {dim}"
            )
    return dim, index


def gather(
    input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None
) -> Tensor:
    """The elements at index along dim: out[i][j] = input[index[i][j]][j] for dim 0 of a matrix.

    Args: index: int64, of input's rank, no larger than input but along dim; it gives the result's shape.
    Raises: ShapeError: index does not fit.  IndexRangeError: a position is outside [0, size).

    Example:
        >>> import flambeau as fb
        >>> fb.gather(fb.tensor([[1, 2], [3, 4]]), 1, fb.tensor([[0, 0], [1, 0]]))
        tensor([[1, 1],
                [4, 3]])
    """
    dim, at = _check_index("gather", input, dim, index)
    picked = positions.gather(input, at, dim)
    if at is not index and picked._a.shape != index._a.shape:
        picked = reshape(picked, index._a.shape)
    return picked if out is None else write_out(picked, out)


def _source(op: str, input: Tensor, index: Tensor, src: Any, dim: int) -> Tensor:
    """src cut or, if it is a number, expanded to index's shape."""
    if not isinstance(src, Tensor):
        kind = input._kind
        one = src if src.__class__ in kind.weak else positions.scalar(src, kind).item()
        return wrap(kind.k["expand"](kind.k["fill"]((), one, kind.dtype), index._a.shape), kind)
    if src._kind.dtype is not input._kind.dtype:
        raise DTypeError(
            f"{op}(): Expected self.dtype to be equal to src.dtype, got {describe(input)} and {describe(src)}. "
            f"Hint: src.to({input.dtype!r})"
        )
    have, sizes = src._a.shape, index._a.shape
    if have == sizes:
        return src
    have, sizes = have or (1,), sizes or (1,)
    if 0 in sizes:
        return positions.zeros(index._a.shape, src._kind)
    if len(have) != len(sizes):
        raise ShapeError(
            f"{op}(): Index tensor must have the same number of dimensions as src tensor, got {describe(index)} and "
            f"{describe(src)}"
        )
    for n, m in zip(sizes, have, strict=True):
        if n > m:
            raise ShapeError(
                f"{op}(): Expected index {list(sizes)} to be no larger than self {list(input._a.shape)} apart from "
                f"dimension {dim} and to be no larger size than src {list(have)}"
            )
    cut = _slice(positions.at_least_1d(src), tuple(slice(0, n) for n in sizes))
    return cut if index._a.shape else _view(cut, ())


_VALUE = object()


def _one_source(op: str, src: Any, value: Any) -> Any:
    if (src is _VALUE) == (value is _VALUE):
        raise ArgumentError(f"{op}(): needs one of src and value")
    return value if src is _VALUE else src


_HOW: dict[str | None, tuple[Any, str]] = {
    None: (positions.scatter_set, "set"),
    "add": (positions.scatter_add, "add"),
    "multiply": (positions.scatter_mul, "mul"),
}


def _scatter_kind(reduce: str | None) -> tuple[Any, str]:
    if reduce not in _HOW:
        raise ShapeError(
            f"scatter(): reduce argument must be either add or multiply, got {reduce!r}"
        )
    return _HOW[reduce]


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = _VALUE, *, value: Any = _VALUE,
    reduce: str | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """input with src (a tensor, or one number as value) put at index along dim; the reverse of gather.

    Args: reduce: "add" or "multiply" combines with what is there instead of replacing it.
    Raises: ShapeError: index or src does not fit.  IndexRangeError: a position is outside [0, size).

    Example:
        >>> import flambeau as fb
        >>> fb.zeros(2, 3).scatter(1, fb.tensor([[2], [0]]), 1.0)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    dim, index = _check_index("scatter", input, dim, index)
    values = _source("scatter", input, index, _one_source("scatter", src, value), dim)
    run, how = _scatter_kind(reduce)
    done: Tensor = run(input, index, values, dim, how, out=out)
    return done


_add_ = inplace_of(positions.scatter_add)
_HOW_: dict[str, Any] = {
    "set": inplace_of(positions.scatter_set), "add": _add_, "mul": inplace_of(positions.scatter_mul),
}  # fmt: skip


def scatter_(
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Any = _VALUE,
    *,
    value: Any = _VALUE,
    reduce: str | None = None,
) -> Tensor:
    """In-place version of scatter."""
    dim, index = _check_index("scatter_", self, dim, index)
    values = _source("scatter_", self, index, _one_source("scatter_", src, value), dim)
    how = _scatter_kind(reduce)[1]
    changed: Tensor = _HOW_[how](self, index, values, dim, how)
    return changed


def scatter_add(
    input: Tensor, dim: int, index: Tensor, src: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """input with src's elements added at index along dim; positions may repeat.

    Raises: ShapeError: index or src does not fit.  IndexRangeError: a position is outside [0, size).
    """
    dim, index = _check_index("scatter_add", input, dim, index)
    src = _source("scatter_add", input, index, src, dim)
    return positions.scatter_add(input, index, src, dim, "add", out=out)


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """In-place version of scatter_add."""
    dim, index = _check_index("scatter_add_", self, dim, index)
    src = _source("scatter_add_", self, index, src, dim)
    return _add_(self, index, src, dim, "add")  # type: ignore[no-any-return]


# ---- reductions into positions
_REDUCTIONS = ["sum", "prod", "mean", "amax", "amin"]


def _neutral(reduce: str, d: Any) -> Any:
    """What changes nothing: the value that stands for an input that is left out."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if d.category >= FLOATING:
        return float("-inf") if reduce == "amax" else float("inf")
    if d is dtypes.bool_:
        return reduce == "amin"
    limits = dtypes.iinfo(d)
    return limits.min if reduce == "amax" else limits.max


def _reduced(
    input: Tensor, index: Tensor, src: Tensor, dim: int, reduce: str, include_self: bool
) -> Tensor:
    start = input
    if not include_self:
        neutral = positions.zeros((), input._kind, _neutral(reduce, input._kind.dtype))
        start = positions.scatter_set(input, index, _expand(neutral, index._a.shape), dim, "set")
    if reduce == "prod":
        return positions.scatter_mul(start, index, src, dim, "mul")
    if reduce in ("amax", "amin"):
        return positions.scatter_extreme(start, index, src, dim, reduce[1:])
    total = positions.scatter_add(start, index, src, dim, "add")
    if reduce == "sum":
        return total
    counts = positions.zeros(input._a.shape, input._kind, 1 if include_self else 0)
    ones = _expand(positions.zeros((), input._kind, 1), index._a.shape)
    counts = positions.scatter_add(counts, index, ones, dim, "add")
    counts = ew.where(ew.eq(counts, 0), 1, counts)
    return (
        ew.div(total, counts) if input._kind.inexact is not None else ew.floor_divide(total, counts)
    )


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """input with src's elements combined in at index along dim: reduce is sum, prod, mean, amax or amin.

    Args: include_self: whether input's own element takes part where something is combined.
    Raises: ShapeError: another reduction; index or src does not fit.  IndexRangeError: a position is out of range.
    """
    _check_reduction("scatter_reduce", reduce, _REDUCTIONS)
    dim, index = _check_index("scatter_reduce", input, dim, index)
    src = _source("scatter_reduce", input, index, src, dim)
    done = _reduced(input, index, src, dim, reduce, include_self)
    return done if out is None else write_out(done, out)


def _check_reduction(op: str, reduce: str, known: list[str]) -> None:
    if reduce not in known:
        raise ShapeError(
            f"{op}(): reduce argument must be either {', '.join(known[:-1])} or {known[-1]}, got {reduce}"
        )


def scatter_reduce_(
    self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """In-place version of scatter_reduce."""
    return update(
        "scatter_reduce_", self,
        lambda x: scatter_reduce(x, dim, index, src, reduce, include_self=include_self), saves=True,
    )  # fmt: skip


PUBLIC = Public(
    both="gather scatter scatter_add scatter_reduce",
    methods="scatter_ scatter_add_ scatter_reduce_",
)
