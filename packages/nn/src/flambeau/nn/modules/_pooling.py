"""Pooling layers."""

from __future__ import annotations

from typing import Any

from flambeau.nn.functional import _adaptive_pool as A, _pool as F
from flambeau.nn.modules._module import Module
from flambeau.tensor import Tensor


class _MaxPoolNd(Module):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def extra_repr(self) -> str:
        """Arguments."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )

    def _pool(self, dims: int, input: Tensor) -> Any:
        return F._max_pool(
            dims,
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class MaxPool1d(_MaxPoolNd):
    """Largest element of each window of (N, C, L); stride defaults to kernel_size."""

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return self._pool(1, input)


class MaxPool2d(_MaxPoolNd):
    """Largest element of each window of (N, C, H, W); stride defaults to kernel_size.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.MaxPool2d(2)(fb.arange(16.0).view(1, 1, 4, 4))
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])
    """

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return self._pool(2, input)


class MaxPool3d(_MaxPoolNd):
    """Largest element of each window of (N, C, D, H, W); stride defaults to kernel_size."""

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return self._pool(3, input)


class _MaxUnpoolNd(Module):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        dims = int(type(self).__name__[-2])
        name = type(self).__name__
        self.kernel_size = F._tuple("kernel_size", kernel_size, dims, name)  # type: ignore[attr-defined]
        self.stride = self.kernel_size if stride is None else F._tuple("stride", stride, dims, name)  # type: ignore[attr-defined]
        self.padding = F._tuple("padding", padding, dims, name)  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        """Arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts maxima back where MaxPool1d found them, zeros elsewhere."""

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Values and their positions -> (N, C, L)."""
        return F.max_unpool1d(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts maxima back where MaxPool2d found them, zeros elsewhere."""

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Values and their positions -> (N, C, H, W)."""
        return F.max_unpool2d(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts maxima back where MaxPool3d found them, zeros elsewhere."""

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Values and their positions -> (N, C, D, H, W)."""
        return F.max_unpool3d(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class AvgPool1d(Module):
    """Mean of each window of (N, C, L)."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = F._tuple("kernel_size", kernel_size, 1, "AvgPool1d")  # type: ignore[attr-defined]
        self.stride = (
            self.kernel_size if stride is None else F._tuple("stride", stride, 1, "AvgPool1d")  # type: ignore[attr-defined]
        )
        self.padding = F._tuple("padding", padding, 1, "AvgPool1d")  # type: ignore[attr-defined]
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        """Arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Module):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        self.ceil_mode, self.count_include_pad, self.divisor_override = (
            ceil_mode,
            count_include_pad,
            divisor_override,
        )

    def extra_repr(self) -> str:
        """Arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def _pool(self, dims: int, input: Tensor) -> Any:
        return F._mean_pool(
            dims,
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_AvgPoolNd):
    """Mean of each window of (N, C, H, W).

    Args: count_include_pad: zeros of the padding count.  divisor_override: divides instead of the count.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return self._pool(2, input)  # type: ignore[no-any-return]


class AvgPool3d(_AvgPoolNd):
    """Mean of each window of (N, C, D, H, W).

    Args: count_include_pad: zeros of the padding count.  divisor_override: divides instead of the count.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return self._pool(3, input)  # type: ignore[no-any-return]


class _LPPoolNd(Module):
    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = (
            norm_type,
            kernel_size,
            stride,
            ceil_mode,
        )

    def extra_repr(self) -> str:
        """Arguments."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """(sum of x^p over each window)^(1/p) of (N, C, L), p being norm_type."""

    def forward(self, input: Tensor) -> Tensor:
        """The power means."""
        return F.lp_pool1d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class LPPool2d(_LPPoolNd):
    """(sum of x^p over each window)^(1/p) of (N, C, H, W), p being norm_type."""

    def forward(self, input: Tensor) -> Tensor:
        """The power means."""
        return F.lp_pool2d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class LPPool3d(_LPPoolNd):
    """(sum of x^p over each window)^(1/p) of (N, C, D, H, W), p being norm_type."""

    def forward(self, input: Tensor) -> Tensor:
        """The power means."""
        return F.lp_pool3d(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        """Output size."""
        return f"output_size={self.output_size}"


class _AdaptiveMaxPoolNd(Module):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def extra_repr(self) -> str:
        """Output size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means over windows of (N, C, L) chosen so that the output has output_size."""

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return A.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maxima over windows of (N, C, L) chosen so that the output has output_size."""

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return A.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means over windows of (N, C, H, W) chosen so that the output has output_size."""

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return A.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maxima over windows of (N, C, H, W) chosen so that the output has output_size."""

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return A.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means over windows of (N, C, D, H, W) chosen so that the output has output_size."""

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return A.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maxima over windows of (N, C, D, H, W) chosen so that the output has output_size."""

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return A.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class _FractionalMaxPoolNd(Module):
    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> None:
        super().__init__()
        dims, name = int(type(self).__name__[-2]), type(self).__name__
        self.kernel_size = F._tuple("kernel_size", kernel_size, dims, name)  # type: ignore[attr-defined]
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = (
            None if output_size is None else F._tuple("output_size", output_size, dims, name)  # type: ignore[attr-defined]
        )
        self.output_ratio = (
            (output_ratio,) * dims if isinstance(output_ratio, float) else output_ratio
        )
        if (output_size is None) == (output_ratio is None):
            raise F.ConvArgumentError(  # type: ignore[attr-defined]
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise F.ConvArgumentError(f"output_ratio must be between 0 and 1 (got {output_ratio})")  # type: ignore[attr-defined]


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maxima over windows at random positions. Reference: Graham 2014, arXiv:1412.6071."""

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return A.fractional_max_pool2d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maxima over windows at random positions. Reference: Graham 2014, arXiv:1412.6071."""

    def forward(self, input: Tensor) -> Any:
        """The maxima, and their flat positions if return_indices."""
        return A.fractional_max_pool3d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )
