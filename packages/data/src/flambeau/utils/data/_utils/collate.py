"""Joining samples, under the names that PyTorch gives the functions."""

from flambeau.utils.data._collate import (
    collate,
    collate_arrays as collate_numpy_array_fn,
    collate_floats as collate_float_fn,
    collate_ints as collate_int_fn,
    collate_scalars as collate_numpy_scalar_fn,
    collate_strings as collate_str_fn,
    collate_tensors as collate_tensor_fn,
    default_collate,
    default_collate_fn_map,
    default_convert,
)

__all__ = [
    "collate",
    "collate_float_fn",
    "collate_int_fn",
    "collate_numpy_array_fn",
    "collate_numpy_scalar_fn",
    "collate_str_fn",
    "collate_tensor_fn",
    "default_collate",
    "default_collate_fn_map",
    "default_convert",
]
