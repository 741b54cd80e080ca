"""Elementwise ops: values against NumPy and the C library, defaults, promotion, in place, out=, gradients, errors."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend.protocol import REQUIRED
from flambeau.errors import (
    ArgumentError,
    DivisionByZeroError,
    DTypeError,
    GradError,
    ShapeError,
)
from flambeau.ops import elementwise as ew

NAN, INF = math.nan, math.inf
RNG = np.random.default_rng(0)


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


def numpy_of(t):
    return t.detach().numpy()


def scalar(fn):
    """A function of Python floats over an array."""
    return np.vectorize(fn, otypes=[np.float64])


SPECIAL = [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 0.5, -2.5, 1.5]

# name: (the same in float64, lowest, highest)
UNARY = {
    "neg": (np.negative, -9, 9),
    "abs": (np.abs, -9, 9),
    "floor": (np.floor, -9, 9),
    "ceil": (np.ceil, -9, 9),
    "trunc": (np.trunc, -9, 9),
    "round": (np.rint, -9, 9),
    "frac": (lambda x: x - np.trunc(x), -9, 9),
    "sqrt": (np.sqrt, 0, 9),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0.01, 9),
    "reciprocal": (lambda x: 1 / x, -9, 9),
    "square": (np.square, -9, 9),
    "exp": (np.exp, -20, 20),
    "exp2": (np.exp2, -20, 20),
    "expm1": (np.expm1, -20, 20),
    "log": (np.log, 0.01, 99),
    "log2": (np.log2, 0.01, 99),
    "log10": (np.log10, 0.01, 99),
    "log1p": (np.log1p, -0.99, 99),
    "sin": (np.sin, -9, 9),
    "cos": (np.cos, -9, 9),
    "tan": (np.tan, -1.5, 1.5),
    "asin": (np.arcsin, -1, 1),
    "acos": (np.arccos, -0.9, 0.9),
    "atan": (np.arctan, -99, 99),
    "sinh": (np.sinh, -9, 9),
    "cosh": (np.cosh, -9, 9),
    "tanh": (np.tanh, -9, 9),
    "asinh": (np.arcsinh, -99, 99),
    "acosh": (np.arccosh, 1.1, 99),
    "atanh": (np.arctanh, -0.95, 0.95),
    "erf": (scalar(math.erf), -5, 5),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -30, 30),
    "relu": (lambda x: np.where(x > 0, x, 0), -9, 9),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_values(name, dtype):
    check_unary(name, dtype)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", UNARY)
def test_default_bodies(name):
    check_unary(name, np.float32)


def check_unary(name, dtype):
    reference, low, high = UNARY[name]
    x = RNG.uniform(low, high, 400).astype(dtype)
    expected = reference(x.astype(np.float64))
    tolerance = (
        {"rtol": 1.2e-6, "atol": 1e-7} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-14}
    )
    fn = getattr(fb, name)
    found = numpy_of(fn(fb.tensor(x)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, **tolerance)
    matrix = fb.tensor(x.reshape(20, 20))
    np.testing.assert_allclose(numpy_of(fn(matrix.T)), expected.reshape(20, 20).T, **tolerance)
    np.testing.assert_allclose(
        numpy_of(fn(matrix[::3, ::2])), expected.reshape(20, 20)[::3, ::2], **tolerance
    )
    point = fn(fb.tensor(x[0]))
    assert isinstance(point._a, np.ndarray)
    assert point.shape == ()
    np.testing.assert_allclose(point.item(), expected[0], **tolerance)
    assert fn(fb.tensor(x[:0].reshape(0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("neg", [-0.0, 0.0, -INF, INF, NAN, -1, 1, -0.5, 2.5, -1.5]),
        ("abs", [0, 0, INF, INF, NAN, 1, 1, 0.5, 2.5, 1.5]),
        ("sign", [0, 0, 1, -1, 0, 1, -1, 1, -1, 1]),
        ("floor", [0, -0.0, INF, -INF, NAN, 1, -1, 0, -3, 1]),
        ("ceil", [0, -0.0, INF, -INF, NAN, 1, -1, 1, -2, 2]),
        ("trunc", [0, -0.0, INF, -INF, NAN, 1, -1, 0, -2, 1]),
        ("round", [0, -0.0, INF, -INF, NAN, 1, -1, 0, -2, 2]),
        ("sqrt", [0, -0.0, INF, NAN, NAN, 1, NAN, math.sqrt(0.5), NAN, math.sqrt(1.5)]),
        ("reciprocal", [INF, -INF, 0, -0.0, NAN, 1, -1, 2, -0.4, 1 / 1.5]),
        (
            "exp",
            [1, 1, INF, 0, NAN, math.e, 1 / math.e, math.exp(0.5), math.exp(-2.5), math.exp(1.5)],
        ),
        ("log", [-INF, -INF, INF, NAN, NAN, 0, NAN, math.log(0.5), NAN, math.log(1.5)]),
        ("tanh", [0, -0.0, 1, -1, NAN, *map(math.tanh, [1, -1, 0.5, -2.5, 1.5])]),
        (
            "sigmoid",
            [0.5, 0.5, 1, 0, NAN, *(1 / (1 + math.exp(-v)) for v in [1, -1, 0.5, -2.5, 1.5])],
        ),
        ("erf", [0, -0.0, 1, -1, NAN, *map(math.erf, [1, -1, 0.5, -2.5, 1.5])]),
        ("relu", [0, 0, INF, 0, NAN, 1, 0, 0.5, 0, 1.5]),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "default bodies"])
def test_special_values(name, expected, device, request):
    if device != "cpu":
        request.getfixturevalue("bare")
    found = numpy_of(getattr(fb, name)(fb.tensor(SPECIAL)))
    np.testing.assert_allclose(found, np.array(expected, np.float32), rtol=1e-6)


@pytest.mark.parametrize("size", [3, 100, 5000])
def test_sign_is_0_for_nan_at_every_size(size):
    x = fb.tensor([1.0, NAN, -2.0]).repeat(size)
    assert numpy_of(x.sign())[:3].tolist() == [1, 0, -1]
    assert numpy_of(x.sgn()).sum() == 0


def test_tests_on_special_values():
    x = fb.tensor([0.0, -0.0, INF, -INF, NAN])
    assert x.isnan().tolist() == [False, False, False, False, True]
    assert x.isinf().tolist() == [False, False, True, True, False]
    assert x.isfinite().tolist() == [True, True, False, False, False]
    assert x.signbit().tolist()[:4] == [False, True, False, True]
    i = fb.tensor([0, -3])
    assert i.isnan().tolist() == [False, False]
    assert i.isfinite().tolist() == [True, True]
    assert i.signbit().tolist() == [False, True]


BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "rsub": lambda a, b: b - a,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "atan2": np.arctan2,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "hypot": np.hypot,
    "copysign": np.copysign,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def check_binary(name):
    a = RNG.uniform(-9, 9, (30, 20)).astype(np.float32)
    b = RNG.uniform(-9, 9, (30, 20)).astype(np.float32)
    a[:3], b[:2] = np.rint(a[:3]), np.rint(b[:2])
    b[0] = a[0]
    b[b == 0] = 1
    fn, reference = getattr(fb, name), BINARY[name]
    for x, y in ((a, b), (a, b[0]), (a[:, :1], b[0]), (a[0, 0], b), (a.T, b[0, 0])):
        found = numpy_of(fn(fb.tensor(x), fb.tensor(y)))
        np.testing.assert_allclose(found, reference(x, y), rtol=1.2e-6, atol=2e-6)
    for number in (2, 2.5, -1):
        np.testing.assert_allclose(
            numpy_of(fn(fb.tensor(a), number)),
            reference(a, np.float32(number)),
            rtol=1.2e-6,
            atol=2e-6,
        )


@pytest.mark.parametrize("name", BINARY)
def test_binary_values(name):
    check_binary(name)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", BINARY)
def test_binary_default_bodies(name):
    check_binary(name)


@pytest.mark.parametrize(
    "name", ["floor_divide", "remainder", "fmod", "maximum", "minimum", "le", "ge", "ne", "gt"]
)
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8])
def test_integer_values(name, dtype):
    low = 0 if dtype is np.uint8 else -90
    a, b = RNG.integers(low, 90, 200).astype(dtype), RNG.integers(low, 90, 200).astype(dtype)
    b[b == 0] = 7
    found = numpy_of(getattr(fb, name)(fb.tensor(a), fb.tensor(b)))
    expected = BINARY[name](a, b)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_divisions_of_integers_and_floats():
    a, b = fb.tensor([7, -7, 7, -7]), fb.tensor([2, 2, -2, -2])
    assert (a / b).tolist() == [3.5, -3.5, -3.5, 3.5]
    assert (a // b).tolist() == [3, -4, -4, 3]
    assert fb.div(a, b, rounding_mode="trunc").tolist() == [3, -3, -3, 3]
    assert (a % b).tolist() == [1, 1, -1, -1]
    assert fb.fmod(a, b).tolist() == [1, -1, 1, -1]
    assert fb.div(fb.tensor([7.5, -7.5]), 2, rounding_mode="floor").tolist() == [3, -4]
    assert fb.div(fb.tensor([7.5, -7.5]), 2, rounding_mode="trunc").tolist() == [3, -3]
    x = fb.tensor([1.0, -1.0, 0.0])
    assert (x / 0).tolist()[:2] == [INF, -INF]
    assert (x // 0).tolist()[:2] == [INF, -INF]
    assert (x % 0).isnan().all()
    assert (5 // fb.tensor([2, -2])).tolist() == [2, -3]
    assert (5 % fb.tensor([3, -3])).tolist() == [2, -1]
    assert (1 // fb.tensor([-INF])).tolist() == [-1]


def test_a_zero_divisor_of_integers_is_an_error():
    x = fb.tensor([1, 2])
    for call in (
        lambda: x // 0,
        lambda: x % fb.tensor([1, 0]),
        lambda: fb.fmod(x, 0),
        lambda: fb.div(x, 0, rounding_mode="trunc"),
        lambda: x.remainder_(0),
    ):
        with pytest.raises(
            DivisionByZeroError, match="ZeroDivisionError: integers divided by zero. Hint: x.float"
        ):
            call()
    assert issubclass(DivisionByZeroError, (RuntimeError, ZeroDivisionError))
    assert x.tolist() == [1, 2]


def test_powers():
    x = RNG.uniform(0.1, 3, 50).astype(np.float32)
    for e in (0, 1, 2, 3, 4, 5, -1, -2, 0.5, -0.5, 1.7):
        np.testing.assert_allclose(
            numpy_of(fb.tensor(x) ** e), x.astype(np.float64) ** e, rtol=1e-6
        )
    np.testing.assert_allclose(numpy_of(2 ** fb.tensor(x)), 2.0**x, rtol=1e-6)
    assert (fb.tensor([2, -3, 5]) ** 3).tolist() == [8, -27, 125]
    assert (fb.tensor([2, 3]) ** 4).tolist() == [16, 81]
    assert (fb.tensor([2, 3]) ** 0.5).dtype is fb.float32
    assert (fb.tensor([True, False]) ** 2).tolist() == [1, 0]
    powers = fb.pow(fb.tensor([1, -1, -1, 2, -2]), fb.tensor([-3, -3, -4, -1, 3]))
    assert powers.tolist() == [1, -1, 1, 0, -8]
    with pytest.raises(
        DTypeError, match=r"Integers to negative integer powers are not allowed. Hint: x.float\(\)"
    ):
        fb.tensor([2]) ** -1
    with pytest.raises(DTypeError, match="pow: not implemented for bool"):
        fb.tensor([True]) ** fb.tensor([True])


def test_shifts():
    x = fb.tensor([1, -8, 5])
    assert (x << 2).tolist() == [4, -32, 20]
    assert (x >> 1).tolist() == [0, -4, 2]
    assert (1 << fb.tensor([0, 3])).tolist() == [1, 8]
    assert (-16 >> fb.tensor([1, 2])).tolist() == [-8, -4]
    byte = fb.tensor([1, -1], dtype=fb.int8)
    assert (byte << 8).tolist() == [0, 0]  # what is shifted out is gone
    assert (byte >> 9).tolist() == [0, -1]
    assert fb.bitwise_left_shift(byte, fb.tensor([-1, 1], dtype=fb.int8)).tolist() == [0, -2]
    assert (fb.tensor([255], dtype=fb.uint8) >> 8).tolist() == [0]


def test_bits_and_logic_of_bool():
    a, b = fb.tensor([True, True, False]), fb.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (a ^ b).tolist() == [False, True, False]
    assert (~a).tolist() == [False, False, True]
    assert (a + b).tolist() == [True, True, False]
    assert (a * b).tolist() == [True, False, False]
    i = fb.tensor([12, 10])
    assert (i & 6).tolist() == [4, 2]
    assert (i | 3).tolist() == [15, 11]
    assert (i ^ 1).tolist() == [13, 11]
    assert (~i).tolist() == [-13, -11]


# ---- promotion
@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda i, f, b: i + 1, fb.int64),
        (lambda i, f, b: i + 1.0, fb.float32),
        (lambda i, f, b: i + f, fb.float32),
        (lambda i, f, b: b + 1, fb.int64),
        (lambda i, f, b: b + b, fb.bool),
        (lambda i, f, b: f + 1.0, fb.float32),
        (lambda i, f, b: f.half() + 1e10, fb.float16),
        (lambda i, f, b: f.half() + f.double()[0], fb.float16),
        (lambda i, f, b: f.half() + f.double(), fb.float64),
        (lambda i, f, b: i.byte() + i.char(), fb.int16),
        (lambda i, f, b: i / i, fb.float32),
        (lambda i, f, b: i // i, fb.int64),
        (lambda i, f, b: i.sqrt(), fb.float32),
        (lambda i, f, b: b.exp(), fb.float32),
        (lambda i, f, b: i.floor(), fb.int64),
        (lambda i, f, b: i.round(), fb.int64),
        (lambda i, f, b: i.sign(), fb.int64),
        (lambda i, f, b: b.sign(), fb.bool),
        (lambda i, f, b: fb.copysign(i, -1), fb.float32),
        (lambda i, f, b: f + 1j, fb.complex64),
        (lambda i, f, b: (f + 1j).abs(), fb.float32),
        (lambda i, f, b: f > i, fb.bool),
        (lambda i, f, b: fb.where(b, i, f), fb.float32),
        (lambda i, f, b: fb.where(b, i, 1.5), fb.float32),
        (lambda i, f, b: fb.where(b, 1, 2), fb.int64),
    ],
)
def test_promotion(call, dtype):
    found = call(fb.tensor([1, 2]), fb.tensor([1.5, 2.5]), fb.tensor([True, False]))
    assert found.dtype is dtype
    assert str(found._a.dtype) == dtype.name


def test_numbers_wrap_around_in_small_integer_types():
    x = fb.tensor([250], dtype=fb.uint8)
    assert (x + 10).tolist() == [4]
    assert (x + 256).tolist() == [250]
    assert (fb.tensor([100], dtype=fb.int8) + 100).tolist() == [-56]


# ---- in place and out=
@pytest.mark.parametrize(
    "name", [*UNARY, "add", "sub", "mul", "div", "pow", "remainder", "fmod", "atan2", "copysign"]
)
def test_in_place_equals_out_of_place(name):
    x = fb.tensor([0.3, 0.7, 0.9]) + (1 if name == "acosh" else 0)
    others = () if name in UNARY else (fb.tensor([2.0, 3.0, 0.5]),)
    expected = getattr(fb, name)(x, *others)
    before, version = x._a, x._version
    found = getattr(x, name + "_")(*others)
    assert found is x
    assert x._a is before
    assert x._version == version + 1
    assert x.tolist() == expected.tolist()


def test_in_place_with_history_differentiates_like_out_of_place():
    for change in (
        lambda t: t.mul_(2.0),
        lambda t: t.exp_(),
        lambda t: t.sigmoid_(),
        lambda t: t.relu_(),
        lambda t: t.pow_(3),
    ):
        x = fb.tensor([0.5, -0.4], dtype=fb.float64, requires_grad=True)
        change(x * 1.5).sum().backward()
        step = 1e-6
        with fb.no_grad():
            up, down = ((change((x + d) * 1.5)).clone() for d in (step, -step))
        np.testing.assert_allclose(numpy_of(x.grad), numpy_of(up - down) / (2 * step), rtol=1e-5)


def test_in_place_keeps_the_category():
    with pytest.raises(
        DTypeError, match="result type float32 can't be cast to the desired output type int64"
    ):
        fb.tensor([1, 2]).div_(2)
    with pytest.raises(DTypeError, match="can't be cast to the desired output type int64"):
        fb.tensor([1, 2]).add_(0.5)
    assert (
        fb.tensor([1.0, 2.0]).half().add_(fb.tensor([1.0, 1.0], dtype=fb.float64)).dtype
        is fb.float16
    )
    with pytest.raises(
        ShapeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[3, 2\]"
    ):
        fb.ones(2).add_(fb.ones(3, 2))
    with pytest.raises(
        GradError, match="leaf Variable that requires grad is being used in an in-place operation"
    ):
        fb.ones(2, requires_grad=True).exp_()


@pytest.mark.parametrize("name", ["exp", "neg", "sigmoid", "relu", "erf", "abs", "sign"])
def test_out(name):
    x = fb.tensor([[0.1, -0.2], [0.3, 0.4]])
    expected = getattr(fb, name)(x).tolist()
    out = fb.empty(2, 2)
    assert getattr(fb, name)(x, out=out) is out
    assert out.tolist() == expected
    double = fb.empty(2, 2, dtype=fb.float64)
    getattr(fb, name)(x, out=double)
    assert double.tolist() == expected
    empty = fb.empty(0)
    getattr(fb, name)(x, out=empty)
    assert empty.tolist() == expected
    getattr(fb, name)(x, out=x)
    assert x.tolist() == expected


def test_out_of_two_operands_may_be_one_of_them():
    a, b = fb.tensor([1.0, 2.0]), fb.tensor([3.0, 5.0])
    fb.sub(a, b, out=b)
    assert b.tolist() == [-2, -3]
    fb.add(a, b, alpha=2, out=a)
    assert a.tolist() == [-3, -4]
    with pytest.raises(GradError, match="don't support automatic differentiation"):
        fb.exp(fb.ones(2, requires_grad=True), out=fb.empty(2))
    with pytest.raises(DTypeError, match="can't be cast"):
        fb.exp(fb.ones(2), out=fb.empty(2, dtype=fb.int64))


def test_alpha():
    a, b = fb.tensor([1.0, 2.0]), fb.tensor([10.0, 20.0])
    assert fb.add(a, b, alpha=0.5).tolist() == [6, 12]
    assert fb.sub(a, b, alpha=2).tolist() == [-19, -38]
    assert fb.rsub(a, b, alpha=2).tolist() == [8, 16]
    assert a.clone().add_(b, alpha=0.5).tolist() == [6, 12]
    assert a.clone().sub_(b, alpha=0.5).tolist() == [-4, -8]


# ---- gradients where the slope is special
def grad_of(fn, *values):
    xs = [fb.tensor(v, dtype=fb.float64, requires_grad=True) for v in values]
    fn(*xs).sum().backward()
    return [x.grad.tolist() for x in xs]


def test_ties_share_the_gradient():
    assert grad_of(fb.maximum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert grad_of(fb.minimum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 1, 0], [0.5, 0, 1]]


def test_slopes_at_special_points():
    assert grad_of(fb.abs, [-2.0, 0.0, 3.0]) == [[-1, 0, 1]]
    assert grad_of(fb.relu, [-2.0, 0.0, 3.0]) == [[0, 0, 1]]
    assert grad_of(fb.relu, [NAN, INF, -INF]) == [[1, 1, 0]]
    assert grad_of(fb.sign, [-2.0, 0.0]) == [[0, 0]]
    assert grad_of(fb.floor, [1.5]) == [[0]]
    assert grad_of(lambda x: x**2, [0.0, 3.0]) == [[0, 6]]
    assert grad_of(lambda x: x**0, [0.0, 3.0]) == [[0, 0]]
    assert grad_of(lambda x, e: x**e, [0.0, 0.0], [2.0, 0.0])[1] == [0, 0]
    assert grad_of(lambda x, e: x**e, [2.0], [3.0]) == [[12], [8 * math.log(2)]]
    assert grad_of(lambda x: fb.div(x, 2, rounding_mode="floor"), [1.5]) == [[0]]
    assert grad_of(fb.sigmoid, [800.0, -800.0]) == [[0, 0]]
    assert grad_of(lambda x: fb.where(x > 0, x * 2, 0.0), [1.0, -1.0]) == [[2, 0]]
    assert grad_of(lambda x: fb.where(x > 0, 0.0, x * 2), [1.0, -1.0]) == [[0, 2]]


def test_a_masked_gradient_is_0_where_the_incoming_one_is_not_finite():
    for size in (3, 2000, 70000):
        g = fb.tensor([INF, NAN, 2.0]).repeat(size)
        y = fb.tensor([0.0, 0.0, 5.0]).repeat(size)
        assert ew.threshold_backward(g, y)[:6].tolist() == [0, 0, 2, 0, 0, 2]
        assert fb.where(y > 0, g, 0)[-3:].tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    "dtype", [fb.float32, fb.float64, fb.int16, fb.uint8, fb.bool, fb.complex64, fb.complex128]
)
def test_where_selects_the_same_by_bits_and_by_branches(dtype):
    a, b = (fb.tensor(RNG.integers(0, 9, 6000)).to(dtype) for _ in range(2))
    mask = fb.tensor(RNG.random(6000) > 0.5)
    big = fb.where(mask, a, b)
    small = fb.cat(
        [
            fb.where(m, x, y)
            for m, x, y in zip(mask.split(50), a.split(50), b.split(50), strict=True)
        ]
    )
    assert big.tolist() == small.tolist()
    row, column = fb.where(mask[:100], a.view(60, 100), b[:60, None]), mask[:100].numpy()
    np.testing.assert_array_equal(
        numpy_of(row), np.where(column, numpy_of(a).reshape(60, 100), numpy_of(b)[:60, None])
    )
    wide = fb.where(mask.view(60, 100), a[:100], b[:100])
    np.testing.assert_array_equal(
        numpy_of(wide),
        np.where(numpy_of(mask).reshape(60, 100), numpy_of(a)[:100], numpy_of(b)[:100]),
    )


# ---- errors
def test_shapes_that_do_not_broadcast():
    with pytest.raises(
        ShapeError,
        match=r"add: the size of tensor a \(2\) must match the size of tensor b \(3\) at non-singleton dimension 1",
    ):
        fb.ones(2, 2) + fb.ones(2, 3)


@pytest.mark.parametrize("name", ["neg", "abs", "floor", "ceil", "trunc", "round", "relu"])
def test_not_for_bool(name):
    with pytest.raises(DTypeError, match="not implemented for bool"):
        getattr(fb, name)(fb.tensor([True]))


def test_no_difference_of_bools():
    with pytest.raises(DTypeError, match="sub: not implemented for bool"):
        fb.tensor([True]) - fb.tensor([False])


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "maximum", "minimum", "fmax", "fmin"])
def test_complex_numbers_have_no_order(name):
    z = fb.tensor([1 + 2j])
    with pytest.raises(
        DTypeError, match=f"{name}: not implemented for complex64.*complex numbers have no order"
    ):
        getattr(fb, name)(z, z)
    for other in ("sign", "floor", "relu", "erf"):
        with pytest.raises(DTypeError, match="not implemented for complex64"):
            getattr(fb, other)(z)
    assert (z == z).tolist() == [True]
    np.testing.assert_allclose(numpy_of(z.exp()), np.exp([1 + 2j]), rtol=1e-6)
    np.testing.assert_allclose(numpy_of(z.sgn()), np.array([1 + 2j]) / np.sqrt(5), rtol=1e-6)


def test_frac_is_for_floats():
    with pytest.raises(
        DTypeError,
        match=r"frac: not implemented for int64, got \(1,\) int64 cpu. Hint: x.float\(\)",
    ):
        fb.frac(fb.tensor([1]))


def test_bits_are_for_integers():
    with pytest.raises(DTypeError, match="bitwise_and: not implemented for float32"):
        fb.ones(1) & fb.ones(1)
    with pytest.raises(DTypeError, match="bitwise_left_shift: not implemented for bool"):
        fb.tensor([True]) << fb.tensor([True])


def test_operands_that_are_no_tensors():
    with pytest.raises(ArgumentError, match=r"exp\(\): argument 'input' must be Tensor, not float"):
        fb.exp(1.0)
    with pytest.raises(
        ArgumentError, match=r"add\(\): argument 'other' must be Tensor or a number, not str"
    ):
        fb.add(fb.ones(1), "1")
    with pytest.raises(
        ArgumentError, match="div expected rounding_mode to be one of None, 'trunc', or 'floor'"
    ):
        fb.div(fb.ones(1), 2, rounding_mode="ceil")


def test_round_to_decimals():
    assert fb.tensor([1.2345, -2.5]).round(decimals=2).tolist() == pytest.approx([1.23, -2.5])
    assert fb.tensor([1234.0]).round(decimals=-2).tolist() == [1200]
    assert fb.tensor([12]).round(decimals=1).tolist() == [12]


def test_half_precision_is_rounded_once():
    x = RNG.uniform(-6, 6, 500).astype(np.float16)
    for name in ("sigmoid", "erf", "exp", "tanh"):
        wide = numpy_of(getattr(fb, name)(fb.tensor(x.astype(np.float32))))
        found = numpy_of(getattr(fb, name)(fb.tensor(x)))
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, wide.astype(np.float16), rtol=1e-3, atol=1e-7)
