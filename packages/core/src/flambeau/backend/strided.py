"""The helper for devices with memory of their own.

An author writes alloc, read, write and kernels on raw buffers. A kernel is called as
`kernel(q, out, *ins, **attrs)` and writes its result into `out`, a View of a Buffer that was
allocated with the right shape and dtype. It never sees broadcasting, promotion, empty or 0-d
arrays, nor autograd. `StridedDevice` makes the table of core's op boundary from such kernels and
supplies all views. docs/kernels.md lists the kernels; docs/dev/adding-a-backend.md shows the way
from the template to a tested backend.
"""

from __future__ import annotations

import functools
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dtypes
from flambeau.backend import _adapters, _views, protocol as _protocol
from flambeau.backend._kernels import Entry, KernelTable, Layout
from flambeau.backend._memory import Buffer, MemoryStats, Pool, View
from flambeau.backend._views import Shape, contiguous_strides, count
from flambeau.dtypes import dtype
from flambeau.errors import (
    BackendValidationError,
    ShapeError,
    UnsupportedDTypeError,
    UnsupportedOpError,
)
from flambeau.shape import infer_size

if TYPE_CHECKING:
    from flambeau.ops._op import Op

__all__ = ["Buffer", "Entry", "KernelTable", "Layout", "MemoryStats", "StridedDevice", "View"]

_COMPARE = ("eq", "lt")
#: What reductions of no elements give; None where there is nothing to give.
_OF_NOTHING = {"reduce_sum": 0, "reduce_prod": 1, "reduce_max": None, "reduce_min": None}


# ---- views: the same for every device, the meta device included
def as_strided(x: View, shape: Shape, strides: Shape, offset: int) -> View:
    """Any view of the same memory; offset counts from the buffer's start."""
    room = None if x.buf is None else x.buf.nbytes // x.dtype.itemsize
    return View(x.buf, x.dtype, *_views.as_strided(shape, strides, offset, room))


def strides(x: View) -> tuple[Shape, int]:
    """Strides and offset, in elements."""
    return x.strides, x.offset


def is_contiguous(x: View) -> bool:
    """Whether the elements follow each other in row-major order without gaps."""
    return x.contiguous


def view(x: View, shape: Shape) -> View:
    """The same memory under another shape, of which one size may be -1.

    Raises: ValueError: strides cannot express it.
    """
    if -1 in shape:
        shape = infer_size(shape, count(x.shape), "view")
    return View(x.buf, x.dtype, shape, _views.view(x.shape, x.strides, shape), x.offset)


def permute(x: View, dims: Shape) -> View:
    """Dimensions in another order."""
    return View(x.buf, x.dtype, *_views.permute(x.shape, x.strides, dims), x.offset)


def expand(x: View, shape: Shape) -> View:
    """Sizes of 1 repeated with stride 0."""
    return View(x.buf, x.dtype, shape, _views.expand(x.shape, x.strides, shape), x.offset)


def slice_(x: View, key: tuple[Any, ...]) -> View:
    """Basic indexing."""
    return View(x.buf, x.dtype, *_views.slice_(x.shape, x.strides, x.offset, key))


def real(x: View) -> View:
    """The real parts of a complex array."""
    steps = tuple([2 * s for s in x.strides])
    return View(x.buf, x.dtype.to_real(), x.shape, steps, 2 * x.offset)


def imag(x: View) -> View:
    """The imaginary parts of a complex array."""
    steps = tuple([2 * s for s in x.strides])
    return View(x.buf, x.dtype.to_real(), x.shape, steps, 2 * x.offset + 1)


def view_as_real(x: View) -> View:
    """Both parts of a complex array along a new last dimension."""
    parts = real(x)
    return View(x.buf, parts.dtype, (*x.shape, 2), (*parts.strides, 1), parts.offset)


