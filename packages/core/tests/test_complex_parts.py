"""Complex numbers: parts and views share memory, gradients follow PyTorch's convention, errors."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import DTypeError, ShapeError

Z = [1 + 2j, -3 - 0.5j, 0j]


def test_parts():
    z = fb.tensor(Z)
    assert z.real.tolist() == [1, -3, 0]
    assert fb.imag(z).tolist() == [2, -0.5, 0]
    assert z.real.dtype is fb.float32
    x = fb.ones(2)
    assert fb.real(x) is x
    with pytest.raises(
        DTypeError, match="imag is not implemented for tensors with non-complex dtypes"
    ):
        fb.imag(x)


def test_parts_share_memory():
    z = fb.tensor(Z)
    z.real.mul_(2)
    assert z.tolist() == [2 + 2j, -6 - 0.5j, 0]
    z.imag = fb.tensor([7.0, 8.0, 9.0])
    z.real = 1.0
    assert z.tolist() == [1 + 7j, 1 + 8j, 1 + 9j]
    pairs = fb.view_as_real(z)
    pairs[0, 1] = -1
    assert z[0].item() == 1 - 1j
    assert fb.view_as_complex(pairs).tolist() == z.tolist()


def test_making_complex_numbers():
    re, im = fb.tensor([1.0, INF := math.inf]), fb.tensor([[2.0], [INF]])
    z = fb.complex(re, im)
    assert z.dtype is fb.complex64
    np.testing.assert_array_equal(z.real.numpy(), [[1, INF], [1, INF]])
    np.testing.assert_array_equal(z.imag.numpy(), [[2, 2], [INF, INF]])
    assert (
        fb.complex(fb.ones(1, dtype=fb.float64), fb.ones(1, dtype=fb.float64)).dtype
        is fb.complex128
    )
    w = fb.polar(fb.tensor([2.0]), fb.tensor([math.pi / 2]))
    np.testing.assert_allclose(w.numpy(), [2j], atol=1e-6)
    out = fb.empty(2, dtype=fb.complex64)
    fb.complex(fb.ones(2), fb.zeros(2), out=out)
    assert out.tolist() == [1, 1]


def test_angle_and_conjugate():
    z = fb.tensor(Z)
    np.testing.assert_allclose(fb.angle(z).numpy(), np.angle(np.array(Z)), rtol=1e-6)
    assert fb.angle(fb.tensor([1.0, -1.0, math.nan]))[:2].tolist() == pytest.approx([0, math.pi])
    assert fb.angle(fb.tensor([-1])).dtype is fb.float32
    assert z.conj().tolist() == [v.conjugate() for v in Z]
    x = fb.ones(1)
    assert x.conj() is x
    assert x.resolve_conj() is x
    assert fb.resolve_neg(x) is x
    assert fb.is_conj(z.conj()) is False
    assert z.is_neg() is False


def test_gradients():
    z = fb.tensor(Z[:2], dtype=fb.complex128, requires_grad=True)
    (z.real * 2 + z.imag * 3).sum().backward()
    assert z.grad.tolist() == [2 + 3j, 2 + 3j]
    x = fb.tensor([0.7, 1.3], dtype=fb.float64, requires_grad=True)
    y = fb.tensor([0.4, -0.2], dtype=fb.float64, requires_grad=True)

    def through(x, y):
        z = fb.complex(x, y)
        return fb.angle(z) + fb.view_as_real(z * z).sum(1) + fb.polar(x, y).imag + z.abs()

    assert gradcheck(through, (x, y))
    assert gradgradcheck(through, (x, y))
    zero = fb.zeros(1, dtype=fb.complex64, requires_grad=True)
    fb.angle(zero).sum().backward()
    assert zero.grad.tolist() == [0]


def test_errors():
    with pytest.raises(DTypeError, match="view_as_real is only supported for complex tensors"):
        fb.view_as_real(fb.ones(2))
    with pytest.raises(
        DTypeError,
        match="view_as_complex is only supported for float and double tensors, but got .*int64",
    ):
        fb.view_as_complex(fb.tensor([1, 2]))
    with pytest.raises(
        ShapeError, match=r"Tensor must have a last dimension of size 2, got shape \[3\]"
    ):
        fb.view_as_complex(fb.ones(3))
    with pytest.raises(
        ShapeError, match="Tensor must have a last dimension with stride 1, got stride 2"
    ):
        fb.view_as_complex(fb.ones(2, 2).T)
    with pytest.raises(
        DTypeError,
        match="complex: Expected both inputs to be Float or Double tensors but got .*int64",
    ):
        fb.complex(fb.tensor([1]), fb.tensor([1]))
    with pytest.raises(
        DTypeError,
        match="polar: Expected object of scalar type float32 but got scalar type float64",
    ):
        fb.polar(fb.ones(1), fb.ones(1, dtype=fb.float64))
