"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.errors import ArgumentError, FlambeauError
from flambeau.nn.modules._module import Module


class FunctionalCallError(FlambeauError, RuntimeError):
    """Names in a functional call that the module does not have."""


def _slot(module: Module, path: str) -> tuple[dict[str, Any], str]:
    prefix, _, name = path.rpartition(".")
    owner = module.get_submodule(prefix)
    for table in (owner._parameters, owner._buffers):
        if name in table:
            return table, name
    raise FunctionalCallError(
        f"functional_call: {path!r} is no parameter or buffer of {type(module).__name__}"
    )


@contextmanager
def _swapped(module: Module, values: dict[str, Any], tie_weights: bool) -> Iterator[None]:
    named = dict(module.named_parameters(remove_duplicate=False)) | dict(
        module.named_buffers(remove_duplicate=False)
    )
    wanted = dict(values)
    if tie_weights:
        for path, value in values.items():
            for other, t in named.items():
                if t is named.get(path) and other not in wanted:
                    wanted[other] = value
    kept: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, value in wanted.items():
            table, name = _slot(module, path)
            kept.append((table, name, table[name]))
            table[name] = value
        yield
    finally:
        for table, name, value in reversed(kept):
            table[name] = value


def functional_call(
    module: Module,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with its parameters and buffers replaced, for this call, by the given tensors.

    Args: parameters_and_buffers: a mapping of dotted names, or several.  tie_weights: tensors that are
    shared in the module
        are replaced together.  strict: all names must be given.
    Raises: FunctionalCallError: names that do not fit.
    """
    values: dict[str, Any] = {}
    for part in (
        parameters_and_buffers
        if isinstance(parameters_and_buffers, tuple | list)
        else (parameters_and_buffers,)
    ):
        values.update(part)
    if strict:
        own = {n for n, _ in module.named_parameters()} | {n for n, _ in module.named_buffers()}
        if own != set(values):
            raise FunctionalCallError(
                f"functional_call: missing key(s): {sorted(own - set(values))}, unexpected key(s): "
                f"{sorted(set(values) - own)}"
            )
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    if kwargs is not None and not isinstance(kwargs, dict):
        raise ArgumentError(f"functional_call: kwargs must be a dict, got {type(kwargs).__name__}")
    with _swapped(module, values, tie_weights):
        return module(*args, **(kwargs or {}))
