from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest

import flambeau as fb
from flambeau.optim import SGD, Adam, Optimizer, RMSprop
from flambeau.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)


def leaf(*shape):
    return fb.zeros(*shape, requires_grad=True)


class Down(Optimizer):
    """Steps of lr along the gradient."""

    def __init__(self, params, lr=1.0):
        super().__init__(params, {"lr": lr})

    def update(self, param, grad, state, group):
        param.sub_(grad * group["lr"])


def trained(kind=Adam, steps=3, named=False, **options):
    """An optimizer of two parameters after some steps, and the parameters."""
    a = fb.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    b = fb.tensor(5.0, requires_grad=True)
    opt = kind([("a", a), ("b", b)] if named else [a, b], **options)
    for _ in range(steps):
        descend(opt, a, b)
    return opt, a, b


def descend(opt, a, b):
    opt.zero_grad()
    ((a * a).sum() + b * b * a.sum()).backward()
    opt.step()


# ---- groups
def test_groups_have_options_of_their_own():
    a, b, c = leaf(2), leaf(2), leaf(2)
    opt = SGD([{"params": [a], "lr": 1.0}, {"params": b}], lr=0.5)
    opt.add_param_group({"params": [c], "weight_decay": 0.1})
    assert [g["lr"] for g in opt.param_groups] == [1.0, 0.5, 0.5]
    assert [g["weight_decay"] for g in opt.param_groups] == [0, 0, 0.1]
    for p in (a, b, c):
        p.grad = fb.ones(2)
    opt.step()
    assert [p[0].item() for p in (a, b, c)] == [-1.0, -0.5, -0.5]


def test_options_are_read_at_every_step():
    a = leaf(1)
    opt = Adam([a], lr=1.0)
    for lr, expected in ((1.0, -1.0), (0.0, -1.0), (2.0, -3.0)):
        opt.param_groups[0]["lr"] = lr
        a.grad = fb.ones(1)
        opt.step()
        assert a.item() == pytest.approx(expected, rel=1e-6)


def test_a_parameter_joins_a_group_that_is_in_use():
    a, b = leaf(3), leaf(3)
    opt = Adam([a], lr=1.0)
    for _ in range(3):
        a.grad = fb.ones(3)
        opt.step()
    opt.param_groups[0]["params"].append(b)
    a.grad = b.grad = fb.ones(3)
    opt.step()
    assert a[0].item() == pytest.approx(-4.0, rel=1e-5)
    assert b[0].item() == pytest.approx(-1.0, rel=1e-5)


def test_named_parameters():
    opt = SGD([("weight", leaf(2)), ("bias", leaf(1))])
    assert opt.param_groups[0]["param_names"] == ["weight", "bias"]
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(
        ValueError,
        match="all optimizer param groups should be with/without names. cannot add param group without names",
    ):
        opt.add_param_group({"params": [leaf(2)]})


def test_refused_parameters():
    with pytest.raises(
        TypeError, match=r"should be an iterable of Tensors or dicts, but got one Tensor \(\(2,\)"
    ):
        SGD(leaf(2))
    with pytest.raises(
        ValueError, match=r"optimizer got an empty parameter list\. Hint: model\.parameters\(\)"
    ):
        SGD([])
    with pytest.raises(
        TypeError, match="optimizer can only optimize Tensors, but one of the params is int"
    ):
        SGD([1])
    with pytest.raises(TypeError, match="the ordering of tensors in sets will change between runs"):
        SGD([{"params": {leaf(1)}}])
    with pytest.raises(
        ValueError,
        match=r"can't optimize a non-leaf Tensor \(\(2,\) .* made by MulBackward0\)",
    ):
        SGD([leaf(2) * 2])
    with pytest.raises(ValueError, match="with/without names. Some param names are missing"):
        SGD([("a", leaf(1)), leaf(1)])
    with pytest.raises(TypeError, match="param_group must be a dict, but got <class 'list'>"):
        SGD([leaf(1)]).add_param_group([leaf(1)])


def test_refused_group_changes_nothing():
    a = leaf(1)
    opt = SGD([a])
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        opt.add_param_group({"params": [a]})
    assert len(opt.param_groups) == 1


def test_duplicates_are_warned_about_and_updated_twice():
    a = leaf(1)
    with pytest.warns(
        UserWarning, match="optimizer contains a parameter group with duplicate parameters"
    ):
        opt = SGD([a, a], lr=1.0)
    for expected in (-2.0, -4.0):
        a.grad = fb.ones(1)
        opt.step()
        assert a.item() == expected


