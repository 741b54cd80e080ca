"""Flatten and Unflatten."""

from __future__ import annotations

from typing import Any

from flambeau.errors import ArgumentError
from flambeau.nn.modules._module import Module
from flambeau.ops.movement import flatten, unflatten
from flambeau.tensor import Tensor


class Flatten(Module):
    """Merges dimensions start_dim to end_dim; the default keeps the batch dimension.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Flatten()(fb.ones(2, 3, 4)).shape
        flambeau.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """The input with merged dimensions."""
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one dimension into several.

    Raises: ArgumentError: unflattened_size holds something other than integers.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Unflatten(1, (2, 5))(fb.ones(3, 10)).shape
        flambeau.Size([3, 2, 5])
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if not isinstance(unflattened_size, tuple | list):
            raise ArgumentError(
                f"unflattened_size must be a tuple or list, but found type {type(unflattened_size).__name__}"
            )
        for i, n in enumerate(unflattened_size):
            if not isinstance(n, int):
                raise ArgumentError(
                    f"unflattened_size must be tuple of ints, but found element of type {type(n).__name__} at pos {i}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """The input with one dimension split."""
        return unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Dimension and sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
