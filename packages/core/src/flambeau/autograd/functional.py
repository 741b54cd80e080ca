"""Derivatives of functions: Jacobians, Hessians and their products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.engine import grad
from flambeau.autograd.modes import enable_grad
from flambeau.errors import GradError
from flambeau.tensor import Tensor, describe


def _tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, Tensor) else tuple(x)


def _fresh(inputs: tuple[Any, ...], create_graph: bool) -> tuple[Any, ...]:
    """The inputs as starting points of a graph of their own, connected to the outer one if it shall be kept."""
    if create_graph:
        return tuple(
            x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs
        )
    return tuple(x.detach().requires_grad_() for x in inputs)


def _unwrap(results: tuple[Any, ...], single: bool) -> Any:
    return results[0] if single else results


def _done(x: Any, create_graph: bool) -> Any:
    return x if create_graph else x.detach()


def _zeros(x: Tensor) -> Tensor:
    from flambeau.ops.creation import zeros_like

    return zeros_like(x)  # type: ignore[no-any-return]


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """func's output and the product of v with its Jacobian.

    Args: v: of the output's shape; may be left out for a single-element output.
    Raises: GradError: v is missing, or strict is set and an output does not depend on an input.

    Example:
        >>> import flambeau as fb
        >>> fb.autograd.functional.vjp(lambda x: x * x, fb.tensor([1.0, 2.0]), fb.ones(2))
        (tensor([1., 4.]), tensor([2., 4.]))
    """
    single = isinstance(inputs, Tensor)
    with enable_grad():
        xs = _fresh(_tuple(inputs), create_graph)
        out = func(*xs)
        outs = _tuple(out)
        vs = (None,) * len(outs) if v is None else _tuple(v)
        grads = grad(outs, xs, vs, create_graph=create_graph, allow_unused=not strict)
    results = tuple(
        _zeros(x) if g is None else _done(g, create_graph) for x, g in zip(xs, grads, strict=True)
    )
    return _unwrap(tuple(_done(o, create_graph) for o in outs), isinstance(out, Tensor)), _unwrap(
        results, single
    )


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """func's output and the product of its Jacobian with v, by differentiating a vjp with respect to its vector."""
    from flambeau.ops.creation import ones_like

    with enable_grad():
        xs = _fresh(_tuple(inputs), create_graph)
        out = func(*xs)
        outs = _tuple(out)
        if v is None and not (len(xs) == 1 and xs[0].numel() == 1):
            raise GradError(
                "jvp: v can only be None for a single-element input. Hint: pass v of the input's shape"
            )
        vs = tuple(ones_like(x) for x in xs) if v is None else _tuple(v)
        dummies = tuple(_zeros(o).requires_grad_() for o in outs)
        pulled = grad(outs, xs, dummies, create_graph=True, allow_unused=True)
        used = [(p, t) for p, t in zip(pulled, vs, strict=True) if p is not None]
        if not used:
            return _unwrap(outs, isinstance(out, Tensor)), _unwrap(
                tuple(_zeros(o) for o in outs), isinstance(out, Tensor)
            )
        pushed = grad(
            [p for p, _ in used],
            dummies,
            [t for _, t in used],
            create_graph=create_graph,
            allow_unused=True,
        )
    results = tuple(
        _zeros(o) if g is None else _done(g, create_graph)
        for o, g in zip(outs, pushed, strict=True)
    )
    done = tuple(_done(o, create_graph) for o in outs)
    return _unwrap(done, isinstance(out, Tensor)), _unwrap(results, isinstance(out, Tensor))


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All derivatives of func's outputs with respect to its inputs: shape (*output, *input).

    Returns: a tensor; nested tuples [output][input] where there are several of either.
    """
    from flambeau.ops.creation import zeros_like
    from flambeau.ops.join import stack

    with enable_grad():
        xs = _fresh(_tuple(inputs), create_graph)
        out = func(*xs)
        rows = []
        for o in _tuple(out):
            flat = o.reshape(-1)
            per_input: list[list[Tensor]] = [[] for _ in xs]
            for i in range(flat.numel()):
                if flat._g is None:
                    grads: Any = (None,) * len(xs)
                else:
                    grads = grad(
                        flat[i], xs, retain_graph=True, create_graph=create_graph, allow_unused=True
                    )
                for column, g, x in zip(per_input, grads, xs, strict=True):
                    if g is None and strict:
                        raise GradError(
                            f"jacobian: output {i} is independent of an input ({describe(x)}), and strict is set"
                        )
                    column.append(zeros_like(x) if g is None else _done(g, create_graph))
            shape = tuple(o._a.shape)
            rows.append(
                tuple(
                    stack(c).reshape((*shape, *x._a.shape))
                    if c
                    else o.new_zeros((*shape, *x._a.shape))
                    for c, x in zip(per_input, xs, strict=True)
                )
            )
    single = isinstance(inputs, Tensor)
    return _unwrap(tuple(_unwrap(r, single) for r in rows), isinstance(out, Tensor))


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """All second derivatives of a scalar function: shape (*input, *input).

    Raises: GradError: func's output has more than one element.
    """
    single = isinstance(inputs, Tensor)

    def gradient(*xs: Any) -> Any:
        out = func(*xs)
        if not isinstance(out, Tensor) or out.numel() != 1:
            raise GradError(
                "hessian: the function must return a single-element tensor. Hint: .sum()"
            )
        grads = grad(out, xs, create_graph=True, allow_unused=True)
        return tuple(_zeros(x) if g is None else g for g, x in zip(grads, xs, strict=True))

    found = jacobian(gradient, _tuple(inputs), create_graph=create_graph, strict=strict)
    return found[0][0] if single else found


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """A scalar function's output and the product of v with its Hessian."""
    single = isinstance(inputs, Tensor)
    with enable_grad():
        xs = _fresh(_tuple(inputs), create_graph)
        out = func(*xs)
        first = grad(out, xs, create_graph=True, allow_unused=True)
        vs = _tuple(v) if v is not None else (None,) * len(xs)
        used = [
            (g, t) for g, t in zip(first, vs, strict=True) if g is not None and g._g is not None
        ]
        second = (
            grad(
                [g for g, _ in used],
                xs,
                [t for _, t in used],
                create_graph=create_graph,
                allow_unused=True,
            )
            if used
            else (None,) * len(xs)
        )
    results = tuple(
        _zeros(x) if g is None else _done(g, create_graph) for x, g in zip(xs, second, strict=True)
    )
    return _done(out, create_graph), _unwrap(results, single)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """A scalar function's output and the product of its Hessian with v: the same as vhp, as Hessians are symmetric."""
    return vhp(func, inputs, v, create_graph, strict)
