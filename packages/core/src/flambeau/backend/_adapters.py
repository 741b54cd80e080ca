"""From kernels that write into given buffers to core's op boundary: native arrays in, native arrays out.

Each function here takes a device and the declaration of one kernel, and makes the callable that stands in the device's
table. It infers shape and dtype, allocates, broadcasts, folds dimensions, copies what does not fit the kernel's layout,
and leaves out calls without elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau.backend import _views
from flambeau.backend._kernels import Entry, Layout
from flambeau.backend._memory import View
from flambeau.backend._views import Shape, contiguous_strides, count, is_contiguous
from flambeau.dtypes import dtype
from flambeau.errors import ShapeError, UnsupportedOpError
from flambeau.shape import broadcast_two

if TYPE_CHECKING:
    from flambeau.backend.strided import StridedDevice

Call = Callable[..., Any]
ResultRule = Callable[[dtype], dtype] | None
_PLANS = 2048
_NONE: dict[str, Any] = {}


class Plan:
    """How an elementwise call is launched, for operands of given shapes and strides.

    shape: of the result.  launch: the folded shape.  steps: folded strides of the output, then of each operand (None: a
    number).  copies: operands to be made contiguous first.  aside: the result cannot be written to `out` directly.
    """

    __slots__ = ("aside", "copies", "launch", "loop", "numel", "shape", "steps")

    def __init__(
        self, shape: Shape, ins: list[Any], out: Any, layout: Layout, max_rank: int, splits: bool
    ) -> None:
        self.shape = shape
        self.numel = count(shape)
        rows = contiguous_strides(shape)
        strides = [out.strides if out is not ... else rows]
        strides += [rows if x is None else _views.expand(x[0], x[1], shape) for x in ins]
        strided = layout is Layout.STRIDED
        self.copies = [
            i for i, s in enumerate(strides) if i and not (strided or is_contiguous(shape, s))
        ]
        self.aside = not strided and not is_contiguous(shape, strides[0])
        folded = self._fold(shape, strides, rows)
        self.loop = 0
        if len(folded[0]) > max_rank:
            if splits:
                self.loop = len(folded[0]) - max_rank
            else:
                self.copies = [
                    i for i, s in enumerate(strides) if i and not is_contiguous(shape, s)
                ]
                self.aside = not is_contiguous(shape, strides[0])
                folded = self._fold(shape, strides, rows)
        self.launch = folded[0] or (1,)
        self.steps = [s or (1,) for s in folded[1]]
        for i, x in enumerate(ins):
            if x is None:
                self.steps[i + 1] = None  # type: ignore[call-overload]

    def _fold(self, shape: Shape, strides: list[Shape], rows: Shape) -> tuple[Shape, list[Shape]]:
        strides = [rows if i in self.copies else s for i, s in enumerate(strides)]
        return _views.coalesce(shape, strides)[:2]


def elementwise(
    dev: StridedDevice, entry: Entry, result: ResultRule = None, masks: int = 0
) -> Call:
    """The adapter of a kernel that computes each element from those at the same place.

    Args: result: from the operands' dtype to the result's; None if they are the same.  masks: leading operands that
        are masks.
    Returns: run(ins, out, dtype, attrs): out is ... or a View; dtype, where it is given, is the result's.
    """
    plans: dict[Any, Plan] = {}
    name, fn, inplace, guarded = entry.name, entry.fn, entry.inplace, entry.guarded
    empty, lock = dev.empty, dev.lock

    def run(
        ins: tuple[Any, ...], out: Any, d: dtype | None = None, attrs: dict[str, Any] = _NONE
    ) -> Any:
        key: Any = [(x.shape, x.strides) if x.__class__ is View else None for x in ins]
        if out is not ...:
            key += (out.shape, out.strides)
        key = tuple(key)
        plan = plans.get(key) or _plan(dev, entry, plans, key, ins, out)
        if guarded and not entry.accepts(ins, attrs):
            return dev.fallback(name, ins, tuple(attrs.values()), out)
        if d is None:
            d = lead_dtype(ins, masks)
            if result is not None:
                d = result(d)
        if out is ...:
            target = empty(plan.shape, d)
        else:
            if out.dtype is not d:
                raise TypeError(f"{name}: cannot write {d.name} into {out}")
            if plan.aside or _conflict(out, ins, inplace):
                return dev.copy(run(ins, ..., d, attrs), out)
            target = out
        if not plan.numel:
            return target
        if plan.copies:
            ins = tuple(
                [
                    dev.copy(_expanded(x, plan.shape)) if i in plan.copies else x
                    for i, x in enumerate(ins, 1)
                ]
            )
        launch, steps = plan.launch, plan.steps
        views = [
            View(x.buf, x.dtype, launch, s, x.offset) if x.__class__ is View else x
            for x, s in zip(ins, steps[1:])
        ]
        written = View(target.buf, d, launch, steps[0], target.offset)
        with lock:
            if plan.loop:
                _split(fn, dev.queue, plan.loop, written, views)
            else:
                fn(dev.queue, written, *views, **attrs)
        return target

    return run


def _plan(
    dev: StridedDevice,
    entry: Entry,
    plans: dict[Any, Plan],
    key: Any,
    ins: tuple[Any, ...],
    out: Any,
) -> Plan:
    """A new plan, kept under its key."""
    shapes = [(x.shape, x.strides) if x.__class__ is View else None for x in ins]
    shape: Shape = ()
    for x in shapes:
        if x is not None:
            shape = broadcast_two(shape, x[0])
    if out is not ...:
        if broadcast_two(shape, out.shape) != out.shape:
            raise ValueError(f"{entry.name}: cannot write shape {shape} into {out}")
        dev.check_writable(entry.name, out)
        shape = out.shape
    if len(plans) >= _PLANS:
        plans.clear()
    made = Plan(shape, shapes, out, entry.layout, dev.caps.max_rank, entry.name == "copy")
    plans[key] = made
    return made


def lead_dtype(ins: tuple[Any, ...], masks: int) -> dtype:
    """The dtype of the first array after the masks."""
    for x in ins[masks:]:
        if x.__class__ is View:
            found: dtype = x.dtype
            return found
    raise TypeError(f"a kernel needs at least one array, got {ins}")


def _expanded(x: View, shape: Shape) -> View:
    if x.shape == shape:
        return x
    return View(x.buf, x.dtype, shape, _views.expand(x.shape, x.strides, shape), x.offset)


def _split(fn: Call, q: Any, depth: int, out: View, ins: list[Any]) -> None:
    """Launch once for each index of the leading `depth` dimensions, as the device takes no more of them."""
    if depth == 0:
        fn(q, out, *ins)
        return
    for i in range(out.shape[0]):
        _split(fn, q, depth - 1, _at(out, i), [_at(x, i) for x in ins])


def _at(x: View, i: int) -> View:
    return View(x.buf, x.dtype, x.shape[1:], x.strides[1:], x.offset + i * x.strides[0])


def _conflict(out: View, ins: tuple[Any, ...], inplace: bool) -> bool:
    """Whether writing out may spoil an input that is still to be read."""
    for x in ins:
        if x.__class__ is not View or x.buf is not out.buf:
            continue
        same = x.shape == out.shape and x.strides == out.strides and x.offset == out.offset
        if same and inplace and x.dtype is out.dtype:
            continue
        low, high = _bytes(x)
        first, end = _bytes(out)
        if low < end and first < high:
            return True
    return False


def _bytes(x: View) -> tuple[int, int]:
    low, high = _views.bounds(x.shape, x.strides, x.offset)
    return low * x.dtype.itemsize, high * x.dtype.itemsize


# ---- reductions
def reduced_shape(shape: Shape, dims: Shape | None, keepdim: bool) -> tuple[Shape, Shape]:
    """The shape after a reduction, and the reduced dimensions in order."""
    over = range(len(shape)) if dims is None else sorted(dims)
    if keepdim:
        return tuple([1 if i in over else n for i, n in enumerate(shape)]), tuple(over)
    return tuple([n for i, n in enumerate(shape) if i not in over]), tuple(over)


def reduction(dev: StridedDevice, entry: Entry, of_nothing: Any) -> Call:
    """The adapter of reduce_sum, _prod, _max and _min: `(x, dims | None, keepdim) -> array`.

    Args: of_nothing: the result over no elements; None where there is none.
    """
    name, fn, layout, lock, max_rank = (
        entry.name,
        entry.fn,
        entry.layout,
        dev.lock,
        dev.caps.max_rank,
    )
    plans: dict[Any, Any] = {}

    def plan_for(key: Any, x: View, dims: Shape) -> Any:
        labels = [d in dims for d in range(len(x.shape))]
        launch, (steps,), left = _views.coalesce(x.shape, [x.strides], labels)
        if len(plans) >= _PLANS:
            plans.clear()
        rest = tuple([n for n, reduced in zip(launch, left) if not reduced]) or (1,)
        plan = plans[key] = (
            launch,
            steps,
            tuple([i for i, reduced in enumerate(left) if reduced]),
            rest,
        )
        return plan

    def call(x: View, dims: Shape | None, keepdim: bool = False) -> View:
        shape, dims = reduced_shape(x.shape, dims, keepdim)
        if entry.guarded and not entry.accepts((x,), {"dims": dims}):
            return dev.fallback(name, (x,), (dims, keepdim), ...)
        if not count(x.shape) and count(shape):
            if of_nothing is None:
                raise ShapeError(f"{name}: no elements to reduce in {x}")
            return dev.fill(shape, of_nothing, x.dtype)
        if layout is not Layout.STRIDED and not x.contiguous:
            x = dev.copy(x)
        key = (x.shape, x.strides, dims)
        launch, steps, over, rest = plans.get(key) or plan_for(key, x, dims)
        if len(launch) > max_rank:
            last = tuple(range(len(x.shape) - len(dims), len(x.shape)))
            return _shaped(call(_reduced_last(dev, x, dims), last), shape)
        if not over and count(shape):  # only sizes of 1 are reduced
            return _shaped(dev.copy(x), shape)
        out = dev.empty(shape, x.dtype)
        if count(shape):
            written = View(out.buf, out.dtype, rest, contiguous_strides(rest))
            with lock:
                fn(dev.queue, written, View(x.buf, x.dtype, launch, steps, x.offset), dims=over)
        return out

    return call


def _shaped(x: View, shape: Shape) -> View:
    """A contiguous view under another shape."""
    return View(x.buf, x.dtype, shape, contiguous_strides(shape), x.offset)


def _reduced_last(dev: StridedDevice, x: View, dims: Shape) -> View:
    """A contiguous copy with the reduced dimensions behind the others, which folds to two."""
    order = (*(i for i in range(len(x.shape)) if i not in dims), *dims)
    return dev.copy(View(x.buf, x.dtype, *_views.permute(x.shape, x.strides, order), x.offset))


# ---- products
def fitted(dev: StridedDevice, x: View, layout: Layout) -> View:
    """The view itself if a kernel of this layout takes it, else a contiguous copy; 0-d becomes (1,)."""
    if layout is Layout.MATRIX and len(x.shape) > 1:
        steps = _views.matrix_strides(x.shape, x.strides)
        if steps is not None:
            return x if steps == x.strides else View(x.buf, x.dtype, x.shape, steps, x.offset)
        x = dev.copy(x)
    elif layout is not Layout.STRIDED and not x.contiguous:
        x = dev.copy(x)
    return x if x.shape else View(x.buf, x.dtype, (1,), (1,), x.offset)


def bmm(dev: StridedDevice, entry: Entry) -> Call:
    """The adapter of `(b, m, k) @ (b, k, n)`."""
    fn, layout, lock = entry.fn, entry.layout, dev.lock

    def call(a: View, b: View) -> View:
        if (
            len(a.shape) != 3
            or len(b.shape) != 3
            or a.shape[0] != b.shape[0]
            or a.shape[2] != b.shape[1]
        ):
            raise ValueError(f"bmm: cannot multiply {a} and {b}")
        if entry.guarded and not entry.accepts((a, b), _NONE):
            return dev.fallback("bmm", (a, b), (), ...)
        shape = (a.shape[0], a.shape[1], b.shape[2])
        if not a.shape[2]:
            return dev.fill(shape, 0, a.dtype)
        out = dev.empty(shape, a.dtype)
        if count(shape):
            a, b = fitted(dev, a, layout), fitted(dev, b, layout)
            with lock:
                fn(dev.queue, out, a, b)
        return out

    return call


def matmul(dev: StridedDevice, product: Call) -> Call:
    """matmul in terms of bmm: vectors become matrices, leading dimensions fold into rows or into one batch."""

    def call(a: View, b: View) -> View:
        from flambeau.ops.linalg import product_shape

        shape = product_shape(a.shape, b.shape)
        if len(a.shape) == 1:
            a = _expanded(a, (1, *a.shape))
        if len(b.shape) == 1:
            b = View(b.buf, b.dtype, (*b.shape, 1), (*b.strides, 1), b.offset)
        rows = None
        if len(b.shape) == 2:
            rows = _viewed(a, (1, count(a.shape[:-1]), a.shape[-1]))
        if rows is not None:
            return _shaped(product(rows, _expanded(b, (1, *b.shape))), shape)
        batch = broadcast_two(a.shape[:-2], b.shape[:-2])
        return _shaped(product(_batched(dev, a, batch), _batched(dev, b, batch)), shape)

    return call


def _viewed(x: View, shape: Shape) -> View | None:
    try:
        return View(x.buf, x.dtype, shape, _views.view(x.shape, x.strides, shape), x.offset)
    except ValueError:
        return None


def _batched(dev: StridedDevice, x: View, batch: Shape) -> View:
    wide, folded = _expanded(x, (*batch, *x.shape[-2:])), (count(batch), *x.shape[-2:])
    found = _viewed(wide, folded)
    return _shaped(dev.copy(wide), folded) if found is None else found


# ---- gather and scatter
def gather(dev: StridedDevice, entry: Entry) -> Call:
    """The adapter of `(x, index, dim)`; the kernel gets x cut to the index's sizes but for dim."""
    fn, lock = entry.fn, dev.lock

    def call(x: View, index: View, dim: int) -> View:
        out = dev.empty(index.shape, x.dtype)
        if not count(index.shape):
            return out
        if entry.guarded and not entry.accepts((x, index), {"dim": dim}):
            return dev.fallback("gather", (x, index), (dim,), ...)
        x = _cut(_at_least_1d(x), _at_least_1d(index).shape, dim)
        if not count(x.shape):
            raise IndexError(
                f"gather: every index is out of bounds for dimension {dim} with size 0"
            )
        written, views, at = _three(dev, entry.layout, [out, x, index], dim)
        with lock:
            fn(dev.queue, written, *views, dim=at)
        return out

    return call


