"""With core and the CPU backend alone: it computes, and what is missing names its pip command."""

from __future__ import annotations

import importlib.metadata
import sys

import flambeau as fb

MISSING = {"nn": "flambeau-nn", "optim": "flambeau-optim", "utils.data": "flambeau-data"}
EXPECTED = {"flambeau-core", "flambeau-cpu", "numpy", "pluggy"}
TOOLS = {"pip", "setuptools", "wheel"}  # what an environment may start with


def main() -> int:
    problems = [*installed(), *computes(), *missing()]
    for problem in problems:
        print(f"minimal: {problem}")
    if not problems:
        print(f"minimal: ok ({', '.join(sorted(EXPECTED))} and nothing else)")
    return len(problems)


def installed() -> list[str]:
    names = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    extra, absent = names - EXPECTED - TOOLS, EXPECTED - names
    return [f"installed besides: {sorted(extra)}"] * bool(extra) + [
        f"not installed: {sorted(absent)}"
    ] * bool(absent)


def computes() -> list[str]:
    x = fb.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x * x).sum().backward()
    grad = x.grad.tolist() if x.grad is not None else None
    return [] if grad == [2.0, 4.0, 6.0] else [f"d(x*x)/dx at 1, 2, 3 came out as {grad}"]


def missing() -> list[str]:
    problems = []
    for piece, dist in MISSING.items():
        try:
            target: object = fb
            for name in piece.split("."):
                target = getattr(target, name)
        except ModuleNotFoundError as error:
            if f"pip install {dist}" not in str(error):
                problems.append(f"fb.{piece} does not name 'pip install {dist}': {error}")
        else:
            problems.append(f"fb.{piece} is there though {dist} is not installed")
    return problems


if __name__ == "__main__":
    sys.exit(main())
