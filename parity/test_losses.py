"""Every loss of torch.nn: the same inputs and targets, values and gradients."""

from __future__ import annotations

from typing import Any

import pytest

RTOL = {"float64": 1e-7, "float32": 1e-5}
Inputs = list[Any]

N, C = 5, 4
PAIR = [(N, C), (N, C)]
WEIGHTS = "T.tensor([0.3, 1.0, 0.0, 2.5], dtype=dtype)"
CLASSES = [(N, C), lambda d: d.ints(C, N)]
MAPS = [(2, C, 3, 5), lambda d: d.ints(C, 2, 3, 5)]
ONE = [(C,), lambda d: d.ints(C)]
SHARES = [(N, C), lambda d: d.chances(N, C)]
SHARED_MAPS = [(2, C, 3, 5), lambda d: d.chances(2, C, 3, 5)]
IGNORED = [(N, C), lambda d: d.given(0, 1, 3, 1, 3)]
CHANCES = [lambda d: d.uniform(0.05, 0.95, N, C), lambda d: d.uniform(0.0, 1.0, N, C)]
EDGES = [lambda d: d.given(0.0, 1.0, 0.5), lambda d: d.given(1.0, 0.0, 1.0)]
TRIPLE = [(N, 8), (N, 8), (N, 8)]
LABELS = [
    (N, C),
    lambda d: d.given([1, 2, -1, 0], [-1, 0, 1, 2], [0, 1, 2, 3], [3, -1, 0, 0], [2, 0, -1, 1]),
]

