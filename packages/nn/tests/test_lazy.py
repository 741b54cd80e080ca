"""Lazy layers."""

import copy

import pytest

import flambeau as fb
from flambeau import nn

CASES = [
    (nn.LazyLinear, (3,), (2, 5), "Linear(in_features=5, out_features=3, bias=True)"),
    (nn.LazyConv1d, (3, 2), (2, 5, 4), "Conv1d(5, 3, kernel_size=(2,), stride=(1,))"),
    (nn.LazyConv2d, (3, 2), (2, 5, 4, 4), "Conv2d(5, 3, kernel_size=(2, 2), stride=(1, 1))"),
    (
        nn.LazyConvTranspose2d,
        (3, 2),
        (2, 5, 4, 4),
        "ConvTranspose2d(5, 3, kernel_size=(2, 2), stride=(1, 1))",
    ),
    (nn.LazyBatchNorm1d, (), (4, 5), repr(nn.BatchNorm1d(5))),
    (
        nn.LazyInstanceNorm2d,
        (),
        (2, 5, 4, 4),
        repr(nn.InstanceNorm2d(5, affine=True, track_running_stats=True)),
    ),
]


@pytest.mark.parametrize(("cls", "args", "shape", "printed"), CASES)
def test_becomes_the_plain_layer(cls, args, shape, printed):
    layer = cls(*args)
    assert layer.has_uninitialized_params()
    parameters = list(layer.parameters())
    copy.deepcopy(layer)
    y = layer(fb.randn(*shape))
    assert y.shape[0] == shape[0]
    assert repr(layer) == printed
    assert not type(layer).__name__.startswith("Lazy")
    assert [id(p) for p in layer.parameters()] == [id(p) for p in parameters]


@pytest.mark.parametrize(("cls", "args", "shape", "printed"), CASES)
def test_loads_a_state(cls, args, shape, printed):
    ready, lazy = cls(*args), cls(*args)
    x = fb.randn(*shape)
    ready(x)
    lazy.load_state_dict(ready.state_dict())
    assert lazy(x).shape == ready(x).shape
    assert repr(lazy) == printed


def test_errors():
    with pytest.raises(RuntimeError, match="to LazyConv2d, but got"):
        nn.LazyConv2d(3, 2)(fb.ones(2, 2))
    with pytest.raises(ValueError, match="Can't access the shape of an uninitialized parameter"):
        nn.LazyLinear(3).weight.shape
