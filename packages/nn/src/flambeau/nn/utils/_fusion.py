"""Folding a BatchNorm into the layer before it, and the older hooks-based names of weight and spectral norm."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import flambeau as fb
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils import parametrizations, parametrize


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Any,
    bn_rv: Any,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> tuple[Any, Any]:
    """Weight and bias of a convolution that does what convolution and BatchNorm did."""
    if conv_b is None:
        conv_b = fb.zeros_like(bn_rm)
    scale = (bn_rv + bn_eps).rsqrt()
    scale = scale if bn_w is None else scale * bn_w
    shape = [1] * len(conv_w._a.shape)
    shape[1 if transpose else 0] = -1
    bias = (conv_b - bn_rm) * scale
    bias = bias if bn_b is None else bias + bn_b
    weight = conv_w * scale.reshape(shape)
    return Parameter(weight.detach(), conv_w.requires_grad), Parameter(
        bias.detach(), conv_b.requires_grad
    )


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """A convolution that does what conv and bn do in evaluation."""
    made: Any = copy.deepcopy(conv)
    b: Any = bn
    made.weight, made.bias = fuse_conv_bn_weights(
        made.weight, made.bias, b.running_mean, b.running_var, b.eps, b.weight, b.bias, transpose
    )
    return made  # type: ignore[no-any-return]


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> Any:
    """Weight and bias of a Linear that does what Linear and BatchNorm did."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Module:
    """A Linear that does what linear and bn do in evaluation."""
    return fuse_conv_bn_eval(linear, bn)


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """The old name of parametrizations.weight_norm."""
    warnings.warn(
        "`nn.utils.weight_norm` is deprecated in favor of `nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    return parametrizations.weight_norm(module, name, dim)


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight an ordinary parameter again."""
    return parametrize.remove_parametrizations(module, name)


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """parametrizations.spectral_norm under its old name."""
    return parametrizations.spectral_norm(module, name, n_power_iterations, eps, dim)


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight an ordinary parameter again."""
    return parametrize.remove_parametrizations(module, name)


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Module:
    """A module whose parameters are left uninitialised."""
    device = kwargs.pop("device", "cpu")
    made: Module = module_cls(*args, **{**kwargs, "device": "meta"}).to_empty(device=device)
    return made
