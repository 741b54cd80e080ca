"""Covariance and correlation, finite differences, Vandermonde matrices: what NumPy's users look for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from flambeau import dtypes
from flambeau.errors import ArgumentError, DTypeError, ShapeError
from flambeau.ops.casting import convert
from flambeau.ops.complex_parts import complex as complex_of
from flambeau.ops.join import cat
from flambeau.ops.movement import select
from flambeau.ops.rearrange import flip
from flambeau.ops.scan import cumprod
from flambeau.shape import wrap_dim
from flambeau.tensor import Tensor, describe

_NUMBERS = (bool, int, float, complex)


# ---- covariance
def _weights(name: str, w: Any, observations: int, category: int) -> Any:
    """Weights of cov, checked."""
    kind = "integral" if category == dtypes.INTEGER else "floating point"
    if len(w._a.shape) > 1:
        raise ShapeError(
            f"cov(): expected {name} to have one or fewer dimensions, got {describe(w)}"
        )
    if w._kind.dtype.category != category:
        raise DTypeError(f"cov(): expected {name} to have {kind} dtype, got {describe(w)}")
    if w.numel() != observations:
        raise ShapeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input "
            f"but got {w.numel()} != {observations}"
        )
    if w.numel() and w.min().item() < 0:
        raise ShapeError(f"cov(): {name} cannot be negative")
    return w


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """Covariances of variables, one a row, over observations, one a column: (n, m) -> (n, n); a 0-d variance of 1-D.

    sum_k w_k * (x_ik - mean_i) * conj(x_jk - mean_j) / norm

    norm = sum(w) - correction * sum(w * aweights) / sum(w), and sum(w) - correction without aweights.

    Args: correction: 1 for the unbiased estimate, 0 for the average.  fweights: how often each observation counts
        (integers).  aweights: the observations' relative weights (floating-point).
    Raises: ShapeError: three or more dimensions; weights that do not fit or are negative.  DTypeError: bool input,
        weights of another dtype.

    Example:
        >>> import flambeau as fb
        >>> fb.cov(fb.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    if len(input._a.shape) > 2:
        raise ShapeError(
            f"cov(): expected input to have two or fewer dimensions, got {describe(input)}"
        )
    if input._kind.dtype is dtypes.bool_:
        raise DTypeError("cov(): bool dtype is not supported for input. Hint: x.float()")
    if not isinstance(correction, int):
        raise ArgumentError(f"cov(): argument 'correction' must be int, not {correction!r}")
    x: Any = input if len(input._a.shape) == 2 else input.reshape(1, -1)
    n = x._a.shape[1]
    w: Any = None
    if fweights is not None:
        w = _weights("fweights", fweights, n, dtypes.INTEGER).reshape(-1)
    if aweights is not None:
        a: Any = _weights("aweights", aweights, n, dtypes.FLOATING).reshape(-1)
        w = a if w is None else w * a
    total: Any = n if w is None else w.sum()
    if w is not None and total.item() == 0:
        raise ShapeError("cov(): weights sum to zero, can't be normalized")
    norm = total
    if correction:
        norm = total - (correction if aweights is None else correction * (w * a).sum() / total)
    if norm <= 0:
        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
            stacklevel=2,
        )
        norm = norm * 0
    away = x - ((x if w is None else x * w).sum(1) / (total or float("nan"))).unsqueeze(1)
    products: Any = away.matmul((away if w is None else away * w).mH)
    made: Tensor = products.div(norm).squeeze()
    return made


def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables, one a row, over observations, one a column.

    R_ij = C_ij / sqrt(C_ii * C_jj), C = cov(input)

    Raises: ShapeError: three or more dimensions.
    """
    if len(input._a.shape) > 2:
        raise ShapeError(
            f"corrcoef(): expected input to have two or fewer dimensions, got {describe(input)}"
        )
    c: Any = cov(input)
    if not c._a.shape:
        return c / c  # type: ignore[no-any-return]
    spread = (c.diag().real if c.is_complex() else c.diag()).sqrt()
    c = c / spread.unsqueeze(1) / spread
    if c.is_complex():
        return complex_of(c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)  # type: ignore[no-any-return]


# ---- finite differences
def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Estimates of the partial derivatives of sampled values, one tensor for each dimension in dim.

    Second-order central differences inside; one-sided differences of the given order at both ends.

    Args: spacing: the distance of neighbours: one number, one for each dimension, or for each dimension a 1-D tensor
        of coordinates.  dim: one dimension or several; all if None.  edge_order: 1 or 2.
    Raises: ShapeError: fewer than edge_order + 1 samples along a dimension, or spacing does not fit dim.

    Example:
        >>> import flambeau as fb
        >>> fb.gradient(fb.tensor([0.0, 1.0, 4.0, 9.0]))
        (tensor([1., 2., 4., 5.]),)
    """
    shape = input._a.shape
    if input._kind.dtype in (dtypes.uint8, dtypes.bool_):
        raise DTypeError(
            f"gradient: does not support {input._kind.dtype.name} input. Hint: x.float()"
        )
    if edge_order not in (1, 2):
        raise ShapeError(f"gradient: only supports edge_order=1 and edge_order=2, got {edge_order}")
    given = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [wrap_dim(d, len(shape), "gradient") for d in given]
    if len(set(dims)) != len(dims):
        raise ShapeError(f"gradient: a dimension appears multiple times in dim={dim}")
    steps = _steps(spacing, dims, shape)
    for d in dims:
        if shape[d] < edge_order + 1:
            raise ShapeError(
                f"gradient: expected each dimension size to be at least edge_order+1 = {edge_order + 1}, got "
                f"{describe(input)}"
            )
    return tuple([_slopes(input, d, s, edge_order) for d, s in zip(dims, steps)])


