"""Linear maps: y = x W^T + b, and the bilinear form."""

from __future__ import annotations

from typing import Any

from flambeau.errors import ShapeError
from flambeau.ops._op import op
from flambeau.ops.linalg import matmul
from flambeau.ops.reduce import reduce_sum
from flambeau.shape import Shape
from flambeau.tensor import Tensor, describe


def _linear_shape(x: Shape, weight: Shape, bias: Shape | None) -> Shape:
    if not x:
        raise ShapeError("linear: both arguments to linear need to be at least 1D, but input is 0D")
    if len(weight) not in (1, 2):
        raise ShapeError(
            f"linear: weight must be (out_features, in_features) or (in_features,), got shape {tuple(weight)}"
        )
    if x[-1] != weight[-1]:
        rows = 1
        for n in x[:-1]:
            rows *= n
        out = weight[0] if len(weight) == 2 else 1
        raise ShapeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied ({rows}x{x[-1]} and {weight[-1]}x{out}): needs "
            f"input.shape[-1] == in_features, expected {weight[-1]}, got {x[-1]} (input: {tuple(x)}; weight: "
            f"{tuple(weight)}). "
            f"Hint: {_fix(x, weight[-1], out)}"
        )
    out = weight[:-1]  # type: ignore[assignment]
    if bias is not None and bias not in ((), (1,), out):
        raise ShapeError(
            f"linear: bias must have shape {tuple(out)}, got {tuple(bias)} (weight: {tuple(weight)})"  # type: ignore[arg-type]
        )
    return (*x[:-1], *out)  # type: ignore[misc]


def _fix(x: Shape, wanted: int, out: int) -> str:
    inner = 1
    for n in x[1:]:
        inner *= n
    if len(x) > 2 and inner == wanted:
        return "flatten the input first: x.flatten(1)"
    return f"Linear({x[-1]}, {out}), or an input whose last dimension is {wanted}"


@op(shape=_linear_shape, kernel="linear", node="AddmmBackward0")
def _linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """input @ weight.T + bias, as one node."""
    y = matmul(input, weight.mT if weight.dim() == 2 else weight)
    return y if bias is None else y + bias


def _weight_grad_shape(g: Shape, x: Shape) -> Shape:
    return (g[-1], x[-1])


@op(shape=_weight_grad_shape, kernel="linear_weight_grad", node="LinearWeightBackward0")
def _linear_weight_grad(grad: Tensor, input: Tensor) -> Tensor:
    """Sum over all leading indices of grad[..., o] * input[..., i]: (o, i)."""
    g = grad.reshape(-1, grad._a.shape[-1])
    return matmul(g.mT, input.reshape(-1, input._a.shape[-1]))


_linear_weight_grad.vjp(
    grad=lambda g, input: _linear(input, g, None),
    input=lambda g, grad: matmul(grad, g),
)


def _to_input(g: Tensor, weight: Tensor) -> Tensor:
    if len(weight._a.shape) == 1:
        return g.unsqueeze(-1) * weight
    return matmul(g, weight)


def _to_weight(g: Tensor, input: Tensor, weight_shape: Shape) -> Tensor:
    if len(weight_shape) == 1:
        return _linear_weight_grad(g.unsqueeze(-1), input).reshape(weight_shape)
    return _linear_weight_grad(g, input)


_LEADING = ((), (), (0,), (0, 1), (0, 1, 2), (0, 1, 2, 3))


def _to_bias(g: Tensor, bias_shape: Shape) -> Tensor:
    rank = len(g._a.shape)
    if g._a.shape[-1:] != bias_shape:
        return g.sum_to_size(bias_shape)
    if rank == 1:
        return g
    return reduce_sum(g, _LEADING[rank] if rank < 6 else tuple(range(rank - 1)), False)


_linear.vjp(input=_to_input, weight=_to_weight, bias=_to_bias)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = input @ weight.T + bias: (..., in_features) -> (..., out_features).

    Args: weight: (out_features, in_features), or (in_features,).  bias: (out_features,).
    Raises: ShapeError: the last dimension of input is not in_features.

    Example:
        >>> import flambeau as fb
        >>> fb.nn.functional.linear(fb.ones(1, 3), fb.ones(2, 3))
        tensor([[3., 3.]])
    """
    return _linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y[..., o] = input1[..., i] weight[o, i, j] input2[..., j] + bias[o].

    Raises: ShapeError: leading dimensions differ, or the last ones do not fit weight (out, in1, in2).
    """
    a, b, w = input1._a.shape, input2._a.shape, weight._a.shape
    if len(w) != 3 or a[:-1] != b[:-1] or a[-1] != w[1] or b[-1] != w[2]:
        raise ShapeError(
            "bilinear: needs input1 (..., in1), input2 (..., in2) and weight (out, in1, in2), got "
            f"{describe(input1)}, {describe(input2)} and {describe(weight)}"
        )
    x, y = _rows(input1), _rows(input2)
    left: Any = matmul(x, weight.permute(1, 0, 2).reshape(w[1], w[0] * w[2]))
    out = (left.reshape(-1, w[0], w[2]) * y.unsqueeze(1)).sum(-1)
    if bias is not None:
        out = out + bias
    return out.reshape((*a[:-1], w[0]))  # type: ignore[no-any-return]


def _rows(x: Tensor) -> Any:
    return x.reshape(-1, x._a.shape[-1])
