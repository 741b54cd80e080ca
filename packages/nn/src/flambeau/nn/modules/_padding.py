"""Padding layers."""

from __future__ import annotations

from typing import Any

from flambeau.nn.functional._conv import _tuple
from flambeau.nn.functional._padding import pad
from flambeau.nn.modules._module import Module
from flambeau.tensor import Tensor


class _PadNd(Module):
    """Base: how many elements to add at both ends of the last dims dimensions, the last one first."""

    dims = 0
    mode = "constant"
    value: float = 0.0

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _tuple("padding", padding, 2 * self.dims, type(self).__name__)

    def forward(self, input: Tensor) -> Tensor:
        """The padded input."""
        return pad(input, self.padding, self.mode, self.value if self.mode == "constant" else None)

    def extra_repr(self) -> str:
        """Padding."""
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """Padding and value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Adds elements of one value at both ends of the last dimension; padding: an int, or left and right
    of each, the last first.
    """

    dims = 1


class ConstantPad2d(_ConstantPadNd):
    """Adds elements of one value at both ends of the last two dimensions; padding: an int, or left and
    right of each, the last first.
    """

    dims = 2


class ConstantPad3d(_ConstantPadNd):
    """Adds elements of one value at both ends of the last three dimensions; padding: an int, or left
    and right of each, the last first.
    """

    dims = 3


class ZeroPad1d(_PadNd):
    """Adds zeros at both ends of the last dimension; padding: an int, or left and right of each, the
    last first.
    """

    dims = 1


class ZeroPad2d(_PadNd):
    """Adds zeros at both ends of the last two dimensions; padding: an int, or left and right of each,
    the last first.
    """

    dims = 2


class ZeroPad3d(_PadNd):
    """Adds zeros at both ends of the last three dimensions; padding: an int, or left and right of each,
    the last first.
    """

    dims = 3


class ReflectionPad1d(_PadNd):
    """Mirrors the input at its edges in the last dimension; padding: an int, or left and right of each,
    the last first.
    """

    dims = 1
    mode = "reflect"


class ReflectionPad2d(_PadNd):
    """Mirrors the input at its edges in the last two dimensions; padding: an int, or left and right of
    each, the last first.
    """

    dims = 2
    mode = "reflect"


class ReflectionPad3d(_PadNd):
    """Mirrors the input at its edges in the last three dimensions; padding: an int, or left and right
    of each, the last first.
    """

    dims = 3
    mode = "reflect"


class ReplicationPad1d(_PadNd):
    """Repeats the edge elements in the last dimension; padding: an int, or left and right of each, the
    last first.
    """

    dims = 1
    mode = "replicate"


class ReplicationPad2d(_PadNd):
    """Repeats the edge elements in the last two dimensions; padding: an int, or left and right of each,
    the last first.
    """

    dims = 2
    mode = "replicate"


class ReplicationPad3d(_PadNd):
    """Repeats the edge elements in the last three dimensions; padding: an int, or left and right of
    each, the last first.
    """

    dims = 3
    mode = "replicate"


class CircularPad1d(_PadNd):
    """Continues the input from its other end in the last dimension; padding: an int, or left and right
    of each, the last first.
    """

    dims = 1
    mode = "circular"


class CircularPad2d(_PadNd):
    """Continues the input from its other end in the last two dimensions; padding: an int, or left and
    right of each, the last first.
    """

    dims = 2
    mode = "circular"


class CircularPad3d(_PadNd):
    """Continues the input from its other end in the last three dimensions; padding: an int, or left and
    right of each, the last first.
    """

    dims = 3
    mode = "circular"
