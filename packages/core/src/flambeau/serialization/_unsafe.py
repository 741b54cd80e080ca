"""Pickles of whole models: reading them runs whatever code they name."""

from __future__ import annotations

import importlib
import io
import pickle
from typing import Any

from flambeau.errors import CheckpointError
from flambeau.serialization._tensors import Rebuilder, _attributes
from flambeau.serialization._unpickle import Allowed, Declared

_ALIASES = {"NonDynamicallyQuantizableLinear": "Linear"}
#: Where classes of PyTorch live here, when the path of their module differs.
_HOMES = ("nn", "optim", "nn.functional", "optim.lr_scheduler", "utils.data")


def _ours(module: str, name: str) -> Any:
    """flambeau's counterpart of a name in PyTorch."""
    name = _ALIASES.get(name, name)
    rest = module.removeprefix("torch").removeprefix(".")
    for home in (f"flambeau.{rest}".rstrip("."), *(f"flambeau.{home}" for home in _HOMES)):
        try:
            found = getattr(importlib.import_module(home), name, None)
        except ModuleNotFoundError:
            continue
        if found is not None:
            return found
    raise CheckpointError(
        f"load: the checkpoint needs {module}.{name}, which flambeau does not have"
    )


class UnsafeUnpickler(pickle.Unpickler):
    """Python's own unpickler with PyTorch's names mapped to flambeau's."""

    def __init__(
        self, data: Any, rebuilder: Rebuilder, persistent_load: Any, encoding: str
    ) -> None:
        super().__init__(data, encoding=encoding)
        self._rebuilder, self._storage = rebuilder, persistent_load

    def persistent_load(self, pid: Any) -> Any:
        """Storages."""
        return self._storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        """Any global of any module; PyTorch's become flambeau's."""
        if module == "torch" or module.startswith("torch."):
            try:
                found = self._rebuilder.find(module, name)
            except CheckpointError:
                return _ours(module, name)
            if name == "_rebuild_from_type_v2":
                return _from_type
            if name == "TorchVersion":
                return str
            if isinstance(found, Declared):
                return found.value
            if not isinstance(found, Allowed):
                return found
            if module.endswith(("parameter", "_tensor", "torch")) and name in (
                "Parameter",
                "Tensor",
            ):
                return _ours(module, name)
            return _Bound(found)
        return super().find_class(module, name)


class _Bound:
    """A function of the safe reader, called as pickle calls functions."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    def __call__(self, *args: Any) -> Any:
        return self._allowed.fn(None, *args)


def _from_type(fn: Any, cls: Any, args: Any, state: Any) -> Any:
    return _attributes(None, fn(*args), state)


def load_unsafe(data: bytes, at: int, rebuilder: Rebuilder, storage: Any, encoding: str) -> Any:
    """The object of a pickle that may run code."""
    stream = io.BytesIO(data)
    stream.seek(at)
    try:
        return UnsafeUnpickler(stream, rebuilder, storage, encoding).load()
    except (EOFError, pickle.UnpicklingError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"load: the pickle is damaged: {error}") from error
