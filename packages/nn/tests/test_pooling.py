"""Pooling: values against sliding windows, gradients, indices, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.nn import functional as F

rng = np.random.default_rng(0)


def windows(x, k, s, p, fill):
    x = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::s, ::s]


@pytest.mark.parametrize(("k", "s", "p"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)])
def test_values(k, s, p):
    x = rng.normal(size=(2, 3, 7, 7))
    t = fb.tensor(x)
    np.testing.assert_array_equal(
        F.max_pool2d(t, k, s, p).numpy(), windows(x, k, s, p, -np.inf).max((-1, -2))
    )
    np.testing.assert_allclose(
        F.avg_pool2d(t, k, s, p).numpy(), windows(x, k, s, p, 0).mean((-1, -2))
    )
    counts = windows(np.ones_like(x), k, s, p, 0).sum((-1, -2))
    got = F.avg_pool2d(t, k, s, p, count_include_pad=False).numpy()
    np.testing.assert_allclose(got, windows(x, k, s, p, 0).sum((-1, -2)) / counts)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_indices_point_at_the_maxima(dims):
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
    unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[dims - 1]
    x = fb.tensor(rng.normal(size=(2, 3, *(6,) * dims)))
    y, at = pool(x, 2, return_indices=True)
    assert at.dtype is fb.int64
    picked = np.take_along_axis(x.numpy().reshape(2, 3, -1), at.numpy().reshape(2, 3, -1), 2)
    np.testing.assert_array_equal(picked.reshape(y.shape), y.numpy())
    assert unpool(y, at, 2).shape == x.shape
    assert unpool(y, at, 2).sum().item() == pytest.approx(y.sum().item())


@pytest.mark.parametrize(
    ("k", "s", "p", "d", "ceil"),
    [(2, None, 0, 1, False), (3, 2, 1, 1, True), (3, 1, 1, 1, False), (2, 2, 0, 2, False)],
)
def test_gradients(k, s, p, d, ceil):
    x = fb.tensor(rng.permutation(98).reshape(1, 2, 7, 7) / 10.0, requires_grad=True)
    assert gradcheck(lambda t: F.max_pool2d(t, k, s, p, d, ceil), (x,))
    assert gradgradcheck(lambda t: F.max_pool2d(t, k, s, p, d, ceil), (x,))
    assert gradcheck(lambda t: F.avg_pool2d(t, k, s, p, ceil), (x,))


def test_nan_wins():
    x = fb.tensor([[[1.0, float("nan"), 3.0, 2.0]]], requires_grad=True)
    y = F.max_pool1d(x, 2)
    assert np.isnan(y.detach().numpy()[0, 0, 0])
    y[0, 0, 0].backward()
    assert x.grad.tolist() == [[[0, 1, 0, 0]]]


def test_ceil_mode():
    x = fb.arange(5.0).view(1, 1, 5)
    assert F.max_pool1d(x, 2, ceil_mode=True).tolist() == [[[1, 3, 4]]]
    assert F.avg_pool1d(x, 2, ceil_mode=True).tolist() == [[[0.5, 2.5, 4]]]
    assert F.max_pool1d(x, 2).tolist() == [[[1, 3]]]


@pytest.mark.parametrize("out", [1, 2, 3, 4, 6])
def test_adaptive(out):
    x = rng.normal(size=(2, 3, 6))
    bins = [(i * 6 // out, -(-(i + 1) * 6 // out)) for i in range(out)]
    t = fb.tensor(x, requires_grad=True)
    mean = F.adaptive_avg_pool1d(t, out)
    np.testing.assert_allclose(
        mean.detach().numpy(), np.stack([x[..., a:b].mean(-1) for a, b in bins], -1)
    )
    top, at = F.adaptive_max_pool1d(t, out, return_indices=True)
    np.testing.assert_array_equal(
        top.detach().numpy(), np.stack([x[..., a:b].max(-1) for a, b in bins], -1)
    )
    np.testing.assert_array_equal(np.take_along_axis(x, at.numpy(), 2), top.detach().numpy())
    assert gradcheck(lambda v: F.adaptive_avg_pool1d(v, out), (t,))
    assert gradcheck(lambda v: F.adaptive_max_pool1d(v, out), (t,))


def test_adaptive_sizes():
    x = fb.ones(1, 2, 5, 7)
    assert nn.AdaptiveAvgPool2d((None, 3))(x).shape == (1, 2, 5, 3)
    assert nn.AdaptiveMaxPool2d(1)(x).shape == (1, 2, 1, 1)
    assert nn.AdaptiveAvgPool3d(2)(fb.ones(2, 4, 4, 4)).shape == (2, 2, 2, 2)


def test_power_mean():
    x = fb.tensor([[[3.0, 4.0, 0.0, 2.0]]])
    assert F.lp_pool1d(x, 2, 2).tolist() == [[[5, 2]]]
    assert nn.LPPool2d(1, 2)(fb.ones(1, 1, 4, 4)).tolist() == [[[[4, 4], [4, 4]]]]


def test_fractional():
    fb.manual_seed(0)
    x = fb.randn(1, 2, 9, 9)
    y, at = F.fractional_max_pool2d(x, 2, output_size=5, return_indices=True)
    assert y.shape == (1, 2, 5, 5)
    picked = np.take_along_axis(x.numpy().reshape(1, 2, -1), at.numpy().reshape(1, 2, -1), 2)
    np.testing.assert_array_equal(picked.reshape(y.shape), y.numpy())
    assert nn.FractionalMaxPool3d(2, output_ratio=0.5)(fb.ones(1, 1, 6, 6, 6)).shape == (
        1,
        1,
        3,
        3,
        3,
    )
    with pytest.raises(
        ValueError, match="requires specifying either an output size, or a pooling ratio"
    ):
        nn.FractionalMaxPool2d(2)


def test_printing():
    assert (
        repr(nn.MaxPool2d(2, 2))
        == "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    )
    assert repr(nn.AvgPool1d(2)) == "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"
    assert repr(nn.AdaptiveAvgPool2d((1, 1))) == "AdaptiveAvgPool2d(output_size=(1, 1))"


def test_errors():
    x = fb.ones(1, 1, 4, 4)
    with pytest.raises(RuntimeError, match=r"max_pool2d: Expected 3D or 4D \(batch mode\) input"):
        F.max_pool2d(fb.ones(4), 2)
    with pytest.raises(RuntimeError, match="the output size would be too small"):
        F.max_pool2d(x, 5)
    with pytest.raises(RuntimeError, match="pad should be at most half of effective kernel size"):
        F.max_pool2d(x, 2, padding=2)
    with pytest.raises(RuntimeError, match="divisor must be not zero"):
        F.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(RuntimeError, match="invalid output_size"):
        F.max_unpool2d(x, fb.zeros(1, 1, 4, 4, dtype=fb.int64), 2, output_size=(20, 20))
    with pytest.raises(RuntimeError, match="in module MaxPool2d"):
        nn.MaxPool2d(5)(x)


def test_the_first_of_equals_gets_the_gradient():
    patterns = np.array([[[(i >> b) & 1 for b in range(4)] for i in range(16)]], "f").reshape(
        1, 16, 2, 2
    )
    x = fb.tensor(patterns, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    for window, grad in zip(patterns.reshape(16, 4), x.grad.numpy().reshape(16, 4)):
        assert grad.tolist() == np.eye(4)[window.argmax()].tolist()
    whole = fb.tensor(rng.integers(0, 3, (2, 3, 8, 6)).astype("f"), requires_grad=True)
    weight = fb.tensor(rng.normal(size=(2, 3, 4, 3)).astype("f"))
    (F.max_pool2d(whole, 2) * weight).sum().backward()
    fast = whole.grad.clone()
    whole.grad = None
    _, at = F.max_pool2d(whole, 2, return_indices=True)
    wanted = np.zeros((2, 3, 48), "f")
    np.put_along_axis(wanted, at.numpy().reshape(2, 3, -1), weight.numpy().reshape(2, 3, -1), 2)
    np.testing.assert_array_equal(fast.numpy().reshape(2, 3, 48), wanted)
