"""A tensor's printed form: its values, and what about it is not the default."""

from __future__ import annotations

from flambeau import dtypes
from flambeau.autograd.node import AccumulateGrad
from flambeau.printing import format_tensor, shape_suffixes
from flambeau.tensor import Tensor, host


def tensor_repr(t: Tensor, prefix: str = "tensor(") -> str:
    """The text of repr(t), as PyTorch prints it."""
    kind = t._kind
    no_data = kind.device.type == "meta"
    suffixes = [] if kind.device.type == "cpu" else [f"device='{kind.device}'"]
    suffixes += shape_suffixes(
        t._a.shape, kind.dtype, default_dtype=dtypes.get_default_dtype(), has_data=not no_data
    )
    if isinstance(t._g, AccumulateGrad):
        suffixes.append("requires_grad=True")
    elif t._g is not None:
        suffixes.append(f"grad_fn=<{t.grad_fn.name()}>")
    return format_tensor(None if no_data else host(t), prefix=prefix, suffixes=suffixes)
