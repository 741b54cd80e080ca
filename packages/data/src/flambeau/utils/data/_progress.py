"""How far a loader is in its epoch, and how to get there again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import random as streams
from flambeau.utils.data.errors import OptionError

if TYPE_CHECKING:
    from flambeau.utils.data.dataloader import DataLoader

_VERSION = 1
Place = list[int]


def _place(gen: streams.Generator) -> Place:
    return [gen.initial_seed(), gen.offset]


def _go(gen: streams.Generator, place: Place) -> None:
    gen.set_state(np.array(place, "<u8").view(np.uint8))


def _samplers(loader: DataLoader[Any]) -> list[Any]:
    """The loader's samplers, from the outermost one inwards."""
    found: list[Any] = []
    at: Any = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    while at is not None and at not in found:
        found.append(at)
        at = getattr(at, "sampler", None)
    return found


def _generators(loader: DataLoader[Any]) -> list[streams.Generator]:
    """The generators that the loader's order comes from, besides the default one."""
    found: list[streams.Generator] = []
    for owner in (loader, *_samplers(loader)):
        gen = getattr(owner, "generator", None)
        if isinstance(gen, streams.Generator) and gen is not streams.default_generator:
            found.extend([gen] if gen not in found else [])
    return found


def _counters(loader: DataLoader[Any]) -> list[Any]:
    """The states of samplers that keep one."""
    return [s.state_dict() if hasattr(s, "state_dict") else None for s in _samplers(loader)]


class Progress:
    """A loader's place.

    start: where the epoch's random numbers began; None between epochs.  batches: given out so far.
    per_worker: how many of them each worker made, and last: who made the last one (iterable datasets only).
    """

    def __init__(self) -> None:
        self.start: dict[str, Any] | None = None
        self.batches = 0
        self.per_worker: list[int] = []
        self.last = -1

    @contextmanager
    def beginning(self, loader: DataLoader[Any], resumed: dict[str, Any] | None) -> Iterator[None]:
        """Around the draws that begin an epoch, be it a new one or one that a state describes."""
        default = streams.default_generator
        before = _place(default)
        if resumed is not None:
            self.batches = resumed["batches"]
            self.per_worker = list(resumed["per_worker"])
            self.last = resumed["last"]
            begun = resumed["start"]
            _go(default, begun["default"])
            _restore(loader, begun)
        self.start = {
            "default": _place(default),
            "generators": [_place(g) for g in _generators(loader)],
            "samplers": _counters(loader),
        }
        try:
            yield
        finally:
            if resumed is not None:  # what the program draws from it is the program's to restore
                _go(default, before)

    def finish(self) -> None:
        """The epoch has ended."""
        self.start, self.batches, self.per_worker, self.last = None, 0, [], -1

    def state(self, loader: DataLoader[Any]) -> dict[str, Any]:
        """This place in numbers and lists."""
        made: dict[str, Any] = {
            "version": _VERSION,
            "batches": self.batches,
            "per_worker": list(self.per_worker),
            "last": self.last,
            "start": self.start,
        }
        if self.start is None:
            made["generators"] = [_place(g) for g in _generators(loader)]
            made["samplers"] = _counters(loader)
        return made


def _restore(loader: DataLoader[Any], state: dict[str, Any]) -> None:
    gens, samplers = _generators(loader), _samplers(loader)
    if len(gens) != len(state["generators"]) or len(samplers) != len(state["samplers"]):
        raise OptionError(
            f"DataLoader.load_state_dict: the state is of a loader with {len(state['generators'])} generators and "
            f"{len(state['samplers'])} samplers, this one has {len(gens)} and {len(samplers)}. "
            "Hint: make the loader with the same sampler and generator arguments"
        )
    for gen, place in zip(gens, state["generators"]):
        _go(gen, place)
    for sampler, counters in zip(samplers, state["samplers"]):
        if counters is not None:
            sampler.load_state_dict(counters)


def load(loader: DataLoader[Any], state: Any) -> dict[str, Any] | None:
    """Check a state; what the next epoch resumes from, None where it begins anew."""
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        got = state.get("version") if isinstance(state, dict) else type(state).__name__
        raise OptionError(
            f"DataLoader.load_state_dict: needs a state_dict of version {_VERSION}, got {got}. "
            "Hint: pass what loader.state_dict() returned"
        )
    per_worker = state["per_worker"]
    if per_worker and len(per_worker) != loader.num_workers:
        raise OptionError(
            f"DataLoader.load_state_dict: the state is of an iterable dataset read by {len(per_worker)} workers, this "
            f"loader has {loader.num_workers}; another number would read other samples"
        )
    if state["start"] is None:
        _restore(loader, state)
        return None
    return state
