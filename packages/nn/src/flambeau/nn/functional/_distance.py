"""Distances and similarities."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau.errors import ShapeError
from flambeau.shape import broadcast_shapes
from flambeau.tensor import Tensor, describe


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """||x1 - x2 + eps||_p over the last dimension."""
    d: Any = x1 - x2 + eps
    return d.norm(p, -1, keepdim)  # type: ignore[no-any-return]


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along dim.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.cosine_similarity(fb.tensor([[1.0, 1.0]]), fb.tensor([[1.0, 0.0]]))
        tensor([0.7071])
    """
    shape = tuple(broadcast_shapes(x1._a.shape, x2._a.shape))
    a: Any = x1.expand(shape)
    b: Any = x2.expand(shape)
    if a.dtype != b.dtype:
        common = fb.result_type(a, b)
        a, b = a.to(common), b.to(common)
    na, nb = a.norm(2, dim, True), b.norm(2, dim, True)
    return ((a / na.clamp_min(eps)) * (b / nb.clamp_min(eps))).sum(dim)  # type: ignore[no-any-return]


def pdist(input: Tensor, p: float = 2) -> Tensor:
    """p-distances between all pairs of rows: (N, M) -> (N (N - 1) / 2,)."""
    x: Any = input
    if len(x._a.shape) != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got: {describe(x)}")
    if p < 0:
        raise ShapeError("pdist only supports non-negative p values")
    n = x._a.shape[0]
    first = [i for i in range(n) for _ in range(i + 1, n)]
    second = [j for i in range(n) for j in range(i + 1, n)]
    if not first:
        return x.reshape(-1).narrow(0, 0, 0)  # type: ignore[no-any-return]
    a, b = (fb.tensor(at, device=x.device) for at in (first, second))
    return (x.index_select(0, a) - x.index_select(0, b)).norm(p, 1)  # type: ignore[no-any-return]
