"""Random numbers: the Philox4x64-10 generator and its host transforms.

Block c of a stream is Philox4x64-10(counter=(c, 0, 0, 0), key=(seed, 0)): four uint64 lanes, eight
32-bit words (low, then high half of each lane). Word i of a draw, w[i], is word i % 8 of block
offset + i // 8, whatever the device; n words move the offset by ceil(n / 8). A 64-bit draw is one
lane: w64[i] = w[2i] + 2**32 * w[2i+1]. Hosts are little-endian.
A transform takes gen (Generator) and shape (Sequence[int]) and makes element i, in row-major order,
from w[i], or from w64[i] where it needs more bits. bfloat16 comes as float32, unrounded.
Reference: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC '11.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Shape = Sequence[int]
_Array = NDArray[Any]
_Chunks = Iterator[tuple[_Array, _Array]]
_U64 = 2**64
_CHUNK_LANES = 1 << 14  # 128 KiB of words: measured fastest, with 2**15 and 2**16

_lock = threading.Lock()  # guards the state of every generator, for 0.3 us a draw
if hasattr(os, "register_at_fork"):  # a child must not inherit it locked
    os.register_at_fork(
        before=_lock.acquire, after_in_child=_lock.release, after_in_parent=_lock.release
    )
_idle: list[np.random.Philox] = []  # bit generators at rest: 7 us to make, 1 us to move
_STATE: Any = np.random.Philox(key=0).state  # with its buffer used up


class Generator:
    """A stream of random words, at (seed, offset): Philox4x64-10. Starts at PyTorch's default seed.

    Threads may share one: every draw takes blocks of its own. It pickles and deep-copies by value.
    Args: device (Any): where tensors drawn from it live; kept as given. Reference: Salmon et al.

    Example:
        >>> gen = Generator().manual_seed(0)
        >>> [hex(word) for word in gen.words(2)], gen.offset
        (['0xca36314c', '0x16554d9e'], 1)
    """

    __slots__ = ("__weakref__", "_state", "device")

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device
        self._state = (67280421310721, 0)  # PyTorch's default_rng_seed_val

    @property
    def offset(self) -> int:
        """Blocks of eight words drawn so far (int, 0 <= offset < 2**64)."""
        return self._state[1]

    def manual_seed(self, seed: int) -> Generator:
        """Go to block 0 of a seed in [-2**63, 2**64), else RuntimeError; returns the generator."""
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or not -(2**63) <= seed < _U64:
            raise RuntimeError(f"manual_seed: needs an int in [-2**63, 2**64), got {seed!r}")
        with _lock:
            self._state = (int(seed) % _U64, 0)  # below 0: seed + 2**64, as in PyTorch
        return self

    def seed(self) -> int:
        """Seed from the operating system's entropy; returns the seed (int, 0 <= seed < 2**64)."""
        return self.manual_seed(int.from_bytes(os.urandom(8), "little")).initial_seed()

    def initial_seed(self) -> int:
        """The seed of the stream (int, 0 <= seed < 2**64)."""
        return self._state[0]

    def reserve(self, n_words: int) -> tuple[int, int]:
        """Take a draw's blocks, for a device to make the words: (seed, offset). Or RuntimeError."""
        with _lock:
            seed, offset = self._state
            after = offset + (n_words + 7) // 8
            if n_words < 0 or after >= _U64:
                raise RuntimeError(f"reserve: cannot take {n_words} words from block {offset} on")
            self._state = (seed, after)
        return seed, offset

    def words(self, n: int) -> NDArray[np.uint32]:
        """Draw n words: uint32, shape (n,). Raises: RuntimeError: as `reserve`."""
        return philox_words(*self.reserve(n), n)

    def get_state(self) -> NDArray[np.uint8]:
        """The state: uint8, shape (16,): seed and offset, each 8 bytes, lowest byte first."""
        return np.array(self._state, "<u8").view(np.uint8)

    def set_state(self, state: NDArray[np.uint8]) -> Generator:
        """Go to a state, uint8 of shape (16,), else RuntimeError; returns the generator itself."""
        given = np.asarray(state)
        if given.dtype != np.uint8 or given.shape != (16,):
            raise RuntimeError(f"set_state: needs uint8 (16,), got {given.dtype} {given.shape}")
        seed, offset = np.frombuffer(given.tobytes(), "<u8").tolist()
        with _lock:
            self._state = (seed, offset)
        return self

    def clone(self) -> Generator:
        """A generator with the same device and state; the two go on independently."""
        return copy.copy(self)


