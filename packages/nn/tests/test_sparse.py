"""Embedding, EmbeddingBag, one_hot."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck
from flambeau.nn import functional as F

rng = np.random.default_rng(0)


def test_rows_and_gradient():
    w = fb.tensor(rng.normal(size=(5, 3)), requires_grad=True)
    index = np.array([[1, 4, 1], [0, 1, 4]])
    y = F.embedding(fb.tensor(index), w)
    np.testing.assert_array_equal(y.detach().numpy(), w.detach().numpy()[index])
    g = rng.normal(size=y.shape)
    y.backward(fb.tensor(g))
    wanted = np.zeros((5, 3))
    np.add.at(wanted, index, g)
    np.testing.assert_allclose(w.grad.numpy(), wanted)


def test_options():
    index = fb.tensor([2, 2, 0])
    w = fb.ones(3, 2, requires_grad=True)
    F.embedding(index, w, padding_idx=0).sum().backward()
    assert w.grad.tolist() == [[0, 0], [0, 0], [2, 2]]
    w.grad = None
    F.embedding(index, w, scale_grad_by_freq=True).sum().backward()
    assert w.grad.tolist() == [[1, 1], [0, 0], [1, 1]]
    big = fb.tensor([[3.0, 4.0], [0.3, 0.4]])
    F.embedding(fb.tensor([0]), big, max_norm=1.0)
    np.testing.assert_allclose(big.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-5)


def test_layer():
    layer = nn.Embedding(10, 3, padding_idx=-1)
    assert layer.padding_idx == 9
    assert layer.weight[9].tolist() == [0, 0, 0]
    assert repr(layer) == "Embedding(10, 3, padding_idx=9)"
    assert layer(fb.zeros(2, 4, dtype=fb.int32)).shape == (2, 4, 3)
    frozen = nn.Embedding.from_pretrained(fb.ones(2, 3))
    assert not frozen.weight.requires_grad


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode):
    w = rng.normal(size=(6, 3))
    index = np.array([1, 2, 4, 5, 3])
    reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
    wanted = np.stack([reduce(w[index[:3]], 0), reduce(w[index[3:]], 0)])
    got = F.embedding_bag(fb.tensor(index), fb.tensor(w), fb.tensor([0, 3]), mode=mode)
    np.testing.assert_allclose(got.numpy(), wanted)
    rows = np.array([[1, 2], [3, 4]])
    got = F.embedding_bag(fb.tensor(rows), fb.tensor(w), mode=mode)
    np.testing.assert_allclose(got.numpy(), reduce(w[rows], 1))
    assert gradcheck(
        lambda t: F.embedding_bag(fb.tensor(rows), t, mode=mode),
        (fb.tensor(w, requires_grad=True),),
    )
    empty = F.embedding_bag(fb.tensor(index), fb.tensor(w), fb.tensor([0, 5]), mode=mode)
    assert empty[1].tolist() == [0, 0, 0]


def test_bag_options():
    w = fb.tensor([[1.0], [2.0], [4.0]])
    scaled = F.embedding_bag(
        fb.tensor([[0, 1]]), w, mode="sum", per_sample_weights=fb.tensor([[10.0, 1.0]])
    )
    assert scaled.tolist() == [[12]]
    assert F.embedding_bag(fb.tensor([[0, 2]]), w, mode="mean", padding_idx=0).tolist() == [[4]]
    assert nn.EmbeddingBag(3, 2, include_last_offset=True)(
        fb.tensor([0, 1, 2]), fb.tensor([0, 1, 3])
    ).shape == (2, 2)


def test_one_hot():
    assert F.one_hot(fb.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert F.one_hot(fb.tensor(1), 4).tolist() == [0, 1, 0, 0]
    with pytest.raises(RuntimeError, match="Class values must be non-negative"):
        F.one_hot(fb.tensor([-1]))
    with pytest.raises(RuntimeError, match="Class values must be smaller than num_classes, got 3"):
        F.one_hot(fb.tensor([3]), 3)
    with pytest.raises(RuntimeError, match="only applicable to index tensor of type LongTensor"):
        F.one_hot(fb.tensor([1.0]))


def test_errors():
    w = fb.ones(3, 2)
    for bad in (3, -1):
        with pytest.raises(
            IndexError, match=rf"index out of range in self: {bad} is not in \[0, 2\]"
        ):
            F.embedding(fb.tensor([0, bad]), w)
    with pytest.raises(IndexError, match="in module Embedding"):
        nn.Embedding(3, 2)(fb.tensor([5]))
    with pytest.raises(
        RuntimeError, match=r"Long, Int; but got \(1,\) float32 cpu(.|\n)*Hint: input.long\(\)"
    ):
        F.embedding(fb.ones(1), w)
    with pytest.raises(ValueError, match="Padding_idx must be within num_embeddings"):
        nn.Embedding(3, 2, padding_idx=3)
    with pytest.raises(ValueError, match="mode has to be one of sum, mean or max"):
        F.embedding_bag(fb.tensor([[0]]), w, mode="min")
    with pytest.raises(ValueError, match="offsets has to be a 1D Tensor but got None"):
        F.embedding_bag(fb.tensor([0]), w)
    with pytest.raises(ValueError, match=r"offsets\[0\] has to be 0"):
        F.embedding_bag(fb.tensor([0]), w, fb.tensor([1]))
    with pytest.raises(ValueError, match="only supported for mode='sum'"):
        F.embedding_bag(fb.tensor([[0]]), w, per_sample_weights=fb.ones(1, 1))
