"""The profiler: which steps are recorded, and what happens with each recording."""

from __future__ import annotations

import enum
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from flambeau._atomic import replacing
from flambeau.errors import ArgumentError
from flambeau.profiler._events import EventList, write_atomically
from flambeau.profiler._record import ProfilerError, record_function
from flambeau.profiler._session import Session
from flambeau.profiler._trace import stacks


class ProfilerActivity(enum.Enum):
    """What is measured: CPU, and CUDA for the device behind `cuda` and all others that compute asynchronously."""

    CPU = 0
    XPU = 1
    CUDA = 2
    MTIA = 3
    HPU = 4


class ProfilerAction(enum.Enum):
    """What the profiler does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """Which steps are recorded: skip_first once, then rounds of wait, warmup and active steps.

    Args: repeat: how many rounds, 0 for no end.  skip_first_wait: 1 leaves out the first round's wait.
    Raises: ArgumentError: a count is negative, or active is 0.

    Example:
        >>> import flambeau as fb
        >>> plan = fb.profiler.schedule(wait=1, warmup=1, active=2, repeat=1)
        >>> [plan(step).name for step in range(5)]
        ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise ArgumentError(
            "schedule: wait, warmup, repeat and skip_first must be >= 0 and active > 0, got "
            f"wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, skip_first={skip_first}"
        )

    def plan(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        length = wait + warmup + active
        if repeat > 0 and step // length >= repeat:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return plan


def supported_activities() -> set[ProfilerActivity]:
    """What can be measured here."""
    from flambeau.backend.registry import cuda_devices

    found = {ProfilerActivity.CPU}
    return found | {ProfilerActivity.CUDA} if cuda_devices() else found


class profile:
    """Records what runs within the block, in all threads: kernels, modules, their backward pass, and named ranges.

    A kernel's row is the time inside the backend; what Python adds around it shows in the self time of the rows around:
    modules (`Net.fc1 (Linear)`, and `Net.fc1 (Linear) backward` for its backward pass), backward functions
    (`AddmmBackward0`), `Optimizer.step#Adam.step`, `enumerate(DataLoader)#...`, and `record_function` ranges. Without a
    profile nothing is measured and nothing costs: what was exchanged is put back. Forked worker processes are left out.

    Args:
        activities: with ProfilerActivity.CUDA (None: all) asynchronous devices are waited for after each kernel.
        schedule: step -> ProfilerAction, as `schedule()` makes it; None: record everything.
        on_trace_ready: called with this object when a recording is complete.
        record_shapes: note the shapes of the kernels' arguments.
        profile_memory: note what kernels allocate and what is freed; arrays that were there before do not count.
        with_stack: note the line of the program that called.
        with_flops: count the operations of matrix products, convolutions, attention and recurrent layers.
        acc_events: keep the calls of earlier recordings of the schedule.
        with_modules (they always have rows), experimental_config, execution_trace_observer,
        custom_trace_id_callback: kept for PyTorch's signature.
        use_cuda: PyTorch's older word for ProfilerActivity.CUDA.
    Raises: ProfilerError: another profile is running.  ArgumentError: activities is empty.

    Example:
        >>> import flambeau as fb
        >>> with fb.profiler.profile() as prof:
        ...     y = fb.ones(2, 2) @ fb.ones(2, 2)
        >>> any(row.key == "matmul" for row in prof.key_averages())
        True
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Any = None,
    ) -> None:
        self.activities = supported_activities() if activities is None else set(activities)
        if use_cuda is not None:
            change = self.activities.add if use_cuda else self.activities.discard
            change(ProfilerActivity.CUDA)
        if not self.activities:
            raise ArgumentError(
                "profile: activities is empty. Hint: activities=[ProfilerActivity.CPU], or none at all"
            )
        self.schedule, self.on_trace_ready = schedule, on_trace_ready
        self.record_shapes, self.with_stack = record_shapes, with_stack
        self.profile_memory, self.with_flops = profile_memory, with_flops
        self.acc_events = acc_events
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self._metadata: dict[str, Any] = {}
        self._session: Session | None = None
        self._last: Session | None = None
        self._range: record_function | None = None
        self._running = False

    # ---- running
    def start(self) -> None:
        """Begin with step 0.

        Raises: ProfilerError: this or another profile is running.
        """
        if self._running:
            raise ProfilerError("profiler: this profile is running. Hint: stop() it first")
        self._running = True
        try:
            self._move(self._plan())
        except BaseException:
            self._running = False
            raise
        self._mark()

    def stop(self) -> None:
        """End; what was recorded and not handed over yet is complete now."""
        if not self._running:
            return
        self._unmark()
        self._running = False
        if self._session is not None:
            self._finish()
        self.current_action = ProfilerAction.NONE

    def step(self) -> None:
        """The next step of the schedule begins."""
        if not self._running:
            raise ProfilerError(
                "profiler: step() needs a running profile. Hint: with profile() as prof"
            )
        self._unmark()
        self.step_num += 1
        self._move(self._plan())
        self._mark()

    def _plan(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def _move(self, action: ProfilerAction) -> None:
        if self._session is not None and (
            self.current_action is ProfilerAction.RECORD_AND_SAVE or action not in _RECORDING
        ):
            self._finish()
        self.current_action = action
        if action in _RECORDING:
            if self._session is None:
                session = Session(
                    shapes=self.record_shapes,
                    stack=self.with_stack,
                    wait=bool(self.activities - {ProfilerActivity.CPU}),
                    memory=self.profile_memory,
                    flops=self.with_flops,
                    earlier=self._last if self.acc_events else None,
                )
                session.start()
                self._session = session
            else:
                self._session.attach()

    def _finish(self) -> None:
        session: Any = self._session
        session.stop()
        self._session, self._last = None, session
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def _mark(self) -> None:
        if self.schedule is not None and self._session is not None:
            self._range = record_function(f"ProfilerStep#{self.step_num}")
            self._range.__enter__()

    def _unmark(self) -> None:
        if self._range is not None:
            self._range.__exit__()
            self._range = None

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- results
    def events(self) -> EventList:
        """The calls of the last complete recording, in order of their start.

        Raises: ProfilerError: nothing was recorded yet.
        """
        return self._complete().events()

    def _complete(self) -> Session:
        if self._last is None:
            raise ProfilerError(
                "profiler: nothing is recorded yet. Hint: read the results after the with block, or in on_trace_ready"
            )
        return self._last

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """The recording summed by name; group_by_input_shape and group_by_stack_n need what they group by.

        Raises: ProfilerError: nothing was recorded yet.
        """
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the recording for chrome://tracing or Perfetto, compressed if the name ends with .gz."""
        write_atomically(os.fspath(path), {**self._complete().trace(), **self._metadata})

    def export_stacks(
        self, path: str | os.PathLike[str], metric: str = "self_cpu_time_total"
    ) -> None:
        """Write the recording for flame graphs: on each line names from the outside in, and microseconds.

        Args: metric: self_cpu_time_total, or self_device_time_total (self_cuda_time_total).
        Raises: ArgumentError: metric is something else.
        """
        if metric.replace("cuda", "device") not in (
            "self_cpu_time_total",
            "self_device_time_total",
        ):
            raise ArgumentError(
                "export_stacks: metric must be self_cpu_time_total or self_device_time_total, got "
                f"{metric!r}"
            )
        with replacing(path) as file:
            file.writelines(f"{line}\n".encode() for line in stacks(self.events(), metric))

    def add_metadata(self, key: str, value: str) -> None:
        """Add a text to the traces that are written from now on."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Add a value, given as JSON, to the traces that are written from now on."""
        self._metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """An on_trace_ready that writes each recording into a folder, under the names that TensorBoard looks for."""

    def handle(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json{'.gz' if use_gzip else ''}"
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handle
