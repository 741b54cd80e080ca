"""Look-up of rows by index: embedding, embedding_bag, one_hot."""

from __future__ import annotations

from typing import Any

import flambeau as fb
from flambeau import dtypes
from flambeau.errors import (
    ArgumentError,
    DTypeError,
    FlambeauError,
    IndexRangeError,
    ShapeError,
)
from flambeau.ops._op import op
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe

Index = Tensor  # an int64 operand


class EmbeddingError(FlambeauError, ValueError, RuntimeError):
    """Arguments that an embedding cannot have."""


@op(shape=lambda w, i, *rest: (*i, *w[1:]), kernel="embedding", node="EmbeddingBackward0")
def _embedding(weight: Tensor, index: Index, padding_idx: int, scale: bool) -> Tensor:
    """Rows of weight."""
    flat = weight.index_select(0, index.reshape((-1,)))
    return flat.reshape((*index._a.shape, *weight._a.shape[1:]))


def _rows_shape(g: Shape, i: Shape, rows: int, padding_idx: int, scale: bool) -> Shape:
    return (rows, *g[len(i) :])


@op(shape=_rows_shape, kernel="embedding_backward", node="EmbeddingDenseBackward0")
def _embedding_backward(
    grad: Tensor, index: Index, rows: int, padding_idx: int, scale: bool
) -> Tensor:
    """Sum of the gradients of each row; none for padding_idx; over the row's count if scale."""
    flat: Any = index.reshape((-1,))
    g: Any = grad.reshape((flat._a.shape[0], *grad._a.shape[len(index._a.shape) :]))
    total = fb.zeros((rows, *g._a.shape[1:]), dtype=grad.dtype, device=grad.device)
    total = total.index_add(0, flat, g)
    if scale:
        counts = fb.zeros(rows, dtype=grad.dtype, device=grad.device)
        counts = counts.index_add(0, flat, fb.ones_like(flat).to(grad.dtype))
        total = total / counts.clamp_min(1).unsqueeze(-1)
    if padding_idx >= 0:
        total[padding_idx] = 0
    return total


def _again(g: Any, index: Any, padding_idx: int) -> Any:
    """The embedding of g, without the padding's rows: the transpose of the backward pass."""
    y = _embedding(g, index, padding_idx, False)
    if padding_idx >= 0:
        y = y * index.ne(padding_idx).to(y.dtype).unsqueeze(-1)
    return y


_embedding.vjp(
    weight=lambda g, index, padding_idx, scale, weight_shape: _embedding_backward(
        g, index, weight_shape[0], padding_idx, scale
    )
)
_embedding_backward.vjp(grad=lambda g, index, padding_idx: _again(g, index, padding_idx))


def _check_index(op: str, input: Any) -> Any:
    if not isinstance(input, Tensor):
        raise ArgumentError(f"{op}: input must be a Tensor of indices, got {type(input).__name__}")
    if input._kind.dtype.category != dtypes.INTEGER:
        raise DTypeError(
            f"{op}: Expected tensor for argument 'indices' to have one of the following scalar types: Long, "
            f"Int; but got "
            f"{describe(input)} instead. Hint: input.long()"
        )
    return input if input._kind is input._kind.int64 else input.long()


