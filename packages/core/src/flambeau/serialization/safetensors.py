"""The safetensors format: a JSON header and raw bytes, nothing that could run.

Reference: the format's own README, https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.device import canonical
from flambeau.dtypes import dtype
from flambeau.errors import ArgumentError, CheckpointError, DTypeError
from flambeau.kinds import kind_of
from flambeau.serialization._atomic import replacing
from flambeau.serialization._pickle import as_bytes
from flambeau.serialization._source import Source
from flambeau.tensor import Tensor, describe, host, wrap

_NAMES = {
    dtypes.bool_: "BOOL", dtypes.uint8: "U8", dtypes.int8: "I8", dtypes.int16: "I16", dtypes.int32: "I32",
    dtypes.int64: "I64", dtypes.float16: "F16", dtypes.bfloat16: "BF16", dtypes.float32: "F32",
    dtypes.float64: "F64", dtypes.complex64: "C64",
}  # fmt: skip
_BY_NAME = {name: d for d, name in _NAMES.items()}
#: The format's own limit, in bytes.
_MOST_HEADER = 100_000_000
_LARGE_HEADER = 1 << 20
_METADATA = "__metadata__"


def _bad(why: str) -> CheckpointError:
    return CheckpointError(f"safetensors: {why}")


# ---- writing
def _overlapping(tensors: Mapping[str, Tensor], arrays: dict[str, Any]) -> None:
    """Refuse tensors that share memory: the format would keep them apart, and a tied weight would come untied."""
    spans = []
    for name, a in arrays.items():
        if a.size and tensors[name].device.type == "cpu":
            start = a.__array_interface__["data"][0]
            reach = sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)) + a.itemsize
            spans.append((start, start + reach, name))
    spans.sort()
    for (_, end, first), (start, _, second) in pairwise(spans):
        if start < end:
            raise _bad(
                f"{first!r} and {second!r} share memory, which the format cannot say. Hint: leave one out, or .clone() "
                "it; flambeau.save keeps shared memory"
            )


def _parts(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> list[Any]:
    """The header, and the bytes of every tensor, in the order they are written."""
    if not isinstance(tensors, Mapping):
        raise ArgumentError(f"safetensors: needs a dict of tensors, got {type(tensors).__name__}")
    for name, t in tensors.items():
        if type(name) is not str or not isinstance(t, Tensor):
            raise ArgumentError(
                f"safetensors: needs text keys and tensors, got {name!r}: {type(t).__name__}. "
                "Hint: flambeau.save writes other values"
            )
        if name == _METADATA:
            raise ArgumentError(f"safetensors: a tensor cannot be called {_METADATA!r}")
        if t.dtype not in _NAMES:
            raise DTypeError(
                f"safetensors: the format has no {t.dtype.name} ({name!r}: {describe(t)}). Hint: flambeau.save"
            )
    header: dict[str, Any] = {}
    if metadata is not None:
        for key, value in metadata.items():
            if type(key) is not str or type(value) is not str:
                raise ArgumentError(f"safetensors: metadata must be text, got {key!r}: {value!r}")
        header[_METADATA] = dict(metadata)
    arrays = {name: host(t) for name, t in tensors.items()}
    _overlapping(tensors, arrays)
    at, bodies = 0, []
    for name in sorted(tensors, key=lambda n: (-tensors[n].itemsize, n)):
        body = as_bytes(np.ascontiguousarray(arrays[name]))
        d, shape = tensors[name].dtype, list(tensors[name].shape)
        header[name] = {"dtype": _NAMES[d], "shape": shape, "data_offsets": [at, at + body.nbytes]}
        at += body.nbytes
        bodies.append(body)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MOST_HEADER:
        raise _bad(f"the header would have {len(text)} bytes, more than {_MOST_HEADER}")
    return [len(text).to_bytes(8, "little"), text, *bodies]


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Tensors as the bytes of a safetensors file.

    Raises: ArgumentError: not a dict of text to tensors.  DTypeError: complex128.  CheckpointError: shared memory.

    Example:
        >>> import flambeau as fb
        >>> from flambeau.serialization import safetensors
        >>> safetensors.load(safetensors.save({"w": fb.ones(2)}))
        {'w': tensor([1., 1.])}
    """
    return b"".join(bytes(part) for part in _parts(tensors, metadata))


