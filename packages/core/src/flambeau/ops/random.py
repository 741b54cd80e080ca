"""Random tensors. Numbers come from the counter-based generator on the host, so every device gets the same bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes, random as streams
from flambeau.autograd.inplace import check_writable, store
from flambeau.errors import ArgumentError, DTypeError, ShapeError
from flambeau.kinds import Kind
from flambeau.ops._public import Public
from flambeau.ops._recover import no_room
from flambeau.ops.creation import _finish, _kind, from_numpy
from flambeau.shape import Shape, as_shape, check_sizes
from flambeau.tensor import Tensor, describe, host, wrap


class Generator(streams.Generator):
    """A stream of random numbers of its own; its state is a uint8 tensor.

    Example:
        >>> import flambeau as fb
        >>> g = fb.Generator().manual_seed(0)
        >>> fb.randint(0, 10, (4,), generator=g)
        tensor([7, 0, 4, 8])
    """

    __slots__ = ()

    def get_state(self) -> Any:
        """The state as a uint8 tensor of 16 elements: seed and offset."""
        return from_numpy(super().get_state())

    def set_state(self, state: Any) -> Any:
        """Restore a state from get_state()."""
        return super().set_state(host(state) if isinstance(state, Tensor) else state)


def get_rng_state() -> Tensor:
    """The default generator's state as a uint8 tensor."""
    return from_numpy(streams.get_rng_state())


def set_rng_state(new_state: Tensor) -> None:
    """Restore the default generator's state."""
    streams.set_rng_state(host(new_state))


def _stream(generator: Any) -> streams.Generator:
    if generator is None:
        return streams.default_generator
    if not isinstance(generator, streams.Generator):
        raise ArgumentError(
            f"generator must be a flambeau.Generator, got {type(generator).__name__}"
        )
    return generator


def _floating(op: str, kind: Kind) -> None:
    if kind.inexact is None:
        raise DTypeError(
            f'"{op}" not implemented for {kind.dtype.name}. Hint: dtype=flambeau.float32, or randint()'
        )


def _from_stream(draw: Any, gen: streams.Generator, shape: Shape, kind: Kind) -> Any:
    """A native array of the values that draw(gen, shape, dtype name) makes."""
    d = kind.dtype
    try:
        if d.is_complex:
            parts = draw(gen, (*shape, 2), d.to_real().name)
            return kind.k["from_host"](parts.view(d.numpy)[..., 0] * d.numpy.type(1 / math.sqrt(2)))
        array = draw(gen, shape, d.name)
        return kind.k["from_host"](array if d is not dtypes.bfloat16 else array.astype(d.numpy))
    except MemoryError as error:
        raise no_room("rand", kind, error) from None


def _sampler(name: str, draw: Any, doc: str) -> tuple[Any, Any]:
    def make(
        *size: Any,
        generator: Any = None,
        out: Any = None,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
    ) -> Tensor:
        kind = _kind(dtype, device)
        _floating(name, kind)
        shape = check_sizes(as_shape(size or ((),), name), name)
        return _finish(
            _from_stream(draw, _stream(generator), shape, kind), kind, requires_grad, out
        )

    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        generator: Any = None,
    ) -> Tensor:
        return make(
            input._a.shape,
            generator=generator,
            dtype=dtype or input.dtype,
            device=device or input.device,
            requires_grad=requires_grad,
        )

    make.__name__ = make.__qualname__ = name
    like.__name__ = like.__qualname__ = f"{name}_like"
    make.__doc__ = doc
    like.__doc__ = f"`{name}` in input's shape, dtype and device."
    return make, like


