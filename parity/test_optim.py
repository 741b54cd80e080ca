"""Every optimizer of torch.optim: 50 steps of a noisy descent, the states, and each other's state dicts."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

RTOL = {"float64": 1e-9, "float32": 1e-5}
STEPS = 50
#: Parameters of several ranks; Muon takes matrices alone.
SHAPES = [(40, 30), (30,), (6, 5), (), (1,), (5, 7)]
MATRICES = [(20, 30), (30, 20), (4, 4), (1, 7)]

#: Arguments after the parameters; each case runs in both dtypes.
CASES: dict[str, list[str]] = {
    "ASGD": ["", "t0=10, lambd=0.01, weight_decay=0.1", "maximize=True"],
    "Adadelta": ["", "weight_decay=0.1, rho=0.5", "lr=0.3, maximize=True"],
    "Adafactor": ["", "lr=0.1, weight_decay=0.1, d=2.0, eps=(1e-5, 1e-2)", "maximize=True"],
    "Adagrad": [
        "",
        "lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2",
        "maximize=True",
    ],
    "Adam": [
        "", "lr=0.1", "lr=0.1, weight_decay=0.1", "lr=0.1, amsgrad=True", "lr=0.1, maximize=True, weight_decay=0.1",
        "lr=0.1, weight_decay=0.1, decoupled_weight_decay=True", "betas=(0.5, 0.6), eps=1e-3",
        "lr=T.tensor(0.1, dtype=T.float64)",
        "lr=0.1, foreach=True", "lr=0.1, foreach=False", "lr=0.1, fused=True",
    ],
    "AdamW": ["", "lr=0.1", "lr=0.1, weight_decay=0.3, amsgrad=True", "lr=0.1, maximize=True"],
    "Adamax": ["", "lr=0.1, weight_decay=0.1", "maximize=True"],
    "LBFGS": [],
    "Muon": [
        "", "lr=0.02, nesterov=False, weight_decay=0.0",
        "lr=0.02, adjust_lr_fn='match_rms_adamw', momentum=0.8, ns_steps=3",
    ],
    "NAdam": ["", "lr=0.1, weight_decay=0.1", "weight_decay=0.1, decoupled_weight_decay=True, maximize=True"],
    "RAdam": ["", "lr=0.1, weight_decay=0.1", "lr=0.1, weight_decay=0.1, decoupled_weight_decay=True, maximize=True"],
    "RMSprop": [
        "", "lr=0.1, weight_decay=0.1", "centered=True", "momentum=0.9",
        "centered=True, momentum=0.9, weight_decay=0.1, maximize=True",
    ],
    "Rprop": ["", "lr=0.1, etas=(0.3, 1.5), step_sizes=(1e-4, 1.0)", "maximize=True"],
    "SGD": [
        "", "lr=0.1", "lr=0.1, momentum=0.9", "lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.1",
        "lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01", "lr=0.01, maximize=True, momentum=0.5",
    ],
}  # fmt: skip
EXPRESSIONS = [f"{name}(ps, {text})" for name, texts in CASES.items() for text in texts]
#: What torch.optim has and flambeau.optim does not offer in full, with the reason.
REFUSED = {"SparseAdam": "no sparse gradients here; it refuses dense ones, as theirs does"}
#: What only flambeau has.
OURS = {"LAMB", "Lion"}
LBFGS = [
    "lr=1e-3",
    "lr=0.1, max_iter=4, history_size=3",
    "line_search_fn='strong_wolfe'",
    "lr=0.5, line_search_fn='strong_wolfe', max_iter=5, history_size=4",
]


def shapes_for(text: str) -> list[tuple[int, ...]]:
    return MATRICES if text.startswith("Muon") else SHAPES


def parameters(T: Any, shapes: Any, dtype: str) -> list[Any]:
    rng = np.random.default_rng(0)
    return [T.tensor(np.asarray(rng.standard_normal(s), dtype)).requires_grad_() for s in shapes]


def make(T: Any, text: str, ps: Any) -> Any:
    return eval(text, {**vars(T.optim), "T": T, "ps": ps})


def trajectory(
    oracle: Any, T: Any, text: str, dtype: str, skipping: bool = False
) -> tuple[Any, Any]:
    """The parameters after each tenth step, and the optimizer."""
    shapes = shapes_for(text)
    ps = parameters(T, shapes, dtype)
    optimizer = make(T, text, ps)
    rng = np.random.default_rng(1)
    goals = [np.asarray(rng.standard_normal(s), dtype) for s in shapes]
    seen = []
    for step in range(STEPS):
        optimizer.zero_grad()
        total: Any = 0.0
        for i, (p, goal) in enumerate(zip(ps, goals, strict=True)):
            noise = np.asarray(rng.standard_normal(goal.shape) * 0.3, dtype)
            if skipping and (step * 7 + i * 3) % 5 == 0:
                continue  # a parameter without a gradient in this step
            total = total + ((p - T.tensor(goal)) ** 2).sum() / 2 + (p * T.tensor(noise)).sum()
        total.backward()
        optimizer.step()
        if step % 10 == 9:
            seen.append([oracle.numbers(p) for p in ps])
    return seen, optimizer


def flat(arrays: Any) -> Any:
    """One vector, whose largest number sets the absolute tolerance: single parameters cross zero."""
    return np.concatenate([each.ravel() for each in arrays])


def same_state(oracle: Any, theirs: Any, ours: Any, rtol: float) -> None:
    """Groups, and the names, order, shapes, dtypes and values of every parameter's state."""
    a, b = theirs.state_dict(), ours.state_dict()
    oracle.same_text(theirs, ours)
    oracle.same_text(a["param_groups"], b["param_groups"])
    assert list(a["state"]) == list(b["state"])
    for i, state in a["state"].items():
        assert list(state) == list(b["state"][i])
        for name, value in state.items():
            mine = b["state"][i][name]
            if hasattr(value, "detach"):
                oracle.compare([value], [mine], rtol, f"state[{i}][{name}]")
            else:
                assert mine == value, name


