"""Views and moves."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.autograd import gradcheck, gradgradcheck


def grid(*shape):
    n = int(np.prod(shape))
    return fb.arange(float(n)).reshape(shape)


SHARING = [
    lambda x: x.view(6, 4),
    lambda x: x.view(-1),
    lambda x: x.reshape(2, 12),
    lambda x: x.permute(2, 0, 1),
    lambda x: x.transpose(0, -1),
    lambda x: x.T if x.dim() == 2 else x.mT,
    lambda x: x.unsqueeze(1).squeeze(1),
    lambda x: x.flatten(1),
    lambda x: x.narrow(1, 1, 2),
    lambda x: x.select(0, 1),
    lambda x: x.unbind(1)[2],
    lambda x: x.split(2, 1)[1],
    lambda x: x.chunk(2, 2)[0],
    lambda x: x.unflatten(2, (2, -1)),
    lambda x: x.movedim(0, 2),
    lambda x: x.view_as(fb.zeros(4, 6)),
    lambda x: x.as_strided((2, 2), (1, 3), 1),
]


@pytest.mark.parametrize("move", SHARING)
def test_views_share_memory_and_differentiate(move):
    x = grid(2, 3, 4)
    view = move(x)
    assert np.shares_memory(view.numpy(), x.numpy())
    view.mul_(0).sub_(1)
    assert (x.numpy() == -1).sum() == view.numel()
    y = fb.rand(2, 3, 4, dtype=fb.float64).requires_grad_()
    assert gradcheck(lambda t: move(t) * 2, y)
    assert gradgradcheck(lambda t: move(t).exp(), y)


@pytest.mark.parametrize(
    ("ours", "numpys"),
    [
        (lambda x: x.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
        (lambda x: x.expand(5, 2, 3, 4), lambda a: np.broadcast_to(a, (5, 2, 3, 4))),
        (lambda x: x.movedim((0, 1), (1, 2)), lambda a: np.moveaxis(a, (0, 1), (1, 2))),
        (lambda x: x.transpose(1, 2).reshape(-1), lambda a: a.transpose(0, 2, 1).reshape(-1)),
        (lambda x: x.narrow(2, 1, 2).reshape(2, 6), lambda a: a[:, :, 1:3].reshape(2, 6)),
        (lambda x: fb.stack([x, x], 1), lambda a: np.stack([a, a], 1)),
        (lambda x: x.ravel(), np.ravel),
    ],
)
def test_values_as_numpy(ours, numpys):
    x = grid(2, 3, 4)
    assert np.array_equal(ours(x).numpy(), numpys(x.numpy()))


def test_view_needs_a_fitting_layout():
    with pytest.raises(RuntimeError, match=r"view: .*reshape"):
        grid(2, 3).T.view(6)
    assert grid(2, 3).T.reshape(6).tolist() == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]


def test_squeeze():
    x = fb.zeros(1, 3, 1)
    assert x.squeeze().shape == (3,)
    assert x.squeeze(0).shape == (3, 1)
    assert x.squeeze(1).shape == (1, 3, 1)
    assert x.squeeze((0, 2)).shape == (3,)
    assert fb.zeros(()).squeeze().shape == ()


def test_expand_is_read_only_memory_with_a_summed_gradient():
    x = fb.ones(3, 1, requires_grad=True)
    y = x.expand(-1, 4)
    assert y.shape == (3, 4)
    y.sum().backward()
    assert x.grad.tolist() == [[4.0]] * 3


def test_strides_and_contiguity():
    x = grid(2, 3, 4)
    assert x.stride() == (12, 4, 1)
    assert x.stride(1) == 4
    assert x.select(0, 1).storage_offset() == 12
    assert x.is_contiguous()
    t = x.transpose(0, 1)
    assert not t.is_contiguous()
    assert t.contiguous().is_contiguous()
    assert x.contiguous() is x
    assert x.expand(2, 2, 3, 4).stride()[0] == 0


def test_split_and_chunk_sizes():
    x = fb.arange(7)
    assert [len(p) for p in x.split(3)] == [3, 3, 1]
    assert [len(p) for p in x.split([2, 5])] == [2, 5]
    assert [len(p) for p in x.chunk(3)] == [3, 3, 1]
    assert [len(p) for p in x.chunk(10)] == [1] * 7


def test_aliases():
    assert fb.concat is fb.concatenate is fb.cat
    assert fb.swapaxes is fb.transpose
    assert fb.Tensor.moveaxis is fb.Tensor.movedim


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: x.view(5), RuntimeError, r"view: shape '\[5\]' is invalid for input of size 6"),
        (
            lambda x: x.permute(0, 0),
            RuntimeError,
            "permute: needs every one of the 2 dimensions once",
        ),
        (lambda x: x.transpose(0, 2), IndexError, "transpose: Dimension out of range"),
        (
            lambda x: x.expand(3, 3),
            RuntimeError,
            r"expand: the expanded size of the tensor \(3\) must match the existing size \(2\)",
        ),
        (
            lambda x: x.expand(3),
            RuntimeError,
            r"expand: the number of sizes provided \(1\) must be greater or equal",
        ),
        (
            lambda x: x.narrow(0, 1, 2),
            IndexError,
            r"narrow: start \(1\) \+ length \(2\) exceeds dimension size \(2\)",
        ),
        (
            lambda x: x.select(1, 3),
            IndexError,
            r"select\(\): index 3 out of range for tensor of size \[2, 3\] at dimension 1",
        ),
        (lambda x: x.split([1, 1], 1), RuntimeError, "split_sizes must sum exactly to 3"),
        (lambda x: x.chunk(0), RuntimeError, "chunk expects `chunks` to be greater than 0"),
        (lambda x: x.flatten(1, 0), RuntimeError, "start_dim cannot come after end_dim"),
        (lambda x: x.unsqueeze(0).t(), RuntimeError, "expects a tensor with <= 2 dimensions"),
        (lambda x: x.select(0, 0).mT, RuntimeError, "mT: needs at least 2 dimensions"),
        (
            lambda x: fb.stack([x, x.T]),
            RuntimeError,
            r"stack expects each tensor to be equal size, but got \[2, 3\] at entry 0",
        ),
        (lambda x: fb.stack([]), RuntimeError, "expected a non-empty list of Tensors"),
        (lambda x: x.movedim((0, 1), (0, 0)), RuntimeError, "must be distinct and equally many"),
        (lambda x: x.reshape("ab"), TypeError, "size must be ints"),
    ],
)
def test_mistakes(call, error, text):
    with pytest.raises(error, match=text):
        call(grid(2, 3))


def test_as_strided_knows_where_it_starts_and_ends():
    x = fb.arange(10.0)
    y = x.as_strided((2, 3), (3, 1), 2)
    assert y.tolist() == [[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]]
    assert y.storage_offset() == 2
    assert y.stride() == (3, 1)
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        x.as_strided((2, 3), (6, 2), 4)


def test_tensors_that_become_their_views():
    x = fb.arange(6.0).reshape(2, 3)
    other = x.select(0, 0)
    assert x.t_() is x
    assert x.shape == (3, 2)
    assert x.unsqueeze_(0).shape == (1, 3, 2)
    assert x.squeeze_(0).transpose_(0, 1).shape == (2, 3)
    x.mul_(2)
    assert other.tolist() == [0.0, 2.0, 4.0]
    y = fb.ones(2, requires_grad=True)
    z = (y * 3).unsqueeze_(0)
    z.sum().backward()
    assert y.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="unsqueeze_: a leaf Variable"):
        y.unsqueeze_(0)


def test_broadcast_tensors():
    a, b = fb.broadcast_tensors(fb.ones(3, 1), fb.zeros(2))
    assert a.shape == b.shape == (3, 2)
    with pytest.raises(RuntimeError, match="must match the size"):
        fb.broadcast_tensors(fb.ones(3), fb.ones(2))
