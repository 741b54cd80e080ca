"""Hooks of modules: around forward, around backward, and at registration."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flambeau.autograd.node as _node
from flambeau.autograd.node import Node, OutputEdge, RemovableHandle
from flambeau.autograd.state import state
from flambeau.errors import ArgumentError, FlambeauError, GradError
from flambeau.tensor import Tensor, wrap

if TYPE_CHECKING:
    from flambeau.nn.modules._module import Module

Hook = Callable[..., Any]

#: The tables of hooks that every module has.
TABLES = (
    "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip

#: Hooks of all modules, and whether there was ever one (`GLOBAL` is empty until then).
GLOBAL: list[bool] = []
_global: dict[str, OrderedDict[int, Hook]] = {
    name: OrderedDict()
    for name in ("pre", "forward", "backward_pre", "backward", "parameter", "buffer", "module")
}
_always: set[int] = set()
_with_kwargs: set[int] = set()


def _add(table: dict[int, Hook], hook: Hook, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)  # type: ignore[attr-defined]
    return handle


def _everywhere(name: str, hook: Hook) -> RemovableHandle:
    if name in ("pre", "forward", "backward_pre", "backward"):
        GLOBAL.append(True)
    return _add(_global[name], hook)


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call hook(module, args) before every module's forward."""
    return _everywhere("pre", hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call hook(module, args, output) after every module's forward."""
    handle = _everywhere("forward", hook)
    if with_kwargs:
        _with_kwargs.add(handle.id)
    if always_call:
        _always.add(handle.id)
    return handle


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call hook(module, grad_output) before the gradients of every module's inputs are computed."""
    return _everywhere("backward_pre", hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call hook(module, grad_input, grad_output) after the gradients of every module's inputs are computed."""
    return _everywhere("backward", hook)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Call hook(module, name, parameter) when a parameter is registered; a result replaces it."""
    return _everywhere("parameter", hook)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Call hook(module, name, buffer) when a buffer is registered; a result replaces it."""
    return _everywhere("buffer", hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Call hook(module, name, submodule) when a module is registered; a result replaces it."""
    return _everywhere("module", hook)


def registered(what: str, module: Module, name: str, value: Any) -> Any:
    """The value after the registration hooks."""
    for hook in _global[what].values():
        replaced = hook(module, name, value)
        if replaced is not None:
            value = replaced
    return value


class Hooking:
    """Registration of hooks on one module."""

    _hooked: bool
    _is_full_backward_hook: bool | None

    def _hook(self, table: str, hook: Hook, prepend: bool = False) -> RemovableHandle:
        self.__dict__["_hooked"] = True
        return _add(self.__dict__[table], hook, prepend)

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before forward; a result that is not None replaces args.

        with_kwargs: hook(module, args, kwargs), which returns None or (args, kwargs).
        """
        handle = self._hook("_forward_pre_hooks", hook, prepend)
        if with_kwargs:
            self.__dict__["_forward_pre_hooks_with_kwargs"][handle.id] = True
        return handle

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call hook(module, args, output) after forward; a result that is not None replaces output.

        with_kwargs: hook(module, args, kwargs, output).  always_call: even when forward raised.
        """
        handle = self._hook("_forward_hooks", hook, prepend)
        if with_kwargs:
            self.__dict__["_forward_hooks_with_kwargs"][handle.id] = True
        if always_call:
            self.__dict__["_forward_hooks_always_called"][handle.id] = True
        return handle

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_output) before backward; a result that is not None replaces grad_output."""
        return self._hook("_backward_pre_hooks", hook, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) after backward; a result that is not None replaces grad_input."""
        self.__dict__["_is_full_backward_hook"] = True
        return self._hook("_backward_hooks", hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(module, prefix, keep_vars) before state_dict()."""
        return _add(self.__dict__["_state_dict_pre_hooks"], hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata) after state_dict(); it changes state_dict in place."""
        return _add(self.__dict__["_state_dict_hooks"], _InPlace(hook))

    def _register_state_dict_hook(self, hook: Hook) -> RemovableHandle:
        return _add(self.__dict__["_state_dict_hooks"], hook)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors) before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Hook, with_module: bool = False
    ) -> RemovableHandle:
        return _add(self.__dict__["_load_state_dict_pre_hooks"], _LoadHook(hook, with_module))

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(module, incompatible_keys) after loading; it may change the lists in place."""
        return _add(self.__dict__["_load_state_dict_post_hooks"], hook)


class _LoadHook:
    """A load hook that may want the module; it holds no reference to it, so copies of the module work."""

    def __init__(self, hook: Hook, with_module: bool) -> None:
        self.hook, self.with_module = hook, with_module

    def __call__(self, module: Any, *args: Any) -> Any:
        return self.hook(module, *args) if self.with_module else self.hook(*args)


class _InPlace:
    """A state_dict hook that may only change what it is given."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def __call__(self, *args: Any) -> None:
        if self.hook(*args) is not None:
            raise GradError("state_dict post-hook must return None")


# ---- calling
def call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Module.__call__ where there are hooks."""
    from flambeau.nn.modules._module import blame, no_room

    called: set[int] = set()
    try:
        try:
            return _run(module, args, kwargs, called)
        except FlambeauError as error:
            blame(module, error)
            raise
        except MemoryError as error:
            raise no_room(module, error) from None
    except Exception:
        _after_failure(module, args, kwargs, called)
        raise


def _run(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]) -> Any:
    for key, hook in (*_global["pre"].items(), *module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks_with_kwargs:
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not isinstance(replaced, tuple) or len(replaced) != 2:
                    raise ArgumentError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                    )
                args, kwargs = replaced
        else:
            replaced = hook(module, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
    around = _Backward(module) if _wants_backward(module) else None
    if around is not None:
        args = around.inputs(args)
    result = module.forward(*args, **kwargs)
    for key, hook in (*_global["forward"].items(), *module._forward_hooks.items()):
        called.add(key)
        if key in module._forward_hooks_with_kwargs or key in _with_kwargs:
            replaced = hook(module, args, kwargs, result)
        else:
            replaced = hook(module, args, result)
        if replaced is not None:
            result = replaced
    return result if around is None else around.outputs(result)


def _after_failure(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]
) -> None:
    hooks = [(k, h) for k, h in _global["forward"].items() if k in _always]
    hooks += [
        (k, h) for k, h in module._forward_hooks.items() if k in module._forward_hooks_always_called
    ]
    for key, hook in hooks:
        if key not in called:
            more = (
                (kwargs,) if key in module._forward_hooks_with_kwargs or key in _with_kwargs else ()
            )
            hook(module, args, *more, None)


# ---- backward
def _wants_backward(module: Any) -> bool:
    return (
        bool(
            module._backward_hooks
            or module._backward_pre_hooks
            or _global["backward"]
            or _global["backward_pre"]
        )
        and state.grad
    )


class _Boundary(Node):
    """Passes gradients through unchanged, except that a function may look at all of them together and replace them."""

    __slots__ = ("count", "see")

    def __init__(self, tensors: list[Tensor], see: Hook) -> None:
        self.edges = tuple(t._g for t in tensors)
        self.saved, self.hooks = (), None
        self.shape, self.kind, self.seq = tensors[0]._a.shape, tensors[0]._kind, _node.next_seq()
        self.count, self.see = len(tensors), see

    def name(self) -> str:
        return "BackwardHookFunctionBackward"

    def apply(self, g: Any) -> Any:
        """All gradients at once: the engine collects the outputs' before it calls this."""
        return self.see(tuple(g.get(i) for i in range(self.count)))


def _through(tensors: list[Tensor], see: Hook) -> list[Tensor]:
    node = _Boundary(tensors, see)
    made = []
    for i, t in enumerate(tensors):
        copy = wrap(t._a, t._kind, OutputEdge(node, i, t._a.shape, t._kind))
        copy._s = t.detach()._s
        made.append(copy)
    return made


class _Backward:
    """The backward hooks around one call of a module."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.before = [*_global["backward_pre"].values(), *module._backward_pre_hooks.values()]
        self.after = [*_global["backward"].values(), *module._backward_hooks.values()]
        self.has_inputs = False
        self.grad_outputs: tuple[Any, ...] = ()

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        at = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a._g is not None]
        self.n_inputs, self.at = len(args), at
        if not at or not self.after:
            return args
        self.has_inputs = True
        made = list(args)
        for i, t in zip(at, _through([args[i] for i in at], self._see_inputs)):
            made[i] = t
        return tuple(made)

    def outputs(self, result: Any) -> Any:
        single = isinstance(result, Tensor)
        values = [result] if single else list(result) if isinstance(result, (tuple, list)) else None
        if values is None:
            return result
        at = [i for i, a in enumerate(values) if isinstance(a, Tensor) and a._g is not None]
        if not at:
            return result
        self.n_outputs, self.out_at = len(values), at
        for i, t in zip(at, _through([values[i] for i in at], self._see_outputs)):
            values[i] = t
        return values[0] if single else tuple(values) if isinstance(result, tuple) else values

    def _see_outputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full: list[Any] = [None] * self.n_outputs
        for i, g in zip(self.out_at, grads):
            full[i] = g
        seen = tuple(full)
        for hook in self.before:
            replaced = hook(self.module, seen)
            if replaced is not None:
                seen = _as_many(replaced, seen, "pre ")
        self.grad_outputs = seen
        if not self.has_inputs:
            for hook in self.after:
                replaced = hook(self.module, (None,) * self.n_inputs, seen)
                if replaced is not None and any(r is not None for r in replaced):
                    raise GradError(
                        "Backward hook for Modules where no input requires gradient should always return None "
                        "or None for "
                        "all gradients."
                    )
        return tuple(seen[i] for i in self.out_at)

    def _see_inputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        full: list[Any] = [None] * self.n_inputs
        for i, g in zip(self.at, grads):
            full[i] = g
        seen = tuple(full)
        for hook in self.after:
            replaced = hook(self.module, seen, self.grad_outputs)
            if replaced is not None:
                seen = _as_many(replaced, seen, "")
        return tuple(seen[i] for i in self.at)


def _as_many(replaced: Any, seen: tuple[Any, ...], which: str) -> tuple[Any, ...]:
    replaced = replaced if isinstance(replaced, tuple) else (replaced,)
    if len(replaced) != len(seen):
        raise GradError(
            f"Backward {which}hook returned an invalid number of grad, got {len(replaced)}, but expected {len(seen)}"
        )
    return replaced  # type: ignore[no-any-return]
