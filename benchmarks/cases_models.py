"""Whole training steps, as a user writes them: forward, loss, backward, update."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from harness import Cases, Library, Trial

cases = Cases()


def set_parameters(lib: Library, model: Any) -> None:
    """Give a model the same weights in every library: uniform, of about the default width."""
    rng = np.random.default_rng(0)
    with lib.no_grad():
        for parameter in model.parameters():
            shape = tuple(parameter.shape)
            values = rng.uniform(-1, 1, shape) / math.sqrt(shape[-1])
            parameter.copy_(lib.tensor(values.astype(np.float32)))


# 20 steps to check, because the gradients show only in the leaves, a millionth at a time.
@cases.add("polynomial step (S0/4)", goal=0.7, check_steps=20)
def polynomial(lib: Library) -> Trial:
    """Fit a third-order polynomial to the sine with four scalar leaves and updates by hand."""
    x = lib.linspace(-math.pi, math.pi, 2000)
    y = lib.sin(x)
    a, b, c, d = (lib.tensor(value, requires_grad=True) for value in (0.3, -0.8, 0.5, 0.1))
    learning_rate = 1e-6

    def step() -> Any:
        nonlocal a, b, c, d
        y_pred = a + b * x + c * x**2 + d * x**3
        loss = (y_pred - y).pow(2).sum()
        loss.backward()
        with lib.no_grad():
            a -= learning_rate * a.grad
            b -= learning_rate * b.grad
            c -= learning_rate * c.grad
            d -= learning_rate * d.grad
            a.grad = None
            b.grad = None
            c.grad = None
            d.grad = None
        return loss

    return Trial(step, [a, b, c, d])


@cases.add("XOR step (S1/16)", goal=0.7)
def xor(lib: Library) -> Trial:
    """A 2-4-1 network on the four rows of XOR, with Adam and BCELoss."""
    nn = lib.nn
    inputs = lib.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=lib.float32)
    targets = lib.tensor([[0], [1], [1], [0]], dtype=lib.float32)
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())
    set_parameters(lib, model)
    optimizer = lib.optim.Adam(model.parameters(), lr=0.1)
    criterion = nn.BCELoss()

    def step() -> Any:
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Trial(step, list(model.parameters()))


@cache  # once per library: CPython would have to specialise its byte code on each new class
def mlp_class(lib: Library) -> Any:
    """The module of the next case."""
    nn = lib.nn
    functional = nn.functional

    class MLP(nn.Module):  # type: ignore[misc, name-defined]  # nn is a run-time value
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(784, 128)
            self.fc2 = nn.Linear(128, 64)
            self.fc3 = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = functional.relu(self.fc1(x))
            x = functional.relu(self.fc2(x))
            return self.fc3(x)

    return MLP


@cases.add("MLP 784-128-64-10 b32 Adam step", goal=0.7)
def mlp(lib: Library) -> Trial:
    """The digits classifier of every tutorial, on one batch of 32."""
    nn = lib.nn
    rng = np.random.default_rng(1)
    inputs = lib.tensor(rng.uniform(0, 1, (32, 784)).astype(np.float32))
    targets = lib.tensor(rng.integers(0, 10, 32))
    model = mlp_class(lib)()
    set_parameters(lib, model)
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return Trial(step, list(model.parameters()))


PROFILED_STEPS = 20


def mlp_run(lib: Library) -> Trial:
    """Some steps of the MLP."""
    trial = mlp(lib)

    def run() -> Any:
        for _ in range(PROFILED_STEPS):
            loss = trial.step()
        return loss

    return Trial(run, trial.leaves)


def profiled_mlp_run(lib: Library) -> Trial:
    """The same steps within a profile, its start and end included."""
    trial = mlp_run(lib)

    def run() -> Any:
        with lib.profiler.profile():
            return trial.step()

    return Trial(run, trial.leaves)


cases.add("profiler on an MLP step, on / off", goal=1.3, ours=profiled_mlp_run, against_ours=True)(
    mlp_run
)
cases.add("profiler on an MLP step, both on", goal=1.0)(profiled_mlp_run)
