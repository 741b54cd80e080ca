"""Exchange of memory with other libraries, under the module's name that PyTorch gives it."""

from flambeau.ops.creation import from_dlpack
from flambeau.ops.legacy import to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
