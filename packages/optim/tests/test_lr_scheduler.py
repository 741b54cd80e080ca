from __future__ import annotations

import math
import pickle

import pytest

import flambeau as fb
from flambeau.optim import SGD, Adagrad, Adam
from flambeau.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    WarmupCosineLR,
)
from flambeau.optim.swa_utils import SWALR


def optimizer(*rates, kind=SGD, **options):
    groups = [{"params": [fb.zeros(1, requires_grad=True)], "lr": lr} for lr in rates or (1.0,)]
    return kind(groups, **options)


def curve(scheduler, n=40):
    """The first group's learning rate at each of n epochs."""
    seen = []
    for _ in range(n):
        seen.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def cosine(t):
    return (1 + math.cos(math.pi * t)) / 2


CASES = {
    "lambda": (lambda o: LambdaLR(o, lambda e: 0.9**e), lambda e: 0.9**e),
    "multiplicative": (lambda o: MultiplicativeLR(o, lambda e: 0.9), lambda e: 0.9**e),
    "step": (lambda o: StepLR(o, 7, 0.5), lambda e: 0.5 ** (e // 7)),
    "step default": (lambda o: StepLR(o, step_size=10, gamma=0.1), lambda e: 0.1 ** (e // 10)),
    "multi step": (
        lambda o: MultiStepLR(o, [3, 9, 9, 30], 0.5),
        lambda e: 0.5 ** sum(e >= m for m in (3, 9, 9, 30)),
    ),
    "constant": (lambda o: ConstantLR(o, 0.25, 8), lambda e: 0.25 if e < 8 else 1.0),
    "linear": (lambda o: LinearLR(o, 0.2, 0.8, 10), lambda e: 0.2 + 0.6 * min(e, 10) / 10),
    "exponential": (lambda o: ExponentialLR(o, 0.9), lambda e: 0.9**e),
    "polynomial": (lambda o: PolynomialLR(o, 30, 2.0), lambda e: (1 - min(e, 30) / 30) ** 2),
    "cosine": (lambda o: CosineAnnealingLR(o, 13, 0.1), lambda e: 0.1 + 0.9 * cosine(e / 13)),
    "warm restarts": (
        lambda o: CosineAnnealingWarmRestarts(o, 7, eta_min=0.1),
        lambda e: 0.1 + 0.9 * cosine(e % 7 / 7),
    ),
    "warm restarts, longer each time": (
        lambda o: CosineAnnealingWarmRestarts(o, 5, 2),
        lambda e: cosine(e / 5 if e < 5 else (e - 5) / 10 if e < 15 else (e - 15) / 20 if e < 35 else (e - 35) / 40),
    ),
    "triangles": (
        lambda o: CyclicLR(o, 0.1, 1.0, 5, cycle_momentum=False),
        lambda e: 0.1 + 0.9 * (1 - abs(e % 10 - 5) / 5),
    ),
    "falling triangles": (
        lambda o: CyclicLR(o, 0.1, 1.0, 5, mode="triangular2", cycle_momentum=False),
        lambda e: 0.1 + 0.9 * (1 - abs(e % 10 - 5) / 5) * 0.5 ** (e // 10),
    ),
    "shrinking triangles": (
        lambda o: CyclicLR(o, 0.1, 1.0, 5, mode="exp_range", gamma=0.9, cycle_momentum=False),
        lambda e: 0.1 + 0.9 * (1 - abs(e % 10 - 5) / 5) * 0.9**e,
    ),
    "triangles of one's own": (
        lambda o: CyclicLR(o, 0.1, 1.0, 5, scale_fn=lambda c: 1 / c, cycle_momentum=False),
        lambda e: 0.1 + 0.9 * (1 - abs(e % 10 - 5) / 5) / (e // 10 + 1),
    ),
    "one cycle": (
        lambda o: OneCycleLR(o, 1.0, 41, pct_start=0.25, cycle_momentum=False),
        lambda e: (
            1 + (0.04 - 1) * cosine(e / 9.25)
            if e <= 9.25
            else 4e-6 + (1 - 4e-6) * cosine((e - 9.25) / (40 - 9.25))
        ),
    ),
    "one cycle of three lines": (
        lambda o: OneCycleLR(
            o, 1.0, epochs=8, steps_per_epoch=5, pct_start=0.3, anneal_strategy="linear", three_phase=True,
            cycle_momentum=False, div_factor=10, final_div_factor=10,
        ),
        lambda e: (
            0.1 + 0.9 * e / 11
            if e <= 11
            else 1 - 0.9 * (e - 11) / 11
            if e <= 22
            else 0.1 - 0.09 * (e - 22) / 17
        ),
    ),
    "warm-up and cosine": (
        lambda o: WarmupCosineLR(o, 5, 30, 0.1),
        lambda e: (e + 1) / 6 if e < 5 else 0.1 + 0.9 * cosine(min(1, (e - 5) / 25)),
    ),
    "one after the other": (
        lambda o: SequentialLR(o, [LinearLR(o, 0.1, total_iters=9), ExponentialLR(o, 0.9)], [10]),
        lambda e: 0.1 + 0.9 * min(e, 9) / 9 if e < 10 else 0.9 ** (e - 10),
    ),
    "all at once": (
        lambda o: ChainedScheduler([ConstantLR(o, 0.1, 4), ExponentialLR(o, 0.9)]),
        lambda e: (0.1 if e < 4 else 1.0) * 0.9**e,
    ),
    "towards the average's": (
        lambda o: SWALR(o, 0.2, 10, "linear"),
        lambda e: 1 - 0.8 * min(e, 10) / 10,
    ),
    "towards the average's by a cosine": (
        lambda o: SWALR(o, 0.2, 10),
        lambda e: 0.2 + 0.8 * cosine(min(e, 10) / 10),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_closed_form(name):
    make, formula = CASES[name]
    n = 39 if "three" in name else 40
    assert curve(make(optimizer()), n) == pytest.approx([formula(e) for e in range(n)], abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_resume_equals_uninterrupted(name):
    make, _ = CASES[name]
    whole = curve(make(optimizer()), 30)
    opt = optimizer()
    first = make(opt)
    assert curve(first, 13) == whole[:13]
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    other = optimizer()
    second = make(other)
    second.load_state_dict(saved)
    other.load_state_dict(opt.state_dict())
    assert second.get_last_lr() == first.get_last_lr()
    assert curve(second, 17) == whole[13:]


@pytest.mark.parametrize("name", CASES)
def test_every_group_has_its_own_rate(name):
    make, _ = CASES[name]
    opt = optimizer(1.0, 0.5)
    scheduler = make(opt)
    opt.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [g["lr"] for g in opt.param_groups]


@pytest.mark.parametrize(
    "name",
    ["step", "multi step", "constant", "linear", "exponential", "polynomial", "cosine", "warm-up and cosine"],
)  # fmt: skip
def test_jumping_to_an_epoch(name):
    make, formula = CASES[name]
    opt = optimizer()
    scheduler = make(opt)
    opt.step()
    for epoch in (9, 3, 20):
        with pytest.warns(
            UserWarning, match=r"The epoch parameter in `scheduler.step\(\)` is deprecated"
        ):
            scheduler.step(epoch)
        assert scheduler.get_last_lr() == pytest.approx([formula(epoch)])


def test_a_tensor_rate_keeps_its_identity():
    opt = optimizer()
    rate = opt.param_groups[0]["lr"] = fb.tensor(1.0)
    scheduler = StepLR(opt, 1, 0.5)
    opt.step()
    scheduler.step()
    assert opt.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5
    last = scheduler.get_last_lr()[0]
    last.fill_(7.0)
    assert rate.item() == 0.5


def test_momentum_goes_the_other_way():
    opt = optimizer(momentum=0.5)
    scheduler = CyclicLR(opt, 0.1, 1.0, 5, base_momentum=0.6, max_momentum=0.9)
    seen = []
    for _ in range(10):
        seen.append(opt.param_groups[0]["momentum"])
        opt.step()
        scheduler.step()
    assert seen == pytest.approx([0.9 - 0.3 * (1 - abs(e - 5) / 5) for e in range(10)])
    opt = optimizer(kind=Adam)
    scheduler = OneCycleLR(opt, 1.0, 20, base_momentum=0.6, max_momentum=0.9)
    assert opt.param_groups[0]["betas"] == (0.9, 0.999)
    for _ in range(5):
        opt.step()
        scheduler.step()
    assert opt.param_groups[0]["betas"] == pytest.approx((0.6, 0.999))


def test_fractions_of_an_epoch():
    opt = optimizer()
    scheduler = CosineAnnealingWarmRestarts(opt, 4, 2)
    for epoch in (0.5, 3.5, 4.0, 9.5, 12.0, 30.0):
        scheduler.step(epoch)
        cycle, at = (4, epoch) if epoch < 4 else (8, epoch - 4) if epoch < 12 else (16, epoch - 12)
        cycle, at = (32, epoch - 28) if epoch >= 28 else (cycle, at)
        assert scheduler.get_last_lr() == pytest.approx([cosine(at / cycle)])


class Halves:
    def __init__(self):
        self.calls = 0

    def __call__(self, epoch):
        self.calls += 1
        return 0.5**epoch


def test_callable_objects_travel():
    opt = optimizer()
    scheduler = LambdaLR(opt, Halves())
    curve(scheduler, 3)
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"calls": 4}]
    other = LambdaLR(optimizer(), Halves())
    other.load_state_dict(state)
    assert other.lr_lambdas[0].calls == 4
    assert state["lr_lambdas"] == [{"calls": 4}]
    cyclic = CyclicLR(optimizer(), 0.1, 1.0, scale_fn=Halves(), cycle_momentum=False)
    other = CyclicLR(optimizer(), 0.1, 1.0, scale_fn=Halves(), cycle_momentum=False)
    cyclic.optimizer.step()
    cyclic.step()
    other.load_state_dict(cyclic.state_dict())
    assert other._scale_fn_custom.calls == 2


def test_schedules_of_schedules():
    opt = optimizer()
    inner = SequentialLR(opt, [ConstantLR(opt, 0.5, 3), ExponentialLR(opt, 0.5)], [2])
    scheduler = ChainedScheduler([inner, ExponentialLR(opt, 0.9)])
    with pytest.raises(ValueError, match="the state has 1 schedulers, this one 2"):
        scheduler.load_state_dict({"_schedulers": [{}]})
    assert len(curve(scheduler, 6)) == 6
    assert scheduler.get_last_lr() == [opt.param_groups[0]["lr"]]


# ---- plateaus
def plateau(losses, **options):
    opt = optimizer(kind=SGD)
    scheduler = ReduceLROnPlateau(opt, **options)
    seen = []
    for loss in losses:
        scheduler.step(loss)
        seen.append(scheduler.get_last_lr()[0])
    return seen, scheduler


def test_plateau_waits_and_falls():
    seen, _ = plateau([5.0, 4.0, 4.0, 4.0, 4.0, 3.0, 3.0], factor=0.5, patience=1)
    assert seen == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]


def test_plateau_of_a_growing_metric_with_thresholds():
    seen, _ = plateau([1.0, 1.05, 1.2], mode="max", threshold=0.1, patience=0, factor=0.5)
    assert seen == [1.0, 0.5, 0.5]
    seen, _ = plateau([1.0, 0.95, 0.8], threshold=0.1, threshold_mode="abs", patience=0, factor=0.5)
    assert seen == [1.0, 0.5, 0.5]
    seen, _ = plateau([1.0, 1.05], mode="max", threshold=0.1, threshold_mode="abs", patience=0)
    assert seen == [1.0, 0.1]


def test_plateau_cools_down_and_has_an_end():
    seen, scheduler = plateau([1.0] * 8, factor=0.5, patience=0, cooldown=2, min_lr=0.3)
    assert seen == [1.0, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]
    assert scheduler.in_cooldown
    seen, _ = plateau([1.0] * 3, factor=0.999999999, patience=0)
    assert seen == [1.0, 1.0, 1.0]


def test_plateau_takes_tensors_and_resumes():
    losses = [3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    whole, _ = plateau([fb.tensor(x) for x in losses], patience=1, factor=0.5)
    opt = optimizer()
    first = ReduceLROnPlateau(opt, patience=1, factor=0.5)
    for loss in losses[:5]:
        first.step(loss)
    second = ReduceLROnPlateau(opt)
    second.load_state_dict(first.state_dict())
    seen = []
    for loss in losses[5:]:
        second.step(loss)
        seen += second.get_last_lr()
    assert seen == whole[5:]


def test_plateau_and_a_group_that_joins():
    opt = optimizer()
    scheduler = ReduceLROnPlateau(opt, patience=0, factor=0.5)
    listed = ReduceLROnPlateau(opt, patience=0, min_lr=[0.0])
    opt.add_param_group({"params": [fb.zeros(1, requires_grad=True)], "lr": 4.0})
    scheduler.step(1.0)
    scheduler.step(1.0)
    assert scheduler.get_last_lr() == [0.5, 2.0]
    listed.step(1.0)
    with pytest.raises(
        RuntimeError, match=r"The number of param groups in the `optimizer` \(2\) differs"
    ):
        listed.step(1.0)


# ---- warnings and errors
def test_order_of_calls():
    scheduler = StepLR(optimizer(), 3)
    with pytest.warns(
        UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"
    ):
        scheduler.step()


def test_get_lr_is_not_for_users():
    scheduler = StepLR(optimizer(), 3)
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        scheduler.get_lr()


def test_base_class():
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        StepLR(1, 3)
    with pytest.raises(NotImplementedError, match=r"LRScheduler defines no get_lr\(\)"):
        LRScheduler(optimizer())
    with pytest.raises(
        KeyError,
        match=r"'initial_lr' is not specified in param_groups\[0\] when resuming scheduler",
    ):
        StepLR(optimizer(), 3, last_epoch=5)


def test_resume_by_last_epoch():
    opt = optimizer()
    opt.param_groups[0]["initial_lr"] = 1.0
    scheduler = CosineAnnealingLR(opt, 10, last_epoch=4)
    assert scheduler.get_last_lr() == pytest.approx([1.0])
    opt.step()
    scheduler.step()
    assert scheduler.last_epoch == 6


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: LambdaLR(o, [abs, abs]), ValueError, "Expected 1 lr_lambdas, but got 2"),
        (
            lambda o: MultiplicativeLR(o, 0.5),
            TypeError,
            "lr_lambda should be a function, but got float",
        ),
        (
            lambda o: StepLR(o, 0),
            ValueError,
            "step_size must be a positive number of epochs, got 0",
        ),
        (
            lambda o: ConstantLR(o, 1.5),
            ValueError,
            r"Constant multiplicative factor expected to be between 0 and 1, got 1\.5",
        ),
        (
            lambda o: LinearLR(o, 0.0),
            ValueError,
            r"Starting multiplicative factor expected to be greater than 0 .* got 0\.0",
        ),
        (
            lambda o: LinearLR(o, end_factor=2.0),
            ValueError,
            r"Ending multiplicative factor expected to be between 0 and 1, got 2\.0",
        ),
        (
            lambda o: CosineAnnealingLR(o, 0),
            ValueError,
            "T_max must be a positive number of epochs, got 0",
        ),
        (
            lambda o: CosineAnnealingWarmRestarts(o, 0),
            ValueError,
            "Expected positive integer T_0, but got 0",
        ),
        (
            lambda o: CosineAnnealingWarmRestarts(o, 5, 0),
            ValueError,
            "Expected integer T_mult >= 1, but got 0",
        ),
        (
            lambda o: CosineAnnealingWarmRestarts(o, 5, eta_min="x"),
            ValueError,
            "Expected float or int eta_min, but got x",
        ),
        (
            lambda o: CosineAnnealingWarmRestarts(o, 5).step(-1),
            ValueError,
            "Expected non-negative epoch, but got -1",
        ),
        (lambda o: WarmupCosineLR(o, -1, 5), ValueError, "warmup_steps must be >= 0, got -1"),
        (
            lambda o: WarmupCosineLR(o, 5, 5),
            ValueError,
            "total_steps must be > warmup_steps, got 5 <= 5",
        ),
        (
            lambda o: WarmupCosineLR(o, 1, 5, 2.0),
            ValueError,
            r"min_lr_ratio must be between 0 and 1, got 2\.0",
        ),
        (
            lambda o: CyclicLR(o, [0.1, 0.2], 1.0),
            ValueError,
            "base_lr has 2 values, param_groups has 1",
        ),
        (
            lambda o: CyclicLR(o, 0.1, 1.0, mode="square"),
            ValueError,
            "mode 'square' is invalid and scale_fn is None",
        ),
        (
            lambda o: OneCycleLR(o, 1.0),
            ValueError,
            r"define either total_steps OR \(epochs AND steps_per_epoch\)",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 0),
            ValueError,
            "Expected positive integer total_steps, but got 0",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, epochs=0, steps_per_epoch=1),
            ValueError,
            "Expected positive integer epochs, but got 0",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, epochs=1, steps_per_epoch=0),
            ValueError,
            "Expected positive integer steps_per_epoch, but got 0",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 9, pct_start=2.0),
            ValueError,
            r"Expected float between 0 and 1 pct_start, but got 2\.0",
        ),
        (
            lambda o: OneCycleLR(o, 1.0, 9, anneal_strategy="no"),
            ValueError,
            "must be one of 'cos' or 'linear', instead got no",
        ),
        (
            lambda o: curve(OneCycleLR(o, 1.0, 3), 9),
            ValueError,
            "Tried to step 4 times. The specified number of total steps is 3",
        ),
        (
            lambda o: SWALR(o, 0.1, anneal_strategy="no"),
            ValueError,
            "must be one of 'cos' or 'linear', instead got no",
        ),
        (
            lambda o: SWALR(o, 0.1, anneal_epochs=-1),
            ValueError,
            "anneal_epochs must be equal or greater than 0, got -1",
        ),
        (
            lambda o: ReduceLROnPlateau(o, factor=1.0),
            ValueError,
            r"Factor should be < 1\.0, got 1\.0",
        ),
        (
            lambda o: ReduceLROnPlateau(o, mode="up"),
            ValueError,
            "mode up is unknown! Hint: 'min' or 'max'",
        ),
        (
            lambda o: ReduceLROnPlateau(o, threshold_mode="x"),
            ValueError,
            "threshold mode x is unknown!",
        ),
        (lambda o: ReduceLROnPlateau(o, min_lr=[1, 2]), ValueError, "expected 1 min_lrs, got 2"),
        (
            lambda o: SequentialLR(o, [], []),
            ValueError,
            "SequentialLR expects at least one scheduler",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(o, 1)], [1]),
            ValueError,
            "number of schedulers 1 and the number of milestones to be equal to 1",
        ),
        (
            lambda o: SequentialLR(o, [ReduceLROnPlateau(o)], []),
            ValueError,
            "SequentialLR does not support `ReduceLROnPlateau`",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(optimizer(), 1)], []),
            ValueError,
            "belong to the same optimizer, but got scheduler StepLR at index 0",
        ),
        (
            lambda o: SequentialLR(o, [1], []),
            TypeError,
            "SequentialLR at index 0 should have `optimizer` as its attribute",
        ),
        (
            lambda o: ChainedScheduler([]),
            ValueError,
            "ChainedScheduler expects at least one scheduler to be chained",
        ),
        (
            lambda o: ChainedScheduler([StepLR(o, 1), 1]),
            TypeError,
            "ChainedScheduler at index 1 should have `optimizer`",
        ),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make(optimizer(momentum=0.9))


def test_refused_without_momentum():
    with pytest.raises(
        ValueError, match="optimizer must support momentum or beta1 with `cycle_momentum` option"
    ):
        CyclicLR(optimizer(kind=Adagrad), 0.1, 1.0)
