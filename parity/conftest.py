"""PyTorch beside flambeau: how one expression is built, fed and compared in both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import flambeau

ORACLE = "2.13.0"
OURS = re.compile(r"\bflambeau\b")


@dataclass(frozen=True)
class Draw:
    """An input drawn by `make(rng)`; a plain tuple in a table of inputs is a standard normal shape."""

    make: Callable[[np.random.Generator], Any]
    grad: bool = True

    @classmethod
    def ints(cls, high: int, *shape: int, low: int = 0) -> Draw:
        return cls(lambda rng: np.asarray(rng.integers(low, high, shape)))

    @classmethod
    def uniform(cls, low: float, high: float, *shape: int, grad: bool = True) -> Draw:
        return cls(lambda rng: rng.uniform(low, high, shape), grad)

    @classmethod
    def flags(cls, *shape: int) -> Draw:
        """Booleans with a False at the start of every row, so that no row masks everything."""
        return cls(lambda rng: (rng.random(shape) < 0.4) & (np.arange(shape[-1]) > 0))

    @classmethod
    def signs(cls, *shape: int) -> Draw:
        return cls(lambda rng: rng.choice([-1.0, 1.0], shape), False)

    @classmethod
    def chances(cls, *shape: int, dim: int = 1) -> Draw:
        """Positive numbers that sum to one along `dim`."""

        def make(rng: np.random.Generator) -> Any:
            x = rng.uniform(0.1, 1.0, shape)
            return x / x.sum(dim, keepdims=True)

        return cls(make)

    @classmethod
    def cells(cls, *shape: int) -> Draw:
        """Indices as pooling by two would give them: one cell of each window."""

        def make(rng: np.random.Generator) -> Any:
            flat = np.zeros(shape, np.int64)
            for axis, size in enumerate(shape[2:], 2):
                place = np.arange(size).reshape((-1,) + (1,) * (len(shape) - axis - 1))
                flat = flat * (2 * size) + 2 * place + rng.integers(0, 2, shape)
            return flat

        return cls(make)

    @classmethod
    def given(cls, *values: Any) -> Draw:
        return cls(lambda rng: np.asarray(values), False)


def numbers(tensor: Any) -> np.ndarray[Any, Any]:
    """A copy of a tensor's values."""
    if getattr(tensor, "is_sparse", False):
        tensor = tensor.to_dense()
    return np.array(tensor.detach().numpy())


def leaves(value: Any) -> Iterator[Any]:
    """The tensors of a result, in order; other values are passed over."""
    if hasattr(value, "detach"):
        yield value
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)


