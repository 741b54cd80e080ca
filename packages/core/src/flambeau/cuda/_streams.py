"""Streams and events in the words of CUDA. A device works through one queue in order, which all streams stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from flambeau.cuda._which import device_at, opened_at
from flambeau.device import device as _device
from flambeau.errors import ArgumentError, FlambeauError


class EventError(FlambeauError, RuntimeError, ValueError):
    """An event was asked for a time that it does not have."""


class Stream:
    """The queue of a device; work in any of its streams runs in the order in which it was called.

    Args: device: None for the current one.  priority: kept for PyTorch's signature.
    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        self.device: _device = device_at(device)
        self.priority = priority

    def synchronize(self) -> None:
        """Wait until all work on the device has ended, and raise what went wrong in it."""
        opened_at(self.device).synchronize()

    def query(self) -> bool:
        """Whether all work has ended: waits for it."""
        self.synchronize()
        return True

    def wait_stream(self, stream: Any) -> None:
        """Nothing: later work waits for earlier work anyway."""

    def wait_event(self, event: Any) -> None:
        """Nothing: later work waits for earlier work anyway."""

    def record_event(self, event: Event | None = None) -> Event:
        """An event, new unless given, at this point of the queue."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.device == other.device

    def __hash__(self) -> int:
        return hash(("stream", self.device))

    def __repr__(self) -> str:
        return f"<flambeau.cuda.Stream device={self.device}>"

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class Event:
    """A point in a device's work, to measure how long it takes.

    With enable_timing, record() waits for the work before it: the time is that of the work, not of the calls.

    Args: blocking, interprocess: kept for PyTorch's signature.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self.timing = enable_timing
        self._stream: Stream | None = None
        self._at = 0.0

    def record(self, stream: Stream | None = None) -> None:
        """Stand at this point of the work.

        Raises: CudaUnavailableError: no device stands behind `cuda`.
        """
        self._stream = current_stream() if stream is None else stream
        if self.timing:
            self._stream.synchronize()
        self._at = perf_counter()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another one.

        Raises: EventError: one of them was not recorded, or made without enable_timing.
        """
        for event, name in ((self, "the first event"), (end_event, "end_event")):
            if not event.timing or event._stream is None:
                raise EventError(
                    f"Event.elapsed_time: {name} needs enable_timing=True and a call of record(), got "
                    f"enable_timing={event.timing}, recorded={event._stream is not None}"
                )
        return (end_event._at - self._at) * 1e3

    def synchronize(self) -> None:
        """Wait until the work before this event has ended."""
        if self._stream is not None:
            self._stream.synchronize()

    def query(self) -> bool:
        """Whether the work before this event has ended: waits for it."""
        self.synchronize()
        return True

    def wait(self, stream: Stream | None = None) -> None:
        """Nothing: later work waits for earlier work anyway."""


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Context manager that chooses a stream; they are all one, so only a wrong argument is found.

    Raises: ArgumentError: stream is none.
    """
    _checked(stream)
    yield


def set_stream(stream: Stream | None) -> None:
    """Choose a stream; they are all one.  Raises: ArgumentError: stream is none."""
    _checked(stream)


def _checked(stream: Any) -> None:
    if stream is not None and not isinstance(stream, Stream):
        raise ArgumentError(f"stream: needs a Stream or None, got {stream!r}. Hint: cuda.Stream()")


def current_stream(device: Any = None) -> Stream:
    """The stream of a device.

    Raises: CudaUnavailableError, DeviceError: there is no such device.
    """
    return Stream(device)


default_stream = current_stream


def is_current_stream_capturing() -> bool:
    """Whether calls are being captured into a graph: never."""
    return False
