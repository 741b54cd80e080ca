"""The generator's words against an independent Philox4x64-10, and the transforms against them."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import pickle
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import flambeau.random as frandom
from flambeau.random import Generator, bernoulli, exponential, normal, randint, randperm, uniform

SEED = 12345
LONG = 70_001  # odd, and more than two chunks
MASK = 2**64 - 1


def philox4x64_10(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """Four lanes, written from Salmon et al. 2011 with Python's integers."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = x0 * 0xD2E7470EE14C6C93, x2 * 0xCA5A826395121157
        x0, x1, x2, x3 = (right >> 64) ^ x1 ^ k0, right & MASK, (left >> 64) ^ x3 ^ k1, left & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [x0, x1, x2, x3]


def reference_words(seed: int, offset: int, n: int) -> list[int]:
    words: list[int] = []
    for block in range(offset, offset + (n + 7) // 8):
        for lane in philox4x64_10((block, 0, 0, 0), (seed, 0)):
            words += [lane & 0xFFFFFFFF, lane >> 32]
    return words[:n]


def seeded(seed: int = SEED) -> Generator:
    return Generator().manual_seed(seed)


def at(seed: int, offset: int) -> Generator:
    return Generator().set_state(np.array([seed, offset], "<u8").view(np.uint8))


def words64(n: int) -> np.ndarray[Any, Any]:
    return seeded().words(2 * n).view(np.uint64)


@pytest.fixture(autouse=True)
def _default_generator_unchanged() -> Iterator[None]:
    with frandom.fork_rng():
        yield


@pytest.mark.parametrize(
    "vector",  # Random123's kat_vectors: counter, key and lanes
    [
        "0000000000000000 0000000000000000 0000000000000000 0000000000000000"
        " 0000000000000000 0000000000000000"
        " 16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
        "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff"
        " ffffffffffffffff ffffffffffffffff"
        " 87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89"
        " 452821e638d01377 be5466cf34e90c6c"
        " a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ],
    ids=["zeros", "ones", "pi"],
)
def test_reference_gives_the_published_vectors(vector: str) -> None:
    values = [int(text, 16) for text in vector.split()]
    assert philox4x64_10(tuple(values[:4]), (values[4], values[5])) == values[6:]


def test_words_of_seed_zero_are_the_published_vector() -> None:
    lanes = seeded(0).words(8).view(np.uint64)
    published = "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"
    assert " ".join(f"{lane:016x}" for lane in lanes) == published


def test_words_are_pinned() -> None:
    words = seeded().words(10)
    pinned = "b1976839 6681025c 35872143 5444c930 6002b100 064d74c6 99807fe9 556bd3ff 0ed6a560"
    assert words.dtype == np.uint32
    assert " ".join(f"{word:08x}" for word in words) == pinned + " a5792c0a"


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 33])
@pytest.mark.parametrize("offset", [0, 1, 2, 2**32 - 1, 2**63, 2**64 - 7])
@pytest.mark.parametrize("seed", [0, 1, SEED, 2**63, 2**64 - 1])
def test_words_equal_the_reference(seed: int, offset: int, n: int) -> None:
    expected = reference_words(seed, offset, n)
    gen = at(seed, offset)
    assert gen.words(n).tolist() == expected
    assert gen.offset == offset + (n + 7) // 8
    assert frandom.philox_words(seed, offset, n).tolist() == expected


def test_philox_words_reach_the_last_block() -> None:
    last = 2**64 - 1
    assert frandom.philox_words(3, last, 8).tolist() == reference_words(3, last, 8)


def test_a_word_depends_on_its_index_only() -> None:
    long = seeded().words(LONG)
    for n in (1, 5, 8, 1000, 2**15, 2**15 + 1):
        assert np.array_equal(seeded().words(n), long[:n])
    later = at(SEED, 100).words(LONG - 800)
    assert np.array_equal(later, long[800:])


