"""Functions of nn.functional at flambeau's root, where some have other arguments."""

import importlib
import inspect

import numpy as np
import pytest

import flambeau as fb
from flambeau._lazy import FORWARDED
from flambeau.errors import ArgumentError, ShapeError
from flambeau.nn import functional as F
from flambeau.nn.functional import _root
from flambeau.nn.functional._reduction import ReductionError

SAME = [n for n, place in FORWARDED.items() if place[0] == "flambeau.nn.functional"]
OTHER = [n for n, place in FORWARDED.items() if place[0] == "flambeau.nn.functional._root"]
REDUCTIONS = {0: "none", 1: "mean", 2: "sum"}


def test_every_forwarded_name_is_there():
    for name, (module, attribute) in FORWARDED.items():
        assert getattr(fb, name) is getattr(importlib.import_module(module), attribute)
        assert name in dir(fb)


@pytest.mark.parametrize("name", SAME)
def test_the_same_function(name):
    assert getattr(fb, name) is getattr(F, name)


def rows(*shape, seed=0):
    return fb.tensor(np.random.default_rng(seed).standard_normal(shape))


class TestLosses:
    """The root's are called by position, those of nn.functional by name."""

    signs = fb.tensor([1.0, -1.0, 1.0, -1.0], dtype=fb.float64)

    @pytest.mark.parametrize("number", REDUCTIONS)
    def test_each(self, number):
        word = REDUCTIONS[number]
        a, b, c = (rows(4, 3, seed=s) for s in range(3))
        p, w = b.sigmoid(), c.exp()[0]
        u, v = a[:, 0], b[:, 0]
        log_probs = rows(6, 2, 5).log_softmax(-1)
        targets, inputs, labels = fb.tensor([[1, 2], [3, 3]]), fb.tensor([6, 6]), fb.tensor([2, 1])
        pairs = [
            (fb.binary_cross_entropy_with_logits(a, p, w, w, number),
             F.binary_cross_entropy_with_logits(a, p, w, pos_weight=w, reduction=word)),
            (fb.cosine_embedding_loss(a, b, self.signs, 0.2, number),
             F.cosine_embedding_loss(a, b, self.signs, margin=0.2, reduction=word)),
            (fb.ctc_loss(log_probs, targets, inputs, labels, 0, number, True),
             F.ctc_loss(log_probs, targets, inputs, labels, reduction=word, zero_infinity=True)),
            (fb.hinge_embedding_loss(u, self.signs, 0.5, number),
             F.hinge_embedding_loss(u, self.signs, margin=0.5, reduction=word)),
            (fb.kl_div(a, b, number, log_target=True),
             fb.exp(b) * (b - a) if number == 0 else getattr(fb.exp(b) * (b - a), word)()),
            (fb.margin_ranking_loss(u, v, self.signs, 0.1, number),
             F.margin_ranking_loss(u, v, self.signs, margin=0.1, reduction=word)),
            (fb.poisson_nll_loss(a, p, False, True, 1e-6, number),
             F.poisson_nll_loss(a, p, log_input=False, full=True, eps=1e-6, reduction=word)),
            (fb.triplet_margin_loss(a, b, c, 1.0, 2.0, 1e-6, True, number),
             F.triplet_margin_loss(a, b, c, swap=True, reduction=word)),
        ]  # fmt: skip
        for found, expected in pairs:
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)

    def test_defaults(self):
        a, b = rows(4), rows(4, seed=1)
        expected = np.maximum(0, -self.signs.numpy() * (a - b).numpy()).mean()
        np.testing.assert_allclose(fb.margin_ranking_loss(a, b, self.signs).item(), expected)
        t = b.sigmoid()
        expected = (t * (t.log() - a)).mean().item()  # without the warning of nn.functional
        np.testing.assert_allclose(fb.kl_div(a, t).item(), expected)

    @pytest.mark.parametrize("reduction", ["mean", 3, -1, None], ids=repr)
    def test_other_reductions(self, reduction):
        match = r"kl_div: reduction must be 0 \(none\), 1 \(mean\) or 2 \(sum\), got"
        with pytest.raises(ReductionError, match=match):
            fb.kl_div(rows(2), rows(2), reduction)

    def test_other_arguments(self):
        with pytest.raises(
            ArgumentError, match=r"poisson_nll_loss\(\): missing a required argument"
        ):
            fb.poisson_nll_loss(rows(2), rows(2))
        with pytest.raises(
            ArgumentError, match=r"kl_div\(\): too many positional .* Hint: flambeau.nn"
        ):
            fb.kl_div(rows(2), rows(2), 1, True)

    def test_under_autocast(self):
        x = fb.ones(2, dtype=fb.float16)
        with fb.autocast("cpu", dtype=fb.float16):
            assert fb.kl_div(x, x).dtype is fb.float32


