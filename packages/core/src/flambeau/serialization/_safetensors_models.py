"""Models in safetensors files: tied weights, and models that are split over several files."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from flambeau._atomic import replacing
from flambeau.errors import ArgumentError
from flambeau.serialization._safetensors import (
    MOST_HEADER,
    bad,
    load_file,
    parse,
    parts_of,
    refuse_shared,
    safe_open,
    save_file,
    text_dict,
)
from flambeau.serialization._source import Source
from flambeau.tensor import Tensor, host

_INDEX = "model.safetensors.index.json"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


# ---- models
def _tied(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Name -> the name under which the very same memory comes first."""
    first: dict[Any, str] = {}
    found = {}
    for name in sorted(tensors):
        t = tensors[name]
        where: Any = id(t._a)
        if t.device.type == "cpu":
            where = host(t).__array_interface__["data"][0]
        known = first.setdefault((where, t.dtype, t.shape, t.stride()), name) if t.numel() else name
        if known != name:
            found[name] = known
    return found


def save_model(
    model: Any,
    filename: Any,
    metadata: Mapping[str, str] | None = None,
    force_contiguous: bool = True,
) -> None:
    """Write the state_dict() of a model; of weights that are tied, one is written, and the metadata names the others.

    Args: filename: a path.  metadata: text by text.  force_contiguous: accepted for compatibility, as it always is.
    Raises: as `save_file`: CheckpointError: tensors that share memory in part.

    Example:
        >>> import flambeau as fb, tempfile
        >>> from flambeau.serialization import safetensors
        >>> model = fb.nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     safetensors.save_model(model, f"{folder}/model.safetensors")
        ...     safetensors.load_model(model, f"{folder}/model.safetensors")
        ([], [])
    """
    tensors = dict(model.state_dict())
    tied = _tied(tensors)
    notes = {**tied, **(metadata or {})}
    kept = {name: t for name, t in tensors.items() if name not in tied}
    save_file(kept, filename, notes if notes or metadata is not None else None)


def load_model(
    model: Any, filename: Any, strict: bool = True, device: Any = "cpu"
) -> tuple[list[str], list[str]]:
    """Read a file into a model, whose tied weights may be in it once.

    Returns: the names that the file lacks, and those that the model lacks.
    Raises: as `model.load_state_dict` where `strict`, and as `load_file`.
    """
    found = load_file(filename, device)
    mine = model.state_dict()
    groups: dict[str, list[str]] = {}
    for name, first in _tied(mine).items():
        groups.setdefault(first, [first]).append(name)
    for names in groups.values():
        known = next((name for name in names if name in found), None)
        if known is not None:
            found.update({name: found[known] for name in names if name not in found})
    missing, unexpected = model.load_state_dict(found, strict=strict)
    return list(missing), list(unexpected)


# ---- several files
def _bytes(size: Any) -> int:
    """5_000_000_000, or "5GB"."""
    if type(size) is int and size > 0:
        return size
    parts = re.fullmatch(r"(\d+) *([KMGT]?)B", size.upper()) if isinstance(size, str) else None
    if parts is None or not int(parts[1]):
        raise ArgumentError(
            f"save_sharded: max_shard_size must be a number of bytes or text such as '5GB', got {size!r}"
        )
    return int(parts[1]) * _UNITS[parts[2]]


def save_sharded(
    tensors: Mapping[str, Tensor],
    folder: Any,
    max_shard_size: int | str = "5GB",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors to as many files as needed, and the index that says what is where.

    The files are called model-00001-of-00002.safetensors and model.safetensors.index.json, as Hugging Face calls them.
    They take their places when all are on the disk, the index last.

    Args: tensors: by name, in the order in which they are dealt out; they must not share memory.  folder: is made if
        needed.  max_shard_size: bytes of tensors in one file; a larger tensor gets a file of its own.
        metadata: text by text, for every file.
    Raises: as `save_file`.
    """
    limit = _bytes(max_shard_size)
    refuse_shared(tensors)
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, t in tensors.items():
        n = t.numel() * t.itemsize
        if shards[-1] and size + n > limit:
            shards.append({})
            size = 0
        shards[-1][name] = t
        size += n
    files = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    index = {
        "metadata": {"total_size": sum(t.numel() * t.itemsize for t in tensors.values())},
        "weight_map": {
            name: file for file, shard in zip(files, shards, strict=True) for name in shard
        },
    }
    place = os.fspath(folder)
    os.makedirs(place, exist_ok=True)
    with ExitStack() as stack:  # which leaves what it entered first last
        stack.enter_context(replacing(os.path.join(place, _INDEX))).write(
            json.dumps(index, indent=2, ensure_ascii=False).encode()
        )
        for file, shard in zip(files, shards, strict=True):
            out = stack.enter_context(replacing(os.path.join(place, file)))
            for part in parts_of(shard, metadata):
                out.write(part)


def load_sharded(index: Any, device: Any = "cpu", *, mmap: bool = False) -> dict[str, Tensor]:
    """The tensors of a model that is split over several files.

    Args: index: the path of `model.safetensors.index.json`, or of its folder.
    Raises: CheckpointError: the index is damaged, names files outside its folder, or tensors that are not there.
        FileNotFoundError: a file is missing.
    """
    path = os.fspath(index)
    if os.path.isdir(path):
        path = os.path.join(path, _INDEX)
    with Source(path, who="safetensors") as source:
        if source.size > MOST_HEADER:
            raise bad(f"an index of {source.size} bytes; {MOST_HEADER} are allowed")
        fields = parse(source.bytes_at(0, source.size).lstrip())
    places = text_dict(fields.get("weight_map"), "the weight_map of the index")
    shards: dict[str, list[str]] = {}
    for name, shard in places.items():
        if (
            not shard
            or shard != os.path.basename(shard)
            or shard in (".", "..")
            or {*shard} & {*"\\:\0"}
        ):
            raise bad(f"the index names {shard[:80]!r}, which is not a file of its own folder")
        shards.setdefault(shard, []).append(name)
    folder, found = os.path.dirname(path), {}
    for shard in shards:
        if not os.path.exists(os.path.join(folder, shard)):
            raise FileNotFoundError(
                errno.ENOENT,
                "safetensors: the index names a file that is not there. Hint: is the download complete?",
                os.path.join(folder, shard),
            )
    for shard, names in shards.items():
        with safe_open(os.path.join(folder, shard), device=device, mmap=mmap) as f:
            found.update({name: f.get_tensor(name) for name in names})
    return {name: found[name] for name in places}
