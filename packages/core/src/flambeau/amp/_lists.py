"""Which functions autocast changes, and how: PyTorch's lists of the CPU and of CUDA.

low: run in autocast's dtype.  float32: run in float32.  float32_unless_dtype: the same, unless the call names a
dtype.  widest: all operands in the widest dtype among them.  mixed: half operands meet float32 weights: computed in
float32, the result in the dtype of the input.  as_is: no list names it, nor must what it calls be cast.
banned: refused.

Some lines differ. PyTorch on the CPU computes GRU's products in half precision but keeps its state in float32; here all
recurrent layers run in half precision, as PyTorch's do on CUDA. Its reflecting and replicating paddings on the CPU give
float32; here they keep the dtype, since copied elements lose nothing.
"""

from __future__ import annotations

_BOTH_LOW = (
    "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d "
    "convolution convolution_transposed prelu addmm matmul mm linear addbmm baddbmm bmm "
    "rnn_layer rnn_packed scaled_dot_product_attention"
)
_LOW = "addmv addr einsum mv chain_matmul rnn_cell"

_BOTH_FLOAT32 = (
    "cdist poisson_nll_loss cosine_embedding_loss nll_loss cross_entropy hinge_embedding_loss "
    "kl_div l1_loss smooth_l1_loss huber_loss mse_loss margin_ranking_loss ctc_loss "
    "multilabel_margin_loss soft_margin_loss triplet_margin_loss multi_margin_loss "
    "binary_cross_entropy_with_logits"
)
_CPU_FLOAT32 = (
    "avg_pool3d max_pool3d adaptive_avg_pool3d adaptive_max_pool3d "
    "fractional_max_pool2d fractional_max_pool3d max_unpool1d max_unpool2d max_unpool3d "
    "binary_cross_entropy grid_sample polar prod quantile nanquantile trace view_as_complex"
)
_FLOAT32 = (
    "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow rpow square "
    "multilabel_soft_margin_loss softplus layer_norm rms_norm group_norm cosine_similarity dist pdist "
    "renorm logsumexp norm interpolate upsample"
)
_UNLESS_DTYPE = "prod softmax log_softmax cumprod cumsum sum"

_CPU_WIDEST = "cat stack index_copy"
_WIDEST = (
    "addcdiv addcmul atan2 bilinear cross dot vdot grid_sample index_put tensordot scatter_add "
    "cat stack"
)
#: Not listed by PyTorch, but made here of functions that are.
_BOTH_AS_IS = "adaptive_avg_pool addmm_ addbmm_ baddbmm_ addmv_ addr_"  # in place is never cast
_CPU_AS_IS = "mv addmv dot vdot"
_AS_IS = "frexp ldexp nanmean nansum trace"
_CPU_MIXED = "layer_norm rms_norm group_norm batch_norm instance_norm"
_MIXED = "batch_norm instance_norm"


def _policies(**lists: str) -> dict[str, str]:
    return {name: policy for policy, names in lists.items() for name in names.split()}


#: Function -> policy on the CPU.
CPU = _policies(
    low=_BOTH_LOW,
    float32=f"{_BOTH_FLOAT32} {_CPU_FLOAT32}",
    widest=_CPU_WIDEST,
    mixed=_CPU_MIXED,
    as_is=f"{_BOTH_AS_IS} {_CPU_AS_IS}",
)
#: Function -> policy on every other device.
GPU = _policies(
    low=f"{_BOTH_LOW} {_LOW}",
    float32=f"{_BOTH_FLOAT32} {_FLOAT32}",
    float32_unless_dtype=_UNLESS_DTYPE,
    widest=_WIDEST,
    mixed=_MIXED,
    as_is=f"{_BOTH_AS_IS} {_AS_IS}",
    banned="binary_cross_entropy",
)
#: Inner functions that layers call without passing through the public one: (module, name) -> entry above.
INNER = {
    ("flambeau.nn.functional._linear", "_linear"): "linear",
    ("flambeau.nn.functional._conv", "_run"): "convolution",
    ("flambeau.nn.functional._conv", "_transposed"): "convolution_transposed",
    ("flambeau.nn.functional._rnn", "layer"): "rnn_layer",
    ("flambeau.nn.functional._rnn", "packed"): "rnn_packed",
    ("flambeau.nn.functional._rnn", "cell"): "rnn_cell",
    ("flambeau.nn.functional._adaptive_pool", "_adaptive_avg"): "adaptive_avg_pool",
    ("flambeau.ops.elementwise", "rpow"): "rpow",
}
