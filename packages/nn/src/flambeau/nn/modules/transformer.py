"""The module from which PyTorch's programs import transformers."""

from flambeau.nn.modules._transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
    _activation as _get_activation_fn,
    _copies as _get_clones,
)

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer", "_get_activation_fn", "_get_clones",
]  # fmt: skip
