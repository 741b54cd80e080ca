import numpy as np
import pytest

from flambeau_cpu.kernels.attention import sdpa, sdpa_backward


@pytest.fixture(autouse=True)
def as_on_a_device():
    """The device silences floating-point warnings before it calls a kernel."""
    with np.errstate(all="ignore"):
        yield


def reference(q, k, v, mask, causal, scale):
    q, k, v = (a.astype(np.float64) for a in (q, k, v))
    scores = np.einsum("bld,bsd->bls", q, k) * scale
    if causal:
        scores[
            :, np.triu_indices(scores.shape[1], 1)[0], np.triu_indices(scores.shape[1], 1)[1]
        ] = -np.inf
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return np.einsum("bls,bsd->bld", e / np.where(total == 0, 1, total), v)


@pytest.mark.parametrize("size", [1.0, 40.0], ids=["moderate", "large"])
@pytest.mark.parametrize("kind", ["none", "causal", "bool", "added"])
def test_small_and_large_scores_agree_with_the_definition(size, kind):
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 2, 5, 4)).astype(np.float32)
    q *= np.float32(size)
    mask = None
    if kind == "bool":
        mask = rng.random((2, 5, 5)) < 0.6
        mask[0, 2] = False  # a row that may attend to nothing
    elif kind == "added":
        mask = rng.standard_normal((5, 5)).astype(np.float32)
    y, p = sdpa(q, k, v, mask, kind == "causal", 0.5)
    expected = reference(q, k, v, mask, kind == "causal", 0.5)
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-5)
    assert p.dtype == np.float32
    if kind == "bool":
        assert not p[0, 2].any()


def test_nan_stays_nan():
    q = np.ones((1, 2, 2), np.float32)
    q[0, 0, 0] = np.nan
    y, _ = sdpa(q, np.ones_like(q), np.ones_like(q), None, False, 1.0)
    assert np.isnan(y[0, 0]).all() and (y[0, 1] == 1).all()


def test_backward_agrees_with_differences():
    rng = np.random.default_rng(1)
    q, k, v, g = rng.standard_normal((4, 1, 3, 2))
    _, p = sdpa(q, k, v, None, True, 0.7)
    grads = sdpa_backward(g, q, k, v, p, 0.7, (True, True, True, False))
    for i, grad in enumerate(grads[:3]):
        for at in np.ndindex(q.shape):
            ends = []
            for step in (1e-6, -1e-6):
                arrays = [q.copy(), k.copy(), v.copy()]
                arrays[i][at] += step
                ends.append((sdpa(*arrays, None, True, 0.7)[0] * g).sum())
            np.testing.assert_allclose(grad[at], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)
