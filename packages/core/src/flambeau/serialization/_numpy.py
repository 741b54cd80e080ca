"""NumPy's arrays and scalars inside pickles, of number and text types only."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from flambeau.errors import CheckpointError
from flambeau.serialization._unpickle import Allowed, Interpreter, short

_TYPE = re.compile(r"[<>|=]?[biufcSU?]\d{0,8}")
_LAST_CHARACTER = 0x10FFFF


def _dtype(m: Interpreter, text: Any, align: Any = False, copy: Any = False) -> np.dtype[Any]:
    if type(text) is not str or not _TYPE.fullmatch(text):
        raise CheckpointError(
            f"load: a NumPy dtype {short(text)} cannot be read, it holds neither numbers nor text. "
            "Hint: save a tensor instead"
        )
    made: Any = np.dtype
    return made(text, False, True)  # type: ignore[no-any-return]  # a copy: its state may change


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
        or (dtype.itemsize == 0 and math.prod(shape) > 1)
    ):
        raise TypeError("a NumPy array whose bytes do not fit its shape and dtype")
    if dtype.kind == "U" and data:
        codes = np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder))
        if codes.max() > _LAST_CHARACTER:
            raise TypeError("a NumPy array of text with characters that do not exist")


def _scalar(m: Interpreter, dtype: Any, data: Any) -> Any:
    _elements(dtype, (), data)
    return _sane(np.ndarray((), dtype, data))[()]


def _from_buffer(m: Interpreter, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    data = bytes(data) if type(data) is bytearray else data
    _elements(dtype, shape, data)
    m.charge(len(data))
    made = _sane(np.frombuffer(bytearray(data), dtype))
    return made.reshape(shape, order="F" if order == "F" else "C")


def _sane(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bools that are 0 or 1."""
    return array.view(np.uint8) != 0 if array.dtype == np.bool_ else array


def set_state(m: Interpreter, target: Any, state: Any) -> None:
    """What pickles do to a NumPy array or dtype after making it."""
    if isinstance(target, np.dtype):
        order = state[1] if type(state) is tuple and len(state) > 1 else None
        if type(order) is not str or order not in ("<", "|", "=", ">"):
            raise TypeError("a NumPy dtype of an unknown byte order")
        if order == ">":
            itself: Any = target
            own = itself.__reduce__()[2]
            itself.__setstate__((own[0], order, *own[2:]))
        return
    if type(target) is not np.ndarray or type(state) is not tuple or len(state) != 5:
        raise TypeError(f"a state for a {type(target).__name__}")
    _, shape, dtype, fortran, data = state
    _elements(dtype, shape, data)
    if dtype == np.bool_:
        data = data.translate(_BOOLS)
    m.charge(len(data))
    data = bytes(bytearray(data))  # the array keeps it, and may be written to
    set_array: Any = target.__setstate__
    set_array((1, shape, dtype, bool(fortran), data))


_BOOLS = bytes([0]) + bytes([1]) * 255
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