#: Constructor arguments of each loss (reduction apart) and its inputs; every case runs with the three reductions.
CASES: list[tuple[str, str, list[Inputs]]] = [
    ("L1Loss", "", [PAIR, [(), ()], [(0, 3), (0, 3)]]),
    ("MSELoss", "", [PAIR, [(), ()], [(2, 3, 4), (2, 3, 4)]]),
    ("SmoothL1Loss", "", [PAIR]),
    ("SmoothL1Loss", "beta=0.3", [PAIR]),
    ("SmoothL1Loss", "beta=0.0", [PAIR]),
    ("HuberLoss", "", [PAIR]),
    ("HuberLoss", "delta=0.4", [PAIR]),
    ("CrossEntropyLoss", "", [CLASSES, MAPS, ONE, SHARES, SHARED_MAPS]),
    ("CrossEntropyLoss", "label_smoothing=0.1", [CLASSES, MAPS, ONE, SHARES, SHARED_MAPS]),
    ("CrossEntropyLoss", "ignore_index=3", [IGNORED]),
    ("CrossEntropyLoss", f"weight={WEIGHTS}", [CLASSES, MAPS, ONE, SHARES]),
    (
        "CrossEntropyLoss",
        f"weight={WEIGHTS}, ignore_index=1, label_smoothing=0.2",
        [CLASSES, MAPS, IGNORED],
    ),
    ("CrossEntropyLoss", f"weight={WEIGHTS}, label_smoothing=0.2", [SHARES, SHARED_MAPS]),
    ("NLLLoss", "", [CLASSES, MAPS, ONE]),
    ("NLLLoss", f"weight={WEIGHTS}, ignore_index=3", [CLASSES, MAPS, IGNORED]),
    ("NLLLoss2d", "", [MAPS]),
    ("LinearCrossEntropyLoss", "6, 4", [[(N, 6), lambda d: d.ints(C, N)]]),
    (
        "LinearCrossEntropyLoss",
        f"6, 4, bias=True, label_smoothing=0.1, weight={WEIGHTS}, ignore_index=1",
        [[(N, 6), lambda d: d.given(0, 1, 3, 1, 3)]],
    ),
    (
        "LinearCrossEntropyLoss",
        "6, 4, out_features=(3,)",
        [[(N, 6), lambda d: d.ints(C, N, 3)]],
    ),
    ("BCELoss", "", [CHANCES, EDGES]),
    ("BCELoss", f"weight={WEIGHTS}", [CHANCES]),
    (
        "BCEWithLogitsLoss",
        "",
        [[(N, C), CHANCES[1]], [(C,), lambda d: d.given(0.0, 1.0, 0.5, 1.0)]],
    ),
    ("BCEWithLogitsLoss", f"weight={WEIGHTS}, pos_weight=2 * {WEIGHTS}", [[(N, C), CHANCES[1]]]),
    ("KLDivLoss", "", [[(N, C), lambda d: d.chances(N, C)]]),
    ("KLDivLoss", "log_target=True", [PAIR]),
    ("PoissonNLLLoss", "", [[(N, C), lambda d: d.uniform(0.0, 5.0, N, C)]]),
    (
        "PoissonNLLLoss",
        "log_input=False, full=True, eps=1e-6",
        [[lambda d: d.uniform(0.1, 4.0, N, C), lambda d: d.uniform(0.0, 5.0, N, C)]],
    ),
    (
        "GaussianNLLLoss",
        "",
        [
            [(N, C), (N, C), lambda d: d.uniform(0.1, 2.0, N, C)],
            [(N, C), (N, C), lambda d: d.uniform(0.1, 2.0, N, 1)],
            [(N, C), (N, C), lambda d: d.uniform(0.1, 2.0, N)],
        ],
    ),
    (
        "GaussianNLLLoss",
        "full=True, eps=0.5",
        [[(N, C), (N, C), lambda d: d.uniform(0.1, 2.0, N, C)]],
    ),
    ("HingeEmbeddingLoss", "", [[(N, C), lambda d: d.signs(N, C)]]),
    ("HingeEmbeddingLoss", "margin=0.3", [[(N, C), lambda d: d.signs(N, C)]]),
    ("SoftMarginLoss", "", [[(N, C), lambda d: d.signs(N, C)]]),
    ("MarginRankingLoss", "", [[(N,), (N,), lambda d: d.signs(N)]]),
    ("MarginRankingLoss", "margin=0.5", [[(N,), (N,), lambda d: d.signs(N)]]),
    (
        "CosineEmbeddingLoss",
        "",
        [[(N, 8), (N, 8), lambda d: d.signs(N)], [(8,), (8,), lambda d: d.signs()]],
    ),
    ("CosineEmbeddingLoss", "margin=0.2", [[(N, 8), (N, 8), lambda d: d.signs(N)]]),
    ("MultiLabelMarginLoss", "", [LABELS, [(C,), lambda d: d.given(3, 0, -1, 1)]]),
    ("MultiLabelSoftMarginLoss", "", [[(N, C), lambda d: d.uniform(0.0, 1.0, N, C, grad=False)]]),
    (
        "MultiLabelSoftMarginLoss",
        f"weight={WEIGHTS}",
        [[(N, C), lambda d: d.uniform(0.0, 1.0, N, C, grad=False)]],
    ),
    ("MultiMarginLoss", "", [CLASSES, ONE]),
    ("MultiMarginLoss", f"p=2, margin=0.5, weight={WEIGHTS}", [CLASSES]),
    ("TripletMarginLoss", "", [TRIPLE, [(8,), (8,), (8,)]]),
    ("TripletMarginLoss", "margin=0.5, p=1.0, eps=1e-3, swap=True", [TRIPLE]),
    ("TripletMarginWithDistanceLoss", "", [TRIPLE]),
    (
        "TripletMarginWithDistanceLoss",
        "distance_function=nn.CosineSimilarity(), margin=0.7, swap=True",
        [TRIPLE],
    ),
]
EXPRESSIONS = [
    (f"{name}({arguments}{', ' * bool(arguments)}reduction={reduction!r})", inputs)
    for name, arguments, inputs in CASES
    for reduction in ("mean", "sum", "none", "batchmean")
    if reduction != "batchmean" or name == "KLDivLoss"
]
#: log-probabilities (T, N, C), targets, their lengths and those of the inputs
CTC = [
    ("", [(7, 3, 5), lambda d: d.ints(5, 3, 4, low=1), lambda d: d.given(7, 6, 7), lambda d: d.given(4, 2, 3)]),
    ("", [(7, 3, 5), lambda d: d.ints(5, 9, low=1), lambda d: d.given(7, 6, 7), lambda d: d.given(4, 2, 3)]),
    ("", [(7, 5), lambda d: d.ints(5, 4, low=1), lambda d: d.ints(8, low=7), lambda d: d.ints(5, low=4)]),
    ("blank=4", [(7, 3, 5), lambda d: d.ints(4, 3, 4), lambda d: d.given(7, 7, 7), lambda d: d.given(4, 0, 3)]),
    (
        "zero_infinity=True",
        [(4, 2, 5), lambda d: d.given([1, 1, 1, 1], [1, 2, 1, 3]), lambda d: d.given(4, 4), lambda d: d.given(4, 3)],
    ),
]  # fmt: skip

