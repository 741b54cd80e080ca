"""Look-up tables of vectors."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.nn import init
from flambeau.nn.functional import _sparse as F
from flambeau.nn.functional._sparse import EmbeddingError
from flambeau.nn.modules._module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.creation import empty
from flambeau.tensor import Tensor, describe


def _table(
    layer: Any,
    rows: int,
    dim: int,
    padding_idx: int | None,
    weight: Any,
    freeze: bool,
    device: Any,
    dtype: Any,
) -> None:
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise EmbeddingError("Padding_idx must be within num_embeddings")
        padding_idx = padding_idx % rows
    layer.num_embeddings, layer.embedding_dim, layer.padding_idx = rows, dim, padding_idx
    if weight is None:
        layer.weight = Parameter(
            empty((rows, dim), device=device, dtype=dtype), requires_grad=not freeze
        )
        layer.reset_parameters()
    else:
        if weight._a.shape != (rows, dim):
            raise EmbeddingError(
                f"Shape of weight does not match num_embeddings and embedding_dim: {describe(weight)} for "
                f"({rows}, {dim})"
            )
        layer.weight = Parameter(weight, requires_grad=not freeze)


class Embedding(Module):
    """A table of num_embeddings vectors, looked up by index: (*) -> (*, embedding_dim).

    Args: padding_idx: a row that starts at 0 and gets no gradient.  max_norm, norm_type: rows used are
    scaled down to this
        norm.  scale_grad_by_freq: divide gradients by how often a row was used.  sparse: accepted; gradients
        are dense.
    Shape: weight (num_embeddings, embedding_dim), starting standard normal.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.Embedding(10, 3)(fb.tensor([[1, 2], [4, 5]])).shape
        flambeau.Size([2, 2, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        _table(self, num_embeddings, embedding_dim, padding_idx, _weight, _freeze, device, dtype)

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        """The rows."""
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """Sizes and whatever is not the default."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq is not False:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return text + (", sparse=True" if self.sparse is not False else "")

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer around a given table; freeze: it is not trained."""
        rows, dim = _two(embeddings)
        return cls(
            rows,
            dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            embeddings,
            freeze,
        )


def _two(embeddings: Tensor) -> tuple[int, int]:
    if len(embeddings._a.shape) != 2:
        raise EmbeddingError(
            f"Embeddings parameter is expected to be 2-dimensional, got {describe(embeddings)}"
        )
    rows, dim = embeddings._a.shape
    return rows, dim


class EmbeddingBag(Module):
    """Sum, mean or maximum of the rows of each bag, without the rows in between as a result.

    Args: mode: "sum", "mean" or "max".  include_last_offset: offsets also holds the end of the last bag.
    Others: as Embedding.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.max_norm, self.norm_type, self.scale_grad_by_freq = (
            max_norm,
            norm_type,
            scale_grad_by_freq,
        )
        self.mode, self.sparse, self.include_last_offset = mode, sparse, include_last_offset
        _table(self, num_embeddings, embedding_dim, padding_idx, _weight, False, device, dtype)

    reset_parameters = Embedding.reset_parameters

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        """(B, N), or (N,) with offsets -> (B, embedding_dim)."""
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Sizes and whatever is not the default."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq is not False:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        text += f", mode={self.mode!r}"
        return text + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A layer around a given table; freeze: it is not trained."""
        rows, dim = _two(embeddings)
        made = cls(
            rows,
            dim,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            embeddings,
            include_last_offset,
            padding_idx,
        )
        made.weight.requires_grad = not freeze
        return made
