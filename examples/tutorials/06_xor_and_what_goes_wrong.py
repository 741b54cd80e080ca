"""XOR, and what goes wrong: a net that dies, and seven mistakes with what flambeau says about each.

XOR is 1 where exactly one of two inputs is 1. No straight line separates that, so a hidden layer is
needed; how wide it is decides whether the net can get stuck. The second half of the page is for
looking up.

    python examples/tutorials/06_xor_and_what_goes_wrong.py
"""

import flambeau as fb
from flambeau import nn, optim


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


# ---- 1. The same net, two widths, twenty seeds each
# A ReLU passes nothing below zero, and its slope there is 0: a unit that is below zero for all four
# inputs never learns again. Four units are few enough that often too many die; among sixteen enough
# live.
X = fb.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = fb.tensor([[0.0], [1.0], [1.0], [0.0]])


def solves(width: int, seed: int) -> bool:
    """Whether a net of this width, started from this seed, learns XOR in 500 steps."""
    fb.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1), nn.Sigmoid())
    optimizer, loss_fn = optim.Adam(net.parameters(), lr=0.1), nn.BCELoss()
    for _ in range(500):
        loss = loss_fn(net(X), y)
        if loss.item() < 0.05:  # every answer is on its side of one half
            return True
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return bool(((net(X) > 0.5) == (y > 0.5)).all())


solved = {width: sum(solves(width, seed) for seed in range(20)) for width in (4, 16)}
print(f"solved: {solved[4]} of 20 with 4 hidden units, {solved[16]} of 20 with 16")
check(solved[16] == 20 and 5 <= solved[4] < 20, "width is the remedy")

# ---- 2. Forgetting zero_grad: no error, gradients of all steps add up
layer = nn.Linear(2, 1)
for _ in range(3):
    nn.MSELoss()(layer(X), y).backward()
summed = layer.weight.grad.clone()
layer.zero_grad()
nn.MSELoss()(layer(X), y).backward()
check(fb.allclose(summed, 3 * layer.weight.grad), "three calls, three times the gradient")
times = (summed / layer.weight.grad).mean()
print(f"forgotten zero_grad: after three steps the gradient is {times:.3f} times too large")


# ---- 3. The mistakes that raise
def says(mistake: object) -> str:
    """What flambeau answers; every error here is a RuntimeError too, as in PyTorch."""
    try:
        mistake()
    except RuntimeError as error:
        print(f"\n{mistake.__doc__}\n  {type(error).__name__}: {error}")
        return str(error)
    raise SystemExit(f"not as told: {mistake.__doc__}: nothing was raised")


def backward_twice() -> None:
    """The loss is computed once, outside of the loop."""
    loss = nn.MSELoss()(layer(X), y)
    for _ in range(2):
        loss.backward()


def inplace_on_a_leaf() -> None:
    """A parameter is updated without no_grad()."""
    layer.weight -= 0.1 * layer.weight.grad


def wrong_width() -> None:
    """The input has three features, the layer takes two."""
    layer(fb.ones(5, 3))


def column_against_row() -> None:
    """Predictions (4, 1) meet targets (4,): broadcasting would compare each with each."""
    nn.MSELoss()(layer(X), y.squeeze(1))


def two_devices() -> None:
    """The model was moved, the data were not."""
    nn.Linear(2, 1).to("meta")(X)


def no_history() -> None:
    """The loss was computed where nothing is recorded."""
    with fb.no_grad():
        loss = nn.MSELoss()(layer(X), y)
    loss.backward()


mistakes = [backward_twice, inplace_on_a_leaf, wrong_width]
mistakes += [column_against_row, two_devices, no_history]
says_what = {mistake.__name__: says(mistake) for mistake in mistakes}
check(all("Hint" in text for text in says_what.values()), "every message ends with a way out")

# ---- 4. The remedies
with fb.no_grad():
    layer.weight -= 0.1 * layer.weight.grad
check(nn.MSELoss()(layer(X), y.squeeze(1).unsqueeze(1)).ndim == 0, "one shape for both")