def save_file(
    tensors: Mapping[str, Tensor], filename: Any, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a file, which is replaced at once when the bytes are on the disk.

    Args: tensors: by name; they must not share memory.  metadata: text by text, kept in the header.
    Raises: as `save`.  OSError: the disk refuses.
    """
    parts = _parts(tensors, metadata)
    with replacing(filename) as file:
        for part in parts:
            file.write(part)


# ---- reading
class _Header:
    """Where the tensors of a file are, with every number checked."""

    def __init__(self, source: Source) -> None:
        if source.size < 8:
            raise _bad(
                f"the file has {source.size} bytes, too few for a header. Hint: is the download complete?"
            )
        n = int.from_bytes(source.bytes_at(0, 8), "little")
        if n > _MOST_HEADER:
            raise _bad(f"a header of {n} bytes is announced; {_MOST_HEADER} are allowed")
        if n > source.size - 8:
            raise _bad(f"a header of {n} bytes is announced and the file has {source.size}")
        fields = _parse(source.bytes_at(8, n))
        self.start = 8 + n
        self.metadata: dict[str, str] | None = None
        if _METADATA in fields:
            self.metadata = _text(fields.pop(_METADATA))
        self.tensors: dict[str, tuple[dtype, tuple[int, ...], int, int]] = {}
        for name, value in fields.items():
            self.tensors[name] = _place(name, value)
        _check_cover(self.tensors, source.size - self.start)


def _parse(text: bytes) -> dict[str, Any]:
    if text[:1] != b"{":
        raise _bad("the header is not a JSON object")
    if len(text) > _LARGE_HEADER and (
        16 * (text.count(b"[") + text.count(b"{")) > len(text) or 5 * text.count(b'"') > len(text)
    ):
        raise _bad("the header would take far more memory than its size")
    try:
        found = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise _bad(f"the header is not valid JSON ({str(error)[:100]})") from None
    if not isinstance(found, dict):
        raise _bad("the header is not a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise _bad(f"the key {twice[:80]!r} appears twice in the header")
    return made


def _no_constant(text: str) -> Any:
    raise _bad(f"{text} in the header")


def _text(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(type(v) is str for v in value.values()):
        raise _bad("the metadata is not a dict of text")
    return value


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**62 for n in value)


def _place(name: str, value: Any) -> tuple[dtype, tuple[int, ...], int, int]:
    label = repr(name[:80])
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _bad(f"{label} is not described by dtype, shape and data_offsets")
    d = _BY_NAME.get(value["dtype"]) if type(value["dtype"]) is str else None
    if d is None:
        raise _bad(
            f"{label} has dtype {str(value['dtype'])[:40]!r}; known are {', '.join(_BY_NAME)}"
        )
    shape, offsets = value["shape"], value["data_offsets"]
    if not _numbers(shape) or len(shape) > 64:
        raise _bad(f"{label} has shape {str(shape)[:80]}")
    if not _numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(f"{label} has data_offsets {str(offsets)[:80]}")
    need = math.prod(shape) * d.itemsize
    if offsets[1] - offsets[0] != need:
        raise _bad(
            f"{label} of shape {tuple(shape)} {d.name} needs {need} bytes, its data_offsets {offsets} give "
            f"{offsets[1] - offsets[0]}"
        )
    return d, tuple(shape), offsets[0], offsets[1]


def _check_cover(tensors: dict[str, tuple[dtype, tuple[int, ...], int, int]], size: int) -> None:
    """Every byte belongs to exactly one tensor, so nothing can hide and nothing can be read twice."""
    at, last = 0, ""
    for name, (_, _, start, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if start < at:
            raise _bad(f"{last!r} and {name!r} overlap")
        if start > at:
            raise _bad(f"bytes {at} to {start}, before {name!r}, belong to no tensor")
        at, last = end, name
    if at > size:
        raise _bad(
            f"the tensors need {at} bytes and the file has {size}. Hint: is the download complete?"
        )
    if at < size:
        raise _bad(f"{size - at} bytes at the end belong to no tensor")


class safe_open:
    """A safetensors file whose tensors are read one by one.

    Args: filename: a path or bytes.  framework: accepted for compatibility.  device: where the tensors go.
        mmap: leave the bytes in the file until they are used.
    """

    def __init__(
        self, filename: Any, framework: str = "pt", device: Any = "cpu", *, mmap: bool = False
    ) -> None:
        self._device = canonical(device)
        self._source = Source(filename, mmap)
        try:
            self._header = _Header(self._source)
        except BaseException:
            self._source.__exit__()
            raise

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *exc: object) -> None:
        self._source.__exit__()

    def keys(self) -> list[str]:
        """The names of the tensors."""
        return list(self._header.tensors)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def metadata(self) -> dict[str, str] | None:
        """The text that was saved with the tensors."""
        return self._header.metadata

    def get_tensor(self, name: str) -> Tensor:
        """One tensor.

        Raises: CheckpointError: there is none of that name.
        """
        found = self._header.tensors.get(name)
        if found is None:
            raise _bad(f"the file has no tensor {name!r}")
        d, shape, start, end = found
        kind = kind_of(self._device, d)
        data = self._source.array_at(self._header.start + start, end - start)
        block = kind.k["from_host"](data.view(d.numpy))
        steps, step = [], 1
        for n in reversed(shape):
            steps.append(step)
            step *= max(n, 1)
        return wrap(kind.k["as_strided"](block, shape, tuple(reversed(steps)), 0), kind)


def load(data: bytes, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file's bytes.

    Raises: CheckpointError: the bytes are damaged.
    """
    with safe_open(data, device=device) as f:
        return {name: f.get_tensor(name) for name in f}


def load_file(filename: Any, device: Any = "cpu", *, mmap: bool = False) -> dict[str, Tensor]:
    """The tensors of a file.

    Args: filename: a path.  device: where the tensors go.  mmap: leave the bytes in the file until they are used.
    Raises: CheckpointError: the file is damaged.  OSError: it cannot be opened.
    """
    with safe_open(filename, device=device, mmap=mmap) as f:
        return {name: f.get_tensor(name) for name in f}


def load_sharded(index: Any, device: Any = "cpu", *, mmap: bool = False) -> dict[str, Tensor]:
    """The tensors of a model that is split over several files.

    Args: index: the path of `model.safetensors.index.json`, or of its folder.
    Raises: CheckpointError: the index is damaged, names files outside its folder, or tensors that are not there.
    """
    path = os.fspath(index)
    if os.path.isdir(path):
        path = os.path.join(path, "model.safetensors.index.json")
    with Source(path) as source:
        if source.size > _MOST_HEADER:
            raise _bad(f"an index of {source.size} bytes; {_MOST_HEADER} are allowed")
        fields = _parse(source.bytes_at(0, source.size).lstrip())
    places = _text(fields.get("weight_map"))
    shards: dict[str, list[str]] = {}
    for name, shard in places.items():
        if (
            not shard
            or shard != os.path.basename(shard)
            or shard in (".", "..")
            or {*shard} & {*"\\:\0"}
        ):
            raise _bad(f"the index names {shard[:80]!r}, which is not a file of its own folder")
        shards.setdefault(shard, []).append(name)
    folder, found = os.path.dirname(path), {}
    for shard, names in shards.items():
        with safe_open(os.path.join(folder, shard), device=device, mmap=mmap) as f:
            found.update({name: f.get_tensor(name) for name in names})
    return {name: found[name] for name in places}


__all__ = ["load", "load_file", "load_sharded", "safe_open", "save", "save_file"]
