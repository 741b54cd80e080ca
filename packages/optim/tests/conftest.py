"""A noisy quadratic to descend, with the optimizer and with a formula in NumPy side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as fb

#: One parameter too large to be packed with others, small ones of several ranks, and one of no dimension.
SHAPES = [(150, 110), (7, 5), (6,), (), (1,)]


@functools.cache
def noisy(shapes: tuple[tuple[int, ...], ...], steps: int, dtype: str) -> Any:
    """Starts, goals and the noise of each step."""
    rng = np.random.default_rng(0)
    draw = lambda shape: np.asarray(rng.standard_normal(shape), dtype)  # noqa: E731
    starts, goals = [draw(s) for s in shapes], [draw(s) for s in shapes]
    return starts, goals, [[draw(s) * 0.3 for s in shapes] for _ in range(steps)]


def run_optimizer(make: Any, steps: int = 50, shapes: Any = None, dtype: str = "float64") -> Any:
    """The parameters after each step, and the optimizer."""
    starts, goals, noise = noisy(tuple(shapes or SHAPES), steps, dtype)
    params = [fb.tensor(x).requires_grad_() for x in starts]
    optimizer = make(params)
    seen = []
    for t in range(steps):
        for p, goal, extra in zip(params, goals, noise[t], strict=True):
            p.grad = fb.tensor(p.detach().numpy() - goal + extra)
        optimizer.step()
        seen.append([p.detach().numpy().copy() for p in params])
    return seen, optimizer


def run_formula(rule: Any, steps: int = 50, shapes: Any = None, dtype: str = "float64") -> Any:
    """The same by `rule(p, g, state, t)`, which gives the new p."""
    starts, goals, noise = noisy(tuple(shapes or SHAPES), steps, dtype)
    params = [x.astype("float64") for x in starts]
    states: list[dict[str, Any]] = [{} for _ in params]
    seen = []
    for t in range(steps):
        for i, (goal, extra) in enumerate(zip(goals, noise[t], strict=True)):
            params[i] = rule(params[i], params[i] - goal + extra, states[i], t + 1)
        seen.append([np.array(p) for p in params])
    return seen


@pytest.fixture
def agree() -> Callable[..., Any]:
    """agree(make, rule): the optimizer that make(params) gives walks as the formula does."""

    def check(
        make: Any, rule: Any, dtype: str = "float64", rtol: float = 1e-9, **kwargs: Any
    ) -> Any:
        ours, optimizer = run_optimizer(make, dtype=dtype, **kwargs)
        expected = run_formula(rule, dtype=dtype, **kwargs)
        for t, (a, b) in enumerate(zip(ours, expected, strict=True)):
            if t > 5 and (t + 1) % 10:
                continue
            for x, y in zip(a, b, strict=True):
                np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol, err_msg=f"step {t + 1}")
        return optimizer

    return check


@pytest.fixture
def walk() -> Callable[..., Any]:
    """walk(make): the parameters after each step of the optimizer that make(params) gives, and the optimizer."""
    return run_optimizer
