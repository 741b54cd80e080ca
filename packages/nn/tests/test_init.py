"""Initialisers: distributions, shapes, errors."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.nn import init


@pytest.fixture(autouse=True)
def seed():
    fb.manual_seed(0)


def values(t):
    return t.detach().numpy()


def test_constants():
    t = fb.empty(2, 3)
    assert init.ones_(t) is t
    assert values(init.zeros_(t)).sum() == 0
    assert set(values(init.constant_(t, 0.5)).flat) == {0.5}
    assert values(init.eye_(fb.empty(2, 3))).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_nothing_is_recorded():
    w = fb.empty(3, 3, requires_grad=True)
    init.xavier_uniform_(w)
    assert w.is_leaf
    assert w.requires_grad


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda t: init.uniform_(t, -1, 3), 4 / math.sqrt(12)),
        (lambda t: init.normal_(t, 0, 0.3), 0.3),
        (init.xavier_uniform_, math.sqrt(2 / 500)),
        (init.xavier_normal_, math.sqrt(2 / 500)),
        (lambda t: init.kaiming_uniform_(t, nonlinearity="relu"), math.sqrt(2 / 300)),
        (
            lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
            math.sqrt(2 / 200),
        ),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), 1 / math.sqrt(3 * 300)),
    ],
)
def test_spread(fill, std):
    assert values(fill(fb.empty(200, 300))).std() == pytest.approx(std, rel=0.02)


def test_bounds():
    v = values(init.kaiming_uniform_(fb.empty(64, 100), a=math.sqrt(5)))
    assert np.abs(v).max() <= 0.1
    assert np.abs(v).max() > 0.0999
    assert init._calculate_fan_in_and_fan_out(fb.empty(8, 4, 3, 3)) == (36, 72)


def test_gains():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("conv2d") == 1
    assert init.calculate_gain("leaky_relu", 0.1) == math.sqrt(2 / 1.01)
    with pytest.raises(ValueError, match="Unsupported nonlinearity swish"):
        init.calculate_gain("swish")
    with pytest.raises(ValueError, match="negative_slope x not a valid number"):
        init.calculate_gain("leaky_relu", "x")


def test_truncated_normal():
    v = values(init.trunc_normal_(fb.empty(100, 100), 0, 1, -1, 1))
    assert np.abs(v).max() <= 1
    # variance of a standard normal cut at +-1
    assert v.std() == pytest.approx(math.sqrt(1 - 2 * 0.24197072 / 0.68268949), rel=0.02)
    with pytest.warns(UserWarning, match="mean is more than 2 std"):
        init.trunc_normal_(fb.empty(10), 5, 1, -1, 1)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (4, 2, 3)])
def test_orthogonal(shape):
    m = values(init.orthogonal_(fb.empty(*shape), gain=2)).reshape(shape[0], -1).astype("d")
    small = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_sparse():
    m = values(init.sparse_(fb.empty(10, 5), 0.3))
    assert ((m == 0).sum(0) == 3).all()


def test_dirac():
    w = values(init.dirac_(fb.empty(4, 2, 3), groups=2))
    assert w.sum() == 4
    assert w[0, 0, 1] == w[1, 1, 1] == w[2, 0, 1] == w[3, 1, 1] == 1


def test_bad_shapes():
    with pytest.raises(ValueError, match="Fan in and fan out can not be computed"):
        init.xavier_uniform_(fb.empty(3))
    with pytest.raises(ValueError, match="Only tensors with 2 dimensions"):
        init.eye_(fb.empty(3))
    with pytest.raises(ValueError, match="Only tensors with 3, 4, or 5 dimensions"):
        init.dirac_(fb.empty(3, 3))
    with pytest.raises(ValueError, match="dim 0 must be divisible by groups"):
        init.dirac_(fb.empty(3, 3, 3), groups=2)
    with pytest.raises(ValueError, match="Only tensors with 2 or more dimensions"):
        init.orthogonal_(fb.empty(3))
    with pytest.raises(ValueError, match="Only tensors with 2 dimensions"):
        init.sparse_(fb.empty(3), 0.1)
    with pytest.raises(ValueError, match="Mode middle not supported"):
        init.kaiming_uniform_(fb.empty(3, 3), mode="middle")
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        init.kaiming_uniform_(fb.empty(0, 3))


def test_old_names():
    with pytest.warns(FutureWarning, match="nn.init.xavier_normal` is now deprecated"):
        init.xavier_normal(fb.empty(3, 3))
