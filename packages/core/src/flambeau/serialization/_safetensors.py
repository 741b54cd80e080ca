"""One file of the safetensors format: written, and read with every announced number checked."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau._atomic import replacing
from flambeau.device import canonical
from flambeau.errors import ArgumentError, CheckpointError, DTypeError, UnsupportedDTypeError
from flambeau.kinds import kind_of
from flambeau.serialization._files import check_folder, known_file
from flambeau.serialization._pickle import as_bytes
from flambeau.serialization._source import Source, typed
from flambeau.tensor import Tensor, describe, host, wrap

_NAMES = {
    dtypes.bool_: "BOOL", dtypes.uint8: "U8", dtypes.int8: "I8", dtypes.int16: "I16", dtypes.int32: "I32",
    dtypes.int64: "I64", dtypes.float16: "F16", dtypes.bfloat16: "BF16", dtypes.float32: "F32",
    dtypes.float64: "F64", dtypes.complex64: "C64",
}  # fmt: skip
_BY_NAME = {name: d for d, name in _NAMES.items()}
#: Bits of an element, of the format's types that have no counterpart here.
_OTHERS = {
    "U16": 16, "U32": 32, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip
#: The format's own limit, in bytes.
MOST_HEADER = 100_000_000
_LARGE_HEADER = 1 << 20
_METADATA = "__metadata__"
#: Halves of characters, which JSON can say and no encoding can write.
_HALVES = re.compile("[\ud800-\udfff]")


def bad(why: str) -> CheckpointError:
    """The error of a file that is not what the format says."""
    return CheckpointError(f"safetensors: {why}")


# ---- writing
def _overlapping(tensors: Mapping[str, Tensor], arrays: dict[str, Any]) -> None:
    """Refuse tensors that share memory: the format would keep them apart, and a tied weight would come untied."""
    spans = []
    elsewhere: dict[int, str] = {}
    for name, a in arrays.items():
        if a.size and tensors[name].device.type != "cpu":
            first = elsewhere.setdefault(id(tensors[name]._a), name)
            if first != name:
                raise _shared(first, name)
        elif a.size:
            start = a.__array_interface__["data"][0]
            reach = sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)) + a.itemsize
            spans.append((start, start + reach, name))
    spans.sort()
    for (_, end, first), (start, _, second) in pairwise(spans):
        if start < end:
            raise _shared(first, second)


def _shared(first: str, second: str) -> CheckpointError:
    return bad(
        f"{first!r} and {second!r} share memory, which the format cannot say. Hint: leave one out, or .clone() it; "
        "save_model leaves out tied weights, and flambeau.save keeps shared memory"
    )


def refuse_shared(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The values of tensors, by name.

    Raises: as `save`.
    """
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
    arrays = {name: host(t) for name, t in tensors.items()}
    _overlapping(tensors, arrays)
    return arrays


def parts_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> list[Any]:
    """The header, and the bytes of every tensor, in the order they are written."""
    arrays = refuse_shared(tensors)
    header: dict[str, Any] = {}
    if metadata is not None:
        for key, value in metadata.items():
            if type(key) is not str or type(value) is not str:
                raise ArgumentError(f"safetensors: metadata must be text, got {key!r}: {value!r}")
        header[_METADATA] = dict(metadata)
    at, bodies = 0, []
    for name in sorted(tensors, key=lambda n: (-tensors[n].itemsize, n)):
        body = as_bytes(np.ascontiguousarray(arrays[name]))
        d, shape = tensors[name].dtype, list(tensors[name].shape)
        header[name] = {"dtype": _NAMES[d], "shape": shape, "data_offsets": [at, at + body.nbytes]}
        at += body.nbytes
        bodies.append(body)
    try:
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(f"safetensors: a name or the metadata is not text ({error})") from None
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER:
        raise bad(f"the header would have {len(text)} bytes, more than {MOST_HEADER}")
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
    return b"".join(bytes(part) for part in parts_of(tensors, metadata))


