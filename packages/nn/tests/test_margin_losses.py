"""The remaining losses: values against formulas, errors."""

import math
import warnings

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck
from flambeau.nn import functional as F

rng = np.random.default_rng(3)


def given(*arrays):
    return [fb.tensor(np.asarray(a)) for a in arrays]


def value(t):
    return t.item()


def test_regression():
    x, t = rng.normal(size=(2, 4, 3)) * 2
    d = np.abs(x - t)
    huber = np.where(d < 0.7, 0.5 * d * d, 0.7 * (d - 0.35))
    assert value(F.huber_loss(*given(x, t), delta=0.7)) == pytest.approx(huber.mean())
    smooth = np.where(d < 0.7, 0.5 * d * d / 0.7, d - 0.35)
    assert value(F.smooth_l1_loss(*given(x, t), beta=0.7, reduction="sum")) == pytest.approx(
        smooth.sum()
    )
    assert value(F.smooth_l1_loss(*given(x, t), beta=0)) == pytest.approx(d.mean())
    var = rng.uniform(0.5, 2, (4, 3))
    gauss = 0.5 * (np.log(var) + (x - t) ** 2 / var)
    assert value(F.gaussian_nll_loss(*given(x, t, var))) == pytest.approx(gauss.mean())
    assert value(F.gaussian_nll_loss(*given(x, t, var), full=True)) == pytest.approx(
        gauss.mean() + 0.5 * math.log(2 * math.pi)
    )
    counts = rng.poisson(3, (4, 3)).astype(float)
    assert value(F.poisson_nll_loss(*given(x, counts))) == pytest.approx(
        (np.exp(x) - counts * x).mean()
    )


def test_divergence():
    p, q = rng.dirichlet(np.ones(4), (2, 3))
    wanted = (p * (np.log(p) - np.log(q))).sum()
    assert value(F.kl_div(*given(np.log(q), p), reduction="batchmean")) == pytest.approx(wanted / 3)
    assert value(
        F.kl_div(*given(np.log(q), np.log(p)), reduction="sum", log_target=True)
    ) == pytest.approx(wanted)
    with pytest.warns(UserWarning, match="'batchmean' divides only by the batch size"):
        assert value(F.kl_div(*given(np.log(q), p))) == pytest.approx(wanted / 12)


def test_margins():
    x, y, t = rng.normal(size=6), rng.normal(size=6), rng.choice([-1, 1], 6)
    assert value(F.margin_ranking_loss(*given(x, y, t), 0.3)) == pytest.approx(
        np.maximum(0, -t * (x - y) + 0.3).mean()
    )
    assert value(F.soft_margin_loss(*given(x, t))) == pytest.approx(np.log1p(np.exp(-t * x)).mean())
    assert value(F.hinge_embedding_loss(*given(x, t))) == pytest.approx(
        np.where(t == 1, x, np.maximum(0, 1 - x)).mean()
    )
    a, b = rng.normal(size=(2, 6, 3))
    cos = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    wanted = np.where(t == 1, 1 - cos, np.maximum(0, cos - 0.1)).mean()
    assert value(F.cosine_embedding_loss(*given(a, b, t), 0.1)) == pytest.approx(wanted)
    c = rng.normal(size=(6, 3))

    def distance(u, v):
        return np.linalg.norm(u - v + 1e-6, axis=1)

    wanted = np.maximum(0, distance(a, b) - np.minimum(distance(a, c), distance(b, c)) + 1).mean()
    assert value(F.triplet_margin_loss(*given(a, b, c), swap=True)) == pytest.approx(wanted)
    assert value(nn.TripletMarginWithDistanceLoss(swap=True)(*given(a, b, c))) == pytest.approx(
        wanted
    )


def test_classes_by_margin():
    x, t = rng.normal(size=(3, 4)), np.array([1, 0, 3])
    wanted = [
        sum(max(0, 1 - x[n, t[n]] + x[n, i]) ** 2 for i in range(4) if i != t[n]) / 4
        for n in range(3)
    ]
    np.testing.assert_allclose(
        F.multi_margin_loss(*given(x, t), p=2, reduction="none").numpy(), wanted
    )
    labels = np.array([[3, 0, -1, 1], [1, -1, 2, 2], [0, 1, 2, 3]])
    wanted = []
    for row, full in zip(x, labels):
        mine = list(full[: list(full).index(-1)]) if -1 in full else list(full)
        wanted.append(
            sum(max(0, 1 - (row[j] - row[i])) for j in mine for i in range(4) if i not in mine) / 4
        )
    np.testing.assert_allclose(
        F.multilabel_margin_loss(*given(x, labels), reduction="none").numpy(), wanted
    )
    hot = rng.integers(0, 2, (3, 4)).astype(float)
    s = 1 / (1 + np.exp(-x))
    wanted = -(hot * np.log(s) + (1 - hot) * np.log(1 - s)).mean(1)
    np.testing.assert_allclose(
        F.multilabel_soft_margin_loss(*given(x, hot), reduction="none").numpy(), wanted
    )


def paths(probs, labels, blank=0):
    """The probability of a label sequence, by all alignments."""
    import itertools

    total = 0.0
    for path in itertools.product(range(probs.shape[1]), repeat=len(probs)):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k != blank] == labels:
            total += np.prod([probs[i, k] for i, k in enumerate(path)])
    return total


