"""Error and gamma functions and their relatives: values from the C library and closed forms, special values, errors."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend.protocol import REQUIRED
from flambeau.errors import ArgumentError

NAN, INF = math.nan, math.inf
RNG = np.random.default_rng(0)


@pytest.fixture(params=["kernels", "default bodies"])
def either(request):
    """The cpu as it is, and with the required kernels alone."""
    if request.param == "kernels":
        yield
        return
    table = fb.ones(1)._kind.k
    full = dict(table)
    table.clear()
    table.update({name: full[name] for name in REQUIRED})
    yield
    table.clear()
    table.update(full)


def check(fn, reference, x, atol=0.0):
    expected = np.array([reference(v) for v in x.astype(np.float32).tolist()])
    found = fn(fb.tensor(x.astype(np.float32))).numpy()
    np.testing.assert_allclose(found, expected, rtol=1.5e-6, atol=atol)


@pytest.mark.usefixtures("either")
def test_values():
    check(fb.erfc, math.erfc, np.linspace(-4, 9, 500))
    check(
        fb.lgamma,
        math.lgamma,
        np.concatenate([np.linspace(0.05, 40, 500), np.linspace(-4.9, -0.1, 40)]),
        2e-6,
    )
    check(lambda x: fb.erf(fb.erfinv(x)), lambda v: v, np.linspace(-0.995, 0.995, 401), 1e-7)
    check(
        fb.sinc,
        lambda v: 1.0 if v == 0 else math.sin(math.pi * v) / (math.pi * v),
        np.linspace(-4, 4, 321),
        2e-7,
    )
    check(fb.logit, lambda v: math.log(v / (1 - v)), np.linspace(0.01, 0.99, 99), 2e-7)
    euler = 0.5772156649015329
    points = fb.tensor([1.0, 2.0, 0.5, 10.0])
    harmonic = sum(1 / k for k in range(1, 10))
    np.testing.assert_allclose(
        fb.digamma(points).numpy(),
        [-euler, 1 - euler, -euler - math.log(4), harmonic - euler],
        rtol=2e-6,
    )
    np.testing.assert_allclose(
        fb.polygamma(1, points)[:3].numpy(),
        np.array([1 / 6, 1 / 6 - 1 / math.pi**2, 0.5]) * math.pi**2,
        rtol=2e-6,
    )
    np.testing.assert_allclose(points.polygamma(2)[0].item(), -2 * 1.2020569031595942, rtol=2e-6)


@pytest.mark.usefixtures("either")
def test_special_values():
    x = fb.tensor([0.0, INF, -INF, NAN])
    np.testing.assert_array_equal(fb.erfc(x).numpy(), [1, 0, 2, NAN])
    np.testing.assert_array_equal(
        fb.erfinv(fb.tensor([0.0, 1.0, -1.0, 2.0])).numpy(), [0, INF, -INF, NAN]
    )
    np.testing.assert_array_equal(fb.lgamma(x).numpy(), [INF, INF, INF, NAN])
    np.testing.assert_array_equal(fb.lgamma(fb.tensor([1.0, 2.0, -3.0])).numpy()[2], INF)
    np.testing.assert_array_equal(
        fb.digamma(fb.tensor([0.0, INF, -2.0, NAN])).numpy(), [-INF, INF, NAN, NAN]
    )
    np.testing.assert_array_equal(fb.logit(fb.tensor([0.0, 1.0, 2.0])).numpy(), [-INF, INF, NAN])


@pytest.mark.usefixtures("either")
def test_two_operands():
    a, b = RNG.normal(size=99) * 9, RNG.normal(size=99) * 9
    x, y = fb.tensor(a), fb.tensor(b)
    np.testing.assert_allclose(fb.logaddexp(x, y).numpy(), np.logaddexp(a, b), rtol=1e-12)
    np.testing.assert_allclose(x.logaddexp2(y).numpy(), np.logaddexp2(a, b), rtol=1e-12)
    infinite = fb.tensor([INF, -INF])
    assert fb.logaddexp(infinite, infinite).tolist() == [INF, -INF]
    found = fb.xlogy(fb.tensor([0.0, 0.0, 2.0, 0.0]), fb.tensor([0.0, -1.0, math.e, NAN]))
    np.testing.assert_allclose(found.numpy(), [0, 0, 2, NAN], rtol=1e-6)
    assert fb.xlogy(2, fb.tensor([1.0])).tolist() == [0]
    assert fb.xlogy(fb.tensor([0.0]), 0.0).tolist() == [0]


def slope(fn, value):
    x = fb.tensor([value], dtype=fb.float64, requires_grad=True)
    fn(x).sum().backward()
    return x.grad.item()


def test_slopes_at_special_points():
    assert slope(fb.sinc, 0.0) == 0
    assert slope(lambda x: fb.xlogy(x, 0.0), 0.0) == 0
    assert slope(lambda x: fb.logit(x, 0.25), 0.1) == 0
    assert math.isnan(slope(fb.logit, 1.5))
    assert slope(fb.erfinv, 0.0) == pytest.approx(math.sqrt(math.pi) / 2)


def test_mvlgamma_in_place_and_errors():
    x = fb.tensor([3.0, 4.5])
    expected = [math.log(math.pi) / 2 + math.lgamma(v) + math.lgamma(v - 0.5) for v in (3.0, 4.5)]
    np.testing.assert_allclose(fb.mvlgamma(x, 2).numpy(), expected, rtol=1e-6)
    x.mvlgamma_(1)
    np.testing.assert_allclose(x.numpy(), [math.lgamma(3), math.lgamma(4.5)], rtol=1e-6)
    y = fb.tensor([0.5])
    assert y.erfc_() is y
    np.testing.assert_allclose(y.item(), math.erfc(0.5), rtol=1e-6)
    z = fb.tensor([1.0])
    z.polygamma_(1)
    np.testing.assert_allclose(z.item(), math.pi**2 / 6, rtol=1e-6)
    with pytest.raises(ArgumentError, match="does not support negative n, got -1"):
        fb.polygamma(-1, x)
    with pytest.raises(
        ArgumentError, match="mvlgamma: p has to be greater than or equal to 1, got 0"
    ):
        fb.mvlgamma(x, 0)


def test_integers_become_floats_and_halves_stay():
    assert fb.lgamma(fb.tensor([5])).item() == pytest.approx(math.log(24))
    for fn in (fb.erfc, fb.lgamma, fb.digamma):
        assert fn(fb.tensor([0.7]).half()).dtype is fb.float16