def test_required_options():
    class Needs(Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": required})

    assert repr(required) == "<required parameter>"
    with pytest.raises(
        ValueError, match="didn't specify a value of required optimization parameter lr"
    ):
        Needs([leaf(1)])
    assert Needs([{"params": [leaf(1)], "lr": 1.0}]).param_groups[0]["lr"] == 1.0


# ---- gradients
def test_zero_grad():
    a, b = leaf(2), leaf(2)
    opt = SGD([a, b])
    a.grad = kept = fb.ones(2)
    opt.zero_grad()
    assert a.grad is None
    a.grad = kept
    opt.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0.0, 0.0]
    assert b.grad is None


def test_zero_grad_cuts_the_graph_of_a_gradient():
    a = fb.tensor([2.0], requires_grad=True)
    (a**3).sum().backward(create_graph=True)
    assert a.grad.requires_grad
    SGD([a]).zero_grad(set_to_none=False)
    assert not a.grad.requires_grad


def test_parameters_without_gradient_stay():
    a, b = leaf(2), leaf(2)
    opt = Adam([a, b])
    for _ in range(3):
        a.grad = fb.ones(2)
        opt.step()
    assert b.tolist() == [0.0, 0.0]
    assert list(opt.state_dict()["state"]) == [0]


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_gradient_of_another_shape(kind):
    a = leaf(3)
    opt = kind([a])
    a.grad = fb.ones(3)
    opt.step()
    a.data = fb.zeros(2)
    with pytest.raises(RuntimeError, match="must match the size"):
        opt.step()
    assert a.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", [SGD, Adam, RMSprop])
def test_parameters_that_moved_away_from_their_gradients(kind):
    p = fb.ones(3, requires_grad=True)
    p.sum().backward()
    optimizer = kind([p], lr=0.1)
    p.data = p.data.to("meta")
    with pytest.raises(
        RuntimeError,
        match=rf"^{kind.__name__}\.step: Expected all tensors to be on the same device, .* meta and cpu "
        r"\(param: \(3,\) float32 meta; grad: \(3,\) float32 cpu\)\. Hint: model\.to\('meta'\) before the optimizer",
    ):
        optimizer.step()


def test_parameters_that_moved_away_from_their_state():
    p = fb.ones(3, requires_grad=True)
    optimizer = Adam([p], lr=0.1)
    p.sum().backward()
    optimizer.step()
    p.data, p.grad = p.data.to("meta"), None
    (p * 2).sum().backward()
    with pytest.raises(
        RuntimeError,
        match=r"^Adam\.step: .*\(param: \(3,\) float32 meta; state\['exp_avg'\]: \(3,\) float32 cpu\)\. Hint: model",
    ):
        optimizer.step()


def test_no_room_for_a_step(monkeypatch):
    p = fb.ones(3, requires_grad=True)
    p.sum().backward()

    def full(*args):
        raise MemoryError("no more")

    monkeypatch.setitem(p._kind.k, "sgd_step_", full)
    with pytest.raises(MemoryError, match="^SGD.step: cpu has no room: no more"):
        SGD([p], lr=0.1).step()


def test_a_step_bumps_the_version():
    a = leaf(2)
    opt = Adam([a])
    for expected in (1, 2, 3):
        a.grad = fb.ones(2)
        before = a._version
        opt.step()
        assert a._version > before, expected
    loss = (a * a).sum()
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# ---- closures and hooks
def test_closure_runs_with_gradients_even_under_no_grad():
    a = fb.tensor([2.0], requires_grad=True)
    opt = SGD([a], lr=0.25)

    def closure():
        opt.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    with fb.no_grad():
        assert opt.step(closure).item() == 4.0
        assert not fb.is_grad_enabled()
    assert a.item() == 1.0
    assert fb.is_grad_enabled()
    assert opt.step() is None


def test_grad_mode_is_restored_when_the_closure_fails():
    opt = SGD([leaf(1)])

    def closure():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        opt.step(closure)
    assert fb.is_grad_enabled()


