"""What a file is that is no checkpoint, and folders that are not there: for messages."""

from __future__ import annotations

import errno
import os
from typing import Any

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"(\xb5/\xfd": "zstandard",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
_STARTS = {
    b"\x93NUMPY": "a NumPy array. Hint: flambeau.from_numpy(numpy.load(path))",
    b"\x89HDF": "an HDF5 file, such as Keras writes. Hint: read it with the package h5py",
    b"GGUF": "a GGUF file. Hint: convert it to safetensors",
    b"version https://git-lfs": "this is a Git LFS pointer, not the file itself. Hint: git lfs pull",
    b"PK\3\4": "a zip archive, such as PyTorch writes. Hint: flambeau.load(path)",
    b"\x80\2\x8a\nl\xfc\x9cF": "a file of PyTorch before 1.6. Hint: flambeau.load(path)",
    b"\x80": "a plain pickle, not a checkpoint. Hint: pickle.load, if you trust whoever wrote it",
}


def other_file(head: bytes, size: int) -> str:
    """Why a file that starts so is no checkpoint."""
    if not size:
        return "the file is empty. Hint: was the program that wrote it stopped?"
    return known_file(head) or (
        f"not a checkpoint: it starts with {head[:8]!r} and is neither a zip archive nor an old PyTorch file"
    )


def known_file(head: bytes) -> str | None:
    """What the first bytes of a file show it to be."""
    if head[257:262] == b"ustar":
        return (
            "a tar archive of PyTorch 0.1, or of other files, cannot be read. "
            "Hint: unpack it, or load and save it with PyTorch first"
        )
    if head[8:9] == b"{":
        return "this looks like a safetensors file. Hint: flambeau.serialization.safetensors.load_file(path)"
    for start, what in _STARTS.items():
        if head.startswith(start):
            return what
    for start, what in _PACKED.items():
        if head.startswith(start):
            return f"a file packed by {what}. Hint: unpack it first"
    if head.lstrip()[:1] == b"<":
        return "this is a web page. Hint: the download got an error page instead of the file"
    if head.lstrip()[:1] in (b"{", b"["):
        return "this looks like JSON. Hint: safetensors.load_sharded reads the index of a model in several files"
    return None


def other_archive(names: list[str]) -> str:
    """What the names in a zip archive show it to be, as the end of a message."""
    if names and all(name.endswith(".npy") for name in names):
        return ". Hint: it holds NumPy arrays, numpy.load(path) reads them"
    if "model.weights.h5" in names:
        return ". Hint: it is a Keras model, read its model.weights.h5 with the package h5py"
    inside = [name for name in names if name.endswith("/data.pkl")]
    if inside:
        return f". Hint: {inside[0]!r} lies deeper; zip the folder that data.pkl is in"
    packed = [name for name in names if name.endswith((".pt", ".pth", ".bin", ".ckpt"))]
    if packed:
        return f". Hint: unzip it first and load {packed[0]!r}"
    return f". Hint: it holds {', '.join(map(repr, sorted(names)[:3])) or 'nothing'}"


def check_folder(who: str, path: Any) -> None:
    """A file needs a folder to be in.

    Raises: FileNotFoundError: it is not there.
    """
    folder = os.path.dirname(os.path.realpath(os.fsdecode(path)))
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            errno.ENOENT, f"{who}: the folder does not exist. Hint: os.makedirs(folder)", folder
        )
