"""Normalisation layers."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau.errors import ShapeError
from flambeau.nn import init
from flambeau.nn.functional import _norm as F
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.creation import empty
from flambeau.tensor import Tensor, describe


class _NormBase(Module):
    """What BatchNorm and InstanceNorm share: scale and shift for each channel, and running statistics."""

    _version = 2
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = Parameter(empty(num_features, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        made = (
            Parameter(empty(num_features, device=device, dtype=dtype)) if affine and bias else None
        )
        self.register_parameter("bias", made)
        if track_running_stats:
            self.register_buffer("running_mean", fb.zeros(num_features, device=device, dtype=dtype))
            self.register_buffer("running_var", fb.ones(num_features, device=device, dtype=dtype))
            self.register_buffer("num_batches_tracked", fb.tensor(0, dtype=fb.int64, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batch seen."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, and the running statistics as at first."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """Arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _brief(self) -> str:
        return f"{type(self).__name__}({self.num_features})"

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.track_running_stats:
            key = prefix + "num_batches_tracked"  # older files have no such counter
            if key not in state_dict:
                have = self.num_batches_tracked
                state_dict[key] = have if have is not None and not have.is_meta else fb.tensor(0)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def _check_input_dim(self, input: Tensor) -> None:
        raise NotImplementedError


def _rank(layer: Any, input: Tensor, ranks: tuple[int, ...], text: str) -> None:
    if len(input._a.shape) not in ranks:
        raise ShapeError(
            f"{type(layer).__name__}: expected {text} input (got {len(input._a.shape)}D input: {describe(input)})"
        )


class _BatchNorm(_NormBase):
    def forward(self, input: Tensor) -> Tensor:
        """Same shape."""
        self._check_input_dim(input)
        share = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                share = 1.0 / float(self.num_batches_tracked)
        own = self.training or (self.running_mean is None and self.running_var is None)
        running = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if running else None,
            self.running_var if running else None,
            self.weight,
            self.bias,
            own,
            share,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Each channel of (N, C) or (N, C, L) to zero mean and unit variance over the batch; running statistics
    in evaluation.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Args: momentum: share of the new batch in the running statistics; None for a plain average.  affine:
    learn weight and
        bias (start at 1 and 0).  track_running_stats: keep running statistics.
    Reference: Ioffe, Szegedy 2015, arXiv:1502.03167.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _rank(self, input, (2, 3), "2D or 3D")


class BatchNorm2d(_BatchNorm):
    """Each channel of (N, C, H, W) to zero mean and unit variance over the batch. Args: as BatchNorm1d.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.BatchNorm2d(3)(fb.randn(2, 3, 4, 4)).shape
        flambeau.Size([2, 3, 4, 4])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _rank(self, input, (4,), "4D")


class BatchNorm3d(_BatchNorm):
    """Each channel of (N, C, D, H, W) to zero mean and unit variance over the batch. Args: as BatchNorm1d."""

    def _check_input_dim(self, input: Tensor) -> None:
        _rank(self, input, (5,), "5D")


class SyncBatchNorm(_BatchNorm):
    """BatchNorm of any rank; there is one process here, so there is nothing to synchronise."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if len(input._a.shape) < 2:
            _rank(self, input, (), "at least 2D")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module itself with every BatchNorm replaced by SyncBatchNorm."""
        made = module
        if isinstance(module, _BatchNorm):
            made = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
            )
            made._parameters, made._buffers = module._parameters, module._buffers
            made.training = module.training
        for name, child in list(module.named_children()):
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made


class _InstanceNorm(_NormBase):
    ranks: tuple[int, int]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def _check_input_dim(self, input: Tensor) -> None:
        a, b = self.ranks
        _rank(self, input, self.ranks, f"{a}D or {b}D")

    def forward(self, input: Tensor) -> Tensor:
        """Same shape."""
        self._check_input_dim(input)
        x: Any = input
        single = len(x._a.shape) == self.ranks[0]
        channels = x._a.shape[0 if single else 1]
        if channels != self.num_features and self.affine:
            raise ShapeError(
                f"{type(self).__name__}: expected input's size at dim={0 if single else 1} to match num_features "
                f"({self.num_features}), but got: {channels} ({describe(input)})"
            )
        if single:
            x = x.unsqueeze(0)
        own = self.training or not self.track_running_stats
        y: Any = F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            own,
            self.momentum or 0.0,
            self.eps,
        )
        return y.squeeze(0) if single else y  # type: ignore[no-any-return]


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample of (N, C, L) or (C, L) to zero mean and unit variance. Reference:
    Ulyanov et al. 2016.
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each sample of (N, C, H, W) or (C, H, W) to zero mean and unit variance."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each sample of (N, C, D, H, W) or (C, D, H, W) to zero mean and unit variance."""

    ranks = (4, 5)


class LayerNorm(Module):
    """The last axes to zero mean and unit variance, then scale and shift.

    y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias     (var: biased, divides by n)

    Args: normalized_shape: the last axes of x.  eps: > 0, unit of x squared.  elementwise_affine: learn
    weight and bias
        (start at 1 and 0).  bias: learn the bias.
    Raises: ShapeError: x does not end with normalized_shape.
    Reference: Ba, Kiros, Hinton 2016, arXiv:1607.06450.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.LayerNorm((4,))(fb.ones(2, 4)).shape
        flambeau.Size([2, 4])
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.eps, self.elementwise_affine = eps, elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            made = (
                Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
                if wanted
                else None
            )
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """The last axes to unit mean square: x / sqrt(mean(x^2) + eps) * weight; eps None: of the dtype.

    Reference: Zhang, Sennrich 2019, arXiv:1910.07467.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.eps, self.elementwise_affine = eps, elementwise_affine
        made = (
            Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
            if elementwise_affine
            else None
        )
        self.register_parameter("weight", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Each sample's channels, in num_groups groups, to zero mean and unit variance. Reference: Wu, He 2018."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise F.NormArgumentError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = (
            num_groups,
            num_channels,
            eps,
            affine,
        )
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(empty(num_channels, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Same shape."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Arguments."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta. Reference: Krizhevsky et
    al. 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """Same shape."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """LocalResponseNorm of (N, C, H, W) under its old name."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def extra_repr(self) -> str:
        """Arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
