"""cross_entropy and nll_loss."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import functional as F

rng = np.random.default_rng(2)


def log_softmax(x):
    z = x - x.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def reference(x, target, weight=None, ignore=-100, smoothing=0.0):
    """Per-element losses and weights of (N, C, ...) logits."""
    logp = log_softmax(x)
    c = x.shape[1]
    w = np.ones(c) if weight is None else weight
    keep = target != ignore
    safe = np.where(keep, target, 0)
    hard = -np.take_along_axis(logp, safe[:, None], 1)[:, 0] * w[safe]
    soft = -(logp * w.reshape(-1, *(1,) * (x.ndim - 2))).sum(1)
    loss = np.where(keep, hard * (1 - smoothing) + soft * smoothing / c, 0)
    return loss, np.where(keep, w[safe], 0)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize(
    "options", [{}, {"weight": True}, {"label_smoothing": 0.1}, {"ignore_index": 1}]
)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_against_the_definition(shape, options, reduction):
    x = rng.normal(size=shape)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    target.flat[0] = 0
    weight = rng.uniform(0.5, 1, shape[1]) if options.get("weight") else None
    kwargs = {k: v for k, v in options.items() if k != "weight"}
    loss, w = reference(
        x, target, weight, options.get("ignore_index", -100), options.get("label_smoothing", 0.0)
    )
    wanted = {"mean": loss.sum() / w.sum(), "sum": loss.sum(), "none": loss}[reduction]
    given = None if weight is None else fb.tensor(weight)
    tensor = fb.tensor(x, requires_grad=True)
    got = F.cross_entropy(tensor, fb.tensor(target), given, reduction=reduction, **kwargs)
    np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-10)
    got.sum().backward()
    eps = 1e-6
    for at in list(np.ndindex(*shape))[:6]:
        hi, lo = x.copy(), x.copy()
        hi[at] += eps
        lo[at] -= eps
        a, _ = reference(
            hi,
            target,
            weight,
            options.get("ignore_index", -100),
            options.get("label_smoothing", 0.0),
        )
        b, _ = reference(
            lo,
            target,
            weight,
            options.get("ignore_index", -100),
            options.get("label_smoothing", 0.0),
        )
        slope = (a.sum() - b.sum()) / (2 * eps) / (w.sum() if reduction == "mean" else 1)
        assert tensor.grad[at].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_it_is_log_softmax_and_nll():
    x, t = fb.tensor(rng.normal(size=(4, 3)).astype("f")), fb.tensor([0, 2, 1, 1])
    pair = nn.NLLLoss()(nn.LogSoftmax(dim=1)(x), t)
    assert nn.CrossEntropyLoss()(x, t).item() == pytest.approx(pair.item(), rel=1e-6)


def test_one_node():
    x = fb.zeros(2, 3, requires_grad=True)
    assert F.cross_entropy(x, fb.tensor([0, 1])).grad_fn.name() == "NllLossBackward0"


def test_unbatched():
    assert F.cross_entropy(fb.zeros(4), fb.tensor(2)).item() == pytest.approx(np.log(4))


def test_probabilities():
    x, p = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), 4)
    got = F.cross_entropy(fb.tensor(x), fb.tensor(p))
    assert got.item() == pytest.approx(-(p * log_softmax(x)).sum() / 4)
    smooth = p * 0.8 + 0.2 / 3
    got = F.cross_entropy(fb.tensor(x), fb.tensor(p), label_smoothing=0.2)
    assert got.item() == pytest.approx(-(smooth * log_softmax(x)).sum() / 4)


def test_huge_logits_stay_finite():
    x = fb.tensor([[1e4, -1e4]], requires_grad=True)
    loss = F.cross_entropy(x, fb.tensor([0]))
    loss.backward()
    assert loss.item() == 0
    assert x.grad.tolist() == [[0, 0]]


def test_ignored_targets():
    x = fb.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    F.cross_entropy(x, fb.tensor([-100, 1])).backward()
    assert x.grad[0].tolist() == [0, 0]
    assert F.cross_entropy(x, fb.tensor([-100, -100])).isnan().item()


def test_second_derivative():
    x = fb.tensor([[0.3, -0.2, 0.5]], dtype=fb.float64, requires_grad=True)
    (g,) = fb.autograd.grad(F.cross_entropy(x, fb.tensor([1])), x, create_graph=True)
    (h,) = fb.autograd.grad(g[0, 0], x)
    p = np.exp(log_softmax(x.detach().numpy()))[0]
    np.testing.assert_allclose(h.numpy()[0], p[0] * (np.eye(3)[0] - p), rtol=1e-10)


def test_bad_targets():
    x = fb.zeros(2, 3)
    with pytest.raises(
        IndexError,
        match="Target 3 is out of bounds: classes are 0 to 2.*Hint: number classes from 0",
    ):
        F.cross_entropy(x, fb.tensor([0, 3]))
    with pytest.raises(
        IndexError, match="Target -1 is out of bounds(.|\n)*in module CrossEntropyLoss"
    ):
        nn.CrossEntropyLoss()(x, fb.tensor([0, -1]))
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        F.cross_entropy(fb.zeros(2, 3, 2), fb.full((2, 2), 5))
    with pytest.raises(
        RuntimeError, match=r"expected scalar type Long(.|\n)*Hint: target.long\(\)"
    ):
        F.cross_entropy(x, fb.tensor([0.0, 1.0]))
    with pytest.raises(
        ValueError, match=r"Expected input batch_size \(2\) to match target batch_size \(3\)"
    ):
        F.cross_entropy(x, fb.tensor([0, 1, 2]))
    with pytest.raises(
        RuntimeError, match=r"multi-target not supported(.|\n)*Hint: target.squeeze\(1\)"
    ):
        F.cross_entropy(x, fb.tensor([[0], [1]]))
    with pytest.raises(
        RuntimeError, match="weight tensor should be defined either for all 3 classes"
    ):
        F.cross_entropy(x, fb.tensor([0, 1]), fb.ones(2))
    with pytest.raises(RuntimeError, match="label_smoothing must be between 0.0 and 1.0. Got: 2"):
        F.cross_entropy(x, fb.tensor([0, 1]), label_smoothing=2)
    with pytest.raises(RuntimeError, match="input needs a class dimension"):
        F.cross_entropy(fb.tensor(1.0), fb.tensor(0))
