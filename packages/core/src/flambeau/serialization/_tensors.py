"""Tensors inside checkpoints: the names PyTorch gives them, and how they are put together again."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.backend.registry import open_device
from flambeau.device import canonical, device as device_type
from flambeau.dtypes import dtype
from flambeau.errors import (
    ArgumentError,
    BackendError,
    CheckpointError,
    DeviceError,
    UnsafeCheckpointError,
)
from flambeau.kinds import Kind, kind_of
from flambeau.memory_format import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    preserve_format,
    strided,
)
from flambeau.serialization._numpy import NUMPY
from flambeau.serialization._plain import PLAIN
from flambeau.serialization._safe import find_declared
from flambeau.serialization._source import Bytes, typed
from flambeau.serialization._unpickle import ENTRY, Allowed, Internal, Interpreter, short
from flambeau.shape import Size
from flambeau.tensor import Tensor, wrap

#: dtype -> PyTorch's name of a storage of it.
STORAGES = {
    dtypes.bool_: "BoolStorage", dtypes.uint8: "ByteStorage", dtypes.int8: "CharStorage",
    dtypes.int16: "ShortStorage", dtypes.int32: "IntStorage", dtypes.int64: "LongStorage",
    dtypes.float16: "HalfStorage", dtypes.bfloat16: "BFloat16Storage", dtypes.float32: "FloatStorage",
    dtypes.float64: "DoubleStorage", dtypes.complex64: "ComplexFloatStorage",
    dtypes.complex128: "ComplexDoubleStorage",
}  # fmt: skip
_BY_STORAGE = {name: d for d, name in STORAGES.items()}
_TORCH_ONLY = frozenset(
    "uint16 uint32 uint64 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz complex32 qint8 quint8 qint32 "
    "float8_e8m0fnu float4_e2m1fn_x2 quint4x2 quint2x4 bits8 bits16 QInt8Storage QUInt8Storage QInt32Storage "
    "QUInt4x2Storage QUInt2x4Storage".split()
)
#: What PyTorch makes these tensors with -> what they are, how to turn them into ordinary ones.
_OTHER_TENSORS = {
    "_rebuild_sparse_tensor": ("a sparse tensor", "t.to_dense()"),
    "_rebuild_sparse_csr_tensor": ("a sparse tensor", "t.to_dense()"),
    "_rebuild_qtensor": ("a quantized tensor", "t.dequantize()"),
    "_rebuild_nested_tensor": ("a nested tensor", "t.unbind()"),
    "_rebuild_wrapper_subclass": ("a tensor without data of its own", "t.cpu()"),
    "_rebuild_device_tensor_from_numpy": ("a tensor of another device", "t.cpu()"),
    "_rebuild_device_tensor_from_cpu_tensor": ("a tensor of another device", "t.cpu()"),
}
_FORMATS = {
    f.name: f for f in (contiguous_format, channels_last, channels_last_3d, preserve_format)
}
_MOST_DIMS = 64


class StorageType(Internal):
    """What `torch.FloatStorage` stands for; dtype None: bytes of any type."""

    __slots__ = ("dtype",)

    def __init__(self, d: dtype | None) -> None:
        self.dtype = d


class Storage(Internal):
    """One memory block of a checkpoint, read when a tensor needs it; what `map_location` functions are given."""

    name = "storage"
    __slots__ = ("_natives", "_read", "_swapped", "dtype", "location", "numel", "place")

    def __init__(
        self,
        d: dtype | None,
        numel: int,
        location: str,
        read: Callable[[int], Bytes],
        swapped: bool = False,
    ) -> None:
        self.dtype, self.numel, self.location = d, numel, location
        self.place: Any = None
        self._read, self._swapped = read, swapped
        self._natives: dict[Any, Any] = {None: None}

    @property
    def nbytes(self) -> int:
        """Bytes of the block."""
        return self.numel * (self.dtype.itemsize if self.dtype else 1)

    @property
    def device(self) -> device_type:
        """Where it was when it was saved."""
        return device_type(self.location)

    def cpu(self) -> device_type:
        """For `map_location=lambda storage, location: storage.cpu()`."""
        return device_type("cpu")

    def cuda(self, index: int | None = None) -> device_type:
        """For `map_location=lambda storage, location: storage.cuda(1)`."""
        return device_type("cuda", index)

    def native(self, kind: Kind) -> Any:
        """The block as a 1-D array of a kind."""
        found = self._natives.get(kind)
        if found is None:
            d = kind.dtype
            if kind.device.type == "meta":  # has no use for the bytes
                self._natives[kind] = kind.k["fill"]((self.nbytes // d.itemsize,), 0, d)
                return self._natives[kind]
            data = self._natives[None]
            if data is None:
                data = self._natives[None] = self._read(self.nbytes)
            if self._swapped and d.itemsize > 1:
                word = d.to_real().itemsize
                data = data.view(f"u{word}").byteswap().view(np.uint8)
            usable = len(data) // d.itemsize * d.itemsize
            found = self._natives[kind] = kind.k["from_host"](typed(data[:usable], d))
        return found


def mapper(map_location: Any) -> Callable[[Storage], Any]:
    """storage -> the device its tensors go to, for what PyTorch takes as `map_location`.

    Raises: ArgumentError: none of those.
    """
    if map_location is None:
        return lambda storage: _original(storage.location)
    if isinstance(map_location, str | device_type):
        fixed = canonical(map_location)
        return lambda storage: fixed
    if isinstance(map_location, dict):
        return lambda storage: _original(map_location.get(storage.location, storage.location))
    if callable(map_location):
        return lambda storage: _answer(storage, map_location(storage, storage.location))
    raise ArgumentError(
        f"load: map_location must be a device, a dict, a function or None, got {map_location!r}"
    )


def _answer(storage: Storage, got: Any) -> Any:
    if got is None:
        return _original(storage.location)
    return canonical("cpu") if got is storage else canonical(got)


def _original(location: Any) -> Any:
    try:
        place = canonical(location)
        open_device(place)
        return place
    except (BackendError, DeviceError) as error:
        why = str(error).split(" Hint: ")[0].rstrip(".")
        raise CheckpointError(
            f"load: the checkpoint has tensors of device {str(location)!r}, which is not here ({why}). "
            "Hint: load(..., map_location='cpu')"
        ) from None


def _sizes(name: str, values: Any) -> tuple[int, ...]:
    if (
        not isinstance(values, tuple | list)
        or len(values) > _MOST_DIMS
        or not all(type(n) is int and 0 <= n < 2**62 for n in values)
    ):
        raise CheckpointError(
            f"load: a tensor's {name} is {short(tuple(values) if type(values) is list else values)}"
        )
    return tuple(values)


class Rebuilder:
    """The globals a checkpoint may name, for one call of load."""

    def __init__(self, map_location: Any = None) -> None:
        self._where = mapper(map_location)

    # ---- names
    def find(self, module: str, name: str) -> Any:
        """What a global stands for.

        Raises: UnsafeCheckpointError: it is not in the list of what is known to be harmless.
        """
        if module.startswith("torch") and name.startswith("torch."):  # how protocol 4 names formats
            module, name = "torch", name.removeprefix("torch.")
        found = PLAIN.get((module, name)) or NUMPY.get((module, name))
        if found is not None:
            return found
        method = _FUNCTIONS.get((module, name))
        if method is not None:
            return Allowed(name, getattr(self, method))
        if module in ("torch", "torch.cuda", "torch.storage"):
            if name in _BY_STORAGE:
                return StorageType(_BY_STORAGE[name])
            if name == "UntypedStorage":
                return StorageType(None)
        if module in ("torch", "flambeau"):
            if name in _TORCH_ONLY:
                raise CheckpointError(
                    f"load: the checkpoint holds {module}.{name}, and flambeau has no such dtype. "
                    "Hint: convert it with PyTorch, t.to(torch.float32) or t.to(torch.int64)"
                )
            if name in dtypes._BY_NAME:
                return dtypes.by_name(name)
            if name == "strided":
                return strided
            if name in _FORMATS:
                return _FORMATS[name]
        if module == "torch._utils" and name in _OTHER_TENSORS:
            what, ordinary = _OTHER_TENSORS[name]
            raise CheckpointError(
                f"load: the checkpoint holds {what}, which flambeau does not have. "
                f"Hint: save {ordinary} with PyTorch"
            )
        declared = find_declared(module, name)
        if declared is not None:
            return declared
        raise UnsafeCheckpointError(
            f"load: the checkpoint needs {module}.{name}, which is not in the list of what is read without running "
            "code. It may be a whole pickled model: save model.state_dict() instead. "
            f"Hint: if you know {name} to be harmless, serialization.add_safe_globals([{name}]); if you trust whoever "
            "wrote the file, load(..., unsafe=True) runs its code"
        )

    # ---- functions
    def _size(self, m: Any, values: Any = ()) -> Size:
        return Size(_sizes("shape", values))

    def _device(self, m: Any, kind: Any, index: Any = None) -> device_type:
        if type(kind) not in (str, int) or type(index) not in (int, type(None)):
            raise CheckpointError("load: a device without a name")
        return device_type(kind, index)

    def _layout(self, m: Any, name: Any) -> Any:
        if type(name) is not str or name != "torch.strided":
            raise CheckpointError(f"load: tensors of layout {short(name)} cannot be read")
        return strided

    def _tensor(
        self,
        m: Interpreter | None,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:
        if not isinstance(storage, Storage) or storage.dtype is None:
            raise CheckpointError("load: a tensor has no storage of its dtype")
        return self._view(m, storage, storage.dtype, offset, size, stride, requires_grad, metadata)

    def _tensor_v3(
        self,
        m: Interpreter | None,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        d: Any,
        metadata: Any = None,
    ) -> Tensor:
        if not isinstance(storage, Storage) or not isinstance(d, dtype):
            raise CheckpointError("load: a tensor has no storage")
        return self._view(m, storage, d, offset, size, stride, requires_grad, metadata)

    def _view(
        self,
        m: Interpreter | None,
        storage: Storage,
        d: dtype,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        metadata: Any,
    ) -> Tensor:
        shape, steps = _sizes("shape", size), _sizes("stride", stride)
        if len(shape) != len(steps) or type(offset) is not int or offset < 0:
            raise CheckpointError(
                f"load: a tensor has shape {shape}, stride {steps} and storage_offset {short(offset)}"
            )
        last = offset + sum((n - 1) * s for n, s in zip(shape, steps, strict=True))
        numel = math.prod(shape)
        if numel and (last + 1) * d.itemsize > storage.nbytes:
            raise CheckpointError(
                f"load: a tensor of shape {shape}, stride {steps} and storage_offset {offset} reaches outside its "
                f"storage of {storage.nbytes} bytes"
            )
        if max(math.prod(n or 1 for n in shape), *steps, 1) * d.itemsize >= 2**63:
            raise CheckpointError(
                f"load: a tensor of shape {shape} and stride {steps} is larger than any memory"
            )
        try:
            if storage.place is None:
                storage.place = self._where(storage)
            kind = kind_of(storage.place, d)
            block = storage.native(kind)
        except Exception as error:
            if m is not None:
                m.outside = error
            raise
        if numel == 0:
            offset = 0
        t = wrap(kind.k["as_strided"](block, shape, steps, offset), kind)
        if metadata:
            t = _marks(m, t, metadata, numel)
        return _requiring(t, requires_grad)

    def _parameter(
        self, m: Any, data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None
    ) -> Any:
        if not isinstance(data, Tensor):
            raise CheckpointError("load: a parameter without a tensor")
        made = _of_nn("Parameter", data.detach(), False)
        return _attributes(m, _requiring(made, requires_grad), state)

    def _uninitialized(self, m: Any, requires_grad: Any = True) -> Any:
        return _of_nn("UninitializedParameter", requires_grad is True)

    def _uninitialized_buffer(self, m: Any, requires_grad: Any = False) -> Any:
        return _of_nn("UninitializedBuffer", requires_grad is True)

    def _meta(self, m: Any, d: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
        shape, steps = _sizes("shape", size), _sizes("stride", stride)
        if not isinstance(d, dtype) or len(shape) != len(steps):
            raise CheckpointError("load: a meta tensor without a dtype")
        kind = kind_of(canonical("meta"), d)
        last = 1 + sum((n - 1) * s for n, s in zip(shape, steps, strict=True))
        block = kind.k["fill"]((max(last, 0),), 0, d)
        return _requiring(wrap(kind.k["as_strided"](block, shape, steps, 0), kind), requires_grad)

    def _from_type(self, m: Any, fn: Any, cls: Any, args: Any, state: Any) -> Any:
        if not isinstance(fn, Allowed) or not isinstance(args, tuple):
            raise CheckpointError("load: a tensor made in an unknown way")
        if cls is not TENSOR_CLASS and cls is not PARAMETER_CLASS:
            raise CheckpointError("load: a tensor of an unknown class")
        return _attributes(m, fn.fn(m, *args), state)


def _of_nn(name: str, *args: Any) -> Any:
    """A parameter; where the package that has them is missing, a tensor."""
    try:
        cls = getattr(importlib.import_module("flambeau.nn.parameter"), name)
    except ModuleNotFoundError:
        if args and isinstance(args[0], Tensor):
            return args[0]
        raise CheckpointError(
            f"load: the checkpoint has an {name}. Hint: pip install flambeau-nn"
        ) from None
    return cls(*args)


def _requiring(t: Tensor, requires_grad: Any) -> Tensor:
    if requires_grad is True:
        t.requires_grad_()
    return t


def _attributes(m: Interpreter | None, t: Any, state: Any) -> Any:
    """Attributes that a program hung on a tensor."""
    if isinstance(state, tuple) and len(state) == 2 and state[0] is None:
        state = {}  # __slots__ of a subclass
    if not state:
        return t
    if not isinstance(t, Tensor) or type(state) is not dict:
        raise CheckpointError("load: the attributes of a tensor are not a dict")
    if m is not None:
        m.charge(ENTRY * len(state))
    state = dict(state)
    if state.pop("_is_buffer", None) is True:
        persistent = state.pop("persistent", True) is not False
        t = _of_nn("Buffer", t)
        if not persistent:
            t.persistent = False
    for name, value in state.items():
        if type(name) is not str or name in OWN or hasattr(Tensor, name):
            raise CheckpointError(f"load: a tensor cannot have an attribute {short(name)}")
        t.__dict__[name] = value
    return t


def _marks(m: Interpreter | None, t: Tensor, metadata: Any, numel: int) -> Tensor:
    """What PyTorch computes lazily, computed."""
    if type(metadata) is not dict or not set(metadata) <= {"conj", "neg"}:
        raise CheckpointError("load: a tensor has unknown marks")
    if m is not None:
        m.charge(numel * t.itemsize)
    for mark in ("conj", "neg"):
        if metadata.get(mark):
            t = t.conj() if mark == "conj" else t.neg()
    return t


#: Attributes in which Tensor keeps what is no business of a file's.
OWN = frozenset(("_grad", "_retains", "_idle", "_is_buffer"))
TENSOR_CLASS = Allowed("torch.Tensor", lambda m, *args: _no_class())
PARAMETER_CLASS = Allowed("torch.nn.Parameter", lambda m, *args: _no_class())


def _no_class() -> Any:
    raise CheckpointError("load: a tensor made without its storage")


PLAIN[("torch", "Tensor")] = PLAIN[("torch._tensor", "Tensor")] = TENSOR_CLASS
PLAIN[("torch.nn.parameter", "Parameter")] = PARAMETER_CLASS
_FUNCTIONS = {
    ("torch._utils", "_rebuild_tensor"): "_tensor",
    ("torch._utils", "_rebuild_tensor_v2"): "_tensor",
    ("torch._utils", "_rebuild_tensor_v3"): "_tensor_v3",
    ("torch._utils", "_rebuild_parameter"): "_parameter",
    ("torch._utils", "_rebuild_parameter_with_state"): "_parameter",
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): "_meta",
    ("torch._tensor", "_rebuild_from_type_v2"): "_from_type",
    ("torch.nn.parameter", "UninitializedParameter"): "_uninitialized",
    ("torch.nn.parameter", "UninitializedBuffer"): "_uninitialized_buffer",
    ("torch", "Size"): "_size",
    ("torch", "device"): "_device",
    ("torch.serialization", "_get_layout"): "_layout",
}
