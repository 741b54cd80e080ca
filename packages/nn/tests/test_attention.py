"""Attention: values against the formula, masks, gradients, errors."""

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.nn import functional as F

rng = np.random.default_rng(0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(q, k, v, mask=0.0):
    return softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]) + mask) @ v


def arrays(*shapes):
    return [rng.normal(size=s) for s in shapes]


def test_values():
    q, k, v = arrays((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7))
    t = [fb.tensor(a) for a in (q, k, v)]
    np.testing.assert_allclose(F.scaled_dot_product_attention(*t).numpy(), attention(q, k, v))
    added = rng.normal(size=(4, 6))
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(*t, fb.tensor(added)).numpy(), attention(q, k, v, added)
    )
    allowed = rng.random((3, 4, 6)) > 0.3
    allowed[..., 0] = True
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(*t, fb.tensor(allowed)).numpy(),
        attention(q, k, v, np.where(allowed, 0, -np.inf)),
    )
    causal = np.triu(np.full((4, 6), -np.inf), 1)
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(*t, is_causal=True).numpy(), attention(q, k, v, causal)
    )


def test_a_row_without_keys_gives_zeros():
    q, k, v = (fb.tensor(a, requires_grad=True) for a in arrays((2, 3), (4, 3), (4, 3)))
    allowed = fb.tensor([[True] * 4, [False] * 4])
    y = F.scaled_dot_product_attention(q, k, v, allowed)
    assert y[1].tolist() == [0, 0, 0]
    y.sum().backward()
    assert not np.isnan(q.grad.numpy()).any()


def test_gradients():
    t = [fb.tensor(a, requires_grad=True) for a in arrays((2, 3, 4), (2, 5, 4), (2, 5, 3), (3, 5))]
    assert gradcheck(F.scaled_dot_product_attention, tuple(t))
    assert gradgradcheck(F.scaled_dot_product_attention, tuple(t))
    assert gradcheck(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), tuple(t[:3])
    )


def test_grouped_queries():
    q, k, v = (fb.tensor(a) for a in arrays((1, 4, 3, 2), (1, 2, 5, 2), (1, 2, 5, 2)))
    y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    wanted = attention(q.numpy(), k.numpy().repeat(2, 1), v.numpy().repeat(2, 1))
    np.testing.assert_allclose(y.numpy(), wanted)


def test_heads():
    layer = nn.MultiheadAttention(6, 2, dtype=fb.float64)
    q, k = arrays((4, 3, 6), (5, 3, 6))
    y, weights = layer(fb.tensor(q), fb.tensor(k), fb.tensor(k))
    wq, wk, wv = np.split(layer.in_proj_weight.detach().numpy(), 3)

    def split(x, w):
        return (x @ w.T).reshape(-1, 3, 2, 3).transpose(1, 2, 0, 3)

    heads = attention(split(q, wq), split(k, wk), split(k, wv))
    wanted = heads.transpose(2, 0, 1, 3).reshape(4, 3, 6) @ layer.out_proj.weight.detach().numpy().T
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-9, atol=1e-12)
    assert weights.shape == (3, 4, 5)
    np.testing.assert_allclose(weights.detach().numpy().sum(-1), 1)
    fast, none = layer(fb.tensor(q), fb.tensor(k), fb.tensor(k), need_weights=False)
    assert none is None
    np.testing.assert_allclose(fast.detach().numpy(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("need", [True, False])
def test_masked_keys_do_not_matter(need):
    layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype=fb.float64)
    x = rng.normal(size=(1, 5, 4))
    padding = fb.tensor([[False, False, False, True, True]])
    whole, _ = layer(*[fb.tensor(x)] * 3, key_padding_mask=padding, need_weights=need)
    part = fb.tensor(x[:, :3])
    short, _ = layer(fb.tensor(x), part, part, need_weights=need)
    np.testing.assert_allclose(whole.detach().numpy(), short.detach().numpy())


def test_transformer():
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    assert mask[0].tolist() == [0] + [float("-inf")] * 4
    src, tgt = fb.randn(6, 2, 8), fb.randn(5, 2, 8)
    y = model(src, tgt, tgt_mask=mask)
    assert y.shape == (5, 2, 8)
    changed = tgt.clone()
    changed[4] += 1
    np.testing.assert_allclose(
        model(src, changed, tgt_mask=mask)[:4].detach().numpy(),
        y[:4].detach().numpy(),
        rtol=1e-5,
        atol=1e-6,
    )
    assert "encoder.layers.0.self_attn.in_proj_weight" in model.state_dict()
    with pytest.raises(RuntimeError, match="the batch number of src and tgt must be equal"):
        model(src, fb.randn(5, 3, 8))
    with pytest.raises(RuntimeError, match=r"must be equal to d_model \(8\)"):
        model(fb.randn(6, 2, 4), tgt)


@pytest.mark.parametrize("norm_first", [True, False])
def test_layers_train(norm_first):
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, 0.1, "gelu", norm_first=norm_first, batch_first=True),
        2,
    )
    y = encoder(fb.randn(2, 5, 8))
    y.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(8, 2, 16, norm_first=norm_first, batch_first=True), 2
    )
    assert decoder(fb.randn(2, 3, 8), y.detach()).shape == (2, 3, 8)


def test_errors():
    q = fb.ones(2, 3, 4)
    with pytest.raises(RuntimeError, match=r"needs query \(..., L, E\), key \(..., S, E\)"):
        F.scaled_dot_product_attention(q, fb.ones(2, 3, 5), q)
    with pytest.raises(RuntimeError, match="to have the same dtype and device"):
        F.scaled_dot_product_attention(q, q.double(), q)
    with pytest.raises(
        RuntimeError, match="Explicit attn_mask should not be set when is_causal=True"
    ):
        F.scaled_dot_product_attention(q, q, q, fb.ones(3, 3), is_causal=True)
    layer = nn.MultiheadAttention(4, 2)
    x = fb.ones(3, 2, 4)
    with pytest.raises(
        RuntimeError,
        match=r"The shape of the 2D attn_mask is (.|\n)*in module MultiheadAttention\(4, 2 heads\)",
    ):
        layer(x, x, x, attn_mask=fb.zeros(2, 2))
    with pytest.raises(RuntimeError, match="Expected key_padded_mask.shape to be"):
        layer(x, x, x, key_padding_mask=fb.zeros(3, 3))
    with pytest.raises(AssertionError, match="was expecting embedding dimension of 4, but got 5"):
        layer(*[fb.ones(3, 2, 5)] * 3)
    with pytest.raises(AssertionError, match="query should be unbatched 2D or batched 3D tensor"):
        layer(*[fb.ones(4)] * 3)
    with pytest.raises(RuntimeError, match="Need attn_mask if specifying the is_causal hint"):
        layer(x, x, x, is_causal=True)
    with pytest.raises(AssertionError, match="embed_dim must be divisible by num_heads"):
        nn.MultiheadAttention(5, 2)
    with pytest.raises(RuntimeError, match="activation should be relu/gelu, not sin"):
        nn.TransformerEncoderLayer(4, 2, activation="sin")
