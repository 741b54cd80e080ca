"""The meta device: arrays with a shape, a dtype and strides, and no data. Every operation runs by its rules alone.

Its native arrays are Views without a buffer. A kernel's answer comes from the op that is declared with that kernel, so
operations of libraries that are imported later work too.

Example:
    >>> import flambeau as fb
    >>> x = fb.zeros(1000, 1000, 1000, 1000, device="meta")
    >>> (x @ x).sum(dim=0).shape
    flambeau.Size([1000, 1000, 1000])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import dtypes
from flambeau._version import __version__
from flambeau.backend._adapters import lead_dtype, result_rule
from flambeau.backend._memory import View
from flambeau.backend._views import Shape, contiguous_strides
from flambeau.backend.protocol import Backend, Caps, Device, DeviceInfo, KernelTable
from flambeau.backend.strided import VIEWS, check_writable
from flambeau.dtypes import dtype
from flambeau.errors import UnsupportedOpError
from flambeau.shape import broadcast_two


def empty(shape: Shape, d: dtype) -> View:
    """An array of this shape."""
    return View(None, d, shape, contiguous_strides(shape))


def no_data(x: View) -> Any:
    """What asks for elements fails.

    Raises: UnsupportedOpError: always.
    """
    raise UnsupportedOpError(
        f"Cannot copy out of meta tensor; no data! (meta tensors have no data: {tuple(x.shape)} {x.dtype.name} meta). "
        "Hint: make the tensor on another device, or empty_like(x, device='cpu')"
    )


def copy(x: View, out: Any = ...) -> View:
    """A contiguous array of x's shape; or out, once x is known to broadcast to it."""
    return empty(x.shape, x.dtype) if out is ... else _written("copy", x.shape, out)


def _written(name: str, shape: Shape, out: View) -> View:
    if broadcast_two(shape, out.shape) != out.shape:
        raise ValueError(f"{name}: cannot write shape {shape} into {out}")
    check_writable(name, out)
    return out


GIVEN: dict[str, Callable[..., Any]] = {
    **VIEWS,
    "from_host": lambda array: empty(array.shape, dtypes.from_numpy_dtype(array.dtype)),
    "to_host": no_data,
    "item": no_data,
    "fill": lambda shape, value, d: empty(shape, d),
    "fill_": lambda x, value: check_writable("fill_", x),
    "iota": lambda n, start, step, d: empty((n,), d),
    "cast": lambda x, d: empty(x.shape, d),
    "copy": copy,
}


class MetaTable(KernelTable):
    """Answers every kernel that some declared op has; other names, as everywhere, with None."""

    def __missing__(self, name: str) -> Any:
        from flambeau.ops._op import OPS

        records = [f.op for f in OPS.values() if f.op.kernel == name]
        if not records:
            return None  # not kept: the op may be declared by a library that is imported later
        made = self[name] = _by_rule(name, next((r for r in records if not r.swap), records[0]))
        return made


def _by_rule(name: str, record: Any) -> Callable[..., Any]:
    """A kernel that gives the shape and dtype that the op's rules say."""
    n, masks, rule = len(record.operands), record.lead, result_rule(record.dtype)

    def call(*values: Any, out: Any = ...) -> Any:
        ins = values[:n]
        shape: Shape = ()
        if record.shape.__name__ == "broadcast":
            for x in ins:
                if x.__class__ is View:
                    shape = broadcast_two(shape, x.shape)
        else:
            shapes = [x.shape if x.__class__ is View else x for x in ins]
            shape = tuple(record.shape(*shapes, *values[n:]))
        if out is not ...:
            return _written(name, shape, out)
        d = lead_dtype(ins, masks)
        return empty(shape, d if rule is None else rule(d))

    return call


class MetaDevice(Device):
    """Shapes and dtypes only."""

    def __init__(self) -> None:
        self.info = INFO
        self.caps = Caps(compute=frozenset(dtypes.ALL), unified_memory=True, fork_safe=True)
        self.kernels = MetaTable(GIVEN)

    def synchronize(self) -> None:
        """Nothing to wait for."""


INFO = DeviceInfo(0, "no data, shapes only", driver=f"flambeau {__version__}", kind="cpu")


class MetaBackend(Backend):
    """The one meta device."""

    name = "meta"

    def devices(self) -> Sequence[DeviceInfo]:
        """The meta device."""
        return [INFO]

    def open(self, index: int) -> MetaDevice:
        """The meta device."""
        return MetaDevice()
