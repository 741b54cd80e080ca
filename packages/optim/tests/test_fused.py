"""The fused path does what the rules do, whatever happens between two steps."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.optim import SGD, Adam, AdamW, RMSprop

OPTIMIZERS = [
    lambda p: SGD(p, lr=0.1),
    lambda p: SGD(p, lr=0.1, weight_decay=0.1, maximize=True),
    lambda p: SGD(p, lr=0.1, momentum=0.9),
    lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.1),
    lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    lambda p: RMSprop(p, lr=0.1),
    lambda p: RMSprop(p, lr=0.1, centered=True, momentum=0.5, weight_decay=0.1, maximize=True),
    lambda p: Adam(p, lr=0.1),
    lambda p: Adam(p, lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True),
    lambda p: AdamW(p, lr=0.1),
]


def by_rule(make):
    """The same optimizer without its kernel."""

    def made(params):
        optimizer = make(params)
        optimizer.kernel = None
        return optimizer

    return made


def close(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


def buckets(optimizer):
    return [len(b.rows) for plan in optimizer._fused.plans.values() for b in plan.buckets]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_kernel_equals_rule(walk, make):
    fused, optimizer = walk(make, steps=8)
    assert buckets(optimizer) == [1, 4]
    plain, _ = walk(by_rule(make), steps=8)
    close(fused[-1], plain[-1])


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_gradients_that_come_and_go(make):
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(s) for s in ((3, 4), (5,), (), (200, 100))]
    sides = []
    for each in (make, by_rule(make)):
        params = [fb.tensor(x).requires_grad_() for x in starts]
        sides.append((params, each(params)))
    for t in range(30):
        present = rng.random(4) < (1.0 if t % 7 == 0 else 0.6)
        grads = [
            rng.standard_normal(x.shape) if on else None
            for x, on in zip(starts, present, strict=True)
        ]
        for params, optimizer in sides:
            for p, g in zip(params, grads, strict=True):
                p.grad = None if g is None else fb.tensor(g)
            optimizer.step()
    (a, _), (b, _) = sides
    close([p.detach().numpy() for p in a], [p.detach().numpy() for p in b])


def start(make=lambda p: Adam(p, lr=0.1), steps=3):
    params = [fb.ones(3, dtype=fb.float64).requires_grad_() for _ in range(3)]
    optimizer = make(params)
    for _ in range(steps):
        step(params, optimizer)
    return params, optimizer


def step(params, optimizer):
    for i, p in enumerate(params):
        p.grad = fb.full((3,), float(i + 1), dtype=p.dtype)
    optimizer.step()


def both():
    return start(), start(by_rule(lambda p: Adam(p, lr=0.1)))


def after(sides, change):
    for params, optimizer in sides:
        change(params, optimizer)
        for _ in range(3):
            step(params, optimizer)
    (a, _), (b, _) = sides
    close([p.detach().numpy() for p in a], [p.detach().numpy() for p in b])


def test_a_replaced_state_is_used():
    def change(params, optimizer):
        optimizer.state[params[1]]["exp_avg"] = fb.full((3,), 7.0, dtype=fb.float64)

    after(both(), change)


def test_a_state_changed_in_place_is_used():
    def change(params, optimizer):
        optimizer.state[params[1]]["exp_avg"].fill_(7.0)
        optimizer.state[params[2]]["step"].fill_(1.0)

    after(both(), change)


def test_a_cleared_state_begins_anew():
    after(both(), lambda params, optimizer: optimizer.state.clear())
    after(both(), lambda params, optimizer: optimizer.state[params[0]].clear())


def test_a_replaced_parameter_takes_its_state_along():
    def change(params, optimizer):
        old, new = params[0], fb.zeros(3, dtype=fb.float64).requires_grad_()
        optimizer.state[new] = optimizer.state.pop(old)
        params[0] = optimizer.param_groups[0]["params"][0] = new

    after(both(), change)


def test_memory_of_a_parameter_may_be_replaced():
    def change(params, optimizer):
        params[0].data = fb.full((3,), 2.0, dtype=fb.float64)

    after(both(), change)


def test_options_may_change_between_steps():
    def change(params, optimizer):
        optimizer.param_groups[0].update(lr=0.5, weight_decay=0.1, betas=(0.5, 0.6))

    after(both(), change)


def test_other_state_in_the_dictionary_is_left_alone():
    params, optimizer = start()
    optimizer.state[params[0]]["note"] = "mine"
    step(params, optimizer)
    step(params, optimizer)
    assert optimizer.state[params[0]]["note"] == "mine"
    assert buckets(optimizer) == [3]


def test_parameters_that_are_not_contiguous():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200, 150))
    small = rng.standard_normal((3, 4))
    results = []
    for turned in (False, True):
        make = lambda x, t=turned: fb.tensor(x.T.copy()).T if t else fb.tensor(x)  # noqa: E731
        params = [make(values).detach().requires_grad_(), make(small).detach().requires_grad_()]
        assert params[0].is_contiguous() is not turned
        optimizer = Adam(params, lr=0.1, weight_decay=0.1)
        for _ in range(4):
            params[0].grad, params[1].grad = fb.tensor(values), fb.tensor(small)
            optimizer.step()
        results.append([p.detach().numpy().copy() for p in params])
    close(*results)


def test_kinds_are_kept_apart():
    a = fb.ones(3).requires_grad_()
    b = fb.ones(3, dtype=fb.float64).requires_grad_()
    c = fb.ones(3, dtype=fb.float16).requires_grad_()
    empty = fb.ones(0).requires_grad_()
    optimizer = Adam([a, b, c, empty], lr=0.1)
    for _ in range(4):
        for p in (a, b, c, empty):
            p.grad = fb.ones_like(p)
        optimizer.step()
    assert buckets(optimizer) == [1, 1]
    assert [p.dtype for p in (a, b, c)] == [fb.float32, fb.float64, fb.float16]
    assert a[0].item() == pytest.approx(b[0].item(), rel=1e-5)
    assert b[0].item() == pytest.approx(c[0].item(), rel=1e-2)


def test_many_small_parameters_are_split_into_portions():
    params = [fb.ones(15000).requires_grad_() for _ in range(6)]
    optimizer = SGD(params, lr=0.1, momentum=0.9)
    for _ in range(3):
        for p in params:
            p.grad = fb.ones(15000)
        optimizer.step()
    assert buckets(optimizer) == [4, 2]
    assert all(p[0].item() == params[0][0].item() for p in params)


def test_the_kernel_is_looked_up_at_every_step():
    params, optimizer = start()
    table = params[0]._kind.k
    real, calls = table["adam_step_"], []

    def watched(params, grads, *rest):
        calls.append(len(params))
        real(params, grads, *rest)

    table["adam_step_"] = watched
    try:
        step(params, optimizer)
        assert calls == [3]
        table["adam_step_"] = None
        step(params, optimizer)
        assert calls == [3]
    finally:
        table["adam_step_"] = real
    expected, _ = start(steps=5)
    close([p.detach().numpy() for p in params], [p.detach().numpy() for p in expected])


def test_versions_move():
    params, optimizer = start()
    before = [p._version for p in params]
    step(params, optimizer)
    assert [p._version - v for p, v in zip(params, before, strict=True)] == [1, 1, 1]


def test_a_step_is_one_kernel_call_that_can_be_replayed():
    params, optimizer = start()
    table = params[0]._kind.k
    kernels, calls = dict(table), []

    def wrap(name, kernel):
        def recorded(*args, **kwargs):
            calls.append((name, args))
            return kernel(*args, **kwargs)

        return recorded

    copies = {}

    def fresh(x):
        if isinstance(x, list):
            return [fresh(i) for i in x]
        return copies.setdefault(id(x), x.copy()) if isinstance(x, np.ndarray) else x

    plan = next(iter(optimizer._fused.plans.values()))
    fresh([p._a for p in params] + plan.buckets[0].arrays)
    for name, kernel in kernels.items():
        if kernel is not None:
            table[name] = wrap(name, kernel)
    try:
        optimizer.step()
    finally:
        table.clear()
        table.update(kernels)
    assert [name for name, _ in calls] == ["adam_step_"]
    optimizer.step()
    again = fresh(list(calls[0][1]))
    for _ in range(2):
        kernels["adam_step_"](*again)
    for p in params:
        np.testing.assert_array_equal(copies[id(p._a)], p.detach().numpy())
