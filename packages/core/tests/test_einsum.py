"""einsum against NumPy's, its own notation and its errors; cdist against differences of all pairs."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)


def arrays(*shapes):
    return [np.asarray(RNG.normal(size=s)) for s in shapes]


def close(found, expected, tolerance=1e-12):
    assert tuple(found.shape) == np.shape(expected)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ij,jk->ki", [(2, 3), (3, 4)]),
        (" i j , j k -> i k ", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("aabb->ab", [(2, 2, 3, 3)]),
        ("aba->ab", [(3, 2, 3)]),
        ("ij->", [(2, 3)]),
        ("ba", [(2, 3)]),
        ("bA", [(2, 3)]),
        ("i,j", [(2,), (3,)]),
        ("ij,ij", [(2, 3), (2, 3)]),
        ("ij,ij->i", [(2, 3), (2, 3)]),
        ("i,->i", [(3,), ()]),
        (",", [(), ()]),
        ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
        ("...ij,...jk", [(1, 5, 2, 3), (4, 1, 3, 4)]),
        ("i...->...", [(2, 3, 4)]),
        ("i...->...i", [(2, 3, 4)]),
        ("a...b,b->a...", [(2, 3, 4, 5), (5,)]),
        ("bn,anm,bm->ba", [(2, 3), (4, 3, 5), (2, 5)]),
        ("ij,jk,kl,lm->im", [(2, 3), (3, 4), (4, 5), (5, 6)]),
        ("a,b,c,d->dcba", [(2,), (3,), (4,), (5,)]),
        ("ij,kl,lm->im", [(2, 3), (4, 5), (5, 6)]),
        ("ij,jk", [(2, 0), (0, 4)]),
        ("ij,jk,kl", [(0, 3), (3, 4), (4, 2)]),
    ],
)
def test_against_numpy(equation, shapes):
    values = arrays(*shapes)
    expected = np.einsum(equation, *values)
    close(fb.einsum(equation, *map(fb.tensor, values)), expected)
    close(fb.einsum(equation, [fb.tensor(v) for v in values]), expected)


def test_sizes_of_1_broadcast():
    a, b = arrays((2, 1), (3, 4))
    close(fb.einsum("ij,jk->ik", fb.tensor(a), fb.tensor(b)), a * b.sum(0))
    close(fb.einsum("ij,ij->ij", fb.tensor(a), fb.tensor(b[:1, :3])), a * b[:1, :3])
    close(fb.einsum("ij,ij->i", fb.tensor(a), fb.tensor(b[:2])), (a * b[:2]).sum(1))


def test_sublists():
    a, b = arrays((2, 3), (3, 4))
    x, y = fb.tensor(a), fb.tensor(b)
    close(fb.einsum(x, [0, 1], y, [1, 2], [0, 2]), a @ b)
    close(fb.einsum(x, [0, 1], y, [1, 2]), a @ b)
    close(fb.einsum(x, [..., 30], [30, ...]), a.T)
    with pytest.raises(ArgumentError, match=r"must be within the range \[0, 52\), got 52"):
        fb.einsum(x, [0, 52])


def test_gradients():
    a, b, c = (fb.tensor(v, requires_grad=True) for v in arrays((2, 3), (3, 3), (2, 2)))
    for equation, operands in (
        ("ij,jk->ki", (a, b)),
        ("ij,jj,ik->k", (a, b, c)),
        ("...j,...j->...", (a, a.detach()[:1])),
    ):
        call = lambda *xs, equation=equation: fb.einsum(equation, *xs)  # noqa: E731
        assert gradcheck(call, operands)
        assert gradgradcheck(call, operands)


@pytest.mark.parametrize(
    ("equation", "shapes", "error", "message"),
    [
        (
            "ij,jk",
            [(2, 3)],
            ShapeError,
            "fewer operands were provided than specified in the equation",
        ),
        ("ij", [(2, 3), (3, 4)], ShapeError, "more operands were provided than specified"),
        (
            "ij",
            [(2,)],
            ShapeError,
            r"subscripts in the equation \(2\) is more than the number of dimensions \(1\)",
        ),
        (
            "i",
            [(2, 3)],
            ShapeError,
            r"does not match the number of dimensions \(2\) for operand 0 and no ellipsis",
        ),
        (
            "ij,jk",
            [(2, 3), (4, 5)],
            ShapeError,
            "'j' of 'ij,jk' has size 4 for operand 1 which does not broadcast",
        ),
        ("ii", [(2, 3)], ShapeError, "subscript i is repeated but the sizes don't match, 3 != 2"),
        ("ij->ii", [(2, 3)], ShapeError, "output subscript i appears more than once"),
        (
            "ij->iz",
            [(2, 3)],
            ShapeError,
            "output subscript z does not appear in the equation for any input operand",
        ),
        (
            "i1",
            [(2, 3)],
            ArgumentError,
            r"at operand 0 of 'i1': '1', subscripts must be in \[a-zA-Z\]",
        ),
        (
            "ij->i1",
            [(2, 3)],
            ArgumentError,
            "invalid subscript given in the output of 'ij->i1': '1'",
        ),
    ],
)
def test_errors(equation, shapes, error, message):
    with pytest.raises(error, match=message):
        fb.einsum(equation, *(fb.ones(s) for s in shapes))


def test_missing_operands():
    with pytest.raises(
        ArgumentError, match="must specify the equation string and at least one operand"
    ):
        fb.einsum("ij")
    with pytest.raises(ArgumentError, match="operands must be Tensors, not int"):
        fb.einsum("i", 3)


# ---- cdist
def pairs(a, b, p):
    gap = np.abs(a[..., :, None, :] - b[..., None, :, :])
    if p == 0:
        return (gap != 0).sum(-1).astype(float)
    if p == math.inf:
        return gap.max(-1)
    return (gap**p).sum(-1) ** (1 / p)


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, 3, math.inf])
@pytest.mark.parametrize(
    "shapes", [((4, 3), (5, 3)), ((2, 1, 4, 3), (6, 5, 3)), ((30, 3), (40, 3))]
)
def test_cdist(shapes, p):
    a, b = arrays(*shapes)
    close(fb.cdist(fb.tensor(a), fb.tensor(b), p), pairs(a, b, p), 1e-7)


def test_cdist_of_equal_rows_passes_no_gradient():
    a = fb.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    fb.cdist(a, a.detach()).sum().backward()
    np.testing.assert_allclose(
        a.grad.numpy(), np.array([[1, 2], [-1, -2]]) / math.sqrt(5), rtol=1e-6
    )
    assert fb.cdist(fb.ones(2, 0), fb.ones(3, 0)).tolist() == [[0.0] * 3] * 2


def test_cdist_gradients():
    a, b = (fb.tensor(v, requires_grad=True) for v in arrays((2, 4, 3), (5, 3)))
    for p in (1.0, 2.0, 2.5, math.inf):
        assert gradcheck(lambda a, b, p=p: fb.cdist(a, b, p), (a, b))
    c, d = (fb.tensor(v, requires_grad=True) for v in arrays((27, 2), (2, 2)))
    assert gradcheck(fb.cdist, (c, d))


def test_cdist_errors():
    with pytest.raises(ShapeError, match="cdist only supports at least 2D tensors, X1 got: 1D"):
        fb.cdist(fb.ones(3), fb.ones(2, 3))
    with pytest.raises(
        ShapeError, match="X1 and X2 must have the same number of columns. X1: 3 X2: 4"
    ):
        fb.cdist(fb.ones(2, 3), fb.ones(2, 4))
    with pytest.raises(ArgumentError, match="cdist only supports non-negative p values, got -1"):
        fb.cdist(fb.ones(2, 3), fb.ones(2, 3), -1)
