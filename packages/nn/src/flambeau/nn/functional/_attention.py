"""Attention."""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau import dtypes
from flambeau.errors import DTypeError, FlambeauError, ShapeError
from flambeau.nn.functional._dropout import dropout
from flambeau.nn.functional._fused import FusedNode, record
from flambeau.nn.functional._linear import linear
from flambeau.nn.functional._padding import pad
from flambeau.ops._recover import common_device, no_room
from flambeau.tensor import Tensor, describe, wrap


class AttentionError(FlambeauError, RuntimeError, AssertionError, ValueError):
    """Arguments of attention that do not fit together."""


class ScaledDotProductAttentionBackward0(FusedNode):
    """Node of scaled_dot_product_attention."""

    __slots__ = ()

    def backward(self, g: Any, inputs: Any, kept: Any, needs: Any) -> Any:
        """By the kernel."""
        q, k, v, mask = inputs
        gq, gk, gv, gmask = self.kind.k["sdpa_backward"](
            g._a,
            q._a,
            k._a,
            v._a,
            kept[0],
            self.attrs[1],
            needs,
        )
        if gmask is not None and gmask.shape != mask._a.shape:
            from flambeau.ops._recover import sum_to

            gmask = sum_to(wrap(gmask, self.kind), mask._a.shape)._a
        return gq, gk, gv, gmask

    def composite(self, q: Any, k: Any, v: Any, mask: Any) -> Any:
        """In differentiable operations."""
        return _attend(q, k, v, mask, *self.attrs)[0]


def _attend(
    q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float, dropout_p: float = 0.0
) -> Any:
    scores = fb.matmul(q * scale, k.transpose(-2, -1))
    blocked = None
    if causal:
        rows, columns = scores._a.shape[-2:]
        scores = scores.masked_fill(
            fb.ones(rows, columns, dtype=fb.bool, device=q.device).triu(1), float("-inf")
        )
    if mask is not None:
        if mask._kind.dtype is dtypes.bool_:
            scores = scores.masked_fill(mask.logical_not(), float("-inf"))
        else:
            scores = scores + mask
        blocked = scores.eq(float("-inf")).all(-1, keepdim=True)
    weights = fb.softmax(scores, -1)
    if blocked is not None:
        weights = weights.masked_fill(blocked, 0.0)  # a row that may attend to nothing
    if dropout_p:
        weights = dropout(weights, dropout_p, True)
    return fb.matmul(weights, v), weights


