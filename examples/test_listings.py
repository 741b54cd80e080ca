"""What the listings of the PyTorch tutorials S0 and S1 do (docs/checklist.md), as short programs with known answers.

The listings of S2 and S3 are in test_listings_of_classifiers.py. They are written as
PyTorch programs are: `import flambeau as torch` is all that differs.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn, optim

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
X = torch.linspace(-math.pi, math.pi, 2000)
SIN = torch.sin(X)
RATE = 1e-6


# ---- S0: a third-order polynomial learns the sine


def by_hand(a, b, c, d, x=X, y=SIN):
    """L02 on arrays, L03 on tensors: the derivatives are written out."""
    losses = []
    for _ in range(2000):
        y_pred = a + b * x + c * x**2 + d * x**3
        losses.append(float(((y_pred - y) ** 2).sum()))
        grad = 2.0 * (y_pred - y)
        a = a - RATE * grad.sum()
        b = b - RATE * (grad * x).sum()
        c = c - RATE * (grad * x**2).sum()
        d = d - RATE * (grad * x**3).sum()
    return [float(v) for v in (a, b, c, d)], losses


def by_autograd(a, b, c, d):
    """L04."""
    losses = []
    for _ in range(2000):
        loss = (a + b * X + c * X**2 + d * X**3 - SIN).pow(2).sum()
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for p in (a, b, c, d):
                p -= RATE * p.grad
                p.grad = None
    return [v.item() for v in (a, b, c, d)], losses


class Polynomial3(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.randn(()))
        self.b = nn.Parameter(torch.randn(()))
        self.c = nn.Parameter(torch.randn(()))
        self.d = nn.Parameter(torch.randn(()))

    def forward(self, x):
        return self.a + self.b * x + self.c * x**2 + self.d * x**3

    def string(self):
        return (
            f"y = {self.a.item()} + {self.b.item()} x + {self.c.item()} x^2 + {self.d.item()} x^3"
        )


def by_module(model):
    """L08."""
    criterion, optimizer = nn.MSELoss(reduction="sum"), optim.SGD(model.parameters(), lr=RATE)
    losses = []
    for _ in range(2000):
        loss = criterion(model(X), SIN)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [p.item() for p in model.parameters()], losses


def four():
    torch.manual_seed(0)
    return [torch.randn((), device=device, dtype=torch.float) for _ in range(4)]


def test_four_ways_to_fit_agree():
    """L02, L03, L04, L08: one start, one result."""
    reference, _ = by_hand(*(v.item() for v in four()), X.double().numpy(), SIN.double().numpy())
    plain, losses = by_hand(*four())
    assert len(losses) == 2000
    assert losses[-1] < losses[99] < losses[0]
    np.testing.assert_allclose(plain, reference, atol=1e-3)
    graph, _ = by_autograd(*(v.requires_grad_() for v in four()))
    np.testing.assert_allclose(graph, plain, atol=1e-5)
    torch.manual_seed(0)
    model = Polynomial3()
    layers, _ = by_module(model)
    np.testing.assert_allclose(layers, plain, atol=1e-4)
    assert re.fullmatch(r"y = \S+ \+ \S+ x \+ \S+ x\^2 \+ \S+ x\^3", model.string())


class LegendrePolynomial3(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input**2 - 1)


def test_a_function_of_ones_own():
    """L05: nothing random; the numbers are those of torch 2.13."""
    a, b, c, d = (torch.full((), v, requires_grad=True) for v in (0.0, -1.0, 0.0, 0.3))
    for _ in range(2000):
        y_pred = a + b * LegendrePolynomial3.apply(c + d * X)
        loss = (y_pred - SIN).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for p in (a, b, c, d):
                p -= 5e-6 * p.grad
                p.grad = None
    assert b.item() == pytest.approx(-2.2085268, abs=1e-4)
    assert d.item() == pytest.approx(0.2554861, abs=1e-4)
    assert abs(a.item()) < 1e-6
    assert abs(c.item()) < 1e-6
    assert loss.item() == pytest.approx(8.9436, abs=1e-3)
    z = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LegendrePolynomial3.apply, (z,))


def powers():
    return X.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))


def test_layers_updated_by_hand():
    """L06."""
    model = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0, 1))
    loss_fn, xx, losses = nn.MSELoss(reduction="sum"), powers(), []
    for _ in range(2000):
        loss = loss_fn(model(xx), SIN)
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for param in model.parameters():
                param -= RATE * param.grad
    first = model[0]
    assert losses[-1] < losses[0]
    exact = np.polynomial.polynomial.polyfit(X.numpy(), SIN.numpy(), 3)
    found = [first.bias.item(), *(first.weight[:, i].item() for i in range(3))]
    np.testing.assert_allclose(found, exact, atol=0.1)


def test_layers_updated_by_an_optimizer():
    """L07: near the least-squares polynomial, whose loss is 8.8172."""
    model = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0, 1))
    loss_fn, xx = nn.MSELoss(reduction="sum"), powers()
    optimizer = optim.RMSprop(model.parameters(), lr=1e-3)
    for _ in range(2000):
        loss = loss_fn(model(xx), SIN)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 9.0


class DynamicNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.e = (nn.Parameter(torch.tensor(v)) for v in (0.5, -1.0, 0.25))

    def forward(self, x, uses):
        y = self.a + self.b * x
        for power in range(4, 4 + uses):
            y = y + self.e * x**power
        return y


@pytest.mark.parametrize("uses", [0, 1, 2])
def test_a_shared_weight_gets_one_gradient(uses):
    """L09: the graph changes from call to call, and `e` collects all its uses."""
    net, x = DynamicNet(), torch.tensor([0.5, -1.5, 2.0])
    net(x, uses).sum().backward()
    assert net.a.grad.item() == 3.0
    assert net.b.grad.item() == 1.0
    exact = sum(float((x.numpy() ** p).sum()) for p in range(4, 4 + uses))
    assert (net.e.grad is None) if uses == 0 else net.e.grad.item() == pytest.approx(exact)


def test_momentum_through_changing_graphs():
    """L09, shortened: the net of the tutorial with its optimizer."""
    net = DynamicNet()
    optimizer = optim.SGD(net.parameters(), lr=1e-5, momentum=0.9)
    x, losses = torch.linspace(-1, 1, 200), []
    for step in range(600):
        loss = nn.MSELoss(reduction="sum")(net(x, step % 3), torch.sin(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


# ---- S1: first steps


def test_first_tensors():
    """L10 to L13."""
    a, b = [1, 2, 3], [4, 5, 6]
    z = torch.tensor(a) + torch.tensor(b)
    assert z.tolist() == (np.array(a) + np.array(b)).tolist() == [5, 7, 9]
    assert z.dtype is torch.int64
    made = [torch.tensor([1.0, 2, 3]), torch.zeros(3, 4), torch.ones(2, 3), torch.randn(3, 3)]
    assert [t.shape for t in made] == [(3,), (3, 4), (2, 3), (3, 3)]
    assert {t.dtype for t in made} == {torch.float32}
    assert str(made[1].shape) == str(made[1].size()) == "flambeau.Size([3, 4])"


def test_first_gradients(capsys: pytest.CaptureFixture[str]):
    """L14, L15, L17, L32."""
    leaf = torch.tensor(3.0, requires_grad=True)
    (leaf**2).backward()
    print(leaf.grad)
    x = torch.tensor(2.0, requires_grad=True)
    y = x + 3
    z = y * y
    w = z - 4
    assert (y.item(), z.item(), w.item()) == (5, 25, 21)
    w.backward()
    print(x.grad)
    y = x * 2 if x > 0 else x * 3
    assert y.item() == 4
    with pytest.raises(RuntimeError, match="more than one value is ambiguous"):
        bool(torch.ones(2) > 0)
    p, q = (torch.tensor(v, requires_grad=True) for v in ([2.0, 3.0], [1.0, 2.0]))
    (p.pow(2).sum() + (q * p).sum()).backward()
    print(p.grad, q.grad)
    assert capsys.readouterr().out == "tensor(6.)\ntensor(10.)\ntensor([5., 8.]) tensor([2., 3.])\n"


class SimpleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 50)
        self.fc2 = nn.Linear(50, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_the_training_loop():
    """L18, L19, L20, L22, L27."""
    model, inputs, targets = SimpleNet().to(device), torch.randn(32, 10), torch.randn(32, 1)
    inputs, targets = inputs.to(device), targets.to(device)
    assert count(model) == 601
    assert {p.device for p in model.parameters()} == {inputs.device}
    optimizer, criterion, losses = optim.SGD(model.parameters(), lr=0.01), nn.MSELoss(), []
    for _ in range(100):
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert outputs.shape == (32, 1)
    assert losses[-1] < losses[0]
    model.eval()
    with torch.no_grad():
        predictions = model(torch.randn(5, 10).to(device))
    assert not predictions.requires_grad
    assert not model.fc1.training
    for name, param in model.named_parameters():
        line = f"{name}: grad mean = {param.grad.mean()}"
        assert re.fullmatch(r"fc[12]\.\w+: grad mean = -?\d[\d.]*(e-\d+)?", line), line


def test_forgotten_zero_grad():
    """L21: gradients of all steps add up; a loss computed once can be walked once."""
    model, x, y = SimpleNet(), torch.randn(8, 10), torch.randn(8, 1)

    def gradient(clear, times=3):
        for _ in range(times):
            if clear:
                model.zero_grad()
            nn.MSELoss()(model(x), y).backward()
        return model.fc1.weight.grad.clone()

    model.zero_grad()
    summed, single = gradient(clear=False), gradient(clear=True)
    assert torch.allclose(summed, 3 * single, rtol=1e-5)
    loss = nn.MSELoss()(model(x), y)
    loss.backward()
    with pytest.raises(RuntimeError, match="a second time.*Hint: recompute the loss inside the"):
        loss.backward()


def test_shapes_and_numpy():
    """L23, L24, L26, L28."""
    x = torch.randn(10, 5)
    assert (x + torch.randn(5)).shape == (x + torch.randn(1, 5)).shape == (10, 5)
    with pytest.raises(RuntimeError, match=r"got shapes \(10, 5\) and \(10, 4\)"):
        x + torch.randn(10, 4)
    array = np.array([1, 2, 3])
    tensor = torch.from_numpy(array)
    array[0], tensor[1] = 9, 8
    assert tensor.tolist() == array.tolist() == tensor.numpy().tolist() == [9, 8, 3]
    assert tensor.dtype is torch.int64
    x = torch.randn(10, 20)
    assert f"x shape: {x.shape}" == "x shape: flambeau.Size([10, 20])"
    assert x.shape == (10, 20), f"Expected (10, 20), got {x.shape}"


def test_xor():
    """L25, with the width at which every seed learns it."""
    inputs = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float32)
    xor = torch.tensor([[0], [1], [1], [0]], dtype=torch.float32)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
    optimizer, criterion = optim.Adam(model.parameters(), lr=0.1), nn.BCELoss()
    for _ in range(300):
        loss = criterion(model(inputs), xor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert model(inputs).round().tolist() == xor.tolist()