def _renormalise(weight: Any, index: Any, max_norm: float, norm_type: float) -> None:
    with fb.no_grad():
        rows = index.reshape(-1).unique()
        picked = weight.detach()[rows]
        size = picked.norm(norm_type, 1, keepdim=True)
        factor = fb.where(size > max_norm, max_norm / (size + 1e-7), 1.0)
        weight.detach()[rows] = picked * factor


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight (rows, dim) by index: (*) -> (*, dim).

    Args: padding_idx: a row that gets no gradient.  max_norm: rows used are first scaled down to this norm,
    in place.
        scale_grad_by_freq: divide a row's gradient by how often it was used.  sparse: accepted; gradients
        are dense.
    Raises: IndexRangeError: an index outside the rows.  DTypeError: indices that are no integers.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.embedding(fb.tensor([1, 0]), fb.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    index = _check_index("embedding", input)
    rows = weight._a.shape[0] if weight._a.shape else 0
    if len(weight._a.shape) < 1:
        raise ShapeError(f"embedding: 'weight' must be 2-D, got {describe(weight)}")
    if padding_idx is None:
        padding_idx = -1
    else:
        if not -rows <= padding_idx < rows:
            raise EmbeddingError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        _renormalise(weight, index, max_norm, norm_type)
    try:
        return _embedding(weight, index, padding_idx, scale_grad_by_freq)
    except IndexRangeError as error:
        raise _no_row(error, weight) from None


def _no_row(error: IndexRangeError, weight: Tensor) -> IndexRangeError:
    if error.where is None:
        return error
    return IndexRangeError(
        f"embedding: index out of range in self: {error.where[0]} is not in [0, {weight._a.shape[0] - 1}] (weight: "
        f"{describe(weight)}). Hint: num_embeddings must be larger than the largest index"
    )


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each index, 0 elsewhere: (*) -> (*, num_classes), int64.

    Raises: EmbeddingError: a negative index, or one that is not below num_classes.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.one_hot(fb.tensor([2, 0]))
        tensor([[0, 0, 1],
                [1, 0, 0]])
    """
    t: Any = tensor
    if t._kind is not t._kind.int64:
        raise DTypeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {describe(t)}. Hint: x.long()"
        )
    if t.numel():
        low, high = int(t.min()), int(t.max())
        if low < 0:
            raise EmbeddingError("Class values must be non-negative.")
        if num_classes == -1:
            num_classes = high + 1
        elif high >= num_classes:
            raise EmbeddingError(
                f"Class values must be smaller than num_classes, got {high} and num_classes={num_classes}"
            )
    elif num_classes <= 0:
        raise EmbeddingError("Can not infer total number of classes from empty tensor.")
    if num_classes < 1:
        raise EmbeddingError("num_classes should be positive")
    return t.unsqueeze(-1).eq(fb.arange(num_classes, device=t.device)).long()  # type: ignore[no-any-return]


def _bags(index: Any, offsets: Any, include_last: bool) -> tuple[list[int], int]:
    starts = offsets.tolist()
    if starts and starts[0] != 0:
        raise EmbeddingError(
            f"embedding_bag: offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
            f"from position 0. However, got {starts[0]}"
        )
    n = index._a.shape[0]
    if starts and starts[-1] > n:
        raise EmbeddingError(
            f"embedding_bag: offsets[-1] can not be greater than input's length({n}) but got offsets[-1] of "
            f"{starts[-1]}"
        )
    ends = starts[1:] if include_last else [*starts[1:], n]
    starts = starts[:-1] if include_last else starts
    which: list[int] = []
    for bag, (a, b) in enumerate(zip(starts, ends)):
        which += [bag] * (b - a)
    return which, len(starts)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or maximum of the rows of each bag.

    Args: input: (B, N), bags of N; or (N,) with offsets, where each bag starts.  per_sample_weights:
    factors, for "sum".
        include_last_offset: offsets also holds the end of the last bag.  padding_idx: rows that do not count.
    Raises: EmbeddingError: the arguments do not fit together.
    """
    if mode not in ("sum", "mean", "max"):
        raise EmbeddingError("mode has to be one of sum, mean or max")
    if weight._kind.dtype.category == dtypes.INTEGER and input.is_floating_point():
        input, weight = weight, input  # the order of PyTorch's oldest programs
    index: Any = _check_index("embedding_bag", input)
    scale: Any = per_sample_weights
    if scale is not None:
        if mode != "sum":
            raise EmbeddingError(
                f"embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
                f"mode='sum' (got mode='{mode}')"
            )
        if scale._a.shape != index._a.shape:
            raise EmbeddingError(
                f"embedding_bag: If per_sample_weights ({scale.shape}) is not None, then it must have the same "
                f"shape as the input ({index.shape})"
            )
    if len(index._a.shape) == 2:
        if offsets is not None:
            raise EmbeddingError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed "
                "length sequences. However, found offsets"
            )
        bags, each = index._a.shape
        which = [b for b in range(bags) for _ in range(each)]
        index = index.reshape(-1)
        scale = None if scale is None else scale.reshape(-1)
    elif len(index._a.shape) == 1:
        if offsets is None:
            raise EmbeddingError("offsets has to be a 1D Tensor but got None")
        which, bags = _bags(index, offsets, include_last_offset)
        index = index[: len(which)]
        scale = None if scale is None else scale[: len(which)]
    else:
        raise EmbeddingError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {len(index._a.shape)}"
        )
    rows: Any = embedding(index, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    at = fb.tensor(which, dtype=fb.int64, device=index.device)
    if padding_idx is not None:
        keep = index.ne(padding_idx % weight._a.shape[0]).nonzero().reshape(-1)
        rows, at = rows[keep], at[keep]
        scale = None if scale is None else scale[keep]
    return _reduce_bags(rows, at, bags, mode, scale)  # type: ignore[no-any-return]


def _reduce_bags(rows: Any, at: Any, bags: int, mode: str, scale: Any) -> Any:
    if scale is not None:
        rows = rows * scale.unsqueeze(-1)
    zeros = fb.zeros((bags, rows._a.shape[1]), dtype=rows.dtype, device=rows.device)
    if mode != "max":
        total = zeros.index_add(0, at, rows)
        if mode == "sum":
            return total
        counts = fb.zeros(bags, dtype=rows.dtype, device=rows.device).index_add(
            0, at, fb.ones(at._a.shape, dtype=rows.dtype, device=rows.device)
        )
        return total / counts.clamp_min(1).unsqueeze(-1)
    bag_of = at.tolist()
    parts = []
    for b in range(bags):
        mine = [i for i, w in enumerate(bag_of) if w == b]
        parts.append(rows[mine[0] : mine[-1] + 1].max(0)[0] if mine else zeros[b])
    return fb.stack(parts) if parts else zeros
