from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.optim import LBFGS


def rosenbrock(**options):
    x = fb.tensor([-1.2, 1.0], dtype=fb.float64, requires_grad=True)
    opt = LBFGS([x], **options)
    losses = []

    def closure():
        opt.zero_grad()
        loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        losses.append(loss.item())
        return loss

    return x, opt, closure, losses


def test_line_search_finds_the_bottom_of_a_valley():
    x, opt, closure, losses = rosenbrock(line_search_fn="strong_wolfe", max_iter=60)
    first = opt.step(closure)
    assert first.item() == pytest.approx(24.2)
    np.testing.assert_allclose(x.detach().numpy(), [1.0, 1.0], rtol=1e-4)
    assert opt.state[x]["func_evals"] == len(losses) <= 75


def test_fixed_steps_on_a_quadratic_are_newtons():
    a = np.diag([1.0, 4.0, 9.0])
    x = fb.tensor([3.0, -2.0, 1.0], dtype=fb.float64, requires_grad=True)
    matrix = fb.tensor(a)
    opt = LBFGS([x], max_iter=30)

    def closure():
        opt.zero_grad()
        loss = 0.5 * (x @ matrix @ x)
        loss.backward()
        return loss

    opt.step(closure)
    np.testing.assert_allclose(x.detach().numpy(), 0.0, atol=1e-4)


def test_first_step_is_along_the_gradient():
    x = fb.tensor([3.0, -4.0], dtype=fb.float64, requires_grad=True)
    opt = LBFGS([x], lr=0.5, max_iter=1)

    def closure():
        opt.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    opt.step(closure)
    step = 0.5 * min(1.0, 1 / 14.0) * np.array([6.0, -8.0])
    np.testing.assert_allclose(x.detach().numpy(), np.array([3.0, -4.0]) - step, rtol=1e-12)


def test_several_parameters_and_one_without_gradient():
    a = fb.tensor([[2.0, 1.0]], requires_grad=True)
    b = fb.tensor(-3.0, requires_grad=True)
    unused = fb.ones(2, requires_grad=True)
    opt = LBFGS([a, b, unused], line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = ((a - 1) ** 2).sum() + (b - a.sum()) ** 2
        loss.backward()
        return loss

    opt.step(closure)
    np.testing.assert_allclose(a.detach().numpy(), 1.0, atol=1e-4)
    assert b.item() == pytest.approx(2.0, abs=1e-4)
    assert unused.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_resume_equals_uninterrupted(search):
    options = {"line_search_fn": search, "max_iter": 4, "history_size": 3, "lr": 0.001}
    if search:
        options["lr"] = 1.0
    x, opt, closure, _ = rosenbrock(**options)
    opt.step(closure)
    opt.step(closure)
    state, value = opt.state_dict(), x.detach().clone()
    y, other, second, _ = rosenbrock(**options)
    with fb.no_grad():
        y.copy_(value)
    other.load_state_dict(state)
    opt.step(closure)
    other.step(second)
    assert x.tolist() == y.tolist()
    assert len(other.state[y]["old_dirs"]) <= 3


def test_a_point_without_slope_stays():
    x = fb.zeros(2, requires_grad=True)
    opt = LBFGS([x])

    def closure():
        opt.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    assert opt.step(closure).item() == 0.0
    assert opt.state[x] == {"func_evals": 1, "n_iter": 0}


def test_refused():
    x = fb.zeros(2, requires_grad=True)
    with pytest.raises(
        ValueError, match=r"LBFGS: step\(\) needs a closure. Hint: opt.step\(closure\)"
    ):
        LBFGS([x]).step()
    with pytest.raises(
        ValueError, match=r"doesn't support per-parameter options \(parameter groups\)"
    ):
        LBFGS([{"params": [x]}, {"params": [fb.zeros(1, requires_grad=True)]}])
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported, got 'armijo'"):
        LBFGS([x], line_search_fn="armijo")
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        LBFGS([x], lr=-1)
