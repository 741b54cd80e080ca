"""Element types, their limits and PyTorch's promotion table."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from flambeau.errors import ArgumentError, UnsupportedDTypeError

BOOL, INTEGER, FLOATING, COMPLEX = range(4)


class dtype:
    """An element type, one object per type: compare with `is`.

    Attributes: name (str); itemsize (int, bytes); is_floating_point, is_complex, is_signed (bool); category (int):
    0 bool, 1 integer, 2 floating, 3 complex, the order in which promotion climbs.

    Example:
        >>> import flambeau as fb
        >>> fb.float32, fb.float32.itemsize, fb.float32.is_floating_point
        (flambeau.float32, 4, True)
    """

    __slots__ = (
        "_numpy",
        "category",
        "is_complex",
        "is_floating_point",
        "is_signed",
        "itemsize",
        "name",
    )

    def __init__(
        self, name: str, itemsize: int, category: int, signed: bool, numpy_type: Any
    ) -> None:
        self.name = name
        self.itemsize = itemsize
        self.category = category
        self.is_floating_point = category == FLOATING
        self.is_complex = category == COMPLEX
        self.is_signed = signed
        self._numpy: Any = None if numpy_type is None else np.dtype(numpy_type)

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of host arrays of this type."""
        if self._numpy is None:
            self._numpy = _load_bfloat16()
        numpy_dtype: np.dtype[Any] = self._numpy
        return numpy_dtype

    @property
    def kind(self) -> str:
        """NumPy's letter: b (bool), u and i (unsigned and signed integers), f (floating), c (complex)."""
        return "bifc"[self.category] if self.category != INTEGER or self.is_signed else "u"

    def to_real(self) -> dtype:
        """The real type of one component: float32 for complex64."""
        return {complex64: float32, complex128: float64}.get(self, self)

    def to_complex(self) -> dtype:
        """The complex type whose components have this type."""
        if self.is_complex:
            return self
        return complex128 if self is float64 else complex64

    def __repr__(self) -> str:
        return f"flambeau.{self.name}"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return by_name, (self.name,)


def _load_bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        raise UnsupportedDTypeError(
            "bfloat16: NumPy has no such type and the package that adds it, ml_dtypes, is not installed. "
            "Hint: pip install 'flambeau-cpu[bf16]'"
        ) from None
    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


bool_ = dtype("bool", 1, BOOL, False, np.bool_)
uint8 = dtype("uint8", 1, INTEGER, False, np.uint8)
int8 = dtype("int8", 1, INTEGER, True, np.int8)
int16 = dtype("int16", 2, INTEGER, True, np.int16)
int32 = dtype("int32", 4, INTEGER, True, np.int32)
int64 = dtype("int64", 8, INTEGER, True, np.int64)
float16 = dtype("float16", 2, FLOATING, True, np.float16)
bfloat16 = dtype("bfloat16", 2, FLOATING, True, None)
float32 = dtype("float32", 4, FLOATING, True, np.float32)
float64 = dtype("float64", 8, FLOATING, True, np.float64)
complex64 = dtype("complex64", 8, COMPLEX, True, np.complex64)
complex128 = dtype("complex128", 16, COMPLEX, True, np.complex128)

ALL: tuple[dtype, ...] = (
    bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY: dict[Any, dtype] = {d._numpy: d for d in ALL if d._numpy is not None}


def by_name(name: str) -> dtype:
    """The dtype called `name`, e.g. "float32"."""
    return _BY_NAME[name]


def from_numpy_dtype(numpy_dtype: Any) -> dtype:
    """The dtype of a NumPy array's elements.

    Raises: ArgumentError: NumPy's type (text, objects, unsigned 16-64 bits) has no counterpart here.
    """
    found = _BY_NUMPY.get(numpy_dtype)
    if found is None:
        numpy_dtype = np.dtype(numpy_dtype)
        native = numpy_dtype.newbyteorder("=")
        found = bfloat16 if native.name == "bfloat16" else _BY_NUMPY.get(native)
    if found is None:
        raise ArgumentError(
            f"can't convert np.ndarray of type numpy.{numpy_dtype}: the supported types are "
            f"{', '.join(d.name for d in ALL)}. Hint: array.astype('float32')"
        )
    return found


_default = [float32]


def get_default_dtype() -> dtype:
    """The dtype of tensors made from Python floats; float32 unless set."""
    return _default[0]


def set_default_dtype(d: dtype) -> None:
    """Set the dtype of tensors made from Python floats.

    Raises: ArgumentError: d is not a floating-point dtype.
    """
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise ArgumentError(
            f"set_default_dtype: only floating-point types are supported as the default type, got {d!r}"
        )
    _default[0] = d


_INT_RANK = {int8: 1, int16: 2, int32: 3, int64: 4}


@functools.cache
def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that PyTorch's table lets both types convert to.

    Example:
        >>> import flambeau as fb
        >>> fb.promote_types(fb.int64, fb.float16), fb.promote_types(fb.uint8, fb.int8)
        (flambeau.float16, flambeau.int16)
    """
    a, b = (type1, type2) if type1.category >= type2.category else (type2, type1)
    if a is b or b is bool_:
        return a
    if a.is_complex:
        real = promote_types(a.to_real(), b.to_real()) if b.category >= FLOATING else a.to_real()
        return real.to_complex()
    if a.is_floating_point:
        if not b.is_floating_point or a.itemsize > b.itemsize:
            return a
        return float32 if a.itemsize == b.itemsize else b
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if _INT_RANK[a] > _INT_RANK[b] else b


def of_scalar(value: Any) -> dtype:
    """The dtype that a Python number has when it stands alone."""
    if isinstance(value, bool | np.bool_):
        return bool_
    if isinstance(value, int | np.integer):
        return int64
    if isinstance(value, complex | np.complexfloating) and not isinstance(value, float):
        return _default[0].to_complex()
    return _default[0]


def combine_categories(higher: dtype | None, lower: dtype | None) -> dtype | None:
    """Promotion between priority classes: tensors with dimensions over 0-d tensors over Python numbers."""
    if higher is None or lower is None:
        return higher or lower
    if higher.is_complex:
        return higher
    if higher.is_floating_point:
        return higher.to_complex() if lower.is_complex else higher
    if higher is bool_ or lower.category >= FLOATING:
        return promote_types(higher, lower)
    return higher


class finfo:
    """Limits of a floating-point dtype: eps, max, min, tiny, smallest_normal, resolution, bits."""

    def __init__(self, type: dtype | None = None) -> None:
        d = get_default_dtype() if type is None else type
        if not (d.is_floating_point or d.is_complex):
            raise ArgumentError(f"finfo: needs a floating-point dtype, got {d}. Hint: iinfo({d})")
        real = d.to_real()
        if real is bfloat16:
            _load_bfloat16()
            import ml_dtypes

            info: Any = ml_dtypes.finfo(real.numpy)
        else:
            info = np.finfo(real.numpy)
        self.dtype, self.bits = d.name, real.itemsize * 8
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(info.resolution)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype: min, max, bits."""

    def __init__(self, type: dtype) -> None:
        if type.category != INTEGER:
            raise ArgumentError(f"iinfo: needs an integer dtype, got {type}. Hint: finfo({type})")
        info = np.iinfo(type.numpy)
        self.dtype, self.bits = type.name, type.itemsize * 8
        self.min, self.max = int(info.min), int(info.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
