"""The algebra of strided views against NumPy: a geometry is checked by the positions that its elements have."""

import itertools
import random

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided as np_as_strided

from flambeau.backend import _views as v

BASE = np.arange(4000)


def positions(shape, strides, offset=0):
    """Where each element lies: NumPy's view of 0, 1, 2, ..."""
    size = BASE.itemsize
    return np_as_strided(BASE[offset:], shape, [s * size for s in strides], writeable=False)


def geometries(seed, n=150):
    """Random views: permuted, stepped, with repeated and single dimensions, and offsets."""
    rng = random.Random(seed)
    for _ in range(n):
        shape = tuple(rng.choice([1, 1, 2, 3, 4, 5]) for _ in range(rng.randint(0, 4)))
        order = list(range(len(shape)))
        rng.shuffle(order)
        strides, step = [0] * len(shape), rng.choice([1, 1, 2])
        for d in order:
            strides[d] = 0 if rng.random() < 0.15 else step
            step *= shape[d] + rng.choice([0, 0, 1])
        yield shape, tuple(strides), rng.randint(0, 7)


def steps_of(array):
    return tuple(s // array.itemsize for s in array.strides)


def test_count_and_contiguous_strides():
    assert v.count((2, 3, 4)) == 24
    assert v.contiguous_strides((2, 3, 4)) == (12, 4, 1)
    assert v.contiguous_strides(()) == ()
    assert v.contiguous_strides((2, 0, 3)) == (3, 3, 1)


def test_is_contiguous_as_numpy():
    for shape, strides, offset in geometries(0, 400):
        expected = positions(shape, strides, offset).flags.c_contiguous
        assert v.is_contiguous(shape, strides) == expected, (shape, strides)
    assert v.is_contiguous((0, 3), (7, 9))
    assert v.is_contiguous((1, 3), (99, 1))
    assert not v.is_contiguous((2, 3), (1, 2))


def test_bounds():
    for shape, strides, offset in geometries(1):
        touched = positions(shape, strides, offset)
        assert v.bounds(shape, strides, offset) == (touched.min(), touched.max() + 1)
    assert v.bounds((2, 0), (1, 1), 5) == (5, 5)
    assert v.bounds((), (), 3) == (3, 4)


def test_overlaps_itself():
    assert v.overlaps_itself((2, 3), (0, 1))
    assert not v.overlaps_itself((1, 3), (0, 1))
    assert not v.overlaps_itself((2, 0), (0, 1))
    assert not v.overlaps_itself((2, 3), (3, 1))


def test_as_strided_accepts_what_fits():
    assert v.as_strided([2, 3], [3, 1], 4, 10) == ((2, 3), (3, 1), 4)
    assert v.as_strided((0, 3), (3, 1), 10, 10) == ((0, 3), (3, 1), 10)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (((2, 3), (3,), 0, 10), "mismatch in length of strides and shape, 1 and 2"),
        (((2, 3), (3, -1), 0, 10), "must not be negative"),
        (((2, 3), (3, 1), -1, 10), "must not be negative"),
        (((2, 3), (3, 1), 5, 10), "reach element 10 of a memory block of 10: out of bounds"),
    ],
)
def test_as_strided_refuses(args, text):
    with pytest.raises(ValueError, match=text):
        v.as_strided(*args)


def test_permute():
    for shape, strides, offset in geometries(2):
        for dims in itertools.islice(itertools.permutations(range(len(shape))), 6):
            got = v.permute(shape, strides, dims)
            expected = positions(shape, strides, offset).transpose(dims)
            assert (positions(*got, offset) == expected).all()
    with pytest.raises(ValueError, match=r"\(0, 0\) is no order of 2 dimensions"):
        v.permute((2, 3), (3, 1), (0, 0))


def test_expand():
    rng = random.Random(3)
    for shape, strides, offset in geometries(3):
        wanted = (
            *[rng.choice([1, 2]) for _ in range(2)],
            *(n if n > 1 else rng.choice([1, 4]) for n in shape),
        )
        got = v.expand(shape, strides, wanted)
        assert (
            positions(wanted, got, offset)
            == np.broadcast_to(positions(shape, strides, offset), wanted)
        ).all()
    with pytest.raises(ValueError, match=r"cannot expand \(2,\) to \(3,\)"):
        v.expand((2,), (1,), (3,))
    with pytest.raises(ValueError, match="more dimensions"):
        v.expand((2, 3), (3, 1), (3,))


def test_slice():
    rng = random.Random(4)
    for shape, strides, offset in geometries(4, 300):
        key = []
        for n in shape[: rng.randint(0, len(shape))]:
            if rng.random() < 0.3:
                key.append(None)
            start, stop = (rng.choice([None, *range(-n - 1, n + 2)]) for _ in range(2))
            key.append(
                rng.choice([rng.randrange(-n, n), slice(start, stop, rng.choice([None, 1, 2, 3]))])
            )
        got = v.slice_(shape, strides, offset, tuple(key))
        expected = positions(shape, strides, offset)[tuple(key)]
        assert got[0] == np.shape(expected)
        assert (positions(*got) == expected).all()