def test_step_hooks():
    a = leaf(1)
    opt, calls = SGD([a]), []
    closure = lambda: fb.zeros(())  # noqa: E731
    handles = [
        register_optimizer_step_pre_hook(lambda o, args, kwargs: calls.append("before any")),
        register_optimizer_step_post_hook(lambda o, args, kwargs: calls.append("after any")),
        opt.register_step_pre_hook(lambda o, args, kwargs: calls.append(("before", o, args))),
        opt.register_step_post_hook(lambda o, args, kwargs: calls.append("after")),
    ]
    opt.step(closure)
    assert calls == ["before any", ("before", opt, (closure,)), "after", "after any"]
    for handle in handles:
        handle.remove()
    opt.step()
    assert len(calls) == 4


def test_a_pre_hook_may_change_the_arguments():
    opt = SGD([leaf(1)])
    opt.register_step_pre_hook(lambda o, args, kwargs: ((lambda: 7,), {}))
    assert opt.step() == 7
    opt.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(
        RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got 3"
    ):
        opt.step()


def test_hooks_run_once_around_a_step_that_calls_its_base():
    class Twice(SGD):
        def step(self, closure=None):
            super().step(closure)
            return super().step(closure)

    a = leaf(1)
    opt, calls = Twice([a], lr=1.0), []
    opt.register_step_pre_hook(lambda *_: calls.append("before"))
    a.grad = fb.ones(1)
    opt.step()
    assert calls == ["before"]
    assert a.item() == -2.0


def test_state_dict_hooks():
    opt, _, _ = trained()
    calls = []
    opt.register_state_dict_pre_hook(lambda o: calls.append("second"))
    opt.register_state_dict_pre_hook(lambda o: calls.append("first"), prepend=True)
    opt.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    state = opt.state_dict()
    assert calls == ["first", "second"]
    assert state["more"] == 1
    opt.register_load_state_dict_pre_hook(lambda o, state: calls.append(state.pop("more")))
    opt.register_load_state_dict_post_hook(lambda o: calls.append("loaded"))
    opt.load_state_dict(state)
    assert calls[2:] == [1, "loaded"]
    assert state["more"] == 1


# ---- rules of one's own
def test_a_rule_of_ones_own():
    a = leaf(2)
    opt = Down([a], lr=0.5)
    a.grad = fb.ones(2)
    opt.step()
    assert a.tolist() == [-0.5, -0.5]
    assert repr(opt) == "Down (\nParameter Group 0\n    lr: 0.5\n)"


def test_another_rule_for_a_known_optimizer_is_used():
    class Still(Adam):
        def update(self, param, grad, state, group):
            param.fill_(7.0)

    a = leaf(2)
    opt = Still([a])
    for _ in range(3):
        a.grad = fb.ones(2)
        opt.step()
    assert a.tolist() == [7.0, 7.0]


def test_a_wrapper_that_borrows_another_optimizers_groups():
    class Wrapper(Optimizer):
        def __init__(self, inner):
            self.inner, self.param_groups, self.state = inner, inner.param_groups, inner.state

        def step(self, closure=None):
            return self.inner.step(closure)

    a = leaf(1)
    opt, calls = Wrapper(SGD([a], lr=1.0)), []
    a.grad = fb.ones(1)
    opt.step()
    opt.register_step_pre_hook(lambda *_: calls.append("mine"))
    opt.step()
    SGD([a]).step()
    opt.zero_grad()
    assert calls == ["mine"]
    assert a.grad is None


def test_nothing_is_kept_alive():
    opt, a, _ = trained()
    parameter, optimizer = weakref.ref(a), weakref.ref(opt)
    gc.collect()
    gc.disable()
    try:
        del opt, a, _
        assert optimizer() is None
        assert parameter() is None
    finally:
        gc.enable()


def test_a_rule_must_be_defined():
    a = leaf(1)
    a.grad = fb.ones(1)
    with pytest.raises(
        NotImplementedError, match=r"Optimizer defines neither update\(\) nor step\(\)"
    ):
        Optimizer([a], {}).step()


# ---- travelling
@pytest.mark.parametrize("kind", [SGD, Adam, RMSprop])
def test_resume_equals_uninterrupted(kind):
    options = {"lr": 0.01, "momentum": 0.9} if kind is not Adam else {"lr": 0.01, "amsgrad": True}
    opt, a, b = trained(kind, 4, **options)
    state, values = copy.deepcopy(opt.state_dict()), (a.detach().clone(), b.detach().clone())
    for _ in range(4):
        descend(opt, a, b)
    again, c, d = trained(kind, 1, **options)
    with fb.no_grad():
        c.copy_(values[0])
        d.copy_(values[1])
    again.load_state_dict(state)
    for _ in range(4):
        descend(again, c, d)
    np.testing.assert_array_equal(a.detach().numpy(), c.detach().numpy())
    np.testing.assert_array_equal(b.detach().numpy(), d.detach().numpy())


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_alike(travel):
    opt, a, b = trained(lr=0.01)
    again = travel(opt)
    c, d = again.param_groups[0]["params"]
    assert c is not a
    for _ in range(3):
        descend(opt, a, b)
        descend(again, c, d)
    np.testing.assert_array_equal(a.detach().numpy(), c.detach().numpy())
    assert opt.state[a]["step"].item() == again.state[c]["step"].item() == 6


