"""Making tensors: from data, filled, ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.device import canonical
from flambeau.dtypes import dtype as dtype_type
from flambeau.errors import ArgumentError, ShapeError
from flambeau.kinds import Kind, as_dtype, kind_of
from flambeau.ops._public import Public
from flambeau.ops._recover import no_room
from flambeau.ops.casting import convert
from flambeau.shape import Size, as_shape, check_sizes
from flambeau.tensor import Tensor, describe, wrap

_CPU = canonical("cpu")

_NUMBERS = (bool, int, float, complex)


def _kind(dtype: Any, device: Any, default: dtype_type | None = None) -> Kind:
    if dtype is None:
        dtype = default or dtypes.get_default_dtype()
    elif not isinstance(dtype, dtype_type):
        dtype = as_dtype(dtype)
    return kind_of(canonical(device), dtype)


def _finish(native: Any, kind: Kind, requires_grad: bool, out: Tensor | None = None) -> Tensor:
    t = wrap(native, kind)
    if out is not None:
        from flambeau.ops._recover import write_out

        return write_out(t, out)
    return t.requires_grad_() if requires_grad else t


# ---- from data
def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of the given data, always copied.

    Args: data: number, nested sequences of numbers, NumPy array, or Tensor.
        dtype: inferred if None: Python floats give the default dtype, ints int64, bools bool; arrays keep theirs.
        device: cpu if None.  requires_grad: record operations on it.
    Raises: ShapeError: ragged sequences.  ArgumentError: data that are no numbers.

    Example:
        >>> import flambeau as fb
        >>> fb.tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    if isinstance(data, Tensor):
        kind = (
            data._kind
            if dtype is None and device is None
            else _kind(dtype or data.dtype, device or data.device)
        )
        t = wrap(data._kind.k["copy"](data._a), data._kind)
        t = convert(t, kind)
    else:
        array, inferred = _array_of(data, dtype)
        kind = _kind(dtype, device, inferred)
        t = (
            wrap(kind.k["from_host"](array), kind)
            if inferred is kind.dtype
            else _from_other(array, inferred, kind)
        )
    return t.requires_grad_() if requires_grad else t


def _from_other(array: Any, inferred: dtype_type, kind: Kind) -> Tensor:
    start = (
        kind_of(kind.device, inferred)
        if inferred in kind.dev.caps.compute
        else kind_of(canonical("cpu"), inferred)
    )
    return convert(wrap(start.k["from_host"](array), start), kind)


def _array_of(data: Any, dtype: Any) -> tuple[Any, dtype_type]:
    """A fresh host array of data, and the dtype PyTorch infers for it."""
    if isinstance(data, np.ndarray | np.generic):
        found = dtypes.from_numpy_dtype(data.dtype)
        return np.array(data, dtype=found.numpy), found
    if isinstance(data, Sequence) and not isinstance(data, str) and _holds_tensors(data):
        data = [_plain(x) for x in data]
    try:
        array = np.array(data)
    except ValueError as error:
        raise ShapeError(
            f"tensor: expected sequences of equal length at every depth ({error})"
        ) from error
    except OverflowError as error:
        raise ShapeError(f"tensor: Overflow when unpacking long ({error})") from error
    kind = array.dtype.kind
    if kind == "f" and not isinstance(data, np.ndarray) and not _numpy_inside(data):
        found = (
            dtype
            if isinstance(dtype, dtype_type) and dtype.is_floating_point
            else dtypes.get_default_dtype()
        )
        return array.astype(found.numpy), found
    if kind == "c":
        found = (
            dtypes.get_default_dtype().to_complex()
            if not _numpy_inside(data)
            else dtypes.from_numpy_dtype(array.dtype)
        )
        if isinstance(dtype, dtype_type) and dtype.is_complex:
            found = dtype
        return array.astype(found.numpy), found
    if array.size == 0 and not isinstance(data, np.ndarray):
        return array.astype(dtypes.get_default_dtype().numpy), dtypes.get_default_dtype()
    if kind not in "biuf":
        if kind == "O" and all(isinstance(x, int) for x in array.flat):
            raise ShapeError(
                "tensor: Overflow when unpacking long: an integer does not fit into int64"
            )
        raise ArgumentError(
            f"tensor: new(): invalid data type {_culprit(array)!r}; it takes numbers and sequences of numbers"
        )
    return array, dtypes.from_numpy_dtype(array.dtype)


def _holds_tensors(data: Sequence[Any]) -> bool:
    while isinstance(data, Sequence) and not isinstance(data, str) and len(data):
        if any(isinstance(x, Tensor) for x in data):
            return True
        data = data[0]
    return False


def _plain(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.tolist()
    return [_plain(i) for i in x] if isinstance(x, Sequence) and not isinstance(x, str) else x


def _numpy_inside(data: Any) -> bool:
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, np.ndarray) or (
        isinstance(data, np.generic) and not isinstance(data, float)
    )


def _culprit(array: Any) -> str:
    return "numpy.str_" if array.dtype.kind in "US" else type(next(iter(array.flat), None)).__name__


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """data as a tensor, sharing memory with tensors and NumPy arrays where dtype and device allow it."""
    if isinstance(data, Tensor):
        return convert(data, _kind(dtype or data.dtype, device or data.device))
    if isinstance(data, np.ndarray):
        t = from_numpy(data)
        return convert(t, _kind(dtype or t.dtype, device))
    return tensor(data, dtype=dtype, device=device)


asarray = as_tensor


def from_numpy(ndarray: np.ndarray[Any, Any]) -> Tensor:
    """A cpu tensor that shares memory with a NumPy array.

    Raises: ArgumentError: not an array, or elements that have no dtype here; negative strides.

    Example:
        >>> import flambeau as fb, numpy as np
        >>> a = np.zeros(2); t = fb.from_numpy(a); a[0] = 1; t
        tensor([1., 0.], dtype=flambeau.float64)
    """
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentError(f"expected np.ndarray (got {type(ndarray).__name__})")
    strides = ndarray.strides
    if strides and min(strides) < 0:
        raise ShapeError(
            "from_numpy: at least one stride in the given numpy array is negative, and tensors with "
            "negative strides are not "
            "supported. Hint: from_numpy(array.copy())"
        )
    of = ndarray.dtype
    found = dtypes.from_numpy_dtype(of)
    kind = kind_of(_CPU, found)
    if not of.isnative:
        ndarray = ndarray.astype(found.numpy)
    return wrap(kind.k["from_host"](ndarray), kind)


class _Capsule:
    """What gives a capsule of cpu memory to NumPy, which takes objects alone."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A cpu tensor that shares memory with an object of another library that speaks DLPack, or with its capsule."""
    spoken = hasattr(ext_tensor, "__dlpack__")
    return from_numpy(np.from_dlpack(ext_tensor if spoken else _Capsule(ext_tensor)))


