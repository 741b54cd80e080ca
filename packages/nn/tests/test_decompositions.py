"""Every fused kernel against the decomposition that stands in on devices without it."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.nn import functional as F

rng = np.random.default_rng(0)


def f(*shape):
    return fb.tensor(rng.normal(size=shape), requires_grad=True)


CASES = {
    "linear": (["linear", "linear_weight_grad"], F.linear, (f(2, 3, 4), f(5, 4), f(5))),
    "mse": (["mse_loss", "mse_loss_backward"], F.mse_loss, (f(3, 4), f(3, 4))),
    "bce": (
        ["bce_loss", "bce_loss_backward"],
        lambda x, t: F.binary_cross_entropy(x.sigmoid(), t.sigmoid()),
        (f(3), f(3)),
    ),
    "bce none": (
        ["bce_terms"],
        lambda x, t: F.binary_cross_entropy(x.sigmoid(), t.sigmoid(), reduction="none"),
        (f(3), f(3)),
    ),
    "logits": (["bce_with_logits"], F.binary_cross_entropy_with_logits, (f(3, 2), f(3, 2))),
    "cross entropy": (
        ["cross_entropy"],
        lambda x: F.cross_entropy(x, fb.tensor([1, -100, 0])),
        (f(3, 4),),
    ),
    "conv": (
        ["conv", "conv_input_grad", "conv_weight_grad"],
        lambda *a: F.conv2d(*a, 2, 1, 1, 2),
        (f(2, 4, 5, 5), f(6, 2, 3, 3), f(6)),
    ),
    "transposed": (
        ["conv", "conv_input_grad", "conv_weight_grad"],
        lambda *a: F.conv_transpose2d(*a, 2, 1, 1, 2),
        (f(2, 4, 5, 5), f(4, 3, 3, 3), f(6)),
    ),
    "max pool": (["max_pool"], lambda x: F.max_pool2d(x, 3, 2, 1), (f(2, 2, 6, 6),)),
    "avg pool": (
        ["avg_pool", "avg_pool_backward"],
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
        (f(2, 2, 6, 6),),
    ),
    "layer norm": (
        ["normalize"],
        lambda *a: F.layer_norm(a[0], (4,), a[1], a[2]),
        (f(3, 4), f(4), f(4)),
    ),
    "group norm": (
        ["normalize"],
        lambda *a: F.group_norm(a[0], 2, a[1], a[2]),
        (f(3, 4, 2), f(4), f(4)),
    ),
    "batch norm": (
        ["batch_norm"],
        lambda *a: F.batch_norm(a[0], None, None, a[1], a[2], True),
        (f(5, 3, 2), f(3), f(3)),
    ),
    "embedding": (
        ["embedding", "embedding_backward"],
        lambda w: F.embedding(fb.tensor([[1, 2], [1, 0]]), w, 0),
        (f(4, 3),),
    ),
    "attention": (
        ["sdpa"],
        F.scaled_dot_product_attention,
        (f(2, 3, 4), f(2, 5, 4), f(2, 5, 4), f(3, 5)),
    ),
    "causal": (
        ["sdpa"],
        lambda *a: F.scaled_dot_product_attention(*a, is_causal=True),
        (f(2, 3, 4), f(2, 3, 4), f(2, 3, 4)),
    ),
    "pad": (["pad_constant"], lambda x: F.pad(x, (1, 2), value=3.0), (f(2, 3),)),
}


@pytest.mark.parametrize("name", CASES)
def test_kernel_and_decomposition_agree(name, request):
    kernels, fn, inputs = CASES[name]
    results = []
    table = inputs[0]._kind.k
    for without in (False, True):
        kept = {k: table[k] for k in kernels}
        assert all(kept.values())
        if without:
            table.update(dict.fromkeys(kernels))
        try:
            for x in inputs:
                x.grad = None
            y = fn(*inputs)
            (y * y.detach().cos()).sum().backward()
            results.append([y.detach().numpy(), *(x.grad.numpy().copy() for x in inputs)])
        finally:
            table.update(kept)
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