def test_generators_do_not_disturb_each_other() -> None:
    a, b = seeded(), seeded(7)
    drawn_a, drawn_b = [], []
    for _ in range(5):
        drawn_a += a.words(8).tolist()
        drawn_b += b.words(8).tolist()
    assert drawn_a == reference_words(SEED, 0, 40)
    assert drawn_b == reference_words(7, 0, 40)


def test_reserve_advances_like_a_draw() -> None:
    gen = seeded()
    assert gen.reserve(17) == (SEED, 0)
    assert gen.reserve(0) == (SEED, 3)
    assert gen.reserve(8) == (SEED, 3)
    assert gen.offset == 4


def test_reserve_refuses() -> None:
    with pytest.raises(RuntimeError, match=r"reserve: cannot take -1 words from block 0 on"):
        seeded().words(-1)
    gen = at(1, 2**64 - 2)
    with pytest.raises(RuntimeError, match=r"cannot take 9 words from block 18446744073709551614"):
        gen.words(9)
    assert gen.offset == 2**64 - 2
    assert gen.words(8).size == 8


Draw = Callable[[Generator], np.ndarray[Any, Any]]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", "0x1.632edp-1 0x1.9a0408p-2 0x1.ac39080p-3 0x1.5113240p-2"),
        ("float16", "0x1.63p-1 0x1.9ap-2 0x1.acp-3 0x1.51p-2"),
        ("bfloat16", "0x1.62p-1 0x1.98p-2 0x1.a8p-3 0x1.5p-2"),
        ("float64", "0x1.9a040972c65dap-2 0x1.511324c0d61c8p-2 0x1.935d319800ac0p-6"),
    ],
)
def test_uniform_is_pinned(dtype: str, expected: str) -> None:
    values = [float.fromhex(text) for text in expected.split()]
    assert uniform(seeded(), (len(values),), dtype).tolist() == values


def test_integer_draws_are_pinned() -> None:
    assert randint(seeded(), (6,), -5, 5).tolist() == [1, -1, -3, -2, -2, -5]
    wide = randint(seeded(), (3,), -(2**40), 2**40)
    assert wide.tolist() == [-701395146695, 207056478531, -247497314048]
    assert np.flatnonzero(bernoulli(seeded(), (8,), 0.3)).tolist() == [2, 5]
    assert randperm(seeded(), 8).tolist() == [2, 7, 1, 3, 0, 4, 5, 6]


@pytest.mark.parametrize(
    ("dtype", "shift", "bits", "numpy_dtype"),
    [
        ("float32", 8, 24, np.float32),
        ("float16", 21, 11, np.float16),
        ("bfloat16", 24, 8, np.float32),
        (np.float32, 8, 24, np.float32),
        (np.dtype("float16"), 21, 11, np.float16),
    ],
)
def test_uniform_formula(dtype: Any, shift: int, bits: int, numpy_dtype: Any) -> None:
    words = seeded().words(LONG)
    for odd in (False, True):
        out = uniform(seeded(), (LONG,), dtype, odd)
        assert out.dtype == numpy_dtype
        expected = ((words >> shift) | odd) * 2.0**-bits
        assert np.array_equal(out.astype(np.float64), expected)


def test_uniform_float64_formula() -> None:
    words = words64(LONG)
    assert np.array_equal(uniform(seeded(), (LONG,), "float64"), (words >> 11) * 2.0**-53)
    odd = uniform(seeded(), (LONG,), "float64", odd=True)
    assert np.array_equal(odd, ((words >> 11) | 1) * 2.0**-53)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_stays_below_one(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ones:
        def random_raw(self, n: int) -> np.ndarray[Any, Any]:
            return np.full(n, MASK, np.uint64)

    monkeypatch.setattr(frandom, "_philox", lambda seed, offset: Ones())
    monkeypatch.setattr(frandom, "_idle", [])
    assert uniform(seeded(), (3,), dtype).max() < 1
    assert exponential(seeded(), (3,), dtype).min() > 0
    assert np.isfinite(normal(seeded(), (3,), dtype)).all()


def test_normal_formula() -> None:
    words = seeded().words(LONG + 1) >> 8
    radius = np.sqrt(-2 * np.log((words[0::2] + 1) * 2.0**-24))
    angle = 2 * np.pi * (words[1::2] * 2.0**-24)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    out = normal(seeded(), (LONG,))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, pairs[:LONG], rtol=0, atol=3e-6)
    assert np.array_equal(normal(seeded(), (LONG,), "bfloat16"), out)
    assert np.array_equal(normal(seeded(), (LONG,), "float16"), out.astype(np.float16))


