"""Time one case in two libraries side by side, after checking that both compute the same.

A case is a function of the library module, written once in the vocabulary both share:

    @cases.add("add 2000", goal=1.0)
    def add(lib):
        a, b = lib.ones(2000), lib.ones(2000)
        def step():
            return a + b
        return Trial(step)

`theirs` is PyTorch (but for cases `against_ours`), `ours` the library under test; a ratio is ours / theirs.
"""

from __future__ import annotations

import gc
import importlib.util
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Library: TypeAlias = Any  # a module with PyTorch's vocabulary
Step: TypeAlias = Callable[[], Any]
Make: TypeAlias = "Callable[[Library], Trial]"

# OpenBLAS workers spin for 2**26 cycles after a call (its THREAD_TIMEOUT default), libgomp's for
# less; with several threads a block must not start while the other library's workers still spin.
SETTLE_SECONDS = 0.03
# CPython 3.11 gives up a stale specialisation of an instruction after 53 misses.
WARM_STEPS = 60


class Trial(NamedTuple):
    """What a case builds in one library."""

    step: Step  # the code to time; its result (tensors, numbers, tuples, None) is compared
    leaves: Sequence[Any] = ()  # tensors whose values and gradients are compared after the steps


@dataclass(frozen=True)
class Case:
    """One row of the table that is a ratio of two step times."""

    name: str
    goal: float  # highest ratio that is "ok"
    make: Make
    ours: Make | None = None  # where ours is built differently (compiled, say); default: make
    against_ours: bool = False  # `theirs` is our library as well: what does `ours` add to `make`?
    rebuild: bool = True  # build anew each round, so that state never wanders off
    check_steps: int = 2  # two show that gradients do not pile up
    rtol: float = 1e-4

    def other(self, settings: Settings) -> Library:
        """The library that ours is compared with."""
        return settings.ours if self.against_ours else settings.theirs


class Cases:
    """The cases of one module, in the order they were added."""

    def __init__(self) -> None:
        self.items: dict[str, Case] = {}

    def add(self, name: str, *, goal: float, **options: Any) -> Callable[[Make], Make]:
        """Register the decorated function as a case; options are the other fields of Case."""

        def register(make: Make) -> Make:
            if name in self.items:
                raise ValueError(f"two cases are called {name!r}")
            self.items[name] = Case(name, goal, make, **options)
            return make

        return register

    def __iter__(self) -> Iterator[Case]:
        return iter(self.items.values())


@dataclass(frozen=True)
class Settings:
    """How this run measures."""

    theirs: Library
    ours: Library
    rounds: int
    block_seconds: float
    threads: int

    @property
    def self_check(self) -> bool:
        """Whether PyTorch is measured against itself."""
        return self.ours is self.theirs


@dataclass
class Row:
    """One line of the table."""

    case: str
    goal: str
    theirs: float | None = None
    ours: float | None = None
    unit: str = "s"  # "s" or "B"
    ratios: list[float] = field(default_factory=list)  # one per round
    met: bool | None = None
    error: str | None = None
    loops: int | None = None  # steps in one timed block

    @property
    def ratio(self) -> float | None:
        """Median of the rounds' ratios."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """First and third quartile of the rounds' ratios."""
        if len(self.ratios) < 2:
            return None
        first, _, third = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return first, third


class CaseError(Exception):
    """A case that cannot be timed; the text says why and in which library."""