def scatter(dev: StridedDevice, entry: Entry) -> Call:
    """The adapter of `(x, index, src, dim, reduce, out=)`.

    The kernel finds x's values in out, and sizes as in gather.
    """
    fn, layout, lock = entry.fn, entry.layout, dev.lock

    def call(x: View, index: View, src: Any, dim: int, reduce: str, out: Any = ...) -> View:
        result = dev.copy(x) if out is ... else out
        if out is not ... and out is not x:
            dev.copy(x, out)
        if not count(index.shape):
            return result
        if src.__class__ is not View:
            src = dev.fill((), src, x.dtype)
        at = _at_least_1d(index)
        src = _cut(_at_least_1d(src), at.shape, None) if src.shape else _expanded(src, at.shape)
        if _conflict(result, (src,), False):
            src = dev.copy(src)
        target = _cut(_at_least_1d(result), at.shape, dim)
        if not count(target.shape):
            raise IndexError(
                f"scatter: every index is out of bounds for dimension {dim} with size 0"
            )
        aside = (layout is not Layout.STRIDED and not target.contiguous) or len(
            target.shape
        ) > dev.caps.max_rank
        written = dev.copy(target) if aside else target
        written, views, folded_dim = _three(dev, layout, [written, at, src], dim)
        with lock:
            fn(dev.queue, written, *views, dim=folded_dim, reduce=reduce)
        if aside:
            dev.copy(_shaped(written, target.shape), target)
        return result

    return call


