"""Fitting a state dict to an optimizer, by name or by position, before anything of the optimizer changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from flambeau.optim._rules import OptimizerError
from flambeau.tensor import Tensor, describe

if TYPE_CHECKING:
    from flambeau.optim.optimizer import Optimizer

StateDict = dict[str, Any]


def loaded(optimizer: Optimizer, state_dict: StateDict) -> tuple[Any, list[dict[str, Any]]]:
    """The state and the groups that the optimizer has after loading state_dict."""
    missing = [key for key in ("state", "param_groups") if key not in state_dict]
    if missing:
        raise OptimizerError(
            f"load_state_dict: the dictionary has no {missing[0]!r}. Hint: pass what state_dict() gave"
        )
    groups, saved = optimizer.param_groups, deepcopy(state_dict["param_groups"])
    if len(groups) != len(saved):
        raise OptimizerError(
            "loaded state dict has a different number of parameter groups: "
            f"{len(saved)}, the optimizer has {len(groups)}"
        )
    param_of: dict[Any, Tensor] = {}
    for i, (group, new) in enumerate(zip(groups, saved, strict=True)):
        if len(group["params"]) != len(new["params"]):
            raise OptimizerError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                f"group {i} has {len(new['params'])} parameters, the optimizer's has {len(group['params'])}"
            )
        param_of.update(_matched(group, new))
    state: defaultdict[Any, Any] = defaultdict(dict)
    for key, value in state_dict["state"].items():
        if key not in param_of:
            state[key] = value
            continue
        param, group = param_of[key], _group_of(saved, key)
        for name in optimizer.like_param:
            found = value.get(name) if isinstance(value, dict) else None
            if isinstance(found, Tensor) and found._a.shape != param._a.shape:
                raise OptimizerError(
                    f"load_state_dict: {name} of parameter {key} is {describe(found)}, "
                    f"the parameter is {describe(param)}"
                )
        state[param] = _fit(param, value, None, bool(group.get("capturable") or group.get("fused")))
    for group, new in zip(groups, saved, strict=True):
        new["params"] = group["params"]
        if "param_names" in group:
            new["param_names"] = group["param_names"]
    return state, saved


def _matched(group: dict[str, Any], new: dict[str, Any]) -> Iterable[tuple[Any, Tensor]]:
    """Which saved parameter is which of ours."""
    ours, theirs = group.get("param_names"), new.get("param_names")
    if theirs is None and ours is not None and set(new["params"]) == set(ours):
        theirs = new["params"]  # keyed by name, as checkpoints of sharded training are
    if ours is not None and theirs is not None and set(ours) == set(theirs):
        by_name = dict(zip(ours, group["params"], strict=True))
        return [(key, by_name[name]) for key, name in zip(new["params"], theirs, strict=True)]
    return list(zip(new["params"], group["params"], strict=True))


def _group_of(saved: list[dict[str, Any]], key: Any) -> dict[str, Any]:
    return next((g for g in saved if key in g["params"]), {})


def _fit(param: Tensor, value: Any, key: Any, step_moves: bool) -> Any:
    """A copy of a state value on the parameter's device and in its dtype; the step count stays as it is."""
    if isinstance(value, Tensor):
        if key == "step" and not step_moves:
            return value.detach().clone()
        dtype = value.dtype
        if key != "step" and param.is_floating_point():
            dtype = param.dtype
        return value.detach().to(param.device, dtype, copy=True)
    if isinstance(value, dict):
        return {k: _fit(param, v, k, step_moves) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_fit(param, v, None, step_moves) for v in value)
    return value
