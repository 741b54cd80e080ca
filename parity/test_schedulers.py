"""Every scheduler of torch.optim.lr_scheduler: 50 steps of each, resumed half-way, and by epoch."""

from __future__ import annotations

import copy
import inspect
import math
from typing import Any

import numpy as np
import pytest

STEPS = 50
HALF = 17
#: S is lr_scheduler, o the optimizer, U swa_utils.
CASES = [
    "S.LambdaLR(o, lambda e: 0.95**e)",
    "S.MultiplicativeLR(o, lambda e: 0.95)",
    "S.StepLR(o, 7)",
    "S.StepLR(o, 1, 0.9)",
    "S.MultiStepLR(o, [3, 3, 9, 30])",
    "S.MultiStepLR(o, [20, 5], gamma=0.3)",
    "S.ConstantLR(o)",
    "S.ConstantLR(o, 0.3, 8)",
    "S.LinearLR(o)",
    "S.LinearLR(o, 0.1, 0.9, 20)",
    "S.ExponentialLR(o, 0.9)",
    "S.PolynomialLR(o)",
    "S.PolynomialLR(o, 30, 2.0)",
    "S.CosineAnnealingLR(o, 13, 0.01)",
    "S.CosineAnnealingLR(o, 50)",
    "S.CosineAnnealingWarmRestarts(o, 5, 2, 0.01)",
    "S.CosineAnnealingWarmRestarts(o, 7)",
    "S.CyclicLR(o, 0.1, 1.0, 5)",
    "S.CyclicLR(o, 0.1, 1.0, 5, 9, mode='triangular2')",
    "S.CyclicLR(o, 0.1, 1.0, 5, 3, mode='exp_range', gamma=0.97, cycle_momentum=False)",
    "S.CyclicLR(o, 0.1, 1.0, 5, scale_fn=lambda x: 1 / x, scale_mode='cycle')",
    "S.OneCycleLR(o, 1.0, 60)",
    "S.OneCycleLR(o, 1.0, epochs=6, steps_per_epoch=10, three_phase=True, anneal_strategy='linear')",
    "S.OneCycleLR(o, 1.0, 60, pct_start=0.2, cycle_momentum=False, div_factor=10, final_div_factor=50)",
    "S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=10), S.CosineAnnealingLR(o, 40)], [10])",
    "S.SequentialLR(o, [S.ConstantLR(o, 0.1, 4), S.ExponentialLR(o, 0.9), S.CosineAnnealingWarmRestarts(o, 6)], "
    "[4, 20])",
    "S.ChainedScheduler([S.ConstantLR(o, 0.1, 4), S.ExponentialLR(o, 0.9), S.CosineAnnealingLR(o, 20)])",
    "S.ChainedScheduler([S.SequentialLR(o, [S.ConstantLR(o, 0.5, 3), S.StepLR(o, 5, 0.7)], [6]), "
    "S.ExponentialLR(o, 0.95)])",
    "S.ReduceLROnPlateau(o)",
    "S.ReduceLROnPlateau(o, patience=2, cooldown=3, factor=0.5)",
    "S.ReduceLROnPlateau(o, 'max', threshold_mode='abs', threshold=0.1, patience=1, min_lr=0.01)",
    "U.SWALR(o, 0.05, 12)",
    "U.SWALR(o, 0.05, 0, 'linear')",
]  # fmt: skip
#: Whose `step` also takes an epoch, deprecated as it is.
BY_EPOCH = [
    f"S.{name}"
    for name in (
        "LambdaLR", "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR",
        "CosineAnnealing",
    )
]  # fmt: skip
#: What is not a scheduler of its own.
BASES = {"LRScheduler", "_LRScheduler"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning"),
    pytest.mark.filterwarnings("ignore:To get the last learning rate:UserWarning"),
]


def optimizer_of(T: Any, kind: str, tensor_lr: bool = False) -> Any:
    """One with two groups that start from 0.5 and 1."""
    rates = [T.tensor(lr) if tensor_lr else lr for lr in (0.5, 1.0)]
    groups = [{"params": [T.zeros(1).requires_grad_()], "lr": lr} for lr in rates]
    return T.optim.SGD(groups, lr=0.1, momentum=0.9) if kind == "SGD" else T.optim.Adam(groups)


def make(T: Any, text: str, optimizer: Any) -> Any:
    known = {"T": T, "S": T.optim.lr_scheduler, "U": T.optim.swa_utils, "o": optimizer}
    return eval(text, known)


