"""The cpu's elementwise kernels: results are arrays, `out=` may be an operand, layouts and sizes do not matter."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.ops._op import OPS
from flambeau.testing.samples import INTEGER, samples
from flambeau_cpu.kernels import TABLE, activation, elementwise as k, special

ELEMENTWISE = [
    n
    for n, f in OPS.items()
    if f.op.elementwise and f.op.kernel in TABLE and f.op.fn.__module__.startswith("flambeau.ops.")
]


def calls(name):
    """The arrays and attributes of each sample of an op."""
    record = OPS[name].op
    for args, kwargs in samples(OPS[name], fb.int64 if name in INTEGER else fb.float64):
        values = {p.name: v for p, v in zip(record.params, args, strict=False)} | kwargs
        arrays = [values[p.name] for p in record.operands]
        if all(isinstance(a, fb.Tensor) for a in arrays):
            yield [a.numpy() for a in arrays], [values[p.name] for p in record.attrs]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_out_may_be_any_operand(name):
    kernel = TABLE[OPS[name].op.kernel]
    for arrays, attrs in calls(name):
        kept = [a.copy() for a in arrays]
        expected = kernel(*arrays, *attrs, out=...)
        assert type(expected) is np.ndarray
        for a, b in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(a, b, err_msg="an operand was changed")
        fresh = np.empty_like(expected)
        kernel(*arrays, *attrs, out=fresh)
        np.testing.assert_array_equal(fresh, expected)
        for i, a in enumerate(arrays):
            if a.shape == expected.shape and a.dtype == expected.dtype:
                own = [b.copy() for b in arrays]
                kernel(*own, *attrs, out=own[i])
                np.testing.assert_array_equal(own[i], expected, err_msg=f"out= is operand {i}")


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (1,), (3000,), (40, 75)])
def test_every_size_and_layout(name, shape):
    record = OPS[name].op
    if record.attrs:
        return
    for arrays, _ in calls(name):
        values = [np.resize(a.reshape(-1), shape).astype(a.dtype) for a in arrays]
        expected = TABLE[record.kernel](*values, out=...)
        assert type(expected) is np.ndarray
        assert expected.shape == shape
        for layout in (np.asfortranarray, lambda a: np.repeat(a, 2, -1)[..., ::2] if a.ndim else a):
            found = TABLE[record.kernel](*(layout(a) for a in values), out=...)
            np.testing.assert_allclose(found, expected, rtol=1e-14)
        if shape == (3000,):  # the same values as one by one, which takes other paths
            parts = [
                TABLE[record.kernel](*(a[i : i + 9] for a in values), out=...)
                for i in range(0, 3000, 9)
            ]
            np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-14)
        break


PIECEWISE = {
    "sigmoid": (),
    "erf": (),
    "silu": (),
    "mish": (),
    "logsigmoid": (),
    "hardsigmoid": (),
    "hardswish": (),
    "gelu": ("none",),
    "softplus": (2.0, 3.0),
    "elu": (1.5, 2.0, 0.5),
}


@pytest.mark.parametrize(
    "name", [*PIECEWISE, "gelu_backward", "silu_backward", "softmax", "log_softmax"]
)
def test_large_arrays_are_worked_on_piece_by_piece(name, monkeypatch):
    kernel, rng = TABLE[name], np.random.default_rng(0)
    a = rng.normal(size=(50, 30)).astype(np.float32)
    attrs = PIECEWISE.get(name, ("tanh",) if name == "gelu_backward" else ())
    arrays = [a, a[::-1].copy()] if name.endswith("_backward") else [a]
    if "softmax" in name:
        attrs = (1,)
    expected = kernel(*arrays, *attrs)
    for module in (k, special, activation):
        monkeypatch.setattr(module, "LARGE", 100)
    monkeypatch.setattr(k, "BLOCK", 64)
    monkeypatch.setattr(activation, "BLOCK", 64)
    np.testing.assert_allclose(kernel(*arrays, *attrs), expected, rtol=2e-6)
    strided = [np.repeat(x, 2, 1)[:, ::2] for x in arrays]
    np.testing.assert_allclose(kernel(*strided, *attrs), expected, rtol=2e-6)
    if "softmax" not in name:
        out = a.copy() if len(arrays) == 1 else np.empty_like(a)
        kernel(*([out] if len(arrays) == 1 else arrays), *attrs, out=out)
        np.testing.assert_allclose(out, expected, rtol=2e-6)


def test_relu_clips_every_real_dtype():
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8):
        a = np.array([1, 0, 3], dtype) - np.array([2, 0, 0], dtype)
        found = k.relu(a)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.maximum(a, dtype(0)))
    for dtype in (bool, np.complex64):
        with pytest.raises(TypeError, match="needs real numbers"):
            k.relu(np.ones(2, dtype))


def test_clamping_without_numpys_own_ufunc(monkeypatch):
    monkeypatch.setattr(k, "_clip", k._two_passes)
    a = np.array([-1.0, math.nan, 3.0])
    np.testing.assert_array_equal(k.relu(a), [0, math.nan, 3])
    np.testing.assert_array_equal(k.clamp(a, np.array(0.0), np.array(2.0)), [0, math.nan, 2])
    np.testing.assert_array_equal(k.clamp(a, np.array(2.0), np.array(0.0)), [0, math.nan, 0])


@pytest.mark.parametrize("size", [5, 4000])
def test_where_keeps_the_sign_of_zero_and_every_nan(size):
    c = np.arange(size) % 2 == 0
    a = np.full(size, -0.0, np.float32)
    for b in (
        np.array(0.0, np.float32),
        np.array(-0.0, np.float32),
        np.full(size, np.nan, np.float32),
    ):
        np.testing.assert_array_equal(
            k.where(c, a, b).view(np.int32), np.where(c, a, b).astype(np.float32).view(np.int32)
        )


def test_error_function_of_float32_is_within_two_and_a_half_ulp():
    x = np.concatenate([np.linspace(-4.5, 4.5, 50001), 10.0 ** np.linspace(-40, 0, 5001)]).astype(
        np.float32
    )
    exact = np.array([math.erf(v) for v in x.tolist()])
    ulp = np.abs(special.erf(x) - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert ulp.max() < 2.5
    few = np.concatenate([special.erf(x[i : i + 40]) for i in range(0, 4000, 40)])
    assert (
        np.abs(few - exact[:4000]) / np.spacing(np.abs(exact[:4000]).astype(np.float32))
    ).max() <= 0.5


def test_error_functions_of_float64():
    x = np.concatenate([np.linspace(-7, 7, 3001), 10.0 ** np.linspace(-300, 0, 301)])
    np.testing.assert_allclose(special.erf(x), [math.erf(v) for v in x], rtol=1e-15)
    y = np.linspace(-7, 26.5, 3001)
    np.testing.assert_allclose(special.erfc(y), [math.erfc(v) for v in y], rtol=3e-15)
    u = np.concatenate([np.linspace(-0.999, 0.999, 999), 1 - 10.0 ** np.linspace(-15, -1, 99)])
    np.testing.assert_allclose(special.erf(special.erfinv(u)), u, rtol=1e-15)


def test_gamma_functions_of_float64():
    x = np.concatenate(
        [np.linspace(0.01, 30, 997), np.linspace(-9.95, -0.05, 100), [1e-300, 1e5, 1e300]]
    )
    np.testing.assert_allclose(
        special.lgamma(x), [math.lgamma(v) for v in x], rtol=2e-14, atol=2e-15
    )
    near = np.array([1 + 1e-9, 2 - 1e-9])
    np.testing.assert_allclose(
        special.lgamma(near), [-np.euler_gamma * 1e-9, (np.euler_gamma - 1) * 1e-9], rtol=1e-7
    )
    # differences of log gamma: digamma(x + 1) = digamma(x) + 1 / x, digamma(1) = -gamma
    np.testing.assert_allclose(
        special.digamma(np.array([1.0, 0.5])), [-np.euler_gamma, -np.euler_gamma - math.log(4)]
    )
    z = np.linspace(-4.9, 9.9, 50)
    np.testing.assert_allclose(special.digamma(z + 1), special.digamma(z) + 1 / z, rtol=1e-12)
    zeta3 = 1.2020569031595942
    np.testing.assert_allclose(
        special.polygamma(np.array([1.0, 0.5]), 1), [math.pi**2 / 6, math.pi**2 / 2], rtol=1e-14
    )
    np.testing.assert_allclose(special.polygamma(np.array([1.0]), 2), [-2 * zeta3], rtol=1e-14)
    np.testing.assert_allclose(
        special.polygamma(z + 1, 3), special.polygamma(z, 3) - 6 / z**4, rtol=1e-9, atol=1e-12
    )
