"""Attention with several heads."""

from __future__ import annotations

from typing import Any

from flambeau.nn import init
from flambeau.nn.functional._attention import AttentionError, multi_head_attention_forward
from flambeau.nn.modules._linear import NonDynamicallyQuantizableLinear
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.creation import empty
from flambeau.tensor import Tensor


class MultiheadAttention(Module):
    """Attention with num_heads heads between projected queries, keys and values, and a projection of the
    result.

    Args: embed_dim: size of queries and results, divisible by num_heads.  dropout: of the attention weights.
        kdim, vdim: sizes of keys and values, embed_dim if None.  batch_first: (N, L, E) instead of (L, N, E).
        add_bias_kv: a learnt key and value more.  add_zero_attn: a zero key and value more.
    Shape: in_proj_weight (3 * embed_dim, embed_dim), Xavier-uniform; biases start at 0.
    Reference: Vaswani et al. 2017, arXiv:1706.03762.

    Example:
        >>> import flambeau as fb
        >>> x = fb.randn(5, 2, 8)
        >>> y, weights = fb.nn.MultiheadAttention(8, 2)(x, x, x)
        >>> y.shape, weights.shape
        (flambeau.Size([5, 2, 8]), flambeau.Size([2, 5, 5]))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise AttentionError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AttentionError("embed_dim must be divisible by num_heads")

        def made(*shape: int) -> Parameter:
            return Parameter(empty(shape, device=device, dtype=dtype))  # type: ignore[no-any-return]

        same = self._qkv_same_embed_dim
        self.register_parameter("in_proj_weight", made(3 * embed_dim, embed_dim) if same else None)
        for name, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if same else made(embed_dim, size))
        self.register_parameter("in_proj_bias", made(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, made(1, 1, embed_dim) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)  # type: ignore[arg-type]
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result (L, N, E) and, if need_weights, the weights (N, L, S).

        Args: key_padding_mask: (N, S), True where a key does not count.  attn_mask: (L, S) or (N * heads, L,
        S), True where
            attention may not go, or numbers to add.  average_attn_weights: mean over the heads.
        """
        q: Any = query
        k: Any = key
        v: Any = value
        turn = self.batch_first and len(q._a.shape) == 3
        if turn:
            if k is v:
                q, k = (
                    (q.transpose(1, 0),) * 2 if q is k else (q.transpose(1, 0), k.transpose(1, 0))
                )
                v = k
            else:
                q, k, v = (t.transpose(1, 0) for t in (q, k, v))
        separate = not self._qkv_same_embed_dim
        y: Any
        y, weights = multi_head_attention_forward(
            q, k, v, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v,
            self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=separate, q_proj_weight=self.q_proj_weight, k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight, average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        return (y.transpose(1, 0) if turn else y), weights

    def _brief(self) -> str:
        return f"{type(self).__name__}({self.embed_dim}, {self.num_heads} heads)"