@pytest.fixture(autouse=True)
def half_steps(oracle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Muon's orthogonalisation runs in bfloat16; in the parameters' own dtype both are compared exactly."""
    monkeypatch.setattr(oracle.theirs.Tensor, "bfloat16", lambda self: self.clone())


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_trajectory(oracle: Any, text: str, dtype: str) -> None:
    found = [trajectory(oracle, T, text, dtype) for T in oracle.both]
    (theirs, their_optimizer), (ours, our_optimizer) = found
    for step, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        oracle.close(flat(a), flat(b), RTOL[dtype], f"after {10 * step + 10} steps")
    same_state(oracle, their_optimizer, our_optimizer, 100 * RTOL[dtype])


@pytest.mark.parametrize("name", [name for name in CASES if name != "LBFGS"])
def test_missing_gradients(oracle: Any, name: str) -> None:
    """Parameters whose gradient is None in some steps keep their own count of steps."""
    text = f"{name}(ps, lr=0.05)"
    (theirs, a), (ours, b) = (trajectory(oracle, T, text, "float64", True) for T in oracle.both)
    for x, y in zip(theirs, ours, strict=True):
        oracle.close(flat(x), flat(y), RTOL["float64"], name)
    same_state(oracle, a, b, 1e-7)


def descend(oracle: Any, T: Any, text: str, dtype: str) -> tuple[Any, Any, list[float]]:
    """Twelve steps on two of Rosenbrock's valleys and a quartic."""
    x = T.tensor(np.array([[-1.2, 1.0], [2.0, -1.5]], dtype)).requires_grad_()
    y = T.tensor(np.array([0.5, -0.3], dtype)).requires_grad_()
    optimizer = T.optim.LBFGS([x, y], **eval(f"dict({text})"))

    def closure() -> Any:
        optimizer.zero_grad()
        valley = ((1 - x[:, 0]) ** 2).sum() + (100 * (x[:, 1] - x[:, 0] ** 2) ** 2).sum()
        loss = valley + ((y - x[0]) ** 4).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(12)]
    return [oracle.numbers(x), oracle.numbers(y)], optimizer, losses


@pytest.mark.parametrize("text", LBFGS)
def test_lbfgs(oracle: Any, text: str) -> None:
    (a, theirs, before), (b, ours, after) = (
        descend(oracle, T, text, "float64") for T in oracle.both
    )
    for x, y in zip(a, b, strict=True):
        oracle.close(x, y, 1e-6, "parameters")  # line searches double the last bits' differences
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-12)
    assert repr(ours) == repr(theirs)
    state, mine = (each.state_dict()["state"][0] for each in (theirs, ours))
    assert set(state) == set(mine)
    assert state["func_evals"] == mine["func_evals"]
    assert state["n_iter"] == mine["n_iter"]


def converted(oracle: Any, value: Any, T: Any) -> Any:
    """The same nested state with T's tensors."""
    if hasattr(value, "detach"):
        return T.tensor(oracle.numbers(value))
    if isinstance(value, dict):
        return {name: converted(oracle, each, T) for name, each in value.items()}
    return [converted(oracle, each, T) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [name for name in CASES if name != "LBFGS"])
@pytest.mark.parametrize("to_ours", [True, False], ids=["torch to flambeau", "flambeau to torch"])
def test_states_are_exchanged(oracle: Any, name: str, to_ours: bool) -> None:
    """What one has saved the other continues from."""
    more = {"SGD": ", momentum=0.9", "RMSprop": ", momentum=0.9", "Adam": ", amsgrad=True"}
    text = f"{name}(ps, lr=0.05{more.get(name, '')})"
    first, second = oracle.both if to_ours else oracle.both[::-1]
    rng = np.random.default_rng(2)
    noise = [[rng.standard_normal(s) for s in MATRICES] for _ in range(10)]

    def walk(T: Any, ps: Any, optimizer: Any, steps: Any) -> None:
        for each in steps:
            for p, g in zip(ps, each, strict=True):
                p.grad = T.tensor(g)
            optimizer.step()

    ps = parameters(first, MATRICES, "float64")
    optimizer = make(first, text, ps)
    walk(first, ps, optimizer, noise[:5])
    others = [second.tensor(oracle.numbers(p)).requires_grad_() for p in ps]
    other = make(second, text, others)
    walk(second, others, other, noise[8:])
    with second.no_grad():
        for p, q in zip(ps, others, strict=True):
            q.copy_(second.tensor(oracle.numbers(p)))
    other.load_state_dict(converted(oracle, optimizer.state_dict(), second))
    walk(first, ps, optimizer, noise[5:])
    walk(second, others, other, noise[5:])
    for p, q in zip(ps, others, strict=True):
        oracle.close(oracle.numbers(p), oracle.numbers(q), 1e-7, name)


