"""Largest and smallest elements and their positions, with the cpu's kernels and with core's decompositions."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.errors import ArgumentError, IndexRangeError, ShapeError, UnsupportedOpError

OPTIONAL = ["reduce_min", "arg_max", "arg_min", "pick", "pick_backward"]


@pytest.fixture(autouse=True, params=["kernels", "decompositions"])
def kernels(request, monkeypatch):
    """Every test runs with the cpu's kernels, and with the required ones alone."""
    if request.param == "decompositions":
        table = fb.ones(1)._kind.k
        for name in OPTIONAL:
            monkeypatch.setitem(table, name, None)


def values(shape, dtype="f8"):
    return np.random.default_rng(5).permutation(math.prod(shape)).reshape(shape).astype(dtype)


SHAPES = [
    (7,),
    (1, 1),
    (3, 4),
    (40, 5),
    (40, 30),
    (300, 3),
    (700, 2),
    (2, 600),
    (3, 4, 5),
    (2, 3, 100),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "i4"])
def test_along_every_dimension(shape, dtype):
    a = values(shape, dtype)
    x = fb.tensor(a)
    assert x.max().item() == a.max()
    assert x.min().item() == a.min()
    assert x.argmax().item() == a.argmax()
    assert x.argmin(keepdim=True).shape == (1,) * a.ndim
    for dim in range(-a.ndim, a.ndim):
        for keepdim in (False, True):
            largest, smallest = x.max(dim, keepdim), x.min(dim, keepdim)
            np.testing.assert_array_equal(largest.values.numpy(), a.max(dim, keepdims=keepdim))
            np.testing.assert_array_equal(largest.indices.numpy(), a.argmax(dim, keepdims=keepdim))
            np.testing.assert_array_equal(smallest.values.numpy(), a.min(dim, keepdims=keepdim))
            np.testing.assert_array_equal(smallest.indices.numpy(), a.argmin(dim, keepdims=keepdim))
            np.testing.assert_array_equal(
                x.amax(dim, keepdim).numpy(), a.max(dim, keepdims=keepdim)
            )
            np.testing.assert_array_equal(
                x.amin(dim, keepdim).numpy(), a.min(dim, keepdims=keepdim)
            )
            np.testing.assert_array_equal(
                x.argmax(dim, keepdim).numpy(), a.argmax(dim, keepdims=keepdim)
            )
            assert x.argmin(dim).dtype is fb.int64


def test_several_dimensions():
    a = values((2, 3, 4))
    x = fb.tensor(a)
    np.testing.assert_array_equal(x.amax((0, 2)).numpy(), a.max((0, 2)))
    np.testing.assert_array_equal(x.amin([1, -1], True).numpy(), a.min((1, 2), keepdims=True))
    assert x.amax().item() == 23
    assert x.amax(keepdim=True).shape == (1, 1, 1)
    low, high = x.aminmax(dim=1)
    np.testing.assert_array_equal(low.numpy(), a.min(1))
    np.testing.assert_array_equal(high.numpy(), a.max(1))
    assert fb.aminmax(x).min.item() == 0


def test_nan_wins_and_the_first_of_equals_is_found():
    x = fb.tensor(
        [
            [1.0, math.nan, 3.0, math.nan],
            [2.0, 5.0, 5.0, 2.0],
            [-math.inf, -math.inf, -math.inf, -math.inf],
        ]
    )
    assert x.argmax(1).tolist() == [1, 1, 0]
    assert x.argmin(1).tolist() == [1, 0, 0]
    assert math.isnan(x.max().item())
    assert math.isnan(x.amin(1)[0].item())
    assert math.isnan(x.max(1).values[0].item())
    assert x.amax(1).tolist()[1:] == [5, -math.inf]
    assert math.isnan(fb.full((40, 30), math.nan).amax(1).sum().item())


def test_bool_and_smallest_integers():
    x = fb.tensor([[True, False], [False, False]])
    assert x.max().item() is True
    assert x.min(1).values.tolist() == [False, False]
    assert x.amax(1).tolist() == [True, False]
    y = fb.tensor([-(2**63), 2**63 - 1])
    assert y.min().item() == -(2**63)
    assert y.amin(0).item() == -(2**63)
    assert fb.tensor([0, 255], dtype=fb.uint8).min().item() == 0


def test_zero_dimensional():
    x = fb.tensor(3.0)
    assert x.max(0).values.item() == 3
    assert x.max(0).indices.item() == 0
    assert x.argmax().item() == x.argmax(-1).item() == 0
    assert x.amax().shape == x.amax(0, True).shape == ()


def test_against_a_second_tensor():
    x, y = fb.tensor([1, 5]), fb.tensor([2.5, 2.5])
    assert fb.max(x, y).tolist() == [2.5, 5]
    assert fb.min(x, other=y).tolist() == [1, 2.5]
    assert x.max(y).tolist() == [2.5, 5]


