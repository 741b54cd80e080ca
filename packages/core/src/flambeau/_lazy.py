"""Names of flambeau that are resolved at first use: heavy submodules, and what other packages bring."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

#: Submodules of core that `import flambeau` need not pay for.
CORE = (
    "accelerator", "amp", "autograd", "backend", "backends", "cpu", "cuda", "errors", "plugins",
    "printing", "profiler", "random", "serialization", "testing",
    "types", "utils",
)  # fmt: skip

#: Submodule -> the distribution that brings it.
PACKAGES = {
    "nn": "flambeau-nn",
    "optim": "flambeau-optim",
    "utils.data": "flambeau-data",
    "compiler": "flambeau-compiler",
    "vision": "flambeau-vision",
    "linalg": "flambeau-numeric",
    "fft": "flambeau-numeric",
    "special": "flambeau-numeric",
    "signal": "flambeau-numeric",
}

#: Submodules whose package is planned only -> what serves until it is there.
PLANNED = {
    "compiler": "leave flambeau.compile out; a program computes the same without it",
    "vision": "pictures as NumPy arrays in a utils.data.TensorDataset",
    "linalg": "norm, matmul and einsum are in flambeau itself, numpy.linalg takes x.numpy()",
    "fft": "numpy.fft takes x.numpy()",
    "special": "erf, lgamma, digamma, logit and others are in flambeau itself",
    "signal": "numpy.hanning and others, through from_numpy",
}

#: Names of PyTorch that no submodule brings -> the rest of the sentence that says so.
ABSENT = {
    "compile": "comes with the package flambeau-compiler, which is planned and cannot be installed yet. Hint: leave it "
    "out; a program computes the same without it",
    "vmap": "is not offered. Hint: give the function a batch dimension, or stack() what a loop over the rows gives",
    "func": "is not offered. Hint: autograd.functional has jacobian, hessian, jvp, vjp, hvp and vhp",
    "jit": "is not offered, as there is no TorchScript. Hint: save(model.state_dict()) and the model's source",
    "onnx": "is not offered. Hint: save(model.state_dict()); PyTorch loads the file and exports it",
    "distributed": "is not offered: a process works on one device at a time",
    "distributions": "is not offered. Hint: rand, randn, normal, bernoulli, multinomial and poisson draw numbers",
    "sparse": "is not offered: tensors are dense",
}

_AUTOCAST = (
    "autocast clear_autocast_cache get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype "
    "is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled set_autocast_cache_enabled "
    "set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype"
).split()
_SETTINGS = (
    "are_deterministic_algorithms_enabled get_device_module get_float32_matmul_precision "
    "is_deterministic_algorithms_warn_only_enabled set_float32_matmul_precision set_flush_denormal "
    "use_deterministic_algorithms get_num_interop_threads get_num_threads is_warn_always_enabled set_anomaly_enabled "
    "set_num_interop_threads set_num_threads set_warn_always"
).split()
_TYPED = "BFloat16 Bool Byte Char Double Float Half Int Long Short".split()
#: Functions of nn.functional that have the same arguments at the root.
_FUNCTIONAL = (
    "adaptive_avg_pool1d avg_pool1d bilinear channel_shuffle conv1d conv2d conv3d conv_tbc conv_transpose1d "
    "conv_transpose2d conv_transpose3d cosine_similarity max_pool1d max_pool1d_with_indices max_pool2d max_pool3d "
    "pairwise_distance pdist pixel_shuffle pixel_unshuffle rms_norm"
).split()
#: Those that have others there.
_ROOT = (
    "adaptive_max_pool1d affine_grid_generator alpha_dropout alpha_dropout_ batch_norm "
    "binary_cross_entropy_with_logits cosine_embedding_loss ctc_loss dropout dropout_ embedding feature_alpha_dropout "
    "feature_alpha_dropout_ feature_dropout feature_dropout_ grid_sampler grid_sampler_2d grid_sampler_3d group_norm "
    "hinge_embedding_loss instance_norm kl_div layer_norm margin_ranking_loss poisson_nll_loss triplet_margin_loss"
).split()

#: Names at the root that live elsewhere: name -> (module, attribute).
FORWARDED = {
    **{name: ("flambeau.amp._mode", name) for name in _AUTOCAST},
    **{name: ("flambeau._settings", name) for name in _SETTINGS},
    "OutOfMemoryError": ("flambeau.errors", "OutOfMemoryError"),
    "save": ("flambeau.serialization", "save"),
    "load": ("flambeau.serialization", "load"),
    "set_printoptions": ("flambeau.printing", "set_printoptions"),
    "is_anomaly_enabled": ("flambeau.autograd.anomaly", "is_anomaly_enabled"),
    "is_anomaly_check_nan_enabled": ("flambeau.autograd.anomaly", "is_anomaly_check_nan_enabled"),
    "set_default_tensor_type": ("flambeau._typed", "set_default_tensor_type"),
    **{f"{name}Tensor": ("flambeau._typed", f"{name}Tensor") for name in _TYPED},
    **{name: ("flambeau.nn.functional", name) for name in _FUNCTIONAL},
    **{name: ("flambeau.nn.functional._root", name) for name in _ROOT},
}


def missing(name: str) -> ModuleNotFoundError:
    """The error of using a piece that is not installed: it names the pip command, or what serves until there is one."""
    package = PACKAGES[name]
    if name in PLANNED:
        return ModuleNotFoundError(
            f"flambeau.{name} comes with the package {package}, which is planned and cannot be installed yet. "
            f"Hint: {PLANNED[name]}",
            name=f"flambeau.{name}",
        )
    return ModuleNotFoundError(
        f"flambeau.{name} is a package of its own and is not installed. Hint: pip install {package}",
        name=f"flambeau.{name}",
    )


def _load(name: str) -> Any:
    try:
        return importlib.import_module(f"flambeau.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"flambeau.{name}":
            raise
        raise missing(name) from None


def module_getattr(name: str) -> Any:
    """`flambeau.name` for names that `import flambeau` left out.

    Raises: ModuleNotFoundError: the name belongs to a package that is not installed.  AttributeError: no such name.
    """
    if name in PACKAGES:
        return _load(name)
    if name in CORE:
        return importlib.import_module(f"flambeau.{name}")
    if name in FORWARDED:
        module, attribute = FORWARDED[name]
        piece = module.removeprefix("flambeau.").split(".")[0]
        if piece in PACKAGES:
            _load(piece)
        value = getattr(importlib.import_module(module), attribute)
        setattr(sys.modules["flambeau"], name, value)
        return value
    if name in ABSENT:
        raise AttributeError(f"flambeau.{name} {ABSENT[name]}", name=name)
    raise AttributeError(f"module 'flambeau' has no attribute {name!r}")


def lazy_names() -> list[str]:
    """What `module_getattr` would find, of the pieces that are installed."""
    installed = [
        p
        for p in PACKAGES
        if "." not in p and importlib.util.find_spec(f"flambeau.{p}") is not None
    ]
    return [*CORE, *installed, *FORWARDED]