def test_normal_float64_formula() -> None:
    words = words64(LONG + 1) >> 11
    radius = np.sqrt(-2 * np.log((words[0::2] + 1) * 2.0**-53))
    angle = 2 * np.pi * (words[1::2] * 2.0**-53)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    out = normal(seeded(), (LONG,), "float64")
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, pairs[:LONG], rtol=0, atol=1e-14)


def test_exponential_formula() -> None:
    u32 = ((seeded().words(LONG) >> 8) | 1) * 2.0**-24
    out = exponential(seeded(), (LONG,))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, -np.log(u32), rtol=5e-7)
    assert np.array_equal(exponential(seeded(), (LONG,), "float16"), out.astype(np.float16))
    u64 = ((words64(LONG) >> 11) | 1) * 2.0**-53
    np.testing.assert_allclose(exponential(seeded(), (LONG,), "float64"), -np.log(u64), rtol=1e-15)


@pytest.mark.parametrize("p", [0, 1, 0.0, 1.0, True, 0.3, 2.0**-33, 1 - 2.0**-32, np.float32(0.1)])
def test_bernoulli_formula(p: Any) -> None:
    words = seeded().words(LONG).tolist()
    limit = math.floor(float(p) * 2**32)
    out = bernoulli(seeded(), (LONG,), p)
    assert out.dtype == np.bool_
    assert out.tolist() == [word < limit for word in words]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bernoulli_of_an_array(dtype: Any) -> None:
    p = np.array([0, 1, 0.25, 0.7, 0.001], dtype)
    limits = [math.floor(float(value) * 2**32) for value in p]
    words = seeded().words(5000).reshape(1000, 5).tolist()
    expected = [[word < limit for word, limit in zip(row, limits, strict=True)] for row in words]
    assert bernoulli(seeded(), (1000, 5), p).tolist() == expected
    assert bernoulli(seeded(), (5, 1000), p[:, None]).shape == (5, 1000)
    assert bernoulli(seeded(), (0, 5), p).shape == (0, 5)


BOUNDS = [(0, 1), (0, 10), (-7, 300), (0, 2**32), (2**63 - 3, 2**63), (-(2**63), -(2**63) + 5)]
WIDE = [(0, 2**32 + 1), (-5, 2**40), (0, 2**63), (-(2**63), 2**63 - 1), (-(2**63), 2**63)]


@pytest.mark.parametrize(("low", "high"), BOUNDS + WIDE)
def test_randint_formula(low: int, high: int) -> None:
    span = high - low
    out = randint(seeded(), (500,), low, high)
    assert out.dtype == np.int64
    if span <= 2**32:
        expected = [low + (word * span >> 32) for word in seeded().words(500).tolist()]
    else:
        expected = [low + word % span for word in words64(500).tolist()]
    assert out.tolist() == expected


def test_randint_covers_several_chunks() -> None:
    words = seeded().words(LONG).astype(np.uint64)
    assert np.array_equal(randint(seeded(), (LONG,), 3, 1003), 3 + (words * 1000 >> 32))
    wide = randint(seeded(), (LONG,), 0, 2**33)
    assert np.array_equal(wide, words64(LONG) % 2**33)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, LONG])
def test_randperm_is_the_stable_order_of_the_keys(n: int) -> None:
    out = randperm(seeded(), n)
    assert out.dtype == np.int64
    assert np.array_equal(out, np.argsort(words64(n), kind="stable"))


