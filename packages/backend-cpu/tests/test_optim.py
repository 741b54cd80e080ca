"""The optimizer kernels, called as a device's table is: on lists of arrays and flat states."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flambeau_cpu.kernels.optim import adam_step_, rmsprop_step_, sgd_step_

SHAPES = [
    [(5,)],
    [()],
    [(3, 4), (), (7,), (1, 1)],
    [(300, 200)],  # two blocks
    [(4097,)],  # one block
]


def draw(shapes, seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(s), dtype) for s in shapes]


def flat(arrays):
    return np.concatenate([a.reshape(-1) for a in arrays])


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("maximize", [False, True])
def test_sgd(shapes, maximize):
    params, grads = draw(shapes, 0), draw(shapes, 1)
    p, b = flat(params), flat(draw(shapes, 2))
    velocity = b.copy()
    g = (-1 if maximize else 1) * flat(grads) + 0.3 * p
    sgd_step_(params, grads, velocity, 0.1, 0.9, 0.2, 0.3, False, maximize)
    b = 0.9 * b + 0.8 * g
    np.testing.assert_allclose(velocity, b, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(flat(params), p - 0.1 * b, rtol=1e-12, atol=1e-15)
    p = flat(params)
    sgd_step_(params, grads, velocity, 0.1, 0.9, 0.0, 0.0, True, maximize)
    g = (-1 if maximize else 1) * flat(grads)
    b = 0.9 * b + g
    np.testing.assert_allclose(flat(params), p - 0.1 * (g + 0.9 * b), rtol=1e-12, atol=1e-15)
    p = flat(params)
    sgd_step_(params, grads, None, 0.1, 0.0, 0.0, 0.0, False, maximize)
    np.testing.assert_allclose(flat(params), p - 0.1 * g, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shapes", SHAPES)
def test_adam(shapes):
    params, grads = draw(shapes, 0), draw(shapes, 1)
    p, g = flat(params), flat(grads)
    m, v = flat(draw(shapes, 2)), flat(draw(shapes, 3)) ** 2
    top, step = v * 1.5, np.full(len(shapes), 4.0, np.float32)
    before = m.copy(), v.copy(), top.copy()
    adam_step_(params, grads, m, v, top, step, 0.1, 0.9, 0.99, 1e-3, 0.3, True, False)
    assert step.tolist() == [5.0] * len(shapes)
    np.testing.assert_allclose(m, 0.9 * before[0] + 0.1 * g, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(v, 0.99 * before[1] + 0.01 * g * g, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(top, np.maximum(before[2], v), rtol=1e-12, atol=1e-15)
    root = np.sqrt(top / (1 - 0.99**5)) + 1e-3
    np.testing.assert_allclose(
        flat(params), p * 0.97 - 0.1 * m / (1 - 0.9**5) / root, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("shapes", SHAPES)
def test_rmsprop(shapes):
    params, grads = draw(shapes, 0), draw(shapes, 1)
    p, g = flat(params), flat(grads) * -1 + 0.3 * flat(params)
    v, mean, b = (
        flat(draw(shapes, 2)) ** 2 + 1.0,
        flat(draw(shapes, 3)) * 0.1,
        flat(draw(shapes, 4)),
    )
    before = v.copy(), mean.copy(), b.copy()
    step = np.zeros(len(shapes), np.float32)
    rmsprop_step_(params, grads, v, mean, b, step, 0.1, 0.9, 1e-3, 0.3, 0.5, True)
    np.testing.assert_allclose(v, 0.9 * before[0] + 0.1 * g * g, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(mean, 0.9 * before[1] + 0.1 * g, rtol=1e-12, atol=1e-15)
    u = 0.5 * before[2] + g / (np.sqrt(v - mean * mean) + 1e-3)
    np.testing.assert_allclose(b, u, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(flat(params), p - 0.1 * u, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5), (300, 200)])
def test_layouts(shape):
    grad = draw([shape], 1)[0]
    plain, turned = draw([shape], 0)[0], np.asfortranarray(draw([shape], 0)[0])
    wide = np.zeros((shape[0], 2 * shape[1]))
    wide[:, ::2] = plain
    params = [plain, turned, wide[:, ::2]]
    for p in params:
        b = np.zeros(grad.size)
        for g in (grad, np.asfortranarray(grad)):
            sgd_step_([p], [g], b, 0.1, 0.9, 0.0, 0.1, False, False)
    np.testing.assert_array_equal(params[0], params[1])
    np.testing.assert_array_equal(params[0], params[2])
    assert not wide[:, 1::2].any()


def test_gradients_stay_as_they_are():
    params, grads = draw([(300, 200)], 0), draw([(300, 200)], 1)
    kept = grads[0].copy()
    m, v, step = np.zeros(60000), np.zeros(60000), np.zeros((), np.float32)
    adam_step_(params, grads, m, v, None, step, 0.1, 0.9, 0.99, 1e-8, 0.1, False, True)
    np.testing.assert_array_equal(grads[0], kept)


def test_threads_do_not_share_scratch():
    def train(seed):
        params, b = draw([(50, 40), (40,)], seed), np.zeros(2040)
        for t in range(50):
            sgd_step_(params, draw([(50, 40), (40,)], t), b, 0.1, 0.9, 0.0, 0.1, True, False)
        return flat(params)

    alone = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for a, b in zip(alone, pool.map(train, range(4)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_many_layouts_and_rates_are_not_kept_for_ever():
    from flambeau_cpu.kernels.optim import _scratch

    for n in range(1, 200):
        sgd_step_([np.ones(n)], [np.ones(n)], np.ones(n), 1.0 / n, 0.9, 0.0, 0.0, False, False)
    assert len(_scratch.gathered) <= 65
    assert len(_scratch.consts) <= 65
