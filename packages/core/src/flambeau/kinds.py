"""A Kind stands for one dtype on one device: comparing two tensors' kinds checks both at once on the hot path."""

from __future__ import annotations

from math import copysign
from typing import Any

from flambeau import dtypes
from flambeau.autograd.state import state
from flambeau.backend.protocol import Device, KernelTable
from flambeau.backend.registry import open_device, opened
from flambeau.device import device as device_type
from flambeau.dtypes import dtype
from flambeau.errors import ArgumentError, UnsupportedDTypeError

_WEAK = ({bool}, {bool, int}, {bool, int, float}, {bool, int, float, complex})
_CACHE_LIMIT = 512


_PYTHON_TYPES = {
    bool: dtypes.bool_,
    int: dtypes.int64,
    float: dtypes.float64,
    complex: dtypes.complex128,
}


def as_dtype(d: Any) -> dtype:
    """The dtype that `dtype=` asks for: a dtype, or a Python type such as float.

    Raises: ArgumentError: it is neither.
    """
    if isinstance(d, dtype):
        return d
    if isinstance(d, type) and d in _PYTHON_TYPES:
        return _PYTHON_TYPES[d]
    raise ArgumentError(f"dtype must be a flambeau dtype such as flambeau.float32, got {d!r}")


class _Constants(dict[Any, Any]):
    """Python numbers as the device's kernels want them, made once for each value."""

    def __init__(self, dev: Device, d: dtype) -> None:
        self.dev, self.dtype = dev, d
        self.zero: Any = None

    def __missing__(self, value: Any) -> Any:
        if value == 0 and value.__class__ is not complex and copysign(1.0, value) > 0:
            if self.zero is None:
                self.zero = self.dev.const(0, self.dtype)
            return self.zero
        const = self.dev.const(value, self.dtype)
        # 0.0 and -0.0 are one key but two values, and nan never equals itself.
        if value != 0 and value == value:
            if len(self) >= _CACHE_LIMIT:
                self.clear()
            self[value] = const
        return const


#: Kernels that need numbers with an order, or without an imaginary part.
_REAL_ONLY = frozenset(
    (
        "lt le gt ge maximum minimum fmax fmin clamp clamp_min clamp_max sign floor ceil trunc "
        "rint floor_divide trunc_divide remainder fmod atan2 hypot copysign signbit relu "
        "threshold_backward gelu mish softplus logsigmoid elu leaky_relu hardtanh hardsigmoid "
        "hardswish softmax log_softmax erf erfc erfinv lgamma digamma polygamma nextafter"
    ).split()
)


class _ComplexTable(KernelTable):
    """A device's table as complex tensors see it: what has no meaning for them raises, whatever NumPy makes of it."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def __missing__(
        self, name: str
    ) -> Any:  # nothing is kept here: the table's entries may be swapped
        return _refuse if name in _REAL_ONLY else self.table[name]


def _refuse(*arrays: Any, **attrs: Any) -> Any:
    raise TypeError("complex numbers have no order")


class Kind:
    """One dtype on one device.

    k: the device's kernel table.  weak: Python number types that take this dtype.  consts: numbers as kernel operands.
    boolean, int64, real: the kinds of comparison results, of indices and of magnitudes on this device.
    inexact: this kind if its dtype is floating-point or complex, else None.
    """

    __slots__ = (
        "boolean",
        "consts",
        "dev",
        "device",
        "dtype",
        "inexact",
        "int64",
        "k",
        "real",
        "siblings",
        "weak",
    )

    boolean: Kind
    int64: Kind
    real: Kind
    inexact: Kind | None

    def __init__(
        self, device: device_type, dev: Device, d: dtype, siblings: dict[dtype, Kind]
    ) -> None:
        self.device, self.dev, self.dtype, self.siblings = device, dev, d, siblings
        self.k: KernelTable = dev.kernels  # type: ignore[assignment]  # the registry has made it one
        if d.is_complex:
            self.k = _ComplexTable(self.k)
        self.weak = frozenset(_WEAK[d.category])
        self.consts = _Constants(dev, d)

    def __repr__(self) -> str:
        return f"{self.dtype.name} {self.device}"

    def of(self, d: dtype) -> Kind:
        """The kind of dtype d on the same device.

        Raises: UnsupportedDTypeError: the device has no such dtype.
        """
        found = self.siblings.get(d)
        if found is None:
            d = as_dtype(d)
            found = self.siblings[d]
        caps = self.dev.caps
        if d not in caps.compute and d not in caps.storage:
            raise UnsupportedDTypeError(
                f"{self.device} ({self.dev.info.name}) has no {d.name}; it has "
                f"{', '.join(x.name for x in dtypes.ALL if x in caps.compute or x in caps.storage)}. Hint: x.float()"
            )
        if d is dtypes.bfloat16:
            d.numpy  # noqa: B018  (says at once that ml_dtypes is missing)
        return found


_kinds: dict[device_type, dict[dtype, Kind]] = {}


def _link(device: device_type) -> dict[dtype, Kind]:
    dev = open_device(device)
    siblings: dict[dtype, Kind] = {}
    for d in dtypes.ALL:
        siblings[d] = Kind(device, dev, d, siblings)
    for d, kind in siblings.items():
        kind.boolean, kind.int64 = siblings[dtypes.bool_], siblings[dtypes.int64]
        kind.real = siblings[d.to_real()]
        kind.inexact = kind if d.category >= dtypes.FLOATING else None
    _kinds[device] = siblings
    return siblings


def kind_of(device: device_type, d: dtype) -> Kind:
    """The Kind of dtype d on a device, which is opened when it is first used.

    Raises: BackendError: the device cannot be opened.  UnsupportedDTypeError: it has no such dtype.
    """
    siblings = _kinds.get(device) or _link(device)
    if state.ready is not opened():  # a device was opened by another thread
        state.set_up()
    kind = siblings[d]
    return kind if d is dtypes.float32 or d is dtypes.int64 else kind.of(d)
