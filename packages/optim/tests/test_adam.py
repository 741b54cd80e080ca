from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.optim import Adam, AdamW


def rule(
    lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False, sign=1.0
):
    b1, b2 = betas

    def step(p, g, s, t):
        g = sign * g
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g * g
        s["top"] = np.maximum(s.get("top", 0.0), s["v"]) if amsgrad else s["v"]
        return p - lr * (s["m"] / (1 - b1**t)) / (np.sqrt(s["top"] / (1 - b2**t)) + eps)

    return step


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"betas": (0.5, 0.6), "eps": 1e-3},
        {"betas": (0.0, 0.9)},
        {"weight_decay": 0.1},
        {"amsgrad": True},
        {"amsgrad": True, "weight_decay": 0.1},
    ],
)
@pytest.mark.parametrize("maximize", [False, True])
def test_formula(agree, options, maximize):
    make = lambda params: Adam(params, lr=0.1, maximize=maximize, **options)  # noqa: E731
    agree(make, rule(sign=-1.0 if maximize else 1.0, **options), rtol=1e-7)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.2, "amsgrad": True}])
def test_decoupled_weight_decay(agree, options):
    expected = rule(decoupled=True, **{"weight_decay": 0.01, **options})
    agree(lambda params: AdamW(params, lr=0.1, **options), expected)
    options = {"weight_decay": 0.01, **options}
    agree(lambda params: Adam(params, lr=0.1, decoupled_weight_decay=True, **options), expected)


def test_float32(agree):
    make = lambda params: Adam(params, lr=0.01)  # noqa: E731
    agree(make, rule(lr=0.01), dtype="float32", rtol=1e-5)


def test_tensor_rate_and_betas(agree):
    rate = fb.tensor(0.1, dtype=fb.float64)
    betas = (fb.tensor(0.9, dtype=fb.float64), fb.tensor(0.999, dtype=fb.float64))
    agree(lambda params: Adam(params, lr=rate, betas=betas), rule())


def test_state_in_pytorchs_layout(walk):
    _, opt = walk(lambda params: Adam(params), steps=3)
    state = opt.state_dict()["state"]
    assert list(state) == [0, 1, 2, 3, 4]
    assert list(state[1]) == ["step", "exp_avg", "exp_avg_sq"]
    for kept, shape in zip(state.values(), [(150, 110), (7, 5), (6,), (), (1,)], strict=True):
        assert kept["step"].item() == 3
        assert kept["step"].dtype is fb.float32
        assert kept["step"].shape == ()
        assert kept["exp_avg"].shape == shape
        assert kept["exp_avg"].dtype is fb.float64
    _, opt = walk(lambda params: Adam(params, amsgrad=True), steps=3)
    assert "max_exp_avg_sq" in opt.state_dict()["state"][0]


def test_repr():
    opt = Adam([fb.zeros(1, requires_grad=True)])
    assert repr(opt) == (
        "Adam (\n"
        "Parameter Group 0\n"
        "    amsgrad: False\n"
        "    betas: (0.9, 0.999)\n"
        "    capturable: False\n"
        "    decoupled_weight_decay: False\n"
        "    differentiable: False\n"
        "    eps: 1e-08\n"
        "    foreach: None\n"
        "    fused: None\n"
        "    lr: 0.001\n"
        "    maximize: False\n"
        "    weight_decay: 0\n"
        ")"
    )
    opt.add_param_group({"params": fb.zeros(1, requires_grad=True), "lr": 0.5})
    second = repr(opt).split("Parameter Group 1\n")[1]
    assert "    lr: 0.5\n" in second
    assert "    weight_decay: 0\n\nParameter Group 1\n" in repr(opt)
    assert repr(AdamW([fb.zeros(1, requires_grad=True)])).startswith("AdamW (\nParameter Group 0\n")


def test_adamw_stays_decoupled_when_adams_state_is_loaded():
    p = fb.zeros(1, requires_grad=True)
    opt = AdamW([p])
    opt.load_state_dict(Adam([p]).state_dict())
    assert opt.param_groups[0]["decoupled_weight_decay"] is True


def test_differentiable_records_the_update():
    start = fb.tensor([1.0, 2.0], requires_grad=True)
    rate = fb.tensor(0.1, requires_grad=True)
    p = start.clone()
    opt = Adam([p], lr=rate, differentiable=True)
    p.grad = fb.tensor([3.0, -4.0])
    opt.step()
    p.sum().backward()
    assert start.grad.tolist() == [1.0, 1.0]
    assert abs(rate.grad.item()) < 1e-6  # the first step is lr * sign(g), and the signs differ


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, "Invalid learning rate: -1"),
        ({"eps": -1}, "Invalid epsilon value: -1"),
        ({"betas": (1.0, 0.9)}, r"Invalid beta parameter at index 0: 1\.0\. Hint: 0 <= beta < 1"),
        ({"betas": (0.9, -0.1)}, r"Invalid beta parameter at index 1: -0\.1"),
        ({"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ({"betas": (fb.tensor(0.9), 0.9)}, "betas must be either both floats or both Tensors"),
        ({"lr": fb.ones(2)}, "Tensor lr must be 1-element"),
        ({"fused": True, "foreach": True}, "`fused` and `foreach` cannot be `True` together"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        Adam([fb.zeros(1, requires_grad=True)], **options)
