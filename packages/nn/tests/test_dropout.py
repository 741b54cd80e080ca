"""Dropout in all forms."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F


def test_share_and_scale():
    fb.manual_seed(0)
    y = F.dropout(fb.ones(100, 100), 0.25).numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02


def test_gradient_uses_the_same_mask():
    x = fb.ones(50, requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()


def test_evaluation_and_edges():
    x = fb.ones(4)
    assert nn.Dropout().eval()(x) is x
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).tolist() == [0, 0, 0, 0]
    z = fb.ones(100)
    assert F.dropout(z, 0.5, inplace=True) is z
    assert 0 in z.tolist()
    for layer in (nn.Dropout, nn.AlphaDropout):
        with pytest.raises(
            ValueError, match="dropout probability has to be between 0 and 1, but got 2"
        ):
            layer(2)
    with pytest.raises(ValueError, match="has to be between 0 and 1, but got -1"):
        F.dropout(x, -1)


def test_same_seed_same_mask():
    fb.manual_seed(3)
    a = F.dropout(fb.ones(64), 0.5)
    fb.manual_seed(3)
    assert F.dropout(fb.ones(64), 0.5).tolist() == a.tolist()


@pytest.mark.parametrize(
    ("fn", "shape"),
    [(F.dropout1d, (8, 16, 5)), (F.dropout2d, (8, 16, 3, 3)), (F.dropout3d, (8, 16, 2, 2, 2))],
)
def test_whole_channels(fn, shape):
    y = fn(fb.ones(*shape), 0.5).numpy().reshape(8, 16, -1)
    assert (y.min(2) == y.max(2)).all()
    assert 0 < (y == 0).mean() < 1


def test_wrong_rank():
    with pytest.raises(RuntimeError, match="dropout1d: Expected 2D or 3D input, got"):
        F.dropout1d(fb.ones(2))


def test_alpha_dropout_keeps_mean_and_variance():
    fb.manual_seed(0)
    x = fb.randn(200, 200)
    y = F.alpha_dropout(x, 0.2, training=True).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02
    z = F.feature_alpha_dropout(fb.ones(8, 8, 9), 0.5, training=True).numpy()
    assert (z.min(2) == z.max(2)).all()


def test_printing():
    assert repr(nn.Dropout(0.2)) == "Dropout(p=0.2, inplace=False)"
