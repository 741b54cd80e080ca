"""The rules that have no kernel of their own, against formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import optim


def ema(state, key, beta, value):
    state[key] = beta * state.get(key, 0.0) + (1 - beta) * value
    return state[key]


def adagrad(lr=0.1, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    def step(p, g, s, t):
        g = g + weight_decay * p
        s["sum"] = s.get("sum", initial_accumulator_value) + g * g
        return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)

    return step


def adadelta(lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    def step(p, g, s, t):
        g = g + weight_decay * p
        v = ema(s, "v", rho, g * g)
        d = np.sqrt(s.get("u", 0.0) + eps) / np.sqrt(v + eps) * g
        ema(s, "u", rho, d * d)
        return p - lr * d

    return step


def adamax(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    def step(p, g, s, t):
        g = g + weight_decay * p
        m = ema(s, "m", betas[0], g)
        s["u"] = np.maximum(betas[1] * s.get("u", 0.0), np.abs(g) + eps)
        return p - lr / (1 - betas[0] ** t) * m / s["u"]

    return step


def nadam(
    lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, decoupled=False
):
    def step(p, g, s, t):
        p, g = (p * (1 - lr * weight_decay), g) if decoupled else (p, g + weight_decay * p)
        mu, after = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
        s["mu"] = float(
            np.float32(s.get("mu", 1.0)) * np.float32(mu)
        )  # a float32 number in the state
        m, v = ema(s, "m", betas[0], g), ema(s, "v", betas[1], g * g)
        mixed = after * m / (1 - s["mu"] * after) + (1 - mu) * g / (1 - s["mu"])
        return p - lr * mixed / (np.sqrt(v / (1 - betas[1] ** t)) + eps)

    return step


def radam(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    def step(p, g, s, t):
        p, g = (p * (1 - lr * weight_decay), g) if decoupled else (p, g + weight_decay * p)
        m = ema(s, "m", betas[0], g) / (1 - betas[0] ** t)
        v, c = ema(s, "v", betas[1], g * g), 1 - betas[1] ** t
        r = 2 / (1 - betas[1]) - 1
        rt = r - 2 * t * betas[1] ** t / c
        if rt <= 5:
            return p - lr * m
        rectify = math.sqrt((rt - 4) * (rt - 2) * r / ((r - 4) * (r - 2) * rt))
        return p - lr * m * rectify * math.sqrt(c) / (np.sqrt(v) + eps)

    return step


def rprop(lr=0.1, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    def step(p, g, s, t):
        agreement = g * s.get("prev", 0.0)
        factor = np.where(agreement > 0, etas[1], np.where(agreement < 0, etas[0], 1.0))
        s["size"] = np.clip(s.get("size", lr) * factor, *step_sizes)
        s["prev"] = np.where(agreement < 0, 0.0, g)
        return p - np.sign(s["prev"]) * s["size"]

    return step


def asgd(lr=0.1, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0):
    def step(p, g, s, t):
        g = g + weight_decay * p
        # the step lengths are float32 numbers in the state
        eta = float(np.float32(s.get("eta", lr)))
        s["eta"] = lr / (1 + lambd * lr * t) ** alpha
        return p * (1 - lambd * eta) - eta * g

    return step


def rms(x):
    return math.sqrt(float(np.mean(x * x)))


def adafactor(lr=0.01, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0):
    tiny = np.finfo("float64").eps if eps[0] is None else eps[0]

    def step(p, g, s, t):
        share = t**beta2_decay
        size = max(eps[1], rms(p)) * min(lr, t**-0.5)
        p = p * (1 - lr * weight_decay)
        if g.ndim > 1:
            row = s["r"] = s.get("r", 0.0) * (1 - share) + share * (g * g).mean(-1, keepdims=True)
            col = s["c"] = s.get("c", 0.0) * (1 - share) + share * (g * g).mean(-2, keepdims=True)
            v = row @ col / np.maximum(row.mean(-2, keepdims=True), tiny)
        else:
            v = s["v"] = s.get("v", 0.0) * (1 - share) + share * g * g
        u = g / np.sqrt(np.maximum(v, tiny**2))
        return p - size * u / max(1.0, rms(u) / d)

    return step


def lion(lr=0.01, betas=(0.9, 0.99), weight_decay=0.0):
    def step(p, g, s, t):
        direction = np.sign(betas[0] * s.get("m", 0.0) + (1 - betas[0]) * g)
        ema(s, "m", betas[1], g)
        return p - lr * (direction + weight_decay * p)

    return step


def lamb(lr=0.1, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
    def step(p, g, s, t):
        m = ema(s, "m", betas[0], g) / (1 - betas[0] ** t)
        v = ema(s, "v", betas[1], g * g) / (1 - betas[1] ** t)
        r = m / (np.sqrt(v) + eps) + weight_decay * p
        return p - lr * np.sqrt((p * p).sum() / (r * r).sum()) * r

    return step


def flipped(rule):
    return lambda p, g, s, t: rule(p, -g, s, t)


CASES = [
    (optim.Adagrad, adagrad, {"lr": 0.1}),
    (optim.Adagrad, adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    (optim.Adadelta, adadelta, {}),
    (optim.Adadelta, adadelta, {"lr": 0.5, "rho": 0.5, "weight_decay": 0.1}),
    (optim.Adamax, adamax, {"lr": 0.1}),
    (optim.Adamax, adamax, {"lr": 0.1, "betas": (0.5, 0.6), "weight_decay": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.RAdam, radam, {"lr": 0.1}),
    (optim.RAdam, radam, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.RAdam, radam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.Rprop, rprop, {"lr": 0.1}),
    (optim.Rprop, rprop, {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.5)}),
    (optim.ASGD, asgd, {"lr": 0.1}),
    (optim.ASGD, asgd, {"lr": 0.1, "lambd": 0.01, "weight_decay": 0.1}),
    (optim.Adafactor, adafactor, {}),
    (optim.Adafactor, adafactor, {"lr": 0.1, "eps": (1e-5, 1e-2), "d": 2.0, "weight_decay": 0.1}),
    (optim.Lion, lion, {"lr": 0.01}),
    (optim.Lion, lion, {"lr": 0.01, "weight_decay": 0.3, "betas": (0.5, 0.6)}),
    (optim.LAMB, lamb, {"lr": 0.1}),
    (optim.LAMB, lamb, {"lr": 0.1, "weight_decay": 0.0, "betas": (0.5, 0.6)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "rule", "options"), CASES)
@pytest.mark.parametrize("maximize", [False, True])
def test_formula(agree, kind, rule, options, maximize):
    expected = rule(
        **{k.replace("decoupled_weight_decay", "decoupled"): v for k, v in options.items()}
    )
    if maximize:
        expected = flipped(expected)
    agree(lambda params: kind(params, maximize=maximize, **options), expected, rtol=1e-6)


def test_asgd_keeps_the_average():
    p = fb.tensor([8.0], dtype=fb.float64, requires_grad=True)
    opt = optim.ASGD([p], lr=0.1, lambd=0.0, alpha=0.0, t0=2)
    seen = []
    for _ in range(5):
        p.grad = fb.tensor([1.0], dtype=fb.float64)
        opt.step()
        seen.append(p.item())
    # mu is 1 until t0 is passed, then 1 / (t - t0) of the step before
    average = seen[0]
    for value, mu in zip(seen, [1, 1, 1, 1, 0.5], strict=True):
        average += mu * (value - average)
    assert opt.state[p]["ax"].item() == pytest.approx(average, rel=1e-6)


def orthogonalized(x, coefficients, steps, eps):
    a, b, c = coefficients
    y = x.T if x.shape[0] > x.shape[1] else x
    y = y / max(math.sqrt((y * y).sum()), eps)
    for _ in range(steps):
        gram = y @ y.T
        y = a * y + (b * gram + c * gram @ gram) @ y
    return y.T if x.shape[0] > x.shape[1] else y


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({}, lambda n, m: math.sqrt(max(1, n / m))),
        ({"nesterov": False, "ns_steps": 3, "weight_decay": 0.0}, lambda n, m: math.sqrt(max(1, n / m))),
        ({"adjust_lr_fn": "match_rms_adamw"}, lambda n, m: 0.2 * math.sqrt(max(n, m))),
    ],
)  # fmt: skip
def test_muon(agree, options, scale):
    lr, decay, steps = 0.02, options.get("weight_decay", 0.1), options.get("ns_steps", 5)

    def rule(p, g, s, t):
        b = ema(s, "b", 0.95, g)
        if options.get("nesterov", True):
            b = g + 0.95 * (b - g)
        o = orthogonalized(b, (3.4445, -4.775, 2.0315), steps, 1e-7)
        return p * (1 - lr * decay) - lr * scale(*p.shape) * o

    shapes = [(20, 30), (30, 20), (4, 4), (1, 7)]
    agree(lambda params: optim.Muon(params, lr=lr, **options), rule, shapes=shapes, rtol=1e-6)


def test_muon_step_is_nearly_orthogonal():
    p = fb.zeros(6, 4, dtype=fb.float64, requires_grad=True)
    opt = optim.Muon([p], lr=1.0, weight_decay=0.0, adjust_lr_fn="original")
    p.grad = fb.randn(6, 4, dtype=fb.float64)
    opt.step()
    values = np.linalg.svd(p.detach().numpy() / math.sqrt(6 / 4), compute_uv=False)
    assert np.all((values > 0.5) & (values < 1.5))


def test_lamb_without_length_takes_adams_step():
    p = fb.zeros(3, dtype=fb.float64, requires_grad=True)
    opt = optim.LAMB([p], lr=0.1)
    p.grad = fb.ones(3, dtype=fb.float64)
    opt.step()
    np.testing.assert_allclose(p.detach().numpy(), -0.1, rtol=1e-5)


def test_adagrad_has_its_state_from_the_start():
    p = fb.zeros(2, requires_grad=True)
    opt = optim.Adagrad([p], initial_accumulator_value=0.5)
    assert opt.state[p]["sum"].tolist() == [0.5, 0.5]
    opt.share_memory()


def test_sparse_adam_refuses_dense_gradients():
    p = fb.zeros(2, requires_grad=True)
    opt = optim.SparseAdam([p])
    opt.step()
    p.grad = fb.ones(2)
    with pytest.raises(
        RuntimeError,
        match=r"does not support dense gradients, please consider Adam instead \(grad: \(2,\) float32",
    ):
        opt.step()


ONE = {"params": None}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.Adagrad, {"lr": -1}, "Invalid learning rate: -1"),
        (optim.Adagrad, {"lr_decay": -1}, "Invalid lr_decay value: -1"),
        (optim.Adagrad, {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        (optim.Adagrad, {"initial_accumulator_value": -1}, "Invalid initial_accumulator_value value: -1"),
        (optim.Adagrad, {"eps": -1}, "Invalid epsilon value: -1"),
        (optim.Adadelta, {"rho": 1.5}, r"Invalid rho value: 1\.5\. Hint: 0 <= rho <= 1"),
        (optim.Adadelta, {"eps": -1}, "Invalid epsilon value: -1"),
        (optim.Adadelta, {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        (optim.Adamax, {"betas": (0.9, 1.0)}, r"Invalid beta parameter at index 1: 1\.0"),
        (optim.Adamax, {"eps": -1}, "Invalid epsilon value: -1"),
        (optim.NAdam, {"momentum_decay": -1}, "Invalid momentum_decay value: -1"),
        (optim.NAdam, {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        (optim.RAdam, {"lr": -1}, "Invalid learning rate: -1"),
        (optim.RAdam, {"betas": (-0.1, 0.9)}, r"Invalid beta parameter at index 0: -0\.1"),
        (optim.Rprop, {"etas": (1.5, 1.2)}, r"Invalid eta values: 1\.5, 1\.2\. Hint: 0 < etas\[0\] < 1 < etas\[1\]"),
        (optim.ASGD, {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        (optim.Adafactor, {"lr": -1}, "Learning rate should be >= 0 but is: -1"),
        (optim.Adafactor, {"beta2_decay": 0.5}, r"beta2_decay should be <= 0 but is: 0\.5"),
        (optim.Adafactor, {"eps": (-1, 1e-3)}, "epsilon1 should be >= 0 but is: -1"),
        (optim.Adafactor, {"eps": (None, -1)}, "epsilon2 should be >= 0 but is: -1"),
        (optim.Adafactor, {"d": 0.5}, r"Clipping threshold d should be >= 1 but is: 0\.5"),
        (optim.Adafactor, {"weight_decay": -1}, "weight_decay should be >= 0 but is: -1"),
        (optim.Muon, {"lr": -1}, "Learning rate should be >= 0 but is: -1"),
        (optim.Muon, {"momentum": -1}, "momentum should be >= 0 but is: -1"),
        (optim.Muon, {"weight_decay": -1}, "weight decay should be >= 0 but is: -1"),
        (optim.Muon, {"adjust_lr_fn": "other"}, "Adjust learning rate function other is not supported"),
        (optim.Muon, {"ns_steps": 100}, "Number of steps must be less than 100"),
        (optim.Muon, {"ns_coefficients": (1, 2)}, "Coefficients must be a tuple of exactly 3 values"),
        (optim.SparseAdam, {"lr": 0.0}, r"Invalid learning rate: 0\.0\. Hint: a number > 0"),
        (optim.SparseAdam, {"eps": 0.0}, r"Invalid epsilon value: 0\.0"),
        (optim.Lion, {"betas": (0.9, 1.0)}, r"Invalid beta parameter at index 1: 1\.0"),
        (optim.Lion, {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        (optim.LAMB, {"eps": -1}, "Invalid epsilon value: -1"),
        (optim.LAMB, {"lr": -1}, "Invalid learning rate: -1"),
    ],
)  # fmt: skip
def test_refused_options(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind([fb.zeros(2, 2, requires_grad=True)], **options)


def test_refused_parameters():
    with pytest.raises(
        ValueError, match=r"Muon only supports 2D parameters whereas we found a parameter with size"
    ):
        optim.Muon([fb.zeros(2, 2, requires_grad=True), fb.zeros(2, requires_grad=True)])
    opt = optim.Muon([fb.zeros(2, 2, requires_grad=True)])
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        opt.add_param_group({"params": [fb.zeros(2, requires_grad=True)]})
    assert len(opt.param_groups) == 1
    p = fb.zeros(2, 2, dtype=fb.complex64, requires_grad=True)
    with pytest.raises(
        ValueError, match=r"Complex params at indices \[\[0, 0\]\]: SparseAdam does not support"
    ):
        optim.SparseAdam([p])
    p.grad = fb.ones(2, 2, dtype=fb.complex64)
    for kind in (optim.Adafactor, optim.Muon):
        with pytest.raises(
            TypeError,
            match=rf"{kind.__name__} does not support complex parameters \(\(2, 2\)",
        ):
            kind([p]).step()


@pytest.mark.parametrize(
    "kind",
    [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Adadelta, optim.Adamax, optim.NAdam,
     optim.RAdam, optim.Rprop, optim.ASGD],
)  # fmt: skip
def test_complex_parameters_are_pairs_of_real_ones(kind):
    options = {"momentum": 0.9} if kind is optim.SGD else {}
    rng = np.random.default_rng(0)
    pairs = rng.standard_normal((5, 3, 2))
    joined = lambda x: fb.tensor(np.ascontiguousarray(x[..., 0] + 1j * x[..., 1]))  # noqa: E731
    z, r = joined(pairs).requires_grad_(), fb.tensor(pairs).requires_grad_()
    a, b = kind([z], lr=0.1, **options), kind([r], lr=0.1, **options)
    for _ in range(5):
        g = rng.standard_normal(pairs.shape)
        z.grad, r.grad = joined(g), fb.tensor(g)
        a.step()
        b.step()
    np.testing.assert_allclose(z.detach().numpy(), joined(r.detach().numpy()).numpy(), rtol=1e-12)
    for name, value in a.state[z].items():
        assert value.is_complex() == (value.dim() > 0), name