def test_new_dimensions_have_the_strides_that_pytorch_gives_them():
    assert v.slice_((4, 6), (6, 1), 0, (None,))[1] == (24, 6, 1)
    assert v.slice_((4, 6), (6, 1), 0, (slice(None), None, None, slice(1, 3)))[1] == (6, 2, 2, 1)
    assert v.slice_((4, 6), (6, 1), 0, (0, slice(None), None))[1] == (1, 1)


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        ((2,), IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
        ((0, -4), IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
        ((slice(None, None, -1),), ValueError, "step must be greater than zero"),
        ((0, 0, 0), ValueError, "too many indices for 2 dimensions"),
    ],
)
def test_slice_refuses(key, error, text):
    with pytest.raises(error, match=text):
        v.slice_((2, 3), (3, 1), 0, key)


def factors(n):
    """Some shapes of n elements."""
    yield (n,)
    yield (1, n, 1)
    for a in range(2, n + 1):
        if n % a == 0:
            yield (a, n // a)
            yield (a, 1, n // a)
            for b in range(2, n // a + 1):
                if n // a % b == 0:
                    yield (a, b, n // a // b)


def test_view_is_possible_exactly_where_numpy_can_reshape_without_a_copy():
    possible = 0
    for shape, strides, offset in geometries(5, 200):
        start = positions(shape, strides, offset)
        for wanted in {shape, *factors(v.count(shape))}:
            try:
                expected = start.reshape(wanted, copy=False)
            except ValueError:
                expected = None
            if expected is None:
                # NumPy gives up on some repeated dimensions that strides can express: the elements decide there
                try:
                    got = v.view(shape, strides, wanted)
                except ValueError:
                    continue
                assert (positions(wanted, got, offset) == start.reshape(wanted)).all()
                continue
            possible += 1
            got = v.view(shape, strides, wanted)
            assert (positions(wanted, got, offset) == expected).all(), (shape, strides, wanted)
    assert possible > 500


def test_view_of_nothing_and_of_one():
    assert v.view((0, 3), (3, 1), (3, 0)) == (1, 1)
    assert v.view((), (), (1, 1)) == (1, 1)
    assert v.view((1, 1), (5, 7), ()) == ()
    with pytest.raises(ValueError, match="different element counts"):
        v.view((2, 3), (3, 1), (5,))
    with pytest.raises(ValueError, match="cannot express"):
        v.view((2, 3), (1, 2), (6,))


def test_coalesce_keeps_the_elements_in_order():
    rng = random.Random(6)
    for shape, strides, offset in geometries(6, 300):
        other = v.contiguous_strides(shape)
        groups = [rng.random() < 0.5 for _ in shape]
        for labels in (None, groups):
            launch, (a, b), left = v.coalesce(shape, [strides, other], labels)
            assert len(left) == len(launch) <= len(shape)
            assert 1 not in launch
            assert (
                positions(launch, a, offset).ravel() == positions(shape, strides, offset).ravel()
            ).all()
            assert (positions(launch, b).ravel() == np.arange(v.count(shape))).all()
            kept = [n for n, label in zip(launch, left, strict=True) if label]
            if labels is not None:
                assert np.prod(kept) == np.prod(
                    [n for n, label in zip(shape, groups, strict=True) if label]
                )


def test_coalesce_merges_all_it_can():
    assert v.coalesce((2, 3, 4), [(12, 4, 1)]) == ((24,), [(1,)], (None,))
    assert v.coalesce((2, 3, 4), [(12, 4, 1), (0, 0, 0)])[0] == (24,)
    assert v.coalesce((2, 3, 4), [(12, 4, 1), (4, 8, 1)])[0] == (2, 3, 4)
    assert v.coalesce((1, 1), [(5, 9)]) == ((), [()], ())
    assert v.coalesce((2, 3), [(3, 1)], [True, False]) == ((2, 3), [(3, 1)], (True, False))


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((3, 4), (4, 1), (4, 1)),
        ((3, 4), (1, 3), (1, 3)),
        ((3, 4), (9, 1), (9, 1)),
        ((5, 3, 4), (0, 4, 1), (0, 4, 1)),
        ((3, 4), (8, 2), None),  # no unit stride
        ((3, 4), (0, 1), None),  # repeated rows
        ((3, 4), (2, 1), None),  # rows that overlap
        ((3, 1), (7, 9), (7, 1)),  # the stride of a size of 1 means nothing
        ((1, 3), (9, 1), (3, 1)),
        ((1, 3), (9, 2), (1, 2)),
        ((1, 1), (0, 0), (1, 1)),
        ((3, 1), (0, 1), None),
    ],
)
def test_matrix_strides(shape, strides, expected):
    assert v.matrix_strides(shape, strides) == expected
