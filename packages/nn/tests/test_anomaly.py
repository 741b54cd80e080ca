"""Anomaly mode and the nan guard name the module, forward and backward."""

import pytest

import flambeau as fb
from flambeau import nn
from flambeau.errors import AnomalyError


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), Root())

    def forward(self, x):
        return self.body(x) * 0


def net(bias):
    made = Net()
    made.body[0].weight.data.zero_()
    made.body[0].bias.data.fill_(bias)
    return made


def test_forward():
    with (
        fb.autograd.nan_guard(),
        pytest.raises(
            AnomalyError, match=r"sqrt: made nan, 6 of 6 .*\n.*\n  in module body.1: Root"
        ),
    ):
        net(-1.0)(fb.ones(2, 2))


def test_data():
    with (
        fb.autograd.nan_guard(),
        pytest.raises(
            AnomalyError,
            match=r"linear: argument 0 holds nan .*\n  in module body.0: Linear\(2->3\)",
        ),
    ):
        net(1.0)(fb.full((2, 2), float("nan")))


@pytest.mark.parametrize("mode", [fb.autograd.detect_anomaly, fb.autograd.nan_guard])
def test_backward(mode):
    with mode():
        y = net(0.0)(fb.ones(2, 2)).sum()  # the root of 0 has an infinite slope
        with pytest.raises(
            AnomalyError, match=r"(?s)'SqrtBackward0' returned nan.*\n  in module body.1: Root"
        ) as error:
            y.backward()
    text = str(error.value)
    assert "an infinite slope" in text
    assert "return x.sqrt()" in text
    assert "_module.py" not in text


def test_outside_of_modules():
    x = fb.zeros(1, requires_grad=True)
    with fb.autograd.detect_anomaly(), pytest.raises(AnomalyError) as error:
        (x.sqrt() * 0).sum().backward()
    assert "in module" not in str(error.value)
