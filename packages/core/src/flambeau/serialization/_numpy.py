"""NumPy's arrays and scalars inside pickles, of number and text types only."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from flambeau.serialization._unpickle import Allowed, Interpreter, short

_TYPE = re.compile(r"[<|=]?[biufcSU?]\d{0,8}")


def _dtype(m: Interpreter, text: Any, align: Any = False, copy: Any = False) -> np.dtype[Any]:
    if type(text) is not str or not _TYPE.fullmatch(text):
        raise TypeError(f"a NumPy dtype {short(text)}, which holds neither numbers nor text")
    return np.dtype(text)


def _reconstruct(m: Interpreter, kind: Any, shape: Any, code: Any) -> np.ndarray[Any, Any]:
    if kind is not _ARRAY or type(shape) is not tuple or [*map(type, shape)] != [int]:
        raise TypeError("a NumPy array made in an unknown way")
    return np.ndarray((0,), np.int8)


def _elements(dtype: Any, shape: Any, data: Any) -> None:
    if (
        not isinstance(dtype, np.dtype)
        or dtype.hasobject
        or type(data) is not bytes
        or not isinstance(shape, tuple)
        or not all(type(n) is int and n >= 0 for n in shape)
        or len(data) != math.prod(shape) * dtype.itemsize
    ):
        raise TypeError("a NumPy array whose bytes do not fit its shape and dtype")


def _scalar(m: Interpreter, dtype: Any, data: Any) -> Any:
    _elements(dtype, (), data)
    return np.ndarray((), dtype, data)[()]


def _from_buffer(m: Interpreter, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    data = bytes(data) if type(data) is bytearray else data
    _elements(dtype, shape, data)
    m.charge(len(data))
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if order == "F" else "C")


def set_state(target: Any, state: Any) -> None:
    """What pickles do to a NumPy array or dtype after making it."""
    if isinstance(target, np.dtype):
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise TypeError("a NumPy dtype of another byte order, or a structured one")
        return
    if type(target) is not np.ndarray or type(state) is not tuple or len(state) != 5:
        raise TypeError(f"a state for a {type(target).__name__}")
    _, shape, dtype, fortran, data = state
    _elements(dtype, shape, data)
    set_array: Any = target.__setstate__
    set_array((1, shape, dtype, bool(fortran), data))


_ARRAY = Allowed("ndarray", lambda m, *args: _reconstruct(m, None, None, None))
NUMPY: dict[tuple[str, str], Allowed] = {
    ("numpy", "dtype"): Allowed("dtype", _dtype),
    ("numpy", "ndarray"): _ARRAY,
    **{
        (f"numpy.{core}.{module}", name): Allowed(name, fn)
        for core in ("core", "_core")
        for module, name, fn in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}