@pytest.mark.parametrize("kinds", [1, 2, 40, 1000])
def test_equal_keys_keep_their_order(kinds: int) -> None:
    few = randint(seeded(), (3000,), 0, kinds).view(np.uint64)
    for keys in (few, few << np.uint64(52), (few % 3) << np.uint64(60) | few % 7):
        order = frandom._stable_order(keys)
        assert np.array_equal(order, np.argsort(keys, kind="stable"))


@pytest.mark.parametrize(
    ("draw", "blocks"),
    [
        (lambda gen: uniform(gen, (9,)), 2),
        (lambda gen: uniform(gen, (9,), "float16"), 2),
        (lambda gen: uniform(gen, (9,), "float64"), 3),
        (lambda gen: uniform(gen, (0,)), 0),
        (lambda gen: normal(gen, (8,)), 1),
        (lambda gen: normal(gen, (9,)), 2),
        (lambda gen: normal(gen, (5,), "float64"), 2),
        (lambda gen: exponential(gen, (8,)), 1),
        (lambda gen: bernoulli(gen, (8,), 1.0), 1),
        (lambda gen: bernoulli(gen, (17,), np.full(17, 0.5)), 3),
        (lambda gen: randint(gen, (8,), 0, 2), 1),
        (lambda gen: randint(gen, (8,), 0, 2**40), 2),
        (lambda gen: randperm(gen, 4), 1),
        (lambda gen: uniform(gen, (LONG,)), (LONG + 7) // 8),
    ],
)
def test_offset_advances_by_the_blocks_of_the_words(draw: Draw, blocks: int) -> None:
    gen = seeded()
    draw(gen)
    assert gen.offset == blocks


@pytest.mark.parametrize(
    "draw",
    [
        uniform,
        normal,
        exponential,
        lambda gen, shape: uniform(gen, shape, "float64"),
        lambda gen, shape: normal(gen, shape, "float64"),
        lambda gen, shape: normal(gen, shape, "float16"),
        lambda gen, shape: bernoulli(gen, shape, 0.4),
        lambda gen, shape: randint(gen, shape, 0, 99),
        lambda gen, shape: randint(gen, shape, 0, 2**50),
    ],
)
def test_elements_depend_on_their_index_only(draw: Callable[..., Any]) -> None:
    whole = draw(seeded(), (LONG,))
    for shape in [(), (1,), (7,), (3, 5), [2, 2], (0, 3), (2**15 + 1,)]:
        out = draw(seeded(), shape)
        assert isinstance(out, np.ndarray)
        assert out.shape == tuple(shape)
        assert out.flags.c_contiguous
        assert np.array_equal(out.reshape(-1), whole[: out.size])


@pytest.mark.parametrize("draw", [uniform, normal])
def test_float32_needs_no_float64_array(draw: Callable[..., Any]) -> None:
    tracemalloc.start()
    draw(seeded(), (2**21,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20 + 2**20  # the result, and a chunk's work


def kolmogorov(sample: np.ndarray[Any, Any], cdf: Callable[[float], float]) -> float:
    """sqrt(n) times the largest gap between the sample's distribution and `cdf`."""
    values = np.sort(sample.astype(np.float64))
    n = values.size
    expected = np.array([cdf(value) for value in values.tolist()])
    steps = np.arange(n + 1) / n
    gap = max(np.abs(expected - steps[:-1]).max(), np.abs(expected - steps[1:]).max())
    return float(gap * math.sqrt(n))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(seed: int, dtype: str) -> None:
    n = 40_000
    gen = seeded(seed)
    limit = 1.95  # exceeded by chance once in a thousand; the seeds are fixed
    assert kolmogorov(uniform(gen, (n,), dtype), lambda x: x) < limit
    assert kolmogorov(normal(gen, (n,), dtype), lambda x: math.erfc(-x / math.sqrt(2)) / 2) < limit
    assert kolmogorov(exponential(gen, (n,), dtype), lambda x: -math.expm1(-x)) < limit


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_moments(dtype: str) -> None:
    n = 400_000
    gen, bound = seeded(), 4 / math.sqrt(n)  # four standard errors, times the deviation below
    u = uniform(gen, (n,), dtype, odd=True).astype(np.float64)
    assert abs(u.mean() - 1 / 2) < bound * math.sqrt(1 / 12)
    assert abs(u.var() - 1 / 12) < bound * math.sqrt(1 / 180)
    z = normal(gen, (n,), dtype).astype(np.float64)
    for power, moment, deviation in [(1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)]:
        assert abs((z**power).mean() - moment) < bound * deviation
    assert abs((z[0::2] * z[1::2]).mean()) < bound * 2**0.5  # the two of a pair
    e = exponential(gen, (n,), dtype).astype(np.float64)
    assert abs(e.mean() - 1) < bound
    assert abs((e**2).mean() - 2) < bound * 20**0.5


def test_counts_of_integers() -> None:
    n, kinds = 200_000, 50
    counts = np.bincount(randint(seeded(), (n,), 0, kinds), minlength=kinds)
    chi2 = ((counts - n / kinds) ** 2 / (n / kinds)).sum()
    assert chi2 < 85.4  # 49 degrees of freedom: exceeded once in a thousand
    first = np.bincount([randperm(at(9, 2 * i), 5)[0] for i in range(5000)], minlength=5)
    assert ((first - 1000) ** 2 / 1000).sum() < 18.5  # 4 degrees of freedom
    assert abs(bernoulli(seeded(), (n,), 0.3).mean() - 0.3) < 4 * math.sqrt(0.21 / n)


def test_state_round_trip() -> None:
    gen = seeded(-2)
    gen.words(80)
    state = gen.get_state()
    assert (state.dtype.name, state.shape) == ("uint8", (16,))
    assert state.tobytes().hex() == "feffffffffffffff" + "0a00000000000000"
    expected = gen.words(20)
    other = Generator()
    assert other.set_state(state) is other
    assert (other.initial_seed(), other.offset) == (2**64 - 2, 10)
    assert np.array_equal(other.words(20), expected)
    assert np.array_equal(gen.set_state(state).words(20), expected)


@pytest.mark.parametrize(
    ("state", "got"),
    [
        (np.zeros(15, np.uint8), r"uint8 \(15,\)"),
        (np.zeros((2, 8), np.uint8), r"uint8 \(2, 8\)"),
        (np.zeros(16, np.int8), r"int8 \(16,\)"),
        ([0] * 16, r"int64 \(16,\)"),
    ],
)
def test_set_state_refuses(state: Any, got: str) -> None:
    gen = seeded()
    with pytest.raises(RuntimeError, match=rf"set_state: needs uint8 \(16,\), got {got}"):
        gen.set_state(state)
    assert gen.initial_seed() == SEED


@pytest.mark.parametrize(
    "duplicate",
    [Generator.clone, copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))],
)
def test_copies_go_on_independently(duplicate: Callable[[Generator], Generator]) -> None:
    gen = Generator("opencl:1").manual_seed(SEED)
    gen.words(8)
    other = duplicate(gen)
    assert (other.device, other.offset, other.initial_seed()) == ("opencl:1", 1, SEED)
    first = other.words(24)
    assert gen.offset == 1
    assert np.array_equal(gen.words(24), first)


@pytest.mark.parametrize("seed", [0, 2**64 - 1, -1, -(2**63), np.int64(-3), np.uint64(2**63)])
def test_manual_seed_range(seed: int) -> None:
    gen = Generator()
    gen.words(1)
    assert gen.manual_seed(seed) is gen
    assert (gen.initial_seed(), gen.offset) == (int(seed) % 2**64, 0)
    assert type(gen.initial_seed()) is int


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 1.5, "1", None, True])
def test_manual_seed_refuses(seed: Any) -> None:
    gen = seeded()
    with pytest.raises(
        RuntimeError, match=r"manual_seed: needs an int in \[-2\*\*63, 2\*\*64\), got"
    ):
        gen.manual_seed(seed)
    assert gen.initial_seed() == SEED


