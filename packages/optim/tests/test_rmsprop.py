from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.optim import RMSprop


def rule(lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, sign=1.0):
    def step(p, g, state, t):
        g = sign * g + weight_decay * p
        state["v"] = alpha * state.get("v", 0.0) + (1 - alpha) * g * g
        state["m"] = alpha * state.get("m", 0.0) + (1 - alpha) * g
        u = g / (np.sqrt(state["v"] - state["m"] ** 2 * centered) + eps)
        state["b"] = momentum * state.get("b", 0.0) + u
        return p - lr * state["b"]

    return step


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.5, "eps": 1e-3},
        {"centered": True},
        {"momentum": 0.9},
        {"weight_decay": 0.1, "centered": True, "momentum": 0.5},
    ],
)
@pytest.mark.parametrize("maximize", [False, True])
def test_formula(agree, options, maximize):
    make = lambda params: RMSprop(params, lr=0.01, maximize=maximize, **options)  # noqa: E731
    agree(make, rule(sign=-1.0 if maximize else 1.0, **options), rtol=1e-7)


def test_state_has_what_the_options_need(walk):
    _, plain = walk(lambda params: RMSprop(params), steps=3)
    assert list(plain.state_dict()["state"][0]) == ["step", "square_avg"]
    _, full = walk(lambda params: RMSprop(params, momentum=0.9, centered=True), steps=3)
    assert list(full.state_dict()["state"][0]) == [
        "step",
        "square_avg",
        "momentum_buffer",
        "grad_avg",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, r"Invalid learning rate: -1\.0"),
        ({"eps": -1.0}, r"Invalid epsilon value: -1\.0"),
        ({"momentum": -1.0}, r"Invalid momentum value: -1\.0"),
        ({"weight_decay": -1.0}, r"Invalid weight_decay value: -1\.0"),
        ({"alpha": -1.0}, r"Invalid alpha value: -1\.0"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        RMSprop([fb.zeros(1, requires_grad=True)], **options)
