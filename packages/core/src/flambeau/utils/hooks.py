"""What registering a hook gives back, under the module's name that PyTorch gives it."""

from flambeau.autograd.node import RemovableHandle

__all__ = ["RemovableHandle"]