class Oracle:
    """Both frameworks: `theirs` is PyTorch, `ours` is flambeau, `both` the two."""

    draw = Draw
    numbers = staticmethod(numbers)
    leaves = staticmethod(leaves)

    def __init__(self, torch: Any) -> None:
        self.theirs = torch
        self.ours = flambeau
        self.both = (torch, flambeau)

    def build(self, framework: Any, expression: str, dtype: str = "float64", **names: Any) -> Any:
        """What the expression makes, where nn's names, T (the framework), dtype and `names` are known."""
        known = {
            **vars(framework.nn),
            "nn": framework.nn,
            "T": framework,
            "F": framework.nn.functional,
            "dtype": getattr(framework, dtype),
            **names,
        }
        # The frameworks' generators differ, and some layers must draw alike to print alike.
        framework.manual_seed(0)
        built = eval(expression, known)
        return built.to(known["dtype"]) if isinstance(built, framework.nn.Module) else built

    def arrays(self, inputs: Iterable[Any], dtype: str, seed: int = 0) -> list[Any]:
        """What the inputs' descriptions stand for, as arrays; None and plain values pass."""
        rng = np.random.default_rng(seed)

        def one(what: Any) -> Any:
            if isinstance(what, dict):
                return {name: one(each) for name, each in what.items()}
            if isinstance(what, list):
                return [one(each) for each in what]
            if isinstance(what, tuple):
                what = Draw(lambda rng, shape=what: rng.standard_normal(shape))
            if not isinstance(what, Draw):
                if not callable(what):
                    return what
                what = what(Draw)
            array = np.asarray(what.make(rng))
            return (array.astype(dtype) if array.dtype.kind == "f" else array, what.grad)

        return [one(each) for each in inputs]

    def tensors(self, framework: Any, arrays: Any) -> Any:
        """The arrays as that framework's leaf tensors; nested lists and dicts keep their form."""
        if isinstance(arrays, dict):
            return {name: self.tensors(framework, each) for name, each in arrays.items()}
        if isinstance(arrays, list):
            return [self.tensors(framework, each) for each in arrays]
        if not isinstance(arrays, tuple):
            return arrays
        array, grad = arrays
        tensor = framework.tensor(np.array(array))
        return tensor.requires_grad_() if grad and array.dtype.kind == "f" else tensor

    def load(self, theirs: Any, ours: Any) -> None:
        """Give ours their state: the names, their order, the shapes and dtypes agree."""
        state = theirs.state_dict()
        mine = ours.state_dict()
        assert list(state) == list(mine)
        told = {name: (tuple(each.shape), plain(each.dtype)) for name, each in state.items()}
        assert told == {n: (tuple(each.shape), plain(each.dtype)) for n, each in mine.items()}
        ours.load_state_dict({name: self.ours.tensor(numbers(t)) for name, t in state.items()})

    def run(self, framework: Any, function: Callable[..., Any], arrays: list[Any]) -> Any:
        """The results of function(*inputs) and the inputs' gradients under random cotangents."""
        inputs = self.tensors(framework, arrays)
        named = inputs.pop() if inputs and isinstance(inputs[-1], dict) else {}
        result = function(*inputs, **named)
        outputs = list(leaves(result))
        rng = np.random.default_rng(1000)  # cotangents like the inputs cancel in normalisations
        total = None
        for each in outputs:
            weight = np.asarray(rng.standard_normal(tuple(each.shape)))
            if each.requires_grad:
                dtype = numbers(each).dtype
                term = (each * framework.tensor(weight.astype(dtype))).sum()
                total = term if total is None else total + term
        if total is not None:
            total.backward()
        grads = [each.grad for each in leaves([inputs, named])]
        return outputs, grads

    def compare(self, theirs: Any, ours: Any, rtol: float, what: str) -> None:
        """The same number of tensors, each of the same shape, dtype and values; None only beside None."""
        theirs, ours = list(theirs), list(ours)
        assert len(theirs) == len(ours), f"{what}: {len(ours)} of them, not {len(theirs)}"
        for i, (a, b) in enumerate(zip(theirs, ours, strict=True)):
            name = f"{what}[{i}]"
            if a is None or b is None:
                assert a is None, f"{name} is None"
                assert b is None, f"{name} is not None"
                continue
            assert plain(a.dtype) == plain(b.dtype), name
            self.close(numbers(a), numbers(b), rtol, name)

    def close(self, theirs: Any, ours: Any, rtol: float, what: str) -> None:
        """To rtol of a number itself plus rtol of the largest: sums round by the size of their terms."""
        assert theirs.shape == ours.shape, what
        finite = np.abs(theirs[np.isfinite(theirs)]) if theirs.size else theirs
        atol = rtol * float(finite.max()) if finite.size else 0.0
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=what)

    def same_text(self, theirs: Any, ours: Any) -> None:
        """The printed forms agree but for the package's name, and tensor classes of one dtype's own."""
        expected = addresses(repr(theirs)).replace("torch.FloatTensor", "torch.float32")
        expected = expected.replace("torch.DoubleTensor", "torch.float64")
        assert OURS.sub("torch", addresses(repr(ours))) == expected


def plain(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def addresses(text: str) -> str:
    """Without the places in memory that functions print."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """Both frameworks, or a skip that says what is missing."""
    torch: Any = pytest.importorskip(
        "torch", reason=f"parity compares with PyTorch {ORACLE}, which is not installed here"
    )
    if torch.__version__.partition("+")[0] != ORACLE:
        pytest.skip(f"parity compares with PyTorch {ORACLE}, and {torch.__version__} is installed")
    torch.set_num_threads(1)
    return Oracle(torch)
