"""Device names: `cpu`, `opencl:1`, and `cuda` as the alias of the first GPU-like device."""

from __future__ import annotations

import re
import threading
from typing import Any

from flambeau.errors import ArgumentError, CudaUnavailableError, DeviceError

_NAME = re.compile(r"([a-z][a-z0-9_]*)(?::(\d+))?")
#: Device types that always are one device: an index is allowed and means nothing.
_SINGLE = ("cpu", "meta")


class device:
    """Where a tensor lives: a device type, and an index where there can be several.

    Args: type (str | device): "cpu", "opencl:1" ...; index (int, optional): which one.
    Raises: DeviceError: the text is not a device name.
    `cuda` becomes the first GPU-like device that an installed backend offers; with none it stays `cuda` and
    raises at use.

    Example:
        >>> import flambeau as fb
        >>> fb.device("opencl:1").index, str(fb.device("cpu"))
        (1, 'cpu')
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            self.type, self.index = type.type, type.index
            return
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        if not isinstance(type, str):
            raise ArgumentError(f"device: needs a name such as 'cpu' or 'opencl:0', got {type!r}")
        match = _NAME.fullmatch(type)
        if match is None or (match[2] and index is not None):
            raise DeviceError(
                f"device: {type!r} is not a device name. Hint: a type and maybe an index, as 'opencl:0'"
            )
        self.type = match[1]
        self.index = int(match[2]) if match[2] else index
        if self.index is not None and self.index < 0:
            raise DeviceError(f"device: the index must not be negative, got {self.index}")
        if self.type == "cuda":
            self._resolve_cuda()

    def _resolve_cuda(self) -> None:
        from flambeau.backend.registry import cuda_alias

        stands_for = cuda_alias(self.index)
        if stands_for is not None:
            self.type, self.index = stands_for

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return (
            f"device(type='{self.type}')"
            if self.index is None
            else f"device(type='{self.type}', index={self.index})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, tuple[str, int | None]]:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        wanted = canonical(self)
        _default.stack.append(_default.device)
        _default.device = wanted
        return self

    def __exit__(self, *exc: object) -> None:
        _default.device = _default.stack.pop()


def canonical(d: Any) -> device:
    """The device that tensors carry for a name, a device or None (the default device).

    Raises: CudaUnavailableError: `cuda` with no GPU-like device behind it.
    """
    if d is None:
        return _default.device
    if not isinstance(d, device):
        d = device(d)
    if d.type in _SINGLE:
        return device(d.type) if d.index is not None else d
    if d.type == "cuda":
        from flambeau.backend.registry import describe_installed

        raise CudaUnavailableError(
            f"no GPU-like device stands behind 'cuda': {describe_installed()}. "
            "Hint: pip install flambeau-opencl, or device('cpu')"
        )
    return d if d.index is not None else device(d.type, 0)


class _Default(threading.local):
    """The default device of one thread, and those of the blocks around."""

    def __init__(self) -> None:
        self.device = device("cpu")
        self.stack: list[device] = []


_default = _Default()


def get_default_device() -> device:
    """The device on which factories make tensors in this thread; cpu unless set."""
    return _default.device


def set_default_device(d: Any) -> None:
    """Set the device on which factories make tensors in this thread (None: back to cpu).

    Raises: BackendError: the device cannot be opened; the default stays as it was.
    """
    from flambeau.backend.registry import open_device

    wanted = device("cpu") if d is None else canonical(d)
    open_device(wanted)
    _default.device = wanted
