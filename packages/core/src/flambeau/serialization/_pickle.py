"""The pickle of a checkpoint, written with the names that PyTorch reads."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.device import device as device_type
from flambeau.dtypes import dtype
from flambeau.errors import CheckpointError
from flambeau.memory_format import memory_format, strided
from flambeau.serialization._tensors import OWN, STORAGES
from flambeau.shape import Size
from flambeau.tensor import Tensor, describe, host


class Name:
    """A global that is written by name, whether or not its module is here."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Pickle asks whether it could be called; nothing here calls it."""


_TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
_META = Name("torch._utils", "_rebuild_meta_tensor_no_storage")
_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_PARAMETER_WITH_STATE = Name("torch._utils", "_rebuild_parameter_with_state")
_FROM_TYPE = Name("torch._tensor", "_rebuild_from_type_v2")
_TENSOR_CLASS = Name("torch", "Tensor")
_DEVICE, _SIZE = Name("torch", "device"), Name("torch", "Size")
_UNINITIALIZED = Name("torch.nn.parameter", "UninitializedParameter")
_UNINITIALIZED_BUFFER = Name("torch.nn.parameter", "UninitializedBuffer")
_LAYOUT = Name("torch.serialization", "_get_layout")
_DTYPES = {d: Name("torch", d.name) for d in dtypes.ALL}
_STORAGES = {d: Name("torch", name) for d, name in STORAGES.items()}


#: The one whose save_global can be replaced.
_Base: Any = pickle._Pickler


class Block:
    """A memory block that tensors of the object share."""

    __slots__ = ("data", "dtype", "key", "location", "owner")

    def __init__(self, key: str, d: dtype, data: Any, location: str, owner: Any) -> None:
        self.key, self.dtype, self.data, self.location, self.owner = key, d, data, location, owner


def _root(array: Any) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def as_bytes(array: Any) -> Any:
    """The memory of an array without gaps, as bytes."""
    flat = array.T if array.flags.f_contiguous else array
    return flat.reshape(-1).view(np.uint8)


class Pickler(_Base):  # type: ignore[misc]  # typeshed does not know its methods
    """Writes an object; what tensors hold is gathered in `blocks`."""

    def __init__(self, file: Any, protocol: int) -> None:
        super().__init__(file, protocol)
        self.blocks: list[Block] = []
        self._by_memory: dict[Any, Block] = {}

    def persistent_id(self, obj: Any) -> Any:
        """Blocks are named; the archive has their bytes."""
        if type(obj) is not Block:
            return None
        n = obj.data.nbytes // obj.dtype.itemsize
        return ("storage", _STORAGES[obj.dtype], obj.key, obj.location, n)

    def reducer_override(self, obj: Any) -> Any:
        """Tensors and flambeau's own values, in PyTorch's words."""
        if isinstance(obj, Tensor):
            return self._reduce_tensor(obj)
        kind = type(obj)
        if kind is Name or kind is dtype:
            return "torch"
        if kind is device_type:
            return _DEVICE, ((obj.type,) if obj.index is None else (obj.type, obj.index))
        if kind is Size:
            return _SIZE, (tuple(obj),)
        if obj is strided:
            return _LAYOUT, ("torch.strided",)
        if kind is memory_format:
            return "torch"
        if isinstance(obj, dict) and kind.__module__.startswith("flambeau."):
            # What state_dict() returns: the class is ours, the content is not.
            return OrderedDict, (), vars(obj) or None, None, iter(obj.items())
        return NotImplemented

    def save_global(self, obj: Any, name: Any = None) -> None:
        """Globals, with the names above written as they are."""
        if type(obj) is dtype:
            obj = _DTYPES[obj]
        elif type(obj) is memory_format:
            obj = Name("torch", obj.name)
        if type(obj) is Name:
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    def _reduce_tensor(self, t: Tensor) -> Any:
        nn = sys.modules.get("flambeau.nn.parameter")
        attributes = {
            k: v for k, v in t.__dict__.items() if k not in OWN and not hasattr(Tensor, k)
        }
        if nn is not None:
            if nn.is_lazy(t):
                lazy = _UNINITIALIZED if isinstance(t, nn.Parameter) else _UNINITIALIZED_BUFFER
                return lazy, (t.requires_grad,)
            if isinstance(t, nn.Parameter):
                made: tuple[Any, ...] = (t.data, t.requires_grad, OrderedDict())
                if attributes:
                    return _PARAMETER_WITH_STATE, (*made, attributes)
                return _PARAMETER, made
            if isinstance(t, nn.Buffer):
                attributes |= {"persistent": t.persistent, "_is_buffer": True}
        fn, args = self._plain(t)
        if attributes:
            return _FROM_TYPE, (fn, _TENSOR_CLASS, args, attributes)
        return fn, args

    def _plain(self, t: Tensor) -> tuple[Name, tuple[Any, ...]]:
        shape = tuple(t.shape)
        if t.is_meta:
            return _META, (t.dtype, shape, t.stride(), t.requires_grad)
        block, offset, strides = self._block(t)
        return _TENSOR, (block, offset, shape, strides, t.requires_grad, OrderedDict())

    def _block(self, t: Tensor) -> tuple[Block, int, tuple[int, ...]]:
        """The block a tensor lives in, its place and its strides; a block with gaps is packed for this tensor."""
        array, d = host(t), t.dtype
        root, item = _root(array), d.itemsize
        start = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
        fits = (
            (root.flags.c_contiguous or root.flags.f_contiguous)
            and root.nbytes % item == 0
            and start % item == 0
            and not any(s % item or s < 0 for s in array.strides)
        )
        if not fits:
            root, start = np.ascontiguousarray(array).reshape(array.shape), 0
            array = root
        # Other devices give a copy each time: their tensors are known by the native array.
        key = id(root) if t.device.type == "cpu" else ("native", id(t._a))
        block = self._by_memory.get(key)
        if block is None:
            owner = (root, t._a)  # kept, so that no other array gets its id
            block = Block(str(len(self.blocks)), d, as_bytes(root), str(t.device), owner)
            self._by_memory[key] = block
            self.blocks.append(block)
        elif block.dtype is not d:
            raise CheckpointError(
                f"save: two tensors view the same memory as {block.dtype.name} and as {d.name} ({describe(t)}). "
                "Hint: save one of them, or .clone() it"
            )
        return block, start // item if array.size else 0, tuple(s // item for s in array.strides)


def dump(obj: Any, file: Any, protocol: int) -> list[Block]:
    """Write the pickle of obj; the memory blocks it refers to.

    Raises: CheckpointError: an object that no pickle can hold.
    """
    pickler = Pickler(file, protocol)
    try:
        pickler.dump(obj)
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError("save: the object is nested too deep to be written") from None
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"save: {error}. Hint: save numbers, text, tensors, and lists and dicts of them, such as "
            "model.state_dict()"
        ) from error
    return pickler.blocks
