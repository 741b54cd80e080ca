"""Linear, Bilinear, Identity, Flatten and Unflatten."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F

rng = np.random.default_rng(0)


def numeric(fn, arrays, i, eps=1e-6):
    """Central differences of the sum of fn in float64."""
    grad = np.zeros_like(arrays[i])
    for at in np.ndindex(*arrays[i].shape):
        hi, lo = [a.copy() for a in arrays], [a.copy() for a in arrays]
        hi[i][at] += eps
        lo[i][at] -= eps
        grad[at] = (fn(*hi) - fn(*lo)) / (2 * eps)
    return grad


@pytest.mark.parametrize("shape", [(5, 3), (3,), (2, 4, 3), (0, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(shape, bias):
    arrays = [rng.normal(size=shape), rng.normal(size=(4, 3)), rng.normal(size=4)][
        : 3 if bias else 2
    ]

    def reference(*a):
        return (np.tanh(a[0] @ a[1].T + (a[2] if bias else 0))).sum()

    tensors = [fb.tensor(a, requires_grad=True) for a in arrays]
    y = F.linear(*tensors)
    assert y.shape == (*shape[:-1], 4)
    y.tanh().sum().backward()
    for i, t in enumerate(tensors):
        np.testing.assert_allclose(
            t.grad.numpy(), numeric(reference, arrays, i), rtol=1e-6, atol=1e-8
        )


def test_the_few_rows_path_agrees():
    x, w, b = (rng.normal(size=s).astype("f") for s in ((8, 20), (64, 20), (64,)))
    y = F.linear(*map(fb.tensor, (x, w, b)))
    np.testing.assert_allclose(y.numpy(), x @ w.T + b, rtol=1e-5, atol=1e-5)
    assert y.is_contiguous()


def test_second_derivative():
    x = fb.tensor([[1.0, 2.0]], dtype=fb.float64, requires_grad=True)
    w = fb.tensor([[3.0, 4.0]], dtype=fb.float64, requires_grad=True)
    (g,) = fb.autograd.grad((F.linear(x, w) ** 3).sum(), w, create_graph=True)
    g.sum().backward()
    # d/dw of sum_i 3 (w.x)^2 x_i = 6 (w.x) (x1 + x2) x, and w.x = 11
    assert w.grad.tolist() == [[6 * 11 * 3 * 1.0, 6 * 11 * 3 * 2.0]]


def test_one_node():
    layer = nn.Linear(2, 2)
    assert layer(fb.ones(1, 2)).grad_fn.name() == "AddmmBackward0"


def test_initial_distribution():
    fb.manual_seed(0)
    layer = nn.Linear(100, 50)
    bound = 1 / math.sqrt(100)
    for p in (layer.weight, layer.bias):
        values = p.detach().numpy()
        assert np.abs(values).max() <= bound
        assert abs(values.std() - bound / math.sqrt(3)) < bound * 0.15


def test_printing():
    assert repr(nn.Linear(3, 2, bias=False)) == "Linear(in_features=3, out_features=2, bias=False)"
    assert (
        repr(nn.Bilinear(1, 2, 3))
        == "Bilinear(in1_features=1, in2_features=2, out_features=3, bias=True)"
    )
    assert repr(nn.Flatten(0, 1)) == "Flatten(start_dim=0, end_dim=1)"
    assert repr(nn.Unflatten(1, (2, 5))) == "Unflatten(dim=1, unflattened_size=(2, 5))"
    assert repr(nn.Identity(3, x=1)) == "Identity()"


def test_wrong_width_names_rule_numbers_and_fix():
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied") as caught:
        nn.Linear(10, 5)(fb.randn(3, 4))
    text = str(caught.value)
    for part in (
        "(3x4 and 10x5)", "needs input.shape[-1] == in_features, expected 10, got 4", "input: (3, 4)",
        "Hint: Linear(4, 5)", "in module Linear(10->5)",
    ):  # fmt: skip
        assert part in text


def test_unflattened_image_gets_the_flatten_hint():
    with pytest.raises(ValueError, match=r"Hint: flatten the input first: x.flatten\(1\)"):
        nn.Linear(12, 5)(fb.ones(2, 3, 4))


def test_other_wrong_operands():
    with pytest.raises(RuntimeError, match="bias must have shape"):
        F.linear(fb.ones(2, 3), fb.ones(4, 3), fb.ones(3))
    with pytest.raises(RuntimeError, match="same dtype"):
        nn.Linear(2, 2)(fb.ones(1, 2, dtype=fb.float64))
    with pytest.raises(RuntimeError, match="bilinear: needs input1"):
        F.bilinear(fb.ones(2, 3), fb.ones(3, 3), fb.ones(1, 3, 3))


def test_bilinear():
    x, y, w, b = (rng.normal(size=s) for s in ((4, 2), (4, 3), (5, 2, 3), (5,)))
    tensors = [fb.tensor(a, requires_grad=True) for a in (x, y, w, b)]
    out = F.bilinear(*tensors)
    np.testing.assert_allclose(out.detach().numpy(), np.einsum("ni,oij,nj->no", x, w, y) + b)
    out.sum().backward()
    np.testing.assert_allclose(tensors[0].grad.numpy(), np.einsum("oij,nj->ni", w, y))
    assert nn.Bilinear(2, 3, 4)(fb.ones(6, 2), fb.ones(6, 3)).shape == (6, 4)


def test_flatten_and_unflatten():
    assert nn.Flatten()(fb.ones(2, 3, 4)).shape == (2, 12)
    assert nn.Flatten(0, 1)(fb.ones(2, 3, 4)).shape == (6, 4)
    assert nn.Unflatten(1, (2, -1))(fb.ones(3, 10)).shape == (3, 2, 5)
    with pytest.raises(
        TypeError,
        match="unflattened_size must be tuple of ints, but found element of type str at pos 0",
    ):
        nn.Unflatten(1, ("a",))
    with pytest.raises(TypeError, match="unflattened_size must be a tuple or list"):
        nn.Unflatten(1, 3)
