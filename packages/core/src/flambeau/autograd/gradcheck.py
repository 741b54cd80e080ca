"""Numerical checks of derivatives by central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.engine import grad
from flambeau.errors import ArgumentError, GradError
from flambeau.tensor import Tensor, describe, host, wrap


class GradcheckError(GradError):
    """The analytical gradient differs from the numerical one."""


def _outputs(fn: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    """The differentiable outputs; a complex one as its two real parts."""
    out = fn(*inputs)
    found = [o for o in (out if isinstance(out, tuple | list) else (out,)) if isinstance(o, Tensor)]
    parts: list[Tensor] = []
    for o in found:
        if o._g is not None:
            parts += (o.real, o.imag) if o._kind.dtype.is_complex else (o,)
    return parts


def _differentiable(inputs: Sequence[Any]) -> list[int]:
    return [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x._g is not None]


def _with(inputs: Sequence[Any], i: int, array: Any) -> list[Any]:
    """The inputs with input i replaced by values from a host array."""
    x = inputs[i]
    replaced = wrap(x._kind.k["from_host"](np.array(array)), x._kind).requires_grad_()
    return [replaced if j == i else v for j, v in enumerate(inputs)]


def _numerical(
    fn: Callable[..., Any], inputs: Sequence[Any], i: int, eps: float
) -> list[np.ndarray[Any, Any]]:
    """Jacobians (input elements x output elements) by central differences; complex inputs get d/dRe + i d/dIm."""
    base = np.array(host(inputs[i].detach()))
    steps = [eps, 1j * eps] if base.dtype.kind == "c" else [eps]
    rows: list[list[Any]] = []
    for at in np.ndindex(base.shape):
        total: list[Any] | None = None
        for step in steps:
            high, low = base.copy(), base.copy()
            high[at] += step
            low[at] -= step
            up, down = _outputs(fn, _with(inputs, i, high)), _outputs(fn, _with(inputs, i, low))
            slopes = [
                (np.array(host(a.detach())).ravel() - np.array(host(b.detach())).ravel())
                / (2 * eps)
                for a, b in zip(up, down, strict=True)
            ]
            unit = step / eps
            part = [
                (s.real * unit if s.dtype.kind != "c" else s) if len(steps) == 1 else (s, unit)
                for s in slopes
            ]
            total = part if total is None else [(t, p) for t, p in zip(total, part, strict=True)]
        rows.append(total or [])
    if not rows:
        return []
    return [np.stack([np.asarray(_join(r[k])) for r in rows]) for k in range(len(rows[0]))]


def _join(part: Any) -> Any:
    """What a real loss's gradient at a complex input is: dL/dRe + i dL/dIm, for real outputs."""
    if isinstance(part, tuple):
        (re, _), (im, _) = part
        return re + 1j * im
    return part


def _analytical(outs: list[Tensor], x: Tensor, create: bool = False) -> list[np.ndarray[Any, Any]]:
    jacobians = []
    for out in outs:
        columns = []
        for at in np.ndindex(tuple(out._a.shape)):
            seed = np.zeros(tuple(out._a.shape), out.dtype.numpy)
            seed[at] = 1
            v = wrap(out._kind.k["from_host"](seed), out._kind)
            g = grad(out, x, v, retain_graph=True, allow_unused=True)[0]
            columns.append(np.zeros(x.numel()) if g is None else np.array(host(g.detach())).ravel())
        jacobians.append(np.stack(columns, 1) if columns else np.zeros((x.numel(), 0)))
    return jacobians


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_batched_grad: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Compare func's gradients with central differences of step eps.

    Args: inputs: a tensor or a tuple; those that require grad should be float64 or complex128.
        atol, rtol: allowed difference, absolute and relative to the numerical value.
    Raises: GradcheckError: they differ and raise_exception is set.  ArgumentError: no input requires grad.

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor([0.5, 1.0], dtype=fb.float64, requires_grad=True)
        >>> fb.autograd.gradcheck(fb.sin, (x,))
        True
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    at = _differentiable(inputs)
    if not at:
        raise ArgumentError(
            "gradcheck expects at least one input tensor to require gradient. Hint: requires_grad_()"
        )
    outs = _outputs(func, inputs)
    for i in at:
        numbers = _numerical(func, inputs, i, eps)
        for k, (n, a) in enumerate(zip(numbers, _analytical(outs, inputs[i]), strict=False)):
            if np.allclose(a, n, rtol, atol, equal_nan=False):
                continue
            if not raise_exception:
                return False
            raise GradcheckError(
                f"Jacobian mismatch for output {k} with respect to input {i} ({describe(inputs[i])}):\n"
                f"numerical:\n{n}\nanalytical:\n{a}"
            )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    gen_non_contig_grad_outputs: bool = False,
    nondet_tol: float = 0.0,
) -> bool:
    """Compare the gradients of func's gradients with central differences.

    Args: grad_outputs: with respect to which the first gradients are taken; fixed pseudo-random numbers if None.
    Raises: as gradcheck.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outs = _outputs(func, inputs)
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        grad_outputs = tuple(
            wrap(
                o._kind.k["from_host"](
                    np.asarray(rng.standard_normal(tuple(o._a.shape)), o.dtype.numpy)
                ),
                o._kind,
            ).requires_grad_()
            for o in outs
        )
    grad_outputs = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)
    count = len(inputs)

    def first(*args: Any) -> tuple[Tensor, ...]:
        xs, vs = args[:count], args[count:]
        wanted = [x for x in xs if isinstance(x, Tensor) and x._g is not None]
        made = _outputs(func, xs)
        got = grad(made, wanted, vs, create_graph=True, allow_unused=True)
        return tuple(g for g in got if g is not None and g._g is not None)

    if not first(*inputs, *grad_outputs):
        return True  # the gradient is constant
    return gradcheck(
        first,
        (*inputs, *grad_outputs),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
    )
