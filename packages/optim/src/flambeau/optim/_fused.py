"""One kernel call for many parameters: small ones' states lie packed in flat arrays, whose parts `state[p]` shows.

A bucket is a set of parameters that one call updates: either one large parameter, or small ones of one kind
at the same step count. A parameter joins a bucket at its second step, when its rule has made its state;
whatever no longer fits (a missing gradient, a replaced state, a moved parameter) goes by its rule again until
it settles in a new bucket. So buckets only ever split, and the layout of `state` is that of the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import is_
from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.autograd.node import Storage
from flambeau.tensor import Tensor, wrap

if TYPE_CHECKING:
    from flambeau.optim.optimizer import Optimizer

#: Names of the state's arrays in the kernel's order (None: this option does without), and the kernel's other arguments.
Call = tuple[tuple[str | None, ...], tuple[Any, ...]]

#: Largest parameter that is packed with others: copying it costs more than the calls it saves from here on.
SMALL = 16384
#: Elements packed together at most, so that the passes of a rule stay in the caches.
TOTAL = 65536


class Bucket:
    """Parameters that one kernel call updates."""

    __slots__ = ("arrays", "fields", "kind", "rows", "watched")

    def __init__(self, rows: list[Any], arrays: list[Any], fields: int, watched: Any) -> None:
        self.rows = rows  # (param, state, its tensors, shape)
        self.arrays = arrays
        self.fields = fields
        self.kind = rows[0][0]._kind
        self.watched = watched  # (storage, version) of the step counts

    def run(self, name: str, attrs: tuple[Any, ...], states: Any) -> bool:
        """Update the parameters, or answer False if something changed since the bucket was made."""
        kernel = self.kind.k[name]
        watched = self.watched
        if kernel is None or (watched is not None and watched[0].version != watched[1]):
            return False
        params, grads, fields, kind = [], [], self.fields, self.kind
        for p, state, tensors, shape in self.rows:
            g = p._grad
            if g is None or p._kind is not kind or g._kind is not kind or p._a.shape != shape:
                return False
            if fields and (
                states.get(p) is not state
                or len(state) < fields
                or not all(map(is_, state.values(), tensors))
            ):
                return False
            params.append(p._a)
            grads.append(g._a)
        kernel(params, grads, *self.arrays, *attrs)
        for row in self.rows:
            p = row[0]
            s = p._s
            if s is None:
                p._s = Storage(1)
            else:
                s.version += 1
        return True


class Plan:
    """How one parameter group is split."""

    __slots__ = ("buckets", "count", "group", "loose", "names", "params")

    def __init__(self, group: dict[str, Any], names: tuple[str | None, ...]) -> None:
        self.group, self.names = group, names
        self.params = list(group["params"])
        self.count = len(self.params)
        self.buckets: list[Bucket] = []
        self.loose: list[Tensor] = list(self.params)


class Fused:
    """The fused path of one optimizer."""

    __slots__ = ("plans",)

    def __init__(self) -> None:
        self.plans: dict[int, Plan] = {}

    def step(self, optimizer: Optimizer, group: dict[str, Any]) -> bool:
        """Update the parameters of a group; False if the kernel does not apply to it."""
        call = optimizer.call(group)
        if call is None:
            return False
        names, attrs = call
        plan = self.plans.get(id(group))
        if (
            plan is None
            or plan.group is not group
            or plan.names != names
            or not _current(plan, group)
        ):
            plan = self.plans[id(group)] = Plan(group, names)
            if len(set(map(id, plan.params))) != plan.count:
                return False
        states, kernel = optimizer.state, str(optimizer.kernel)
        broken = [b for b in plan.buckets if not b.run(kernel, attrs, states)]
        for bucket in broken:
            plan.buckets.remove(bucket)
            plan.loose += [row[0] for row in bucket.rows]
        if plan.loose:
            _settle(optimizer, plan, attrs)
        return True


def _settle(optimizer: Optimizer, plan: Plan, attrs: tuple[Any, ...]) -> None:
    """Update the parameters that are in no bucket, and put those into buckets that fit."""
    kernel = str(optimizer.kernel)
    fits: dict[Any, list[Tensor]] = {}
    for p in plan.loose:
        if p._grad is None:
            continue
        key = _key(optimizer, p, kernel, plan.names)
        if key is None:
            optimizer._update(p, plan.group)
        else:
            fits.setdefault(key, []).append(p)
    for members in _portions(fits.values()):
        bucket = _bucket(optimizer, members, plan.names)
        if bucket is not None and bucket.run(kernel, attrs, optimizer.state):
            plan.buckets.append(bucket)
            gone = set(map(id, members))
            plan.loose = [p for p in plan.loose if id(p) not in gone]
        else:
            for p in members:
                optimizer._update(p, plan.group)


def _key(optimizer: Optimizer, p: Tensor, kernel: str, names: tuple[str | None, ...]) -> Any:
    """What parameters of one bucket have in common; None for a parameter that goes by its rule."""
    kind, n, grad = p._kind, p.numel(), p._grad
    if grad is None or grad._kind is not kind or grad._a.shape != p._a.shape:
        return None
    if n == 0 or kind.k[kernel] is None or kind.dtype not in (dtypes.float32, dtypes.float64):
        return None
    state = optimizer.state.get(p, {})
    count = None
    for name in names:
        if name is None:
            continue
        tensor = state.get(name)
        if not isinstance(tensor, Tensor):
            return None
        if name == "step":
            count = (tensor._kind, tensor.item())
        elif tensor._kind is not kind or tensor._a.shape != p._a.shape:
            return None
    return (kind, count) if n <= SMALL else (kind, count, id(p))


def _bucket(
    optimizer: Optimizer, members: list[Tensor], names: tuple[str | None, ...]
) -> Bucket | None:
    states = [optimizer.state[p] if any(names) else {} for p in members]
    arrays: list[Any] = []
    packed: list[tuple[str, list[Tensor]]] = []
    watched = None
    for name in names:
        if name is None:
            arrays.append(None)
            continue
        tensors = [s[name] for s in states]
        if (
            name == "step"
        ):  # PyTorch keeps counts on the cpu; the kernel's arrays are all its device's
            tensors = [t.to(p._kind.device) for t, p in zip(tensors, members, strict=True)]
        flat = _joined(tensors)
        if flat is None:
            return None
        arrays.append(flat[0])
        packed.append((name, flat[1]))
        if name == "step":
            storage: Any = flat[1][0]._s
            watched = (storage, storage.version)
    for name, tensors in packed:
        for state, tensor in zip(states, tensors, strict=True):
            state[name] = tensor
    rows = [(p, s, tuple(s.values()), p._a.shape) for p, s in zip(members, states, strict=True)]
    return Bucket(rows, arrays, len(packed), watched)


def _portions(sets: Iterable[list[Tensor]]) -> Iterator[list[Tensor]]:
    """The sets, split where they outgrow the caches."""
    for members in sets:
        taken: list[Tensor] = []
        size = 0
        for p in members:
            if taken and size + p.numel() > TOTAL:
                yield taken
                taken, size = [], 0
            taken.append(p)
            size += p.numel()
        yield taken


def _current(plan: Plan, group: dict[str, Any]) -> bool:
    params = group["params"]
    return plan.count == len(params) and all(map(is_, plan.params, params))


def _joined(tensors: list[Tensor]) -> tuple[Any, list[Tensor]] | None:
    """A flat array with the tensors' elements, and the tensors as its parts."""
    kind = tensors[0]._kind
    k = kind.k
    if len(tensors) == 1:
        t = tensors[0]
        if t._s is None:
            t._s = Storage()
        if not t.is_contiguous():
            return None
        return k["view"](t._a, (t.numel(),)), tensors
    flat = k["fill"]((sum(t.numel() for t in tensors),), 0, kind.dtype)
    storage, parts, start = Storage(), [], 0
    for t in tensors:
        end = start + t.numel()
        part = k["view"](k["slice"](flat, (slice(start, end),)), t._a.shape)
        k["copy"](t._a, out=part)
        made = wrap(part, kind)
        made._s = storage
        parts.append(made)
        start = end
    return flat, parts
