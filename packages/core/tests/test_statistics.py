"""Variances, norms and distances against NumPy, with the cpu's kernels and with core's decompositions."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, DTypeError, ShapeError

OPTIONAL = ["sum", "mean", "var", "std", "vector_norm", "reduce_min"]


@pytest.fixture(autouse=True, params=["kernels", "decompositions"])
def kernels(request, monkeypatch):
    """Every test runs with the cpu's kernels, and with the required ones alone."""
    if request.param == "decompositions":
        table = fb.ones(1)._kind.k
        for name in OPTIONAL:
            monkeypatch.setitem(table, name, None)


def values(shape, dtype="f8"):
    return np.random.default_rng(6).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (1, 2)], ids=str)
@pytest.mark.parametrize("correction", [0, 1, 0.5])
@pytest.mark.parametrize("keepdim", [False, True])
def test_variance(dim, correction, keepdim):
    a = values((3, 4, 5))
    x = fb.tensor(a)
    expected = a.var(axis=dim, ddof=correction, keepdims=keepdim)
    np.testing.assert_allclose(
        x.var(dim, correction=correction, keepdim=keepdim).numpy(), expected, rtol=1e-12
    )
    np.testing.assert_allclose(
        x.std(dim, correction=correction, keepdim=keepdim).numpy(), np.sqrt(expected), rtol=1e-12
    )
    v, m = fb.var_mean(x, dim, correction=correction, keepdim=keepdim)
    s, again = fb.std_mean(x, dim, correction=correction, keepdim=keepdim)
    np.testing.assert_allclose(v.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(s.numpy(), np.sqrt(expected), rtol=1e-12)
    np.testing.assert_allclose(
        m.numpy(), a.mean(axis=dim, keepdims=keepdim), rtol=1e-12, atol=1e-15
    )
    assert again.tolist() == m.tolist()


def test_both_spellings():
    x = fb.tensor(values((4, 5)))
    assert (
        x.var().item()
        == x.var(True).item()
        == x.var(unbiased=True).item()
        == x.var(correction=1).item()
    )
    assert x.var(False).item() == x.var(correction=0).item()
    assert x.std(0, False).tolist() == x.std(0, correction=0).tolist()
    assert x.std(0, False, True).shape == x.std(axis=0, keepdims=True).shape == (1, 5)
    assert fb.var(x, correction=None).item() == x.var().item()


def test_too_few_elements_have_no_variance():
    assert math.isnan(fb.tensor(2.0).var().item())
    assert math.isnan(fb.tensor([2.0]).std().item())
    assert fb.tensor(2.0).var(correction=0).item() == 0
    assert fb.tensor([1.0, 2.0]).var(correction=3).item() == math.inf
    assert math.isnan(fb.empty(0).var().item())


def test_a_large_offset_does_not_cancel():
    a = 1e4 + values((5000,), "f4")
    expected = a.astype("f8").var()
    assert fb.tensor(a).var(correction=0).item() == pytest.approx(expected, rel=1e-4)


def test_complex_and_half():
    a = values((3, 4)) + 1j * values((4, 3)).T
    x = fb.tensor(a)
    assert x.var(0).dtype is fb.float64
    np.testing.assert_allclose(x.var(0).numpy(), a.var(0, ddof=1))
    np.testing.assert_allclose(x.std(correction=0).numpy(), a.std())
    for p in (1, 2, 3, math.inf):
        np.testing.assert_allclose(x.norm(p).numpy(), np.linalg.norm(a.ravel(), p))
    h = fb.full((300,), 300.0, dtype=fb.float16)
    assert h.norm().item() == pytest.approx(300 * math.sqrt(300), rel=1e-3)
    assert h.norm().dtype is h.var().dtype is fb.float16


ORDERS = [0, 0.5, 1, 1.5, 2, 3, math.inf, -math.inf, -1]


@pytest.mark.parametrize("p", ORDERS)
def test_norms(p):
    a = values((3, 4, 5))
    x = fb.tensor(a)
    np.testing.assert_allclose(x.norm(p).numpy(), np.linalg.norm(a.ravel(), p), rtol=1e-12)
    np.testing.assert_allclose(x.norm(p, 1).numpy(), np.linalg.norm(a, p, 1), rtol=1e-12)
    np.testing.assert_allclose(
        x.norm(p, -1, True).numpy(), np.linalg.norm(a, p, -1, keepdims=True), rtol=1e-12
    )
    wide = a.transpose(1, 0, 2).reshape(4, 15)
    np.testing.assert_allclose(x.norm(p, (0, 2)).numpy(), np.linalg.norm(wide, p, 1), rtol=1e-12)


def test_frobenius_is_the_default_and_dtype_converts():
    x = fb.tensor([[3.0], [4.0]])
    assert x.norm().item() == x.norm("fro").item() == x.norm(None).item() == x.norm(p=2).item() == 5
    assert x.norm(dtype=fb.float64).dtype is fb.float64
    fb.norm(x, 2, 0, out=(out := fb.empty(1)))
    assert out.tolist() == [5]
    assert fb.empty(0).norm().item() == 0


def test_dist_and_renorm():
    a, b = values((3, 4)), values((4,))
    np.testing.assert_allclose(
        fb.dist(fb.tensor(a), fb.tensor(b), 3).numpy(), np.linalg.norm((a - b).ravel(), 3)
    )
    x = fb.tensor(a)
    y = x.renorm(2, 1, 0.5)
    norms = np.linalg.norm(a, axis=0)
    np.testing.assert_allclose(y.numpy(), a * np.where(norms > 0.5, 0.5 / norms, 1), rtol=1e-6)
    assert x.clone().renorm_(2, 1, 0.5).tolist() == y.tolist()
    assert x.renorm(1, 0, 1e9).tolist() == x.tolist()


CASES = {
    "var": lambda x: x.var(),
    "var dim": lambda x: x.var((0, 2), correction=0),
    "std": lambda x: x.std(),
    "std dim": lambda x: x.std(1, keepdim=True),
    "var_mean": lambda x: fb.var_mean(x, 0),
    "dist": lambda x: fb.dist(x, x.exp()),
    "renorm": lambda x: x.renorm(2, 1, 0.3),
    **{f"norm {p}": lambda x, p=p: x.norm(p) for p in ORDERS if p != 0},
    **{f"norm {p} dim": lambda x, p=p: x.norm(p, (0, 2), True) for p in ORDERS if p != 0},
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    x = fb.tensor(values((2, 3, 4)), requires_grad=True)
    assert gradcheck(CASES[name], x)
    assert gradgradcheck(CASES[name], x)


def test_gradients_at_the_kinks_are_0():
    for fn in (
        lambda t: t.std(),
        lambda t: t.norm(),
        lambda t: t.norm(3, 0),
        lambda t: t.norm(1),
        lambda t: t.norm(0),
    ):
        x = fb.zeros(3, requires_grad=True)
        fn(x).sum().backward()
        assert x.grad.tolist() == [0, 0, 0]
    x = fb.tensor([2.0, -2.0, 1.0], requires_grad=True)
    x.norm(math.inf).backward()
    assert x.grad.tolist() == [0.5, -0.5, 0]


def test_errors():
    i, x = fb.tensor([1, 2]), fb.ones(2, 2)
    for fn in (fb.var, fb.std, fb.var_mean, fb.std_mean):
        with pytest.raises(
            DTypeError,
            match=rf"{fn.__name__}\(\): std and var only support floating point and complex dtypes, got \(2,\) int64",
        ):
            fn(i)
        with pytest.raises(
            ArgumentError, match=rf"{fn.__name__}\(\): takes unbiased or correction, not both"
        ):
            fn(x, unbiased=True, correction=0)
    with pytest.raises(
        DTypeError,
        match=r"norm\(\): Expected a floating point or complex tensor as input, got \(2,\) int64",
    ):
        i.norm()
    with pytest.raises(
        DTypeError,
        match=r"norm\(\): dtype should be complex for complex inputs, got dtype=flambeau.float32",
    ):
        x.to(fb.complex64).norm(dtype=fb.float32)
    with pytest.raises(
        ShapeError, match=r"norm\(\): Order bad not supported. Hint: a number, 'fro' or 'nuc'"
    ):
        x.norm("bad")
    with pytest.raises(
        ShapeError, match=r"norm\(\): cannot compute the inf norm on an empty tensor"
    ):
        fb.empty(0).norm(math.inf)
    with pytest.raises(
        ShapeError, match=r"renorm: input needs at least 2 dimensions, got \(2,\) float32"
    ):
        fb.ones(2).renorm(2, 0, 1)
    with pytest.raises(ShapeError, match="renorm: non-positive-norm not supported, got p=0"):
        x.renorm(0, 0, 1)
    with pytest.raises(ShapeError, match="renorm: expected maxnorm to be >= 0 but got -1"):
        x.renorm(2, 0, -1)