def _steps(spacing: Any, dims: list[int], shape: Any) -> list[Any]:
    """For each dimension a number, or the differences of its coordinates."""
    if spacing is None:
        spacing = 1
    if isinstance(spacing, Tensor) and not spacing._a.shape:
        spacing = spacing.item()
    if isinstance(spacing, _NUMBERS):
        return [spacing] * len(dims)
    if not isinstance(spacing, Sequence):
        raise ArgumentError(
            f"gradient: spacing must be a number, numbers or 1-D tensors in a sequence, got {spacing!r}"
        )
    if len(spacing) != len(dims):
        raise ShapeError(
            f"gradient: expected spacing to be unspecified, a scalar, or as long as the dimensions, got {len(spacing)} "
            f"for {len(dims)} dimensions"
        )
    found = []
    for s, d in zip(spacing, dims):
        if not isinstance(s, Tensor):
            found.append(s)
            continue
        if s._a.shape != (shape[d],):
            raise ShapeError(
                f"gradient: expected each element of spacing to have one dimension, of size {shape[d]} for dim {d}, "
                f"got {describe(s)}"
            )
        found.append(s[1:] - s[:-1])
    return found


def _slopes(x: Any, d: int, step: Any, order: int) -> Tensor:
    """The differences along one dimension, from both ends and the middle."""
    n = x._a.shape[d]
    at = [select(x, d, i) for i in (0, 1, -2, -1)]
    low, mid, high = (x.narrow(d, i, n - 2) for i in (0, 1, 2)) if n > 2 else (None,) * 3
    if not isinstance(step, Tensor):
        first, last = (at[1] - at[0]) / step, (at[3] - at[2]) / step
        inner = None if high is None else (high - low) / (2 * step)
        if order == 2:
            near, far = select(x, d, 2), select(x, d, -3)
            first = (at[0] * -1.5 + at[1] * 2 - near * 0.5) / step
            last = (at[3] * 1.5 - at[2] * 2 + far * 0.5) / step
    else:
        h: Any = step
        first, last = (at[1] - at[0]) / h[0], (at[3] - at[2]) / h[-1]
        inner = None
        if high is not None:
            a, b = (
                v.reshape([-1 if i == d else 1 for i in range(x.dim())]) for v in (h[:-1], h[1:])
            )
            inner = (
                low * (-b / (a * (a + b))) + mid * ((b - a) / (a * b)) + high * (a / (b * (a + b)))
            )
        if order == 2:
            near, far = select(x, d, 2), select(x, d, -3)
            first = _end(at[0], at[1], near, h[0], h[1])
            last = -_end(at[3], at[2], far, h[-1], h[-2])
    ends = [first.unsqueeze(d), last.unsqueeze(d)]
    return cat(ends if inner is None else [ends[0], inner, ends[1]], d)


def _end(here: Any, near: Any, far: Any, a: Any, b: Any) -> Any:
    """Derivative at an end from its value, that at distance a and that at distance a + b."""
    return (
        here * (-(2 * a + b) / (a * (a + b)))
        + near * ((a + b) / (a * b))
        - far * (a / (b * (a + b)))
    )


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix whose columns are powers of x: N - 1 down to 0, or 0 up to N - 1; N is the length of x if None.

    Raises: ShapeError: x is not one-dimensional, or N is negative.

    Example:
        >>> import flambeau as fb
        >>> fb.vander(fb.tensor([1, 2, 3]))
        tensor([[1, 1, 1],
                [4, 2, 1],
                [9, 3, 1]])
    """
    if len(x._a.shape) != 1:
        raise ShapeError(f"vander: x must be a one-dimensional tensor, got {describe(x)}")
    n = x._a.shape[0] if N is None else N
    if n < 0:
        raise ShapeError(f"vander: N must be non-negative, got {n}")
    base: Any = convert(x, x._kind.of(dtypes.promote_types(x.dtype, dtypes.int64)))
    rows = base._a.shape[0]
    parts: list[Any] = [base.new_ones(rows, min(n, 1))]
    if n > 1:
        parts.append(cumprod(base.unsqueeze(1).expand(rows, n - 1), 1))
    made = cat(parts, 1)
    return made if increasing else flip(made, (1,))