def test_new_generators_start_at_pytorchs_default_seed() -> None:
    assert Generator().initial_seed() == 67280421310721
    assert (Generator().device, Generator().offset) == ("cpu", 0)


def test_seed_takes_entropy() -> None:
    gen = Generator()
    gen.words(8)
    seeds = [gen.seed() for _ in range(4)]
    assert len(set(seeds)) == 4
    assert (gen.initial_seed(), gen.offset) == (seeds[-1], 0)


def test_default_generator() -> None:
    assert frandom.manual_seed(SEED) is frandom.default_generator
    assert frandom.initial_seed() == SEED
    state = frandom.get_rng_state()
    first = normal(frandom.default_generator, (5,))
    frandom.set_rng_state(state)
    assert np.array_equal(normal(frandom.default_generator, (5,)), first)
    assert frandom.seed() == frandom.initial_seed() != SEED


def test_fork_rng_restores_even_after_an_error() -> None:
    frandom.manual_seed(SEED)
    frandom.default_generator.words(8)
    with contextlib.suppress(KeyError), frandom.fork_rng():
        frandom.manual_seed(1)
        raise KeyError
    assert (frandom.initial_seed(), frandom.default_generator.offset) == (SEED, 1)
    with frandom.fork_rng(enabled=False):
        frandom.default_generator.words(8)
    assert frandom.default_generator.offset == 2