def _at_least_1d(x: View) -> View:
    return x if x.shape else View(x.buf, x.dtype, (1,), (1,), x.offset)


def _cut(x: View, shape: Shape, dim: int | None) -> View:
    """x without what lies beyond the sizes of `shape`, in all dimensions but dim."""
    if len(x.shape) != len(shape):
        raise ValueError(f"the index has {len(shape)} dimensions, the array {len(x.shape)}")
    cut = tuple([n if d == dim else m for d, (n, m) in enumerate(zip(x.shape, shape))])
    if any(m > n for n, m in zip(x.shape, cut)):
        raise ValueError(
            f"the index of shape {shape} is larger than {x} in a dimension other than {dim}"
        )
    return x if cut == x.shape else View(x.buf, x.dtype, cut, x.strides, x.offset)


def _three(
    dev: StridedDevice, layout: Layout, views: list[View], dim: int
) -> tuple[View, list[View], int]:
    """Views that fit the layout; with more dimensions than the device takes, those before and behind dim are folded."""
    out, *ins = (_at_least_1d(v) for v in views)
    ins = [
        fitted(dev, v, Layout.STRIDED if layout is Layout.STRIDED else Layout.CONTIG) for v in ins
    ]
    if len(out.shape) <= dev.caps.max_rank:
        return out, ins, dim
    folded = [v if v.contiguous else dev.copy(v) for v in (out, *ins)]
    out, *ins = (
        _shaped(v, (count(v.shape[:dim]), v.shape[dim], count(v.shape[dim + 1 :]))) for v in folded
    )
    return out, ins, 1


