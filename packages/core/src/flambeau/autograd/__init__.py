"""Automatic differentiation: the tape, its walk, and what users build on it."""

import importlib
from typing import Any

from flambeau.autograd import functional
from flambeau.autograd.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from flambeau.autograd.engine import backward, grad
from flambeau.autograd.function import Function, FunctionCtx, once_differentiable
from flambeau.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from flambeau.autograd.guard import nan_guard
from flambeau.autograd.modes import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "FunctionCtx",
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "nan_guard",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
]


_MODULES = ("anomaly_mode", "grad_mode", "graph", "profiler", "variable")
_NAMES = {
    "Variable": "variable",
    "is_multithreading_enabled": "grad_mode",
    "set_multithreading_enabled": "grad_mode",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # imported at first use, as most programs have none
        return importlib.import_module(f"flambeau.autograd.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"flambeau.autograd.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'flambeau.autograd' has no attribute {name!r}")