def _check(q: Any, k: Any, v: Any, mask: Any, causal: bool) -> None:
    if q._kind is not k._kind or q._kind is not v._kind:
        common_device("scaled_dot_product_attention", (q, k, v))
        raise DTypeError(
            f"scaled_dot_product_attention: Expected query, key, and value to have the same dtype and device, "
            f"but got query: "
            f"{describe(q)}, key: {describe(k)} and value: {describe(v)}"
        )
    if min(len(t._a.shape) for t in (q, k, v)) < 2:
        raise ShapeError(
            f"scaled_dot_product_attention: Expected query, key, and value to all be at least 2 dimensional, but got "
            f"{describe(q)}, {describe(k)} and {describe(v)}"
        )
    if q._a.shape[-1] != k._a.shape[-1] or k._a.shape[-2] != v._a.shape[-2]:
        raise ShapeError(
            "scaled_dot_product_attention: needs query (..., L, E), key (..., S, E) and value (..., S, Ev), got "
            f"{describe(q)}, {describe(k)} and {describe(v)}"
        )
    if mask is not None:
        if causal:
            raise AttentionError(
                "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
            )
        if mask._kind is not q._kind.boolean and mask._kind is not q._kind:
            common_device("scaled_dot_product_attention", (q, mask))
            raise DTypeError(
                f"scaled_dot_product_attention: Expected attn_mask dtype to be bool or float or to match query "
                f"dtype, but got "
                f"attn_mask {describe(mask)} and query {describe(q)}"
            )


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T * scale + mask) value: (..., L, E), (..., S, E), (..., S, Ev) -> (..., L, Ev).

    Args: attn_mask: bool, True where attention may go, or numbers to add; broadcast to (..., L, S).
    is_causal: position i
        attends to positions up to i.  scale: 1 / sqrt(E) if None.  enable_gqa: fewer heads of key and value
        than of query.
    Raises: ShapeError, DTypeError, AttentionError: the arguments do not fit together.
    Reference: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
    """
    q: Any = query
    k: Any = key
    v: Any = value
    _check(q, k, v, attn_mask, is_causal)
    if enable_gqa and len(q._a.shape) > 2:
        k = k.repeat_interleave(q._a.shape[-3] // k._a.shape[-3], -3)
        v = v.repeat_interleave(q._a.shape[-3] // v._a.shape[-3], -3)
    if scale is None:
        scale = 1.0 / math.sqrt(q._a.shape[-1]) if q._a.shape[-1] else 0.0
    m = q._kind
    lead = q._a.shape[:-2]
    if (
        dropout_p
        or m.k["sdpa"] is None
        or k._a.shape[:-2] != lead
        or v._a.shape[:-2] != lead
        or 0 in (*q._a.shape, *k._a.shape)
    ):
        return _attend(q, k, v, attn_mask, is_causal, scale, dropout_p)[0]  # type: ignore[no-any-return]
    try:
        native, p = m.k["sdpa"](
            q._a, k._a, v._a, None if attn_mask is None else attn_mask._a, is_causal, scale
        )
    except MemoryError as error:
        raise no_room("scaled_dot_product_attention", m, error) from None
    y = wrap(native, m)
    n = record(ScaledDotProductAttentionBackward0, y, (q, k, v, attn_mask), (p,))
    if n is not None:
        n.attrs = (is_causal, scale)
    return y


# ---- several heads
def _additive(name: str, mask: Any, like: Any) -> Any:
    """A mask as numbers to add: bool masks hold True where attention may not go."""
    if mask is None:
        return None
    if mask._kind.dtype is dtypes.bool_:
        zeros = fb.zeros(mask._a.shape, dtype=like.dtype, device=like.device)
        return zeros.masked_fill(mask, float("-inf"))
    if not mask.is_floating_point():
        raise AttentionError(
            f"only bool and floating types of {name} are supported, got {describe(mask)}"
        )
    return mask.to(like.dtype)


def _ranks(q: Any, k: Any, v: Any, padding: Any, mask: Any) -> bool:
    rank = len(q._a.shape)
    if rank not in (2, 3):
        raise AttentionError(
            f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor ({describe(q)})"
        )
    word = "batched (3-D)" if rank == 3 else "unbatched (2-D)"
    if len(k._a.shape) != rank or len(v._a.shape) != rank:
        raise AttentionError(
            f"For {word} `query`, expected `key` and `value` to be {rank}-D but found {len(k._a.shape)}-D and "
            f"{len(v._a.shape)}-D tensors respectively"
        )
    if padding is not None and len(padding._a.shape) != rank - 1:
        raise AttentionError(
            f"For {word} `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D but found "
            f"{len(padding._a.shape)}-D tensor instead"
        )
    if mask is not None and len(mask._a.shape) not in (2, 3):
        raise AttentionError(
            f"For {word} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
            f"{len(mask._a.shape)}-D tensor instead"
        )
    return rank == 3


def _batched(q: Any, k: Any, v: Any, padding: Any, batched: bool) -> tuple[Any, Any, Any, Any]:
    if batched:
        return q, k, v, padding
    same = k is q and v is q
    q = q.unsqueeze(1)
    k, v = (q, q) if same else (k.unsqueeze(1), v.unsqueeze(1))
    return q, k, v, None if padding is None else padding.unsqueeze(0)


def _check_heads(query: Tensor, size: int, expected: int, heads: int) -> None:
    if size != expected:
        raise AttentionError(
            f"was expecting embedding dimension of {expected}, but got {size} ({describe(query)})"
        )
    if size % heads:
        raise AttentionError(f"embed_dim {size} not divisible by num_heads {heads}")


def _check_use(k: Any, v: Any, only_hint: bool, separate: bool) -> None:
    if only_hint:
        raise AttentionError(
            "Need attn_mask if specifying the is_causal hint. Hint: Transformer.generate_square_subsequent_mask"
        )
    if not separate and k._a.shape != v._a.shape:
        raise AttentionError(
            f"key shape {tuple(k._a.shape)} does not match value shape {tuple(v._a.shape)}"
        )


def _project(q: Any, k: Any, v: Any, w: Any, b: Any, separate: Any) -> tuple[Any, Any, Any]:
    size = q._a.shape[-1]
    if separate is not None:
        biases = (None, None, None) if b is None else b.chunk(3)
        return (
            linear(q, separate[0], biases[0]),
            linear(k, separate[1], biases[1]),
            linear(v, separate[2], biases[2]),
        )
    if k is v and q is k:
        return linear(q, w, b).split(size, -1)  # type: ignore[no-any-return]
    wq, wk, wv = w.split(size)
    bq, bk, bv = (None, None, None) if b is None else b.split(size)
    return linear(q, wq, bq), linear(k, wk, bk), linear(v, wv, bv)


def _merged_mask(mask: Any, padding: Any, batch: int, heads: int, length: int, source: int) -> Any:
    """(batch or 1, heads or 1, length or 1, source), to be added."""
    if mask is not None:
        shape = mask._a.shape
        if len(shape) == 2:
            if shape != (length, source):
                raise AttentionError(
                    f"The shape of the 2D attn_mask is {mask.shape}, but should be {(length, source)}."
                )
            mask = mask.reshape(1, 1, length, source)
        elif shape != (batch * heads, length, source):
            raise AttentionError(
                f"The shape of the 3D attn_mask is {mask.shape}, but should be {(batch * heads, length, source)}."
            )
        else:
            mask = mask.reshape(batch, heads, length, source)
    if padding is not None:
        if padding._a.shape != (batch, source):
            raise AttentionError(
                f"Expected key_padded_mask.shape to be {(batch, source)}, but got {describe(padding)}"
            )
        padding = padding.reshape(batch, 1, 1, source)
        mask = padding if mask is None else mask + padding
    return mask


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention with several heads, (L, N, E) layout; see MultiheadAttention.

    Raises: AttentionError: ranks, masks or sizes do not fit.
    """
    batched = _ranks(query, key, value, key_padding_mask, attn_mask)
    q, k, v, padding = _batched(query, key, value, key_padding_mask, batched)
    length, batch, size = q._a.shape
    _check_heads(query, size, embed_dim_to_check, num_heads)
    _check_use(k, v, is_causal and attn_mask is None, use_separate_proj_weight)
    padding, mask = _additive("key_padding_mask", padding, q), _additive("attn_mask", attn_mask, q)
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _project(q, k, v, in_proj_weight, in_proj_bias, separate)
    if bias_k is not None and bias_v is not None:
        k = fb.cat([k, bias_k.expand(1, batch, size)])
        v = fb.cat([v, bias_v.expand(1, batch, size)])
        mask, padding = (None if m is None else pad(m, (0, 1)) for m in (mask, padding))
    each = size // num_heads
    q = q.reshape(length, batch, num_heads, each).permute(1, 2, 0, 3)
    k = _heads(k, static_k, batch, num_heads, each)
    v = _heads(v, static_v, batch, num_heads, each)
    if add_zero_attn:
        zeros = fb.zeros((batch, num_heads, 1, each), dtype=k.dtype, device=k.device)
        k, v = fb.cat([k, zeros], 2), fb.cat([v, zeros], 2)
        mask, padding = (None if m is None else pad(m, (0, 1)) for m in (mask, padding))
    merged = _merged_mask(mask, padding, batch, num_heads, length, k._a.shape[2])
    p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        y, weights = _attend_weighted(q, k, v, merged, p)
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        y = scaled_dot_product_attention(q, k, v, merged, p)
    y = linear(y.permute(2, 0, 1, 3).reshape(length, batch, size), out_proj_weight, out_proj_bias)
    return (y if batched else y.squeeze(1)), weights


def _attend_weighted(q: Any, k: Any, v: Any, mask: Any, p: float) -> tuple[Any, Any]:
    """The result, and the weights of every head as they were applied."""
    scores = fb.matmul(q * math.sqrt(1.0 / q._a.shape[-1]), k.transpose(-2, -1))
    weights: Any = fb.softmax(scores if mask is None else scores + mask, -1)
    if p:
        weights = dropout(weights, p, True)
    return fb.matmul(weights, v), weights


def _heads(x: Any, static: Any, batch: int, heads: int, each: int) -> Any:
    if static is not None:
        if static._a.shape[0] != batch * heads or static._a.shape[2] != each:
            raise AttentionError(
                f"expecting static_k and static_v of ({batch * heads}, S, {each}), but got {describe(static)}"
            )
        return static.reshape(batch, heads, -1, each)
    return x.reshape(x._a.shape[0], batch, heads, each).permute(1, 2, 0, 3)
