"""The Tensor: a native array, its kind, its place on the tape. Operations live in `ops/` and become methods there."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from flambeau import _late, dtypes
from flambeau._methods import TensorMethods
from flambeau.autograd.node import AccumulateGrad, OutputEdge, RemovableHandle, Storage, register
from flambeau.device import device as device_type
from flambeau.dtypes import dtype
from flambeau.errors import ArgumentError, DeviceError, DTypeError, GradError, ShapeError
from flambeau.kinds import Kind
from flambeau.shape import Size

_new = object.__new__


class Tensor(TensorMethods):
    """An n-dimensional array of one dtype on one device that can record how it was computed.

    Make one with `flambeau.tensor`, `zeros`, `randn` ...; `Tensor(2, 3)` and `Tensor([1, 2])` are PyTorch's
    old spelling.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
    """

    # _a: native array; _kind: dtype and device; _g: tape edge or None; _s: storage, made when memory is first shared,
    # saved or written; _v: (parent, function, arguments) of a view; function is None if
    # it was made while no graph was recorded.
    __slots__ = ("__dict__", "__weakref__", "_a", "_g", "_kind", "_s", "_v")

    _a: Any
    _kind: Kind
    _g: Any
    _s: Storage | None
    _v: Any

    #: The accumulated gradient of a leaf.
    _grad: Tensor | None = None
    _retains: bool = False
    is_sparse = False
    is_quantized = False
    is_mkldnn = False
    is_nested = False
    layout = "strided"

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        from flambeau.ops.creation import legacy_tensor

        made = legacy_tensor(*args, **kwargs)
        return made if cls is Tensor else _as_class(made, cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        TENSORS.add(cls)

    # ---- what it is
    @property
    def shape(self) -> Size:
        """Sizes of the dimensions."""
        return Size(self._a.shape)

    @property
    def dtype(self) -> dtype:
        """Element type."""
        return self._kind.dtype

    @property
    def device(self) -> device_type:
        """Where the elements live."""
        return self._kind.device

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._a.shape)

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._kind.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self._kind.dtype.itemsize

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension.

        Raises: IndexRangeError: there is no such dimension.
        """
        if dim is None:
            return Size(self._a.shape)
        from flambeau.shape import wrap_dim

        return self._a.shape[wrap_dim(dim, len(self._a.shape), "size")]

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._a.shape)

    def numel(self) -> int:
        """Number of elements."""
        n = 1
        for s in self._a.shape:
            n *= s
        return n

    nelement = numel
    ndimension = dim

    def element_size(self) -> int:
        """Bytes per element."""
        return self._kind.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps, in elements, from one index to the next along each dimension."""
        strides: tuple[int, ...] = self._kind.k["strides"](self._a)[0]
        if dim is None:
            return strides
        from flambeau.shape import wrap_dim

        return strides[wrap_dim(dim, len(strides), "stride")]

    def storage_offset(self) -> int:
        """Position of the first element in its storage, in elements."""
        offset: int = self._kind.k["strides"](self._a)[1]
        return offset

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether elements follow each other in row-major order without gaps."""
        tell = self._kind.k["is_contiguous"]
        if tell is not None:
            return bool(tell(self._a))
        expected = 1
        for n, s in zip(reversed(self._a.shape), reversed(self.stride()), strict=True):
            if n != 1 and s != expected:
                return self.numel() == 0
            expected *= n
        return True

    def is_floating_point(self) -> bool:
        """Whether the dtype is floating-point."""
        return self._kind.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self._kind.dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype holds negative numbers."""
        return self._kind.dtype.is_signed

    @property
    def is_cuda(self) -> bool:
        """Whether the device is GPU-like, as code written for CUDA asks."""
        return self._kind.dev.info.kind in ("gpu", "accelerator")

    @property
    def is_cpu(self) -> bool:
        """Whether the device is the CPU."""
        return self._kind.device.type == "cpu"

    @property
    def is_meta(self) -> bool:
        """Whether it has a shape and no data."""
        return self._kind.device.type == "meta"

    # ---- autograd
    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor."""
        return self._g is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients of this leaf, or no longer.

        Raises: GradError: it is not a leaf, or its dtype is neither floating-point nor complex.
        """
        if requires_grad:
            if self._g is None:
                if self._kind.dtype.category < dtypes.FLOATING:
                    raise GradError(
                        "only Tensors of floating point and complex dtype can require gradients, got "
                        f"{describe(self)}. Hint: x.float()"
                    )
                self._g = self.__dict__.pop("_idle", None) or AccumulateGrad(self)
                self._g.shape, self._g.kind = self._a.shape, self._kind
        elif self._g is not None:
            if not isinstance(self._g, AccumulateGrad):
                raise GradError(
                    "you can only change requires_grad flags of leaf variables. Hint: use detach() for a tensor that "
                    "shares the values without the history"
                )
            # With its hooks, and graphs that end there, for a later True.
            self._g, self._idle = None, self._g
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self._g is None or isinstance(self._g, AccumulateGrad)

    @property
    def grad_fn(self) -> Any:
        """The tape node that made it; None for leaves."""
        g = self._g
        if g is None or isinstance(g, AccumulateGrad):
            return None
        return g.parent if isinstance(g, OutputEdge) else g

    @property
    def output_nr(self) -> int:
        """Which output of its grad_fn it is."""
        return self._g.index if isinstance(self._g, OutputEdge) else 0

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward() accumulated; None before, and after `x.grad = None`.

        Raises (on assignment): ArgumentError, ShapeError, DTypeError: the value does not fit this tensor.
        """
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise ArgumentError(
                    f"grad: assigned grad must be a Tensor or None, got {type(value).__name__}"
                )
            if value._a.shape != self._a.shape:
                raise ShapeError(
                    f"grad: assigned grad has {describe(value)}, the tensor is {describe(self)}"
                )
            if value._kind is not self._kind:
                there = value._kind.device == self._kind.device
                hint = f"value.to({self.dtype!r})" if there else f"value.to('{self.device}')"
                raise (DTypeError if there else DeviceError)(
                    f"grad: assigned grad has {describe(value)}, the tensor is {describe(self)}. Hint: {hint}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def retain_grad(self) -> None:
        """Keep `.grad` for this tensor although it is not a leaf."""
        if self.is_leaf:
            if self._g is None:
                raise GradError(
                    f"can't retain_grad on Tensor that has requires_grad=False ({describe(self)})"
                )
            return
        if not self._retains:
            from flambeau.autograd.engine import retain

            retain(self)
            self._retains = True

    @property
    def retains_grad(self) -> bool:
        """Whether retain_grad() was called."""
        return self._retains

    def backward(
        self,
        gradient: Any = None,
        retain_graph: Any = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Accumulate the gradient of this tensor into the `.grad` of the leaves it was computed from.

        Args: gradient: of the loss with respect to this tensor, same shape; 1 for one-element tensors.
            retain_graph: keep the graph for another walk.  create_graph: make gradients differentiable.
            inputs: accumulate into these tensors alone.
        Raises: GradError: it has no history, it has several elements and no gradient was given, or the graph was freed.
        """
        _late.backward((self,), (gradient,), retain_graph, create_graph, inputs)

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call hook(grad) when the gradient of this tensor is known; a result that is not None replaces it."""
        if self._g is None:
            raise GradError(
                f"cannot register a hook on a tensor that doesn't require gradient ({describe(self)})"
            )
        return register(self._g, "tensor", hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> RemovableHandle:
        """Call hook(tensor) after `.grad` of this leaf was updated."""
        if not isinstance(self._g, AccumulateGrad):
            raise GradError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return register(self._g, "post", hook)

    def detach(self) -> Tensor:
        """The same memory without the history."""
        s = self._s
        if s is None:
            s = self._s = Storage()
        t = wrap(self._a, self._kind)
        t._s = s
        return t

    def detach_(self) -> Tensor:
        """Forget the history, in place."""
        if self._v is not None:
            raise GradError("Can't detach views in-place. Hint: use detach() instead")
        self._g = None
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without the history, and without a version that autograd would watch."""
        return wrap(self._a, self._kind)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ArgumentError(f"data: needs a Tensor, got {type(value).__name__}")
        if self._g is not None and value._kind.dtype.category < dtypes.FLOATING:
            raise DTypeError(
                f"data: a tensor that requires grad needs a floating-point dtype, got {describe(value)}"
            )
        self._a, self._kind = value._a, value._kind
        if isinstance(self._g, AccumulateGrad):
            self._g.shape, self._g.kind = value._a.shape, value._kind

    @property
    def _version(self) -> int:
        return 0 if self._s is None else self._s.version

    @property
    def _base(self) -> Tensor | None:
        if self._v is None:
            return None
        from flambeau.autograd.inplace import root

        return root(self)

    def _is_view(self) -> bool:
        return self._v is not None

    def is_inference(self) -> bool:
        """Whether it was made to be used without autograd; inference_mode here is no_grad, so never."""
        return False

    # ---- leaving for Python and NumPy
    def item(self) -> Any:
        """The only element as a Python number.

        Raises: ShapeError: there is not exactly one element.
        """
        if self.numel() != 1:
            raise ShapeError(
                f"item: a Tensor with {self.numel()} elements cannot be converted to Scalar ({describe(self)}). "
                "Hint: tolist(), or reduce it first with .mean() or .sum()"
            )
        return self._kind.k["item"](self._a)

    def tolist(self) -> Any:
        """Nested lists of Python numbers (a number for a 0-d tensor)."""
        return host(self).tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """A NumPy array of the values, sharing memory on the cpu.

        Raises: GradError: the tensor requires grad.  DTypeError: it lives on another device than the cpu.
        """
        if not force:
            if self._g is not None:
                raise GradError(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
                )
            if self._kind.device.type != "cpu":
                raise DTypeError(
                    f"can't convert {self._kind.device} device type tensor to numpy. Use Tensor.cpu() "
                    f"to copy the tensor "
                    "to host memory first."
                )
        return host(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    # NumPy's operators leave `array * tensor` to the tensor; its functions hand their result to __array_wrap__.
    __array_priority__ = 1000

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        from flambeau.ops.creation import from_numpy

        return from_numpy(np.asarray(array))

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.numpy().__dlpack_device__()

    def __bool__(self) -> bool:
        if self.numel() != 1:
            word = "no values" if self.numel() == 0 else "more than one value"
            raise ShapeError(
                f"Boolean value of Tensor with {word} is ambiguous ({describe(self)}). Hint: use .any() or .all()"
            )
        return bool(self._kind.k["item"](self._a))

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._kind.dtype.category > dtypes.INTEGER or self.numel() != 1:
            raise ArgumentError(
                f"only integer tensors of a single element can be converted to an index, got {describe(self)}"
            )
        return int(self.item())

    def __len__(self) -> int:
        if not self._a.shape:
            raise ArgumentError("len() of a 0-d tensor")
        length: int = self._a.shape[0]
        return length

    def __iter__(self) -> Iterator[Tensor]:
        if not self._a.shape:
            raise ArgumentError("iteration over a 0-d tensor")
        from flambeau.ops.movement import unbind

        return iter(unbind(self, 0))

    def __contains__(self, element: Any) -> bool:
        if not isinstance(element, Tensor | bool | int | float | complex):
            raise ArgumentError(
                f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element).__name__}."
            )
        return bool((self == element).any())

    __hash__ = object.__hash__

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from flambeau.representation import tensor_repr

        return tensor_repr(self)

    def __format__(self, spec: str) -> str:
        if not self._a.shape and self._kind.device.type != "meta":
            return format(self.item(), spec)
        if spec:
            raise ArgumentError(
                f"unsupported format string passed to Tensor.__format__: {spec!r} formats one number, got "
                f"{describe(self)}. Hint: x.item(), or set_printoptions(precision=...)"
            )
        return format(repr(self), spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            found: Tensor = memo[id(self)]
            return found
        if not self.is_leaf:
            raise GradError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment. "
                "Hint: x.detach().clone()"
            )
        t = _as_class(wrap(self._kind.k["copy"](self._a), self._kind), type(self))
        memo[id(self)] = t
        t.requires_grad_(self._g is not None)
        t.__dict__.update(deepcopy(_attributes(self), memo))
        if self._grad is not None:
            t._grad = self._grad.__deepcopy__(memo)
        return t

    def __reduce_ex__(self, protocol: Any) -> Any:
        state_ = (
            type(self),
            host(self),
            self._kind.dtype,
            str(self._kind.device),
            self._g is not None,
            _attributes(self) or None,
        )
        return rebuild, state_


TENSORS: set[type] = {Tensor}


def wrap(native: Any, kind: Kind, g: Any = None) -> Tensor:
    """A Tensor around a native array that nothing else holds."""
    t: Tensor = _new(Tensor)
    t._a, t._kind, t._g = native, kind, g
    t._s = t._v = None
    return t


def _attributes(t: Tensor) -> dict[str, Any]:
    """What the user hung on a tensor; gradients and hooks stay behind."""
    return {k: v for k, v in t.__dict__.items() if k not in ("_grad", "_retains", "_idle")}


def _as_class(t: Tensor, cls: type) -> Tensor:
    """The same native array in a tensor of a subclass."""
    if cls is Tensor:
        return t
    made: Tensor = _new(cls)
    made._a, made._kind, made._g, made._s, made._v = t._a, t._kind, None, t._s, None
    return made


def rebuild(
    cls: type, array: Any, d: dtype, where: str, requires_grad: bool, attributes: Any
) -> Tensor:
    """The inverse of pickling."""
    from flambeau.device import canonical
    from flambeau.kinds import kind_of

    kind = kind_of(canonical(where), d)
    t = _as_class(wrap(kind.k["from_host"](array), kind), cls)
    t.requires_grad_(requires_grad)
    if attributes:
        t.__dict__.update(attributes)
    return t


def host(t: Tensor) -> np.ndarray[Any, Any]:
    """The values as a NumPy array, sharing memory where the device allows it."""
    array: np.ndarray[Any, Any] = t._kind.k["to_host"](t._a)
    return array


def describe(value: Any) -> str:
    """A tensor in error messages: (2, 3) float32 cpu."""
    if isinstance(value, Tensor):
        return f"{tuple(value._a.shape)} {value._kind!r}"
    return repr(value)


__all__ = ["TENSORS", "Tensor", "describe", "host", "rebuild", "wrap"]
