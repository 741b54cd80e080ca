"""einsum: sums of products in index notation, by permute, reshape and matmul; and cdist."""

from __future__ import annotations

import functools
import math
from typing import Any

from flambeau.errors import ArgumentError, ShapeError
from flambeau.ops._op import op
from flambeau.ops._public import Public
from flambeau.ops._recover import sum_to
from flambeau.ops.composite import clamp_min, pick
from flambeau.ops.diagonal import diagonal
from flambeau.ops.elementwise import (
    abs,
    add,
    div,
    eq,
    mul,
    ne,
    pow,
    sign,
    sqrt,
    sub,
    where,
)
from flambeau.ops.extremes import reduce_max
from flambeau.ops.linalg import matmul
from flambeau.ops.movement import _expand, _permute, movedim, reshape, transpose, unsqueeze
from flambeau.ops.reduce import reduce_sum, sum as _sum
from flambeau.shape import Shape, broadcast_shapes
from flambeau.tensor import Tensor, describe

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: What stands for the dimensions of an ellipsis, counted from the right.
_ELLIPSIS = "..."
Labels = tuple[Any, ...]


# ---- reading the equation
@functools.lru_cache(maxsize=256)
def _parsed(equation: str, ranks: Shape) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of each operand's dimensions and of the result's; ellipsis dimensions are negative numbers."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        word = "fewer" if len(terms) > len(ranks) else "more"
        raise ShapeError(
            f"einsum(): {word} operands were provided than specified in the equation: {equation!r} names {len(terms)}, "
            f"got {len(ranks)}"
        )
    inputs = tuple(
        _labels(term, rank, equation, i)
        for i, (term, rank) in enumerate(zip(terms, ranks, strict=True))
    )
    wide = max(
        (-min((x for x in labels if isinstance(x, int)), default=0) for labels in inputs), default=0
    )
    rest = tuple(range(-wide, 0))
    if not arrow:
        every = [x for labels in inputs for x in labels if isinstance(x, str)]
        return inputs, (*rest, *sorted(x for x in set(every) if every.count(x) == 1))
    return inputs, _output(right, rest, inputs, equation)


def _labels(term: str, rank: int, equation: str, i: int) -> Labels:
    before, dots, after = term.partition(_ELLIPSIS)
    for c in before + after:
        if c not in _LETTERS:
            raise ArgumentError(
                f"einsum(): invalid subscript given at operand {i} of {equation!r}: {c!r}, "
                "subscripts must be in [a-zA-Z]"
            )
    free = rank - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise ShapeError(
            f"einsum(): the number of subscripts in the equation ({len(before) + len(after)}) "
            f"{'is more than' if free < 0 else 'does not match'} the number of dimensions ({rank}) for operand {i} "
            f"{'' if dots else 'and no ellipsis was given '}in {equation!r}"
        )
    return (*before, *range(-free, 0), *after)


def _output(right: str, rest: Labels, inputs: tuple[Labels, ...], equation: str) -> Labels:
    before, dots, after = right.partition(_ELLIPSIS)
    known = {x for labels in inputs for x in labels}
    for c in before + after:
        if c not in _LETTERS:
            raise ArgumentError(
                f"einsum(): invalid subscript given in the output of {equation!r}: {c!r}"
            )
        if right.count(c) > 1:
            raise ShapeError(
                f"einsum(): output subscript {c} appears more than once in the output of {equation!r}"
            )
        if c not in known:
            raise ShapeError(
                f"einsum(): output subscript {c} does not appear in the equation for any input operand of {equation!r}"
            )
    return (*before, *(rest if dots else ()), *after)


def _from_sublists(args: tuple[Any, ...]) -> tuple[str, list[Tensor]]:
    """The equation and the operands of the other spelling: einsum(x, [0, 1], y, [1, 2], [0, 2])."""

    def term(sublist: Any) -> str:
        return "".join(_ELLIPSIS if x is Ellipsis else _letter(x) for x in sublist)

    operands = list(args[0 : len(args) - len(args) % 2 : 2])
    equation = ",".join(term(s) for s in args[1::2])
    return (f"{equation}->{term(args[-1])}" if len(args) % 2 else equation), operands


