"""How far a loader is in its epoch, and how to get there again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    while at is not None and all(at is not one for one in found):
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


def _sizes(loader: DataLoader[Any]) -> dict[str, int | str | None]:
    """What a number of batches means in samples, and of how many samples an order is."""
    length = None
    if not loader._is_iterable:
        with suppress(TypeError, NotImplementedError):  # a sampler can do without it
            length = len(loader.dataset)  # type: ignore[arg-type]  # as PyTorch
    samplers = _samplers(loader)
    size = loader.batch_size or getattr(samplers[0], "batch_size", None)
    order = " of ".join(type(s).__name__ for s in samplers)
    return {"batch_size": size, "len(dataset)": length, "order": order}


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
        else:
            made["sizes"] = _sizes(loader)
        return made


def _check_owners(loader: DataLoader[Any], state: dict[str, Any]) -> None:
    gens, samplers = _generators(loader), _samplers(loader)
    if len(gens) != len(state["generators"]) or len(samplers) != len(state["samplers"]):
        raise OptionError(
            f"DataLoader.load_state_dict: the state is of a loader with {len(state['generators'])} generators and "
            f"{len(state['samplers'])} samplers, this one has {len(gens)} and {len(samplers)}. "
            "Hint: make the loader with the same sampler and generator arguments"
        )


def _restore(loader: DataLoader[Any], state: dict[str, Any]) -> None:
    _check_owners(loader, state)
    gens, samplers = _generators(loader), _samplers(loader)
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
    _check_whole(state)
    start = state["start"]
    if start is None:
        _restore(loader, state)
        return None
    mine, sizes = _sizes(loader), state.get("sizes", {})
    for name in mine.keys() & sizes.keys():
        size = sizes[name]
        if size != mine[name]:
            raise OptionError(
                f"DataLoader.load_state_dict: the state is of the middle of an epoch with {name}={size}, this loader "
                f"has {name}={mine[name]}: it would leave samples out or repeat them. Hint: load it into a loader "
                "made with the same arguments, or begin the epoch anew"
            )
    read, now = len(state["per_worker"]), loader.num_workers
    if loader._is_iterable and max(read, 1) != max(now, 1):  # one worker reads as the program does
        raise OptionError(
            f"DataLoader.load_state_dict: the state is of an iterable dataset read by {read} workers, this "
            f"loader has {now}; another number would read other samples"
        )
    _check_owners(loader, start)
    return copy.deepcopy(state)


def _check_whole(state: dict[str, Any]) -> None:
    """That a state has all of its parts."""
    start = state.get("start")
    owners = state if start is None else start
    parts = {
        "batches": isinstance(state.get("batches"), int) and state["batches"] >= 0,
        "per_worker": isinstance(state.get("per_worker"), list),
        "last": isinstance(state.get("last"), int),
        "start": "start" in state and (start is None or isinstance(start, dict)),
    }
    if parts["start"]:
        parts["generators"] = isinstance(owners.get("generators"), list)
        parts["samplers"] = isinstance(owners.get("samplers"), list)
        parts["default"] = start is None or isinstance(start.get("default"), list)
    wrong = [name for name, right in parts.items() if not right]
    if wrong:
        raise OptionError(
            f"DataLoader.load_state_dict: {', '.join(wrong)} is missing from the state or not what state_dict() "
            "puts there. Hint: pass what loader.state_dict() returned"
        )
