"""The switches of PyTorch's CUDA libraries; they are not used here, and what is set has no effect."""

from __future__ import annotations

from types import SimpleNamespace

matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
)
_sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def is_built() -> bool:
    """Whether this was compiled with CUDA: no."""
    return False


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` was called with last."""
    return _sdp["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Kept, without effect: attention chooses its kernel itself."""
    _sdp["flash"] = enabled


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` was called with last."""
    return _sdp["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Kept, without effect: attention chooses its kernel itself."""
    _sdp["mem_efficient"] = enabled


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` was called with last."""
    return _sdp["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Kept, without effect: attention chooses its kernel itself."""
    _sdp["math"] = enabled


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` was called with last."""
    return _sdp["cudnn"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Kept, without effect: attention chooses its kernel itself."""
    _sdp["cudnn"] = enabled
