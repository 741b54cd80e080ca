"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flambeau.autograd.state import state as _modes
from flambeau.ops.creation import zeros_like
from flambeau.ops.extremes import amax
from flambeau.ops.join import cat
from flambeau.ops.movement import reshape
from flambeau.optim._line_search import strong_wolfe
from flambeau.optim._rules import Group, Lr, as_real, check_lr, number, require
from flambeau.optim.optimizer import Optimizer
from flambeau.tensor import Tensor


class LBFGS(Optimizer):
    """Newton's method with the inverse Hessian estimated from the last gradients: for problems without noise.

    `step` needs a closure that clears the gradients, computes the loss, calls backward() and returns the loss; one step
    runs up to max_iter iterations. All parameters are one group, on one device.

    Args: lr: step length (the first guess of the line search), >= 0.  max_iter: iterations per step.
        max_eval: closure calls per step (None: 1.25 * max_iter).  tolerance_grad: stop where no gradient is larger.
        tolerance_change: stop where neither loss nor parameters change by more.  history_size: gradients kept.
        line_search_fn: "strong_wolfe" or None.
    Raises: OptimizerError: a value outside its range, several groups, or no closure.
    Reference: Nocedal, Wright 2006, "Numerical optimization", algorithms 7.4, 3.5 and 3.6; as in
        minFunc (Schmidt 2005).

    Example:
        >>> import flambeau as fb
        >>> x = fb.tensor([3.0, -2.0], requires_grad=True)
        >>> opt = fb.optim.LBFGS([x], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     opt.zero_grad()
        ...     loss = ((x - 1) ** 2).sum()
        ...     loss.backward()
        ...     return loss
        >>> opt.step(closure)
        tensor(13., grad_fn=<SumBackward0>)
        >>> x
        tensor([1.0000, 1.0000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Lr = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        require(
            line_search_fn in (None, "strong_wolfe"),
            f"only 'strong_wolfe' is supported, got {line_search_fn!r}",
        )
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_eval, "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change, "history_size": history_size, "line_search_fn":
            line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Take the only group."""
        require(
            not self.param_groups, "LBFGS doesn't support per-parameter options (parameter groups)"
        )
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run up to max_iter iterations.

        Args: closure: clears gradients, computes the loss, calls backward() and returns the loss.
        Returns: the loss before the step.
        """
        if closure is None:
            require(
                False,
                "LBFGS: step() needs a closure. Hint: opt.step(closure), where closure recomputes the loss",
            )
        before = _modes.grad
        _modes.grad = False
        try:
            return self._minimize(lambda: _with_grad(closure))
        finally:
            _modes.grad = before

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        memory = _Memory(state, group["history_size"])
        first = closure()
        loss, grad = float(first), self._flat_grad()
        evals = 1
        memory.count("func_evals", 1)
        memory.count("n_iter", 0)
        if _largest(grad) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            memory.count("n_iter", 1)
            direction = memory.direction(grad)
            lr = number(group["lr"])
            t = min(1.0, 1.0 / grad.abs().sum().item()) * lr if state["n_iter"] == 1 else lr
            slope = _dot(grad, direction)
            state["prev_flat_grad"], state["prev_loss"], previous = grad, loss, loss
            state["d"], state["t"] = direction, t
            if slope > -group["tolerance_change"]:
                break
            used = 0
            if group["line_search_fn"] is not None:
                start = [p.clone() for p in group["params"]]

                def at(
                    length: float, start: Any = start, direction: Tensor = direction
                ) -> tuple[float, Tensor]:
                    self._move(length, direction)
                    found = float(closure()), self._flat_grad()
                    for p, value in zip(group["params"], start, strict=True):
                        p.copy_(value)
                    return found

                budget = group["max_eval"] - evals
                loss, grad, t, used = strong_wolfe(
                    at, t, direction, loss, grad, slope, max_evals=budget
                )
                self._move(t, direction)
                state["t"] = t
            else:
                self._move(t, direction)
                if iteration != group["max_iter"]:
                    loss, grad, used = float(closure()), self._flat_grad(), 1
            evals += used
            memory.count("func_evals", used)
            if evals >= group["max_eval"] or _largest(grad) <= group["tolerance_grad"]:
                break
            change = group["tolerance_change"]
            if _largest(direction) * t <= change or abs(loss - previous) < change:
                break
        return first

    def _flat_grad(self) -> Tensor:
        grads = (
            p._grad if p._grad is not None else zeros_like(p)
            for p in self.param_groups[0]["params"]
        )
        return cat([reshape(_real(g), (-1,)) for g in grads])

    def _move(self, length: float, direction: Any) -> None:
        start = 0
        for param in self.param_groups[0]["params"]:
            p = _real(param)
            end = start + p.numel()
            p.add_(reshape(direction[start:end], p._a.shape), alpha=length)
            start = end


class _Memory:
    """The estimated inverse Hessian: differences of gradients (old_dirs) and of positions, in the state."""

    def __init__(self, state: dict[str, Any], size: int) -> None:
        self.state, self.size = state, size
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

    def count(self, what: str, by: int) -> None:
        self.state[what] += by

    def direction(self, grad: Tensor) -> Any:
        """Minus the inverse Hessian times the gradient."""
        state = self.state
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -grad
        dirs, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = _dot(y, s)
        if curvature > 1e-10:
            if len(dirs) == self.size:
                for kept in (dirs, steps, ro):
                    kept.pop(0)
            dirs.append(y)
            steps.append(s)
            ro.append(1.0 / curvature)
            state["H_diag"] = curvature / _dot(y, y)
        al = state.setdefault("al", [None] * self.size)
        q: Any = -grad
        for i in reversed(range(len(dirs))):
            al[i] = _dot(steps[i], q) * number(ro[i])
            q.add_(dirs[i], alpha=-al[i])
        q = q * number(state["H_diag"])
        for i in range(len(dirs)):
            q.add_(steps[i], alpha=al[i] - _dot(dirs[i], q) * number(ro[i]))
        return q


def _with_grad(closure: Any) -> Any:
    _modes.grad = True
    try:
        return closure()
    finally:
        _modes.grad = False


def _real(x: Tensor) -> Any:
    if not x.is_complex():
        return x
    return as_real(x)


def _dot(a: Any, b: Any) -> Any:
    return (a * b).sum().item()


def _largest(x: Any) -> Any:
    return amax(x.abs()).item()
