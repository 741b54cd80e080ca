"""Sample inputs for every declared op: what the derivative checks, and a backend's conformance tests, run on.

An elementwise op without attributes needs no entry of its own: it gets values from its domain in shapes that broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau import dtypes
from flambeau.dtypes import dtype as dtype_type
from flambeau.ops._op import OPS
from flambeau.testing._make import make_tensor

#: Open interval from which values of an op's operands are drawn, where (0.2, 0.9) does not do.
DOMAIN: dict[str, tuple[float, float]] = {
    "acosh": (1.2, 3.0),
    "floor_divide": (1.0, 5.0),
    "trunc_divide": (1.0, 5.0),
    "_integer_divide": (1.0, 5.0),
}

#: Ops of integers and bool only.
INTEGER = {
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "bitwise_left_shift", "bitwise_right_shift",
    "_integer_divide", "gcd", "lcm", "_sum_integers",
}  # fmt: skip

Make = Callable[..., Any]
Sample = tuple[tuple[Any, ...], dict[str, Any]]


def _index(make: Make, values: list[Any]) -> Any:
    from flambeau.ops.creation import tensor

    return tensor(values, device=make(1).device)


def _mask(make: Make, *shape: int) -> Any:
    return make(*shape) > 0.5


def _reductions(make: Make) -> Iterator[Sample]:
    for dims in (None, (0,), (1,), (0, 1)):
        for keepdim in (False, True):
            yield (make(3, 4), dims, keepdim), {}
    yield (make(()), None, False), {}


def _slices(make: Make) -> Iterator[Sample]:
    for key in (
        (0,),
        (slice(1, 3), slice(None)),
        (None, slice(None), -1),
        (slice(0, 3, 2), None, slice(1, 2)),
        (),
    ):
        yield (make(3, 4), key), {}


def _scatters(reduce: str) -> Callable[[Make], Iterator[Sample]]:
    def samples(make: Make) -> Iterator[Sample]:
        yield (make(3, 4), _index(make, [[0, 2, 1], [2, 0, 0]]), make(2, 3), 0, reduce), {}
        yield (make(3, 4), _index(make, [[3, 1], [0, 2], [1, 0]]), make(3, 2), 1, reduce), {}

    return samples


def _matrices(make: Make) -> Iterator[Sample]:
    yield (make(2, 3), make(3, 4)), {}
    yield (make(3), make(3)), {}
    yield (make(3), make(3, 2)), {}
    yield (make(2, 3), make(3)), {}
    yield (make(2, 2, 3), make(3, 2)), {}
    yield (make(2, 3), make(2, 3, 2)), {}
    yield (make(3), make(2, 3, 2)), {}


def _of(*shape: Any, attrs: tuple[Any, ...] = ()) -> Callable[[Make], Iterator[Sample]]:
    """One sample: a tensor of each shape, then the attributes."""
    return lambda make: iter([((*(make(*s) for s in shape), *attrs), {})])


def _each(shape: tuple[int, ...], *attrs: tuple[Any, ...]) -> Callable[[Make], Iterator[Sample]]:
    """One sample for each tuple of attributes, on tensors of one shape."""
    return lambda make: iter([((make(*shape), *a), {}) for a in attrs])


def _picks(*more: Any) -> Callable[[Make], Iterator[Sample]]:
    """Elements at distinct positions along a dimension."""

    def found(make: Make) -> Iterator[Sample]:
        yield (make(3, 4), _index(make, [[0, 1, 2, 0], [2, 0, 1, 2]]), 0, *more), {}
        yield (make(3, 4), _index(make, [3, 0, 2]), 1, *more), {}

    return found


def _pick_backward(make: Make) -> Iterator[Sample]:
    yield (make(2, 4), _index(make, [[0, 1, 2, 0], [2, 0, 1, 2]]), 0, (3, 4), True), {}
    yield (make(2, 4), _index(make, [[0, 1, 2, 0], [0, 0, 1, 2]]), 0, (3, 4), False), {}


def _takes(make: Make) -> Iterator[Sample]:
    yield (make(3, 4), _index(make, [2, 0, 2]), 0, False), {}
    yield (make(3, 4), _index(make, [[1, 3], [0, 0]]), 1, True), {}


def _masked(make: Make) -> Iterator[Sample]:
    from flambeau.ops.creation import tensor

    where = tensor([True, False, True], device=make(1).device)
    yield (make(3, 2), where, 0), {}


def _masked_backward(make: Make) -> Iterator[Sample]:
    from flambeau.ops.creation import tensor

    where = tensor([True, False, True], device=make(1).device)
    yield (make(2, 2), where, 0, (3, 2)), {}


def _complex(*shape: int) -> Callable[[Make], Iterator[Sample]]:
    def found(make: Make) -> Iterator[Sample]:
        x = make(*shape)
        yield (x + x.flip(-1) * 1j,), {}

    return found


_DIMS = ((None, False), ((0,), False), ((1,), True), ((0, 1), False))
_ONE_DIM = ((0, False), (1, True))

#: Samples of the other ops: functions of `make(*shape)`, which gives a tensor in the op's domain.
SAMPLES: dict[str, Callable[[Make], Iterator[Sample]]] = {
    "where": lambda make: iter(
        [((_mask(make, 2, 3), make(2, 3), make(3)), {}), ((_mask(make, 3), make(2, 3), 0.5), {})]
    ),
    "bmm": _of((2, 3, 4), (2, 4, 2)),
    "matmul": _matrices,
    "_cdist": lambda make: iter(
        [((make(2, 3), make(4, 3), p), {}) for p in (1.0, 2.0, 2.5, float("inf"))]
        + [((make(2, 1, 3), make(4, 3), 3.0), {})]
    ),
    # movement
    "_view": lambda make: iter([((make(2, 6), (3, 4)), {}), ((make(1), ()), {})]),
    "_permute": lambda make: iter([((make(2, 3, 4), (2, 0, 1)), {}), ((make(3), (0,)), {})]),
    "_expand": lambda make: iter([((make(3, 1), (2, 3, 4)), {}), ((make(()), (2,)), {})]),
    "_slice": _slices,
    "_slice_backward": _of((2, 4), attrs=((slice(1, 3), slice(None)), (3, 4))),
    "_as_strided": lambda make: iter(
        [((make(2, 6), (2, 3), (6, 2), 1), {}), ((make(6), (3, 3), (1, 1), 0), {})]
    ),
    "_repeat": _each((2, 3), ((2, 1),), ((3, 2),)),
    "_repeat_each": _each((2, 3), (2, 0), (3, 1)),
    "_flip": _each((2, 3), ((0,),), ((0, 1),)),
    "_roll": _each((2, 3), ((1,), (1,)), ((1, -2), (0, 1))),
    # reductions
    "reduce_sum": _reductions,
    "reduce_mean": _reductions,
    "reduce_prod": _reductions,
    "reduce_max": _reductions,
    "reduce_min": _reductions,
    "_logsumexp": _reductions,
    "reduce_any": _reductions,
    "reduce_all": _reductions,
    "_sum_integers": _reductions,
    "sum_all": lambda make: iter([((make(3, 4),), {}), ((make(()),), {})]),
    "sum_backward": _of((), attrs=((3, 4),)),
    "mean_all": _each((3, 4), (None, False), (None, True)),
    "_max_all": _each((3, 4), (None, False)),
    "_min_all": _each((3, 4), (None, False)),
    "_median_all": _each((3, 3), (None, False)),
    "_nanmedian_all": _each((3, 3), (None, False)),
    "_var": _each((3, 4), *((d, 1, k) for d, k in _DIMS), ((0,), 0, False)),
    "_std": _each((3, 4), *((d, 1, k) for d, k in _DIMS), ((0,), 0, False)),
    "vector_norm": _each(
        (3, 4), (2, None, False), (1, (0,), False), (3, (1,), True), (4.5, (0, 1), False)
    ),
    "arg_max": _each((3, 4), *_ONE_DIM),
    "arg_min": _each((3, 4), *_ONE_DIM),
    "arg_mode": _each((3, 4), *_ONE_DIM),
    "arg_median": _each((3, 4), *((d, k, False) for d, k in _ONE_DIM)),
    "arg_sort": _each((3, 4), (0, False), (1, True)),
    "arg_topk": _each((3, 4), (2, 0, True), (3, 1, False)),
    "arg_kth": _each((3, 4), (1, 0, False), (2, 1, True)),
    "tally": lambda make: iter([((make(4), _index(make, [0, 2, 2, 1]), 4), {})]),
    "_representatives": lambda make: iter([((make(4), _index(make, [0, 2, 1, 1]), 3), {})]),
    # scans
    "scan": _each(
        (3, 4), (0, "sum", False), (1, "prod", True), (0, "max", False), (1, "min", False)
    ),
    "_cumsum": _each((3, 4), (0, "sum", False), (1, "sum", True)),
    "_cumprod": _each((3, 4), (0, "prod", False), (1, "prod", False)),
    "_arg_scan": _each((3, 4), (0, "max"), (1, "min")),
    "_logcumsumexp": _each((3, 4), (0, False), (1, True)),
    # positions
    "pick": _picks(),
    "pick_backward": _pick_backward,
    "gather": lambda make: iter([((make(3, 4), _index(make, [[0, 2], [2, 0], [1, 1]]), 1), {})]),
    "gather_backward": lambda make: iter(
        [((make(2, 2), _index(make, [[0, 2], [2, 2]]), 1, (3, 4)), {})]
    ),
    "scatter_set": _scatters("set"),
    "scatter_add": _scatters("add"),
    "scatter_mul": _scatters("mul"),
    "scatter_extreme": _scatters("max"),
    "take": _takes,
    "index_select": _takes,
    "take_backward": lambda make: iter(
        [((make(3, 4), _index(make, [2, 0, 2]), 0, False, (3, 4)), {})]
    ),
    "masked_select": _masked,
    "masked_select_backward": _masked_backward,
    "_masked_fill": lambda make: iter([((make(2, 3), _mask(make, 2, 3), make(())), {})]),
    "_filled": _of((2, 3), ()),
    "_searchsorted": lambda make: iter([((make(5).cumsum(0), make(2, 3), False), {})]),
    **{
        f"_{n}_values": _picks()
        for n in [
            "max",
            "min",
            "cummax",
            "cummin",
            "sort",
            "topk",
            "kthvalue",
            "mode",
            "median",
            "nanmedian",
        ]
    },
    # diagonals
    "_tril": _each((3, 4), (0,), (-1,), (2,)),
    "_triu": _each((3, 4), (0,), (1,), (-2,)),
    "_diagonal": _each((2, 3, 4), (0, 0, 1), (1, 1, 2), (-1, 2, 0)),
    "_diagonal_backward": _of((2, 3), attrs=((2, 3, 4), 1, 1, 2)),
    "_unfold": _each((3, 5), (1, 3, 2), (0, 2, 1)),
    "_pad": _each((2, 3), ((1, 2), 0.5), ((1, 0, 0, 1), 0.0), ((-1, 1), 2.0)),
    # elementwise with attributes, complex parts, activations
    "_nan_to_num": _each((2, 3), (0.0, 1.0, -1.0)),
    "addcmul": lambda make: iter([((make(2, 3), make(3), make(2, 1)), {"value": 0.5})]),
    "addcdiv": lambda make: iter([((make(2, 3), make(3), make(2, 1)), {"value": 0.5})]),
    "_real": _complex(2, 3),
    "_imag": _complex(2, 3),
    "_view_as_real": _complex(2, 3),
    "_view_as_complex": _of((3, 2)),
    "logit": _each((2, 3), (None,), (0.01,)),
    "_polygamma": _each((2, 3), (1,), (2,)),
    "_softmax": _each((3, 4), (0,), (1,)),
    "_log_softmax": _each((3, 4), (0,), (1,)),
    "_softmax_backward": _of((3, 4), (3, 4), attrs=(1,)),
    "_log_softmax_backward": _of((3, 4), (3, 4), attrs=(1,)),
    "_gelu": _each((2, 3), ("none",), ("tanh",)),
    "gelu_backward": lambda make: iter(
        [((make(2, 3), make(2, 3), how), {}) for how in ("none", "tanh")]
    ),
    "_softplus": _each((2, 3), (1.0, 20.0), (2.0, 1.0)),
    "_elu": _each((2, 3), (1.0, 1.0, 1.0), (0.5, 2.0, 1.5)),
    "leaky_relu": _each((2, 3), (0.1,)),
    "hardtanh": _each((2, 3), (-1.0, 1.0), (0.4, 0.6)),
    "hardshrink": _each((2, 3), (0.5,)),
    "_softshrink": _each((2, 3), (0.5,)),
    "threshold": _each((2, 3), (0.5, 2.0)),
}


def samples(op: Any, dtype: dtype_type, device: Any = "cpu") -> list[Sample]:
    """Arguments to call a declared op with, as (args, kwargs); [] if nobody gave samples for it.

    Args: op: an op's function, as `flambeau.ops._op.OPS` lists them.  dtype: of its operands.
    """
    record = op.op
    name = next((n for n, f in OPS.items() if f is op), record.public)
    low, high = DOMAIN.get(name, (0.2, 0.9))
    if dtype.category < dtypes.FLOATING:
        low, high = (0, 2) if dtype.category == dtypes.BOOL else (1, 5)

    def make(*shape: Any) -> Any:
        return make_tensor(*shape, dtype=dtype, device=device, low=low, high=high)

    if name in SAMPLES:
        return list(SAMPLES[name](make))
    if not record.elementwise or record.attrs or any(p.kind != "tensor" for p in record.operands):
        return []
    if len(record.operands) == 1:
        return [((make(2, 3),), {}), ((make(()),), {})]
    shapes = [(2, 3), (3,), (2, 1)][: len(record.operands)]
    plain = tuple(make(*s) for s in shapes)
    number = (*plain[:-1], 1 if dtype.category < dtypes.FLOATING else 0.5)
    return [(plain, {}), (number, {}), (tuple(make(()) for _ in shapes), {})]