def test_ctc():
    logits = rng.normal(size=(4, 2, 3))
    probs = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    wanted = [-np.log(paths(probs[:4, 0], [1, 2])), -np.log(paths(probs[:3, 1], [2, 2]))]
    x = fb.tensor(logits, requires_grad=True)
    targets = fb.tensor([[1, 2], [2, 2]])
    got = F.ctc_loss(F.log_softmax(x, 2), targets, [4, 3], [2, 2], reduction="none")
    np.testing.assert_allclose(got.detach().numpy(), wanted)
    flat = F.ctc_loss(
        F.log_softmax(x, 2), fb.tensor([1, 2, 2, 2]), [4, 3], [2, 2], reduction="mean"
    )
    assert value(flat) == pytest.approx(np.mean(np.array(wanted) / 2))
    assert gradcheck(lambda v: F.ctc_loss(F.log_softmax(v, 2), targets, [4, 3], [2, 2]), (x,))


def test_impossible_alignments():
    x = fb.zeros(2, 1, 3, requires_grad=True)
    args = (fb.tensor([[1, 1]]), [2], [2])
    assert value(F.ctc_loss(x.log_softmax(2), *args, reduction="sum")) == math.inf
    zero = F.ctc_loss(x.log_softmax(2), *args, reduction="sum", zero_infinity=True)
    zero.backward()
    assert value(zero) == 0
    assert not x.grad.numpy().any()


def test_linear_cross_entropy():
    layer = nn.LinearCrossEntropyLoss(4, 3, bias=True)
    x, t = fb.randn(5, 4), fb.tensor([0, 2, 1, 1, 0])
    assert value(layer(x, t)) == pytest.approx(value(F.cross_entropy(layer.linear(x), t)), rel=1e-6)


def test_adaptive_softmax():
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], div_value=2)
    x, t = fb.randn(6, 8), fb.tensor([0, 9, 4, 5, 2, 7])
    everything = layer.log_prob(x)
    np.testing.assert_allclose(np.exp(everything.detach().numpy()).sum(1), 1, rtol=1e-5)
    out, loss = layer(x, t)
    np.testing.assert_allclose(
        out.detach().numpy(), everything.detach().numpy()[np.arange(6), t.numpy()]
    )
    assert value(loss) == pytest.approx(-out.detach().numpy().mean(), rel=1e-6)
    assert layer.predict(x).tolist() == everything.argmax(1).tolist()
    with pytest.raises(
        RuntimeError if False else IndexError, match=r"Target values should be in \[0, 9\]"
    ):
        layer(x, t + 1)
    with pytest.raises(
        ValueError, match="cutoffs should be a sequence of unique, positive integers"
    ):
        nn.AdaptiveLogSoftmaxWithLoss(8, 10, [6, 3])


def test_modules_agree_with_functions():
    x, y, t = fb.randn(6), fb.randn(6), fb.tensor([1, -1, 1, 1, -1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = [
            (nn.HuberLoss(delta=0.5)(x, y), F.huber_loss(x, y, delta=0.5)),
            (nn.SmoothL1Loss(beta=0.5)(x, y), F.smooth_l1_loss(x, y, beta=0.5)),
            (nn.MarginRankingLoss(0.1)(x, y, t), F.margin_ranking_loss(x, y, t, 0.1)),
            (nn.SoftMarginLoss()(x, t), F.soft_margin_loss(x, t)),
            (nn.HingeEmbeddingLoss(2.0)(x, t), F.hinge_embedding_loss(x, t, 2.0)),
            (nn.KLDivLoss()(x, y.abs()), F.kl_div(x, y.abs())),
            (nn.PoissonNLLLoss()(x, y), F.poisson_nll_loss(x, y)),
            (nn.GaussianNLLLoss()(x, y, y.abs()), F.gaussian_nll_loss(x, y, y.abs())),
        ]
    for a, b in pairs:
        assert value(a) == value(b)


def test_errors():
    one, wide = fb.ones(3), fb.ones(3, 1)
    for fn in (F.huber_loss, F.smooth_l1_loss):
        with pytest.raises(ValueError, match="must have the same shape"):
            fn(one, wide)
        assert fn(one, wide, broadcast=True).item() == 0
    with pytest.raises(RuntimeError, match="does not support negative values for beta"):
        F.smooth_l1_loss(one, one, beta=-1)
    with pytest.raises(RuntimeError, match="does not support non-positive values for delta"):
        F.huber_loss(one, one, delta=0)
    with pytest.raises(ValueError, match="var has negative entry/entries"):
        F.gaussian_nll_loss(one, one, -one)
    with pytest.raises(ValueError, match="margin must be greater than 0"):
        F.triplet_margin_loss(wide, wide, wide, margin=0)
    with pytest.raises(RuntimeError, match="All input tensors should have same dimension"):
        F.margin_ranking_loss(one, wide, one)
    with pytest.raises(
        RuntimeError,
        match="0D target tensor expects 1D input tensors|1D target tensor expects 2D input tensors",
    ):
        F.cosine_embedding_loss(one, one, one)
    with pytest.raises(ValueError, match="only p == 1 and p == 2 supported"):
        nn.MultiMarginLoss(p=3)
    with pytest.raises(RuntimeError, match="inconsistent target size"):
        F.multi_margin_loss(wide, fb.tensor([0]))
    with pytest.raises(RuntimeError, match="blank must be in label range, got 7 for 3 classes"):
        F.ctc_loss(fb.zeros(2, 1, 3), fb.tensor([[1]]), [2], [1], blank=7)
    with pytest.raises(
        RuntimeError, match="Expected input_lengths to have value at most 2, but got value 3"
    ):
        F.ctc_loss(fb.zeros(2, 1, 3), fb.tensor([[1]]), [3], [1])