def test_state_dict_layout():
    opt, a, _ = trained(Adam, 3, lr=0.01)
    opt.add_param_group({"params": [leaf(1)]})
    state = opt.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert [g["params"] for g in state["param_groups"]] == [[0, 1], [2]]
    assert list(state["state"]) == [0, 1]
    assert state["state"][0]["exp_avg"] is opt.state[a]["exp_avg"]
    assert state["param_groups"][0]["lr"] == 0.01


def test_load_casts_to_the_parameter_and_copies():
    opt, a, _ = trained()
    saved = opt.state_dict()
    wide = fb.zeros(2, 2, dtype=fb.float64, requires_grad=True)
    other = Adam([wide, leaf()])
    other.load_state_dict(saved)
    assert other.state[wide]["exp_avg"].dtype is fb.float64
    assert other.state[wide]["step"].dtype is fb.float32
    other.state[wide]["exp_avg"].zero_()
    assert saved["state"][0]["exp_avg"].abs().sum().item() > 0
    np.testing.assert_array_equal(a.detach().numpy(), a.detach().numpy())


def test_load_by_name():
    opt, a, _ = trained(named=True, lr=0.3)
    a2, b2 = leaf(2, 2), leaf()
    other = Adam([("b", b2), ("a", a2)])
    other.load_state_dict(opt.state_dict())
    assert other.state[a2]["exp_avg"].tolist() == opt.state[a]["exp_avg"].tolist()
    assert other.param_groups[0]["param_names"] == ["b", "a"]
    assert other.param_groups[0]["lr"] == 0.3
    keyed = opt.state_dict()
    names = ["a", "b"]
    keyed["state"] = {names[i]: v for i, v in keyed["state"].items()}
    keyed["param_groups"][0]["params"] = names
    del keyed["param_groups"][0]["param_names"]
    other.load_state_dict(keyed)
    assert other.state[a2]["exp_avg"].tolist() == opt.state[a]["exp_avg"].tolist()
    positional = Adam([("x", a2), ("y", b2)])
    positional.load_state_dict(opt.state_dict())
    assert positional.state[a2]["exp_avg"].tolist() == opt.state[a]["exp_avg"].tolist()


def test_load_takes_states_of_old_programs():
    opt, _, _ = trained()
    saved = opt.state_dict()
    saved["state"][0]["step"] = 3
    del saved["param_groups"][0]["maximize"]
    opt.load_state_dict(saved)
    assert opt.param_groups[0]["maximize"] is False
    step = opt.state[opt.param_groups[0]["params"][0]]["step"]
    assert step.dtype is fb.float32
    assert step.item() == 3


def broken(change):
    opt, _, _ = trained()
    saved = copy.deepcopy(opt.state_dict())
    change(saved)
    return saved


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("state"),
            r"the dictionary has no 'state'\. Hint: pass what state_dict\(\) gave",
        ),
        (
            lambda s: s["param_groups"].append(s["param_groups"][0]),
            "loaded state dict has a different number of parameter groups: 2, the optimizer has 1",
        ),
        (
            lambda s: s["param_groups"][0]["params"].append(2),
            "doesn't match the size of optimizer's group: group 0 has 3 parameters, the optimizer's has 2",
        ),
        (
            lambda s: s["state"][0].update(exp_avg=fb.zeros(3)),
            r"load_state_dict: exp_avg of parameter 0 is \(3,\) float32 cpu, the parameter is \(2, 2\)",
        ),
    ],
)
def test_a_failed_load_changes_nothing(change, message):
    opt, _, _ = trained(lr=0.25)
    before = copy.deepcopy(opt.state_dict())
    states = opt.state
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(broken(change))
    assert opt.state is states
    assert repr(opt.state_dict()) == repr(before)


def test_nothing_is_warned_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(SGD, 2, lr=1e-3, momentum=0.9)
