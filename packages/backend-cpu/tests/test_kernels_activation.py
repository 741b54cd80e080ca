import math

import numpy as np
import pytest

from flambeau_cpu.kernels.activation import gelu, gelu_slope


@pytest.fixture(autouse=True)
def as_on_a_device():
    """The device silences floating-point warnings before it calls a kernel."""
    with np.errstate(all="ignore"):
        yield


POINTS = np.concatenate([np.linspace(-12, 12, 4001), [1e-30, -1e-30, 1e30, -1e30, 0.0]])


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 6e-7), (np.float64, 1e-14)])
def test_gelu_and_its_slope(dtype, atol):
    x = POINTS.astype(dtype)
    value = np.array([float(t) * phi(float(t)) for t in x])
    density = np.exp(-0.5 * np.minimum(np.abs(x), 1e3).astype(np.float64) ** 2) / math.sqrt(
        2 * math.pi
    )
    slope = np.array([phi(float(t)) for t in x]) + x * density
    y, d = gelu_slope(x)
    assert y.dtype == d.dtype == dtype
    np.testing.assert_allclose(y, value, rtol=2e-7, atol=atol)
    np.testing.assert_allclose(d, slope, rtol=2e-7, atol=atol)
    np.testing.assert_array_equal(gelu(x, "none"), y)


def test_gelu_writes_where_it_is_told_to():
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    expected = gelu(x, "none")
    room = np.zeros((7, 2), np.float32)
    assert gelu(x, "none", out=room[:, 0]) is not None
    np.testing.assert_array_equal(room[:, 0], expected)
    assert gelu(x, "none", out=x) is x
    np.testing.assert_array_equal(x, expected)
