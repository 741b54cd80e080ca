"""The exceptions of data loading; each one also inherits what PyTorch raises in the same place."""

from __future__ import annotations

from flambeau.errors import FlambeauError, ShapeError


class OptionError(FlambeauError, ValueError):
    """An option of a dataset, a sampler or a loader that does not fit."""


class OptionTypeError(OptionError, TypeError):
    """An option of the wrong Python type."""


class MismatchError(ShapeError, AssertionError):
    """Tensors or datasets of different lengths, put together."""


class KindError(FlambeauError, AssertionError):
    """An iterable dataset where a map-style one is needed, or the other way round."""


class CollateError(FlambeauError, TypeError):
    """Samples of a type that the default collate function cannot join."""


class WorkerError(FlambeauError, RuntimeError):
    """A loader's worker died, or gave no batch in time."""
