"""Random tensors."""

import numpy as np
import pytest

import flambeau as fb


def test_same_seed_same_numbers():
    draws = []
    for _ in range(2):
        fb.manual_seed(7)
        draws.append(
            (fb.rand(3), fb.randn(2, 2), fb.randint(0, 10, (4,)), fb.randperm(5), fb.randn(()))
        )
    for a, b in zip(*draws, strict=True):
        assert a.tolist() == b.tolist()


def test_known_answers():
    fb.manual_seed(0)
    assert fb.randint(0, 10, (4,)).tolist() == [7, 0, 4, 8]
    fb.manual_seed(0)
    # w >> 8 of the words ca36314c and 16554d9e, over 2^24
    assert fb.rand(2).tolist() == [0xCA3631 / 2**24, 0x16554D / 2**24]
    fb.manual_seed(0)
    assert fb.randperm(4).tolist() == [0, 3, 2, 1]


def test_a_generator_is_a_stream_of_its_own():
    g = fb.Generator().manual_seed(1)
    state = g.get_state()
    assert state.dtype is fb.uint8
    first = fb.rand(3, generator=g)
    g.set_state(state)
    assert fb.rand(3, generator=g).tolist() == first.tolist()
    assert g.initial_seed() == 1
    before = fb.get_rng_state().tolist()
    fb.rand(3, generator=g)
    assert fb.get_rng_state().tolist() == before


def test_fork_rng_and_states():
    state = fb.get_rng_state()
    with fb.fork_rng():
        inside = fb.rand(2)
    assert fb.rand(2).tolist() == inside.tolist()
    fb.set_rng_state(state)
    assert fb.rand(2).tolist() == inside.tolist()


@pytest.mark.parametrize(
    ("make", "mean", "var"),
    [
        (lambda n: fb.rand(n), 0.5, 1 / 12),
        (lambda n: fb.randn(n, dtype=fb.float64), 0.0, 1.0),
        (lambda n: fb.empty(n).uniform_(-1, 3), 1.0, 16 / 12),
        (lambda n: fb.empty(n).normal_(2, 3), 2.0, 9.0),
        (lambda n: fb.empty(n).exponential_(2.0), 0.5, 0.25),
        (lambda n: fb.empty(n).bernoulli_(0.3), 0.3, 0.21),
        (lambda n: fb.full((n,), 0.3).bernoulli(), 0.3, 0.21),
        (lambda n: fb.normal(fb.full((n,), 1.0), 2.0), 1.0, 4.0),
        (lambda n: fb.poisson(fb.full((n,), 4.0)), 4.0, 4.0),
        (lambda n: fb.randint(0, 6, (n,)).float(), 2.5, 35 / 12),
    ],
)
def test_moments(make, mean, var):
    x = make(100_000).numpy()
    assert abs(x.mean() - mean) < 5 * np.sqrt(var / x.size)
    assert abs(x.var() / var - 1) < 0.05


def test_dtypes_shapes_and_grad():
    assert fb.rand(2, 3, dtype=fb.float64, requires_grad=True).requires_grad
    assert fb.randn((2, 3)).shape == (2, 3)
    assert fb.randint(3, (2,)).dtype is fb.int64
    assert fb.randint(0, 5, (2,), dtype=fb.float32).dtype is fb.float32
    assert fb.randn(4, dtype=fb.complex64).dtype is fb.complex64
    assert sorted(fb.randperm(6, dtype=fb.int32).tolist()) == list(range(6))
    whole = fb.empty(1000, dtype=fb.int8).random_()
    assert 0 <= min(whole.tolist()) <= max(whole.tolist()) <= 127


def test_multinomial():
    weights = fb.tensor([[0.0, 3.0, 1.0], [1.0, 0.0, 0.0]])
    drawn = weights.multinomial(20_000, replacement=True)
    share = (drawn.numpy()[0] == 1).mean()
    assert abs(share - 0.75) < 0.02
    assert set(drawn.numpy()[1]) == {0}
    assert sorted(fb.tensor([1.0, 2.0, 3.0]).multinomial(3).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: fb.rand(2, dtype=fb.int64), TypeError, '"rand" not implemented for int64'),
        (
            lambda: fb.randint(5, 5, (1,)),
            RuntimeError,
            r"expects 'from' to be less than 'to', but got from=5 >= to=5",
        ),
        (lambda: fb.randint(5), TypeError, "randint: size is missing"),
        (
            lambda: fb.rand(2, generator=3),
            TypeError,
            "generator must be a flambeau.Generator, got int",
        ),
        (lambda: fb.full((1,), 2.0).bernoulli(), RuntimeError, "Expected p_in >= 0 && p_in <= 1"),
        (
            lambda: fb.empty(1).bernoulli_(-1),
            RuntimeError,
            r"expects p to be in \[0, 1\], but got p=-1",
        ),
        (lambda: fb.empty(1).uniform_(1, 0), RuntimeError, "found from=1 > to=0"),
        (lambda: fb.empty(1).normal_(0, -1), RuntimeError, "expects std >= 0.0, but found std -1"),
        (lambda: fb.normal(0.0, -1.0, (1,)), RuntimeError, "expects std >= 0.0"),
        (lambda: fb.empty(1).exponential_(0), RuntimeError, "expects lambda > 0.0"),
        (lambda: fb.empty(1).random_(3, 3), RuntimeError, "expects 'from' to be less than 'to'"),
        (lambda: fb.ones(1, 1, 1).multinomial(1), RuntimeError, "prob_dist must be 1 or 2 dim"),
        (lambda: fb.zeros(2).multinomial(1), RuntimeError, "sum of probabilities <= 0"),
        (lambda: fb.tensor([-1.0, 2.0]).multinomial(1), RuntimeError, "element < 0"),
        (lambda: fb.ones(2).multinomial(3), RuntimeError, "without replacement"),
        (lambda: fb.ones(1, requires_grad=True).normal_(), RuntimeError, "a leaf Variable"),
    ],
)
def test_mistakes(call, error, text):
    with pytest.raises(error, match=text):
        call()
