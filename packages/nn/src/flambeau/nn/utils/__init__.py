"""Helpers around parameters, gradients and sequences."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.nn.utils import rnn
from flambeau.nn.utils._clip import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)

#: These import layers, which import this package: they are looked up when they are asked for.
_LATER = {
    "parametrize": None,
    "parametrizations": None,
    "stateless": None,
    "clip_grad": None,
    "fuse_conv_bn_eval": "_fusion",
    "fuse_conv_bn_weights": "_fusion",
    "fuse_linear_bn_eval": "_fusion",
    "fuse_linear_bn_weights": "_fusion",
    "weight_norm": "_fusion",
    "remove_weight_norm": "_fusion",
    "spectral_norm": "_fusion",
    "remove_spectral_norm": "_fusion",
    "skip_init": "_fusion",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'flambeau.nn.utils' has no attribute '{name}'")
    home = _LATER[name]
    module = importlib.import_module(f"flambeau.nn.utils.{home or name}")
    found = module if home is None else getattr(module, name)
    globals()[name] = found
    return found


__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
    *_LATER,
]
