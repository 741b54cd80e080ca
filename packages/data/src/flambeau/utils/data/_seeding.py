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

_U64 = 2**64 - 1
_U32 = 2**32 - 1
#: 2**64 over the golden ratio: neighbouring positions get seeds far apart.
_STEP = 0x9E3779B97F4A7C15
#: Where in a sample's 2**32 blocks the generators of `sample_rng` start; no sample draws that far.
_PYTHON, _NUMPY, _OWN = (i << 30 for i in (1, 2, 3))

State = tuple[int, int]


class _Here(threading.local):
    """This thread's sample.

    state: what it draws from instead of the default generator's own stream; None outside of samples.
    origin: where that stream began.  made: generators of sample_rng() for it, and its origin.
    """

    state: State | None = None
    origin: State | None = None
    made: tuple[State | None, dict[int, Any]] = (None, {})


here = _Here()
_default = streams.default_generator
_slot: Any = streams.Generator.__dict__["_state"]


class _PerThread(type(_default)):  # type: ignore[misc]  # the class is streams.Generator
    """The default generator, which gives a thread that is loading a sample that sample's stream."""

    __slots__ = ()

    @property
    def _state(self) -> State:
        state = here.state if self is _default else None
        if state is None:
            state = _slot.__get__(self)
        return state

    @_state.setter
    def _state(self, state: State) -> None:
        if here.state is not None and self is _default:
            here.state = state
        else:
            _slot.__set__(self, state)


def install() -> None:
    """Let the default generator look for a sample's stream first: 0.1 us a draw, so only loaders ask for it."""
    if type(_default) is not _PerThread:
        _default.__class__ = _PerThread


def begin(epoch_seed: int, position: int, index: Any) -> None:
    """From now on this thread draws from the stream of a sample."""
    block = (index & _U32) << 32 if isinstance(index, int) else 0
    here.state = here.origin = ((epoch_seed + position * _STEP) & _U64, block)


def draw_seed(generator: Any) -> int:
    """A seed in [0, 2**63) drawn from a generator, the default one if None."""
    gen = generator if generator is not None else _default
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
        origin = here.origin
        if origin is None:
            return make(draw_seed(None), which)
        if here.made[0] != origin:
            here.made = (origin, {})
        made = here.made[1]
        if which not in made:
            made[which] = make(origin[0], origin[1] + which)
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