def _letter(x: int) -> str:
    if not 0 <= x < len(_LETTERS):
        raise ArgumentError(
            f"einsum(): subscripts in a list must be within the range [0, 52), got {x}"
        )
    return _LETTERS[x]


# ---- one and two operands
def _distinct(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """The diagonal over dimensions with the same label."""
    done = list(labels)
    for label in labels:
        while done.count(label) > 1:
            i = done.index(label)
            j = done.index(label, i + 1)
            if x._a.shape[i] != x._a.shape[j]:
                raise ShapeError(
                    f"einsum(): subscript {label} is repeated but the sizes don't match, {x._a.shape[j]} != "
                    f"{x._a.shape[i]} ({describe(x)})"
                )
            x = movedim(diagonal(x, 0, i, j), -1, i)
            del done[j]
    return x, tuple(done)


def _summed(x: Tensor, labels: Labels, keep: Any) -> tuple[Tensor, Labels]:
    """Without the dimensions whose label is not kept."""
    gone = tuple(i for i, label in enumerate(labels) if label not in keep)
    if not gone:
        return x, labels
    return _sum(x, gone), tuple(label for label in labels if label in keep)


def _arranged(x: Tensor, labels: Labels, order: Labels) -> Tensor:
    """Dimensions in the given order, with sizes of 1 where a label is absent."""
    present = [label for label in order if label in labels]
    dims = tuple(labels.index(label) for label in present)
    if dims != tuple(range(len(dims))):
        x = _permute(x, dims)
    if len(present) != len(order):
        sizes = iter(x._a.shape)
        x = reshape(x, tuple(next(sizes) if label in labels else 1 for label in order))
    return x


def _pair(a: Tensor, la: Labels, b: Tensor, lb: Labels, keep: Any) -> tuple[Tensor, Labels]:
    """The product of two operands, summed over the labels that nothing else needs."""
    a, la = _summed(a, la, {*lb, *keep})
    b, lb = _summed(b, lb, {*la, *keep})
    shared = [x for x in la if x in lb]
    only_a, only_b = tuple(x for x in la if x not in lb), tuple(x for x in lb if x not in la)
    batch = tuple(x for x in shared if x in keep)
    over = tuple(x for x in shared if x not in keep)
    for label in over:  # a size of 1 counts for all: sum the other side first
        m, n = a._a.shape[la.index(label)], b._a.shape[lb.index(label)]
        if m != n:
            a = a if m == 1 else _sum(a, la.index(label), True)
            b = b if n == 1 else _sum(b, lb.index(label), True)
    order = (*batch, *only_a, *only_b)
    if not over:
        return mul(_arranged(a, la, order), _arranged(b, lb, order)), order
    sizes = {
        **dict(zip(la, a._a.shape, strict=True)),
        **{x: b._a.shape[lb.index(x)] for x in only_b},
    }
    lead = broadcast_shapes(
        *(tuple(x._a.shape[labels.index(d)] for d in batch) for x, labels in ((a, la), (b, lb)))
    )
    left = _as_matrix(_arranged(a, la, (*batch, *only_a, *over)), len(batch), len(only_a))
    right = _as_matrix(_arranged(b, lb, (*batch, *over, *only_b)), len(batch), len(over))
    y = matmul(left, right)
    if len(only_a) != 1 or len(only_b) != 1:
        y = reshape(y, (*lead, *(sizes[x] for x in only_a), *(sizes[x] for x in only_b)))
    return y, order


def _as_matrix(x: Tensor, batch: int, rows: int) -> Tensor:
    """The dimensions after the batch merged into two: `rows` of them, and the rest."""
    shape = x._a.shape
    if len(shape) == batch + 2 and rows == 1:
        return x
    split = batch + rows
    return reshape(x, (*shape[:batch], math.prod(shape[batch:split]), math.prod(shape[split:])))


# ---- all operands
def _check_sizes(
    operands: list[Tensor], inputs: tuple[Labels, ...], equation: str
) -> dict[Any, int]:
    sizes: dict[Any, int] = {}
    for i, (x, labels) in enumerate(zip(operands, inputs, strict=True)):
        for label, n in zip(labels, x._a.shape, strict=True):
            have = sizes.setdefault(label, n)
            if have == 1:
                sizes[label] = n
            elif n not in (1, have):
                raise ShapeError(
                    f"einsum(): operands do not broadcast with remapped shapes: subscript {label!r} of "
                    f"{equation!r} has size {n} for operand {i} which does not broadcast with "
                    f"previously seen size {have} "
                    f"({'; '.join(describe(o) for o in operands)})"
                )
    return sizes


def _next_pair(labels: list[Labels], output: Labels, sizes: dict[Any, int]) -> tuple[int, int]:
    """The two operands whose product grows memory least."""

    def size(names: Any) -> int:
        return math.prod(sizes[x] for x in names)

    def growth(i: int, j: int) -> int:
        keep = {*output, *(x for k, names in enumerate(labels) if k not in (i, j) for x in names)}
        both = {*labels[i], *labels[j]}
        return size(both & keep) - size(set(labels[i])) - size(set(labels[j]))

    pairs = [(i, j) for j in range(len(labels)) for i in range(j)]
    return min(pairs, key=lambda p: growth(*p))


def einsum(*args: Any) -> Tensor:
    """Sums of products of tensors, in Einstein's index notation.

    Args:
        args: an equation and the operands, `einsum("bij,bjk->bik", x, y)`; without "->" the result has, in alphabetical
            order, the labels that occur once. "..." stands for dimensions that broadcast. Or operands each followed by
            a list of integer labels, and at last the result's: `einsum(x, [0, 1], y, [1, 2], [0, 2])`.
    Raises: ShapeError: labels do not fit the operands' shapes.  ArgumentError: a label that is not a letter.

    Example:
        >>> import flambeau as fb
        >>> fb.einsum("ij->ji", fb.tensor([[1, 2], [3, 4]]))
        tensor([[1, 3],
                [2, 4]])
    """
    if not args or (isinstance(args[0], str) and len(args) < 2):
        raise ArgumentError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    if isinstance(args[0], str):
        equation, rest = args[0], args[1:]
        operands = (
            list(rest[0]) if len(rest) == 1 and isinstance(rest[0], list | tuple) else list(rest)
        )
    else:
        equation, operands = _from_sublists(args)
    for x in operands:
        if not isinstance(x, Tensor):
            raise ArgumentError(f"einsum(): operands must be Tensors, not {type(x).__name__}")
    inputs, output = _parsed(equation, tuple(x.dim() for x in operands))
    done = [_distinct(x, labels) for x, labels in zip(operands, inputs, strict=True)]
    tensors, labels = [x for x, _ in done], [names for _, names in done]
    sizes = _check_sizes(tensors, tuple(labels), equation)
    while len(tensors) > 1:
        i, j = (0, 1) if len(tensors) == 2 else _next_pair(labels, output, sizes)
        (b, lb), (a, la) = (tensors.pop(j), labels.pop(j)), (tensors.pop(i), labels.pop(i))
        made, names = _pair(a, la, b, lb, {*output, *(x for other in labels for x in other)})
        tensors.append(made)
        labels.append(names)
    y, names = _summed(tensors[0], labels[0], output)
    return _arranged(y, names, output)


# ---- distances
def _distances(x1: Shape, x2: Shape, p: float) -> Shape:
    if len(x1) < 2 or len(x2) < 2 or x1[-1] != x2[-1]:
        raise ShapeError(f"cdist: needs (*, n, d) and (*, m, d), got {list(x1)} and {list(x2)}")
    return (*broadcast_shapes(x1[:-2], x2[:-2]), x1[-2], x2[-2])


@op(shape=_distances, dtype="floating", kernel="cdist", node="CdistBackward0")
def _cdist(x1: Tensor, x2: Tensor, p: float) -> Tensor:
    if p == 2 and (x1._a.shape[-2] > 25 or x2._a.shape[-2] > 25):
        # |a|^2 + |b|^2 - 2 a b, as differences of all pairs would take d times the memory
        squares = add(_sum(mul(x1, x1), -1, True), transpose(_sum(mul(x2, x2), -1, True), -1, -2))
        return sqrt(clamp_min(sub(squares, mul(matmul(x1, transpose(x2, -1, -2)), 2)), 0))
    gap = abs(_gaps(x1, x2))
    if not gap._a.shape[-1]:
        return _sum(gap, -1)
    last = (len(gap._a.shape) - 1,)
    if p == math.inf:
        return reduce_max(gap, last, False)
    if p == 0:
        return reduce_sum(ne(gap, 0).to(gap.dtype), last, False)
    if p == 2:
        return sqrt(reduce_sum(mul(gap, gap), last, False))
    return (
        reduce_sum(gap, last, False) if p == 1 else pow(reduce_sum(pow(gap, p), last, False), 1 / p)
    )


def _gaps(x1: Tensor, x2: Tensor) -> Tensor:
    return sub(unsqueeze(x1, -2), unsqueeze(x2, -3))


def _cdist_back(g: Tensor, x1: Tensor, x2: Tensor, y: Tensor, p: float) -> Tensor:
    """The gradient of x1, before sums over broadcast batches; equal rows pass nothing."""
    if p == 0:
        return mul(_sum(unsqueeze(g, -1), -2), 0)
    far = pick(eq(y, 0), 1, y)
    ratio = where(eq(y, 0), mul(g, 0), div(g, far) if p == 2 else g)
    if p == 2:
        return sub(mul(x1, _sum(ratio, -1, True)), matmul(ratio, x2))
    gap = _gaps(x1, x2)
    if p == math.inf:
        slope = mul(sign(gap), eq(abs(gap), unsqueeze(y, -1)).to(g.dtype))
    elif p == 1:
        slope = sign(gap)
    else:
        size = pick(eq(gap, 0), 1, abs(gap))
        slope = mul(mul(sign(gap), pow(size, p - 1)), pow(unsqueeze(far, -1), 1 - p))
    return _sum(mul(unsqueeze(ratio, -1), slope), -2)


def _x2_back(g: Tensor, x1: Tensor, x2: Tensor, y: Tensor, p: float) -> Tensor:
    return _cdist_back(transpose(g, -1, -2), x2, x1, transpose(y, -1, -2), p)


_cdist.vjp(
    x1=lambda g, x1, x2, y, p, x1_shape: _fit(_cdist_back(g, x1, x2, y, p), x1_shape),
    x2=lambda g, x1, x2, y, p, x2_shape: _fit(_x2_back(g, x1, x2, y, p), x2_shape),
)


def _fit(g: Tensor, shape: Shape) -> Tensor:
    if len(g._a.shape) >= len(shape) and g._a.shape != shape:
        g = _expand(g, (*g._a.shape[:-2], *shape[-2:])) if g._a.shape[-2:] != shape[-2:] else g
        return sum_to(g, shape) if g._a.shape != shape else g
    return g


def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """p-norm distances between the rows of two (batches of) matrices: (*, n, d), (*, m, d) -> (*, n, m).

    Args:
        x1, x2: floating-point; batch dimensions broadcast.
        p: not negative; 0 counts the entries that differ, inf takes the largest difference.
        compute_mode: accepted for PyTorch's sake: beyond 25 rows, Euclidean distances come from a matrix product.
    Raises: ShapeError: rows of different lengths.  ArgumentError: p < 0.
    """
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise ShapeError(
                f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D ({describe(x)})"
            )
    if x1._a.shape[-1] != x2._a.shape[-1]:
        raise ShapeError(
            f"X1 and X2 must have the same number of columns. X1: {x1._a.shape[-1]} X2: {x2._a.shape[-1]} "
            f"(cdist of {describe(x1)} and {describe(x2)})"
        )
    if not p >= 0:
        raise ArgumentError(f"cdist only supports non-negative p values, got {p}")
    return _cdist(x1, x2, float(p))


PUBLIC = Public(functions="einsum cdist")
