"""A line search that ends at a point with the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.ops.extremes import amax
from flambeau.tensor import Tensor

#: Sufficient decrease, and curvature: Nocedal, Wright 2006, section 3.1.
_C1, _C2 = 1e-4, 0.9


class Point:
    """A step length with the loss, the gradient and the slope along the direction there."""

    __slots__ = ("grad", "loss", "slope", "t")

    def __init__(self, t: float, loss: float, grad: Tensor, slope: float) -> None:
        self.t, self.loss, self.grad, self.slope = t, loss, grad, slope


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within bounds."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    if a.t == b.t:
        return (low + high) / 2.0
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square**0.5
    if a.t > b.t:
        a, b = b, a
    bottom = b.slope - a.slope + 2 * d2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / bottom) if bottom else (low + high) / 2.0
    return min(max(t, low), high)


def strong_wolfe(
    at: Callable[[float], tuple[float, Tensor]],
    t: float,
    direction: Tensor,
    loss: float,
    grad: Tensor,
    slope: float,
    *,
    tolerance: float = 1e-9,
    max_evals: int = 25,
) -> tuple[float, Tensor, float, int]:
    """Search along direction from a point with this loss, gradient and slope.

    Args: at: loss and gradient at a step length.  t: the first guess.  tolerance: width at which a bracket is given up.
    Returns: loss, gradient, step length, and how many times `at` was called.
    """
    search = _Search(at, direction, Point(0.0, loss, grad, slope), max_evals)
    bracket, done = search.bracket(t)
    width = amax(direction.abs()).item()
    best = bracket[0] if done else search.zoom(bracket, width, tolerance)
    return best.loss, best.grad, best.t, search.evals


class _Search:
    def __init__(self, at: Any, direction: Tensor, start: Point, max_evals: int) -> None:
        self.at, self.direction, self.start, self.max_evals = at, direction, start, max_evals
        self.evals = self.rounds = 0

    def evaluate(self, t: float) -> Point:
        loss, grad = self.at(t)
        self.evals += 1
        return Point(t, loss, grad, (grad * self.direction).sum().item())

    def too_high(self, p: Point) -> bool:
        return p.loss > self.start.loss + _C1 * p.t * self.start.slope

    def flat(self, p: Point) -> bool:
        return abs(p.slope) <= -_C2 * self.start.slope

    def bracket(self, t: float) -> tuple[list[Point], bool]:
        """Two points around an acceptable one, or that one."""
        before, now = self.start, self.evaluate(t)
        while self.rounds < self.max_evals:
            if self.too_high(now) or (self.rounds > 1 and now.loss >= before.loss):
                return [before, now], False
            if self.flat(now):
                return [now], True
            if now.slope >= 0:
                return [before, now], False
            t = cubic_minimum(before, now, (now.t + 0.01 * (now.t - before.t), now.t * 10))
            before, now = now, self.evaluate(t)
            self.rounds += 1
        return [self.start, now], False

    def zoom(self, bracket: list[Point], width: float, tolerance: float) -> Point:
        """Narrow the bracket until a point is acceptable."""
        low = int(bracket[0].loss > bracket[1].loss)
        stalled = False
        while (
            self.rounds < self.max_evals and abs(bracket[1].t - bracket[0].t) * width >= tolerance
        ):
            t, stalled = self._trial(bracket, stalled)
            now = self.evaluate(t)
            self.rounds += 1
            best, other = bracket[low], bracket[1 - low]
            if self.too_high(now) or now.loss >= best.loss:
                bracket[1 - low] = now
                low = int(bracket[0].loss > bracket[1].loss)
                continue
            if self.flat(now):
                return now
            if now.slope * (other.t - best.t) >= 0:
                bracket[1 - low] = best
            bracket[low] = now
        return bracket[low]

    def _trial(self, bracket: list[Point], stalled: bool) -> tuple[float, bool]:
        """The next length, kept away from the ends of the bracket when it hugs them twice."""
        left, right = sorted(p.t for p in bracket)
        t = cubic_minimum(bracket[0], bracket[1])
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            return t, False
        if stalled or t >= right or t <= left:
            return (right - margin if abs(t - right) < abs(t - left) else left + margin), False
        return t, True