@pytest.mark.parametrize(
    "name",
    ["ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"],
)  # fmt: skip
def test_complex_parameters(oracle: Any, name: str) -> None:
    """Real and imaginary parts are optimised as two numbers."""
    found = []
    for T in oracle.both:
        rng = np.random.default_rng(0)

        def draw(T: Any = T, rng: Any = rng) -> Any:
            return T.tensor(rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4)))

        p = draw().requires_grad_()
        optimizer = make(T, f"{name}(ps, lr=0.05)", [p])
        for _ in range(10):
            p.grad = draw()
            optimizer.step()
        found.append(oracle.numbers(p))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-7)


@pytest.mark.parametrize("text", ["SGD(ps, lr=0.1, momentum=0.9)", "Adam(ps, lr=0.1)"])
def test_groups(oracle: Any, text: str) -> None:
    """Several groups with settings of their own, one added while training."""
    found = []
    for T in oracle.both:
        ps = parameters(T, SHAPES, "float64")
        groups = [{"params": ps[:2], "lr": 0.3}, {"params": ps[2:4], "weight_decay": 0.2}]
        optimizer = make(T, text, groups)
        for step in range(STEPS):
            if step == 20:
                optimizer.add_param_group({"params": ps[4:], "lr": 0.01})
            optimizer.zero_grad()
            sum((p**2).sum() for p in ps).backward()
            optimizer.step()
        found.append((ps, optimizer))
    (a, theirs), (b, ours) = found
    for p, q in zip(a, b, strict=True):
        oracle.close(oracle.numbers(p), oracle.numbers(q), RTOL["float64"], "parameter")
    same_state(oracle, theirs, ours, 1e-7)


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_averaged_model(oracle: Any, kind: str, use_buffers: bool) -> None:
    """swa_utils: equal weights or an exponential average of a network's parameters, and new statistics."""
    text = "Sequential(Linear(4, 6), BatchNorm1d(6), Linear(6, 2))"
    theirs, ours = (oracle.build(T, text) for T in oracle.both)
    oracle.load(theirs, ours)
    data = np.random.default_rng(0).standard_normal((30, 8, 4))
    averages = []
    for T, model in zip(oracle.both, (theirs, ours), strict=True):
        utils = T.optim.swa_utils
        function = utils.get_ema_multi_avg_fn(0.9) if kind == "ema" else None
        averaged = utils.AveragedModel(model, multi_avg_fn=function, use_buffers=use_buffers)
        optimizer = T.optim.SGD(model.parameters(), lr=0.05)
        for i, batch in enumerate(data):
            optimizer.zero_grad()
            (model(T.tensor(batch)) ** 2).sum().backward()
            optimizer.step()
            if i >= 10:
                averaged.update_parameters(model)
        if not use_buffers:
            utils.update_bn([T.tensor(each) for each in data], averaged)
        averages.append(averaged)
    a, b = (each.state_dict() for each in averages)
    assert list(a) == list(b)
    oracle.compare(a.values(), b.values(), 1e-7, "average")
    oracle.same_text(*averages)


def test_sparse_adam_refuses_dense_gradients(oracle: Any) -> None:
    for T in oracle.both:
        p = T.ones(3).requires_grad_()
        optimizer = T.optim.SparseAdam([p])
        p.grad = T.ones(3)
        with pytest.raises(RuntimeError, match="does not support dense gradients"):
            optimizer.step()


def test_every_optimizer_is_here_and_compared(oracle: Any) -> None:
    optim, ours = oracle.theirs.optim, oracle.ours.optim
    names = {
        name
        for name, each in vars(optim).items()
        if isinstance(each, type) and issubclass(each, optim.Optimizer)
    } - {"Optimizer"}
    assert {name for name in names if not hasattr(ours, name)} == set()
    assert names == set(CASES) | set(REFUSED)
    more = {name for name in ours.__all__ if isinstance(getattr(ours, name), type)} - names
    assert {n for n in more if issubclass(getattr(ours, n), ours.Optimizer)} == {*OURS, "Optimizer"}
    for name in names:
        theirs = inspect.signature(getattr(optim, name)).parameters.values()
        mine = inspect.signature(getattr(ours, name)).parameters.values()
        told = [[(p.name, p.kind.name, repr(p.default)) for p in each] for each in (theirs, mine)]
        assert told[0] == told[1], name
