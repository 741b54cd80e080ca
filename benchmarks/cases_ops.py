"""Single operators on small operands, where the framework's own cost is most of the time.

"no grad": no operand requires a gradient. "fwd+bwd": every operand is a leaf that requires one, the
result is summed (unless it is a sum) and differentiated; gradients start at None each time.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from harness import Cases, Library, Trial

NO_GRAD_GOAL = 1.0
BACKWARD_GOAL = 0.8

SIZES = {"1": (1,), "2000": (2000,), "32x32": (32, 32)}
MATRIX = {"32x32": (32, 32)}

cases = Cases()


def operands(lib: Library, shape: tuple[int, ...], grad: bool = False) -> tuple[Any, Any]:
    """Two float32 tensors with the same values in every library, in the library's own memory."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, *shape)).astype(np.float32)
    return lib.tensor(a, requires_grad=grad), lib.tensor(b, requires_grad=grad)


def add(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, b = operands(lib, shape)

    def step() -> Any:
        return a + b

    return Trial(step)


def add_backward(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, b = operands(lib, shape, grad=True)

    def step() -> Any:
        a.grad = None
        b.grad = None
        y = a + b
        y.sum().backward()
        return y

    return Trial(step, [a, b])


def mul(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, b = operands(lib, shape)

    def step() -> Any:
        return a * b

    return Trial(step)


def mul_backward(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, b = operands(lib, shape, grad=True)

    def step() -> Any:
        a.grad = None
        b.grad = None
        y = a * b
        y.sum().backward()
        return y

    return Trial(step, [a, b])


def relu(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, _ = operands(lib, shape)

    def step() -> Any:
        return a.relu()

    return Trial(step)


def relu_backward(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, _ = operands(lib, shape, grad=True)

    def step() -> Any:
        a.grad = None
        y = a.relu()
        y.sum().backward()
        return y

    return Trial(step, [a])


def total(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, _ = operands(lib, shape)

    def step() -> Any:
        return a.sum()

    return Trial(step)


def total_backward(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, _ = operands(lib, shape, grad=True)

    def step() -> Any:
        a.grad = None
        y = a.sum()
        y.backward()
        return y

    return Trial(step, [a])


def matmul(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, b = operands(lib, shape)

    def step() -> Any:
        return a @ b

    return Trial(step)


def matmul_backward(lib: Library, shape: tuple[int, ...]) -> Trial:
    a, b = operands(lib, shape, grad=True)

    def step() -> Any:
        a.grad = None
        b.grad = None
        y = a @ b
        y.sum().backward()
        return y

    return Trial(step, [a, b])


for op_name, forward, backward, sizes in (
    ("add", add, add_backward, SIZES),
    ("mul", mul, mul_backward, SIZES),
    ("relu", relu, relu_backward, SIZES),
    ("sum", total, total_backward, SIZES),
    ("matmul", matmul, matmul_backward, MATRIX),
):
    for size, size_shape in sizes.items():
        label = f"{op_name} {size}"
        cases.add(f"{label}, no grad", goal=NO_GRAD_GOAL)(partial(forward, shape=size_shape))
        cases.add(f"{label}, fwd+bwd", goal=BACKWARD_GOAL)(partial(backward, shape=size_shape))
