"""Ready parametrizations: weight norm, spectral norm, orthogonal matrices."""

from __future__ import annotations

import math
from typing import Any

import flambeau as fb
from flambeau.autograd.modes import no_grad
from flambeau.errors import FlambeauError
from flambeau.nn.functional._norm import normalize
from flambeau.nn.modules._module import Module
from flambeau.nn.utils import parametrize
from flambeau.tensor import Tensor, describe


class ConstraintError(FlambeauError, ValueError):
    """A tensor that cannot be constrained in this way."""


def norm_except_dim(v: Any, dim: int | None) -> Any:
    """Norms over all dimensions but dim, kept as size 1; over all for None or -1."""
    if dim is None or dim == -1:
        return v.norm()
    rank = len(v._a.shape)
    dims = tuple(i for i in range(rank) if i != dim % rank)
    return v.norm(2, dims, keepdim=True) if dims else v.abs()


class _WeightNorm(Module):
    """g v / ||v||."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split a weight into its norms (original0) and directions (original1). Reference: Salimans, Kingma 2016."""
    return parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """weight / its largest singular value, estimated by power iteration, one step at each use in training."""

    def __init__(
        self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        rank = len(weight._a.shape)
        if dim >= rank or dim < -rank:
            raise ConstraintError(
                f"Dimension out of range (expected to be in range of [-{rank}, {rank - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ConstraintError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % rank, eps, n_power_iterations
        if rank > 1:
            matrix = self._matrix(weight.detach())
            self.register_buffer(
                "_u",
                normalize(
                    fb.randn(matrix._a.shape[0], dtype=weight.dtype, device=weight.device),
                    dim=0,
                    eps=eps,
                ),
            )
            self.register_buffer(
                "_v",
                normalize(
                    fb.randn(matrix._a.shape[1], dtype=weight.dtype, device=weight.device),
                    dim=0,
                    eps=eps,
                ),
            )
            self._iterate(matrix, 15)

    def _matrix(self, weight: Any) -> Any:
        if self.dim:
            weight = weight.movedim(self.dim, 0)
        return weight.flatten(1)

    def _iterate(self, matrix: Any, times: int) -> None:
        with no_grad():
            u: Any = self._u
            v: Any = self._v
            for _ in range(times):
                u.copy_(normalize(matrix @ v, dim=0, eps=self.eps))
                v.copy_(normalize(matrix.mT @ u, dim=0, eps=self.eps))

    def forward(self, weight: Any) -> Any:
        if len(weight._a.shape) == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / (u * (matrix @ v)).sum()

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value. Reference: Miyato et al. 2018, arXiv:1802.05957."""
    from flambeau.nn.modules import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ConstraintError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0
    return parametrize.register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )


class _Orthogonal(Module):
    """Cayley's or the exponential map of a skew-symmetric matrix, times a base."""

    def __init__(self, weight: Any, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.map = orthogonal_map
        self.register_buffer("base", None)
        if use_trivialization:
            self.base = _nearest(weight.detach())

    def forward(self, x: Any) -> Any:
        n, k = x._a.shape[-2:]
        turn = n < k
        if turn:
            x, n, k = x.mT, k, n
        if self.map == "householder":
            return self._reflections(x).mT if turn else self._reflections(x)
        a = x.tril()
        if n != k:
            wide = fb.zeros((*a._a.shape[:-1], n - k), dtype=a.dtype, device=a.device)
            a = fb.cat([a, wide], -1)
        a = a - a.mT
        eye = fb.eye(n, dtype=a.dtype, device=a.device)
        if self.map == "cayley":
            q = fb.matmul(_inverse(eye - a * 0.5), eye + a * 0.5)
        else:
            q = _matrix_exp(a)
        if self.base is not None:
            q = self.base @ q
        q = q[..., :k]
        return q.mT if turn else q

    def _reflections(self, x: Any) -> Any:
        """A product of Householder reflections: columns below a diagonal of ones; x's diagonal holds the signs."""
        n, k = x._a.shape[-2:]
        q = fb.eye(n, dtype=x.dtype, device=x.device)
        lower = x.tril(-1) + fb.eye(n, k, dtype=x.dtype, device=x.device)
        for i in range(k):
            v = lower[..., i].unsqueeze(-1)
            q = q @ (
                fb.eye(n, dtype=x.dtype, device=x.device)
                - 2 * (v @ v.mT) / (v * v).sum(-2, keepdim=True)
            )
        signs = x.detach().diagonal(dim1=-2, dim2=-1).trunc()
        q = q[..., :k] * signs.unsqueeze(-2)
        return q if self.base is None else self.base @ q

    def right_inverse(self, value: Any) -> Any:
        if self.base is not None:
            self.base = _nearest(value.detach())
            # The diagonal is the reflections' signs: with these, what is without reflections is the base.
            return -fb.eye(*value._a.shape[-2:], dtype=value.dtype, device=value.device).expand(
                value._a.shape
            )
        if self.map == "householder":
            return _reflectors(value)
        raise NotImplementedError(
            "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
            "use_trivialization=False."
        )


def _reflectors(value: Any) -> Any:
    """What `_reflections` makes value of: LAPACK's reflectors under a diagonal of signs."""
    import numpy as np

    turn = value._a.shape[-2] < value._a.shape[-1]
    array = (value.mT if turn else value).detach().cpu().numpy().astype(np.float64)
    packed, scale = np.linalg.qr(array, mode="raw")
    a = np.swapaxes(packed, -2, -1).copy()
    k = a.shape[-1]
    signs = np.sign(a[..., range(k), range(k)])
    a[..., range(k), range(k)] = np.where(scale == 0, -signs, signs)
    found = fb.tensor(a, dtype=value.dtype, device=value.device)
    return found.mT if turn else found


def _inverse(m: Any) -> Any:
    """The inverse by Newton's iteration X (2 - M X), from M^T over its norms; for well-conditioned matrices.

    Reference: Ben-Israel, Cohen 1966, "On iterative computation of generalized inverses".
    """
    eye = fb.eye(m._a.shape[-1], dtype=m.dtype, device=m.device)
    size = m.detach().abs()
    x = m.mT / (size.sum(-1).max() * size.sum(-2).max())
    for _ in range(60):
        x = fb.matmul(x, 2 * eye - fb.matmul(m, x))
        if float((fb.matmul(m, x).detach() - eye).abs().max()) < 1e-6:
            break
    return fb.matmul(x, 2 * eye - fb.matmul(m, x))


def _matrix_exp(a: Any) -> Any:
    """exp(a) by scaling and squaring: the Taylor series to order 12 of a / 2^s, whose norm is below a half."""
    size = float(a.detach().abs().sum(-1).max())
    squarings = max(0, math.ceil(math.log2(size)) + 1) if size > 0 else 0
    x = a * 2.0**-squarings
    term = total = fb.eye(a._a.shape[-1], dtype=a.dtype, device=a.device)
    for k in range(1, 13):
        term = fb.matmul(term, x) / k
        total = total + term
    for _ in range(squarings):
        total = fb.matmul(total, total)
    return total


def _nearest(value: Any) -> Any:
    """A square orthogonal matrix whose first columns (or rows) are value's, orthonormalised."""
    import numpy as np

    matrix = value.mT if value._a.shape[-2] < value._a.shape[-1] else value
    array = matrix.cpu().numpy().astype(np.float64)
    q, r = np.linalg.qr(array, mode="complete")
    signs = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
    k = array.shape[-1]
    q[..., :k] = q[..., :k] * np.where(signs == 0, 1, signs)[..., None, :]
    return fb.tensor(q, dtype=value.dtype, device=value.device)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a weight's matrix orthogonal (or its columns or rows orthonormal).

    Args: orthogonal_map: "matrix_exp", "cayley" or "householder"; by default "matrix_exp" for square matrices.
    Raises: ConstraintError: no such tensor, fewer than two dimensions, or an unknown map.
    Reference: Lezcano-Casado 2019, arXiv:1909.09501.
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ConstraintError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if len(weight._a.shape) < 2:
        raise ConstraintError(
            f"Expected a matrix or batch of matrices. Got a tensor of {len(weight._a.shape)} dimensions "
            f"({describe(weight)})."
        )
    if orthogonal_map is None:
        square = weight._a.shape[-2] == weight._a.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ConstraintError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    return parametrize.register_parametrization(
        module, name, _Orthogonal(weight, orthogonal_map, use_trivialization), unsafe=True
    )
