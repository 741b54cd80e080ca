"""Padding, resizing, sampling, folding, shuffling, distances."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.nn import functional as F

rng = np.random.default_rng(0)
PADS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", PADS)
def test_pad(mode):
    x = rng.normal(size=(2, 3, 5, 6))
    got = F.pad(fb.tensor(x), (1, 2, 3, 0), mode=mode)
    np.testing.assert_array_equal(
        got.numpy(), np.pad(x, [(0, 0), (0, 0), (3, 0), (1, 2)], mode=PADS[mode])
    )
    small = fb.tensor(rng.normal(size=(1, 1, 4, 3)), requires_grad=True)
    assert gradcheck(lambda t: F.pad(t, (2, 1, 1, 1), mode=mode), (small,))
    assert gradgradcheck(lambda t: F.pad(t, (2, 1, 1, 1), mode=mode) ** 2, (small,))


def test_pad_values_and_cuts():
    x = fb.arange(4.0)
    assert F.pad(x, (1, 2), value=9).tolist() == [9, 0, 1, 2, 3, 9, 9]
    assert F.pad(x, (-1, -2)).tolist() == [1]
    assert F.pad(x, (-1, 1)).tolist() == [1, 2, 3, 0]
    assert nn.ConstantPad2d((1, 0, 0, 0), 3.5)(fb.zeros(1, 1, 1, 1)).tolist() == [[[[3.5, 0]]]]
    assert nn.ZeroPad1d(2)(fb.ones(1, 1, 1)).shape == (1, 1, 5)
    assert repr(nn.ReflectionPad2d(1)) == "ReflectionPad2d((1, 1, 1, 1))"
    with pytest.raises(ValueError, match="Padding length must be divisible by 2"):
        F.pad(x, (1,))
    with pytest.raises(
        ValueError, match="should be less than or equal to two times the input dimension"
    ):
        F.pad(x, (1, 1, 1, 1))
    with pytest.raises(
        ValueError, match="Padding size should be less than the corresponding input dimension"
    ):
        F.pad(fb.ones(1, 1, 3), (3, 0), mode="reflect")
    with pytest.raises(NotImplementedError, match="Unrecognised padding mode mirror"):
        F.pad(x, (1, 1), mode="mirror")
    with pytest.raises(ValueError, match="resulted in a negative output size"):
        F.pad(x, (-3, -3))


def test_nearest_and_linear():
    x = fb.tensor([[[0.0, 2.0, 4.0]]])
    assert F.interpolate(x, scale_factor=2).tolist() == [[[0, 0, 2, 2, 4, 4]]]
    assert F.interpolate(x, size=5, mode="linear", align_corners=True).tolist() == [
        [[0, 1, 2, 3, 4]]
    ]
    assert F.interpolate(x, size=6, mode="linear").tolist() == [[[0, 0.5, 1.5, 2.5, 3.5, 4]]]
    assert F.interpolate(x, size=2, mode="area").tolist() == [[[1, 3]]]
    y = np.arange(12.0).reshape(1, 1, 3, 4)
    up = F.interpolate(fb.tensor(y), size=(5, 7), mode="bilinear", align_corners=True).numpy()[0, 0]
    rows, columns = np.linspace(0, 2, 5), np.linspace(0, 3, 7)
    np.testing.assert_allclose(up, rows[:, None] * 4 + columns)  # a plane stays a plane
    flat = F.interpolate(fb.ones(1, 1, 4, 4), size=(7, 3), mode="bicubic")
    np.testing.assert_allclose(flat.numpy(), 1, rtol=1e-6)
    smooth = F.interpolate(fb.ones(1, 1, 9, 9), size=(3, 4), mode="bilinear", antialias=True)
    np.testing.assert_allclose(smooth.numpy(), 1, rtol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_resize_gradients(mode):
    x = fb.tensor(rng.normal(size=(1, 1, 3, 4)), requires_grad=True)
    assert gradcheck(lambda t: F.interpolate(t, size=(5, 3), mode=mode), (x,))


def test_resize_errors():
    x = fb.ones(1, 1, 4)
    with pytest.raises(NotImplementedError, match="Only 3D, 4D and 5D input Tensors supported"):
        F.interpolate(x, size=2, mode="bilinear")
    with pytest.raises(ValueError, match="either size or scale_factor should be defined"):
        F.interpolate(x)
    with pytest.raises(ValueError, match="only one of size or scale_factor should be defined"):
        F.interpolate(x, size=2, scale_factor=2)
    with pytest.raises(
        ValueError, match="align_corners option can only be set with the interpolating modes"
    ):
        F.interpolate(x, size=2, align_corners=True)
    with pytest.raises(RuntimeError, match="sizes should be greater than 0"):
        F.interpolate(x, size=0)
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2.0, mode='nearest')"
    assert nn.UpsamplingBilinear2d(scale_factor=2)(fb.ones(1, 1, 2, 2)).shape == (1, 1, 4, 4)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_identity_grid(align, mode):
    x = rng.normal(size=(2, 3, 4, 5))
    theta = fb.tensor(np.tile(np.eye(2, 3), (2, 1, 1)))
    grid = F.affine_grid(theta, (2, 3, 4, 5), align_corners=align)
    np.testing.assert_allclose(
        F.grid_sample(fb.tensor(x), grid, mode, align_corners=align).numpy(),
        x,
        rtol=1e-9,
        atol=1e-9,
    )


def test_grid_outside():
    x = fb.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    far = fb.tensor([[[[5.0, 0.0]]]])
    assert F.grid_sample(x, far, align_corners=True).item() == 0
    assert F.grid_sample(x, far, padding_mode="border", align_corners=True).item() == 3
    assert (
        F.grid_sample(
            x, fb.tensor([[[[3.0, -1.0]]]]), padding_mode="reflection", align_corners=True
        ).item()
        == 1
    )
    y, g = (
        fb.tensor(rng.normal(size=(1, 1, 4, 4)), requires_grad=True),
        fb.tensor(rng.uniform(-0.8, 0.8, (1, 2, 2, 2)), requires_grad=True),
    )
    assert gradcheck(lambda a, b: F.grid_sample(a, b, align_corners=False), (y, g))
    with pytest.raises(RuntimeError, match="same batch size and last dimension 2"):
        F.grid_sample(x, fb.ones(1, 1, 1, 3), align_corners=True)


def test_unfold_and_fold():
    x = rng.normal(size=(2, 3, 5, 4))
    columns = F.unfold(fb.tensor(x), (2, 3), padding=1, stride=(2, 1))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    view = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), (2, 3))[:, :, ::2]
    np.testing.assert_array_equal(
        columns.numpy(), view.transpose(0, 1, 4, 5, 2, 3).reshape(2, 18, -1)
    )
    ones = F.unfold(fb.ones(1, 1, 4, 4), 2, stride=2)
    assert F.fold(ones, 4, 2, stride=2).tolist() == fb.ones(1, 1, 4, 4).tolist()
    t = fb.tensor(rng.normal(size=(1, 4, 4)), requires_grad=True)
    assert gradcheck(lambda v: F.fold(v, 3, 2), (t,))
    assert nn.Fold((4, 4), 2, stride=2)(nn.Unfold(2, stride=2)(fb.ones(1, 2, 4, 4))).shape == (
        1,
        2,
        4,
        4,
    )
    with pytest.raises(RuntimeError, match="Expected 3D or 4D"):
        F.unfold(fb.ones(2), 2)
    with pytest.raises(RuntimeError, match="to match the calculated number of sliding blocks 4"):
        F.fold(fb.ones(1, 4, 3), 4, 2, stride=2)


def test_shuffles():
    x = fb.arange(16.0).view(1, 4, 2, 2)
    y = nn.PixelShuffle(2)(x)
    assert y[0, 0, 0].tolist() == [0, 4, 1, 5]
    assert nn.PixelUnshuffle(2)(y).tolist() == x.tolist()
    assert nn.ChannelShuffle(2)(x)[0, :, 0, 0].tolist() == [0, 8, 4, 12]
    with pytest.raises(RuntimeError, match="divisible by the square of upscale_factor"):
        F.pixel_shuffle(x, 3)
    with pytest.raises(RuntimeError, match="Number of channels must be divisible by groups"):
        F.channel_shuffle(x, 3)


def test_distances():
    a, b = rng.normal(size=(2, 4, 3))
    x, y = fb.tensor(a), fb.tensor(b)
    np.testing.assert_allclose(
        nn.PairwiseDistance(eps=0)(x, y).numpy(), np.linalg.norm(a - b, axis=1)
    )
    cos = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(nn.CosineSimilarity()(x, y).numpy(), cos)
    wanted = [np.linalg.norm(a[i] - a[j]) for i in range(4) for j in range(i + 1, 4)]
    np.testing.assert_allclose(F.pdist(x).numpy(), wanted)
    with pytest.raises(RuntimeError, match="pdist only supports 2D tensors"):
        F.pdist(fb.ones(3))
