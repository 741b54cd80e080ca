"""In-place draws from less common distributions; computed on the host, so every device gets the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes, random as streams
from flambeau.errors import DTypeError, ShapeError
from flambeau.ops.random import _overwrite, _stream
from flambeau.tensor import Tensor

_Array = np.ndarray[Any, Any]


def _drawn(
    name: str,
    x: Tensor,
    source: Any,
    generator: Any,
    transform: Callable[[_Array], _Array],
    **draw: Any,
) -> Tensor:
    """Fill x with what transform makes of numbers from a source: in float64 for float64 and integers, else float32."""
    d = x._kind.dtype
    wide = d is dtypes.float64 or d.category == dtypes.INTEGER
    numbers = source(_stream(generator), x._a.shape, "float64" if wide else "float32", **draw)
    with np.errstate(all="ignore"):
        made = transform(numbers)
        if d.category == dtypes.INTEGER:
            made = made.astype(np.int64)
        return _overwrite(name, x, x._kind.k["from_host"](made.astype(d.numpy)))


def _real(name: str, x: Tensor, integers: bool = False) -> None:
    lowest = dtypes.INTEGER if integers else dtypes.FLOATING
    if not lowest <= x._kind.dtype.category <= dtypes.FLOATING:
        raise DTypeError(
            f'{name}: "{name[:-1]}" not implemented for {x._kind.dtype.name}. Hint: x.float()'
        )


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with the number of trials up to the first success, each with probability p: 1, 2, 3, ...

    P(k) = (1 - p)^(k - 1) * p, drawn as ceil(log(u) / log(1 - p))

    Raises: ShapeError: p is not in (0, 1).  DTypeError: bool or complex tensors.
    """
    _real("geometric_", self, integers=True)
    if not 0 < p < 1:
        raise ShapeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _drawn(
        "geometric_",
        self,
        streams.uniform,
        generator,
        lambda u: np.maximum(np.ceil(np.log(u) / np.log1p(-p)), 1),
        odd=True,
    )


def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with numbers of the Cauchy distribution.

    f(x) = sigma / (pi * ((x - median)^2 + sigma^2)), drawn as median + sigma * tan(pi * (u - 1/2))

    Raises: ShapeError: sigma is not positive.  DTypeError: tensors that are not floating-point.
    """
    _real("cauchy_", self)
    if sigma <= 0:
        raise ShapeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _drawn(
        "cauchy_",
        self,
        streams.uniform,
        generator,
        lambda u: median + sigma * np.tan(np.pi * (u - 0.5)),
        odd=True,
    )


def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """Fill with numbers whose logarithm is normal with the given mean and standard deviation.

    Raises: ShapeError: std is not positive.  DTypeError: tensors that are not floating-point.
    """
    _real("log_normal_", self)
    if std <= 0:
        raise ShapeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return _drawn("log_normal_", self, streams.normal, generator, lambda n: np.exp(n * std + mean))
