"""Functions that PyTorch has at its root with other arguments than in nn.functional: `flambeau.ctc_loss`.

They are the C++ library's: the reduction of a loss is a number (0 none, 1 mean, 2 sum), and little has a default.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.errors import ArgumentError
from flambeau.nn import functional as F
from flambeau.nn.functional import _dropout
from flambeau.nn.functional._adaptive_pool import adaptive_max_pool1d_with_indices
from flambeau.nn.functional._reduction import ReductionError
from flambeau.tensor import Tensor

adaptive_max_pool1d = adaptive_max_pool1d_with_indices


# ---- losses
def _loss(fn: Callable[..., Any], names: str, required: str = "", named: str = "") -> Any:
    """A loss of nn.functional with these parameters alone, in this order, and a number as its reduction.

    required: parameters that lose their default.  named: parameters that are given by name.
    """
    plain = inspect.signature(fn).parameters
    parameters = []
    for name in names.split():
        p = plain[name].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if name == "reduction":
            p = p.replace(default=1)
        if name in required.split():
            p = p.replace(default=p.empty)
        parameters.append(p.replace(kind=p.KEYWORD_ONLY) if name in named.split() else p)
    signature = inspect.Signature(parameters)

    @functools.wraps(fn)
    def loss(*args: Any, **kwargs: Any) -> Tensor:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(
                f"{fn.__name__}(): {error}. Hint: flambeau.nn.functional.{fn.__name__} has PyTorch's usual arguments"
            ) from None
        given.apply_defaults()
        reduction = given.arguments["reduction"]
        if isinstance(reduction, str) or reduction not in (0, 1, 2):
            raise ReductionError(
                f"{fn.__name__}: reduction must be 0 (none), 1 (mean) or 2 (sum), got {reduction!r}. "
                f"Hint: flambeau.nn.functional.{fn.__name__} takes reduction='mean'"
            )
        values = {**given.arguments, "reduction": ("none", "mean", "sum")[reduction]}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "reduction: 'mean' divides")  # it is said of F.kl_div
            made: Tensor = fn(**values)
        return made

    loss.__signature__ = signature  # type: ignore[attr-defined]
    loss.__doc__ = (
        f"`nn.functional.{fn.__name__}`, with a number as reduction: 0 none, 1 mean, 2 sum."
    )
    return loss


binary_cross_entropy_with_logits = _loss(
    F.binary_cross_entropy_with_logits, "input target weight pos_weight reduction"
)
cosine_embedding_loss = _loss(F.cosine_embedding_loss, "input1 input2 target margin reduction")
ctc_loss = _loss(
    F.ctc_loss,
    "log_probs targets input_lengths target_lengths blank reduction zero_infinity",
)
hinge_embedding_loss = _loss(F.hinge_embedding_loss, "input target margin reduction")
kl_div = _loss(F.kl_div, "input target reduction log_target", named="log_target")
margin_ranking_loss = _loss(F.margin_ranking_loss, "input1 input2 target margin reduction")
poisson_nll_loss = _loss(
    F.poisson_nll_loss,
    "input target log_input full eps reduction",
    required="log_input full eps reduction",
)
triplet_margin_loss = _loss(
    F.triplet_margin_loss, "anchor positive negative margin p eps swap reduction"
)


# ---- dropout
def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Zero each element with probability p and divide the others by 1 - p; unchanged if not train."""
    return F.dropout(input, p, train)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`dropout` in place."""
    return F.dropout(input, p, train, inplace=True)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout that keeps the mean and variance of self-normalising (SELU) activations."""
    return F.alpha_dropout(input, p, train)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`alpha_dropout` in place."""
    return F.alpha_dropout(input, p, train, inplace=True)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Zero whole channels of (N, C, ...) with probability p.

    Raises: ShapeError: fewer than two dimensions.
    """
    _dropout._check("feature_dropout", p)
    return _dropout._feature("feature_dropout", input, p, train, False)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`feature_dropout` in place."""
    _dropout._check("feature_dropout_", p)
    return _dropout._feature("feature_dropout_", input, p, train, True)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`alpha_dropout` of whole channels."""
    return F.feature_alpha_dropout(input, p, train)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`feature_alpha_dropout` in place."""
    return F.feature_alpha_dropout(input, p, train, inplace=True)


# ---- normalisations: weights come first, and a switch for cuDNN last
def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.batch_norm` with the weights before the running statistics."""
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.instance_norm` with the weights before the running statistics."""
    return F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """`nn.functional.layer_norm`."""
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """`nn.functional.group_norm`."""
    return F.group_norm(input, num_groups, weight, bias, eps)


# ---- the rest
def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight; `nn.functional.embedding` has the operands the other way round.

    Args: padding_idx: a row without gradient; -1 for none.
    """
    padding = None if padding_idx == -1 else padding_idx
    return F.embedding(
        indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse
    )


def affine_grid_generator(theta: Tensor, size: Any, align_corners: bool) -> Tensor:
    """`nn.functional.affine_grid`."""
    return F.affine_grid(theta, size, align_corners)


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`nn.functional.grid_sample` with numbers for the modes.

    Args: interpolation_mode: 0 bilinear, 1 nearest, 2 bicubic.  padding_mode: 0 zeros, 1 border, 2 reflection.
    Raises: ArgumentError: another number.
    """
    if interpolation_mode not in (0, 1, 2) or padding_mode not in (0, 1, 2):
        raise ArgumentError(
            "grid_sampler: interpolation_mode and padding_mode must be 0, 1 or 2, got "
            f"{interpolation_mode!r} and {padding_mode!r}. Hint: flambeau.nn.functional.grid_sample takes words"
        )
    mode = ("bilinear", "nearest", "bicubic")[interpolation_mode]
    padding = ("zeros", "border", "reflection")[padding_mode]
    return F.grid_sample(input, grid, mode, padding, align_corners)


grid_sampler_2d = grid_sampler_3d = grid_sampler