def test_results_are_named_and_can_be_written_to():
    x = fb.tensor([[1.0, 5.0], [4.0, 2.0]])
    values_, _indices = x.max(dim=1)
    assert values_.tolist() == [5, 4]
    assert (
        repr(x.max(1))
        == "flambeau.return_types.max(\nvalues=tensor([5., 4.]),\nindices=tensor([1, 0]))"
    )
    out = (fb.empty(2), fb.empty(2, dtype=fb.int64))
    assert fb.min(x, 0, out=out).values is out[0]
    assert out[1].tolist() == [0, 1]
    fb.amax(x, 1, out=out[0])
    fb.argmax(x, 1, out=out[1])
    assert (out[0].tolist(), out[1].tolist()) == ([5, 4], [1, 0])
    assert x.max(axis=0, keepdims=True).values.shape == (1, 2)
    assert x.amax(axis=1).tolist() == [5, 4]
    assert x.argmin(axis=0).tolist() == [0, 1]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.max(),
        lambda x: x.min(),
        lambda x: x.max(0).values,
        lambda x: x.min(-1, True).values,
        lambda x: x.max(1).values,
        lambda x: x.amax((0, 2)),
        lambda x: x.amin(1, True),
        lambda x: fb.aminmax(x, dim=2),
    ],
)
def test_derivatives(fn):
    x = fb.tensor(values((2, 3, 4)) / 3, requires_grad=True)
    assert gradcheck(fn, x)
    assert gradgradcheck(fn, x)


def test_equals_share_the_gradient_or_the_first_gets_it():
    x = fb.tensor([[2.0, 2.0, 1.0], [0.0, 2.0, 2.0]], requires_grad=True)
    grad = lambda y: fb.autograd.grad(y.sum(), x)[0].tolist()  # noqa: E731
    assert grad(x.max()) == [[0.25, 0.25, 0], [0, 0.25, 0.25]]
    assert grad(x.amax(1)) == [[0.5, 0.5, 0], [0, 0.5, 0.5]]
    assert grad(x.max(1).values) == [[1, 0, 0], [0, 1, 0]]
    assert grad(x.min(0).values) == [[0, 1, 1], [1, 0, 0]]
    y = fb.tensor([1.0, math.nan], requires_grad=True)
    y.max().backward()
    assert y.grad.tolist() == [0, 1]
    assert x.max().grad_fn.name() == "MaxBackward1"
    assert x.max(0).values.grad_fn.name() == "MaxBackward0"
    assert x.amin(0).grad_fn.name() == "AminBackward0"


def test_errors():
    e, x, c = fb.empty(0, 3), fb.ones(2, 3), fb.ones(2, dtype=fb.complex64)
    for fn in (fb.max, fb.min, fb.amax, fb.amin, fb.aminmax):
        with pytest.raises(
            ShapeError,
            match=rf"{fn.__name__}\(\): Expected reduction dim to be specified for input.numel\(\) == 0",
        ):
            fn(e)
        with pytest.raises(
            UnsupportedOpError,
            match=rf"{fn.__name__}\(\): complex numbers have no order, got \(2,\) complex64",
        ):
            fn(c)
    for fn in (fb.argmax, fb.argmin):
        with pytest.raises(
            IndexRangeError, match=rf"{fn.__name__}\(\): Expected reduction dim to be specified"
        ):
            fn(e)
    for fn in (fb.max, fb.min, fb.amax, fb.amin, fb.argmax, fb.argmin):
        with pytest.raises(
            IndexRangeError,
            match=rf"{fn.__name__}\(\): Expected reduction dim 0 to have non-zero size, got \(0, 3\)",
        ):
            fn(e, 0)
        found = fn(e, 1)
        assert (found if isinstance(found, fb.Tensor) else found.values).shape == (0,)
        with pytest.raises(
            IndexRangeError, match=r"expected to be in range of \[-2, 1\], but got 2"
        ):
            fn(x, 2)
        with pytest.raises(
            ArgumentError,
            match=rf"{fn.__name__}\(\): argument 'input' \(position 1\) must be Tensor, not list",
        ):
            fn([1.0])
    with pytest.raises(ArgumentError, match=r"max\(\): argument 'dim' must be int, not tuple"):
        x.max((0, 1))
    with pytest.raises(
        ArgumentError, match=r"max\(\): keepdim needs a dim. Hint: amax\(x, keepdim=True\)"
    ):
        x.max(keepdim=True)
    with pytest.raises(ArgumentError, match=r"max\(\): out= takes 2 tensors, got 1"):
        fb.max(x, 0, out=(fb.empty(3),))
