# mypy: disable-error-code=has-type
# (a derivative names ops that stand further down the file, which mypy cannot follow inside a lambda)
"""Comparisons, bits, and selection by a condition."""

from __future__ import annotations

import math

from flambeau.dtypes import FLOATING
from flambeau.ops._op import Primitive, broadcast, op
from flambeau.tensor import Tensor

Mask = Tensor  # an operand that must be bool


# ---- comparison
@op(shape=broadcast, dtype="compare")
def eq(input: Tensor, other: Tensor) -> Tensor:
    """Whether elements are equal."""
    raise Primitive


@op(shape=broadcast, dtype="compare")
def ne(input: Tensor, other: Tensor) -> Tensor:
    """Whether elements differ."""
    return bitwise_not(eq(input, other))


@op(shape=broadcast, dtype="compare")
def lt(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is less."""
    raise Primitive


@op(shape=broadcast, dtype="compare")
def le(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is less or equal."""
    return bitwise_or(lt(input, other), eq(input, other))


@op(shape=broadcast, dtype="compare")
def gt(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is greater."""
    return bitwise_not(bitwise_or(le(input, other), bitwise_or(ne(input, input), ne(other, other))))


@op(shape=broadcast, dtype="compare")
def ge(input: Tensor, other: Tensor) -> Tensor:
    """Whether input is greater or equal."""
    return bitwise_not(bitwise_or(lt(input, other), bitwise_or(ne(input, input), ne(other, other))))


@op(dtype="boolean")
def isnan(input: Tensor) -> Tensor:
    """Whether elements are not a number."""
    return ne(input, input)


@op(dtype="boolean")
def isfinite(input: Tensor) -> Tensor:
    """Whether elements are neither infinite nor nan."""
    return eq(mul(input, 0), 0)


@op(dtype="boolean")
def isinf(input: Tensor) -> Tensor:
    """Whether elements are infinite."""
    return eq(abs(input), math.inf) if input._kind.dtype.category >= FLOATING else ne(input, input)


@op(dtype="boolean")
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set."""
    if input._kind.dtype.category < FLOATING:
        return lt(input, 0)
    return bitwise_or(
        lt(input, 0), lt(rdiv(where(eq(input, 0), input, 1.0), 1.0), 0)
    )  # 1 / -0.0 is -inf


# ---- bits and logic
@op(shape=broadcast, dtype="promote")
def bitwise_and(input: Tensor, other: Tensor) -> Tensor:
    """Bits set in both; logical and for bool."""
    raise Primitive


@op(shape=broadcast, dtype="promote")
def bitwise_or(input: Tensor, other: Tensor) -> Tensor:
    """Bits set in either; logical or for bool."""
    raise Primitive


@op(shape=broadcast, dtype="promote")
def bitwise_xor(input: Tensor, other: Tensor) -> Tensor:
    """Bits set in one of both."""
    raise Primitive


@op()
def bitwise_not(input: Tensor) -> Tensor:
    """All bits flipped; logical not for bool."""
    raise Primitive


@op(shape=broadcast, dtype="promote", kernel="shl")
def bitwise_left_shift(input: Tensor, other: Tensor) -> Tensor:
    """input shifted left by other bits."""
    raise Primitive


@op(shape=broadcast, dtype="promote", kernel="shr")
def bitwise_right_shift(input: Tensor, other: Tensor) -> Tensor:
    """input shifted right by other bits, keeping the sign."""
    raise Primitive


# ---- three operands
@op(shape=broadcast, dtype="promote")
def where(condition: Mask, input: Tensor, other: Tensor) -> Tensor:
    """input where condition is true, else other.

    Example:
        >>> import flambeau as fb
        >>> fb.where(fb.tensor([True, False]), fb.tensor([1.0, 2.0]), 0.0)
        tensor([1., 0.])
    """
    raise Primitive


where.vjp(
    input=lambda g, condition: where(condition, g, 0),
    other=lambda g, condition: where(
        bitwise_not(condition), g, 0
    ),  # a number first would take the long way
)


# The families call one another inside functions only, so that importing at the end is not circular.
from flambeau.ops._arithmetic import mul, rdiv  # noqa: E402
from flambeau.ops._unary import abs  # noqa: E402
