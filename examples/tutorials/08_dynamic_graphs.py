"""Dynamic graphs: the program that runs is the graph.

The tape is written anew by every forward pass, so if, for and while decide what is derived, and may
decide differently for every input. A weight that is used several times gets the sum of its
gradients. And a loop that is long enough can make gradients explode, which clipping mends.

    python examples/tutorials/08_dynamic_graphs.py
"""

import math

import flambeau as fb
from flambeau import nn, optim


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


# ---- 1. A branch: the slope is that of the branch that was taken
def bent(x: fb.Tensor) -> fb.Tensor:
    """2x above zero, x / 2 below."""
    if x > 0:
        return x * 2
    return x / 2


slopes = []
for value in (3.0, -3.0):
    x = fb.tensor(value, requires_grad=True)
    bent(x).backward()
    slopes.append(x.grad.item())
print("slopes:", slopes)


# ---- 2. A loop that ends when it is done: square roots by Heron's rule
def heron(a: fb.Tensor) -> tuple[fb.Tensor, int]:
    """sqrt(a) and how many steps it took."""
    guess, steps = a, 0
    while abs(guess * guess - a) > 1e-12 * a:
        guess, steps = (guess + a / guess) / 2, steps + 1
    return guess, steps


taken = []
for value in (4.0, 9e6):
    a = fb.tensor(value, dtype=fb.float64, requires_grad=True)
    root, steps = heron(a)
    root.backward()
    taken.append(steps)
    print(f"sqrt {value:g} = {root.item():g} in {steps} steps, slope {a.grad.item():.6g}")
    check(math.isclose(a.grad.item(), 0.5 / math.sqrt(value), rel_tol=1e-9), "1 / (2 sqrt a)")
check(taken[1] > taken[0], "another input, another graph")

# ---- 3. One weight, many uses: gradients of the uses are summed
w = fb.tensor(1.5, requires_grad=True)
(w * w * w).backward()  # three uses
check(w.grad == 3 * 1.5**2, "3 w^2: the sum over the uses")


# ---- 4. Weight sharing over sequences of any length
class Echo(nn.Module):
    """Reads a sequence one number at a time with one cell, and tells what it remembers of it."""

    def __init__(self, memory: int = 8) -> None:
        super().__init__()
        self.cell = nn.Linear(1 + memory, memory)
        self.out = nn.Linear(memory, 1)
        self.memory = memory

    def forward(self, sequence: fb.Tensor) -> fb.Tensor:
        """(time, batch) -> (batch,)."""
        state = fb.zeros(sequence.size(1), self.memory)
        for now in sequence:  # as many steps as there are
            state = fb.tanh(self.cell(fb.cat([now.unsqueeze(1), state], dim=1)))
        return self.out(state).squeeze(1)


# It learns to give back the first number, and the sequences of every step have another length.
fb.manual_seed(4)
model = Echo()
optimizer = optim.Adam(model.parameters(), lr=0.02)
losses = []
for step in range(300):
    sequence = fb.rand(2 + step % 4, 32) * 2 - 1
    loss = nn.MSELoss()(model(sequence), sequence[0])
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    losses.append(loss.item())
early, late = sum(losses[:20]) / 20, sum(losses[-20:]) / 20
print(f"echo: mean loss of the first 20 steps {early:.3f}, of the last {late:.3f}")
check(late < 0.5 * early, "it learns, whatever the length")

# ---- 5. Exploding gradients, and clipping
# A state that grows by 20 % a step: after 60 steps the gradient is some ten thousands.
growth = nn.Parameter(fb.full((2,), 1.2))
state = fb.ones(2)
for _ in range(60):
    state = state * growth
state.sum().backward()
norm = nn.utils.clip_grad_norm_([growth], max_norm=1.0)  # returns the norm before
print(f"gradient norm {norm:.0f}, clipped to {growth.grad.norm():.4f}")
check(norm > 1e5 and abs(growth.grad.norm().item() - 1) < 1e-4, "same direction, length 1")
growth.grad = fb.tensor([0.5, -3.0])
nn.utils.clip_grad_value_([growth], clip_value=1.0)  # each element by itself
check(growth.grad.tolist() == [0.5, -1.0], "every element within [-1, 1]")