# ---- anything else that core declares
def declared(dev: StridedDevice, entry: Entry) -> Call:
    """The adapter of an optional kernel, made at its first call from the op that core, nn ... declare with its name."""
    made: Call | None = None

    def call(*values: Any, **out: Any) -> Any:
        nonlocal made
        if made is None:
            made = _bind(dev, entry)
        return made(*values, **out)

    return call


_FIXED = {"boolean": "bool", "compare": "bool", "int64": "int64"}


def result_rule(rule: str) -> ResultRule:
    """From the name of an op's dtype rule to the function on dtypes; None for the operands' own."""
    if rule in ("real", "complex"):
        return dtype.to_real if rule == "real" else dtype.to_complex
    if rule in _FIXED:
        from flambeau.dtypes import by_name

        fixed = by_name(_FIXED[rule])
        return lambda d: fixed
    return None


def _bind(dev: StridedDevice, entry: Entry) -> Call:
    record = dev.record(entry.name)
    if record is None:
        raise UnsupportedOpError(
            f"kernel {entry.name!r}: no operation of this name is declared, so its result cannot be inferred. "
            "Hint: @K.boundary registers a function that does everything itself"
        )
    rule, masks = result_rule(record.dtype), record.lead
    n, names = len(record.operands), [p.name for p in record.attrs]
    if not record.elementwise or (n > 1 and record.shape.__name__ != "broadcast"):
        return _whole(dev, entry, record, rule)
    run = elementwise(dev, entry, rule, masks)

    def call(*values: Any, out: Any = ...) -> Any:
        return run(values[:n], out, None, dict(zip(names, values[n:])) if names else _NONE)

    return call