def save_file(
    tensors: Mapping[str, Tensor], filename: Any, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a file, which is replaced at once when the bytes are on the disk.

    Args: tensors: by name; they must not share memory.  metadata: text by text, kept in the header.
    Raises: as `save`.  OSError: the disk refuses.
    """
    if not isinstance(filename, str | os.PathLike):
        raise ArgumentError(
            f"safetensors: filename must be a path, got {type(filename).__name__}. Hint: file.write(save(tensors))"
        )
    parts = parts_of(tensors, metadata)
    check_folder("safetensors", filename)
    with replacing(filename) as file:
        for part in parts:
            file.write(part)


# ---- reading
#: The name of the dtype, the shape, where the bytes start and end.
Place = tuple[str, tuple[int, ...], int, int]


class _Header:
    """Where the tensors of a file are, with every number checked."""

    def __init__(self, source: Source) -> None:
        head = source.bytes_at(0, min(source.size, 512))
        other = known_file(head) if head[8:9] != b"{" else None
        if other:
            raise bad(other)
        if source.size < 8:
            raise bad(
                f"the file has {source.size} bytes, too few for a header. Hint: is the download complete?"
            )
        n = int.from_bytes(head[:8], "little")
        if n > MOST_HEADER:
            raise bad(f"a header of {n} bytes is announced; {MOST_HEADER} are allowed")
        if n > source.size - 8:
            raise bad(f"a header of {n} bytes is announced and the file has {source.size}")
        fields = parse(source.bytes_at(8, n))
        self.start = 8 + n
        self.metadata: dict[str, str] | None = None
        metadata = fields.pop(_METADATA, None)
        if metadata is not None:
            self.metadata = text_dict(metadata, "the metadata")
        self.tensors: dict[str, Place] = {}
        for name, value in fields.items():
            self.tensors[name] = _place(name, value)
        _check_cover(self.tensors, source.size - self.start)


def parse(text: bytes) -> dict[str, Any]:
    """A JSON object, of which nothing may be said twice.

    Raises: CheckpointError: not one, or one that would take far more memory than its size.
    """
    if text[:1] != b"{":
        raise bad("the header is not a JSON object")
    if len(text) > _LARGE_HEADER and (
        16 * (text.count(b"[") + text.count(b"{")) > len(text) or 5 * text.count(b'"') > len(text)
    ):
        raise bad("the header would take far more memory than its size")
    try:
        found = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise bad(f"the header is not valid JSON ({str(error)[:100]})") from None
    if not isinstance(found, dict):
        raise bad("the header is not a JSON object")
    if b"\\u" in text and any(_HALVES.search(name) for name in found):
        raise bad("a name in the header is not text")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise bad(f"the key {twice[:80]!r} appears twice in the header")
    return made


def _no_constant(text: str) -> Any:
    raise bad(f"{text} in the header")


def text_dict(value: Any, what: str) -> dict[str, str]:
    """A dict of text to text.

    Raises: CheckpointError: it is none.
    """
    if not isinstance(value, dict) or not all(type(v) is str for v in value.values()):
        raise bad(f"{what} is not a dict of text")
    return value


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**62 for n in value)


def _place(name: str, value: Any) -> Place:
    label = repr(name[:80])
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise bad(f"{label} is not described by dtype, shape and data_offsets")
    d = value["dtype"]
    if type(d) is not str or (d not in _BY_NAME and d not in _OTHERS):
        raise bad(
            f"{label} has dtype {str(d)[:40]!r}; known are {', '.join((*_BY_NAME, *_OTHERS))}"
        )
    bits = _OTHERS[d] if d in _OTHERS else 8 * _BY_NAME[d].itemsize
    shape, offsets = value["shape"], value["data_offsets"]
    if not _numbers(shape) or len(shape) > 64:
        raise bad(f"{label} has shape {str(shape)[:80]}")
    if not _numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise bad(f"{label} has data_offsets {str(offsets)[:80]}")
    need = -(-math.prod(shape) * bits // 8)
    if offsets[1] - offsets[0] != need:
        raise bad(
            f"{label} of shape {tuple(shape)} {d} needs {need} bytes, its data_offsets {offsets} give "
            f"{offsets[1] - offsets[0]}"
        )
    if math.prod(n or 1 for n in shape) * bits >= 2**66:
        raise bad(f"{label} of shape {tuple(shape)} is larger than any memory")
    return d, tuple(shape), offsets[0], offsets[1]


def _check_cover(tensors: dict[str, Place], size: int) -> None:
    """Every byte belongs to exactly one tensor, so nothing can hide and nothing can be read twice."""
    at, last = 0, ""
    for name, (_, _, start, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if start < at:
            raise bad(f"{last!r} and {name!r} overlap")
        if start > at:
            raise bad(f"bytes {at} to {start}, before {name!r}, belong to no tensor")
        at, last = end, name
    if at > size:
        raise bad(
            f"the tensors need {at} bytes and the file has {size}. Hint: is the download complete?"
        )
    if at < size:
        raise bad(f"{size - at} bytes at the end belong to no tensor")


class safe_open:
    """A safetensors file whose tensors are read one by one.

    Args: filename: a path or bytes.  framework: accepted for compatibility.  device: where the tensors go.
        mmap: leave the bytes in the file until they are used.
    """

    def __init__(
        self, filename: Any, framework: str = "pt", device: Any = "cpu", *, mmap: bool = False
    ) -> None:
        self._device, self._closed = canonical(device), False
        self._source = Source(filename, mmap, "safetensors")
        try:
            self._header = _Header(self._source)
        except BaseException:
            self._source.__exit__()
            raise

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *exc: object) -> None:
        self._source.__exit__()
        self._closed = not self._source.mapped

    def keys(self) -> list[str]:
        """The names of the tensors."""
        return list(self._header.tensors)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def metadata(self) -> dict[str, str] | None:
        """The text that was saved with the tensors."""
        return self._header.metadata

    def offset_keys(self) -> list[str]:
        """The names of the tensors, in the order in which their bytes lie in the file."""
        places = self._header.tensors
        return sorted(places, key=lambda name: places[name][2:])

    def get_tensor(self, name: str) -> Tensor:
        """One tensor.

        Raises: CheckpointError: there is none of that name.  UnsupportedDTypeError: its dtype has no counterpart.
        """
        return self._rows(name, None)

    def get_slice(self, name: str) -> Slice:
        """One tensor that is read when it is indexed, and then only the rows that are asked for.

        Raises: CheckpointError: there is none of that name.
        """
        self._place(name)
        return Slice(self, name)

    def _place(self, name: str) -> Place:
        found = self._header.tensors.get(name)
        if found is None:
            raise bad(f"the file has no tensor {name!r}")
        return found

    def _rows(self, name: str, rows: range | None) -> Tensor:
        """A tensor, or only some of its rows."""
        label, shape, start, end = self._place(name)
        d = _BY_NAME.get(label)
        if d is None:
            raise UnsupportedDTypeError(
                f"safetensors: {name!r} has dtype {label}, which flambeau does not have. "
                "Hint: convert it with PyTorch, t.to(torch.float32) or t.to(torch.int64)"
            )
        if self._closed:
            raise ArgumentError("safetensors: the file is closed. Hint: read inside the with block")
        if rows is not None:
            row = (end - start) // max(shape[0], 1)
            start, end, shape = (
                start + rows.start * row,
                start + rows.stop * row,
                (len(rows), *shape[1:]),
            )
        kind = kind_of(self._device, d)
        if self._device.type == "meta":
            block = kind.k["fill"](((end - start) // d.itemsize,), 0, d)
        else:
            data = self._source.array_at(self._header.start + start, end - start)
            block = kind.k["from_host"](typed(data, d))
        steps, step = [], 1
        for n in reversed(shape):
            steps.append(step)
            step *= max(n, 1)
        return wrap(kind.k["as_strided"](block, shape, tuple(reversed(steps)), 0), kind)


class Slice:
    """A tensor of a file that is read when it is indexed."""

    def __init__(self, file: safe_open, name: str) -> None:
        self._file, self._name = file, name
        self._dtype, self._shape = file._place(name)[:2]

    def get_shape(self) -> list[int]:
        """The shape of the whole tensor."""
        return list(self._shape)

    def get_dtype(self) -> str:
        """The format's name of the dtype, such as "F32"."""
        return self._dtype

    def __getitem__(self, index: Any) -> Tensor:
        """Part of the tensor."""
        first, *rest = index if isinstance(index, tuple) else (index,)
        if type(first) is not slice or not self._shape or (first.step or 1) < 1:
            return self._file.get_tensor(self._name)[index]
        start, stop, step = first.indices(self._shape[0])
        rows = range(start, max(start, stop))
        return self._file._rows(self._name, rows)[(slice(None, None, step), *rest)]


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
