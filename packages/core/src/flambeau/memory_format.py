"""Layouts and memory formats: names that PyTorch code passes along. Here all memory is strided and row-major."""

from __future__ import annotations


class _Named:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"flambeau.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class layout(_Named):
    """How elements are stored; only `strided` exists."""

    __slots__ = ()


class memory_format(_Named):
    """In which order dimensions lie in memory; accepted everywhere and without effect."""

    __slots__ = ()


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
