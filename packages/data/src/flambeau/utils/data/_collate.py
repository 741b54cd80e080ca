"""Joining samples into a batch: tensors are stacked, nested structures are walked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau.dtypes import float64
from flambeau.errors import ShapeError
from flambeau.tensor import Tensor
from flambeau.utils.data.errors import CollateError

CollateMap = Mapping[type | tuple[type, ...], Callable[..., Any]]
#: NumPy's kinds of bytes, object and str arrays, which have no tensor.
_NOT_NUMBERS = "SOU"


def default_convert(data: Any) -> Any:
    """NumPy arrays and scalars as tensors, inside nested structures too; anything else as it is.

    Example:
        >>> import numpy as np
        >>> default_convert({"x": np.array([0, 1]), "name": "a"})
        {'x': tensor([0, 1]), 'name': 'a'}
    """
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in _NOT_NUMBERS else flambeau.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        values = [default_convert(d) for d in data]
        return type(data)(*values) if hasattr(data, "_fields") else values
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(d) for d in data])
    return data


def _like_mapping(sample: Any, values: dict[Any, Any]) -> Any:
    """values in a mapping of the sample's type, with its other attributes; a dict where that cannot be made."""
    try:
        if isinstance(sample, MutableMapping):
            clone: Any = copy.copy(sample)
            clone.update(values)
            return clone
        return type(sample)(values)
    except TypeError:
        return values


def _like_sequence(sample: Any, values: list[Any]) -> Any:
    """values in a sequence of the sample's type; a list where that cannot be made."""
    try:
        if isinstance(sample, MutableSequence):
            clone: Any = copy.copy(sample)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(sample)(values)
    except TypeError:
        return values


def collate(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """Join samples by a table: type of a sample (or a tuple of types) -> function(batch, *, collate_fn_map).

    A subclass of a type in the table is joined as that type; mappings and sequences are walked.
    Raises: CollateError: a sample's type is neither in the table nor a mapping or sequence.
    """
    sample = batch[0]
    if collate_fn_map is not None:
        join = collate_fn_map.get(type(sample))
        if join is None:
            join = next((f for kind, f in collate_fn_map.items() if isinstance(sample, kind)), None)
        if join is not None:
            return join(batch, collate_fn_map=collate_fn_map)
    if isinstance(sample, Mapping):
        columns = {
            key: collate([d[key] for d in batch], collate_fn_map=collate_fn_map) for key in sample
        }
        return _like_mapping(sample, columns)
    if isinstance(sample, Sequence) and not isinstance(sample, str | bytes):
        return _collate_sequences(batch, collate_fn_map)
    raise CollateError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(sample)}. Hint: DataLoader(..., collate_fn=your_function)"
    )


def _collate_sequences(batch: Any, collate_fn_map: CollateMap | None) -> Any:
    sample = batch[0]
    if not hasattr(sample, "_fields") and len(set(map(len, batch))) > 1:
        lengths = [len(s) for s in batch]
        odd = next(i for i, n in enumerate(lengths) if n != lengths[0])
        raise ShapeError(
            "default_collate: each element in list of batch should be of equal size, got "
            f"{lengths[0]} at sample 0 and {lengths[odd]} at sample {odd}. Hint: pad them in a collate_fn"
        )
    values = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch)]
    if isinstance(sample, tuple):
        return type(sample)(*values) if hasattr(sample, "_fields") else values
    return _like_sequence(sample, values)


def collate_tensors(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Tensors of one shape, stacked along a new first dimension."""
    try:
        return flambeau.stack(batch, 0)
    except ShapeError as error:
        raise ShapeError(
            f"default_collate: {error}. Hint: samples of different shapes need a collate_fn that pads them"
        ) from None


def collate_arrays(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """NumPy arrays of one shape, as a tensor with a new first dimension."""
    if batch[0].dtype.kind in _NOT_NUMBERS:
        raise CollateError(
            "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
            f"found an array of {batch[0].dtype}"
        )
    plain = collate_fn_map is None or collate_fn_map.get(Tensor) is collate_tensors
    if plain and _alike(batch):
        return flambeau.as_tensor(np.array(batch))  # a fifth of the time of stacking tensors
    return collate([flambeau.as_tensor(b) for b in batch], collate_fn_map=collate_fn_map)


def _alike(arrays: Any) -> bool:
    """Whether plain arrays agree in shape and dtype."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    return all(type(a) is np.ndarray and a.shape == shape and a.dtype == dtype for a in arrays)


def collate_scalars(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """NumPy scalars as a tensor of their dtype."""
    return flambeau.as_tensor(np.asarray(batch))


def collate_floats(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Python floats as a float64 tensor."""
    return flambeau.tensor(batch, dtype=float64)


def collate_ints(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Python ints and bools as a tensor."""
    return flambeau.tensor(batch)


def collate_strings(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """Text and bytes stay as they are."""
    return batch


#: What default_collate does with each type of sample; programs add their own types here.
default_collate_fn_map: dict[type | tuple[type, ...], Callable[..., Any]] = {
    Tensor: collate_tensors,
    np.ndarray: collate_arrays,
    (np.bool_, np.number, np.object_): collate_scalars,
    float: collate_floats,
    int: collate_ints,
    str: collate_strings,
    bytes: collate_strings,
}


def default_collate(batch: Any) -> Any:
    """Samples joined into a batch with a new first dimension.

    Tensors, NumPy arrays and numbers become tensors (Python floats float64); text stays a sequence; mappings, named
    tuples and sequences keep their structure, tuples becoming lists.
    Raises: CollateError: a type without a rule.  ShapeError: shapes or lengths differ.

    Example:
        >>> default_collate([{"x": 1.5, "name": "a"}, {"x": 2.5, "name": "b"}])
        {'x': tensor([1.5000, 2.5000], dtype=flambeau.float64), 'name': ['a', 'b']}
        >>> default_collate([(0, 1), (2, 3)])
        [tensor([0, 2]), tensor([1, 3])]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
