"""A module: parameters, buffers and the computation with them, under one name.

The model here reads a weather station (temperature, humidity, air pressure) and says how likely
rain is. It is not trained on this page (05 does that); the page is about what Module does for
everything that is assigned to it.

    python examples/tutorials/04_a_module.py
"""

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


# ---- 1. The smallest module: a parameter and a forward
class Scale(nn.Module):
    """Each feature times a factor that is learnt."""

    def __init__(self, features: int) -> None:
        super().__init__()  # first of all: it makes the places where assignments below are noted
        self.factor = nn.Parameter(fb.ones(features))

    def forward(self, x: fb.Tensor) -> fb.Tensor:
        """x * factor."""
        return x * self.factor

    def extra_repr(self) -> str:
        """What the printed model shows of it."""
        return f"features={self.factor.numel()}"


# ---- 2. Modules in modules, and a buffer
class Rain(nn.Module):
    """Readings (n, 3) -> logits (n,)."""

    def __init__(self, hidden: int = 8, depth: int = 2) -> None:
        super().__init__()
        # A buffer belongs to the model and moves and is saved with it, but is not learnt.
        self.register_buffer("usual", fb.tensor([15.0, 60.0, 1013.0]))
        self.scale = Scale(3)
        self.first = nn.Linear(3, hidden)
        # A plain list would hide its modules; a ModuleList shows them.
        self.blocks = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(depth)])
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(hidden, 1)

    def forward(self, x: fb.Tensor) -> fb.Tensor:
        """The score of rain: above 0 means more likely than not."""
        x = F.relu(self.first(self.scale((x - self.usual) / self.usual)))
        for block in self.blocks:
            x = x + fb.tanh(block(x))
        return self.last(self.drop(x)).squeeze(1)

    def probability(self, x: fb.Tensor) -> fb.Tensor:
        """Modules may have any other methods too."""
        with fb.no_grad():
            return fb.sigmoid(self(x))


fb.manual_seed(1)
model = Rain()
print(model)

# ---- 3. What was assigned is known by name, in the order of assignment
names = [name for name, _ in model.named_parameters()]
check(names[:3] == ["scale.factor", "first.weight", "first.bias"], "names follow the attributes")
check("blocks.1.weight" in names, "a list counts its modules")
check([name for name, _ in model.named_buffers()] == ["usual"], "buffers are listed apart")
total = sum(p.numel() for p in model.parameters())
print(f"{len(names)} parameters of {total} numbers")
check(total == 3 + (3 * 8 + 8) + 2 * (8 * 8 + 8) + (8 + 1), "weights and biases of every layer")

# ---- 4. Calling it
readings = fb.tensor([[22.0, 40.0, 1020.0], [12.0, 95.0, 998.0]])
check(model(readings).shape == (2,) and model(readings).requires_grad, "a call runs forward")

# ---- 5. Training and evaluation mode
# Dropout zeroes half of its input at random while training, and in eval mode none of it.
model.train()
check((model(readings) != model(readings)).any(), "in training two calls differ")
model.eval()
check((model(readings) == model(readings)).all(), "in evaluation they do not")
check(not model.drop.training and not model.blocks[0].training, "eval() reaches all modules inside")
print("chance of rain:", model.probability(readings))

# ---- 6. Gradients go to the parameters alone
F.binary_cross_entropy_with_logits(model(readings), fb.tensor([0.0, 1.0])).backward()
check(all(p.grad is not None for p in model.parameters()), "every parameter has a gradient")
check(model.usual.grad is None, "a buffer has none")
print(f"mean gradient at the last layer: {model.last.weight.grad.mean():.4f}")
model.zero_grad()
check(all(p.grad is None for p in model.parameters()), "zero_grad() clears them all")

# ---- 7. The state: names and tensors, which another model of the same make can take over
state = model.state_dict()
check(list(state)[:2] == ["usual", "scale.factor"], "parameters and buffers")
twin = Rain().eval()
check((twin(readings) != model(readings)).any(), "other random numbers, another model")
print(twin.load_state_dict(state))
check((twin(readings) == model(readings)).all(), "with the state, the same model")
try:
    Rain(hidden=4).load_state_dict(state)
except RuntimeError as error:
    print("error:", "\n".join(str(error).splitlines()[:2]))

# ---- 8. Freezing a part: what requires no grad gets none, and an optimizer leaves it alone
model.scale.requires_grad_(False)
check(sum(p.requires_grad for p in model.parameters()) == len(names) - 1, "one is frozen")
check(model.to(fb.float64).usual.dtype is fb.float64, "to() takes the buffers along")