class TestDropout:
    @pytest.mark.parametrize(
        "name", ["dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"]
    )
    def test_as_in_functional(self, name):
        plain = {"feature_dropout": F.dropout1d}.get(name) or getattr(F, name)
        x = rows(5, 4, 3)
        fb.manual_seed(1)
        expected = plain(x, 0.5, True)
        fb.manual_seed(1)
        assert getattr(fb, name)(x, 0.5, True).tolist() == expected.tolist() != x.tolist()
        assert getattr(fb, name)(x, p=0.5, train=False) is x
        fb.manual_seed(1)
        assert getattr(fb, f"{name}_")(x, 0.5, True) is x and x.tolist() == expected.tolist()

    def test_whole_channels(self):
        y = fb.feature_dropout(fb.ones(20, 10, 3), 0.5, True)
        assert (y == y[:, :, :1]).all() and 0 < (y == 0).double().mean() < 1
        with pytest.raises(ShapeError, match=r"feature_dropout: needs \(N, C, ...\), got \(3,\)"):
            fb.feature_dropout(fb.ones(3), 0.5, True)


class TestNorms:
    def test_weights_come_first(self):
        x, w, b = rows(3, 4, 5), rows(4), rows(4, seed=1)
        mean, var = rows(4, seed=2), rows(4, seed=3).exp()
        found = fb.batch_norm(x, w, b, mean, var, False, 0.1, 1e-5, True)
        shape = (1, 4, 1)
        expected = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        expected = expected * w.view(shape) + b.view(shape)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-10)
        found = fb.instance_norm(x, w, b, None, None, True, 0.1, 1e-5, True)
        np.testing.assert_array_equal(found.numpy(), F.instance_norm(x, None, None, w, b).numpy())

    def test_a_switch_comes_last(self):
        x, w, b = rows(3, 4), rows(4), rows(4, seed=1)
        found = fb.layer_norm(x, (4,), w, b, 1e-3, False)
        assert found.tolist() == F.layer_norm(x, (4,), w, b, 1e-3).tolist()
        found = fb.group_norm(x, 2, w, b, 1e-3, False)
        assert found.tolist() == F.group_norm(x, 2, w, b, 1e-3).tolist()


def test_embedding_takes_the_weight_first():
    weight = rows(5, 3).requires_grad_()
    found = fb.embedding(weight, fb.tensor([4, 1]), 1)
    assert found.tolist() == [weight[4].tolist(), weight[1].tolist()]
    found.sum().backward()
    assert weight.grad.sum(1).tolist() == [0, 0, 0, 0, 3]
    weight.grad = None
    fb.embedding(weight, fb.tensor([4])).sum().backward()  # -1 is no row here
    assert weight.grad.sum(1).tolist() == [0, 0, 0, 0, 3]


def test_pooling_with_positions():
    values, positions = fb.adaptive_max_pool1d(fb.tensor([[[1.0, 5.0, 2.0, 3.0]]]), 2)
    assert values.tolist() == [[[5, 3]]] and positions.tolist() == [[[1, 3]]]


def test_grids():
    theta = rows(1, 2, 3)
    grid = fb.affine_grid_generator(theta, (1, 1, 4, 4), True)
    assert grid.tolist() == F.affine_grid(theta, (1, 1, 4, 4), align_corners=True).tolist()
    x = rows(1, 2, 5, 5)
    for i, mode in enumerate(("bilinear", "nearest", "bicubic")):
        for j, padding in enumerate(("zeros", "border", "reflection")):
            found = fb.grid_sampler(x, grid, i, j, False)
            expected = F.grid_sample(x, grid, mode, padding, align_corners=False)
            assert found.tolist() == expected.tolist()
    assert fb.grid_sampler_2d is fb.grid_sampler_3d is fb.grid_sampler
    with pytest.raises(ArgumentError, match="must be 0, 1 or 2, got 3 and 0"):
        fb.grid_sampler(x, grid, 3, 0, False)


def test_their_signatures_can_be_read():
    assert set(OTHER) <= set(dir(_root))
    assert str(inspect.signature(fb.kl_div)).startswith(
        "(input: 'Tensor', target: 'Tensor', reduction"
    )
    assert fb.kl_div.__doc__.startswith("`nn.functional.kl_div`, with a number as reduction")