def settings(optimizer: Any) -> list[float]:
    """The learning rates, and the momenta that some schedulers move too."""
    groups = optimizer.param_groups
    momenta = [float(g["momentum"] if "momentum" in g else g["betas"][0]) for g in groups]
    return [float(g["lr"]) for g in groups] + momenta


def run(T: Any, text: str, kind: str, resume: bool = False, tensor_lr: bool = False) -> Any:
    """The settings before each step, and the scheduler."""
    optimizer = optimizer_of(T, kind, tensor_lr)
    scheduler = make(T, text, optimizer)
    seen = []
    for i in range(STEPS):
        if resume and i == HALF:
            saved = copy.deepcopy((scheduler.state_dict(), optimizer.state_dict()))
            optimizer = optimizer_of(T, kind, tensor_lr)
            scheduler = make(T, text, optimizer)
            scheduler.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
        seen.append(settings(optimizer))
        optimizer.step()
        if "Plateau" in text:
            scheduler.step(1.5 * math.cos(i) + 10 / (i + 1))
        else:
            scheduler.step()
        assert [float(lr) for lr in scheduler.get_last_lr()] == settings(optimizer)[:2]
    return seen, scheduler


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("text", CASES)
def test_scheduler(oracle: Any, text: str, kind: str) -> None:
    theirs, a = run(oracle.theirs, text, kind)
    ours, b = run(oracle.ours, text, kind)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    assert set(a.state_dict()) == set(b.state_dict())
    resumed, _ = run(oracle.ours, text, kind, resume=True)
    np.testing.assert_array_equal(resumed, ours)


@pytest.mark.parametrize("text", [text for text in CASES if "Chained" not in text])
def test_tensor_rates(oracle: Any, text: str) -> None:
    """A learning rate that is a tensor stays one, and moves as theirs."""
    theirs, _ = run(oracle.theirs, text, "Adam", tensor_lr=True)
    ours, scheduler = run(oracle.ours, text, "Adam", tensor_lr=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert isinstance(scheduler.optimizer.param_groups[0]["lr"], oracle.ours.Tensor)


@pytest.mark.parametrize("text", [text for text in CASES if text.startswith(tuple(BY_EPOCH))])
def test_by_epoch(oracle: Any, text: str) -> None:
    found = []
    for T in oracle.both:
        optimizer = optimizer_of(T, "SGD")
        scheduler = make(T, text, optimizer)
        optimizer.step()
        rates = []
        for epoch in (3, 9, 2, 14, None):
            scheduler.step(epoch) if epoch is not None else scheduler.step()
            rates.append([float(lr) for lr in scheduler.get_last_lr()])
        found.append(rates)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


@pytest.mark.parametrize("text", [text for text in CASES if "lambda" not in text])
def test_states_are_exchanged(oracle: Any, text: str) -> None:
    """What one has saved the other continues from."""
    theirs, ours = oracle.both
    seen = []
    first, second = optimizer_of(theirs, "SGD"), optimizer_of(ours, "SGD")
    a, b = make(theirs, text, first), make(ours, text, second)
    for i in range(STEPS):
        if i == HALF:
            b.load_state_dict(copy.deepcopy(a.state_dict()))
            for g, h in zip(first.param_groups, second.param_groups, strict=True):
                h.update({name: g[name] for name in g if name != "params"})
        first.step()
        value = (1.5 * math.cos(i) + 10 / (i + 1),) if "Plateau" in text else ()
        a.step(*value)
        if i >= HALF:
            second.step()
            b.step(*value)
            seen.append((settings(first), settings(second)))
    np.testing.assert_allclose([y for _, y in seen], [x for x, _ in seen], rtol=1e-12, atol=1e-14)


def test_every_scheduler_is_here_and_compared(oracle: Any) -> None:
    S, ours = oracle.theirs.optim.lr_scheduler, oracle.ours.optim.lr_scheduler
    base = S.LRScheduler
    names = {n for n, each in vars(S).items() if isinstance(each, type) and issubclass(each, base)}
    names -= BASES
    assert {name for name in names | BASES if not hasattr(ours, name)} == set()
    every = " ".join(CASES)
    assert {name for name in names if f"S.{name}(" not in every} == set()
    for name in sorted(names) + ["LRScheduler"]:
        theirs = inspect.signature(getattr(S, name)).parameters.values()
        mine = inspect.signature(getattr(ours, name)).parameters.values()
        told = [[(p.name, p.kind.name, repr(p.default)) for p in each] for each in (theirs, mine)]
        assert told[0] == told[1], name
