"""assert_close: one table of tolerances, and messages that say where and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.errors import ArgumentError
from flambeau.tensor import Tensor, describe, host

#: dtype name -> (rtol, atol), as PyTorch compares.
TOLERANCES: dict[str, tuple[float, float]] = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Fail unless |actual - expected| <= atol + rtol * |expected| everywhere.

    Args: actual, expected: tensors, arrays or numbers, or sequences and mappings of them, of the same structure.
        rtol, atol: both or neither; by default those of TOLERANCES for the less precise of the two dtypes, 0
        for integers.
        equal_nan: nan equals nan.  msg: another message, or a function of the message.
    Raises: AssertionError: they differ.  ArgumentError: only one of rtol and atol is given.

    Example:
        >>> import flambeau as fb
        >>> fb.testing.assert_close(fb.tensor([1.0, 2.0]), fb.tensor([1.0, 2.0 + 1e-7]))
    """
    if (rtol is None) != (atol is None):
        raise ArgumentError("assert_close: rtol and atol must both be given or both be left out")
    problem = _differs("", actual, expected, (rtol, atol), equal_nan, check_device, check_dtype)
    if problem is not None:
        raise AssertionError(msg(problem) if callable(msg) else msg or problem)


def _differs(
    path: str,
    a: Any,
    e: Any,
    tolerances: Any,
    equal_nan: bool,
    check_device: bool,
    check_dtype: bool,
) -> str | None:
    """What differs first, or None."""
    if isinstance(e, Mapping):
        if not isinstance(a, Mapping) or set(a) != set(e):
            return f"The keys of the mappings do not match{_at(path)}: {a!r:.200} and {e!r:.200}"
        pairs = [(f"{path}[{k!r}]", a[k], e[k]) for k in e]
    elif isinstance(e, Sequence) and not isinstance(e, str):
        if not isinstance(a, Sequence) or len(a) != len(e):
            return f"The length of the sequences mismatch{_at(path)}: {a!r:.200} and {e!r:.200}"
        pairs = [(f"{path}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, e, strict=True))]
    else:
        return _differ(path, a, e, tolerances, equal_nan, check_device, check_dtype)
    for where, x, y in pairs:
        found = _differs(where, x, y, tolerances, equal_nan, check_device, check_dtype)
        if found is not None:
            return found
    return None


def _at(path: str) -> str:
    return f" at {path}" if path else ""


def _differ(
    path: str,
    a: Any,
    e: Any,
    tolerances: Any,
    equal_nan: bool,
    check_device: bool,
    check_dtype: bool,
) -> str | None:
    if isinstance(a, Tensor) and isinstance(e, Tensor):
        if a._a.shape != e._a.shape:
            return f"The values for attribute 'shape' do not match{_at(path)}: {describe(a)} != {describe(e)}."
        if check_dtype and a.dtype is not e.dtype:
            return (
                f"The values for attribute 'dtype' do not match{_at(path)}: {a.dtype} != {e.dtype}."
            )
        if check_device and a.device != e.device:
            return f"The values for attribute 'device' do not match{_at(path)}: {a.device} != {e.device}."
    x, y = (np.asarray(host(v.detach()) if isinstance(v, Tensor) else v) for v in (a, e))
    if x.shape != y.shape:
        return f"The values for attribute 'shape' do not match{_at(path)}: {x.shape} != {y.shape}."
    rtol, atol = tolerances
    if rtol is None:
        table = [TOLERANCES.get(v.dtype.name, (0.0, 0.0)) for v in (x, y)]
        rtol, atol = max(t[0] for t in table), max(t[1] for t in table)
    return _elements(path, x, y, rtol, atol, equal_nan)


def _elements(path: str, x: Any, y: Any, rtol: float, atol: float, equal_nan: bool) -> str | None:
    wide = np.complex128 if "c" in (x.dtype.kind, y.dtype.kind) else np.float64
    if (
        "i" in x.dtype.kind + y.dtype.kind
        or "u" in x.dtype.kind + y.dtype.kind
        or x.dtype.kind == y.dtype.kind == "b"
    ):
        close = (
            x == y if rtol == atol == 0 else np.isclose(x.astype(wide), y.astype(wide), rtol, atol)
        )
    else:
        close = np.isclose(x.astype(wide), y.astype(wide), rtol, atol, equal_nan)
    if np.all(close):
        return None
    bad = ~np.atleast_1d(close)
    with np.errstate(all="ignore"):
        gap = np.atleast_1d(np.abs(x.astype(wide) - y.astype(wide)))
        relative = gap / np.abs(np.atleast_1d(y.astype(wide)))
    largest = np.argmax(np.where(bad, np.nan_to_num(gap, nan=np.inf), -1))
    worst = tuple(int(i) for i in np.unravel_index(largest, gap.shape))
    word = "Scalars" if x.ndim == 0 else "Tensor-likes"
    return (
        f"{word} are not {'equal' if rtol == atol == 0 else 'close'}{_at(path)}!\n\n"
        f"Mismatched elements: {int(bad.sum())} / {bad.size} ({100 * bad.mean():.1f}%)\n"
        f"Greatest absolute difference: {gap[worst]} at index {worst} (up to {atol} allowed)\n"
        f"Greatest relative difference: {np.nanmax(np.where(bad, relative, -1))} (up to {rtol} allowed)"
    )
