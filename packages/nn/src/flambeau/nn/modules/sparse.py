"""The module from which PyTorch's programs import embeddings."""

from flambeau.nn.modules._sparse import (
    Embedding,
    EmbeddingBag,
)

__all__ = [
    "Embedding", "EmbeddingBag",
]  # fmt: skip
