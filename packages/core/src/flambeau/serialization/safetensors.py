"""The safetensors format: a JSON header and raw bytes, nothing that could run.

Reference: the format's own README, https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

from flambeau.serialization._safetensors import load, load_file, safe_open, save, save_file
from flambeau.serialization._safetensors_models import (
    load_model,
    load_sharded,
    save_model,
    save_sharded,
)

__all__ = [
    "load",
    "load_file",
    "load_model",
    "load_sharded",
    "safe_open",
    "save",
    "save_file",
    "save_model",
    "save_sharded",
]
