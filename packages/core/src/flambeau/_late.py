"""Functions that hot code needs from modules which import it in turn; `ops/_attach.py` binds them once all are loaded.

An import statement inside a function costs a microsecond at every call, an attribute of this module 20 ns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

add: Callable[..., Any]
backward: Callable[..., Any]
clone: Callable[..., Any]
reduce_sum: Callable[..., Any]
sum_all: Callable[..., Any]
update: Callable[..., Any]
view: Callable[..., Any]