rand, rand_like = _sampler(
    "rand", streams.uniform, "Uniform numbers in [0, 1); sizes as ints or as one sequence."
)
randn, randn_like = _sampler(
    "randn", streams.normal, "Standard normal numbers; sizes as ints or as one sequence."
)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Whole numbers from low (included, 0 if left out) to high (excluded); int64 unless dtype says otherwise.

    Raises: ShapeError: low is not below high.

    Example:
        >>> import flambeau as fb
        >>> fb.randint(0, 10, (2, 3)).shape
        flambeau.Size([2, 3])
    """
    if size is None:
        low, high, size = 0, low, high
    if size is None:
        raise ArgumentError("randint: size is missing. Hint: randint(low, high, (2, 3))")
    low, high = int(low), int(high)
    if low >= high:
        raise ShapeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    kind = _kind(dtype, device, dtypes.int64)
    shape = check_sizes(as_shape((size,), "randint"), "randint")
    try:
        array = streams.randint(_stream(generator), shape, low, high)
        native = kind.k["from_host"](array.astype(kind.dtype.numpy, copy=False))
    except MemoryError as error:
        raise no_room("randint", kind, error) from None
    return _finish(native, kind, requires_grad, out)


def randint_like(
    input: Tensor,
    low: int,
    high: Any = None,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`randint` in input's shape, dtype and device."""
    low, high = (0, low) if high is None else (low, high)
    return randint(
        low,
        high,
        input._a.shape,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def randperm(
    n: int,
    *,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The numbers 0 to n-1 in random order; int64 unless dtype says otherwise."""
    kind = _kind(dtype, device, dtypes.int64)
    try:
        array = streams.randperm(_stream(generator), int(n))
        native = kind.k["from_host"](array.astype(kind.dtype.numpy, copy=False))
    except MemoryError as error:
        raise no_room("randperm", kind, error) from None
    return _finish(native, kind, requires_grad, out)


def bernoulli(input: Tensor, p: Any = None, *, generator: Any = None, out: Any = None) -> Tensor:
    """1 with the probability that input gives, element by element (or with probability p), else 0; input's dtype.

    Raises: ShapeError: a probability outside [0, 1].
    """
    _floating("bernoulli", input._kind)
    prob = host(input.detach()) if p is None else (host(p.detach()) if isinstance(p, Tensor) else p)
    try:
        drawn = streams.bernoulli(_stream(generator), input._a.shape, prob)
    except RuntimeError as error:
        raise ShapeError(
            f"bernoulli: Expected p_in >= 0 && p_in <= 1 to be true ({error})"
        ) from None
    kind = input._kind
    return _finish(kind.k["cast"](kind.boolean.k["from_host"](drawn), kind.dtype), kind, False, out)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers with mean and standard deviation given as tensors (element by element) or numbers with a size.

    Raises: ShapeError: std is negative.
    """
    tensors = [v for v in (mean, std) if isinstance(v, Tensor)]
    if not isinstance(std, Tensor) and std < 0:
        raise ShapeError(f"normal expects std >= 0.0, but found std {std}")
    if not tensors:
        drawn = randn(() if size is None else size, generator=generator, dtype=dtype, device=device)
    else:
        first = tensors[0]
        from flambeau.shape import broadcast_shapes

        shape = broadcast_shapes(*(t._a.shape for t in tensors))
        drawn = randn(tuple(shape), generator=generator, dtype=first.dtype, device=first.device)
    result = drawn * std + mean
    if out is not None:
        from flambeau.ops._recover import write_out

        return write_out(result, out)
    return result.requires_grad_() if requires_grad else result  # type: ignore[no-any-return]


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Any = None,
    out: Any = None,
) -> Tensor:
    """Row indices drawn with probabilities proportional to input's rows: (n, c) -> (n, num_samples), int64.

    Raises: ShapeError: more than two dimensions, negative or no weight, more samples than weights without replacement.
    """
    _floating("multinomial", input._kind)
    weights = host(input.detach()).astype(np.float64)
    if weights.ndim not in (1, 2):
        raise ShapeError(f"multinomial: prob_dist must be 1 or 2 dim, got {describe(input)}")
    rows = weights.reshape(-1, weights.shape[-1])
    if not np.isfinite(rows).all() or (rows < 0).any():
        raise ShapeError(
            "multinomial: probability tensor contains either `inf`, `nan` or element < 0"
        )
    if (rows.sum(1) <= 0).any():
        raise ShapeError(
            "multinomial: invalid multinomial distribution (sum of probabilities <= 0)"
        )
    if not replacement and num_samples > rows.shape[1]:
        raise ShapeError(
            "multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    gen = _stream(generator)
    if replacement:
        edges = np.cumsum(rows, 1) / rows.sum(1, keepdims=True)
        u = streams.uniform(gen, (rows.shape[0], num_samples), "float64")
        picked = np.stack(
            [np.searchsorted(e, x, side="right") for e, x in zip(edges, u, strict=True)]
        )
        picked = np.minimum(picked, rows.shape[1] - 1)
    else:
        # Efraimidis and Spirakis 2006: the largest u ** (1 / w) are a weighted sample without replacement.
        keys = streams.exponential(gen, rows.shape, "float64") / np.where(rows > 0, rows, np.nan)
        picked = np.argsort(np.where(np.isnan(keys), np.inf, keys), axis=1, kind="stable")[
            :, :num_samples
        ]
    kind = input._kind.int64
    array = np.ascontiguousarray(picked.astype(np.int64)).reshape(*weights.shape[:-1], num_samples)
    return _finish(kind.k["from_host"](array), kind, False, out)


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson numbers with the rates that input gives, element by element."""
    rates = host(input.detach())
    seed, offset = _stream(generator).reserve(8)
    drawn = np.random.Generator(np.random.Philox(counter=offset, key=seed)).poisson(rates)
    return _finish(input._kind.k["from_host"](np.asarray(drawn, rates.dtype)), input._kind, False)


# ---- in place
def _overwrite(name: str, t: Tensor, native: Any) -> Tensor:
    check_writable(name, t)
    store(name, t, wrap(native, t._kind))
    return t


def uniform_(
    self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Any = None, **bounds: float
) -> Tensor:
    """Fill with uniform numbers in [a, b); PyTorch calls the bounds from and to."""
    a, b = bounds.get("from", a), bounds.get("to", b)
    _floating("uniform_", self._kind)
    if a > b:
        raise ShapeError(
            f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}"
        )
    native = _from_stream(streams.uniform, _stream(generator), self._a.shape, self._kind)
    k, consts = self._kind.k, self._kind.consts
    native = k["add"](k["mul"](native, consts[b - a], out=...), consts[a], out=...)
    return _overwrite("uniform_", self, native)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    _floating("normal_", self._kind)
    if std < 0:
        raise ShapeError(f"normal_ expects std >= 0.0, but found std {std}")
    native = _from_stream(streams.normal, _stream(generator), self._a.shape, self._kind)
    k, consts = self._kind.k, self._kind.consts
    native = k["add"](k["mul"](native, consts[std], out=...), consts[mean], out=...)
    return _overwrite("normal_", self, native)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with 1 with probability p, else 0."""
    prob = host(p.detach()) if isinstance(p, Tensor) else p
    try:
        drawn = streams.bernoulli(_stream(generator), self._a.shape, prob)
    except RuntimeError as error:
        raise ShapeError(f"bernoulli_ expects p to be in [0, 1], but got p={p} ({error})") from None
    kind = self._kind
    return _overwrite(
        "bernoulli_", self, kind.k["cast"](kind.boolean.k["from_host"](drawn), kind.dtype)
    )


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate lambd."""
    _floating("exponential_", self._kind)
    if lambd <= 0:
        raise ShapeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    native = _from_stream(streams.exponential, _stream(generator), self._a.shape, self._kind)
    return _overwrite(
        "exponential_", self, self._kind.k["mul"](native, self._kind.consts[1.0 / lambd], out=...)
    )


#: Whole numbers that each floating-point dtype holds exactly, as bits.
_MANTISSA = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}


def random_(
    self: Tensor, low: int | None = None, high: int | None = None, *, generator: Any = None
) -> Tensor:
    """Fill with whole numbers from low to high (excluded); without bounds, over the dtype's whole non-negative
    range.
    """
    d = self._kind.dtype
    if high is None:
        high, low = low, 0
    if high is None:
        high = (
            2 ** _MANTISSA[d] + 1
            if d in _MANTISSA
            else 2
            if d is dtypes.bool_
            else dtypes.iinfo(d).max + 1
        )
    if (low or 0) >= high:
        raise ShapeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    array = streams.randint(_stream(generator), self._a.shape, low or 0, high).astype(d.numpy)
    return _overwrite("random_", self, self._kind.k["from_host"](array))


PUBLIC = Public(
    functions="rand rand_like randn randn_like randint randint_like randperm normal poisson "
    "Generator get_rng_state set_rng_state",
    both="bernoulli multinomial",
    methods="uniform_ normal_ bernoulli_ exponential_ random_",
)