#: Advice of PyTorch's on what is compared nevertheless.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`NLLLoss2d` has been deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning"),
]


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize(("text", "inputs"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_loss(oracle: Any, text: str, inputs: list[Inputs], dtype: str) -> None:
    theirs, ours = (oracle.build(T, text, dtype) for T in oracle.both)
    oracle.same_text(theirs, ours)
    oracle.load(theirs, ours)
    for i, each in enumerate(inputs):
        arrays = oracle.arrays(each, dtype, seed=i)
        expected, grads = oracle.run(oracle.theirs, theirs, arrays)
        result, our_grads = oracle.run(oracle.ours, ours, arrays)
        oracle.compare(expected, result, RTOL[dtype], f"loss of inputs {i}")
        oracle.compare(grads, our_grads, RTOL[dtype], f"gradients of inputs {i}")
    expected = [p.grad for p in theirs.parameters()]
    oracle.compare(expected, [p.grad for p in ours.parameters()], RTOL[dtype], "parameters")


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("arguments", "inputs"), CTC)
def test_ctc(oracle: Any, arguments: str, inputs: Inputs, reduction: str, dtype: str) -> None:
    text = f"CTCLoss({arguments}{', ' * bool(arguments)}reduction={reduction!r})"
    arrays = oracle.arrays(inputs, dtype)
    found = []
    for T in oracle.both:
        loss = oracle.build(T, text, dtype)

        def from_scores(x: Any, *rest: Any, T: Any = T, loss: Any = loss) -> Any:
            return loss(T.nn.functional.log_softmax(x, -1), *rest)

        found.append(oracle.run(T, from_scores, arrays))
    for what, theirs, ours in zip(("loss", "gradients"), *found, strict=True):
        oracle.compare(theirs, ours, RTOL[dtype], what)


def test_every_loss_is_here_and_compared(oracle: Any) -> None:
    nn = oracle.theirs.nn
    losses = {
        name
        for name, each in vars(nn).items()
        if isinstance(each, type) and issubclass(each, nn.modules.loss._Loss)
    }
    assert {name for name in losses if not hasattr(oracle.ours.nn, name)} == set()
    assert losses == {name for name, _, _ in CASES} | {"CTCLoss"}


def test_silent_broadcasts_are_refused(oracle: Any) -> None:
    """The one difference meant: (n, 1) against (n,) is an error here, and theirs on request."""
    arrays = oracle.arrays([(N, 1), (N,)], "float64")
    for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"):
        with pytest.warns(UserWarning, match="Using a target size"):
            expected = oracle.run(oracle.theirs, oracle.build(oracle.theirs, f"{name}()"), arrays)
        with pytest.raises(ValueError, match="broadcasting them"):
            oracle.run(oracle.ours, oracle.build(oracle.ours, f"{name}()"), arrays)
        found = oracle.run(
            oracle.ours, oracle.build(oracle.ours, f"{name}(broadcast=True)"), arrays
        )
        oracle.compare(expected[0], found[0], RTOL["float64"], name)
        oracle.compare(expected[1], found[1], RTOL["float64"], name)
