"""The exceptions of flambeau.

Every class also inherits from what PyTorch raises in the same place, so `except` clauses port unchanged. A message
names the operation, the rule that was broken, what came (shape, dtype, device) and one hint.
"""

from __future__ import annotations

from pickle import UnpicklingError


class FlambeauError(Exception):
    """Base of every exception that flambeau defines."""


class ShapeError(FlambeauError, RuntimeError, ValueError):
    """Operand shapes that an operation cannot combine."""


class DTypeError(FlambeauError, RuntimeError, TypeError):
    """A dtype that an operation does not take, or a cast that would lose a category."""


class ArgumentError(FlambeauError, TypeError, ValueError, RuntimeError):
    """An argument of the wrong type, or a value that no operation of that name takes."""


class IndexRangeError(FlambeauError, IndexError, RuntimeError):
    """A dimension or an index outside its range."""

    #: Of a position: index, dimension, its size, and the lowest that is valid.
    where: tuple[int, int, int, int] | None = None


def out_of_bounds(
    index: int, dim: int, size: int, low: int, op: str = "", of: str = ""
) -> IndexRangeError:
    """The error of a position outside [low, size); kernels leave out the operation and what is indexed."""
    valid = f"valid: {low} to {size - 1}" if size else "it is empty"
    error = IndexRangeError(
        f"{op}{': ' if op else ''}index {index} is out of bounds for dimension {dim} with size {size} "
        f"({valid}{'; ' if of else ''}{of})"
    )
    error.where = int(index), dim, size, low
    return error


class DivisionByZeroError(FlambeauError, RuntimeError, ZeroDivisionError):
    """Integers divided by zero."""


class DeviceError(FlambeauError, RuntimeError):
    """Operands on different devices, or a device that cannot be used."""


class GradError(FlambeauError, RuntimeError):
    """A gradient that cannot be computed."""


class InplaceModifiedError(GradError):
    """A tensor saved for the backward pass was changed in place."""


class UnsupportedOpError(FlambeauError, NotImplementedError):
    """No kernel and no decomposition for an operation on a device."""


class UnsupportedDTypeError(DTypeError):
    """A dtype that a device or an installed package does not offer."""


class BackendError(FlambeauError, RuntimeError):
    """Base of what can go wrong with a backend plug-in."""


class BackendNotFoundError(BackendError):
    """No installed package provides the device type that was asked for."""


class CudaUnavailableError(BackendNotFoundError, AssertionError):
    """`cuda` was asked for and no GPU-like device stands behind the alias."""


class BackendImportError(BackendError):
    """A plug-in is installed but its module does not import."""


class BackendConflictError(BackendError):
    """Two installed packages claim one device type."""


class ProtocolVersionError(BackendError):
    """A plug-in speaks a protocol that this core does not."""


class BackendValidationError(BackendError):
    """A plug-in breaks the protocol; every gap is listed."""


class DeviceUnavailableError(BackendError):
    """A backend is installed but offers no such device."""


class ForkError(BackendError):
    """A device that was opened before a fork is used in the child process."""


class OutOfMemoryError(BackendError, MemoryError):
    """A device has no room for an array."""

    #: Whether the message lists what takes the room.
    listed = False


class AnomalyError(GradError):
    """Anomaly mode found a gradient that is not a number."""


class CheckpointError(FlambeauError, RuntimeError, ValueError):
    """A file that cannot be read as a checkpoint, or an object that cannot be written as one."""


class UnsafeCheckpointError(CheckpointError, UnpicklingError):
    """A checkpoint that would have to run code of its own to be read."""