def test_threads_share_a_generator_without_sharing_a_block() -> None:
    gen, rounds, n_threads = seeded(), 300, 6
    draws: list[np.ndarray[Any, Any]] = []

    def work() -> None:
        for _ in range(rounds):
            draws.append(gen.words(20))  # three blocks

    threads = [threading.Thread(target=work) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = rounds * n_threads
    assert gen.offset == 3 * count
    expected = seeded().words(24 * count).reshape(count, 24)[:, :20]
    assert {draw.tobytes() for draw in draws} == {row.tobytes() for row in expected}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_inherit_the_lock_held() -> None:
    held = threading.Event()

    def hold() -> None:
        with frandom._lock:
            held.set()
            time.sleep(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # otherwise a held lock would stop it for ever
        os._exit(0 if uniform(seeded(), (4,)).size == 4 else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("draw", [uniform, normal, exponential])
@pytest.mark.parametrize("dtype", ["int64", np.int32, "float31"])
def test_other_dtypes_are_refused(draw: Callable[..., Any], dtype: Any) -> None:
    gen, name = seeded(), draw.__name__
    with pytest.raises(TypeError, match=rf"{name}: needs a dtype among float16, .*, got \w+"):
        draw(gen, (2,), dtype)
    assert gen.offset == 0


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), np.array([0.5, 2.0]), np.array([np.nan])])
def test_bernoulli_refuses_what_is_no_probability(p: Any) -> None:
    gen = seeded()
    with pytest.raises(RuntimeError, match=r"bernoulli: needs 0 <= p <= 1, got .* to "):
        bernoulli(gen, (2,), p)
    assert gen.offset == 0


@pytest.mark.parametrize(("shape", "text"), [((3,), "broadcast"), ((3, 2), "more dimensions")])
def test_bernoulli_refuses_another_shape(shape: tuple[int, ...], text: str) -> None:
    gen = seeded()
    with pytest.raises(ValueError, match=text):
        bernoulli(gen, (2,), np.full(shape, 0.5))
    assert gen.offset == 0


@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 3), (-(2**63) - 1, 0), (0, 2**63 + 1)])
def test_randint_refuses(low: int, high: int) -> None:
    with pytest.raises(RuntimeError, match=rf"randint: needs .* high <= 2\*\*63, got {low} and "):
        randint(seeded(), (2,), low, high)


def test_randperm_refuses() -> None:
    with pytest.raises(RuntimeError, match="randperm: needs n >= 0, got -1"):
        randperm(seeded(), -1)
