"""Initialisers: fill a tensor in place, without recording it, and return it."""

from __future__ import annotations

import math
import warnings
from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.errors import FlambeauError
from flambeau.tensor import Tensor, describe


class InitError(FlambeauError, ValueError):
    """An initialiser's argument, or a tensor shape it cannot fill."""


def _fill(tensor: Tensor, method: str, *args: Any, generator: Any = None) -> Tensor:
    if _lazy(tensor):
        return tensor
    with no_grad():
        if generator is None:
            getattr(tensor, method)(*args)
        else:
            getattr(tensor, method)(*args, generator=generator)
    return tensor


def _lazy(tensor: Tensor) -> bool:
    from flambeau.nn.parameter import is_lazy

    return is_lazy(tensor)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's layer should be scaled to keep the variance.

    Raises: InitError: an unknown name, or a param that is no number.

    Example:
        >>> import flambeau as fb
        >>> round(fb.nn.init.calculate_gain("leaky_relu", 0.2), 4)
        1.3868
    """
    if nonlinearity in (
        "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
    ):  # fmt: skip
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, int | float) and not isinstance(param, bool):
            slope = param
        else:
            raise InitError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    raise InitError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform numbers in [a, b)."""
    return _fill(tensor, "uniform_", a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers."""
    return _fill(tensor, "normal_", mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal numbers, drawn again until they lie in [a, b]: by the inverse of the distribution function."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=2,
        )
    low, high = _normal_cdf((a - mean) / std), _normal_cdf((b - mean) / std)
    with no_grad():
        t: Any = tensor
        _fill(tensor, "uniform_", 2 * low - 1, 2 * high - 1, generator=generator)
        t.erfinv_()
        t.mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=a, max=b)
    return tensor


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    return _fill(tensor, "fill_", val)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return _fill(tensor, "fill_", 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return _fill(tensor, "fill_", 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix.

    Raises: InitError: not 2-D.
    """
    if len(tensor._a.shape) != 2:
        raise InitError(f"Only tensors with 2 dimensions are supported, got {describe(tensor)}")
    from flambeau.ops.creation import eye

    n, m = tensor._a.shape
    return _store(tensor, eye(n, m, dtype=tensor.dtype, device=tensor.device))


def _store(tensor: Tensor, value: Any) -> Tensor:
    with no_grad():
        tensor.copy_(value)
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The kernel of a convolution that keeps its input, in each group.

    Raises: InitError: not 3-D to 5-D, or groups does not divide the output channels.
    """
    shape = tensor._a.shape
    if len(shape) not in (3, 4, 5):
        raise InitError(
            f"Only tensors with 3, 4, or 5 dimensions are supported, got {describe(tensor)}"
        )
    if shape[0] % groups:
        raise InitError("dim 0 must be divisible by groups")
    each = shape[0] // groups
    centre = tuple(n // 2 for n in shape[2:])
    with no_grad():
        tensor.zero_()
        for g in range(groups):
            for d in range(min(each, shape[1])):
                tensor[(g * each + d, d, *centre)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    shape = tensor._a.shape
    if len(shape) < 2:
        raise InitError(
            f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got {describe(tensor)}"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise InitError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform within gain * sqrt(6 / (fan_in + fan_out)). Reference: Glorot, Bengio 2010."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = gain * math.sqrt(6.0 / float(fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)). Reference: Glorot, Bengio 2010."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _empty(tensor: Tensor) -> bool:
    if 0 in tensor._a.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform within gain * sqrt(3 / fan). Args: a: slope of leaky_relu. Reference: He et al. 2015."""
    if _lazy(tensor) or _empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan). Args: a: slope of leaky_relu. Reference: He et al. 2015."""
    if _lazy(tensor) or _empty(tensor):
        return tensor
    return normal_(tensor, 0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A (semi-)orthogonal matrix: rows = the first dimension, columns = the rest. Reference: Saxe et al. 2013.

    Raises: InitError: fewer than two dimensions.
    """
    if len(tensor._a.shape) < 2:
        raise InitError("Only tensors with 2 or more dimensions are supported")
    if not tensor.numel():
        return tensor
    import numpy as np

    from flambeau.ops.random import randn

    rows = tensor._a.shape[0]
    columns = tensor.numel() // rows
    flat = randn(rows, columns, generator=generator).numpy().astype(np.float64)
    if rows < columns:
        flat = flat.T
    q, r = np.linalg.qr(flat)
    q = q * np.sign(np.diagonal(r))  # a uniform distribution needs a positive diagonal
    if rows < columns:
        q = q.T
    kind = tensor._kind
    from flambeau.ops.creation import tensor as make

    return _store(
        tensor, make(gain * q, dtype=kind.dtype, device=kind.device).view(tensor._a.shape)
    )


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers, with a share `sparsity` of each column set to zero. Reference: Martens 2010.

    Raises: InitError: not 2-D.
    """
    if len(tensor._a.shape) != 2:
        raise InitError("Only tensors with 2 dimensions are supported")
    from flambeau.ops.random import randperm

    rows, columns = tensor._a.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    with no_grad():
        for column in range(columns):
            tensor[randperm(rows, generator=generator)[:zeros], column] = 0
    return tensor


def _renamed(new: Any) -> Any:
    name = new.__name__[:-1]

    def deprecated(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return new(*args, **kwargs)

    deprecated.__name__ = name
    deprecated.__doc__ = f"The old name of {name}_."
    return deprecated


uniform, normal, constant, eye, dirac = (
    _renamed(f) for f in (uniform_, normal_, constant_, eye_, dirac_)
)
xavier_uniform, xavier_normal = _renamed(xavier_uniform_), _renamed(xavier_normal_)
kaiming_uniform, kaiming_normal = _renamed(kaiming_uniform_), _renamed(kaiming_normal_)
orthogonal, sparse = _renamed(orthogonal_), _renamed(sparse_)

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip
