"""Optimizers: update rules for parameters, learning-rate schedules, and averages of weights.

Names, arguments, defaults and state dicts are PyTorch's. An optimizer is one class with the rule for one parameter.
`flambeau.optim.lr_scheduler` and `flambeau.optim.swa_utils` are loaded at first use.
"""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.optim._adafactor import Adafactor
from flambeau.optim._muon import Muon
from flambeau.optim._rules import OptimizerError
from flambeau.optim.adadelta import Adadelta
from flambeau.optim.adagrad import Adagrad
from flambeau.optim.adam import Adam
from flambeau.optim.adamax import Adamax
from flambeau.optim.adamw import AdamW
from flambeau.optim.asgd import ASGD
from flambeau.optim.lamb import LAMB
from flambeau.optim.lbfgs import LBFGS
from flambeau.optim.lion import Lion
from flambeau.optim.nadam import NAdam
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.radam import RAdam
from flambeau.optim.rmsprop import RMSprop
from flambeau.optim.rprop import Rprop
from flambeau.optim.sgd import SGD
from flambeau.optim.sparse_adam import SparseAdam


def __getattr__(name: str) -> Any:
    if name in ("lr_scheduler", "swa_utils"):
        return importlib.import_module(f"flambeau.optim.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ASGD", "LAMB", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
    "Lion", "Muon", "NAdam", "Optimizer", "OptimizerError", "RAdam", "RMSprop", "Rprop",
    "SparseAdam", "lr_scheduler", "swa_utils",
]  # fmt: skip
