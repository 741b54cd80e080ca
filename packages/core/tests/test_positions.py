"""Indexing on a device that gives the required kernels alone computes the same as on the cpu."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend.protocol import REQUIRED
from flambeau.errors import UnsupportedOpError
from flambeau.ops.masking import one_hot

A = np.arange(24.0).reshape(2, 3, 4) / 24
I, J = [1, 0, -1], [2, 0, 1]


@pytest.fixture
def bare(monkeypatch):
    """The cpu without its optional kernels."""
    kernels = fb.zeros(1)._kind.k
    for name in list(kernels):
        if name not in REQUIRED:
            monkeypatch.setitem(kernels, name, None)


def put(x, key, value):
    y = x * 1
    y[key] = value
    return y


M = A > 0.5
CASES = {
    "vector": lambda x: x[fb.tensor(I)],
    "vector behind": lambda x: x[:, :, fb.tensor(J)],
    "vectors": lambda x: x[fb.tensor(I), fb.tensor(J)],
    "vectors apart": lambda x: x[fb.tensor(I), :, fb.tensor(J)],
    "mask": lambda x: x[fb.tensor(M)],
    "mask behind": lambda x: x[:, fb.tensor(M[0])],
    "put": lambda x: put(x, (fb.tensor([1, 0]), fb.tensor([2, -3])), x[0, 0] * 2),
    "put vector": lambda x: put(x, fb.tensor([1]), 3.0),
    "put mask": lambda x: put(x, fb.tensor(M), x.flatten()[: M.sum()]),
    "fill mask": lambda x: put(x, fb.tensor(M), 2.0),
    "accumulate": lambda x: x.index_put((fb.tensor(I), fb.tensor(J)), x[0, 0], accumulate=True),
    "index_add": lambda x: x.index_add(1, fb.tensor([1, 1]), x[:, :2]),
    "index_copy": lambda x: x.index_copy(1, fb.tensor([1, 2]), x[:, :2]),
    "index_fill": lambda x: x.index_fill(1, fb.tensor([-1]), 3),
    "index_select": lambda x: x.index_select(2, fb.tensor([3, 0])),
    "gather": lambda x: x.gather(2, fb.tensor([[[0, 3]], [[1, 1]]])),
    "scatter": lambda x: x.scatter(2, fb.tensor([[[0, 3]], [[1, 2]]]), 1.5),
    "scatter_reduce": lambda x: x.scatter_reduce(2, fb.tensor([[[0, 3]], [[1, 1]]]), x * 2, "amax"),
    "take": lambda x: x.take(fb.tensor([3, -1])),
    "put flat": lambda x: x.put(fb.tensor([3, -1]), x[0, 0, :2] * 3),
    "masked_fill": lambda x: x.masked_fill(fb.tensor(M[0]), x[0, 0, 1]),
    "masked_scatter": lambda x: x.masked_scatter(fb.tensor(M), x * 2),
    "tril": lambda x: x.tril(1),
    "triu": lambda x: x.triu(1),
    "diagonal": lambda x: x.diagonal(-1, 1, 2),
    "diag_embed": lambda x: fb.diag_embed(x, 1),
    "diagonal_scatter": lambda x: x.diagonal_scatter(x[:, :, 0] * 2, 0, 1, 2),
    "unfold": lambda x: x.unfold(2, 3, 1),
    "pad": lambda x: fb.constant_pad_nd(x, (1, -1, 2, 0), 0.5),
    "cat": lambda x: fb.cat([x, x[:1]], 0),
    "stack": lambda x: fb.stack([x, x * 2], 1),
    "block_diag": lambda x: fb.block_diag(x[0], x[1]),
    "repeat": lambda x: x.repeat(2, 1, 1, 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "repeat_interleave each": lambda x: x.repeat_interleave(fb.tensor([2, 0, 1]), 1),
    "flip": lambda x: x.flip(0, 2),
    "roll": lambda x: x.roll((1, -1), (0, 2)),
    "fill": lambda x: fb.fill(x, x[0, 0, 1]),
    "fill_": lambda x: (x * 1).fill_(3.0),
}
VALUES = {
    "nonzero": lambda x: (x > 0.5).nonzero(),
    "where": lambda x: fb.where(x > 0.5)[1],
    "count_nonzero": lambda x: fb.count_nonzero(x, 1),
    "searchsorted": lambda x: fb.searchsorted(x[0, 0], x),
    "searchsorted rows": lambda x: fb.searchsorted(x, x.flip(0), right=True),
    "searchsorted one": lambda x: fb.searchsorted(x[0, 0], 0.1),
    "isin": lambda x: fb.isin(x, x[0, 1]),
    "one_hot": lambda x: one_hot(fb.tensor([[0, 2]])),
    "setitem": lambda x: put(x.detach(), (slice(None), 1), 5.0),
    "zero_": lambda x: x.detach().clone().zero_(),
}


def outcome(fn):
    x = fb.tensor(A, requires_grad=True)
    y = fn(x)
    if not y.requires_grad:
        return [y.numpy()]
    (g,) = fb.autograd.grad((y**3).sum(), x, create_graph=True)
    found = [y.detach().numpy(), g.detach().numpy()]
    if g.requires_grad:
        found.append(fb.autograd.grad((g * g).sum(), x)[0].numpy())
    return found


@pytest.fixture(params=[*CASES, *VALUES])
def case(request):
    fn = {**CASES, **VALUES}[request.param]
    return fn, outcome(fn)


def test_defaults(case, bare):
    fn, expected = case
    for a, b in zip(outcome(fn), expected, strict=True):
        assert a.dtype == b.dtype
        assert np.allclose(a, b)


def test_positions_that_do_not_broadcast(bare):
    with pytest.raises(
        IndexError, match=r"could not be broadcast together with shapes \[2\], \[3\]"
    ):
        fb.zeros(3, 3)[fb.tensor([0, 1]), fb.tensor([0, 1, 2])]


class TestMeta:
    """Shapes without data."""

    @pytest.mark.parametrize(
        "name", [n for n in CASES if "mask" not in n and n != "repeat_interleave each"]
    )
    def test_shapes(self, name, monkeypatch):
        expected = CASES[name](fb.tensor(A)).shape
        tensor = fb.tensor
        monkeypatch.setattr(fb, "tensor", lambda data: tensor(data).to("meta"))
        assert CASES[name](tensor(A).to("meta")).shape == expected

    def test_masks_need_values(self):
        x = fb.zeros(3, device="meta")
        with pytest.raises(UnsupportedOpError, match="depends on its values.*Hint: where"):
            x[x > 0]
