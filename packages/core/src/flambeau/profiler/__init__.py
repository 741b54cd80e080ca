"""Where time goes: rows by kernel, module and named range, and a trace for chrome://tracing."""

from __future__ import annotations

from flambeau.profiler._profile import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from flambeau.profiler._record import record_function

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