def legacy_tensor(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
    """PyTorch's old constructor: `Tensor(2, 3)` is uninitialised (here: zeros), `Tensor([1, 2])` holds data as
    float.
    """
    if len(args) == 1 and not isinstance(args[0], int | Size):
        if isinstance(args[0], Tensor):
            return args[0].detach()
        return tensor(args[0], dtype=dtypes.get_default_dtype(), device=device)
    made: Tensor = zeros(*(args or (0,)), device=device)
    return made


# ---- filled
def full(
    size: Any,
    fill_value: Any,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of one value; its dtype follows the value unless given."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    kind = _kind(dtype, device, dtypes.of_scalar(fill_value))
    shape = check_sizes(as_shape((size,), "full"), "full")
    return _finish(_fill("full", shape, fill_value, kind), kind, requires_grad, out)


def _fill(name: str, shape: Any, value: Any, kind: Kind) -> Any:
    try:
        return kind.k["fill"](shape, value, kind.dtype)
    except MemoryError as error:
        raise no_room(name, kind, error) from None


def _filled(name: str, value: int, doc: str) -> Any:
    def make(
        *size: Any,
        out: Any = None,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        kind = _kind(dtype, device)
        shape = check_sizes(as_shape(size, name), name)
        return _finish(_fill(name, shape, value, kind), kind, requires_grad, out)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc
    return make


zeros = _filled("zeros", 0, "A tensor of zeros; sizes as ints or as one sequence.")
ones = _filled("ones", 1, "A tensor of ones; sizes as ints or as one sequence.")
empty = _filled("empty", 0, "A tensor whose values nobody should rely on (they are zeros here).")


def _like(name: str, make: Any, doc: str) -> Any:
    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Any:
        return make(
            input._a.shape,
            dtype=dtype or input.dtype,
            device=device or input.device,
            requires_grad=requires_grad,
        )

    like.__name__ = like.__qualname__ = name
    like.__doc__ = doc
    return like


zeros_like = _like("zeros_like", zeros, "Zeros of input's shape, dtype and device.")
ones_like = _like("ones_like", ones, "Ones of input's shape, dtype and device.")
empty_like = _like(
    "empty_like", empty, "An uninitialised tensor of input's shape, dtype and device."
)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """One value in input's shape, dtype and device."""
    return full(
        input._a.shape,
        fill_value,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def new_tensor(
    input: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of data with input's dtype and device."""
    return tensor(
        data, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad
    )


def _new(name: str, make: Any) -> Any:
    def new(
        input: Tensor,
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
    ) -> Any:
        return make(
            *size,
            dtype=dtype or input.dtype,
            device=device or input.device,
            requires_grad=requires_grad,
        )

    new.__name__ = new.__qualname__ = f"new_{name}"
    new.__doc__ = f"`{name}` with input's dtype and device."
    return new


new_zeros, new_ones, new_empty, new_full = (
    _new("zeros", zeros),
    _new("ones", ones),
    _new("empty", empty),
    _new("full", full),
)


# ---- ranges
def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Values from start (included) to end (excluded) by step; int64 for ints, the default dtype for floats.

    Raises: ShapeError: step is 0, or leads away from end.

    Example:
        >>> import flambeau as fb
        >>> fb.arange(0, 10, 2)
        tensor([0, 2, 4, 6, 8])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (
        v.item() if isinstance(v, Tensor | np.generic) else v for v in (start, end, step)
    )
    if step == 0:
        raise ShapeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise ShapeError(
            f"arange: upper bound and lower bound inconsistent with step sign, got {start}, {end}, {step}"
        )
    whole = all(isinstance(v, int) for v in (start, end, step))
    kind = _kind(dtype, device, dtypes.int64 if whole else None)
    n = max(-((start - end) // step), 0) if whole else math.ceil((end - start) / step)
    try:
        native = kind.k["iota"](int(n), start, step, kind.dtype)
    except MemoryError as error:
        raise no_room("arange", kind, error) from None
    return _finish(native, kind, requires_grad, out)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` values from start to end, both included, evenly spaced.

    Raises: ShapeError: steps is negative.
    """
    start, end = (v.item() if isinstance(v, Tensor | np.generic) else v for v in (start, end))
    if steps < 0:
        raise ShapeError(f"linspace: number of steps must be non-negative, got {steps}")
    is_complex = isinstance(start, complex) or isinstance(end, complex)
    kind = _kind(dtype, device, dtypes.get_default_dtype().to_complex() if is_complex else None)
    try:
        native = kind.k["from_host"](_even(start, end, int(steps), kind.dtype))
    except MemoryError as error:
        raise no_room("linspace", kind, error) from None
    return _finish(native, kind, requires_grad, out)


def _even(start: Any, end: Any, steps: int, d: dtype_type) -> Any:
    """Evenly spaced values computed from both ends, so that each endpoint is exact."""
    wide = np.complex128 if d.is_complex else np.float64
    if d.category == dtypes.INTEGER:
        return np.trunc(np.linspace(start, end, steps, dtype=wide)).astype(d.numpy)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    i = np.arange(steps)
    narrow = np.float64 if d.itemsize == 8 and not d.is_complex else wide
    values = np.where(
        i < steps // 2, start + step * i.astype(narrow), end - step * (steps - 1 - i).astype(narrow)
    )
    if steps == 1:
        values = np.full(1, start, wide)
    return values.astype(d.numpy)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """base to the power of `steps` evenly spaced exponents from start to end."""
    start, end = (v.item() if isinstance(v, Tensor | np.generic) else v for v in (start, end))
    kind = _kind(dtype, device)
    try:
        exponents = np.linspace(start, end, int(steps))
        native = kind.k["from_host"](np.power(float(base), exponents).astype(kind.dtype.numpy))
    except MemoryError as error:
        raise no_room("logspace", kind, error) from None
    return _finish(native, kind, requires_grad, out)


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal of an n x m matrix (m = n if not given), zeros elsewhere."""
    shape = check_sizes((int(n), int(n if m is None else m)), "eye")
    kind = _kind(dtype, device)
    try:
        native = kind.k["from_host"](np.eye(*shape, dtype=kind.dtype.numpy))
    except MemoryError as error:
        raise no_room("eye", kind, error) from None
    return _finish(native, kind, requires_grad, out)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid from 1-D coordinate vectors, one tensor for each.

    Raises: ArgumentError: indexing is neither "ij" nor "xy".  ShapeError: a tensor with more than one dimension.
    """
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ArgumentError(
            f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    for x in tensors:
        if x.dim() > 1:
            raise ShapeError(f"meshgrid: expects 0-d or 1-d tensors, got {describe(x)}")
    if indexing == "xy" and len(tensors) >= 2:
        a, b, *rest = tensors
        second, first, *others = meshgrid(b, a, *rest)
        return (first, second, *others)
    sizes = tuple(x.numel() for x in tensors)
    return tuple(
        x.reshape(tuple(n if i == j else 1 for j, n in enumerate(sizes))).expand(sizes)
        for i, x in enumerate(tensors)
    )


PUBLIC = Public(
    functions="tensor as_tensor asarray from_numpy from_dlpack full zeros ones empty "
    "zeros_like ones_like empty_like full_like "
    "arange linspace logspace eye meshgrid",
    methods="new_tensor new_zeros new_ones new_empty new_full",
)
