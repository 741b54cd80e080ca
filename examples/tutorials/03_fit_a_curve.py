"""One regression, four times: NumPy, tensors, autograd, and layers with an optimizer.

The water level in a harbour swings around a mean with the tide, every 12.42 hours:

    level(t) = m + a cos(wt) + b sin(wt)

Three numbers are to be found from 200 readings by gradient descent on the mean squared error. Each
version leaves another piece of the work to the library; all of them take the same steps and end at
the same numbers.

    python examples/tutorials/03_fit_a_curve.py
"""

import math

import numpy as np

import flambeau as fb
from flambeau import nn, optim

STEPS, RATE = 30, 0.2


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


# ---- 0. The readings: two days, every quarter of an hour or so, with ripples that no tide explains
hours = np.linspace(0, 48, 200)
angle = 2 * math.pi / 12.42 * hours
level = 3.1 + 1.2 * np.cos(angle) - 0.7 * np.sin(angle) + 0.05 * np.sin(37 * hours)
found: dict[str, list[float]] = {}

# ---- 1. NumPy: predict, compare, derive by hand, step
cos, sin = np.cos(angle), np.sin(angle)
m = a = b = 0.0
for _ in range(STEPS):
    error = m + a * cos + b * sin - level
    slope = 2 * error / len(level)  # of the mean squared error, by each prediction
    m -= RATE * slope.sum()
    a -= RATE * (slope * cos).sum()
    b -= RATE * (slope * sin).sum()
found["numpy"] = [m, a, b]

# ---- 2. Tensors: the same lines, on any device, in float32
x, y = fb.tensor(angle, dtype=fb.float32), fb.tensor(level, dtype=fb.float32)
cos, sin = fb.cos(x), fb.sin(x)
m, a, b = fb.zeros(()), fb.zeros(()), fb.zeros(())
for _ in range(STEPS):
    error = m + a * cos + b * sin - y
    slope = 2 * error / len(y)
    m -= RATE * slope.sum()
    a -= RATE * (slope * cos).sum()
    b -= RATE * (slope * sin).sum()
found["tensors"] = [m.item(), a.item(), b.item()]

# ---- 3. Autograd: only the loss is written down, backward() derives it
# The update is no part of the model, hence no_grad(). The gradient is cleared, or it would add up.
m, a, b = (fb.zeros((), requires_grad=True) for _ in range(3))
for _ in range(STEPS):
    loss = (m + a * cos + b * sin - y).pow(2).mean()
    loss.backward()
    with fb.no_grad():
        for p in (m, a, b):
            p -= RATE * p.grad
            p.grad = None
found["autograd"] = [m.item(), a.item(), b.item()]

# ---- 4. Layers and an optimizer: the model is a layer, the update has a name
# A Linear layer from two features to one number holds a, b (its weight) and m (its bias). It would
# start from random numbers; zeros make it comparable. Flatten turns (200, 1) into (200,), as y is.
model = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0, 1))
nn.init.zeros_(model[0].weight)
nn.init.zeros_(model[0].bias)
features = fb.stack([cos, sin], dim=1)
loss_fn = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=RATE)
for _ in range(STEPS):
    loss = loss_fn(model(features), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
found["layers"] = [model[0].bias.item(), *model[0].weight[0].tolist()]

for name, numbers in found.items():
    print(f"{name:>8}: level = {numbers[0]:.5f} {numbers[1]:+.5f} cos {numbers[2]:+.5f} sin")
apart = max(abs(p - q) for numbers in found.values() for p, q in zip(numbers, found["numpy"]))
check(apart < 1e-4, "the four agree")

# ---- 5. Another optimizer is another line
# The exact answer of least squares is known here. RMSprop steps by about its rate however small the
# gradient is, so it swings around the answer; the others settle on it.
fb.manual_seed(0)  # Linear starts from random numbers
columns = np.stack([np.ones(200), np.cos(angle), np.sin(angle)], axis=1)
exact, *_ = np.linalg.lstsq(columns, level, rcond=None)
distance: dict[str, float] = {}
for kind, rate in ((optim.SGD, 0.2), (optim.RMSprop, 0.01), (optim.Adam, 0.1)):
    model = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0, 1))
    optimizer = kind(model.parameters(), lr=rate)
    for _ in range(500):
        optimizer.zero_grad()
        loss_fn(model(features), y).backward()
        optimizer.step()
    end = [model[0].bias.item(), *model[0].weight[0].tolist()]
    distance[kind.__name__] = max(abs(p - q) for p, q in zip(end, exact))
print("from the exact answer:", ", ".join(f"{k} {d:.0e}" for k, d in distance.items()))
check(all(d < 0.03 for d in distance.values()), "every optimizer arrives")
