"""How the author of a backend declares kernels: a table with a decorator."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flambeau.backend._memory import View
from flambeau.dtypes import dtype
from flambeau.errors import BackendValidationError

Kernel = Callable[..., Any]
F = TypeVar("F", bound=Kernel)


class Layout(enum.Enum):
    """Which views a kernel takes; others are copied before they reach it.

    CONTIG: row-major without gaps, at any offset.  MATRIX: the last two dimensions have one unit stride, and the other
    stride leaves no overlap; batch strides are free, 0 included.  STRIDED: any, stride 0 included.
    """

    CONTIG = "contiguous"
    MATRIX = "matrix"
    STRIDED = "strided"


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel with what it declared. boundary: it stands in the device's table as it is."""

    name: str
    fn: Kernel
    layout: Layout = Layout.CONTIG
    inplace: bool = False
    dtypes: frozenset[dtype] | None = None
    when: Callable[..., bool] | None = None
    deterministic: bool = True
    boundary: bool = False

    @property
    def guarded(self) -> bool:
        """Whether there are calls that it does not take."""
        return self.dtypes is not None or self.when is not None

    def accepts(self, ins: Iterable[Any], attrs: Mapping[str, Any]) -> bool:
        """Whether it takes these operands and attributes."""
        if self.dtypes is not None and any(
            x.__class__ is View and x.dtype not in self.dtypes for x in ins
        ):
            return False
        return self.when is None or bool(self.when(*ins, **attrs))


class KernelTable:
    """The kernels of a backend, filled by its decorator; a device class holds one as `kernels`.

    Args: base: tables whose kernels this one starts with, and may replace.

    Example:
        >>> K = KernelTable()
        >>> @K.kernel("neg", layout=Layout.STRIDED, inplace=True)
        ... def neg(q, out, x): ...
        >>> sorted(K)
        ['neg']
    """

    def __init__(self, *base: KernelTable) -> None:
        self.entries: dict[str, Entry] = {}
        for table in base:
            self.entries.update(table.entries)
        self._inherited = set(self.entries)

    def kernel(
        self,
        *names: str,
        layout: Layout = Layout.CONTIG,
        inplace: bool = False,
        dtypes: Iterable[dtype] | None = None,
        when: Callable[..., bool] | None = None,
        deterministic: bool = True,
    ) -> Callable[[F], F]:
        """Register `kernel(q, out, *ins, **attrs)` under one or several names; docs/kernels.md has every signature.

        Args:
            layout: which views it takes.  inplace: `out` may be the very view that an input is.
            dtypes: of the operands that it takes; all if None.  when: called like the kernel, without q and out; false
                where the kernel is not to be used. What is not taken goes the way of a device without the kernel.
            deterministic: the same call gives the same bits.
        Raises: BackendValidationError: a name is taken, or the function cannot be called with q and out.
        """
        taken = None if dtypes is None else frozenset(dtypes)

        def register(fn: F) -> F:
            _check_signature(names, fn)
            for name in names:
                self._add(Entry(name, fn, layout, inplace, taken, when, deterministic))
            return fn

        return register

    def boundary(self, *names: str) -> Callable[[F], F]:
        """Register `fn(device, *arrays, *attrs)` that does everything itself, on Views as core has them."""

        def register(fn: F) -> F:
            for name in names:
                self._add(Entry(name, fn, boundary=True))
            return fn

        return register

    def _add(self, entry: Entry) -> None:
        if entry.name in self.entries and entry.name not in self._inherited:
            raise BackendValidationError(
                f"kernel {entry.name!r} is registered twice in one KernelTable"
            )
        self._inherited.discard(entry.name)
        self.entries[entry.name] = entry

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __len__(self) -> int:
        return len(self.entries)


def _check_signature(names: tuple[str, ...], fn: Kernel) -> None:
    if not names:
        raise BackendValidationError("K.kernel() needs the name of the kernel: @K.kernel('neg')")
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # builtins do not tell
        return
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise BackendValidationError(
            f"kernel {names[0]!r} must be callable as kernel(q, out, *ins, **attrs), got {fn.__name__}"
            f"{inspect.signature(fn)}"
        )
