"""Draws from the geometric, Cauchy and log-normal distributions: their transforms, moments and arguments."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import random as streams
from flambeau.errors import DTypeError, ShapeError

N = 40_000


def uniform(dtype="float32"):
    """The uniform numbers that the next draw takes."""
    return streams.uniform(fb.Generator().manual_seed(5), (N,), dtype, odd=True)


def drawn(name, *args, dtype=fb.float32):
    fb.manual_seed(5)
    return getattr(fb.empty(N, dtype=dtype), name)(*args).numpy()


def test_geometric():
    for dtype, bits in ((fb.float32, "float32"), (fb.float64, "float64"), (fb.int64, "float64")):
        x = drawn("geometric_", 0.3, dtype=dtype)
        expected = np.ceil(np.log(uniform(bits)) / np.log1p(-0.3))
        np.testing.assert_array_equal(x, np.maximum(expected, 1))
        assert x.min() == 1 and abs(x.mean() - 1 / 0.3) < 0.05 and (x == x.round()).all()
        assert abs((x == 2).mean() - 0.3 * 0.7) < 0.01
    assert drawn("geometric_", 0.5, dtype=fb.int8).dtype == np.int8


def test_cauchy():
    x = drawn("cauchy_", 2.0, 3.0, dtype=fb.float64)
    np.testing.assert_allclose(x, 2 + 3 * np.tan(np.pi * (uniform("float64") - 0.5)), rtol=1e-12)
    assert abs(np.median(x) - 2) < 0.1
    # a quarter of the mass lies beyond one sigma on each side
    assert abs((x > 5).mean() - 0.25) < 0.01 and abs((x < -1).mean() - 0.25) < 0.01
    assert np.isfinite(drawn("cauchy_")).all()


def test_log_normal():
    x = drawn("log_normal_", 0.5, 0.25)
    normal = streams.normal(fb.Generator().manual_seed(5), (N,), "float32")
    np.testing.assert_allclose(x, np.exp(normal * 0.25 + 0.5), rtol=1e-6)
    assert abs(np.log(x).mean() - 0.5) < 0.01 and abs(np.log(x).std() - 0.25) < 0.01
    assert abs(np.log(drawn("log_normal_")).mean() - 1) < 0.05


@pytest.mark.parametrize("call", [("geometric_", 0.3), ("cauchy_",), ("log_normal_",)])
def test_where_the_numbers_come_from(call):
    name, *args = call
    fb.manual_seed(1)
    first, second = (getattr(fb.empty(3, 2), name)(*args) for _ in range(2))
    fb.manual_seed(1)
    assert getattr(fb.empty(3, 2), name)(*args).tolist() == first.tolist() != second.tolist()
    g = fb.Generator().manual_seed(1)
    assert getattr(fb.empty(3, 2), name)(*args, generator=g).tolist() == first.tolist()
    x = fb.ones(4)
    assert getattr(x[1:3], name)(*args)._version == 1 and x[0] == x[3] == 1
    y = fb.ones(2, requires_grad=True) * 3
    getattr(y, name)(*args).sum().backward()  # nothing flows through, and nothing fails
    half = getattr(fb.empty(5, dtype=fb.float16), name)(*args)
    assert half.dtype is fb.float16


def test_arguments():
    x = fb.ones(2)
    for p in (0, 1, 1.5, float("nan")):
        with pytest.raises(ShapeError, match=r"geometric_ expects p to be in \(0, 1\), but got p="):
            x.geometric_(p)
    with pytest.raises(ShapeError, match="cauchy_ expects sigma > 0.0, but found sigma=-1"):
        x.cauchy_(0, -1)
    with pytest.raises(ShapeError, match="log_normal_ expects std > 0.0, but found std=0"):
        x.log_normal_(0, 0)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("geometric_", fb.bool), ("geometric_", fb.complex64), ("cauchy_", fb.int64), ("log_normal_", fb.int64),
     ("log_normal_", fb.complex64)],
)  # fmt: skip
def test_dtypes(name, dtype):
    args = (0.5,) if name == "geometric_" else ()
    with pytest.raises(DTypeError, match=rf'{name}: "{name[:-1]}" not implemented for'):
        getattr(fb.ones(2, dtype=dtype), name)(*args)
