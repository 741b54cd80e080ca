"""Normalisations: values against NumPy, gradients, running statistics, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.nn import functional as F

rng = np.random.default_rng(0)


def standard(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def doubles(*shapes):
    return [fb.tensor(rng.normal(size=s), requires_grad=True) for s in shapes]


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (2, 4, 3, 3), (2, 4, 2, 2, 2)])
def test_batch_norm(shape):
    x = rng.normal(size=shape)
    axes = (0, *range(2, len(shape)))
    mean, var = fb.zeros(4, dtype=fb.float64), fb.ones(4, dtype=fb.float64)
    y = F.batch_norm(fb.tensor(x), mean, var, training=True, momentum=0.3)
    np.testing.assert_allclose(y.numpy(), standard(x, axes), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(mean.numpy(), 0.3 * x.mean(axes))
    np.testing.assert_allclose(var.numpy(), 0.7 + 0.3 * x.var(axes, ddof=1))
    still = F.batch_norm(fb.tensor(x), mean, var)
    side = (1, 4, *(1,) * (len(shape) - 2))
    np.testing.assert_allclose(
        still.numpy(), (x - mean.numpy().reshape(side)) / np.sqrt(var.numpy().reshape(side) + 1e-5)
    )


def test_batch_norm_gradients():
    for shape in ((5, 3), (4, 3, 2)):
        args = doubles(shape, (3,), (3,))
        assert gradcheck(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), tuple(args))
        assert gradgradcheck(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), tuple(args))


def test_batch_norm_layer():
    layer = nn.BatchNorm1d(3)
    assert list(layer.state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    x = fb.tensor(rng.normal(size=(8, 3)).astype("f"))
    layer(x)
    assert layer.num_batches_tracked.item() == 1
    before = layer.running_mean.tolist()
    layer.eval()(x)
    assert layer.running_mean.tolist() == before
    average = nn.BatchNorm1d(3, momentum=None)
    average(x)
    average(x * 3)
    np.testing.assert_allclose(average.running_mean.numpy(), 2 * x.numpy().mean(0), rtol=1e-5)
    free = nn.BatchNorm1d(3, track_running_stats=False, affine=False)
    assert list(free.state_dict()) == []
    np.testing.assert_allclose(free.eval()(x).numpy(), standard(x.numpy(), 0), rtol=1e-4, atol=1e-5)
    assert repr(nn.BatchNorm1d(256)).startswith(
        "BatchNorm1d(256, eps=1e-05, momentum=0.1, affine=True, "
    )


def test_old_state_without_counter_loads():
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    assert repr(layer.load_state_dict(state)) == "<All keys matched successfully>"


@pytest.mark.parametrize("last", [(4,), (3, 4)])
def test_layer_norm(last):
    x = rng.normal(size=(2, 3, 4))
    w, b = rng.normal(size=last), rng.normal(size=last)
    got = F.layer_norm(fb.tensor(x), last, fb.tensor(w), fb.tensor(b))
    np.testing.assert_allclose(
        got.numpy(), standard(x, tuple(range(-len(last), 0))) * w + b, rtol=1e-10, atol=1e-12
    )
    args = tuple(doubles((2, 3, 4), last, last))
    assert gradcheck(lambda *a: F.layer_norm(a[0], last, a[1], a[2]), args)
    assert gradgradcheck(lambda *a: F.layer_norm(a[0], last, a[1], a[2]), args)


def test_rms_norm():
    x, w = rng.normal(size=(3, 4)), rng.normal(size=4)
    got = F.rms_norm(fb.tensor(x), (4,), fb.tensor(w), eps=1e-6)
    np.testing.assert_allclose(got.numpy(), x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w)
    assert gradcheck(lambda a, b: F.rms_norm(a, (4,), b), tuple(doubles((3, 4), (4,))))


def test_group_and_instance_norm():
    x, w, b = rng.normal(size=(2, 6, 3, 3)), rng.normal(size=6), rng.normal(size=6)
    grouped = (
        standard(x.reshape(2, 2, -1), 2).reshape(x.shape) * w[:, None, None] + b[:, None, None]
    )
    np.testing.assert_allclose(
        F.group_norm(*map(fb.tensor, (x,)), 2, fb.tensor(w), fb.tensor(b)).numpy(), grouped
    )
    np.testing.assert_allclose(
        F.instance_norm(fb.tensor(x)).numpy(), standard(x, (2, 3)), rtol=1e-10, atol=1e-12
    )
    assert gradcheck(
        lambda *a: F.group_norm(a[0], 2, a[1], a[2]), tuple(doubles((2, 4, 3), (4,), (4,)))
    )
    layer = nn.InstanceNorm2d(6)
    assert layer(fb.tensor(x[0])).shape == (6, 3, 3)
    tracked = nn.InstanceNorm1d(3, track_running_stats=True, dtype=fb.float64)
    y = rng.normal(size=(4, 3, 5))
    tracked(fb.tensor(y))
    np.testing.assert_allclose(tracked.running_mean.numpy(), 0.1 * y.mean((0, 2)))
    np.testing.assert_allclose(tracked.running_var.numpy(), 0.9 + 0.1 * y.var(2, ddof=1).mean(0))


def test_local_response_norm():
    x = rng.normal(size=(2, 5, 3))
    mean = np.stack([(x[:, max(0, c - 1) : c + 2] ** 2).sum(1) / 3 for c in range(5)], 1)
    np.testing.assert_allclose(
        F.local_response_norm(fb.tensor(x), 3).numpy(), x / (1 + 1e-4 * mean) ** 0.75
    )


def test_normalize():
    got = F.normalize(fb.tensor([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(got.numpy(), [[0.6, 0.8], [0, 0]], rtol=1e-6)


def test_sync_batch_norm_conversion():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    made = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert isinstance(made[0], nn.SyncBatchNorm)
    assert made(fb.ones(2, 3, 2, 2)).shape == (2, 3, 2, 2)


def test_errors():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        nn.BatchNorm1d(3)(fb.ones(1, 3))
    with pytest.raises(ValueError, match=r"BatchNorm2d: expected 4D input \(got 2D input"):
        nn.BatchNorm2d(3)(fb.ones(2, 3))
    with pytest.raises(
        RuntimeError,
        match=r"running_mean should contain 4 elements not 3(.|\n)*in module BatchNorm1d\(3\)",
    ):
        nn.BatchNorm1d(3)(fb.ones(2, 4))
    with pytest.raises(
        RuntimeError, match=r"expected input with shape \[\*, 4\], but got input of size\[2, 3\]"
    ):
        nn.LayerNorm(4)(fb.ones(2, 3))
    with pytest.raises(
        RuntimeError, match="Expected weight to be of same shape as normalized_shape"
    ):
        F.layer_norm(fb.ones(2, 3), (3,), fb.ones(2))
    with pytest.raises(ValueError, match="must be divisible by num_groups"):
        nn.GroupNorm(2, 3)
    with pytest.raises(RuntimeError, match="to be divisible by num_groups"):
        F.group_norm(fb.ones(2, 3), 2)
    with pytest.raises(ValueError, match="Expected more than 1 spatial element when training"):
        F.instance_norm(fb.ones(2, 3, 1))
    with pytest.raises(ValueError, match="InstanceNorm1d: expected 2D or 3D input"):
        nn.InstanceNorm1d(3)(fb.ones(2))
    with pytest.raises(ValueError, match="Expected 3D or higher dimensionality input"):
        F.local_response_norm(fb.ones(2, 3), 2)
