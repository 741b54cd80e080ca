"""The memory behind a tensor: its address and its size."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from flambeau.autograd.node import Storage
from flambeau.device import device as device_type
from flambeau.dtypes import dtype as dtype_type
from flambeau.errors import DeviceError
from flambeau.tensor import Tensor, describe, host

#: The mappings that share_memory_ made.
_shared: weakref.WeakSet[Any] = weakref.WeakSet()


def _block(x: Tensor) -> np.ndarray[Any, Any] | None:
    """The array at the bottom of a tensor's views; None where memory is not the host's."""
    if x._kind.device.type != "cpu":
        return None
    block = host(x)
    while isinstance(block.base, np.ndarray):
        block = block.base
    return block


def _is_shared(block: np.ndarray[Any, Any]) -> bool:
    base = block.base
    return (base.obj if isinstance(base, memoryview) else base) in _shared


def _no_address(what: str) -> DeviceError:
    return DeviceError(
        f"data_ptr: only memory of the cpu has an address that Python can use, got {what}. Hint: x.cpu()"
    )


class UntypedStorage:
    """The bytes that all views of one tensor share; `Tensor.untyped_storage()` makes one, and it keeps them alive.

    On devices other than the cpu its size is what the tensor itself reaches of its memory.
    """

    __slots__ = ("_first", "_held", "_key", "_size", "device")

    def __init__(self, x: Tensor) -> None:
        self.device: device_type = x._kind.device
        block = _block(x)
        self._held: Any = x._a if block is None else block
        if block is None or not block.size:
            x._s = x._s or Storage()
            self._first, self._size = 0, _reach(x) * x._kind.dtype.itemsize
            self._key: Any = x._s
        else:
            self._first, end = byte_bounds(block)
            self._size = end - self._first
            self._key = (self._first, self._size)

    def nbytes(self) -> int:
        """Bytes in all."""
        return self._size

    def size(self) -> int:
        """Bytes in all."""
        return self._size

    def __len__(self) -> int:
        return self._size

    def element_size(self) -> int:
        """Bytes per element: 1."""
        return 1

    def data_ptr(self) -> int:
        """Address of the first byte; 0 where there is none.

        Raises: DeviceError: the memory is not the host's.
        """
        if self.device.type not in ("cpu", "meta"):
            raise _no_address(f"a storage on {self.device}")
        return self._first

    def is_shared(self) -> bool:
        """Whether forked processes share it."""
        return isinstance(self._held, np.ndarray) and _is_shared(self._held)

    def tolist(self) -> list[int]:
        """The bytes as numbers.

        Raises: DeviceError: the memory is not the host's.
        """
        if self.device.type != "cpu":
            raise _no_address(f"a storage on {self.device}")
        return list(self._held.tobytes("A"))

    def untyped(self) -> UntypedStorage:
        """Itself."""
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UntypedStorage):
            return NotImplemented
        return bool(self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"[flambeau.UntypedStorage(device={self.device}) of size {self._size}]"


class TypedStorage:
    """The memory of a tensor counted in elements of its dtype: PyTorch's older `Tensor.storage()`."""

    __slots__ = ("_untyped_storage", "dtype")

    def __init__(self, x: Tensor) -> None:
        self.dtype: dtype_type = x._kind.dtype
        self._untyped_storage = UntypedStorage(x)

    @property
    def device(self) -> device_type:
        """Where it is."""
        return self._untyped_storage.device

    def untyped(self) -> UntypedStorage:
        """The same memory in bytes."""
        return self._untyped_storage

    def nbytes(self) -> int:
        """Bytes in all."""
        return self._untyped_storage.nbytes()

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    def size(self) -> int:
        """Elements in all."""
        return self.nbytes() // self.dtype.itemsize

    def __len__(self) -> int:
        return self.size()

    def data_ptr(self) -> int:
        """Address of the first element.

        Raises: DeviceError: the memory is not the host's.
        """
        return self._untyped_storage.data_ptr()

    def is_shared(self) -> bool:
        """Whether forked processes share it."""
        return self._untyped_storage.is_shared()

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        flat = np.frombuffer(bytes(self._untyped_storage.tolist()), self.dtype.numpy)
        return flat.tolist()  # type: ignore[no-any-return]

    def __getitem__(self, index: int | slice) -> Any:
        return self.tolist()[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TypedStorage):
            return NotImplemented
        return bool(self._untyped_storage == other._untyped_storage)

    def __hash__(self) -> int:
        return hash(self._untyped_storage)

    def __repr__(self) -> str:
        return f"[flambeau.TypedStorage(dtype={self.dtype!r}, device={self.device}) of size {self.size()}]"


def _reach(x: Tensor) -> int:
    """Elements from the start of the memory to the last one of x."""
    if not x.numel():
        return 0
    last = sum((n - 1) * s for n, s in zip(x._a.shape, x.stride()))
    return int(x.storage_offset() + last + 1)


def data_ptr(input: Tensor) -> int:
    """Address of the first element in host memory; 0 for a tensor without elements or data.

    Raises: DeviceError: the memory is not the host's.
    """
    if input._kind.device.type == "meta" or not input.numel():
        return 0
    if input._kind.device.type != "cpu":
        raise _no_address(describe(input))
    address: int = host(input).__array_interface__["data"][0]
    return address


def untyped_storage(input: Tensor) -> UntypedStorage:
    """The memory that the tensor and all views of it share, in bytes; equal for two tensors of one memory.

    Example:
        >>> import flambeau as fb
        >>> x = fb.zeros(3)
        >>> x.untyped_storage().nbytes(), x[1:].untyped_storage() == x.untyped_storage()
        (12, True)
    """
    return UntypedStorage(input)


def storage(input: Tensor) -> TypedStorage:
    """The memory that the tensor and all views of it share, in elements."""
    return TypedStorage(input)


def is_storage(obj: Any) -> bool:
    """Whether an object is the memory of a tensor."""
    return isinstance(obj, UntypedStorage | TypedStorage)


def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both look at the same memory from the same position with the same sizes and strides."""
    return (
        input._kind is tensor._kind
        and input._a.shape == tensor._a.shape
        and UntypedStorage(input) == UntypedStorage(tensor)
        and input.storage_offset() == tensor.storage_offset()
        and input.stride() == tensor.stride()
    )
