"""Random numbers for each sample: a stream of its own, whoever loads the sample and whenever.

The stream of the sample at position p of an epoch is the default generator's Philox at
seed = epoch seed + p * odd constant, block = sample index * 2**32: the same with any number of workers, another one in
every epoch, and another one where an epoch visits a sample twice.
"""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np

import flambeau
from flambeau import random as streams
from flambeau.utils.data.errors import OptionTypeError

_U64 = 2**64 - 1
_U32 = 2**32 - 1
#: 2**64 over the golden ratio: neighbouring positions get seeds far apart.
_STEP = 0x9E3779B97F4A7C15
#: Where in a sample's 2**32 blocks the generators of `sample_rng` start; no sample draws that far.
_PYTHON, _NUMPY, _OWN = (i << 30 for i in (1, 2, 3))

State = tuple[int, int]


class Place:
    """Where a thread is in an epoch while it makes a batch.

    seed: the epoch's.  at: (position in the epoch, index) of the sample: a loop over samples stores no more than that,
    and their streams are worked out when something draws.  sample: the `at` to which `state`, what the sample has left
    to draw from, and `made`, the generators of its sample_rng(), belong.
    """

    __slots__ = ("at", "made", "sample", "seed", "state")

    def __init__(self, seed: int, at: tuple[int, Any]) -> None:
        self.seed, self.at = seed, at
        self.sample: Any = None

    def now(self) -> Place:
        """This place, with the stream of the sample that `at` says."""
        if self.sample is not self.at:
            self.sample = self.at
            self.state = self.origin()
            self.made: dict[int, Any] = {}
        return self

    def origin(self) -> State:
        """Where the stream of the sample begins."""
        position, index = self.at
        block = (index & _U32) << 32 if isinstance(index, int) else 0
        return (self.seed + position * _STEP) & _U64, block


class _Here(threading.local):
    """What this thread is doing.

    place: the batch that it is making; None outside of batches.
    state: what it draws from outside of them instead of the default generator's own stream; None: that one.
    """

    place: Place | None = None
    state: State | None = None


here = _Here()
_default = streams.default_generator
_slot: Any = streams.Generator.__dict__["_state"]


class _PerThread(type(_default)):  # type: ignore[misc]  # the class is streams.Generator
    """The default generator, which gives a thread that is loading a sample that sample's stream."""

    __slots__ = ()

    @property
    def _state(self) -> State:
        if self is _default:
            place = here.place
            if place is not None:
                return place.now().state
            if here.state is not None:
                return here.state
        state: State = _slot.__get__(self)
        return state

    @_state.setter
    def _state(self, state: State) -> None:
        if self is not _default or (here.place is None and here.state is None):
            _slot.__set__(self, state)
        elif here.place is None:
            here.state = state
        else:
            here.place.now().state = state


def install() -> None:
    """Let the default generator look for a sample's stream first: 0.1 us a draw, so only loaders ask for it."""
    if type(_default) is not _PerThread:
        _default.__class__ = _PerThread


def draw_seed(generator: Any) -> int:
    """A seed in [0, 2**63) drawn from a generator, the default one if None."""
    gen = generator if generator is not None else _default
    if not isinstance(gen, streams.Generator):
        raise OptionTypeError(
            f"generator should be a flambeau.Generator or None, but got {type(gen).__name__}"
        )
    low, high = gen.words(2).tolist()
    return int(low | (high & 0x7FFFFFFF) << 32)


class SampleRNG:
    """Generators of the sample that the calling thread is loading; see `sample_rng`."""

    __slots__ = ()

    @property
    def random_generator(self) -> random.Random:
        """A `random.Random`."""
        return self._get(_PYTHON, lambda seed, block: random.Random((seed << 64) + block))  # type: ignore[no-any-return]

    @property
    def numpy_generator(self) -> np.random.Generator:
        """A `numpy.random.Generator`."""
        made = self._get(
            _NUMPY,
            lambda seed, block: np.random.Generator(np.random.Philox(counter=block, key=seed)),
        )
        return made  # type: ignore[no-any-return]

    @property
    def torch_generator(self) -> Any:
        """A `flambeau.Generator`."""
        return self._get(_OWN, _generator_at)

    def _get(self, which: int, make: Any) -> Any:
        place = here.place
        if place is None:
            return make(draw_seed(None), which)
        made = place.now().made
        if which not in made:
            seed, block = place.origin()
            made[which] = make(seed, block + which)
        return made[which]


def _generator_at(seed: int, block: int) -> Any:
    made = flambeau.Generator()
    return made.set_state(np.array([seed, block], "<u8").view(np.uint8))


_RNG = SampleRNG()


def sample_rng() -> SampleRNG:
    """Generators of Python, NumPy and flambeau that belong to the sample being loaded.

    What they draw depends on the epoch and the sample alone, not on the number or kind of workers. flambeau's own
    functions (`flambeau.rand` ...) draw from the sample's stream anyway; this is for code that wants another generator.
    Outside of a loader each access makes a new generator, seeded from the default one.

    Example:
        >>> sample_rng().numpy_generator.normal(size=3).shape
        (3,)
    """
    return _RNG
