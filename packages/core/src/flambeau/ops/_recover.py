"""What the generated functions hand over: promotion, host values, decompositions, errors, in-place updates on
a tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import _late, dtypes
from flambeau.autograd.state import state
from flambeau.device import device as device_type
from flambeau.dtypes import dtype
from flambeau.errors import (
    ArgumentError,
    DTypeError,
    FlambeauError,
    IndexRangeError,
    OutOfMemoryError,
    ShapeError,
    UnsupportedOpError,
)
from flambeau.kinds import Kind, kind_of
from flambeau.shape import broadcast_complaint, broadcast_two
from flambeau.tensor import Tensor, describe, wrap

if TYPE_CHECKING:
    from flambeau.ops._op import Op

NUMBERS = (bool, int, float, complex)


def result_type(*values: Any) -> dtype:
    """The dtype of an operation on these tensors and numbers: tensors with dimensions outrank 0-d ones, these numbers.

    Example:
        >>> import flambeau as fb
        >>> fb.result_type(fb.ones(2, dtype=fb.int64), 1.5)
        flambeau.float32
    """
    with_dims: dtype | None = None
    zero_dim: dtype | None = None
    number: dtype | None = None
    for v in values:
        if isinstance(v, Tensor):
            d = v._kind.dtype
            if v._a.shape:
                with_dims = d if with_dims is None else dtypes.promote_types(with_dims, d)
            else:
                zero_dim = d if zero_dim is None else dtypes.promote_types(zero_dim, d)
        else:
            d = dtypes.of_scalar(v)
            number = d if number is None else dtypes.promote_types(number, d)
    found = dtypes.combine_categories(with_dims, dtypes.combine_categories(zero_dim, number))
    if found is None:
        raise ArgumentError("result_type: needs at least one tensor or number")
    return found


def common_device(
    name: str, tensors: Sequence[Tensor], op: Op | None = None, operands: Sequence[Any] = ()
) -> device_type:
    """The one device of the operands; 0-d tensors on the cpu go along with any.

    Args: name: of the operation.  op, operands: where the message finds the tensors' names, unless it finds the tensors
        among the arguments of the public function that is running.
    Raises: DeviceError: two devices.
    """
    chosen = tensors[0]
    for t in tensors[1:]:
        if t._kind.device is not chosen._kind.device and t._kind.device != chosen._kind.device:
            if not chosen._a.shape and chosen._kind.device.type == "cpu":
                chosen = t
            elif t._a.shape or t._kind.device.type != "cpu":
                from flambeau._live import two_devices

                raise two_devices(
                    name, chosen, t, (_name(op, operands, chosen), _name(op, operands, t))
                )
    return chosen._kind.device


def _name(op: Op | None, operands: Sequence[Any], t: Tensor) -> str:
    """What an op calls the operand t."""
    return next((p.name for p, v in zip(op.operands if op else (), operands) if v is t), "")


def _as_operand(op: Op, name: str, value: Any, param: str) -> Any:
    """A tensor or, where the op takes them, a Python number from what the user passed."""
    if isinstance(value, Tensor) or (value is None and param == "optional"):
        return value
    if not op.mixes:
        hint = (
            "flambeau.from_numpy(array)"
            if isinstance(value, np.ndarray)
            else "flambeau.tensor(...) makes one"
        )
        raise ArgumentError(
            f"{op.label}(): argument '{name}' must be Tensor, not {type(value).__name__}. Hint: {hint}"
        )
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        from flambeau.ops.creation import tensor

        return tensor(value)
    if isinstance(value, NUMBERS):
        if value.__class__ in NUMBERS:
            return value
        plain: Any = next(n for n in NUMBERS if isinstance(value, n))
        return plain(value)  # subclasses such as IntEnum
    raise ArgumentError(
        f"{op.label}(): argument '{name}' must be Tensor or a number, not {type(value).__name__}. "
        "Hint: flambeau.tensor(...) makes one from lists and arrays"
    )


def mix(op: Op, operands: tuple[Any, ...], attrs: tuple[Any, ...], out: Any = None) -> Any:
    """Run an op whose operands are not all of one kind: promote, move 0-d tensors, check devices, and call again."""
    if len(operands) == 2 and _knows_better(op, operands[1]):
        return NotImplemented
    values = [
        _as_operand(op, p.name, v, p.kind) for p, v in zip(op.operands, operands, strict=True)
    ]
    tensors = [v for v in values if isinstance(v, Tensor)]
    if not tensors:
        values[op.lead] = _number(op, op.operands[op.lead].name, values[op.lead])
        tensors = [values[op.lead]]
    kind = _target_kind(op, values, common_device(op.label, tensors, op, values))
    moved = [
        _to_kind(op, p.name, v, p.kind, kind) for p, v in zip(op.operands, values, strict=True)
    ]
    if not isinstance(moved[op.lead], Tensor):
        moved[op.lead] = wrap(kind.k["fill"]((), moved[op.lead], kind.dtype), kind)
    if all(a is b for a, b in zip(moved, operands, strict=True)):
        raise UnsupportedOpError(
            f"{op.label}: cannot combine {', '.join(describe(v) for v in operands)}"
        )
    named = {p.name: v for p, v in zip(op.attrs, attrs, strict=True)}
    return op.function(
        **{p.name: v for p, v in zip(op.operands, moved, strict=True)}, **named, out=out
    )


def _knows_better(op: Op, other: Any) -> bool:
    """Whether a foreign class brings the reflected operator, as `x + its_object` expects."""
    return not isinstance(other, (Tensor, *NUMBERS, np.generic, np.ndarray)) and hasattr(
        other, f"__r{op.label}__"
    )


def _target_kind(op: Op, values: list[Any], device: device_type) -> Kind:
    mixing = [
        v
        for v, p in zip(values, op.operands, strict=True)
        if v is not None and p.kind in ("tensor", "optional")
    ]
    if not op.mixes:
        d = mixing[0]._kind.dtype
        for p, v in zip(op.operands, values, strict=True):
            if v is not None and p.kind in ("tensor", "optional") and v._kind.dtype is not d:
                from flambeau._live import two_dtypes

                raise two_dtypes(op.label, mixing[0], v, (_name(op, values, mixing[0]), p.name))
    else:
        d = result_type(*mixing)
    if d.category < dtypes.FLOATING:
        if op.dtype == "inexact":
            d = dtypes.get_default_dtype()
        elif op.dtype == "floating":
            raise DTypeError(
                f"{_called(op)}: not implemented for {d.name}, got {_all(tuple(values))}. Hint: x.float()"
            )
    return kind_of(device, d)


def _called(op: Op) -> str:
    """The public function that ran into an op, else the op."""
    from flambeau._live import called

    return called(op.label)


def _number(op: Op, name: str, value: Any) -> Tensor:
    if value.__class__ not in NUMBERS:
        raise ArgumentError(
            f"{op.label}(): argument '{name}' must be Tensor, not {type(value).__name__}"
        )
    from flambeau.ops.creation import tensor

    return tensor(value)


def _to_kind(op: Op, name: str, value: Any, param: str, kind: Kind) -> Any:
    if value is None or (value.__class__ in kind.weak and param == "tensor"):
        return value
    if not isinstance(value, Tensor):
        return wrap(kind.k["fill"]((), value, kind.dtype), kind)
    if param == "index":
        if value._kind.dtype.category != dtypes.INTEGER:
            raise DTypeError(
                f"{op.label}(): Expected dtype int64 for {name}, got {describe(value)}. Hint: {name}.long()"
            )
        kind = kind.int64
    elif param == "mask":
        if value._kind.dtype is not dtypes.bool_:
            raise DTypeError(
                f"{op.label}(): {name} must be a bool tensor, got {describe(value)}. Hint: {name} != 0"
            )
        kind = kind.boolean
    return value if value._kind is kind else value.to(kind.device, kind.dtype)


def recover(
    error: Exception, op: Op, operands: tuple[Any, ...], attrs: tuple[Any, ...], out: Any
) -> Any:
    """Called where a generated function failed: convert what was no tensor and run again, or explain the failure."""
    lead = operands[op.lead]
    weak = lead._kind.weak if isinstance(lead, Tensor) and op.mixes else ()
    fine = [
        isinstance(v, Tensor) or (p.kind == "optional" and v is None) or v.__class__ in weak
        for p, v in zip(op.operands, operands, strict=True)
    ]
    if not all(fine):
        return mix(op, operands, attrs, out)
    raise explain(error, op, operands, attrs) from (
        None if isinstance(error, FlambeauError) else error
    )


def explain(
    error: Exception, op: Op, operands: tuple[Any, ...], attrs: tuple[Any, ...]
) -> Exception:
    """The error that tells the user what rule the operands broke."""
    if isinstance(error, MemoryError):
        return no_room(op.label, operands[op.lead]._kind, error)
    first = next(v for v in operands if isinstance(v, Tensor))
    if isinstance(error, FlambeauError):
        return _explained(error, first)
    if first._kind.k[op.kernel] is None and op.body is None:
        return UnsupportedOpError(
            f"{op.label}: {first._kind.device} has no kernel {op.kernel!r} and there is no decomposition of it. "
            f"Hint: x.cpu(), or ask the authors of backend {first._kind.device.type!r} for it"
        )
    shapes = [v._a.shape if isinstance(v, Tensor) else v for v in operands]
    if op.shape.__name__ == "broadcast":
        complaint = _broadcast_error(op, operands)
        if complaint is not None:
            return complaint
    else:
        try:
            op.shape(*shapes, *attrs)
        except FlambeauError as rule:
            return _explained(rule, first)
    if isinstance(error, TypeError) and first._kind.dtype.category in (
        dtypes.BOOL,
        dtypes.COMPLEX,
        dtypes.FLOATING,
    ):
        return DTypeError(
            f"{_called(op)}: not implemented for {first._kind.dtype.name}, got {_all(operands)} ({error})"
        )
    return error


def no_room(name: str, kind: Kind, error: MemoryError) -> OutOfMemoryError:
    """The error of an allocation that failed; name: of the operation, if no public function is running."""
    from flambeau._live import out_of_memory

    return out_of_memory(name, kind.device, error)


def _explained(error: FlambeauError, first: Tensor) -> FlambeauError:
    """The error of a kernel or a shape rule, which do not know what a position is out of range in."""
    if isinstance(error, IndexRangeError):
        from flambeau._live import located

        return located(error, first)
    return error


def _broadcast_error(op: Op, operands: tuple[Any, ...]) -> ShapeError | None:
    shapes = [v._a.shape for v in operands if isinstance(v, Tensor)]
    out: tuple[int, ...] = ()
    try:
        for s in shapes:
            out = broadcast_two(out, s)
    except ValueError:
        return ShapeError(
            f"{broadcast_complaint(_called(op), shapes)}\n  operands: {_all(operands)}"
        )
    return None


def _all(operands: tuple[Any, ...]) -> str:
    return "; ".join(describe(v) for v in operands)


def decompose(op: Op, operands: tuple[Any, ...], attrs: tuple[Any, ...]) -> tuple[Any, Kind]:
    """Run an op's own body below autograd, on a device that has no kernel for it."""
    kind = operands[op.lead]._kind
    if op.mixes:  # bodies are written for tensors
        operands = tuple(
            [
                wrap(kind.k["fill"]((), v, kind.dtype), kind) if v.__class__ in NUMBERS else v
                for v in operands
            ]
        )
    previous = state.grad
    state.grad = False
    try:
        body: Any = op.body
        y = body(*operands, **{p.name: v for p, v in zip(op.attrs, attrs, strict=True)})
        wanted = _result_kind(op.dtype, kind)
        if y._kind is not wanted:  # as of bool, which arithmetic with numbers turns to int64
            y = y.to(wanted.device, wanted.dtype)
    finally:
        state.grad = previous
    return y._a, y._kind


