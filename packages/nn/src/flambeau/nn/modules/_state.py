"""state_dict and load_state_dict."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from flambeau.autograd.modes import no_grad
from flambeau.errors import ArgumentError, FlambeauError
from flambeau.nn.parameter import Parameter, is_lazy
from flambeau.tensor import Tensor

_EXTRA = "_extra_state"


class StateDictError(FlambeauError, RuntimeError):
    """A state_dict that does not fit the module."""


class _IncompatibleKeys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"

    __str__ = __repr__  # type: ignore[misc]


class _StateDict(OrderedDict[str, Any]):
    """An ordered dict that also carries each module's version."""

    _metadata: OrderedDict[str, Any]


class StateDict:
    """The part of Module that saves and loads its parameters and buffers."""

    _version = 1
    _parameters: Any
    _buffers: Any
    _modules: Any
    _non_persistent_buffers_set: set[str]

    def get_extra_state(self) -> Any:
        """What state_dict() holds beside tensors; define it together with set_extra_state."""
        raise StateDictError(
            "Reached a code path in Module.get_extra_state() that should never be called."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state returned."""
        raise StateDictError(
            "Reached a code path in Module.set_extra_state() that should never be called."
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else _detached(param)
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else _detached(buffer)
        if type(self).get_extra_state is not StateDict.get_extra_state:
            destination[prefix + _EXTRA] = self.get_extra_state()

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """All parameters and persistent buffers by dotted name, sharing memory with the module.

        Args: keep_vars: the parameters themselves instead of detached tensors.
        """
        if args:  # the deprecated positional form
            destination, prefix, keep_vars = (*args, *(destination, prefix, keep_vars)[len(args) :])  # type: ignore[misc]
        if destination is None:
            destination = _StateDict()
            destination._metadata = OrderedDict()
        local = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local
        tables = self.__dict__
        for hook in tables["_state_dict_pre_hooks"].values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in tables["_state_dict_hooks"].values():
            replaced = hook(self, destination, prefix, local)
            if replaced is not None:
                destination = replaced
        return destination

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for hook in self.__dict__["_load_state_dict_pre_hooks"].values():
            hook(
                self,
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        local = {n: t for n, t in self._parameters.items() if t is not None}
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                local[name] = buffer
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, target in local.items():
            key = prefix + name
            if key in state_dict:
                problem = self._load_one(name, key, target, state_dict[key], assign)
                if problem:
                    error_msgs.append(problem)
            elif strict:
                missing_keys.append(key)
        self._load_extra(state_dict, prefix, strict, missing_keys, unexpected_keys)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != prefix + _EXTRA:
                    first, *deeper = key[len(prefix) :].split(".", 1)
                    if (deeper and first not in self._modules) or (
                        not deeper and first not in local
                    ):
                        unexpected_keys.append(key)

    def _load_extra(
        self, state_dict: Any, prefix: str, strict: bool, missing: list[str], unexpected: list[str]
    ) -> None:
        key = prefix + _EXTRA
        if type(self).set_extra_state is not StateDict.set_extra_state:
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing.append(key)
        elif strict and key in state_dict:
            unexpected.append(key)

    def _load_one(self, name: str, key: str, target: Any, given: Any, assign: bool) -> str | None:
        """Load one tensor; what is wrong with it, in words, or None."""
        if not isinstance(given, Tensor):
            return (
                f'While copying the parameter named "{key}", expected Tensor or Tensor-like object from '
                f"checkpoint but "
                f"received {type(given)}"
            )
        lazy = is_lazy(target)
        if not lazy and target._a.shape == () and given._a.shape == (1,):
            given = given[0]
        if not lazy and not is_lazy(given) and given._a.shape != target._a.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, the shape "
                f"in current "
                f"model is {target.shape}."
            )
        if target.is_meta and not given.is_meta and not assign:
            warnings.warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the "
                f"current model, "
                "which is a no-op. (Did you mean to pass `assign=True`?)",
                stacklevel=4,
            )
        try:
            with no_grad():
                if assign:
                    if isinstance(target, Parameter):
                        given = (
                            given
                            if isinstance(given, Parameter)
                            else Parameter(given, target.requires_grad)
                        )
                        given.requires_grad_(target.requires_grad)
                    setattr(self, name, given)
                else:
                    target.copy_(given)
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {target.shape} '
                f"and whose "
                f"dimensions in the checkpoint are {given.shape}, an exception occurred : {error.args}."
            )
        return None

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy parameters and buffers from a state_dict into this module and those below it.

        Args: strict: the keys must match exactly.  assign: take the given tensors themselves instead of copying.
        Returns: the missing and the unexpected keys.
        Raises: StateDictError: keys (if strict) or shapes do not match.  ArgumentError: not a mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        copied = _StateDict(state_dict)
        if metadata is not None:
            copied._metadata = metadata
        _load(self, copied, "", metadata, assign, (missing, unexpected, problems))
        fatal = bool(problems)  # what strict=False does not forgive either
        if strict:
            for label, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    listed = ", ".join(f'"{k}"' for k in keys)
                    problems.insert(0, f"{label} key(s) in state_dict: {listed}. ")
        if problems:
            hint = "" if fatal else "\nHint: strict=False loads what fits"
            raise StateDictError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
                + hint
            )
        return _IncompatibleKeys(missing, unexpected)  # type: ignore[call-arg]


def _detached(t: Any) -> Any:
    return t if is_lazy(t) else t.detach()


def _load(
    module: Any,
    state_dict: Any,
    prefix: str,
    metadata: Any,
    assign: bool,
    found: tuple[list[str], ...],
) -> None:
    missing, unexpected, problems = found
    local = {} if metadata is None else metadata.get(prefix[:-1], {})
    if assign:
        local["assign_to_params_buffers"] = assign
    module._load_from_state_dict(state_dict, prefix, local, True, missing, unexpected, problems)
    for name, child in module._modules.items():
        if child is not None:
            inner = f"{prefix}{name}."
            _load(
                child,
                {k: v for k, v in state_dict.items() if k.startswith(inner)},
                inner,
                metadata,
                assign,
                found,
            )
    keys = _IncompatibleKeys(missing, unexpected)  # type: ignore[call-arg]
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, keys) is not None:
            raise StateDictError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                "values, if "
                "incompatible_keys need to be modified, it should be done inplace."
            )
