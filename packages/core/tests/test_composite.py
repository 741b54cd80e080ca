"""Bounds, blends, tests, logic and number theory: values, gradients at their edges, in place, errors."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend.protocol import REQUIRED
from flambeau.errors import ArgumentError, DTypeError, ShapeError

NAN, INF = math.nan, math.inf


@pytest.fixture
def bare():
    """The cpu with the required kernels alone: everything else runs its default body."""
    table = fb.ones(1)._kind.k
    full = dict(table)
    table.clear()
    table.update({name: full[name] for name in REQUIRED})
    yield
    table.clear()
    table.update(full)


@pytest.fixture(params=["kernels", "default bodies"])
def either(request):
    if request.param != "kernels":
        request.getfixturevalue("bare")


def same(found, expected):
    np.testing.assert_allclose(
        np.asarray(found.tolist(), float), np.asarray(expected, float), rtol=2e-6
    )


def grads(fn, *values):
    xs = [fb.tensor(v, dtype=fb.float64, requires_grad=True) for v in values]
    fn(*xs).sum().backward()
    return [x.grad.tolist() for x in xs]


# ---- bounds
@pytest.mark.usefixtures("either")
def test_clamp():
    x = fb.tensor([-2.0, 0.5, NAN, 7.0])
    same(x.clamp(0, 1), [0, 0.5, NAN, 1])
    same(fb.clip(x, min=0), [0, 0.5, NAN, 7])
    same(fb.clamp(x, max=fb.tensor(1.0)), [-2, 0.5, NAN, 1])
    same(x.clamp(fb.tensor([0.0, 1.0, 0.0, 8.0]), 5), [0, 1, NAN, 5])  # max where min > max
    same(fb.clamp_min(x, 1), [1, 1, NAN, 7])
    same(fb.clamp_max(x, 1), [-2, 0.5, NAN, 1])
    assert fb.clamp(fb.tensor([1, 2, 5]), 0.5, 2.5).tolist() == [1, 2, 2.5]
    assert fb.clamp(fb.tensor([1, 2, 5]), 2, 3).dtype is fb.int64
    assert fb.clamp(fb.ones(2, 1), fb.zeros(3)).shape == (2, 3)


def test_clamp_passes_the_gradient_within_and_at_the_bounds():
    assert grads(lambda x: x.clamp(0, 1), [-1.0, 0.0, 0.5, 1.0, 2.0, NAN]) == [[0, 1, 1, 1, 0, 0]]
    assert grads(lambda x: x.clamp(min=0), [-1.0, 0.0, 2.0]) == [[0, 1, 1]]
    assert grads(lambda x: x.clamp(max=0), [-1.0, 0.0, 2.0]) == [[1, 1, 0]]
    x, low, high = grads(
        fb.clamp, [-1.0, 0.5, 2.0, 0.5], [0.0, 0.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]
    )
    assert x == [0, 1, 0, 0]
    assert low == [1, 0, 0, 0]
    assert high == [0, 0, 1, 1]


def test_clamp_in_place_and_its_errors():
    x = fb.tensor([-2.0, 0.5, 7.0])
    assert x.clamp_(0, 1) is x
    assert x.clip_(min=0.75).tolist() == [0.75, 0.75, 1]
    assert x.clamp_(max=0.8).tolist() == pytest.approx([0.75, 0.75, 0.8])
    assert x.clamp_min_(0.9).clamp_max_(0.95).tolist() == pytest.approx([0.9] * 3)
    for call in (x.clamp, x.clamp_):
        with pytest.raises(
            ArgumentError, match="At least one of 'min' or 'max' must not be None. Hint"
        ):
            call()
    with pytest.raises(DTypeError, match="clamp.*not implemented for complex64"):
        fb.tensor([1j]).clamp(0, 1)


@pytest.mark.usefixtures("either")
def test_nan_to_num():
    x = fb.tensor([NAN, INF, -INF, 1.5])
    biggest = float(np.finfo(np.float32).max)
    assert x.nan_to_num().tolist() == [0, biggest, -biggest, 1.5]
    assert fb.nan_to_num(x, nan=1, posinf=2, neginf=-3).tolist() == [1, 2, -3, 1.5]
    assert fb.nan_to_num(fb.tensor([3])).tolist() == [3]
    assert grads(fb.nan_to_num, [NAN, INF, 2.0]) == [[0, 0, 1]]
    x.nan_to_num_(nan=5.0, posinf=1.0, neginf=0.0)
    assert x.tolist() == [5, 1, 0, 1.5]


def test_nan_to_num_of_complex_numbers():
    z = fb.tensor([complex(NAN, 1), complex(2, INF)])
    assert z.nan_to_num(posinf=7).tolist() == [1j, 2 + 7j]
    assert z[0].isnan()


# ---- blends
@pytest.mark.usefixtures("either")
def test_lerp():
    a, b = fb.tensor([0.0, 10.0]), fb.tensor([4.0, 20.0])
    same(fb.lerp(a, b, 0.25), [1, 12.5])
    same(a.lerp(b, 0.75), [3, 17.5])
    same(fb.lerp(a, b, fb.tensor([0.25, 0.75])), [1, 17.5])
    same(a.lerp(b, fb.tensor(0.5)), [2, 15])
    assert fb.lerp(fb.tensor([1e8]), fb.tensor([3.0]), 1.0).tolist() == [3]  # exact at both ends
    with pytest.raises(DTypeError, match="lerp: not implemented for int64"):
        fb.lerp(fb.tensor([1]), fb.tensor([2]), 1)


def test_lerp_in_place_is_what_an_exponential_average_needs():
    average, x = fb.zeros(3), fb.ones(3)
    for _ in range(3):
        average.lerp_(x, 0.1)
    np.testing.assert_allclose(average.numpy(), 1 - 0.9**3, rtol=1e-6)


@pytest.mark.usefixtures("either")
def test_addcmul_and_addcdiv():
    x, a, b = fb.tensor([1.0, 2.0]), fb.tensor([3.0, 4.0]), fb.tensor([[2.0], [8.0]])
    same(fb.addcmul(x, a, b), [[7, 10], [25, 34]])
    same(fb.addcmul(x, a, b, value=0.5), [[4, 6], [13, 18]])
    same(fb.addcdiv(x, a, b, value=2), [[4, 6], [1.75, 3]])
    y = fb.ones(2, 2)
    assert y.addcmul_(a, b, value=-1) is y
    same(y, [[-5, -7], [-23, -31]])
    same(fb.ones(2).addcdiv_(a, a, value=0.5), [1.5, 1.5])
    assert fb.addcmul(fb.tensor([1]), fb.tensor([2]), fb.tensor([3])).tolist() == [7]
    with pytest.raises(DTypeError, match="addcdiv: not implemented for int64"):
        fb.addcdiv(fb.tensor([1]), fb.tensor([2]), fb.tensor([3]))


# ---- tests
def test_infinities_and_real_numbers():
    x = fb.tensor([INF, -INF, NAN, 1.0])
    assert x.isposinf().tolist() == [True, False, False, False]
    assert fb.isneginf(x).tolist() == [False, True, False, False]
    assert fb.isposinf(fb.tensor([1])).tolist() == [False]
    assert fb.isreal(x).all()
    assert fb.isreal(fb.tensor([1 + 0j, 1j])).tolist() == [True, False]
    with pytest.raises(
        DTypeError, match="isposinf does not support complex inputs, got .* Hint: x.abs"
    ):
        fb.isposinf(fb.tensor([1j]))


def test_isclose_and_allclose():
    a = fb.tensor([1.0, 1.0, NAN, INF, INF])
    b = fb.tensor([1.000001, 1.1, NAN, INF, -INF])
    assert fb.isclose(a, b).tolist() == [True, False, False, True, False]
    assert a.isclose(b, equal_nan=True).tolist() == [True, False, True, True, False]
    assert fb.isclose(a, b, rtol=0.2).tolist() == [True, True, False, True, False]
    assert fb.isclose(a, b, rtol=0, atol=0).tolist() == [False, False, False, True, False]
    assert fb.isclose(fb.tensor([100]), fb.tensor([101]), rtol=0.1).tolist() == [True]
    assert fb.allclose(a[:1], b[:1]) is True
    assert a.allclose(b) is False
    with pytest.raises(DTypeError, match="isclose: float32 did not match int64"):
        fb.isclose(fb.tensor([1]), fb.tensor([1.0]))
    with pytest.raises(
        ArgumentError, match="rtol must be greater than or equal to zero, but got -1"
    ):
        fb.isclose(a, b, rtol=-1)


def test_equal():
    x = fb.tensor([1.0, 2.0])
    assert fb.equal(x, x.clone()) is True
    assert x.equal(fb.tensor([1.0, 3.0])) is False
    assert x.equal(fb.tensor([1.0])) is False
    assert fb.equal(fb.tensor([NAN]), fb.tensor([NAN])) is False
    with pytest.raises(ArgumentError, match=r"equal\(\): argument 'other' must be Tensor, not int"):
        x.equal(1)


# ---- logic
@pytest.mark.usefixtures("either")
def test_logic_takes_any_dtype_and_gives_bool():
    a, b = fb.tensor([0.0, 2.0, NAN]), fb.tensor([1, 0, 3])
    assert fb.logical_and(a, b).tolist() == [False, False, True]
    assert a.logical_or(b).tolist() == [True, True, True]
    assert fb.logical_xor(a, b).tolist() == [True, True, False]
    assert b.logical_not().tolist() == [False, True, False]
    assert fb.logical_and(a, b).dtype is fb.bool
    x = fb.tensor([2.0, 0.0])
    assert x.logical_not_().tolist() == [0, 1]
    assert x.dtype is fb.float32


# ---- powers and steps
def test_float_power():
    found = fb.float_power(fb.tensor([2, 4]), -1)
    assert found.dtype is fb.float64
    assert found.tolist() == [0.5, 0.25]
    assert fb.float_power(2, fb.tensor([3])).tolist() == [8]
    assert fb.tensor([4.0]).float_power(fb.tensor([0.5])).tolist() == [2]
    assert fb.float_power(fb.tensor([2.0]), 1j).dtype is fb.complex128
    x = fb.tensor([3.0], dtype=fb.float64)
    assert x.float_power_(2).tolist() == [9]
    with pytest.raises(
        DTypeError,
        match="float_power_: the base has dtype float32 but the operation's result requires",
    ):
        fb.ones(1).float_power_(2)


def test_ldexp_and_frexp():
    x = fb.tensor([1.5, -3.0])
    assert fb.ldexp(x, fb.tensor([2, -1])).tolist() == [6, -1.5]
    assert x.ldexp_(fb.tensor([1, 1])).tolist() == [3, -6]
    values = np.array(
        [3.0, -0.7, 0.0, INF, NAN, 1e-45, 1e-39, 3.4e38, 1.0, 0.5, 2.0**-126], np.float32
    )
    mantissa, exponent = fb.frexp(fb.tensor(values))
    m, e = np.frexp(values)
    np.testing.assert_array_equal(mantissa.numpy(), m)
    np.testing.assert_array_equal(exponent.numpy()[np.isfinite(values)], e[np.isfinite(values)])
    assert exponent.dtype is fb.int32
    assert repr(fb.frexp(fb.tensor([1.0]))).startswith("flambeau.return_types.frexp(")
    y = fb.tensor([6.0], requires_grad=True)
    y.frexp()[0].backward(fb.ones(1))
    assert y.grad.tolist() == [0.125]
    with pytest.raises(DTypeError, match="frexp: only supports floating-point dtypes, got .*int64"):
        fb.frexp(fb.tensor([1]))


def test_heaviside_and_nextafter():
    x = fb.tensor([-2.0, 0.0, 3.0, NAN])
    assert fb.heaviside(x, fb.tensor(0.5)).tolist() == [0, 0.5, 1, 0]
    up = fb.nextafter(fb.tensor([1.0]), fb.tensor([2.0]))
    assert up.item() == np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(DTypeError, match="nextafter: not implemented for int64"):
        fb.nextafter(fb.tensor([1]), fb.tensor([2]))


def test_angles_and_signs():
    same(fb.deg2rad(fb.tensor([180.0, 90.0])), [math.pi, math.pi / 2])
    same(fb.rad2deg(fb.tensor([math.pi])), [180])
    assert fb.deg2rad(fb.tensor([180])).dtype is fb.float32
    x = fb.tensor([90.0])
    x.deg2rad_()
    same(x, [math.pi / 2])
    assert fb.positive(x) is x
    with pytest.raises(DTypeError, match=r"The `\+` operator, on a bool tensor is not supported"):
        fb.positive(fb.tensor([True]))


# ---- integers
@pytest.mark.usefixtures("either")
def test_gcd_and_lcm():
    a, b = fb.tensor([12, -18, 0, 7, 0]), fb.tensor([18, 12, 5, 7, 0])
    assert fb.gcd(a, b).tolist() == [6, 6, 5, 7, 0]
    assert fb.lcm(a, b).tolist() == [36, 36, 0, 7, 0]
    assert fb.gcd(a, 4).tolist() == [4, 2, 4, 1, 4]


@pytest.mark.usefixtures("bare")
def test_gcd_of_floats_is_an_error():
    with pytest.raises(
        DTypeError, match=r"gcd: not implemented for float32, got \(1,\) float32 cpu. Hint: x.long"
    ):
        fb.gcd(fb.ones(1), fb.ones(1))


def test_shifts_of_numbers_by_tensors():
    assert (3 << fb.tensor([1, 2])).tolist() == [6, 12]
    assert (12 >> fb.tensor([1, 2])).tolist() == [6, 3]


# ---- questions
def test_questions():
    x = fb.tensor([[1.0, 2.0]])
    assert fb.is_tensor(x) is True
    assert fb.is_tensor([1]) is False
    assert fb.is_floating_point(x) is True
    assert fb.is_complex(x) is False
    assert fb.is_signed(x.byte()) is False
    assert fb.numel(x) == 2
    assert fb.is_nonzero(x[0, 0]) is True
    assert fb.tensor([0]).is_nonzero() is False
    with pytest.raises(
        ShapeError, match="Boolean value of Tensor with more than one value is ambiguous"
    ):
        fb.is_nonzero(x)
