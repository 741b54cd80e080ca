"""PyTorch's old classes for one dtype on the cpu, such as FloatTensor: constructors, and names for isinstance."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.device import canonical, set_default_device
from flambeau.dtypes import dtype, set_default_dtype
from flambeau.errors import ArgumentError, DeviceError, DTypeError
from flambeau.shape import Size
from flambeau.tensor import Tensor, describe

_NAMES = {
    "Float": dtypes.float32, "Double": dtypes.float64, "Half": dtypes.float16, "BFloat16": dtypes.bfloat16,
    "Long": dtypes.int64, "Int": dtypes.int32, "Short": dtypes.int16, "Char": dtypes.int8, "Byte": dtypes.uint8,
    "Bool": dtypes.bool_,
}  # fmt: skip
_COMPLEX = {"ComplexFloat": dtypes.complex64, "ComplexDouble": dtypes.complex128}  # without a class
_PREFIX = {d: name for name, d in (_NAMES | _COMPLEX).items()}


class TensorType(type):
    """The class of FloatTensor and its like, which have no instances of their own: calling one makes a Tensor."""

    dtype: dtype
    is_cuda: bool

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Tensor) and x.dtype is cls.dtype and x.device.type == "cpu"

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        """A cpu tensor: `FloatTensor(2, 3)` is uninitialised (here: zeros), `FloatTensor([1, 2])` holds data.

        Raises: DTypeError: a tensor of another dtype.  DeviceError: another device.  ArgumentError: no data.
        """
        from flambeau.ops.creation import tensor, zeros

        if device is not None and canonical(device).type != "cpu":
            raise DeviceError(
                f"{cls.__name__}: legacy constructor expects device type: cpu but device type: "
                f"{canonical(device).type} was passed. Hint: flambeau.tensor(data, dtype={cls.dtype!r}, device=...)"
            )
        if len(args) != 1 or isinstance(args[0], int | Size):
            made: Tensor = zeros(*(args or (0,)), dtype=cls.dtype, device="cpu")
            return made
        data = args[0]
        if isinstance(data, Tensor):
            if not isinstance(data, cls):
                raise DTypeError(
                    f"{cls.__name__}: expected {cls.dtype.name} cpu, got {describe(data)}. Hint: "
                    f"data.to('cpu', {cls.dtype!r})"
                )
            return data.detach()
        if not hasattr(data, "__len__"):
            raise ArgumentError(
                f"{cls.__name__}: new(): data must be a sequence (got {type(data).__name__}). Hint: [value], or sizes "
                "as ints"
            )
        return tensor(data, dtype=cls.dtype, device="cpu")

    def __repr__(cls) -> str:
        return f"<class 'flambeau.{cls.__name__}'>"


def _make(name: str, d: dtype) -> TensorType:
    body = {"__module__": "flambeau", "__doc__": f"Tensors of {d.name} on the cpu.", "dtype": d}
    return TensorType(name, (), {**body, "is_cuda": False})


TYPES = {f"{name}Tensor": _make(f"{name}Tensor", d) for name, d in _NAMES.items()}
globals().update(TYPES)


def name_of(x: Tensor) -> str:
    """A tensor's dtype and device as PyTorch writes them: flambeau.FloatTensor, flambeau.cuda.FloatTensor."""
    where = "" if x.device.type == "cpu" else f"{x.device.type}."
    return f"flambeau.{where}{_PREFIX[x.dtype]}Tensor"


def dtype_of(given: Any) -> dtype | None:
    """The dtype that FloatTensor, "torch.FloatTensor" or "float32" names; None if it is none of these."""
    if isinstance(given, TensorType):
        return given.dtype
    if not isinstance(given, str):
        return None
    last = given.rpartition(".")[2]
    named = {d.name: d for d in dtypes.ALL}
    return _NAMES.get(last.removesuffix("Tensor")) if last.endswith("Tensor") else named.get(last)


_moved = False


def set_default_tensor_type(t: Any, /) -> None:
    """Choose the default dtype by a class such as DoubleTensor, or its name; `torch.cuda...` chooses the device too.

    Raises: DTypeError: the dtype is not floating-point, or there is none of that name.

    Example:
        >>> import flambeau as fb
        >>> fb.set_default_tensor_type("torch.DoubleTensor")
        >>> fb.zeros(1).dtype
        flambeau.float64
        >>> fb.set_default_tensor_type(fb.FloatTensor)
    """
    global _moved
    found = dtype_of(t)
    if found is None or not found.is_floating_point:
        raise DTypeError(
            f"set_default_tensor_type: only floating-point types are supported as the default type, got {t!r}. "
            "Hint: flambeau.FloatTensor, or set_default_dtype(dtype)"
        )
    set_default_dtype(found)
    on_cuda = isinstance(t, str) and ".cuda." in t
    if on_cuda or _moved:
        set_default_device("cuda" if on_cuda else None)
        _moved = on_cuda
