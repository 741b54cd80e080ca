"""Products of vectors and matrices."""

from __future__ import annotations

import math
from typing import Any

from flambeau.errors import ArgumentError, DTypeError, ShapeError
from flambeau.ops._op import Primitive, op
from flambeau.ops._public import Public
from flambeau.ops._recover import sum_to, write_out
from flambeau.ops.elementwise import _times, add, conj_physical, mul, sub
from flambeau.ops.join import cat
from flambeau.ops.movement import _expand, _permute, narrow, reshape, unsqueeze
from flambeau.ops.reduce import sum as _sum
from flambeau.shape import Shape, broadcast_shapes, broadcast_two, wrap_dim
from flambeau.tensor import Tensor, describe


# ---- the two kernels
def _batched(a: Shape, b: Shape) -> Shape:
    if len(a) != 3 or len(b) != 3 or a[0] != b[0] or a[2] != b[1]:
        raise ShapeError(
            f"bmm: needs (b, n, m) and (b, m, p), got {list(a)} and {list(b)}. Hint: matmul broadcasts batches"
        )
    return (a[0], a[1], b[2])


@op(shape=_batched, dtype="same")
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of matrices in two batches of equal length: (b, n, m) @ (b, m, p) -> (b, n, p)."""
    raise Primitive


bmm.vjp(
    input=lambda g, mat2: bmm(g, _adjoint(mat2)),
    mat2=lambda g, input: bmm(_adjoint(input), g),
)


def product_shape(a: Shape, b: Shape) -> Shape:
    """Shape rule of matmul."""
    if not a or not b:
        raise ShapeError(
            f"matmul: both arguments need to be at least 1-D, but they are {len(a)}-D and {len(b)}-D. Hint: a * b"
        )
    if a[-1] != b[-2 if len(b) > 1 else 0]:
        if len(a) == 2 and len(b) == 2:
            rule = f"mat1 and mat2 shapes cannot be multiplied ({a[0]}x{a[1]} and {b[0]}x{b[1]})"
        else:
            rule = "needs a.shape[-1] == b.shape[-2]"
        hint = " Hint: b.mT" if len(b) > 1 and a[-1] == b[-1] else ""
        raise ShapeError(
            f"matmul: {rule}, got {a[-1]} != {b[-2 if len(b) > 1 else 0]} (a: {a}; b: {b}).{hint}"
        )
    batch = tuple(broadcast_shapes(a[:-2], b[:-2]))
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


@op(shape=product_shape, dtype="same", node="MmBackward0")
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product; vectors count as one row or column, leading dimensions broadcast as batches.

    Raises: ShapeError: a.shape[-1] differs from b.shape[-2].  DTypeError: the dtypes differ.

    Example:
        >>> import flambeau as fb
        >>> (fb.ones(2, 3) @ fb.ones(3, 4)).shape
        flambeau.Size([2, 4])
    """
    a, b = input, other
    product_shape(a._a.shape, b._a.shape)
    row, column = a.dim() == 1, b.dim() == 1
    a = unsqueeze(a, 0) if row else a
    b = unsqueeze(b, 1) if column else b
    batch = tuple(broadcast_shapes(a._a.shape[:-2], b._a.shape[:-2]))
    n, m, p = a._a.shape[-2], a._a.shape[-1], b._a.shape[-1]
    y = bmm(_folded(a, batch, n, m), _folded(b, batch, m, p))
    return reshape(y, (*batch, *(() if row else (n,)), *(() if column else (p,))))


def _folded(x: Tensor, batch: Shape, n: int, m: int) -> Tensor:
    return reshape(_expand(x, (*batch, n, m)), (math.prod(batch), n, m))


def _adjoint(x: Tensor) -> Tensor:
    """The last two dimensions exchanged, conjugated if complex."""
    rank = len(x._a.shape)
    x = _permute(x, (1, 0) if rank == 2 else (*range(rank - 2), rank - 1, rank - 2))
    return conj_physical(x) if x._kind.dtype.is_complex else x


def _left(g: Tensor, other: Tensor, input_shape: Shape) -> Tensor:
    other_rank, rank = len(other._a.shape), len(input_shape)
    if other_rank == 2 and rank == 2:
        return matmul(g, _adjoint(other))
    if other_rank == 1:
        if rank == 1:
            return _times(g, other)
        g, other = unsqueeze(g, -1), unsqueeze(other, -1)
    if rank == 1:
        g = unsqueeze(g, -2)
    out = matmul(g, _adjoint(other))
    shape = out._a.shape
    return _fit(reshape(out, (*shape[:-2], shape[-1])) if rank == 1 else out, input_shape)


