"""Products of vectors and matrices: values against NumPy, layouts, gradients, errors."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.backend.protocol import REQUIRED
from flambeau.errors import ArgumentError, DTypeError, ShapeError

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


def arrays(*shapes, dtype=np.float64):
    return [
        RNG.normal(size=s).astype(dtype) if s else np.asarray(RNG.normal(), dtype) for s in shapes
    ]


def close(found, expected, tolerance=1e-12):
    assert isinstance(found._a, np.ndarray)
    assert tuple(found.shape) == np.shape(expected)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((5, 2, 0), (0, 4)),
    ((0, 2, 3), (3, 4)),
]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(("first", "second"), SHAPES, ids=str)
def test_matmul(first, second):
    a, b = arrays(first, second)
    close(fb.matmul(fb.tensor(a), fb.tensor(b)), a @ b)
    close(fb.tensor(a.astype("f")) @ fb.tensor(b.astype("f")), (a @ b).astype("f"), 1e-5)


@pytest.mark.parametrize(("first", "second"), SHAPES, ids=str)
def test_matmul_gradients(first, second):
    a, b = (fb.tensor(x, requires_grad=True) for x in arrays(first, second))
    if 0 in first + second:
        (a @ b).sum().backward()
        assert a.grad.shape == first
        assert b.grad.shape == second
        return
    assert gradcheck(fb.matmul, (a, b))
    assert gradgradcheck(fb.matmul, (a, b))


def test_matmul_of_views():
    a, b = arrays((6, 4), (8, 6))
    x, y = fb.tensor(a), fb.tensor(b)
    close(x.T @ y.T, a.T @ b.T)
    close(x.T[::2] @ y[::2].T, a.T[::2] @ b[::2].T)
    c = arrays((2, 3, 4, 5))[0]
    z = fb.tensor(c)
    close(z.transpose(1, 2) @ z.permute(0, 2, 3, 1), c.swapaxes(1, 2) @ c.transpose(0, 2, 3, 1))
    close(z.transpose(0, 1) @ fb.tensor(a[:5]), c.swapaxes(0, 1) @ a[:5])


def test_matmul_dtypes():
    i = fb.tensor([[1, 2], [3, 4]])
    assert (i @ i).tolist() == [[7, 10], [15, 22]]
    assert (i[0] @ i[1]).tolist() == 11
    assert (i @ i).dtype is fb.int64
    half = fb.full((3, 300), 0.1).half()
    assert (half @ half.T).dtype is fb.float16
    np.testing.assert_allclose(
        (half @ half.T).float().numpy(), 300 * float(np.float16(0.1)) ** 2, rtol=1e-3
    )
    z = np.array([[1 + 2j, 1j], [3, -1j]])
    close(fb.tensor(z) @ fb.tensor(z), z @ z, 1e-6)
    with pytest.raises(DTypeError, match="matmul: not implemented for bool"):
        fb.ones(2, 2, dtype=fb.bool) @ fb.ones(2, 2, dtype=fb.bool)
    with pytest.raises(
        DTypeError, match=r"matmul: expected all operands to have the same dtype.*Hint: other.to"
    ):
        fb.ones(2, 2) @ i


def test_complex_gradients():
    z = arrays((2, 3), (2, 3))
    w = arrays((3, 2), (3, 2))
    a = fb.tensor(z[0] + 1j * z[1], requires_grad=True)
    b = fb.tensor(w[0] + 1j * w[1], requires_grad=True)
    (a @ b).real.sum().backward()
    ones = np.ones((2, 2))
    np.testing.assert_allclose(a.grad.numpy(), ones @ b.detach().numpy().conj().T, rtol=1e-12)
    np.testing.assert_allclose(b.grad.numpy(), a.detach().numpy().conj().T @ ones, rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            (2, 3),
            (4, 5),
            r"shapes cannot be multiplied \(2x3 and 4x5\), got 3 != 4 \(a: \(2, 3\); b: \(4, 5\)\)",
        ),
        ((2, 3), (4, 3), r"Hint: b.mT"),
        ((2, 2, 3), (2, 4, 5), r"needs a.shape\[-1\] == b.shape\[-2\], got 3 != 4"),
        ((), (3,), "both arguments need to be at least 1-D, but they are 0-D and 1-D"),
        ((2, 4, 3), (3, 3, 2), "must match the size"),
    ],
)
def test_matmul_shape_errors(a, b, message):
    with pytest.raises(ShapeError, match=message):
        fb.ones(a) @ fb.ones(b)


# ---- named products
def test_named_products():
    m, n, v, w, u = arrays((3, 4), (4, 2), (4,), (4,), (3,))
    tm, tn, tv, tw, tu = map(fb.tensor, (m, n, v, w, u))
    close(fb.mm(tm, tn), m @ n)
    close(tm.mv(tv), m @ v)
    close(fb.dot(tv, tw), v @ w)
    close(tv.vdot(tw), v @ w)
    close(fb.inner(tv, tw), v @ w)
    close(fb.inner(tm, tv), np.inner(m, v))
    close(fb.inner(tm, tn.T), np.inner(m, n.T))
    close(fb.inner(tv, fb.tensor(2.0, dtype=fb.float64)), v * 2)
    close(fb.outer(tu, tv), np.outer(u, v))
    close(tu.ger(tv), np.outer(u, v))
    z = fb.tensor([1 + 1j, 2j])
    assert fb.vdot(z, z).item() == 6
    assert fb.dot(z, z).item() == -4 + 2j
    assert fb.dot(fb.tensor([2, 3]), fb.tensor([2, 1])).item() == 7
    out = fb.empty(3, 2, dtype=fb.float64)
    fb.mm(tm, tn, out=out)
    close(out, m @ n)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, v: fb.mm(x, v), r"mm: mat2 must be 2-D, got \(3,\) float32 cpu. Hint: matmul"),
        (lambda x, v: fb.mv(v, v), "mv: input must be 2-D"),
        (lambda x, v: fb.mv(x, v), r"mv: size mismatch, got input \(3x2\), vec \(3\)"),
        (
            lambda x, v: fb.dot(x, v),
            r"dot: 1D tensors expected, but got 2D and 1D tensors. Hint: \(a \* b\).sum",
        ),
        (
            lambda x, v: fb.dot(v, x[0]),
            r"inconsistent tensor size, expected tensor \[3\] and src \[2\]",
        ),
        (
            lambda x, v: fb.inner(x, v),
            r"last dimension must match on both input tensors but got shapes \[3, 2\] and \[3\]",
        ),
        (lambda x, v: fb.outer(x, v), "outer: Expected 1-D argument input, but got 2-D"),
        (
            lambda x, v: fb.bmm(x, x),
            "bmm: needs .b, n, m. and .b, m, p.*Hint: matmul broadcasts batches",
        ),
        (lambda x, v: fb.trace(v), "trace: expected a matrix, but got tensor with dim 1"),
        (lambda x, v: v.adjoint(), "adjoint: needs at least 2 dimensions"),
        (lambda x, v: fb.ones(2, 2, 2).H, "H: supported only on matrices"),
        (lambda x, v: fb.matrix_power(x, 2), "matrix_power: A must be batches of square matrices"),
        (lambda x, v: fb.chain_matmul(), "Expected one or more matrices"),
        (
            lambda x, v: fb.cross(x, x, dim=1),
            "cross: inputs dimension 1 must have length 3. Got 2 and 2",
        ),
        (lambda x, v: fb.cross(x, v), "cross: inputs must have the same number of dimensions"),
    ],
)
def test_errors_of_named_products(call, message):
    with pytest.raises(ShapeError, match=message):
        call(fb.ones(3, 2), fb.ones(3))


def test_arguments_that_are_no_tensors():
    with pytest.raises(ArgumentError, match=r"mm\(\): argument 'mat2' must be Tensor, not int"):
        fb.mm(fb.ones(2, 2), 1)
    with pytest.raises(ArgumentError, match=r"dot\(\): argument 'tensor' must be Tensor, not list"):
        fb.dot(fb.ones(2), [1, 2])


# ---- products added to something
def test_products_added_to_something():
    m, a, b, v, w = arrays((3, 2), (3, 4), (4, 2), (4,), (3,))
    tm, ta, tb, tv, tw = map(fb.tensor, (m, a, b, v, w))
    close(fb.addmm(tm, ta, tb), m + a @ b)
    close(tm.addmm(ta, tb, beta=0.5, alpha=2), 0.5 * m + 2 * (a @ b))
    close(fb.addmm(tm[0], ta, tb), m[0] + a @ b)
    close(fb.addmv(tw, ta, tv, alpha=-1), w - a @ v)
    close(fb.addr(fb.tensor(a), tw, tv, beta=2), 2 * a + np.outer(w, v))
    p, q, r = arrays((5, 3, 4), (5, 4, 2), (5, 3, 2))
    tp, tq, tr = map(fb.tensor, (p, q, r))
    close(fb.baddbmm(tr, tp, tq, beta=3), 3 * r + p @ q)
    close(fb.addbmm(tm, tp, tq, alpha=0.5), m + 0.5 * (p @ q).sum(0))
    spoilt = fb.full((3, 2), math.nan, dtype=fb.float64)
    close(fb.addmm(spoilt, ta, tb, beta=0), a @ b)
    x = tm.clone()
    assert x.addmm_(ta, tb, beta=0.5) is x
    close(x, 0.5 * m + a @ b)
    inputs = tuple(t.requires_grad_() for t in (tm, ta, tb))
    assert gradcheck(lambda *t: fb.addmm(*t, beta=0.5, alpha=2), inputs)


def test_what_is_added_must_expand_to_the_product():
    with pytest.raises(
        ShapeError,
        match=r"addmm: The expanded size .* must match.* does not expand to \[2, 2\]",
    ):
        fb.addmm(fb.ones(3, 2, 2), fb.ones(2, 2), fb.ones(2, 2))
    with pytest.raises(ShapeError, match=r"addmv: .* does not expand to \[2\]"):
        fb.addmv(fb.ones(3), fb.ones(2, 2), fb.ones(2))
    with pytest.raises(DTypeError, match="addmm: expected both tensors to have the same dtype"):
        fb.addmm(fb.ones(2, 2, dtype=fb.float64), fb.ones(2, 2), fb.ones(2, 2))


# ---- products of many
def test_chain_matmul():
    chain = arrays((10, 2), (2, 30), (30, 3), (3, 5))
    expected = chain[0] @ chain[1] @ chain[2] @ chain[3]
    close(fb.chain_matmul(*map(fb.tensor, chain)), expected)
    close(fb.chain_matmul(fb.tensor(chain[0])), chain[0])


def test_tensordot():
    a, b = arrays((3, 4, 5), (4, 3, 2))
    ta, tb = fb.tensor(a), fb.tensor(b)
    close(fb.tensordot(ta, tb, dims=([0, 1], [1, 0])), np.tensordot(a, b, ([0, 1], [1, 0])))
    close(fb.tensordot(ta, tb, dims=([1], [-3])), np.tensordot(a, b, ([1], [0])))
    close(fb.tensordot(ta, ta, dims=0), np.multiply.outer(a, a))
    close(fb.tensordot(ta, fb.tensor(a[:2, 0].T), 1), np.tensordot(a, a[:2, 0].T, 1))
    with pytest.raises(
        ShapeError, match="contracted dimensions need to match, but first has size 5 in dim 2"
    ):
        fb.tensordot(ta, tb, 1)
    with pytest.raises(ShapeError, match="tensordot expects dims >= 0, but got dims=-1"):
        fb.tensordot(ta, tb, -1)
    with pytest.raises(ShapeError, match="expects dims < ndim_a or ndim_b, but got dims=4"):
        fb.tensordot(ta, tb, 4)
    with pytest.raises(ShapeError, match="both dimension lists should have same length"):
        fb.tensordot(ta, tb, ([0], [0, 1]))


def test_kron():
    for s, t in (((2, 3), (4, 5)), ((3,), (2, 2)), ((), (3,)), ((2, 1, 2), (3, 2))):
        a, b = arrays(s, t)
        close(fb.kron(fb.tensor(a), fb.tensor(b)), np.kron(a, b))


def test_cross():
    a, b = arrays((5, 3), (5, 3))
    close(fb.cross(fb.tensor(a), fb.tensor(b), dim=1), np.cross(a, b))
    close(fb.tensor(a).T.cross(fb.tensor(b).T), np.cross(a, b).T)
    close(fb.cross(fb.tensor(a), fb.tensor(b[:1]), dim=-1), np.cross(a, b[:1]))
    with pytest.raises(ShapeError, match="no dimension of size 3 in input"):
        fb.cross(fb.ones(2), fb.ones(2))


def test_powers_trace_and_adjoint():
    (a,) = arrays((2, 3, 3))
    x = fb.tensor(a)
    for n in (0, 1, 2, 5, 8):
        close(fb.matrix_power(x, n), np.linalg.matrix_power(a, n), 1e-9)
    close(fb.trace(x[0]), np.trace(a[0]))
    close(x.mH, a.swapaxes(1, 2))
    z = fb.tensor([[1j, 2], [3, 4]])
    np.testing.assert_array_equal(z.H.numpy(), z.numpy().conj().T)
    np.testing.assert_array_equal(z.adjoint().numpy(), z.numpy().conj().T)
    with pytest.raises(ModuleNotFoundError, match="flambeau-numeric"):
        fb.matrix_power(x, -1)
