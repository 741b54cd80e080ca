"""The profiler by PyTorch's older names: `flambeau.autograd.profiler.profile`."""

from __future__ import annotations

from typing import Any

from flambeau.profiler import ProfilerActivity, profile as _profile, record_function
from flambeau.profiler._events import EventList, FunctionEvent, FunctionEventAvg

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "profile", "record_function"]


class profile(_profile):
    """`flambeau.profiler.profile` without a schedule, and with the results as its own attributes.

    Args: enabled: False records nothing.  use_cuda, use_device: wait for asynchronous devices after each kernel.
        record_shapes, with_flops, profile_memory, with_stack, with_modules: as in `flambeau.profiler.profile`.
        use_kineto, use_cpu, experimental_config, acc_events, custom_trace_id_callback: kept for PyTorch's signature.

    Example:
        >>> import flambeau as fb
        >>> with fb.autograd.profiler.profile() as prof:
        ...     y = fb.ones(2, 2) @ fb.ones(2, 2)
        >>> "matmul" in prof.table()
        True
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        experimental_config: Any = None,
        acc_events: bool = False,
        custom_trace_id_callback: Any = None,
    ) -> None:
        wait = use_cuda or use_device not in (None, "cpu")
        super().__init__(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if wait else [])],
            record_shapes=record_shapes,
            with_flops=with_flops,
            profile_memory=profile_memory,
            with_stack=with_stack,
        )
        self.enabled = enabled

    def __enter__(self) -> profile:
        if self.enabled:
            self.start()
        return self

    @property
    def function_events(self) -> EventList:
        """The calls, in order of their start.

        Raises: ProfilerError: nothing was recorded yet.
        """
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all calls, in microseconds."""
        return self.events().self_cpu_time_total

    def table(self, *args: Any, **kwargs: Any) -> str:
        """The calls one by one as text, with the arguments of `EventList.table`."""
        return self.events().table(*args, **kwargs)

    def total_average(self) -> FunctionEventAvg:
        """All calls as one row."""
        return self.events().total_average()

    def __str__(self) -> str:
        return self.table() if self._last is not None else repr(self)
