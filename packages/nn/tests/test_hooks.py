"""Hooks of modules."""

import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn.modules import module as module_api


def test_forward_pre_hook_replaces_arguments():
    layer = nn.Identity()
    handle = layer.register_forward_pre_hook(lambda m, args: args[0] + 1)
    assert layer(fb.zeros(1)).item() == 1
    layer.register_forward_pre_hook(
        lambda m, args, kwargs: ((args[0] * 10,), kwargs), with_kwargs=True
    )
    assert layer(fb.zeros(1)).item() == 10
    layer.register_forward_pre_hook(lambda m, args: args[0] + 3, prepend=True)
    assert layer(fb.zeros(1)).item() == 40
    handle.remove()
    assert layer(fb.zeros(1)).item() == 30


def test_forward_hook_replaces_the_result():
    layer = nn.Identity()
    seen = []
    layer.register_forward_hook(lambda m, args, out: seen.append((m is layer, len(args))))
    with layer.register_forward_hook(lambda m, args, kwargs, out: out + 5, with_kwargs=True):
        assert layer(fb.zeros(1)).item() == 5
    assert layer(fb.zeros(1)).item() == 0
    assert seen == [(True, 1), (True, 1)]


def test_always_called_hook_runs_after_a_failure():
    layer = nn.Linear(2, 2)
    seen = []
    layer.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(RuntimeError, match="in module Linear"):
        layer(fb.ones(1, 3))
    assert seen == [None]


def test_full_backward_hook():
    layer = nn.Linear(2, 1, bias=False)
    seen = {}

    def before(module, grad_output):
        seen["before"] = grad_output[0].tolist()
        return (grad_output[0] * 2,)

    def after(module, grad_input, grad_output):
        seen["input"], seen["output"] = grad_input[0].tolist(), grad_output[0].tolist()
        return (grad_input[0] * 10,)

    layer.register_full_backward_pre_hook(before)
    layer.register_full_backward_hook(after)
    x = fb.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    w = layer.weight.detach()
    assert seen["before"] == [[1.0]]
    assert seen["output"] == [[2.0]]
    assert fb.tensor(seen["input"]).tolist() == (2 * w).tolist()
    assert x.grad.tolist() == (20 * w).tolist()
    assert layer.weight.grad.tolist() == [[2.0, 2.0]]


def test_full_backward_hook_without_input_gradient():
    layer = nn.Linear(2, 1)
    seen = []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].shape)))
    layer(fb.ones(3, 2)).sum().backward()
    assert seen == [((None,), (3, 1))]


def test_wrong_number_of_gradients():
    layer = nn.Identity()
    layer.register_full_backward_hook(lambda m, gi, go: (None, None))
    with pytest.raises(
        RuntimeError,
        match="Backward hook returned an invalid number of grad, got 2, but expected 1",
    ):
        layer(fb.ones(1, requires_grad=True)).sum().backward()


def test_global_hooks():
    seen = []
    handles = [
        module_api.register_module_forward_pre_hook(lambda m, args: seen.append("pre")),
        module_api.register_module_forward_hook(lambda m, args, out: seen.append("post")),
        module_api.register_module_full_backward_hook(lambda m, gi, go: seen.append("backward")),
    ]
    try:
        nn.Identity()(fb.ones(1, requires_grad=True)).sum().backward()
    finally:
        for h in handles:
            h.remove()
    nn.Identity()(fb.ones(1))
    assert seen == ["pre", "post", "backward"]


def test_registration_hooks():
    with module_api.register_module_parameter_registration_hook(
        lambda m, n, p: nn.Parameter(p.detach() * 0)
    ):
        assert nn.Linear(2, 2).weight.shape == (2, 2)
        m = nn.Module()
        m.p = nn.Parameter(fb.ones(1))
    assert m.p.item() == 0
