"""Convolutions: values against the definition, gradients, shapes, errors."""

import itertools
import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.nn import functional as F

rng = np.random.default_rng(0)


def direct(x, w, b, stride, padding, dilation, groups):
    """The definition, position by position."""
    dims = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(p, p) for p in padding])
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    inputs, outputs = x.shape[1] // groups, w.shape[0] // groups
    for o, at in itertools.product(range(w.shape[0]), itertools.product(*map(range, out))):
        first = (o // outputs) * inputs
        window = tuple(
            slice(
                at[i] * stride[i],
                at[i] * stride[i] + dilation[i] * (w.shape[2 + i] - 1) + 1,
                dilation[i],
            )
            for i in range(dims)
        )
        part = x[(slice(None), slice(first, first + inputs), *window)]
        y[(slice(None), o, *at)] = (part * w[o]).sum(tuple(range(1, dims + 2)))
    return y if b is None else y + b.reshape(-1, *(1,) * dims)


CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "kernel"),
    [
        (1, 0, 1, 1, 3),
        (1, 1, 1, 1, 3),
        (2, 1, 1, 2, 3),
        (1, 2, 2, 1, 2),
        (3, 0, 1, 1, 2),
        (1, 0, 1, 1, 1),
        (1, 1, 1, 4, 3),
        (1, 3, 1, 1, 2),
    ],
)
def test_values(dims, stride, padding, dilation, groups, kernel):
    x, w = (
        rng.normal(size=(2, 4, *(6,) * dims)),
        rng.normal(size=(8 if groups == 4 else 4, 4 // groups, *(kernel,) * dims)),
    )
    b = rng.normal(size=w.shape[0])
    got = CONV[dims](*map(fb.tensor, (x, w, b)), stride, padding, dilation, groups)
    wanted = direct(x, w, b, (stride,) * dims, (padding,) * dims, (dilation,) * dims, groups)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [(1, 1, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1), (1, 0, 1, 4)],
)
def test_gradients(dims, stride, padding, dilation, groups):
    x = fb.tensor(rng.normal(size=(2, 4, *(5,) * dims)), requires_grad=True)
    w = fb.tensor(rng.normal(size=(4, 4 // groups, *(3,) * dims)), requires_grad=True)
    b = fb.tensor(rng.normal(size=4), requires_grad=True)
    assert gradcheck(lambda *a: CONV[dims](*a, stride, padding, dilation, groups), (x, w, b))


def test_second_derivatives():
    x = fb.tensor(rng.normal(size=(1, 2, 4, 4)), requires_grad=True)
    w = fb.tensor(rng.normal(size=(2, 2, 2, 2)), requires_grad=True)
    assert gradgradcheck(lambda a, b: F.conv2d(a, b, None, 2, 1), (x, w))
    assert gradgradcheck(lambda a, b: F.conv_transpose2d(a, b, None, 2, 1, 1), (x, w))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposed_is_the_gradient_of_conv(dims):
    x = fb.tensor(rng.normal(size=(2, 3, *(7,) * dims)), requires_grad=True)
    w = fb.tensor(rng.normal(size=(4, 3, *(3,) * dims)))
    y = CONV[dims](x, w, None, 2, 1)
    g = fb.tensor(rng.normal(size=y.shape))
    y.backward(g)
    back = TRANSPOSED[dims](g, w, None, 2, 1)
    assert back.shape == x.shape
    np.testing.assert_allclose(back.numpy(), x.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("extra", [(2, 1, 1, 1), (2, 0, 1, 3), (1, 1, 2, 3)])
def test_transposed_gradients(extra):
    stride, padding, output_padding, dilation = extra
    x = fb.tensor(rng.normal(size=(1, 2, 4)), requires_grad=True)
    w = fb.tensor(rng.normal(size=(2, 3, 2)), requires_grad=True)
    assert gradcheck(
        lambda a, b: F.conv_transpose1d(a, b, None, stride, padding, output_padding, 1, dilation),
        (x, w),
    )


def test_many_images_of_any_size():
    # more images than one block holds, and images larger than a block
    for shape in ((70, 2, 9, 9), (1, 2, 60, 50)):
        x, w = rng.normal(size=shape), rng.normal(size=(3, 2, 3, 3))
        got = F.conv2d(fb.tensor(x), fb.tensor(w), padding=1)
        np.testing.assert_allclose(
            got.numpy(), direct(x, w, None, (1, 1), (1, 1), (1, 1), 1), rtol=1e-9, atol=1e-11
        )


def test_same_and_valid():
    x = fb.tensor(rng.normal(size=(1, 2, 8)))
    for k, d in ((3, 1), (4, 1), (3, 2), (2, 3)):
        w = fb.tensor(rng.normal(size=(2, 2, k)))
        assert F.conv1d(x, w, padding="same", dilation=d).shape == x.shape
    assert F.conv1d(x, fb.ones(2, 2, 3, dtype=fb.float64), padding="valid").shape == (1, 2, 6)


def test_unbatched_and_empty():
    w = fb.ones(4, 3, 2, 2)
    assert F.conv2d(fb.ones(3, 5, 5), w).shape == (4, 4, 4)
    assert F.conv2d(fb.ones(0, 3, 5, 5), w).shape == (0, 4, 4, 4)
    assert F.conv_transpose2d(fb.ones(4, 5, 5), fb.ones(4, 2, 3, 3)).shape == (2, 7, 7)


def test_layers():
    layer = nn.Conv2d(3, 32, kernel_size=3, padding=1)
    assert repr(layer) == "Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
    assert layer(fb.ones(2, 3, 8, 8)).shape == (2, 32, 8, 8)
    assert [tuple(p.shape) for p in layer.parameters()] == [(32, 3, 3, 3), (32,)]
    bound = 1 / math.sqrt(27)
    assert np.abs(layer.weight.detach().numpy()).max() <= bound
    assert repr(nn.Conv1d(4, 4, 3, groups=2, bias=False, padding="same", dilation=2)) == (
        "Conv1d(4, 4, kernel_size=(3,), stride=(1,), padding=same, dilation=(2,), groups=2, bias=False)"
    )
    up = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1)
    assert up(fb.ones(1, 4, 5, 5)).shape == (1, 2, 9, 9)
    assert up(fb.ones(1, 4, 5, 5), output_size=(10, 10)).shape == (1, 2, 10, 10)
    with pytest.raises(ValueError, match="requested an output size of"):
        up(fb.ones(1, 4, 5, 5), output_size=(12, 10))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode):
    layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode=mode, bias=False, dtype=fb.float64)
    x = rng.normal(size=(1, 1, 5))
    padded = np.pad(
        x, [(0, 0), (0, 0), (1, 1)], mode={"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    )
    wanted = direct(padded, layer.weight.detach().numpy(), None, (1,), (0,), (1,), 1)
    np.testing.assert_allclose(layer(fb.tensor(x)).detach().numpy(), wanted)


def test_errors():
    w = fb.ones(4, 3, 3, 3)
    with pytest.raises(
        RuntimeError,
        match=r"expected input\[1, 2, 5, 5\] to have 3 channels, but got 2 channels instead",
    ):
        F.conv2d(fb.ones(1, 2, 5, 5), w)
    with pytest.raises(RuntimeError, match=r"Hint: channels come second: x.movedim\(-1, 1\)"):
        F.conv2d(fb.ones(1, 5, 5, 3), w)
    with pytest.raises(
        RuntimeError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d"
    ):
        F.conv2d(fb.ones(5, 5), w)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        F.conv2d(fb.ones(1, 3, 2, 2), w)
    with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional with 4 elements"):
        F.conv2d(fb.ones(1, 3, 5, 5), w, fb.ones(3))
    with pytest.raises(RuntimeError, match="non-positive stride is not supported"):
        F.conv2d(fb.ones(1, 3, 5, 5), w, stride=0)
    with pytest.raises(
        RuntimeError, match="padding='same' is not supported for strided convolutions"
    ):
        F.conv2d(fb.ones(1, 3, 5, 5), w, stride=2, padding="same")
    with pytest.raises(
        RuntimeError, match="expected stride to be a single integer value or a list of 2 values"
    ):
        F.conv2d(fb.ones(1, 3, 5, 5), w, stride=(1, 2, 3))
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="padding_mode must be one of"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(RuntimeError, match=r"to have 4 channels, but got 3 channels instead"):
        F.conv_transpose2d(fb.ones(1, 3, 5, 5), fb.ones(4, 2, 3, 3))
    with pytest.raises(
        RuntimeError, match="output padding must be smaller than either stride or dilation"
    ):
        F.conv_transpose2d(fb.ones(1, 4, 5, 5), fb.ones(4, 2, 3, 3), output_padding=1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3))
    with pytest.raises(RuntimeError, match=r"in module 1: Conv2d\(4->8\)"):
        net(fb.ones(1, 3, 8, 8))