def _whole(dev: StridedDevice, entry: Entry, record: Any, rule: ResultRule) -> Call:
    """The adapter of a kernel with a shape rule of its own."""
    name, fn, layout, lock = entry.name, entry.fn, entry.layout, dev.lock
    n, names, lead = len(record.operands), [p.name for p in record.attrs], record.lead

    def call(*values: Any, out: Any = ...) -> Any:
        if out is not ...:
            return dev.copy(call(*values), out)
        ins, attrs = values[:n], dict(zip(names, values[n:]))
        arrays = [x for x in ins if x.__class__ is View]
        shape = record.shape(*[x.shape if x.__class__ is View else x for x in ins], *values[n:])
        too_deep = any(len(x.shape) > dev.caps.max_rank for x in arrays)
        if not all(count(x.shape) for x in arrays) or too_deep or not entry.accepts(ins, attrs):
            return dev.fallback(name, ins, values[n:], ...)
        d = lead_dtype(ins, lead)
        out = dev.empty(tuple(shape), d if rule is None else rule(d))
        if attrs.pop("keepdim", False):
            shape = reduced_shape(
                arrays[0].shape, _listed(attrs.get("dim", attrs.get("dims"))), False
            )[0]
        views = [fitted(dev, x, layout) if x.__class__ is View else x for x in ins]
        if count(out.shape):
            with lock:
                fn(dev.queue, _shaped(out, tuple(shape) or (1,)), *views, **attrs)
        return out

    return call


def _listed(dim: Any) -> Shape | None:
    return (dim,) if isinstance(dim, int) else dim


# ---- dtypes that the device only stores
def widening(dev: StridedDevice, call: Call) -> Call:
    """The call with operands of a dtype that is only stored cast to a wider one, and its result cast back."""

    def wide(*values: Any, **kwargs: Any) -> Any:
        narrow = next(
            (v.dtype for v in values if v.__class__ is View and v.dtype in dev.narrow), None
        )
        if narrow is None:
            return call(*values, **kwargs)
        out = kwargs.pop("out", ...)
        cast = [
            dev.cast(v, dev.narrow[v.dtype]) if v.__class__ is View and v.dtype in dev.narrow else v
            for v in values
        ]
        result = call(*cast, **kwargs)
        if result.dtype is dev.narrow[narrow]:
            result = dev.cast(result, narrow)
        return result if out is ... else dev.copy(result, out)

    return wide
