"""Optimizers: the update alone, and a loop that is nearly all small operators and updates."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from harness import Cases, Library, Trial

cases = Cases()

MLP_SHAPES = ((128, 784), (128,), (64, 128), (64,), (10, 64), (10,))


def adam(lib: Library, shapes: Sequence[tuple[int, ...]]) -> Trial:
    """The update alone: the gradients stay as they are."""
    rng = np.random.default_rng(0)
    parameters = []
    for shape in shapes:
        value, gradient = rng.standard_normal((2, *shape)).astype(np.float32)
        parameter = lib.nn.Parameter(lib.tensor(value))
        parameter.grad = lib.tensor(gradient)
        parameters.append(parameter)
    optimizer = lib.optim.Adam(parameters, lr=1e-3)
    return Trial(optimizer.step, parameters)


@cases.add("Adam.step(), 100,000 in one tensor", goal=0.5)
def adam_one(lib: Library) -> Trial:
    """One large tensor: arithmetic decides."""
    return adam(lib, [(100_000,)])


@cases.add("Adam.step(), the MLP's six tensors", goal=0.6)
def adam_six(lib: Library) -> Trial:
    """Six tensors, most of them small: the cost of each tensor counts too."""
    return adam(lib, MLP_SHAPES)


@cache
def dynamic_net_class(lib: Library) -> Any:
    """The module of listing S0/9: a polynomial of an order that changes with each call."""

    class DynamicNet(lib.nn.Module):  # type: ignore[misc]  # a run-time value
        def __init__(self, draw: random.Random) -> None:
            super().__init__()
            self.draw = draw
            for name, value in zip("abcde", (0.3, -0.8, 0.5, 0.1, 0.05), strict=True):
                setattr(self, name, lib.nn.Parameter(lib.tensor(value)))

        def forward(self, x: Any) -> Any:
            y = self.a + self.b * x + self.c * x**2 + self.d * x**3
            for _ in range(self.draw.randint(3, 5)):
                y = y + self.e * x**4
            return y

    return DynamicNet


# One iteration of 30,000; 20 to check, because a step moves a parameter by some millionths.
@cases.add("DynamicNet iteration (S0/9)", goal=1.0, check_steps=20)
def dynamic_net(lib: Library) -> Trial:
    """Scalars times vectors of 2,000, a sum of squares, SGD with momentum."""
    x = lib.linspace(-math.pi, math.pi, 2000)
    y = lib.sin(x)
    model = dynamic_net_class(lib)(random.Random(0))
    criterion = lib.nn.MSELoss(reduction="sum")
    optimizer = lib.optim.SGD(model.parameters(), lr=1e-8, momentum=0.9)

    def step() -> Any:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Trial(step, list(model.parameters()))
