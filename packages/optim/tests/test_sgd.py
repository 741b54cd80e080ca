from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.optim import SGD


def rule(lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, sign=1.0):
    def step(p, g, state, t):
        g = sign * g + weight_decay * p
        if momentum:
            first = "b" not in state
            state["b"] = g if first else momentum * state["b"] + (1 - dampening) * g
            g = g + momentum * state["b"] if nesterov else state["b"]
        return p - lr * g

    return step


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.1},
        {"momentum": 0.5, "weight_decay": 0.1, "nesterov": True},
    ],
)
def test_formula(agree, options):
    agree(lambda params: SGD(params, lr=0.1, **options), rule(0.1, **options))


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "weight_decay": 0.1}])
def test_maximize_descends_the_negative(agree, options):
    make = lambda params: SGD(params, lr=0.01, maximize=True, **options)  # noqa: E731
    agree(make, rule(0.01, sign=-1.0, **options))


def test_float32(agree):
    options = {"momentum": 0.9, "weight_decay": 0.1}
    make = lambda params: SGD(params, lr=0.1, **options)  # noqa: E731
    agree(make, rule(0.1, **options), dtype="float32", rtol=1e-5)


def test_flags_of_pytorch_are_accepted_and_change_nothing(walk):
    plain, _ = walk(lambda params: SGD(params, lr=0.1, momentum=0.9), steps=3)
    for flags in ({"foreach": True}, {"fused": True}, {"foreach": False, "fused": False}):
        flagged, _ = walk(lambda params, f=flags: SGD(params, lr=0.1, momentum=0.9, **f), steps=3)
        for a, b in zip(plain[-1], flagged[-1], strict=True):
            np.testing.assert_array_equal(a, b)


def test_tensor_rate_is_read_at_every_step(agree):
    rate = fb.tensor(0.1, dtype=fb.float64)
    agree(lambda params: SGD(params, lr=rate, momentum=0.9), rule(0.1, 0.9))
    p = fb.tensor([1.0], requires_grad=True)
    opt = SGD([p], lr=fb.tensor(0.5))
    for expected in (0.5, -0.5):
        p.grad = fb.ones(1)
        opt.step()
        opt.param_groups[0]["lr"].fill_(1.0)
        assert p.item() == expected


def test_state_of_plain_descent_is_empty(walk):
    _, opt = walk(lambda params: SGD(params, lr=0.1), steps=3)
    assert opt.state_dict()["state"] == {}


def test_momentum_may_be_switched_on_later():
    p = fb.tensor([1.0, 2.0], requires_grad=True)
    opt = SGD([p], lr=1.0)
    for momentum, expected in ((0.0, [0.0, 1.0]), (0.5, [-1.0, 0.0]), (0.5, [-2.5, -1.5])):
        opt.param_groups[0]["momentum"] = momentum
        p.grad = fb.ones(2)
        opt.step()
        assert p.tolist() == expected


def test_differentiable_records_the_update():
    start = fb.tensor([1.0, 2.0], requires_grad=True)
    rate = fb.tensor(0.1, requires_grad=True)
    p = start.clone()
    opt = SGD([p], lr=rate, differentiable=True)
    p.grad = fb.tensor([3.0, 4.0])
    opt.step()
    p.sum().backward()
    assert start.grad.tolist() == [1.0, 1.0]
    assert rate.grad.item() == -7.0


def test_differentiable_through_the_gradient():
    p = fb.tensor([2.0], requires_grad=True).clone()
    g = fb.tensor([3.0], requires_grad=True)
    p.grad = g * 2
    SGD([p], lr=0.5, maximize=True, differentiable=True).step()
    assert p.item() == 5.0
    p.sum().backward()
    assert g.grad.item() == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, r"Invalid learning rate: -1\. Hint: a number >= 0"),
        ({"lr": float("nan")}, "Invalid learning rate: nan"),
        ({"momentum": -0.5}, r"Invalid momentum value: -0\.5"),
        ({"weight_decay": -0.5}, r"Invalid weight_decay value: -0\.5"),
        (
            {"nesterov": True},
            "Nesterov momentum requires a momentum and zero dampening, got momentum=0, dampening=0",
        ),
        (
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            r"zero dampening, got momentum=0\.9, dampening=0\.1",
        ),
        ({"fused": True, "foreach": True}, "`fused` and `foreach` cannot be `True` together"),
        ({"fused": True, "differentiable": True}, "`fused` does not support `differentiable`"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        SGD([fb.zeros(1, requires_grad=True)], **options)


def test_refused_tensor_rate():
    with pytest.raises(ValueError, match=r"Tensor lr must be 1-element, got \(2,\) float32 cpu"):
        SGD([fb.zeros(1, requires_grad=True)], lr=fb.ones(2))
