"""Parameters computed from others: `layer.weight` becomes the result of a module."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.errors import ArgumentError, FlambeauError
from flambeau.nn.modules._container import ModuleDict, ModuleList
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor, describe


class ParametrizationError(FlambeauError, ValueError, RuntimeError):
    """A parametrization that does not fit the tensor, or a tensor that is not parametrized."""


_cache: dict[tuple[int, str], Any] = {}
_caching = [0]


@contextmanager
def cached() -> Iterator[None]:
    """Compute every parametrized tensor once, at its first use inside."""
    _caching[0] += 1
    try:
        yield
    finally:
        _caching[0] -= 1
        if not _caching[0]:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and the tensor (or tensors) they start from: `original`, `original0` ..."""

    def __init__(self, modules: Sequence[Module], original: Any, unsafe: bool = False) -> None:
        if not modules:
            raise ParametrizationError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            new = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):
                        new = module.right_inverse(new)
        self.is_tensor = isinstance(new, Tensor)
        wants = original.requires_grad
        if self.is_tensor:
            self._keep("original", new, original, wants)
        else:
            self.ntensors = len(new)
            for i, t in enumerate(new):
                self._keep(f"original{i}", t, None, wants)
        if not unsafe:
            self._check(original)

    def _keep(self, name: str, value: Any, own: Any, wants: bool) -> None:
        if isinstance(own, Parameter):
            own.data = value.detach()
            self.register_parameter(name, own)
        elif own is None and value.is_floating_point():
            self.register_parameter(name, Parameter(value.detach(), wants))
        else:
            self.register_buffer(name, value)

    def _check(self, original: Any) -> None:
        with no_grad():
            made = self()
        if not isinstance(made, Tensor):
            raise ParametrizationError(
                f"A parametrization must return a tensor. Got {type(made).__name__}."
            )
        if made._kind is not original._kind:
            raise ParametrizationError(
                f"Registering a parametrization may not change the dtype of the tensor, unless `unsafe` flag "
                f"is enabled. {describe(original)} -> {describe(made)}"
            )
        if made._a.shape != original._a.shape:
            raise ParametrizationError(
                f"Registering a parametrization may not change the shape of the tensor, unless `unsafe` flag "
                f"is enabled. {describe(original)} -> {describe(made)}"
            )

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes value."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise ParametrizationError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            if self.is_tensor:
                self.original.data = value.detach()
            else:
                for i, t in enumerate(value):
                    getattr(self, f"original{i}").data = t.detach()

    def forward(self) -> Any:
        """The parametrized tensor."""
        modules = list(self._modules.values())
        if self.is_tensor:
            x = modules[0](self.original)  # type: ignore[misc]
        else:
            x = modules[0](*(getattr(self, f"original{i}") for i in range(self.ntensors)))  # type: ignore[misc]
        for module in modules[1:]:
            x = module(x)  # type: ignore[misc]
        return x

    def __call__(self) -> Any:
        return self.forward()

    def __repr__(self) -> str:
        return super().__repr__()


def _property(name: str) -> property:
    def get(self: Any) -> Any:
        listed = self.parametrizations[name]
        if not _caching[0]:
            return listed()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = listed()
        return _cache[key]

    def put(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, put)


def _own_class(module: Any) -> None:
    cls = type(module)

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        made = memo.get(id(self))
        if made is None:
            made = self.__new__(self.__class__)
            memo[id(self)] = made
            made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made

    def refuse(self: Any) -> Any:
        raise ParametrizationError(
            "Serialization of parametrized modules is only supported through state_dict(). Hint: "
            "save(module.state_dict(), ...)"
        )

    module.__class__ = type(
        f"Parametrized{cls.__name__}", (cls,), {"__deepcopy__": deepcopy, "__getstate__": refuse}
    )


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make `module.tensor_name` the result of parametrization, which is called with the original tensor.

    Args: parametrization: a module; its `right_inverse`, if any, makes assignment work.  unsafe: allow other shapes.
    Returns: the module.
    Raises: ParametrizationError: the module has no such tensor, or the result has another shape or dtype.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        listed = module.parametrizations[tensor_name]
        if not unsafe:
            with no_grad():
                have = getattr(module, tensor_name)
                made = parametrization(have)
            if made._a.shape != have._a.shape:
                raise ParametrizationError(
                    f"Registering a parametrization may not change the shape of the tensor, unless `unsafe` "
                    f"flag is enabled. {describe(have)} -> {describe(made)}"
                )
        listed.append(parametrization)
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ParametrizationError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    listed = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _own_class(module)
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = listed
    setattr(type(module), tensor_name, _property(tensor_name))
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether any tensor, or the named one, is parametrized."""
    table = module._modules.get("parametrizations")
    if not isinstance(table, ModuleDict):
        return False
    return len(table) > 0 if tensor_name is None else tensor_name in table


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make `module.tensor_name` an ordinary tensor again: the parametrized value, or the original.

    Raises: ParametrizationError: it is not parametrized, or it has several originals and leave_parametrized is False.
    """
    if not is_parametrized(module, tensor_name):
        raise ParametrizationError(
            f"Module {module} does not have a parametrization on {tensor_name}"
        )
    listed: Any = module.parametrizations[tensor_name]
    if not leave_parametrized and not listed.is_tensor:
        raise ParametrizationError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms "
            "of a sequence of tensors."
        )
    if listed.is_tensor:
        original = listed.original
        if leave_parametrized:
            with no_grad():
                value = getattr(module, tensor_name).clone()
            original.data = value
    else:
        with no_grad():
            value = getattr(module, tensor_name).clone()
        wants = any(p.requires_grad for p in listed._parameters.values() if p is not None)
        original = Parameter(value, wants)
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class without the parametrizations'."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Copy parametrizations, and what they start from, to another module.

    Raises: ArgumentError: from_module has none.
    """
    if not is_parametrized(from_module):
        raise ArgumentError(
            "transfer_parametrizations_and_params: from_module has no parametrizations"
        )
    table: Any = from_module.parametrizations
    for name in [tensor_name] if tensor_name else list(table):
        for parametrization in table[name]:
            register_parametrization(to_module, name, copy.deepcopy(parametrization), unsafe=True)
        source, target = table[name], to_module.parametrizations[name]
        for key, value in (*source._parameters.items(), *source._buffers.items()):
            getattr(target, key).data = value.detach().clone()
    return to_module
