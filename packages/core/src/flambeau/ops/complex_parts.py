"""Complex numbers: their parts, angle and conjugate, and the real views of their memory."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.errors import DTypeError, ShapeError
from flambeau.ops._op import Primitive, broadcast, op, same
from flambeau.ops._public import Public
from flambeau.ops.casting import contiguous, convert, copy_
from flambeau.ops.elementwise import (
    abs,
    atan2,
    conj_physical,
    cos,
    div,
    eq,
    isnan,
    lt,
    mul,
    sin,
    where,
)
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe


# ---- parts
@op(shape=same, dtype="real", view=True, kernel="real", node="RealBackward0")
def _real(input: Tensor) -> Tensor:
    """The real parts, in the same memory."""
    raise Primitive


@op(shape=same, dtype="real", view=True, kernel="imag", node="ImagBackward0")
def _imag(input: Tensor) -> Tensor:
    """The imaginary parts, in the same memory."""
    raise Primitive


_real.vjp(input=lambda g, input_kind: convert(g, input_kind))
_imag.vjp(input=lambda g, input_kind: mul(convert(g, input_kind), 1j))


def real(input: Tensor) -> Tensor:
    """The real part, sharing memory; a real tensor is its own."""
    return _real(input) if input._kind.dtype.is_complex else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part of a complex tensor, sharing memory.

    Raises: DTypeError: not a complex tensor.
    """
    if not input._kind.dtype.is_complex:
        raise DTypeError(
            f"imag is not implemented for tensors with non-complex dtypes, got {describe(input)}. Hint: zeros_like(x)"
        )
    return _imag(input)


def _set_real(self: Tensor, value: Any) -> None:
    copy_(real(self), value)


def _set_imag(self: Tensor, value: Any) -> None:
    copy_(imag(self), value)


def _with_last_two(x: Shape) -> Shape:
    return (*x, 2)


def _without_last_two(x: Shape) -> Shape:
    if not x or x[-1] != 2:
        raise ShapeError(
            f"view_as_complex: Tensor must have a last dimension of size 2, got shape {list(x)}"
        )
    return x[:-1]


@op(
    shape=_with_last_two, dtype="real", view=True, kernel="view_as_real", node="ViewAsRealBackward0"
)
def _view_as_real(input: Tensor) -> Tensor:
    raise Primitive


@op(
    shape=_without_last_two,
    dtype="complex",
    view=True,
    kernel="view_as_complex",
    node="ViewAsComplexBackward0",
)
def _view_as_complex(input: Tensor) -> Tensor:
    raise Primitive


_view_as_real.vjp(input=lambda g: _view_as_complex(contiguous(g)))
_view_as_complex.vjp(input=lambda g: _view_as_real(g))


def view_as_real(input: Tensor) -> Tensor:
    """Real and imaginary parts along a new last dimension, sharing memory.

    Raises: DTypeError: not a complex tensor.

    Example:
        >>> import flambeau as fb
        >>> fb.view_as_real(fb.tensor([1 + 2j]))
        tensor([[1., 2.]])
    """
    if not input._kind.dtype.is_complex:
        raise DTypeError(
            f"view_as_real is only supported for complex tensors, got {describe(input)}"
        )
    return _view_as_real(input)


def view_as_complex(input: Tensor) -> Tensor:
    """Pairs along the last dimension as complex numbers, sharing memory.

    Raises: DTypeError: not float32 or float64.  ShapeError: the last dimension is not of size 2 and without gaps.
    """
    if input._kind.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(
            f"view_as_complex is only supported for float and double tensors, but got {describe(input)}. "
            "Hint: x.float()"
        )
    _without_last_two(input._a.shape)
    if input.stride(-1) != 1:
        raise ShapeError(
            f"view_as_complex: Tensor must have a last dimension with stride 1, got stride {input.stride(-1)} "
            f"({describe(input)}). Hint: x.contiguous()"
        )
    return _view_as_complex(input)


# ---- making complex numbers
@op(shape=broadcast, dtype="complex", kernel="complex", node="ComplexBackward0")
def _complex(real: Tensor, imag: Tensor) -> Tensor:
    kind = real._kind.siblings[real._kind.dtype.to_complex()]
    return convert(real, kind) + mul(convert(imag, kind), 1j)


_complex.vjp(real=lambda g: _real(g), imag=lambda g: _imag(g))


def _one_float_dtype(name: str, first: Tensor, second: Tensor) -> None:
    for x in (first, second):
        if not isinstance(x, Tensor) or not x._kind.dtype.is_floating_point:
            raise DTypeError(
                f"{name}: Expected both inputs to be Float or Double tensors but got {describe(x)}. Hint: x.float()"
            )
    if first._kind.dtype is not second._kind.dtype:
        raise DTypeError(
            f"{name}: Expected object of scalar type {first._kind.dtype.name} but got scalar type "
            f"{second._kind.dtype.name} for second argument ({describe(first)}; {describe(second)})"
        )


def complex(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """real + i imag.

    Args:
        real, imag: float32 or float64 tensors of one dtype, whose shapes broadcast.
        out: where to put the result.
    Raises: DTypeError: other dtypes, or two.

    Example:
        >>> import flambeau as fb
        >>> fb.complex(fb.tensor([1.0]), fb.tensor([2.0]))
        tensor([1.+2.j])
    """
    _one_float_dtype("complex", real, imag)
    return _complex(real, imag, out=out)


def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Complex numbers of the given magnitudes and angles (in radians).

    Raises: DTypeError: the operands are not of one floating-point dtype.
    """
    _one_float_dtype("polar", abs, angle)
    return _complex(mul(abs, cos(angle)), mul(abs, sin(angle)), out=out)


# ---- angle and conjugate
@op(dtype="real", kernel="angle", node="AngleBackward0")
def _angle(input: Tensor) -> Tensor:
    if input._kind.dtype.is_complex:
        return atan2(_imag(input), _real(input))
    return where(lt(input, 0), math.pi, where(isnan(input), input, 0.0))


def _angle_back(g: Tensor, input: Tensor) -> Tensor:
    if not input._kind.dtype.is_complex:
        return mul(g, 0)
    size = abs(input)
    slope = div(mul(input, 1j), mul(size, size))
    return where(eq(size, 0), 0, mul(convert(g, input._kind), slope))


_angle.vjp(input=_angle_back)


def angle(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle of complex numbers in radians; 0 or pi for real ones."""
    if input._kind.inexact is None:
        input = convert(input, input._kind.of(dtypes.get_default_dtype()))
    return _angle(input, out=out)


def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor is its own. PyTorch's is a view, this one is computed at once."""
    return conj_physical(input) if input._kind.dtype.is_complex else input


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates are computed at once here."""
    return input


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: there are no lazy negatives here."""
    return input


def is_conj(input: Tensor) -> bool:
    """Whether it is a lazy conjugate: never, here."""
    return False


def is_neg(input: Tensor) -> bool:
    """Whether it is a lazy negative: never, here."""
    return False


PUBLIC = Public(
    both="angle conj resolve_conj resolve_neg is_conj is_neg",
    functions="real imag view_as_real view_as_complex complex polar",
    made_methods={"real": property(real, _set_real), "imag": property(imag, _set_imag)},
)