def view_as_complex(x: View) -> View:
    """Pairs along the last dimension as complex numbers; ValueError where they are not neighbours."""
    pairs = x.shape[-1:] == (2,) and x.strides[-1] == 1 and x.offset % 2 == 0
    if not pairs or any(s % 2 for n, s in zip(x.shape[:-1], x.strides) if n > 1):
        raise ValueError(f"view_as_complex: {x} is not made of pairs")
    steps = tuple([s // 2 for s in x.strides[:-1]])
    return View(x.buf, x.dtype.to_complex(), x.shape[:-1], steps, x.offset // 2)


def check_writable(name: str, x: View) -> None:
    """Refuse to write where repeated dimensions give one position to several elements.

    Raises: ShapeError.
    """
    if _views.overlaps_itself(x.shape, x.strides):
        raise ShapeError(
            f"{name}: several elements of {x} share one memory location. Hint: clone() the tensor before"
        )


VIEWS: dict[str, Callable[..., Any]] = {
    "as_strided": as_strided, "strides": strides, "is_contiguous": is_contiguous, "view": view, "permute": permute,
    "expand": expand, "slice": slice_, "real": real, "imag": imag, "view_as_real": view_as_real,
    "view_as_complex": view_as_complex,
}  # fmt: skip


class StridedDevice(_protocol.Device):
    """A device that runs kernels on buffers of its own memory.

    A subclass sets `info` and `caps` in its `__init__`, names its KernelTable `kernels` in the class body, and writes
    alloc, write, read and synchronize. `queue`, if it sets one, is what kernels get as q.
    """

    #: What kernels, write and read get as their first argument.
    queue: Any = None
    #: Whether alloc is called for every array, because the backend keeps freed memory itself.
    manages_memory = False
    declared: KernelTable = KernelTable()

    #: Held during every call of a kernel, write and read: a device gets one at a time.
    lock: Any
    _pool: Pool
    _writes: list[tuple[Any, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The class attribute is the author's declaration; an instance's `kernels` is the table made from it.
        table = cls.__dict__.get("kernels")
        if isinstance(table, KernelTable):
            cls.declared = table
            delattr(cls, "kernels")

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Prepare what needs no argument, so that a subclass need not call `super().__init__`."""
        self = super().__new__(cls)
        self.lock = threading.RLock()
        self._pool = Pool(self)
        self._writes = []
        return self

    # ---- what an author writes
    @abstractmethod
    def alloc(self, nbytes: int) -> Buffer:
        """A new block of device memory with undefined content.  Raises: OutOfMemoryError: there is no room."""

    @abstractmethod
    def write(self, q: Any, dst: Buffer, off: int, src: memoryview) -> Any:
        """Copy bytes of the host to offset `off` of dst.

        Returns: None when it is done; else an object whose `query()` says so, until when src is kept alive.
        """

    @abstractmethod
    def read(self, q: Any, dst: memoryview, src: Buffer, off: int) -> None:
        """Fill dst, bytes of the host, from offset `off` of src; returns when it is filled."""

    def free(self, buf: Buffer) -> None:
        """Give a block of `alloc` back; by default its last reference is dropped."""

    # ---- memory
    def empty(self, shape: Shape, d: dtype) -> View:
        """A new contiguous array with undefined content."""
        n = count(shape)
        return View(
            self._buffer(n * d.itemsize) if n else self._nothing,
            d,
            shape,
            contiguous_strides(shape),
        )

    def _buffer(self, nbytes: int) -> Buffer:
        if not self.manages_memory:
            return self._pool.take(nbytes)
        made = self.alloc(nbytes)
        made.device, made.stream = self, self.queue
        return made

    @functools.cached_property
    def _nothing(self) -> Buffer:
        made = Buffer(None, 0)
        made.device = self
        return made

    def memory_stats(self) -> MemoryStats:
        """What is in use and what is kept for later use."""
        return self._pool.stats()

    def reset_peak_memory_stats(self) -> None:
        """Start the peaks of `memory_stats` again from what is in use now."""
        self._pool.reset_peaks()

    def empty_cache(self) -> None:
        """Give kept memory back to the device."""
        self._pool.flush()

    def close(self) -> None:
        """Give kept memory back."""
        self._pool.flush()

    # ---- between the host and the device
    def from_host(self, array: np.ndarray[Any, Any]) -> View:
        """A copy of a host array in device memory.

        Raises: UnsupportedDTypeError: the device has no such dtype.
        """
        d = dtypes.from_numpy_dtype(array.dtype)
        if d not in self.caps.compute and d not in self.caps.storage:
            raise UnsupportedDTypeError(
                f"{self.info.name} has no {d.name}. Hint: x.float() before x.to(device)"
            )
        out = self.empty(array.shape, d)
        if count(array.shape):
            flat = np.ascontiguousarray(array, d.numpy).reshape(-1).view(np.uint8)
            with self.lock:
                event = self.write(self.queue, out.buf, 0, flat.data)
            if event is not None:
                self._writes = [w for w in self._writes if not w[0].query()]
                self._writes.append((event, flat))
        return out

    def to_host(self, x: View) -> np.ndarray[Any, Any]:
        """A copy of an array in host memory, row-major."""
        out = np.empty(x.shape, x.dtype.numpy)
        if out.size:
            if not x.contiguous:
                x = self.copy(x)
            with self.lock:
                self.read(
                    self.queue,
                    out.reshape(-1).view(np.uint8).data,
                    x.buf,
                    x.offset * x.dtype.itemsize,
                )
        return out

    def item(self, x: View) -> Any:
        """The only element as a Python number."""
        out = np.empty(1, x.dtype.numpy)
        with self.lock:
            self.read(self.queue, out.view(np.uint8).data, x.buf, x.offset * x.dtype.itemsize)
        found = out.item()
        return float(found) if x.dtype.is_floating_point else found

    # ---- kernels that everything here needs
    def const(self, value: complex, d: dtype) -> Any:
        """A Python number as kernels get it: bool, int within the dtype's range, float or complex."""
        number: Any = value
        if d.category == dtypes.INTEGER:
            bits = 8 * d.itemsize
            whole = int(number) & ((1 << bits) - 1)
            return whole - (1 << bits) if d.is_signed and whole >> (bits - 1) else whole
        return (bool, int, float, complex)[d.category](number)

    def fill(self, shape: Shape, value: Any, d: dtype) -> View:
        """A new array of one value."""
        out = self.empty(shape, d)
        n = count(shape)
        if n:
            with self.lock:
                self._entry("fill").fn(
                    self.queue, View(out.buf, d, (n,), (1,)), value=self.const(value, d)
                )
        return out

    def fill_(self, x: View, value: Any) -> None:
        """Overwrite every element with a number."""
        check_writable("fill_", x)
        if not count(x.shape):
            return
        entry = self._entry("fill")
        shape, (steps,), _ = _views.coalesce(x.shape, [x.strides])
        fits = len(shape) <= self.caps.max_rank and (entry.layout is Layout.STRIDED or x.contiguous)
        if not fits:
            self.copy(self.fill((), value, x.dtype), x)
            return
        with self.lock:
            out = View(x.buf, x.dtype, shape or (1,), steps or (1,), x.offset)
            entry.fn(self.queue, out, value=self.const(value, x.dtype))

    def iota(self, n: int, start: Any, step: Any, d: dtype) -> View:
        """start, start + step, ...: n values."""
        out = self.empty((n,), d)
        if n:
            with self.lock:
                self._entry("iota").fn(
                    self.queue, View(out.buf, d, (n,), (1,)), start=start, step=step
                )
        return out

    def copy(self, x: View, out: Any = ...) -> View:
        """A contiguous copy, or a copy into `out`, to which x is broadcast.

        Raises: ValueError: it does not broadcast, or elements of out share memory.
        """
        if out is not ... and out.dtype is not x.dtype:
            x = self.cast(x, out.dtype)
        copied: View = self._copy((x,), out)
        return copied

    def cast(self, x: View, d: dtype) -> View:
        """The elements converted to another dtype."""
        if x.dtype is d:
            return self.copy(x)
        cast: View = self._cast((x,), ..., d)
        return cast

    @functools.cached_property
    def _copy(self) -> Callable[..., Any]:
        return _adapters.elementwise(self, self._entry("copy"))

    @functools.cached_property
    def _cast(self) -> Callable[..., Any]:
        return _adapters.elementwise(self, self._entry("cast"))

    def _entry(self, name: str) -> Entry:
        return self.declared.entries[name]

    # ---- the op boundary
    @functools.cached_property
    def kernels(self) -> Any:  # type: ignore[override]  # made at its first use
        """The table that core calls, made from the declared kernels."""
        entries = self.declared.entries
        if "copy" in entries and entries["copy"].layout is not Layout.STRIDED:
            raise BackendValidationError(
                "kernel 'copy' must take any view: @K.kernel('copy', layout=Layout.STRIDED)"
            )
        table = _protocol.KernelTable(VIEWS)
        own = {
            "from_host": self.from_host,
            "to_host": self.to_host,
            "item": self.item,
            "fill_": self.fill_,
        }
        table.update(own)
        for name, entry in entries.items():
            table[name] = self._boundary(name, entry)
        if "bmm" in entries and "matmul" not in entries:
            table["matmul"] = self._widened("matmul", _adapters.matmul(self, table["bmm"]))
        return table

    def _boundary(self, name: str, entry: Entry) -> Callable[..., Any]:
        if entry.boundary:
            return functools.partial(entry.fn, self)
        if name in ("fill", "iota", "copy", "cast"):
            made: Callable[..., Any] = getattr(self, name)
            return made
        return self._widened(name, self._adapter(name, entry))

    def _adapter(self, name: str, entry: Entry) -> Callable[..., Any]:
        if name in _OF_NOTHING:
            return _adapters.reduction(self, entry, _OF_NOTHING[name])
        special = {
            "bmm": _adapters.bmm,
            "gather": _adapters.gather,
            "scatter": _adapters.scatter,
        }.get(name)
        if special is not None:
            return special(self, entry)
        if name not in _protocol.REQUIRED:
            return _adapters.declared(self, entry)
        rule = _adapters.result_rule("compare" if name in _COMPARE else "same")
        run = _adapters.elementwise(self, entry, rule, int(name == "where"))

        def call(*ins: Any, out: Any = ...) -> Any:
            return run(ins, out)

        return call

    def _widened(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return _adapters.widening(self, call) if self.narrow else call

    @functools.cached_property
    def narrow(self) -> dict[dtype, dtype]:
        """The dtypes that the device only stores, each with the one in which it computes for them."""
        return {
            d: dtypes.float32
            if d.is_floating_point
            else dtypes.complex64
            if d.is_complex
            else dtypes.int64
            for d in self.caps.storage - self.caps.compute
        }

    check_writable = staticmethod(check_writable)

    # ---- calls that the author's kernels do not take
    def record(self, name: str) -> Op | None:
        """The declaration of the operation that has kernel `name`; one with a default body first."""
        from flambeau.ops._op import OPS

        found: list[Op] = [f.op for f in OPS.values() if f.op.kernel == name and not f.op.swap]
        return next((r for r in found if r.body is not None), found[0] if found else None)

    def fallback(self, name: str, ins: tuple[Any, ...], attrs: tuple[Any, ...], out: Any) -> View:
        """The result of the operation's default body, where the declared kernel does not take a call.

        Raises: UnsupportedOpError: the operation has no default.
        """
        from flambeau.ops._recover import decompose
        from flambeau.tensor import wrap

        record = self.record(name)
        if record is None or record.body is None:
            got = ", ".join(str(x) for x in (*ins, *attrs))
            raise UnsupportedOpError(
                f"{name}: the kernel of {self.info.name} does not take ({got}), and there is no default. Hint: x.cpu()"
            )
        kinds = self._kinds()
        operands = tuple([wrap(x, kinds[x.dtype]) if x.__class__ is View else x for x in ins])
        result: View = decompose(record, operands, attrs)[0]
        return result if out is ... else self.copy(result, out)

    def _kinds(self) -> Any:
        from flambeau.kinds import _kinds

        return next(k for k in _kinds.values() if k[dtypes.float32].dev is self)
