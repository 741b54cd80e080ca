"""The base of all optimizers: parameter groups, steps with hooks, state that travels in PyTorch's layout.

A rule is a class with `update(param, grad, state, group)`, which changes one parameter in place; the base maps
it over all parameters that have a gradient. Where the device offers a kernel for the rule, `_fused` packs small
parameters' states together and calls it instead.
"""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from flambeau.autograd.node import RemovableHandle
from flambeau.autograd.state import state as _modes
from flambeau.errors import ArgumentError
from flambeau.optim._fused import Call, Fused
from flambeau.optim._loading import StateDict, loaded
from flambeau.optim._rules import Group, Hook, OptimizerError, State, as_complex, as_real, counter
from flambeau.tensor import Tensor, describe


class _Required:
    """Default of an option that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

_before_any: dict[int, Hook] = {}
_after_any: dict[int, Hook] = {}


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call hook(optimizer, args, kwargs) before every step of every optimizer."""
    return _register(_before_any, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call hook(optimizer, args, kwargs) after every step of every optimizer."""
    return _register(_after_any, hook)


def _register(table: dict[int, Hook], hook: Hook, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(table)
    if prepend:
        others = dict(table)
        table.clear()
        table[handle.id] = hook
        table.update(others)
    else:
        table[handle.id] = hook
    return handle


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step method that runs the hooks around it, once even where it calls the step of a base class."""

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        if not (self._step_pre or self._step_post or _before_any or _after_any) or self._stepping:
            return step(self, *args, **kwargs)
        self._stepping = True
        try:
            for hook in (*_before_any.values(), *self._step_pre.values()):
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise OptimizerError(
                            "step: a pre hook must return None or a tuple of (new_args, new_kwargs), "
                            f"but got {changed}."
                        )
                    args, kwargs = changed
            result = step(self, *args, **kwargs)
            for hook in (*self._step_post.values(), *_after_any.values()):
                hook(self, args, kwargs)
            return result
        finally:
            self._stepping = False

    return wrapper


class Optimizer:
    """Base class of all optimizers.

    Args: params: tensors, (name, tensor) pairs as `named_parameters()` gives, or dictionaries, one for each group, with
            the key "params" and the group's own options.
        defaults: the options of groups that do not give their own.
    Raises: OptimizerError: no parameters, or one that is no leaf.  ArgumentError: something else than tensors.

    A subclass defines `update` (and `init`, for its state), or a `step` of its own.

    Example:
        >>> import flambeau as fb
        >>> class SignDescent(fb.optim.Optimizer):
        ...     def __init__(self, params, lr=0.1):
        ...         super().__init__(params, {"lr": lr})
        ...     def update(self, param, grad, state, group):
        ...         param.sub_(grad.sign() * group["lr"])
        >>> w = fb.tensor([1.0, -2.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> SignDescent([w]).step()
        >>> w
        tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    #: Name of the kernel that replaces `update` on devices that have it.
    kernel: ClassVar[str | None] = None
    #: Names of state tensors that have their parameter's shape.
    like_param: ClassVar[tuple[str, ...]] = ()

    defaults: dict[str, Any]
    state: defaultdict[Any, Any]
    param_groups: list[Group]
    _opt_called = False
    _stepping = False
    # tables of hooks are made when the first is registered
    _step_pre: Mapping[int, Hook] = {}
    _step_post: Mapping[int, Hook] = {}
    _dict_pre: Mapping[int, Hook] = {}
    _dict_post: Mapping[int, Hook] = {}
    _load_pre: Mapping[int, Hook] = {}
    _load_post: Mapping[int, Hook] = {}

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._fused = Fused()
        if isinstance(params, Tensor):
            raise ArgumentError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got one Tensor "
                f"({describe(params)}). Hint: [param]"
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise OptimizerError(
                "optimizer got an empty parameter list. Hint: model.parameters() is a generator that is empty once "
                "used up; layers kept in a plain list are no parameters, use nn.ModuleList"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            setattr(cls, "step", _hooked(cls.step))  # noqa: B010
        if "update" in cls.__dict__ and "kernel" not in cls.__dict__:
            cls.kernel = None  # the base's kernel does not know another rule

    # ---- the step
    def init(self, param: Tensor, state: State, group: Group) -> None:
        """Fill the empty state of a parameter before its first update."""

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """The rule: change one parameter in place.

        Args: grad: its gradient, negated where the group maximizes.  state: what the rule keeps for this parameter.
            group: the options.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither update() nor step()")

    def call(self, group: Group) -> Call | None:
        """The kernel's arguments after parameters and gradients: names of state arrays, then options.

        None where the kernel does not do what the options ask for.
        """
        return None

    @_hooked
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Args: closure: recomputes the loss with its gradients; called first.
        Returns: the closure's loss, or None.
        """
        loss = None
        before = _modes.grad
        try:
            if closure is not None:
                _modes.grad = True
                loss = closure()
            _modes.grad = False
            for group in self.param_groups:
                if self.kernel is None or not self._fused.step(self, group):
                    for param in group["params"]:
                        if param._grad is not None:
                            self._update(param, group)
        except MemoryError as error:
            from flambeau._live import uncaught

            raise uncaught(f"{type(self).__name__}.step", error) from None
        finally:
            _modes.grad = before
        return loss

    def _update(self, param: Tensor, group: Group) -> None:
        state = self.state.get(param)
        fresh = not state
        if state is None:
            state = {}
        if fresh:
            self.init(param, state, group)
        grad: Any = param._grad
        differentiable = bool(group.get("differentiable"))
        _modes.grad = differentiable
        if grad._g is not None and not differentiable:
            grad = grad.detach()
        if group.get("maximize"):
            grad = -grad
        if param.is_complex():
            self._update_complex(param, grad, state, group)
        else:
            self.update(param, grad, state, group)
        _modes.grad = False
        if fresh and state:
            self.state[param] = state

    def _update_complex(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Real and imaginary part as two real numbers, as PyTorch has it."""
        pairs = {k: as_real(v) if _is_complex(v) else v for k, v in state.items()}
        seen = dict(pairs)
        self.update(as_real(param if _modes.grad else param.detach()), as_real(grad), pairs, group)
        for key, value in pairs.items():
            if value is not seen.get(key):
                made = isinstance(value, Tensor) and value.dim() > 0
                state[key] = as_complex(value) if made else value

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Args: set_to_none: `.grad` becomes None; otherwise it is filled with zeros.
        """
        for group in self.param_groups:
            for param in group["params"]:
                if param._grad is None:
                    continue
                if set_to_none:
                    param._grad = None
                else:
                    param._grad = param._grad.detach().zero_()

    # ---- groups
    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters with options of its own, as when frozen layers join the training.

        Raises: OptimizerError: a parameter is no leaf, stands in another group already, or lacks its name.
            ArgumentError: something else than tensors, or a set of them.
        """
        if not isinstance(param_group, dict):
            raise ArgumentError(f"param_group must be a dict, but got {type(param_group)}")
        params, names = _named(param_group["params"])
        for param in params:
            if not isinstance(param, Tensor):
                raise ArgumentError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}"
                )
            if not self.defaults.get("differentiable") and not (param.is_leaf or param._retains):
                raise OptimizerError(
                    f"can't optimize a non-leaf Tensor ({describe(param)} made by {param.grad_fn.name()}). "
                    "Hint: optimize the leaves it was computed from"
                )
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise OptimizerError(
                    f"parameter group didn't specify a value of required optimization parameter {name}"
                )
        for group in self.param_groups:
            if ("param_names" in group) != (names is not None):
                word = "with names" if names is not None else "without names"
                raise OptimizerError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {word} to the optimizer"
                )
            if not set(map(id, params)).isdisjoint(map(id, group["params"])):
                raise OptimizerError("some parameters appear in more than one parameter group")
        if len(params) != len(set(map(id, params))):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error",
                stacklevel=3,
            )
        param_group["params"] = params
        if names is not None:
            param_group["param_names"] = names
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        self.param_groups.append(param_group)

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
            lines.append("")
        return "\n".join(lines[:-1]) + "\n)"

    # ---- travelling
    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._fused = Fused()
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
        for kept in self.state.values():
            if isinstance(kept, dict) and isinstance(kept.get("step"), int | float):
                kept["step"] = counter().add_(kept["step"])

    def state_dict(self) -> StateDict:
        """The state of the optimizer in PyTorch's layout.

        Returns: "state": for each parameter, by its position over all groups, what the rule keeps.
            "param_groups": the groups, with positions for parameters. Tensors are the live ones, not copies.
        """
        for hook in list(self._dict_pre.values()):
            hook(self)
        position: dict[int, int] = {}
        groups: list[Group] = []
        start = 0
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            for i, param in enumerate(group["params"], start):
                position.setdefault(id(param), i)
            packed["params"] = [position[id(p)] for p in group["params"]]
            start += len(group["params"])
            groups.append(packed)
        state = {position[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        result: StateDict = {"state": state, "param_groups": groups}
        for hook in list(self._dict_post.values()):
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over a state that `state_dict()` gave; a state that does not fit changes nothing.

        Parameters are matched by name where both sides have the same names, else by position.
        Make schedulers before: their construction sets learning rates.

        Raises: OptimizerError: other groups, other sizes of groups, or a tensor of another shape than its parameter.
        """
        state_dict = dict(state_dict)
        for hook in list(self._load_pre.values()):
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        state, groups = loaded(self, state_dict)
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in list(self._load_post.values()):
            hook(self)

    # ---- hooks
    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(optimizer, args, kwargs) before each step; a result replaces the step's (args, kwargs)."""
        return _register(self.__dict__.setdefault("_step_pre", {}), hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(optimizer, args, kwargs) after each step."""
        return _register(self.__dict__.setdefault("_step_post", {}), hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call hook(optimizer) before state_dict()."""
        return _register(self.__dict__.setdefault("_dict_pre", {}), hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call hook(optimizer, state_dict) after state_dict(); a result that is not None replaces it."""
        return _register(self.__dict__.setdefault("_dict_post", {}), hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call hook(optimizer, state_dict) before load_state_dict(); a result that is not None replaces it."""
        return _register(self.__dict__.setdefault("_load_pre", {}), hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call hook(optimizer) after load_state_dict()."""
        return _register(self.__dict__.setdefault("_load_post", {}), hook, prepend)


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


def _named(params: Any) -> tuple[list[Any], list[str] | None]:
    """Parameters and their names, from a tensor, tensors, or pairs."""
    if isinstance(params, Tensor):
        return [params], None
    if isinstance(params, set):
        raise ArgumentError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
            "sets will change between runs. Please use a list instead."
        )
    items: Sequence[Any] = list(params)
    pairs = [p for p in items if isinstance(p, tuple)]
    if not pairs:
        return list(items), None
    if len(pairs) != len(items):
        raise OptimizerError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    return [p[1] for p in pairs], [p[0] for p in pairs]


__all__ = [
    "Optimizer", "OptimizerError", "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook", "required",
]  # fmt: skip