def _result_kind(rule: str, kind: Kind) -> Kind:
    """The kind of an op's result, by the op's dtype rule."""
    if rule in ("boolean", "compare"):
        return kind.boolean
    if rule == "complex":
        return kind.siblings[kind.dtype.to_complex()]
    return kind.int64 if rule == "int64" else kind.real if rule == "real" else kind


def sum_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum a broadcast gradient back to the operand's shape."""
    if not shape:
        return _late.sum_all(g)  # type: ignore[no-any-return]
    have = g._a.shape
    lead = len(have) - len(shape)
    dims = tuple(range(lead)) + tuple(
        i + lead for i, n in enumerate(shape) if n == 1 and have[i + lead] != 1
    )
    if lead == 0:
        return _late.reduce_sum(g, dims, True)  # type: ignore[no-any-return]
    if len(dims) == lead:
        return _late.reduce_sum(g, dims, False)  # type: ignore[no-any-return]
    return _late.view(_late.reduce_sum(g, dims, False), shape)  # type: ignore[no-any-return]


def write_out(result: Tensor, out: Any) -> Tensor:
    """Put a result into the tensor that the user gave as `out=`.

    Raises: GradError: the result carries history.  DTypeError: out's dtype is of a lower category.
    """
    from flambeau.autograd.inplace import store_out

    if not isinstance(out, Tensor):
        raise ArgumentError(f"out= must be a Tensor, got {type(out).__name__}")
    return store_out(result, out)


def inplace(op: Op, x: Any, others: tuple[Any, ...], attrs: tuple[Any, ...]) -> Any:
    """The in-place variant of an op where a tape, a cast or an error is involved."""
    names = [p.name for p in op.operands[1:]]
    named = {p.name: v for p, v in zip(op.attrs, attrs, strict=True)}
    rest = {**dict(zip(names, others, strict=True)), **named}
    return _late.update(
        op.label + "_",
        x,
        lambda src: op.function(src, **rest),
        saves=bool(op.used_by(op.operands[0].name)),
    )


Function = Callable[..., Any]