def describe(error: BaseException) -> str:
    """One line for an exception, without the machine's paths."""
    text = str(error).strip().split("\n", 1)[0]
    text = re.sub(r"(?<![\w.])(?:/[^\s/:'\",]+)+/", ".../", text)
    if isinstance(error, CaseError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def load_cases(path: Path, copy: str) -> Cases:
    """The cases of a file, as a fresh module of its own.

    Each library gets its own copy of the code: CPython's inline caches specialise a code object on
    the types that pass through it, and one shared by two Tensor classes would suit neither.
    """
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{copy}", path)
    if spec is None or spec.loader is None:
        raise CaseError(f"{path.name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = module.cases
    if not isinstance(cases, Cases):
        raise CaseError(f"{path.name} has no `cases = Cases()`")
    return cases


# -- the check -----------------------------------------------------------------------------------


def to_array(value: Any) -> np.ndarray[Any, Any]:
    """A copy of a tensor or number as an array."""
    if hasattr(value, "detach"):
        return np.array(value.detach().numpy())
    return np.array(value)


def record(name: str, value: Any, into: dict[str, np.ndarray[Any, Any] | None]) -> None:
    """Put a step's result, whatever its nesting, under names of its own."""
    if value is None:
        into[name] = None
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            record(f"{name}[{i}]", item, into)
    else:
        into[name] = to_array(value)


def snapshot(make: Make, lib: Library, steps: int) -> dict[str, np.ndarray[Any, Any] | None]:
    """Everything a case computes in its first steps: results, leaves, gradients."""
    seen: dict[str, np.ndarray[Any, Any] | None] = {}
    try:
        trial = make(lib)
        for i in range(steps):
            record(f"result of step {i + 1}", trial.step(), seen)
        for i, leaf in enumerate(trial.leaves):
            record(f"leaf {i}", leaf, seen)
            record(f"gradient of leaf {i}", leaf.grad, seen)
    except Exception as error:
        raise CaseError(f"{lib.__name__}: {describe(error)}") from error
    return seen


def compare(
    name: str,
    got: np.ndarray[Any, Any] | None,
    want: np.ndarray[Any, Any] | None,
    rtol: float,
) -> None:
    """Raise CaseError unless both are alike in presence, shape, dtype and (by norm) value.

    The norm, not each element: Adam turns a gradient that is only rounding noise into a full step,
    so single parameters of two correct libraries may differ by the learning rate.
    """
    if got is None or want is None:
        if got is not want:
            raise CaseError(
                f"wrong result: {name} is missing in {'ours' if got is None else 'torch'}"
            )
        return
    if got.shape != want.shape or got.dtype != want.dtype:
        expected = f"expected {want.dtype} {want.shape}, got {got.dtype} {got.shape}"
        raise CaseError(f"wrong result: {name}: {expected}")
    difference = np.linalg.norm(np.ravel(got.astype(np.float64) - want.astype(np.float64)))
    allowed = rtol * np.linalg.norm(np.ravel(want).astype(np.float64)) + 1e-6 * math.sqrt(want.size)
    if not difference <= allowed:  # also catches NaN
        raise CaseError(f"wrong result: {name} is off by {difference:.3g} > {allowed:.3g}")


def check(theirs: Case, ours: Case, settings: Settings) -> None:
    """Refuse a case whose results differ: a wrong op must not win."""
    want = snapshot(theirs.make, theirs.other(settings), theirs.check_steps)
    got = snapshot(ours.ours or ours.make, settings.ours, ours.check_steps)
    if got.keys() != want.keys():
        raise CaseError(f"wrong result: {sorted(got.keys() ^ want.keys())[0]} in one library only")
    for name, expected in want.items():
        compare(name, got[name], expected, theirs.rtol)


# -- the clock -----------------------------------------------------------------------------------


def block(step: Step, loops: int, settle: float = 0.0) -> float:
    """Seconds for `loops` calls of `step`, after one call that warms the caches again."""
    if settle:
        time.sleep(settle)
    step()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in repeat(None, loops):
            step()
        return time.perf_counter() - start
    finally:
        gc.enable()


def warm_up(step: Step, loops: int) -> None:
    """Let a new trial make its lazy state (moments, say) and reach its steady pace, untimed."""
    for _ in range(min(loops, WARM_STEPS)):
        step()


def calibrate(theirs: Step, ours: Step, target: float) -> int:
    """The number of steps in a block.

    Both libraries run the same number, so that a training loop is as far along in one as in the
    other; it brings the geometric mean of the two block times to the target.
    """
    loops = 1
    while True:
        mean = math.sqrt(block(theirs, loops) * block(ours, loops))
        if mean >= target / 4:
            return max(1, round(loops * target / mean))
        loops *= 4


def measure(theirs: Case, ours: Case, settings: Settings) -> Row:
    """Check, calibrate, then time both in turn; who goes first changes every round."""
    check(theirs, ours, settings)
    make_ours = ours.ours or ours.make

    def build() -> tuple[Step, Step]:
        return theirs.make(theirs.other(settings)).step, make_ours(settings.ours).step

    steps = build()
    gc.collect()
    gc.freeze()  # the imported modules are out of every later collection
    loops = calibrate(*steps, settings.block_seconds)
    settle = SETTLE_SECONDS if settings.threads > 1 else 0.0
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(settings.rounds):
        if theirs.rebuild:
            steps = build()
            for step in steps:
                warm_up(step, loops)
        gc.collect()  # what the last round left in cycles is not this round's work
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            times[side].append(block(steps[side], loops, settle) / loops)
    row = Row(theirs.name, f"<= {theirs.goal:g}", loops=loops)
    row.theirs, row.ours = statistics.median(times[0]), statistics.median(times[1])
    row.ratios = [b / a for a, b in zip(*times, strict=True)]
    row.met = statistics.median(row.ratios) <= theirs.goal
    return row


def loop_overhead() -> float:
    """Seconds that an empty step costs in a block: part of every time shown, of both libraries."""

    def nothing() -> None:
        return None

    return min(block(nothing, 20_000) for _ in range(5)) / 20_000
