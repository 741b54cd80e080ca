"""Module: the base of all layers. Registration, traversal, calling and printing; the rest is in the mixins."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from flambeau.errors import ArgumentError, FlambeauError
from flambeau.nn.modules import _hooks
from flambeau.nn.modules._conversion import Conversion
from flambeau.nn.modules._hooks import Hooking
from flambeau.nn.modules._state import StateDict
from flambeau.nn.parameter import Buffer, Parameter
from flambeau.tensor import Tensor

M = TypeVar("M", bound="Module")


class ParameterNameError(FlambeauError, KeyError):
    """A name that a parameter, buffer or module cannot have."""

    def __str__(self) -> str:
        return str(self.args[0])


class ModuleAttributeError(FlambeauError, AttributeError):
    """An attribute that a module does not have, or cannot take yet."""


class NotAModuleError(FlambeauError, ValueError):
    """Something other than a module where a module is needed."""


class NonLeafParameterError(FlambeauError, ValueError):
    """A computed tensor where a parameter is needed."""


class Module(StateDict, Hooking, Conversion):
    """Base of all layers and models: holds parameters, buffers and submodules, and is called like a function.

    Subclasses call `super().__init__()`, assign layers and parameters as attributes, and define `forward`.

    Example:
        >>> import flambeau as fb
        >>> class Double(fb.nn.Module):
        ...     def forward(self, x):
        ...         return x * 2
        >>> Double()(fb.ones(2))
        tensor([2., 2.])
    """

    dump_patches = False
    call_super_init = False
    _version = 1
    #: Whether any hook was ever registered here: calling asks this alone.
    _hooked = False
    _is_full_backward_hook: bool | None = None

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            unexpected = (
                f"got an unexpected keyword argument '{next(iter(kwargs))}'"
                if kwargs
                else f"takes 1 positional argument but {len(args) + 1} were given"
            )
            raise ArgumentError(f"{type(self).__name__}.__init__() {unexpected}")
        d = self.__dict__
        d["training"] = True
        d["_parameters"], d["_buffers"], d["_modules"] = {}, {}, {}
        d["_non_persistent_buffers_set"] = set()
        for table in _hooks.TABLES:
            d[table] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # ---- calling
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked or _hooks.GLOBAL:
            return _hooks.call(self, args, kwargs)
        try:
            return self.forward(*args, **kwargs)
        except FlambeauError as error:
            blame(self, error)
            raise
        except MemoryError as error:
            raise no_room(self, error) from None

    def forward(self, *input: Any) -> Any:
        """What calling the module computes; every subclass defines its own.

        Raises: NotImplementedError: the subclass has none.
        """
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def _brief(self) -> str:
        """The module in an error message: Linear(10->5)."""
        return type(self).__name__

    # ---- attributes
    def __getattr__(self, name: str) -> Any:
        d = self.__dict__
        if "_modules" in d:
            if name in d["_modules"]:
                return d["_modules"][name]
            if name in d["_parameters"]:
                return d["_parameters"][name]
            if name in d["_buffers"]:
                return d["_buffers"][name]
        raise ModuleAttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        d = self.__dict__
        if isinstance(value, Parameter):
            self._must_be_ready("parameters")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._must_be_ready("module")
            self._forget(name, "_parameters", "_buffers")
            self._modules[name] = _hooks.registered("module", self, name, value)
        elif isinstance(value, Buffer):
            self._must_be_ready("buffer")
            self._forget(name, "_parameters", "_modules")
            self.register_buffer(name, value, value.persistent)
        elif "_parameters" not in d:
            object.__setattr__(self, name, value)
        elif name in d["_parameters"]:
            if value is not None:
                raise ArgumentError(
                    f"cannot assign '{_typename(value)}' as parameter '{name}' (nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif name in d["_modules"]:
            if value is not None:
                raise ArgumentError(
                    f"cannot assign '{_typename(value)}' as child module '{name}' (nn.Module or None expected)"
                )
            self._modules[name] = value
        elif name in d["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise ArgumentError(
                    f"cannot assign '{_typename(value)}' as buffer '{name}' (nn.Buffer, Tensor or None expected)"
                )
            self.register_buffer(name, value, name not in self._non_persistent_buffers_set)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        own = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers]
        return sorted(name for name in own if not name[0].isdigit())

    def _must_be_ready(self, what: str) -> None:
        if "_parameters" not in self.__dict__:
            raise ModuleAttributeError(
                f"cannot assign {what} before Module.__init__() call. Hint: call super().__init__() first in "
                f"{type(self).__name__}.__init__"
            )

    def _forget(self, name: str, *tables: str) -> None:
        self.__dict__.pop(name, None)
        for table in tables:
            self.__dict__[table].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    # ---- registration
    def _check_name(self, what: str, name: Any, table: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise ArgumentError(f"{what} name should be a string. Got {_typename(name)}")
        if "." in name:
            raise ParameterNameError(f'{what} name can\'t contain ".", got: {name}')
        if name == "":
            raise ParameterNameError(f'{what} name can\'t be empty string ""')
        if name not in table and hasattr(self, name):
            raise ParameterNameError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name.

        Raises: ParameterNameError: the name is taken or malformed.  ArgumentError: not a Parameter.
        """
        self._must_be_ready("parameter")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise ArgumentError(
                    f"cannot assign '{_typename(param)}' object to parameter '{name}' (nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise NonLeafParameterError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Hint: compute it in forward() from "
                    f"a parameter"
                )
            param = _hooks.registered("parameter", self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add state that is not trained; `persistent=False` leaves it out of state_dict.

        Raises: ParameterNameError: the name is taken or malformed.  ArgumentError: not a Tensor.
        """
        self._must_be_ready("buffer")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentError(
                f"cannot assign '{_typename(tensor)}' object to buffer '{name}' (Tensor or None required)"
            )
        self._buffers[name] = _hooks.registered("buffer", self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name.

        Raises: ParameterNameError: the name is taken or malformed.  ArgumentError: not a Module.
        """
        if module is not None and not isinstance(module, Module):
            raise ArgumentError(f"{_typename(module)} is not a Module subclass")
        self._must_be_ready("module")
        self._check_name("module", name, self._modules)
        self._modules[name] = _hooks.registered("module", self, name, module)

    register_module = add_module

    # ---- looking inside
    def get_submodule(self, target: str) -> Module:
        """The submodule under a dotted path; this module for "".

        Raises: AttributeError: there is none.
        """
        found: Any = self
        for part in target.split(".") if target else ():
            if not hasattr(found, part):
                raise ModuleAttributeError(f"{type(found).__name__} has no attribute `{part}`")
            found = getattr(found, part)
            if not isinstance(found, Module):
                raise ModuleAttributeError(f"`{part}` is not an nn.Module")
        return found  # type: ignore[no-any-return]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module under a dotted path; strict: only in place of one that is there."""
        if target == "":
            raise NotAModuleError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise NotAModuleError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if hasattr(parent, name):
            if not isinstance(getattr(parent, name), Module):
                raise ModuleAttributeError(f"`{name}` is not an nn.Module")
        elif strict:
            raise ModuleAttributeError(f"{type(parent).__name__} has no attribute `{name}`")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter under a dotted path."""
        path, _, name = target.rpartition(".")
        found = _attribute(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise ModuleAttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer under a dotted path."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found: Tensor = _attribute(module, name)
        if name not in module._buffers:
            raise ModuleAttributeError(f"`{name}` is not a buffer")
        return found

    def _named_members(
        self,
        members: Callable[[Module], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        inside = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in inside:
            for name, value in members(module):
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names."""
        yield from self._named_members(
            lambda m: m._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names."""
        yield from self._named_members(
            lambda m: m._buffers.items(), prefix, recurse, remove_duplicate
        )

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(
                    memo, f"{prefix}.{name}" if prefix else name, remove_duplicate
                )

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call fn on every submodule and then on this module; returns this module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---- modes
    def train(self: M, mode: bool = True) -> M:
        """Switch to training mode, or to evaluation; layers such as Dropout and BatchNorm act on it.

        Raises: ValueError: mode is no bool.
        """
        if not isinstance(mode, bool):
            raise NotAModuleError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Switch to evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Ask for gradients of all parameters, or no longer."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for p in self.parameters():
            if p._grad is None:
                continue
            if set_to_none:
                p._grad = None
            else:
                p._grad._g = None
                p._grad.zero_()

    # ---- printing
    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of the printed form."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        inside = [f"({name}): " + _indent(repr(module)) for name, module in self._modules.items()]
        if len(lines) == 1 and not inside:
            return f"{self._get_name()}({lines[0]})"
        body = "\n  ".join(lines + inside)
        return f"{self._get_name()}(\n  {body}\n)" if body else f"{self._get_name()}()"

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile forward, where flambeau.compile is installed."""
        import flambeau

        self.forward = flambeau.compile(self.forward, *args, **kwargs)  # type: ignore[method-assign, operator]


def _attribute(module: Module, name: str) -> Any:
    if not hasattr(module, name):
        raise ModuleAttributeError(f"{type(module).__name__} has no attribute `{name}`")
    return getattr(module, name)


def _typename(value: Any) -> str:
    kind = type(value)
    return (
        kind.__name__
        if kind.__module__ in ("builtins", "")
        else f"{kind.__module__}.{kind.__name__}"
    )


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def no_room(module: Module, error: MemoryError) -> FlambeauError:
    """The error of memory that ran out in a module, where nothing nearer to the allocation said so."""
    from flambeau._live import uncaught

    explained = uncaught(type(module).__name__, error)
    blame(module, explained)
    return explained


def blame(module: Module, error: FlambeauError) -> None:
    """Make an error's message say in which module it came up; called by each module that it passes on its way out."""
    trail = error.__dict__.get("_trail")
    if trail is None:
        message = str(error.args[0]) if error.args else ""
        path, brief, inner = "", module._brief(), None
    else:
        message, path, brief, inner = trail
    if inner is not None and inner is not module:
        name = next((n for n, m in module.named_modules() if m is inner), "")
        path = f"{name}.{path}" if name and path else name or path
    error._trail = (message, path, brief, module)  # type: ignore[attr-defined]
    where = f"{path}: {brief}" if path else brief
    error.args = (f"{message}\n  in module {where}", *error.args[1:])