def _right(g: Tensor, input: Tensor, other_shape: Shape) -> Tensor:
    rank, other_rank = len(input._a.shape), len(other_shape)
    if other_rank == 2 and rank == 2:
        return matmul(_adjoint(input), g)
    if other_rank == 1:
        if rank == 1:
            return _times(g, input)
        g = unsqueeze(g, -1)
    if rank == 1:
        g, input = unsqueeze(g, -2), unsqueeze(input, -2)
    if other_rank <= 2 and rank > 2:
        # one product over all batches instead of a sum of products
        rows = math.prod(input._a.shape[:-1])
        input, g = reshape(input, (rows, input._a.shape[-1])), reshape(g, (rows, g._a.shape[-1]))
    out = matmul(_adjoint(input), g)
    return _fit(reshape(out, out._a.shape[:-1]) if other_rank == 1 else out, other_shape)


def _fit(g: Tensor, shape: Shape) -> Tensor:
    return g if g._a.shape == shape else sum_to(g, shape)


matmul.vjp(input=_left, other=_right)


def check_rank(op: str, name: str, x: Any, rank: int) -> None:
    """Raise ShapeError unless x has `rank` dimensions."""
    if not isinstance(x, Tensor):
        raise ArgumentError(f"{op}(): argument '{name}' must be Tensor, not {type(x).__name__}")
    if len(x._a.shape) != rank:
        raise ShapeError(
            f"{op}: {name} must be {rank}-D, got {describe(x)}. Hint: matmul takes any rank from 1 on"
        )


def _same_dtype(op: str, a: Tensor, b: Tensor) -> None:
    if a._kind.dtype is not b._kind.dtype:
        raise DTypeError(
            f"{op}: expected both tensors to have the same dtype, but found {describe(a)} and {describe(b)}. "
            f"Hint: x.to({a._kind.dtype!r})"
        )


# ---- named products
def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Product of two matrices: (n, m) @ (m, p) -> (n, p).

    Raises: ShapeError: not two matrices, or sizes that do not match.
    """
    check_rank("mm", "input", input, 2)
    check_rank("mm", "mat2", mat2, 2)
    return matmul(input, mat2, out=out)


def mv(input: Tensor, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Product of a matrix and a vector: (n, m) @ (m,) -> (n,).

    Raises: ShapeError: not a matrix and a vector, or sizes that do not match.
    """
    check_rank("mv", "input", input, 2)
    check_rank("mv", "vec", vec, 1)
    if input._a.shape[1] != vec._a.shape[0]:
        raise ShapeError(
            f"mv: size mismatch, got input ({input._a.shape[0]}x{input._a.shape[1]}), vec ({vec._a.shape[0]}) "
            f"(input: {describe(input)}; vec: {describe(vec)})"
        )
    return matmul(input, vec, out=out)


def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Inner product of two vectors.

    Raises: ShapeError: not two vectors of one length.  DTypeError: two dtypes.

    Example:
        >>> import flambeau as fb
        >>> fb.dot(fb.tensor([2, 3]), fb.tensor([2, 1]))
        tensor(7)
    """
    for x in (input, tensor):
        if not isinstance(x, Tensor):
            raise ArgumentError(f"dot(): argument 'tensor' must be Tensor, not {type(x).__name__}")
    a, b = input._a.shape, tensor._a.shape
    if len(a) != 1 or len(b) != 1:
        raise ShapeError(
            f"dot: 1D tensors expected, but got {len(a)}D and {len(b)}D tensors. Hint: (a * b).sum()"
        )
    if a != b:
        raise ShapeError(
            f"dot: inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the same number of "
            f"elements, but got {a[0]} and {b[0]} elements respectively"
        )
    return matmul(input, tensor, out=out)


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Inner product of two vectors, the first conjugated.

    Raises: ShapeError, DTypeError: as for dot.
    """
    return dot(conj_physical(input) if input._kind.dtype.is_complex else input, other, out=out)


def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last dimensions: (*a, n) and (*b, n) -> (*a, *b).

    Raises: ShapeError: the last dimensions differ.
    """
    a, b = input._a.shape, other._a.shape
    if not a or not b:
        return mul(input, other, out=out)
    if a[-1] != b[-1]:
        raise ShapeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(a)} and {list(b)}"
        )
    return tensordot(input, other, ([len(a) - 1], [len(b) - 1]), out=out)


def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """All products of the elements of two vectors: (n,) and (m,) -> (n, m).

    Raises: ShapeError: not two vectors.
    """
    for name, x in (("input", input), ("vec2", vec2)):
        if len(x._a.shape) != 1:
            raise ShapeError(
                f"outer: Expected 1-D argument {name}, but got {len(x._a.shape)}-D ({describe(x)})"
            )
    return mul(unsqueeze(input, 1), vec2, out=out)


# ---- products added to something
def _added(
    op: str, input: Tensor, product: Tensor, beta: Any, alpha: Any, out: Tensor | None
) -> Tensor:
    """beta * input + alpha * product; nothing of input, nan neither, where beta is 0."""
    shape = product._a.shape
    try:
        fits = broadcast_two(input._a.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{op}: The expanded size of the tensor must match the product's: input {describe(input)} "
            f"does not expand to {list(shape)}"
        )
    _same_dtype(op, input, product)
    if alpha != 1:
        product = mul(product, alpha)
    if beta == 0:
        return product if out is None else write_out(product, out)
    return add(input if beta == 1 else mul(input, beta), product, out=out)


def addmm(
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2).

    Raises: ShapeError: mat1 and mat2 are no matrices that match, or input does not expand to their product.
    """
    check_rank("addmm", "mat1", mat1, 2)
    check_rank("addmm", "mat2", mat2, 2)
    return _added("addmm", input, matmul(mat1, mat2), beta, alpha, out)


