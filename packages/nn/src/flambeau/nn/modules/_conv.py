"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from flambeau.nn import init
from flambeau.nn.functional import _conv as F
from flambeau.nn.functional._conv import ConvArgumentError, Ints
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.creation import empty
from flambeau.shape import Size
from flambeau.tensor import Tensor


class _ConvNd(Module):
    """Base of all convolutions. Weight and bias start uniform within 1/sqrt(in_channels / groups *
    kernel elements).
    """

    dims = 0
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if groups <= 0:
            raise ConvArgumentError("groups must be a positive integer")
        if in_channels % groups:
            raise ConvArgumentError(
                f"{name}: in_channels must be divisible by groups, got {in_channels} and {groups}"
            )
        if out_channels % groups:
            raise ConvArgumentError(
                f"{name}: out_channels must be divisible by groups, got {out_channels} and {groups}"
            )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ConvArgumentError(
                f"{name}: padding_mode must be one of ['circular', 'reflect', 'replicate', 'zeros'], but got "
                f"padding_mode='{padding_mode}'"
            )
        if isinstance(padding, str):
            self._check_padding_name(padding, stride)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = F._tuple("kernel_size", kernel_size, self.dims, name)
        self.stride = F._tuple("stride", stride, self.dims, name)
        self.padding = (
            padding if isinstance(padding, str) else F._tuple("padding", padding, self.dims, name)
        )
        self.dilation = F._tuple("dilation", dilation, self.dims, name)
        self.output_padding = F._tuple("output_padding", output_padding, self.dims, name)
        self.groups, self.padding_mode = groups, padding_mode
        self._reversed_padding_repeated_twice = self._padding_pairs()
        first, second = (
            (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        )
        self.weight = Parameter(
            empty((first, second // groups, *self.kernel_size), device=device, dtype=dtype)
        )
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check_padding_name(self, padding: str, stride: Any) -> None:
        name = type(self).__name__
        if padding not in ("same", "valid"):
            raise ConvArgumentError(
                f"{name}: Invalid padding string {padding!r}, should be one of 'valid', 'same'"
            )
        if padding == "same" and any(s != 1 for s in F._tuple("stride", stride, self.dims, name)):
            raise ConvArgumentError("padding='same' is not supported for strided convolutions")

    def _padding_pairs(self) -> list[int]:
        """Padding as F.pad wants it: last dimension first, left and right."""
        pairs: list[int] = []
        for i in reversed(range(self.dims)):
            if self.padding == "valid":
                pairs += [0, 0]
            elif self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                pairs += [total // 2, total - total // 2]
            else:
                pairs += [self.padding[i]] * 2  # type: ignore[list-item]
        return pairs

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Channels, kernel and whatever is not the default."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.kernel_size):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.kernel_size):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.kernel_size):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def _brief(self) -> str:
        return f"{type(self).__name__}({self.in_channels}->{self.out_channels})"


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
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
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        """(N, in_channels, *spatial) -> (N, out_channels, *spatial)."""
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            from flambeau.nn.functional import pad

            input, padding = (
                pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode),
                0,  # type: ignore[assignment]
            )
        return F._run(  # type: ignore[no-any-return]
            self.dims, input, weight, bias, self.stride, padding, self.dilation, self.groups
        )


class Conv1d(_Conv):
    """Convolution of (N, C, L) or (C, L): y[o] = b[o] + sum_c w[o, c] * x[c], * being cross-correlation.

    Args: kernel_size, stride, dilation: ints or tuples.  padding: int, tuple, "same" or "valid".
        groups: blocks of channels that are convolved apart.  padding_mode: "zeros", "reflect", "replicate",
        "circular".
    """

    dims = 1


class Conv2d(_Conv):
    """Convolution of (N, C, H, W) or (C, H, W). Args: as Conv1d.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Conv2d(3, 8, kernel_size=3, padding=1)(fb.ones(2, 3, 5, 5)).shape
        flambeau.Size([2, 8, 5, 5])
    """

    dims = 2


class Conv3d(_Conv):
    """Convolution of (N, C, D, H, W) or (C, D, H, W). Args: as Conv1d."""

    dims = 3


class _Transposed(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
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
        if padding_mode != "zeros":
            raise ConvArgumentError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}'
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Tensor, output_size: Any) -> Ints:
        if output_size is None:
            return self.output_padding
        wanted = tuple(output_size)
        if len(wanted) == self.dims + 2:
            wanted = wanted[2:]
        if len(wanted) != self.dims:
            raise ConvArgumentError(
                f"ConvTranspose{self.dims}D: for {self.dims + 2}D input, output_size must have {self.dims} or "
                f"{self.dims + 2} "
                f"elements (got {len(wanted)})"
            )
        extra = []
        for i, n in enumerate(input._a.shape[-self.dims :]):
            least = (
                (n - 1) * self.stride[i]
                - 2 * self.padding[i]
                + self.dilation[i] * (self.kernel_size[i] - 1)
                + 1
            )
            if not least <= wanted[i] < least + self.stride[i]:
                raise ConvArgumentError(
                    f"requested an output size of {wanted}, but valid sizes of dimension {i} range from {least} to "
                    f"{least + self.stride[i] - 1} (for an input of {Size(input._a.shape[-self.dims :])})"
                )
            extra.append(wanted[i] - least)
        return tuple(extra)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """(N, in_channels, *spatial) -> (N, out_channels, *spatial)."""
        extra = self._output_padding(input, output_size)
        return F._transposed(  # type: ignore[no-any-return]
            self.dims,
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_Transposed):
    """Transposed convolution of (N, C, L): the gradient of Conv1d with respect to its input."""

    dims = 1


class ConvTranspose2d(_Transposed):
    """Transposed convolution of (N, C, H, W).

    Args: output_padding: added to one side of the output's size.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.ConvTranspose2d(8, 3, 2, stride=2)(fb.ones(1, 8, 4, 4)).shape
        flambeau.Size([1, 3, 8, 8])
    """

    dims = 2


class ConvTranspose3d(_Transposed):
    """Transposed convolution of (N, C, D, H, W)."""

    dims = 3
