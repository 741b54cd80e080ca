"""Layers that find out their input's size at the first call."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau.errors import FlambeauError
from flambeau.nn.modules import _conv, _norm
from flambeau.nn.modules._linear import Linear
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from flambeau.tensor import Tensor, describe


class LazyError(FlambeauError, RuntimeError):
    """A lazy layer that was asked for what it does not know yet."""


class LazyModuleMixin(Module):
    """Base of lazy layers: before the first call `initialize_parameters` sees its arguments."""

    cls_to_become: type | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self.register_load_state_dict_pre_hook(_shape_from_state)
        self._initialize_hook = self.register_forward_pre_hook(_infer, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes.

        Raises: NotImplementedError: the subclass does not say how.
        """
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def has_uninitialized_params(self) -> bool:
        """Whether a shape is still unknown."""
        return any(is_lazy(t) for t in (*self._parameters.values(), *self._buffers.values()))


def _shape_from_state(module: Any, state_dict: Any, prefix: str, *rest: Any) -> None:
    """Take the shapes of a state_dict that is about to be loaded."""
    for name, t in (*module._parameters.items(), *module._buffers.items()):
        key = prefix + name
        if key in state_dict and t is not None and is_lazy(t) and not is_lazy(state_dict[key]):
            with fb.no_grad():
                t.materialize(state_dict[key]._a.shape)


def _infer(module: Any, args: Any, kwargs: Any) -> None:
    module.initialize_parameters(*args, **kwargs)
    if module.has_uninitialized_params():
        raise LazyError(f"module {module._get_name()} has not been fully initialized")
    module._initialize_hook.remove()
    module._load_hook.remove()
    del module._initialize_hook, module._load_hook
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become


class LazyLinear(LazyModuleMixin, Linear):
    """Linear whose in_features is the last dimension of its first input.

    Example:
        >>> import flambeau as fb
        >>> layer = fb.nn.LazyLinear(3)
        >>> layer(fb.ones(2, 5)).shape, layer
        (flambeau.Size([2, 3]), Linear(in_features=5, out_features=3, bias=True))
    """

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, 0, False, device, dtype)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the parameters anew, once their shapes are known."""
        if self.in_features != 0 and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take in_features from the input."""
        if self.in_features == 0:
            self.in_features = input._a.shape[-1]
        if self.has_uninitialized_params():
            self.weight.materialize((self.out_features, self.in_features))  # type: ignore[attr-defined]
            if self.bias is not None:
                self.bias.materialize((self.out_features,))  # type: ignore[attr-defined]
            self.reset_parameters()


class _LazyConv(LazyModuleMixin):
    """What lazy convolutions share."""

    transposed = False
    dims = 0

    def _delay(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the parameters anew, once their shapes are known."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take in_channels from the input.

        Raises: LazyError: the rank does not fit, or groups does not divide the channels.
        """
        shape = input._a.shape
        if len(shape) not in (self.dims + 1, self.dims + 2):
            raise LazyError(
                f"Expected {self.dims + 1}D (unbatched) or {self.dims + 2}D (batched) input to "
                f"{type(self).__name__}, but got {describe(input)}"
            )
        self.in_channels = shape[1 if len(shape) == self.dims + 2 else 0]
        if self.in_channels % self.groups:
            raise LazyError(
                f"in_channels must be divisible by groups, got {self.in_channels} and {self.groups}"
            )
        if not self.has_uninitialized_params():
            return
        first, second = (
            (self.in_channels, self.out_channels)
            if self.transposed
            else (self.out_channels, self.in_channels)
        )
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConvNd(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype
        )
        self._delay(out_channels, bias, device, dtype)


class _LazyConvTransposeNd(_LazyConv):
    transposed = True

    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        self._delay(out_channels, bias, device, dtype)


def _channels(layer: Any, input: Tensor) -> int:
    """Size of the channel dimension, which comes first in an instance norm's unbatched input."""
    ranks = getattr(layer, "ranks", None)
    first = ranks is not None and len(input._a.shape) == ranks[0]
    size: int = input._a.shape[0 if first else 1]
    return size


class _LazyNorm(LazyModuleMixin):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=bias)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = fb.tensor(0, dtype=fb.int64, device=device)

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, once the shapes are known."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor) -> None:
        """Take num_features from the input's channels."""
        if self.num_features == 0:  # type: ignore[has-type]
            self._check_input_dim(input)
            self.num_features = _channels(self, input)
        if self.has_uninitialized_params():
            for t in (self.weight, self.bias, self.running_mean, self.running_var):
                if t is not None and is_lazy(t):
                    t.materialize((self.num_features,))
            self.reset_parameters()


class LazyConv1d(_LazyConvNd, _conv.Conv1d):
    """Conv1d whose in_channels is that of its first input."""

    cls_to_become = _conv.Conv1d
    dims = 1


class LazyConv2d(_LazyConvNd, _conv.Conv2d):
    """Conv2d whose in_channels is that of its first input."""

    cls_to_become = _conv.Conv2d
    dims = 2


class LazyConv3d(_LazyConvNd, _conv.Conv3d):
    """Conv3d whose in_channels is that of its first input."""

    cls_to_become = _conv.Conv3d
    dims = 3


class LazyConvTranspose1d(_LazyConvTransposeNd, _conv.ConvTranspose1d):
    """ConvTranspose1d whose in_channels is that of its first input."""

    cls_to_become = _conv.ConvTranspose1d
    dims = 1


class LazyConvTranspose2d(_LazyConvTransposeNd, _conv.ConvTranspose2d):
    """ConvTranspose2d whose in_channels is that of its first input."""

    cls_to_become = _conv.ConvTranspose2d
    dims = 2


class LazyConvTranspose3d(_LazyConvTransposeNd, _conv.ConvTranspose3d):
    """ConvTranspose3d whose in_channels is that of its first input."""

    cls_to_become = _conv.ConvTranspose3d
    dims = 3


class LazyBatchNorm1d(_LazyNorm, _norm.BatchNorm1d):  # type: ignore[misc]
    """BatchNorm1d whose num_features is that of its first input."""

    cls_to_become = _norm.BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, _norm.BatchNorm2d):  # type: ignore[misc]
    """BatchNorm2d whose num_features is that of its first input."""

    cls_to_become = _norm.BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, _norm.BatchNorm3d):  # type: ignore[misc]
    """BatchNorm3d whose num_features is that of its first input."""

    cls_to_become = _norm.BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, _norm.InstanceNorm1d):  # type: ignore[misc]
    """InstanceNorm1d whose num_features is that of its first input."""

    cls_to_become = _norm.InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, _norm.InstanceNorm2d):  # type: ignore[misc]
    """InstanceNorm2d whose num_features is that of its first input."""

    cls_to_become = _norm.InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, _norm.InstanceNorm3d):  # type: ignore[misc]
    """InstanceNorm3d whose num_features is that of its first input."""

    cls_to_become = _norm.InstanceNorm3d