def _philox(seed: int, offset: int) -> np.random.Philox:
    """A bit generator about to give lane 0 of block `offset`; append it to `_idle` after use."""
    try:
        bits = _idle.pop()  # atomic: no other thread, child or signal handler holds this one
    except IndexError:
        bits = np.random.Philox(key=0)
    counter = (offset - 1, 0, 0, 0) if offset else (_U64 - 1,) * 4  # NumPy adds 1 before a block
    bits.state = _STATE | {"state": {"counter": counter, "key": (seed, 0)}}
    return bits


def philox_words(seed: int, offset: int, n: int) -> NDArray[np.uint32]:
    """Words 0 to n-1 from a block on, without state: uint32, (n,); 0 <= seed, offset < 2**64."""
    bits = _philox(seed, offset)
    lanes = bits.random_raw((n + 1) // 2)
    _idle.append(bits)
    return lanes.view(np.uint32)[:n]


_FORMATS: dict[str, tuple[int, Any, Any, float]] = {  # shift, type of the shifted word, real, scale
    "float16": (21, np.int32, np.float32, 2.0**-11),  # signed: it converts to a real faster
    "bfloat16": (24, np.int32, np.float32, 2.0**-8),
    "float32": (8, np.int32, np.float32, 2.0**-24),
    "float64": (11, np.int64, np.float64, 2.0**-53),
}


def _name(op: str, dtype: Any) -> str:
    """The name of a float dtype, which may come as a name (bfloat16 does) or a NumPy type."""
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in _FORMATS:
        raise TypeError(f"{op}: needs a dtype among {', '.join(_FORMATS)}, got {name}")
    return name


def _chunks(gen: Generator, out: _Array, wide: bool = False, group: int = 1) -> _Chunks:
    """Draw words for out, and up to a group's end: (part of out, its uint32; uint64 if wide)."""
    word, per_lane = (np.uint64, 1) if wide else (np.uint32, 2)
    n, step = out.size + out.size % group, _CHUNK_LANES * per_lane
    bits = _philox(*gen.reserve(2 * n if wide else n))
    flat = out.reshape(-1)
    for start in range(0, n, step):
        size = min(step, n - start)
        lanes = bits.random_raw((size + per_lane - 1) // per_lane)
        yield flat[start : start + step], lanes.view(word)[:size]
    _idle.append(bits)


def uniform(gen: Generator, shape: _Shape, dtype: Any = "float32", odd: bool = False) -> _Array:
    """Draw from [0, 1), bit-equal on every backend, one word per element, or w64 for float64.

    float32 (w >> 8) * 2**-24, float16 (w >> 21) * 2**-11, bfloat16 (w >> 24) * 2**-8, float64
    (w64 >> 11) * 2**-53. Args: dtype (str | numpy.dtype): one of these four; odd (bool): set the
    lowest bit that the shift leaves: in (0, 1), symmetric. Raises: TypeError: another dtype.

    Example:
        >>> uniform(Generator().manual_seed(0), (2,), "bfloat16")
        array([0.7890625, 0.0859375], dtype=float32)
    """
    name = _name("uniform", dtype)
    shift, signed, real, scale = _FORMATS[name]
    out: _Array = np.empty(shape, real)
    for part, words in _chunks(gen, out, name == "float64"):
        words >>= shift
        if odd:
            words |= 1
        part[...] = words.view(signed)
        part *= scale
    return out.astype(np.float16) if name == "float16" else out


def exponential(gen: Generator, shape: _Shape, dtype: Any = "float32") -> _Array:
    """Draw from the exponential distribution of rate 1: -log(u), u an odd `uniform`; never 0."""
    name = _name("exponential", dtype)
    out = uniform(gen, shape, "float64" if name == "float64" else "float32", odd=True)
    np.negative(np.log(out, out=out), out=out)
    return out.astype(np.float16) if name == "float16" else out


def normal(gen: Generator, shape: _Shape, dtype: Any = "float32") -> _Array:
    """Draw from the normal distribution of mean 0 and variance 1, by Box and Muller's pairs.

    Elements 2i and 2i+1 are r*cos(a) and r*sin(a); r = sqrt(-2*log(u1)), a = 2*pi*u2;
    u1 = ((w[2i] >> 8) + 1) * 2**-24, u2 = (w[2i+1] >> 8) * 2**-24; for float64 w64, 11 and 2**-53.
    An odd count draws a whole pair; half types go by float32. Args, Raises: as `uniform`.
    Numerics: |value| < 5.8, float64 8.6; error in float32 against float64 < 3e-6 (test_normal_*).
    Reference: Box, Muller 1958, "A note on the generation of random normal deviates".
    """
    name = _name("normal", dtype)
    shift, signed, real, scale = _FORMATS["float64" if name == "float64" else "float32"]
    out: _Array = np.empty(shape, real)
    for part, words in _chunks(gen, out, name == "float64", group=2):
        words >>= shift
        radius = words.view(signed)[0::2].astype(real)
        radius += 1
        radius *= scale
        np.log(radius, out=radius)
        radius *= -2
        np.sqrt(radius, out=radius)
        angle = words.view(signed)[1::2].astype(real)
        angle *= real(2 * np.pi) * real(scale)
        np.multiply(radius, np.cos(angle), out=part[0::2])
        half = part.size // 2  # one less than radius.size at the end of an odd count
        np.multiply(radius[:half], np.sin(angle, out=angle)[:half], out=part[1::2])
    return out.astype(np.float16) if name == "float16" else out


def bernoulli(gen: Generator, shape: _Shape, p: ArrayLike) -> NDArray[np.bool_]:
    """Draw True with probability p: w < floor(p * 2**32), so never for p = 0, always for p = 1.

    Args: p (float | numpy.ndarray): 0 <= p <= 1, a number or an array that broadcasts to shape.
    Raises: RuntimeError: p outside [0, 1], or nan. ValueError: p does not broadcast.
    """
    prob = np.asarray(p, None if getattr(p, "dtype", None) == np.float32 else np.float64)
    if prob.size and not (prob.min() >= 0 and prob.max() <= 1):
        raise RuntimeError(f"bernoulli: needs 0 <= p <= 1, got {prob.min()} to {prob.max()}")
    limits: Any = np.floor(prob * prob.dtype.type(2**32))  # exact, and compared in float64
    limits = np.broadcast_to(limits, shape) if prob.ndim else int(limits)
    out = np.empty(shape, np.bool_)
    np.less(gen.words(out.size).reshape(shape), limits, out=out)
    return out


def randint(gen: Generator, shape: _Shape, low: int, high: int) -> NDArray[np.int64]:
    """Draw from low <= x < high: low + (w * span >> 32), span = high - low; int64.

    A span above 2**32 takes low + w64 % span. Raises: RuntimeError: low >= high, or outside int64.

    Example:
        >>> randint(Generator().manual_seed(0), (4,), 0, 10)
        array([7, 0, 4, 8])
    """
    if not -(2**63) <= low < high <= 2**63:
        raise RuntimeError(f"randint: needs -2**63 <= low < high <= 2**63, got {low} and {high}")
    span = high - low
    out = np.empty(shape, np.int64)
    for part, words in _chunks(gen, out.view(np.uint64), wide=span > 2**32):
        part[...] = words
        if span <= 2**32:
            part *= np.uint64(span)
            part >>= np.uint64(32)
        elif span < _U64:
            part %= np.uint64(span)
        part += np.uint64(low % _U64)  # wraps: two's complement
    return out


def _stable_order(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The stable argsort of random keys, five times faster: a plain sort of (high bits, index)."""
    low = np.uint64(2 ** keys.size.bit_length() - 1)
    packed = (keys & ~low) | np.arange(keys.size, dtype=np.uint64)
    packed.sort()
    order = (packed & low).view(np.int64)
    same = packed[1:] ^ packed[:-1] <= low
    if same.any():  # rare: equal high bits, to be sorted again by the whole key
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        order[tied] = order[tied][np.argsort(keys[order[tied]], kind="stable")]
    return order


def randperm(gen: Generator, n: int) -> NDArray[np.int64]:
    """Draw a permutation of 0 to n-1: the stable order of w64[0] to w64[n-1]; int64, shape (n,).

    Example:
        >>> randperm(Generator().manual_seed(0), 4)
        array([0, 3, 2, 1])
    """
    if n < 0:
        raise RuntimeError(f"randperm: needs n >= 0, got {n}")
    return _stable_order(gen.words(2 * n).view(np.uint64))


default_generator = Generator()
default_generator.seed()
manual_seed, seed = default_generator.manual_seed, default_generator.seed
initial_seed = default_generator.initial_seed
get_rng_state, set_rng_state = default_generator.get_state, default_generator.set_state


@contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, *, device_type: str = "cuda"
) -> Iterator[None]:
    """Leave the default generator at the block's end as it was before; does nothing if disabled.

    Args: devices, device_type: accepted, without effect: all devices draw from the one generator.
    """
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)
