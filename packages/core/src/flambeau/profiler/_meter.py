"""What kernels take besides time: memory, from when they allocate it until it is freed, and products of numbers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import prod
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from flambeau.backend import exchange
from flambeau.backend.protocol import Device

#: (time in ns, thread, which of FunctionEvent's amounts, how much)
Note = tuple[int, int, str, int]

#: Operations of a kernel with these arguments and this result, a multiplication with its addition counted as two.
FLOPS: dict[str, Callable[[Any, Any], int]] = {
    "matmul": lambda a, y: 2 * prod(y.shape) * int(a[0].shape[-1]),
    "bmm": lambda a, y: 2 * prod(y.shape) * int(a[0].shape[-1]),
    "linear": lambda a, y: 2 * prod(y.shape) * int(a[0].shape[-1]),
    "linear_weight_grad": lambda a, y: 2 * prod(a[0].shape) * int(a[1].shape[-1]),
    "conv": lambda a, y: 2 * prod(y.shape) * prod(a[1].shape[1:]),
    "conv_input_grad": lambda a, y: 2 * prod(a[0].shape) * prod(a[1].shape[1:]),
    "conv_weight_grad": lambda a, y: 2 * prod(a[1].shape) * prod(y.shape[1:]),
    "sdpa": lambda a, y: _attention(a[0], a[1], a[2]),
    "sdpa_backward": lambda a, y: 2 * _attention(a[1], a[2], a[3]),
    "rnn_layer": lambda a, y: _recurrent(a[1], a[4], a[5]),
    "rnn_layer_backward": lambda a, y: 2 * _recurrent(a[4], a[5], a[6]),
}


def _attention(q: Any, k: Any, v: Any) -> int:
    return int(2 * prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]))


def _recurrent(x: Any, w_ih: Any, w_hh: Any) -> int:
    return int(2 * prod(x.shape[:-1]) * (prod(w_ih.shape) + prod(w_hh.shape)))


class Meter:
    """From start() to stop(), kernels note what they take.

    memory: on the CPU every array that a kernel makes, until nobody holds it any more, and what is freed by then; on
    other devices what their pool says after each kernel. Arrays that were there before do not count.
    """

    def __init__(self, memory: bool, flops: bool) -> None:
        self.memory, self.flops = memory, flops
        self.notes: list[Note] = []
        self._living: dict[int, Any] = {}

    def start(self) -> None:
        """Begin."""
        exchange.add(self._layer)

    def stop(self) -> None:
        """End; what is freed later is not noted."""
        exchange.remove(self._layer)
        self._living.clear()

    def _layer(self, kernel: Any, name: str, device: str, dev: Device) -> Callable[..., Any]:
        count = FLOPS.get(name) if self.flops else None
        take: Any = None
        if self.memory and device != "meta":
            stats = getattr(dev, "memory_stats", None)
            take = self._take if stats is None else self._pooled(stats)
        if take is None and count is None:
            return kernel  # type: ignore[no-any-return]

        def metered(*args: Any, **kwargs: Any) -> Any:
            result = kernel(*args, **kwargs)
            if count is not None:
                self._note("flops", count(args, result))
            if take is not None:
                take(result, args, kwargs)
            return result

        return metered

    def _note(self, field: str, amount: int) -> None:
        self.notes.append((perf_counter_ns(), get_ident(), field, amount))

    def _take(self, result: Any, args: Any, kwargs: Any) -> None:
        if isinstance(result, tuple | list):
            for part in result:
                self._take(part, args, kwargs)
            return
        nbytes = getattr(result, "nbytes", 0)
        if not nbytes:
            return
        owner = result if result.base is None else _owner(result)
        key, living = id(owner), self._living
        if key in living or _among(owner, args) or _among(owner, kwargs.values()):
            return  # a view, or written to: it was there before
        living[key] = ref = _Ref(owner, self._freed)
        ref.key, ref.nbytes = key, owner.nbytes
        self.notes.append((perf_counter_ns(), get_ident(), "self_cpu_memory_usage", owner.nbytes))

    def _freed(self, ref: _Ref) -> None:
        if self._living.pop(ref.key, None) is ref:
            self._note("self_cpu_memory_usage", -ref.nbytes)

    def _pooled(self, stats: Callable[[], Any]) -> Callable[..., None]:
        last = [stats().allocated]

        def take(result: Any, args: Any, kwargs: Any) -> None:
            now = stats().allocated
            if now != last[0]:
                self._note("self_device_memory_usage", now - last[0])
                last[0] = now

        return take


class _Ref(weakref.ref[Any]):
    """A reference to an array that counts."""

    __slots__ = ("key", "nbytes")
    key: int
    nbytes: int


def _owner(array: Any) -> Any:
    """The array whose memory an array is a view of."""
    base = array.base
    while hasattr(base, "nbytes"):
        array, base = base, getattr(base, "base", None)
    return array


def _among(owner: Any, values: Any) -> bool:
    """Whether an array, or a view of it, is among a kernel's arguments."""
    for v in values:
        if v is owner:
            return True
        if isinstance(v, tuple | list):
            if _among(owner, v):
                return True
        elif getattr(v, "base", None) is not None and _owner(v) is owner:
            return True
    return False
