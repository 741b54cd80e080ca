"""Autograd: derivatives of whatever a program computes.

A tensor made with requires_grad=True is watched: every operation on it leaves a node behind, and
backward() walks these nodes from the result to the inputs by the chain rule. Nothing is derived
symbolically and no step size is guessed: the derivatives are exact up to rounding, which this page
checks against the formulas.

    python examples/tutorials/02_autograd.py
"""

import math

import flambeau as fb


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


# ---- 1. One number: y = x^3 - 2x has the slope 3x^2 - 2, which is 10 at x = 2
x = fb.tensor(2.0, requires_grad=True)
y = x**3 - 2 * x
print(y)
y.backward()
print("slope:", x.grad)

# ---- 2. Gradients add up until they are cleared
(x**3 - 2 * x).backward()
check(x.grad == 20, "a second backward adds to .grad")
x.grad = None
(5 * x).backward()
check(x.grad == 5, "after clearing it starts anew")

# ---- 3. Many inputs: the length of a vector grows fastest along the vector
v = fb.tensor([3.0, 0.0, -4.0], requires_grad=True)
length = v.pow(2).sum().sqrt()
length.backward()
print("length:", length.item(), "gradient:", v.grad)
try:
    (2 * v).backward()  # the gradient of what? one number is needed
except RuntimeError as error:
    print("error:", error)

# ---- 4. Where nothing shall be recorded
with fb.no_grad():
    check(not (v * 2).requires_grad, "no_grad records nothing")
    v -= 0.1 * v.grad  # the way to update what is being learnt
    with fb.enable_grad():
        check((v * 2).requires_grad, "enable_grad switches it on again inside")
check(v.is_leaf and fb.allclose(v, fb.tensor([2.94, 0.0, -3.92])), "v is 0.1 shorter, a leaf still")
constant = (v * 2).detach()  # same memory, no history
check(constant.grad_fn is None and not constant.requires_grad, "detach cuts the history off")
check(constant.requires_grad_().is_leaf, "and requires_grad_ starts a new one there")


# ---- 5. Looking at the graph
# A result knows the node that made it (grad_fn), and each node knows the nodes of its inputs.
def chain(node: object) -> str:
    """The nodes from a result down to the leaf, following the first input that has one."""
    names = []
    while node is not None:
        names.append(node.name())
        node = next((before for before, _ in node.next_functions if before is not None), None)
    return " <- ".join(names)


celsius = fb.tensor(37.0, requires_grad=True)
fahrenheit = celsius * 1.8 + 32
check(celsius.grad_fn is None, "a leaf was made by no operation")
print("graph:", chain(fahrenheit.grad_fn))


# ---- 6. An operation of one's own, with its derivative
class Hill(fb.autograd.Function):
    """x^n / (1 + x^n): how strongly a receptor answers to a concentration x >= 0."""

    @staticmethod
    def forward(ctx, x, n):
        """The answer; what the derivative needs is kept in ctx."""
        y = x**n / (1 + x**n)
        ctx.save_for_backward(x, y)
        ctx.n = n
        return y

    @staticmethod
    def backward(ctx, grad):
        """n y (1 - y) / x times what arrives; n is no tensor and gets None."""
        x, y = ctx.saved_tensors
        return grad * ctx.n * y * (1 - y) / x, None


dose = fb.tensor([0.5, 1.0, 2.0], dtype=fb.float64, requires_grad=True)
Hill.apply(dose, 2).sum().backward()
print("steepness of the answer:", dose.grad)
check(fb.allclose(dose.grad, (2 * dose / (1 + dose**2) ** 2).detach()), "as by the quotient rule")
check(fb.autograd.gradcheck(lambda d: Hill.apply(d, 2), (dose,)), "and by small differences")

# ---- 7. Derivatives of derivatives
# create_graph=True records the walk itself. Newton's method steps by slope / curvature: here to the
# minimum of x - sin 2x.
x = fb.tensor(0.4, dtype=fb.float64, requires_grad=True)
for _ in range(6):
    (slope,) = fb.autograd.grad(x - fb.sin(2 * x), x, create_graph=True)
    (curvature,) = fb.autograd.grad(slope, x)
    with fb.no_grad():
        x -= slope / curvature
print(f"lowest at x = {x.item():.6f}, curvature there {curvature.item():.4f}")
check(abs(x.item() - math.pi / 6) < 1e-12, "where 2 cos 2x = 1")