def addmv(
    input: Tensor,
    mat: Tensor,
    vec: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    return _added("addmv", input, mv(mat, vec), beta, alpha, out)


def addr(
    input: Tensor,
    vec1: Tensor,
    vec2: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    return _added("addr", input, outer(vec1, vec2), beta, alpha, out)


def baddbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * bmm(batch1, batch2)."""
    return _added("baddbmm", input, bmm(batch1, batch2), beta, alpha, out)


def addbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * the sum of bmm(batch1, batch2) over the batch."""
    check_rank("addbmm", "batch1", batch1, 3)
    check_rank("addbmm", "batch2", batch2, 3)
    _batched(batch1._a.shape, batch2._a.shape)
    b, n, m = batch1._a.shape
    # the sum over the batch is part of one product
    side = reshape(_permute(batch1, (1, 0, 2)), (n, b * m))
    return _added(
        "addbmm",
        input,
        matmul(side, reshape(batch2, (b * m, batch2._a.shape[2]))),
        beta,
        alpha,
        out,
    )


# ---- products of many, and over chosen dimensions
def chain_matmul(*matrices: Any, out: Tensor | None = None) -> Tensor:
    """Product of several matrices, in the order that needs the fewest multiplications.

    Raises: ShapeError: no matrix given, or sizes that do not match.
    """
    chain = (
        list(matrices[0])
        if len(matrices) == 1 and not isinstance(matrices[0], Tensor)
        else list(matrices)
    )
    if not chain:
        raise ShapeError("chain_matmul(): Expected one or more matrices")
    for i, x in enumerate(chain):
        check_rank("chain_matmul", f"matrices[{i}]", x, 2)
    y = _in_best_order(chain) if len(chain) > 1 else chain[0]
    return y if out is None else write_out(y, out)


def _in_best_order(chain: list[Tensor]) -> Tensor:
    """The textbook dynamic programme over where to split the chain."""
    sizes = [x._a.shape[0] for x in chain] + [chain[-1]._a.shape[1]]
    n = len(chain)
    cost: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j] = min(
                (cost[i, k][0] + cost[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return chain[i]
        k = cost[i, j][1]
        return matmul(product(i, k), product(k + 1, j))

    return product(0, n - 1)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last dims dimensions of a and the first of b, or over two lists of dimensions.

    Raises: ShapeError: dimensions that are summed over differ in size, or the lists in length.

    Example:
        >>> import flambeau as fb
        >>> fb.tensordot(fb.ones(2, 3, 4), fb.ones(4, 3), dims=([2, 1], [0, 1])).shape
        flambeau.Size([2])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise ShapeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise ShapeError(
                f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims} (a: {describe(a)}; b: {describe(b)})"
            )
        dims = (list(range(a.dim() - dims, a.dim())), list(range(dims)))
    first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(first) != len(second):
        raise ShapeError(
            f"tensordot: both dimension lists should have same length, got {first} and {second}"
        )
    first = [wrap_dim(d, a.dim(), "tensordot") for d in first]
    second = [wrap_dim(d, b.dim(), "tensordot") for d in second]
    for i, j in zip(first, second, strict=True):
        m, n = a._a.shape[i], b._a.shape[j]
        if m != n and m != 1 and n != 1:
            raise ShapeError(
                f"tensordot: contracted dimensions need to match, but first has size {m} in dim {i} and "
                f"second has size {n} in dim {j} (a: {describe(a)}; b: {describe(b)})"
            )
        if m != n:  # a size of 1 counts for all: sum the other side first
            a, b = (a, _sum(b, j, True)) if m == 1 else (_sum(a, i, True), b)
    rest_a = [d for d in range(a.dim()) if d not in first]
    rest_b = [d for d in range(b.dim()) if d not in second]
    shape = tuple(a._a.shape[d] for d in rest_a), tuple(b._a.shape[d] for d in rest_b)
    count = math.prod(a._a.shape[d] for d in first)
    left = reshape(_permute(a, (*rest_a, *first)), (math.prod(shape[0]), count))
    right = reshape(_permute(b, (*second, *rest_b)), (count, math.prod(shape[1])))
    y = reshape(matmul(left, right), shape[0] + shape[1])
    return y if out is None else write_out(y, out)


def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Kronecker product: every element of input times the whole of other, as blocks."""
    rank = max(input.dim(), other.dim())
    a = (1,) * (rank - input.dim()) + tuple(input._a.shape)
    b = (1,) * (rank - other.dim()) + tuple(other._a.shape)
    left = reshape(input, tuple(n for m in a for n in (m, 1)))
    right = reshape(other, tuple(n for m in b for n in (1, m)))
    y = reshape(mul(left, right), tuple(m * n for m, n in zip(a, b, strict=True)))
    return y if out is None else write_out(y, out)


def cross(
    input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Cross product of vectors of 3 elements along dim (the first dimension of size 3 unless given).

    Raises: ShapeError: no dimension of size 3, or shapes that do not broadcast.
    """
    if input.dim() != other.dim():
        raise ShapeError(
            f"cross: inputs must have the same number of dimensions (input: {describe(input)}; "
            f"other: {describe(other)})"
        )
    shape = tuple(broadcast_shapes(input._a.shape, other._a.shape))
    if dim is None:
        if 3 not in shape:
            raise ShapeError(
                f"cross: no dimension of size 3 in input, got {describe(input)} and {describe(other)}"
            )
        dim = shape.index(3)
    at = wrap_dim(dim, len(shape), "cross")
    if input._a.shape[at] != 3 or other._a.shape[at] != 3:
        raise ShapeError(
            f"cross: inputs dimension {dim} must have length 3. Got {input._a.shape[at]} and {other._a.shape[at]}"
        )
    a, b = (x if x._a.shape == shape else _expand(x, shape) for x in (input, other))
    y = sub(
        mul(_turned(a, at, 1), _turned(b, at, 2)),
        mul(_turned(a, at, 2), _turned(b, at, 1)),
        out=out,
    )
    return y


def _turned(x: Tensor, dim: int, start: int) -> Tensor:
    """The three parts along dim, beginning with another one."""
    return cat([narrow(x, dim, start, 3 - start), narrow(x, dim, 0, start)], dim)


def matrix_power(input: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """Product of n copies of square matrices; the identity for n = 0. Negative n are powers of the inverse.

    Raises: ShapeError: the matrices are not square.
    """
    shape = input._a.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ShapeError(
            f"matrix_power: A must be batches of square matrices, got {describe(input)}"
        )
    if n < 0:
        import flambeau

        input, n = flambeau.linalg.inv(input), -n  # type: ignore[attr-defined]
    y = _power(input, n) if n else _identity(input)
    return y if out is None else write_out(y, out)


def _power(x: Tensor, n: int) -> Tensor:
    y: Tensor | None = None
    while True:
        if n % 2:
            y = x if y is None else matmul(y, x)
            if n == 1:
                return y
        x, n = matmul(x, x), n // 2


def _identity(x: Tensor) -> Tensor:
    from flambeau.ops.creation import eye

    size = x._a.shape[-1]
    return add(mul(x, 0), eye(size, dtype=x.dtype, device=x.device))


def trace(input: Tensor) -> Tensor:
    """Sum of a matrix's diagonal.

    Raises: ShapeError: not a matrix.
    """
    from flambeau.ops.diagonal import diagonal

    if input.dim() != 2:
        raise ShapeError(
            f"trace: expected a matrix, but got tensor with dim {input.dim()} ({describe(input)})"
        )
    return _sum(diagonal(input))


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged and complex numbers conjugated.

    Raises: ShapeError: fewer than two dimensions.
    """
    if input.dim() < 2:
        raise ShapeError(f"adjoint: needs at least 2 dimensions, got {describe(input)}")
    return _adjoint(input)


def H(input: Tensor) -> Tensor:
    """The conjugate transpose of a matrix.

    Raises: ShapeError: neither a matrix nor 0-d.
    """
    if input.dim() not in (0, 2):
        raise ShapeError(
            f"H: supported only on matrices (2-D tensors), got {describe(input)}. Hint: x.mH"
        )
    return _adjoint(input) if input.dim() else input


def mH(input: Tensor) -> Tensor:
    """The last two dimensions exchanged and complex numbers conjugated."""
    return adjoint(input)


PUBLIC = Public(
    both="bmm matmul mm mv dot vdot inner outer addmm addmv addr baddbmm addbmm kron cross matrix_power trace adjoint",
    functions="chain_matmul tensordot",
    inplace="addmm addmv addr baddbmm addbmm",
    properties="H mH",
    aliases={"ger": "outer"},
)
