"""Sequences of different lengths: padding and packing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import flambeau as fb
from flambeau.errors import ArgumentError, FlambeauError, ShapeError
from flambeau.tensor import Tensor, describe


class LengthsError(FlambeauError, RuntimeError, ValueError):
    """Lengths that do not fit the batch."""


class PackedSequence(NamedTuple):
    """A batch of sequences without padding, step by step.

    data: all elements, those of step 0 first.  batch_sizes: how many sequences are alive at each step, on the cpu.
    sorted_indices, unsorted_indices: the order by length, and back; None if the batch was sorted.
    """

    data: Any
    batch_sizes: Any = None
    sorted_indices: Any = None
    unsorted_indices: Any = None

    def _with(self, data: Any) -> PackedSequence:
        return PackedSequence(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """data on another device or in another dtype."""
        return self._with(self.data.to(*args, **kwargs))

    def cpu(self) -> PackedSequence:
        """On the cpu."""
        return self._with(self.data.cpu())

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the device behind the alias `cuda`."""
        return self._with(self.data.cuda(*args, **kwargs))

    def float(self) -> PackedSequence:
        """data as float32."""
        return self._with(self.data.float())

    def double(self) -> PackedSequence:
        """data as float64."""
        return self._with(self.data.double())

    @property
    def is_cuda(self) -> bool:
        """Whether data is on a GPU-like device."""
        return bool(self.data.is_cuda)


def invert_permutation(permutation: Any) -> Any:
    """The permutation that undoes another."""
    if permutation is None:
        return None
    return fb.argsort(permutation)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch (T, B, *), or (B, T, *) if batch_first.

    Args: lengths: of the sequences.  enforce_sorted: they are in decreasing order; else the batch is sorted.
    Raises: LengthsError: a length is 0 or exceeds T, there are not B of them, or they are not sorted.
    """
    x: Any = input
    given = lengths.tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    x = x.transpose(0, 1) if batch_first else x
    if len(given) != x._a.shape[1]:
        raise LengthsError(
            f"pack_padded_sequence: Expected `len(lengths)` to be equal to batch_size, but got {len(given)} "
            f"(batch_size={x._a.shape[1]})"
        )
    order = None
    if not enforce_sorted:
        at = sorted(range(len(given)), key=lambda i: -given[i])
        given = [given[i] for i in at]
        order = fb.tensor(at, device=x.device)
        x = x.index_select(1, order)
    if any(a < b for a, b in pairwise(given)):
        raise LengthsError(
            "pack_padded_sequence: `lengths` array must be sorted in decreasing order when `enforce_sorted` is "
            "True. Hint: pass "
            "enforce_sorted=False"
        )
    if given and given[-1] <= 0:
        raise LengthsError(
            "pack_padded_sequence: Length of all samples has to be greater than 0, but found an element in "
            "'lengths' that is <= 0"
        )
    if given and given[0] > x._a.shape[0]:
        raise LengthsError(
            f"pack_padded_sequence: lengths go up to {given[0]}, but the input has {x._a.shape[0]} steps "
            f"({describe(input)})"
        )
    sizes = [sum(n > t for n in given) for t in range(given[0] if given else 0)]
    data = fb.cat([x[t, :n] for t, n in enumerate(sizes)])
    return PackedSequence(data, fb.tensor(sizes, dtype=fb.int64), order, invert_permutation(order))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> Any:
    """The inverse of pack_padded_sequence: the padded batch and the lengths.

    Raises: LengthsError: total_length is less than the longest sequence.
    """
    data, batch_sizes, _, unsorted = sequence
    sizes = batch_sizes.tolist()
    steps, batch = len(sizes), sizes[0]
    if total_length is not None and total_length < steps:
        raise LengthsError(
            f"Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {steps}"
        )
    rows, start = [], 0
    for n in sizes:
        part = data[start : start + n]
        start += n
        if n < batch:
            part = fb.cat([part, data.new_full((batch - n, *data._a.shape[1:]), padding_value)])
        rows.append(part)
    rows += [data.new_full((batch, *data._a.shape[1:]), padding_value)] * (
        (total_length or steps) - steps
    )
    padded = fb.stack(rows)
    lengths = fb.tensor([sum(n > i for n in sizes) for i in range(batch)], dtype=fb.int64)
    if unsorted is not None:
        padded, lengths = padded.index_select(1, unsorted), lengths[unsorted.cpu()]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Tensors of different lengths stacked, filled up with padding_value: (T, B, *), or (B, T, *) if batch_first.

    Raises: ArgumentError: sequences is no iterable.  ShapeError: trailing dimensions differ.
    """
    if not isinstance(sequences, Iterable):
        raise ArgumentError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    items: list[Any] = list(sequences)
    if padding_side not in ("left", "right"):
        raise LengthsError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    if not items:
        raise LengthsError("pad_sequence: received an empty list of sequences")
    longest = max(s._a.shape[0] for s in items)
    padded = []
    for s in items:
        if s._a.shape[1:] != items[0]._a.shape[1:]:
            raise ShapeError(
                f"pad_sequence: trailing dimensions must be equal, got {describe(items[0])} and {describe(s)}"
            )
        fill = s.new_full((longest - s._a.shape[0], *s._a.shape[1:]), padding_value)
        padded.append(fb.cat([fill, s] if padding_side == "left" else [s, fill]))
    return fb.stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """The inverse of pad_sequence."""
    x: Any = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    given = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    return [x[i, :n] for i, n in enumerate(given)]


def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of tensors of different lengths."""
    items = list(sequences)
    return pack_padded_sequence(
        pad_sequence(items), [s._a.shape[0] for s in items], enforce_sorted=enforce_sorted
    )


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The inverse of pack_sequence."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
