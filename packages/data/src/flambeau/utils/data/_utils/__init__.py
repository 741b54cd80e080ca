"""Modules under the names that they have in PyTorch, for programs that import from them."""

from flambeau.utils.data._utils import collate, worker

__all__ = ["collate", "worker"]
