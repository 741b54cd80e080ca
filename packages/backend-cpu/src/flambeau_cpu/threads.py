"""How many threads NumPy's matrix products use: asked of the OpenBLAS that NumPy has loaded."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

#: OpenBLAS by the names that NumPy's wheels and distributions give its functions.
_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
_Calls = tuple[Callable[[], int], Callable[[int], None]]


def _candidates() -> Iterator[str]:
    """Paths of libraries that may be NumPy's OpenBLAS: those of its wheel, then those that this process has loaded."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        yield from (str(p) for p in sorted(folder.glob("*openblas*")))
    maps = Path("/proc/self/maps")
    if sys.platform == "linux" and maps.exists():
        words = (line.split() for line in maps.read_text(errors="replace").splitlines())
        yield from sorted({w[-1] for w in words if len(w) > 5 and "blas" in Path(w[-1]).name})


@functools.cache
def _calls() -> _Calls | None:
    """OpenBLAS's functions that tell and set the number of threads; None if NumPy uses another library."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)  # the one that is loaded already
        except OSError:
            continue
        for name in _NAMES:
            try:
                tell, change = (
                    library[name.format(f"{verb}_num_threads")] for verb in ("get", "set")
                )
            except AttributeError:
                continue
            tell.argtypes, tell.restype = (), ctypes.c_int
            change.argtypes, change.restype = (ctypes.c_int,), None
            return tell, change
    return None


def threads() -> int:
    """Threads of a matrix product; 1 where NumPy's library cannot be asked."""
    calls = _calls()
    return 1 if calls is None else calls[0]()


def set_threads(n: int) -> None:
    """Let matrix products use n threads; without effect where NumPy's library cannot be told."""
    calls = _calls()
    if calls is not None:
        calls[1](n)
