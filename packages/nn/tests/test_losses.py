"""MSELoss, L1Loss, BCELoss, BCEWithLogitsLoss: values, gradients, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F

rng = np.random.default_rng(1)


def check(fn, reference, arrays, eps=1e-6):
    """Values against NumPy, gradients against central differences, in float64."""
    tensors = [fb.tensor(a, requires_grad=True) for a in arrays]
    y = fn(*tensors)
    np.testing.assert_allclose(y.detach().numpy(), reference(*arrays), rtol=1e-10, atol=1e-12)
    y.sum().backward()
    for i, t in enumerate(tensors):
        grad = np.zeros_like(arrays[i])
        for at in np.ndindex(*arrays[i].shape):
            hi, lo = [a.copy() for a in arrays], [a.copy() for a in arrays]
            hi[i][at] += eps
            lo[i][at] -= eps
            grad[at] = (np.sum(reference(*hi)) - np.sum(reference(*lo))) / (2 * eps)
        np.testing.assert_allclose(t.grad.numpy(), grad, rtol=1e-5, atol=1e-7)


REDUCE = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
class TestReductions:
    def test_mse(self, reduction):
        arrays = rng.normal(size=(2, 3, 4))
        check(
            lambda x, t: F.mse_loss(x, t, reduction=reduction),
            lambda x, t: REDUCE[reduction]((x - t) ** 2),
            list(arrays),
        )

    def test_l1(self, reduction):
        arrays = rng.normal(size=(2, 3, 4))
        check(
            lambda x, t: F.l1_loss(x, t, reduction=reduction),
            lambda x, t: REDUCE[reduction](np.abs(x - t)),
            list(arrays),
        )

    def test_bce(self, reduction):
        def reference(p, t):
            return REDUCE[reduction](-(t * np.log(p) + (1 - t) * np.log(1 - p)))

        check(
            lambda p, t: F.binary_cross_entropy(p, t, reduction=reduction),
            reference,
            list(rng.uniform(0.1, 0.9, (2, 3, 4))),
        )

    def test_bce_with_logits(self, reduction):
        def reference(x, t):
            p = 1 / (1 + np.exp(-x))
            return REDUCE[reduction](-(t * np.log(p) + (1 - t) * np.log(1 - p)))

        arrays = [rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))]
        check(
            lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=reduction),
            reference,
            arrays,
        )


def test_weights():
    x, t, w = rng.uniform(0.1, 0.9, (3, 4)), rng.uniform(size=(3, 4)), rng.uniform(size=(3, 4))
    a, b, c = map(fb.tensor, (x, t, w))
    bce = -(t * np.log(x) + (1 - t) * np.log(1 - x))
    assert F.binary_cross_entropy(a, b, c).item() == pytest.approx((bce * w).mean())
    assert F.mse_loss(a, b, weight=c).item() == pytest.approx(((x - t) ** 2 * w).sum() / w.sum())
    assert F.l1_loss(a, b, weight=c, reduction="sum").item() == pytest.approx(
        (np.abs(x - t) * w).sum()
    )
    logits = np.log(x / (1 - x))
    got = F.binary_cross_entropy_with_logits(fb.tensor(logits), b, pos_weight=c)
    assert got.item() == pytest.approx((-(w * t * np.log(x) + (1 - t) * np.log(1 - x))).mean())


def test_second_derivatives():
    x = fb.tensor([0.3, 0.8], dtype=fb.float64, requires_grad=True)
    t = fb.tensor([1.0, 0.0], dtype=fb.float64)
    for fn, second in (
        (F.mse_loss, [1.0, 1.0]),
        (F.binary_cross_entropy, [0.5 / 0.09, 0.5 / 0.04]),
    ):
        (g,) = fb.autograd.grad(fn(x, t), x, create_graph=True)
        (gg,) = fb.autograd.grad(g.sum(), x)
        np.testing.assert_allclose(gg.numpy(), second)


def test_logits_stay_finite():
    loss = F.binary_cross_entropy_with_logits(fb.tensor([100.0, -100.0]), fb.tensor([0.0, 1.0]))
    assert loss.item() == 100
    assert F.binary_cross_entropy(fb.tensor([0.0, 1.0]), fb.tensor([1.0, 0.0])).item() == 100


def test_one_node_each():
    p = fb.tensor([0.5], requires_grad=True)
    assert F.mse_loss(p, fb.ones(1)).grad_fn.name() == "MseLossBackward0"
    assert F.binary_cross_entropy(p, fb.ones(1)).grad_fn.name() == "BinaryCrossEntropyBackward0"


def test_silent_broadcasting_is_refused():
    pred, target = fb.ones(3, 1), fb.ones(3)
    for loss in (nn.MSELoss(), nn.L1Loss()):
        with pytest.raises(
            ValueError,
            match=r"must have the same shape, got \(3, 1\) float32 cpu and \(3,\) float32 cpu",
        ):
            loss(pred, target)
    with pytest.raises(RuntimeError, match=r"Hint: target.unsqueeze\(-1\), or input.squeeze\(-1\)"):
        F.mse_loss(pred, target)
    with pytest.raises(RuntimeError, match=r"Hint: target.squeeze\(-1\)"):
        F.mse_loss(target, pred)
    assert nn.MSELoss(broadcast=True)(pred, target).item() == 0
    assert nn.L1Loss(broadcast=True, reduction="none")(pred, target).shape == (3, 3)


def test_bad_values():
    with pytest.raises(
        RuntimeError, match=r"all elements of input should be between 0 and 1, got -0.5 to 0.5"
    ):
        F.binary_cross_entropy(fb.tensor([-0.5, 0.5]), fb.tensor([0.0, 1.0]))
    with pytest.raises(
        RuntimeError, match=r"between 0 and 1, got 0.5 to 2 (.|\n)*in module BCELoss"
    ):
        nn.BCELoss(reduction="none")(fb.tensor([2.0, 0.5]), fb.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="binary_cross_entropy: target contains nan"):
        F.binary_cross_entropy(fb.tensor([0.5]), fb.tensor([float("nan")]))
    with pytest.raises(ValueError, match="mse_loss: target contains nan"):
        F.mse_loss(fb.tensor([0.5]), fb.tensor([float("nan")]))
    assert F.mse_loss(fb.tensor([float("nan")]), fb.ones(1)).isnan().item()


def test_bad_arguments():
    with pytest.raises(ValueError, match="'middle' is not a valid value for reduction"):
        F.mse_loss(fb.ones(1), fb.ones(1), reduction="middle")
    with pytest.raises(ValueError, match="binary_cross_entropy: Using a target size"):
        F.binary_cross_entropy(fb.ones(2), fb.ones(2, 1))
    with pytest.raises(ValueError, match="must be the same as input size"):
        F.binary_cross_entropy_with_logits(fb.ones(2), fb.ones(2, 1))
    with pytest.raises(
        TypeError, match=r"must have one dtype(.|\n)*Hint: target.to\(input.dtype\)"
    ):
        F.binary_cross_entropy(fb.ones(2), fb.ones(2, dtype=fb.int64))
    with pytest.raises(ValueError, match="Weights and input must have the same size"):
        F.mse_loss(fb.ones(2), fb.ones(2), weight=fb.ones(3))


def test_legacy_arguments():
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert F.mse_loss(fb.zeros(2), fb.ones(2), size_average=False).item() == 2
    with pytest.warns(UserWarning, match="please use reduction='none' instead"):
        assert nn.MSELoss(reduce=False).reduction == "none"
    with pytest.warns(UserWarning, match="please use reduction='mean' instead"):
        assert nn.MSELoss(size_average=True).reduction == "mean"


def test_state():
    assert list(nn.BCELoss(weight=fb.ones(2)).state_dict()) == ["weight"]
    assert repr(nn.MSELoss()) == "MSELoss()"
