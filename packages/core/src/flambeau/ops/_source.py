"""The text of generated op functions: the hot path of every operation is written here, once.

Naming inside generated code, for an operand x: x_a its native array, x_g its tape edge (None: no gradient wanted).
_m is the leading operand's kind, _r the kernel's result, _t the result tensor, _n its node.
"""

from __future__ import annotations

import inspect
import linecache
import weakref
from typing import TYPE_CHECKING, Any

from flambeau.autograd import node as _node
from flambeau.autograd.node import Storage
from flambeau.autograd.state import state
from flambeau.ops import _recover
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.ops._op import Op

#: The globals of all generated code. `autograd.marks` exchanges `next_seq` here.
SCOPE: dict[str, Any] = {
    "__name__": "flambeau.ops._generated",
    "__builtins__": __builtins__,
    "Tensor": Tensor,
    "new": object.__new__,
    "Storage": Storage,
    "state": state,
    "next_seq": _node.next_seq,
    "ref": weakref.ref,
    "freed": _node.freed,
    "stale": _node.stale,
    "recover": _recover.recover,
    "mix": _recover.mix,
    "decompose": _recover.decompose,
    "write_out": _recover.write_out,
    "inplace": _recover.inplace,
    "sum_to": _recover.sum_to,
}

_RESULT_KIND = {
    "same": "_m",
    "promote": "_m",
    "inexact": "_m",
    "floating": "_m",
    "boolean": "_m.boolean",
    "compare": "_m.boolean",
    "int64": "_m.int64",
    "real": "_m.real",
    "complex": "_m.siblings[_m.dtype.to_complex()]",
}


def compile_in_scope(source: str, name: str, label: str) -> Any:
    """The function `name` that the source text defines; tracebacks and pdb show its lines like any other."""
    filename = f"<flambeau {label}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    found: dict[str, Any] = {}
    exec(compile(source, filename, "exec"), SCOPE, found)
    return found[name]


def _signature(record: Op, signature: inspect.Signature, out: bool) -> str:
    parts: list[str] = []
    star = False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        parts.append(p.name if p.default is p.empty else f"{p.name}={p.default!r}")
    if out:
        parts += ["out=None"] if star else ["*", "out=None"]
    return ", ".join(parts)


def _pack(record: Op, skip: int = 0) -> tuple[str, str]:
    tensors = "".join(p.name + ", " for p in record.operands[skip:])
    return f"({tensors})", "(" + "".join(p.name + ", " for p in record.attrs) + ")"


def _bind(record: Op, leave: str) -> list[str]:
    """Lines that bind x_a and x_g of every operand but the leading one, or leave for the general path."""
    lines = []
    for p in record.operands[: record.lead] + record.operands[record.lead + 1 :]:
        x = p.name
        take = f"{x}_a = {x}._a; {x}_g = {x}._g"
        wanted = {"index": "_m.int64", "mask": "_m.boolean"}.get(p.kind, "_m")
        if record.mixes and p.kind == "tensor":
            lines += [
                f"if {x}.__class__ in _m.weak: {x}_a = _m.consts[{x}]; {x}_g = None; {x}_t = False",
                f"elif {x}._kind is _m: {take}; {x}_t = True",
                f"else: return {leave}",
            ]
        elif p.kind == "optional":
            lines += [
                f"if {x} is None: {x}_a = {x}_g = None",
                f"elif {x}._kind is _m: {take}",
                f"else: return {leave}",
            ]
        else:
            lines += [f"if {x}._kind is not {wanted}: return {leave}", take]
    return lines


def _kernel(record: Op, out: str, kernel: str = "") -> str:
    values = [f"{p.name}_a" for p in record.operands]
    if record.swap:
        values.reverse()
    values += [p.name for p in record.attrs]
    if record.elementwise:
        values.append(f"out={out}")
    return f"{kernel or f'_m.k[{record.kernel!r}]'}({', '.join(values)})"


def forward_source(record: Op, signature: inspect.Signature) -> str:
    """Source of the op's function."""
    first = record.operands[record.lead].name
    tensors, attrs = _pack(record)
    leave = f"mix(OP_{record.public}, {tensors}, {attrs}, out)"
    kind = _RESULT_KIND[record.dtype]
    lines = [
        f"def {record.public}({_signature(record, signature, True)}):",
        " try:",
        "  _rec = state.grad",
    ]
    lines.append(f"  _m = {first}._kind; {first}_a = {first}._a; {first}_g = {first}._g")
    if record.dtype in ("inexact", "floating"):
        lines.append(f"  if _m.inexact is None: return {leave}")
    lines += ["  " + line for line in _bind(record, leave)]
    if record.body is None:
        lines.append(f"  _r = {_kernel(record, '...')}")
    else:
        lines.append(f"  _k = _m.k[{record.kernel!r}]")
        lines.append(
            f"  if _k is None: _r, _kind = decompose(OP_{record.public}, {tensors}, {attrs})"
        )
        lines.append(f"  else: _r = {_kernel(record, '...', '_k')}; _kind = {kind}")
        kind = "_kind"
    lines.append(
        f" except Exception as _error: return recover(_error, OP_{record.public}, {tensors}, {attrs}, out)"
    )
    lines.append(f" _t = new(Tensor); _t._a = _r; _t._kind = {kind}")
    lines += _storage(record, first, attrs)
    lines += _record(record)
    lines += [" if out is not None: return write_out(_t, out)", " return _t"]
    return "\n".join(lines) + "\n"


def _storage(record: Op, first: str, attrs: str) -> list[str]:
    if not record.view:
        return [" _t._s = _t._v = None"]
    return [
        f" _s = {first}._s",
        f" if _s is None: _s = {first}._s = Storage()",
        " _t._s = _s",
        f" if _rec: _t._v = ({first}, OP_{record.public}.function, {attrs}); _s.track(_t)",
        f" else: _t._v = ({first}, None, ())",
    ]


def _edges(record: Op) -> list[str]:
    if record.joint is not None:
        return [p.name for p in record.operands if p.kind in ("tensor", "optional")]
    return [p.name for p in record.operands if p.name in record.rules]


def _saved(record: Op) -> list[str]:
    return [p.name for p in record.operands if record.used_by(p.name)]


def _record(record: Op) -> list[str]:
    """Lines that put a node on the tape when a gradient is wanted."""
    edges = _edges(record)
    if not edges:
        return [" _t._g = None"]
    wanted = " or ".join(f"{e}_g is not None" for e in edges)
    lines = [
        f" if _rec and ({wanted}):" if len(edges) > 1 else f" if _rec and {edges[0]}_g is not None:"
    ]
    lines.append(
        f"  _n = NODE_{record.public}(); _n.edges = ({''.join(e + '_g, ' for e in edges)})"
    )
    saved = []
    lead = record.operands[record.lead].name
    for x in _saved(record):
        users = record.used_by(x)
        absent = (
            f"{x} is None"
            if any(p.name == x and p.kind == "optional" for p in record.operands)
            else ""
        )
        if set(users) != set(edges):
            unused = " and ".join(f"{u}_g is None" for u in users)
            absent = f"{absent} or {unused}" if absent else unused
        may_be_number = (
            record.mixes
            and x != lead
            and any(p.name == x and p.kind == "tensor" for p in record.operands)
        )
        number = f"not {x}_t" if may_be_number else ""
        test = f"_s = {x}._s; {x}_v = 0 if _s is None else _s.version; {x}_o = {x}"
        if number:
            lines.append(f"  if {number}: {x}_o = {x}; {x}_v = -1")
        if absent:
            lines.append(f"  {'elif' if number else 'if'} {absent}: {x}_o = None; {x}_v = -1")
        lines += [f"  else: {test}" if number or absent else f"  {test}"]
        saved += [f"{x}_o", f"{x}_v"]
    if record.saves_output and _y_is_optional(record):
        unused = " and ".join(f"{u}_g is None" for u in record.used_by("y"))
        lines.append(f"  if {unused}: _y = _s = None; _v = 0")
        lines.append("  else: _s = _t._s = _t._s or Storage(); _y = _r; _v = _s.version")
        saved += ["_y", "_s", "_v"]
    elif record.saves_output:
        lines.append("  _s = _t._s")
        lines.append("  if _s is None: _s = _t._s = Storage()")
        saved += ["_r", "_s", "_s.version"]
    lines.append(f"  _n.saved = ({''.join(s + ', ' for s in saved)})")
    if record.attrs:
        lines.append(f"  _n.attrs = {_pack(record)[1]}")
    lines.append(
        "  _n.hooks = None; _n.seq = next_seq(); _n.shape = _r.shape; _n.kind = _t._kind; _t._g = _n"
    )
    lines.append(" else: _t._g = None")
    return lines


def _y_is_optional(record: Op) -> bool:
    """Whether some operand's derivative does without the output: it is then saved only where it is needed."""
    return set(record.used_by("y")) != set(_edges(record))


def backward_source(record: Op) -> str:
    """Source of the node's `apply`: unpack what was saved, check versions, run the rules that are wanted."""
    edges, saved = _edges(record), _saved(record)
    lines = ["def apply(_n, _g):", " _s = _n.saved", " if _s is None: raise freed(_n)"]
    lines.append(f" {''.join(e + '_g, ' for e in edges)} = _n.edges")
    has_y = record.saves_output
    unpack = "".join(f"{x}, {x}_v, " for x in saved) + ("_r, y_s, y_v, " if has_y else "")
    if unpack:
        lines.append(f" {unpack} = _s")
    for x in saved:
        lines.append(f" if {x}_v >= 0:")
        lines.append(f"  _v = {x}._s; _v = 0 if _v is None else _v.version")
        lines.append(f"  if _v != {x}_v: raise stale(_n, {x}._a.shape, {x}_v, _v)")
    if has_y:
        test = "y_s is not None and " if _y_is_optional(record) else ""
        lines.append(f" if {test}y_s.version != y_v: raise stale(_n, _r.shape, y_v, y_s.version)")
        lines.append(
            " y = new(Tensor); y._a = _r; y._kind = _n.kind; y._g = _n; y._s = y_s; y._v = None"
        )
    if record.attrs:
        lines.append(f" {''.join(p.name + ', ' for p in record.attrs)} = _n.attrs")
    if record.joint is not None:
        return "\n".join([*lines, *_joint(record, edges)]) + "\n"
    for x in edges:
        call = ", ".join(["_g", *(_argument(a, x) for a in record.parameters_of(record.rules[x]))])
        lines.append(f" if {x}_g is None: {x}_d = None")
        lines.append(" else:")
        lines.append(f"  {x}_d = RULE_{record.public}_{x}({call})")
        if record.shape.__name__ == "broadcast":
            lines.append(
                f"  if {x}_d is not None and {x}_d._a.shape != {x}_g.shape: {x}_d = sum_to({x}_d, {x}_g.shape)"
            )
    lines.append(f" return ({''.join(e + '_d, ' for e in edges)})")
    return "\n".join(lines) + "\n"


def _argument(name: str, operand: str) -> str:
    """How a rule's parameter is spelt in `apply`: `input_shape` and `input_kind` come from the edge."""
    for suffix, field in (("_shape", "shape"), ("_kind", "kind")):
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix)}_g.{field}"
    return name


def _joint(record: Op, edges: list[str]) -> list[str]:
    names = record.parameters_of(record.joint) if record.joint is not None else []
    call = ", ".join(["_g", *("needs" if a == "needs" else _argument(a, a) for a in names)])
    needs = "".join(f"{e}_g is not None, " for e in edges)
    return [f" needs = ({needs})", f" return RULE_{record.public}({call})"]


def inplace_source(record: Op, signature: inspect.Signature) -> str:
    """Source of the in-place variant: the kernel writes into the first operand, unless a tape or a cast is involved."""
    first = record.operands[0].name
    tensors, attrs = _pack(record, 1)
    leave = f"inplace(OP_{record.public}, {first}, {tensors}, {attrs})"
    lines = [f"def {record.public}_({_signature(record, signature, False)}):"]
    fast = (
        record.elementwise
        and record.dtype in ("same", "promote", "inexact", "floating")
        and not (record.swap or record.lead)
    )
    if not fast:
        return "\n".join([*lines, f" return {leave}"]) + "\n"
    lines += [" try:", "  _rec = state.grad", f"  _m = {first}._kind; {first}_a = {first}._a"]
    if record.dtype in ("inexact", "floating"):
        lines.append(f"  if _m.inexact is None: return {leave}")
    lines += ["  " + line for line in _bind(record, leave)]
    edges = "".join(f" or {p.name}_g is not None" for p in record.operands[1:])
    lines.append(f"  if _rec and ({first}._g is not None{edges}): return {leave}")
    lines.append(f"  _k = _m.k[{record.kernel!r}]")
    if record.body is not None:
        lines.append(f"  if _k is None: return {leave}")
    lines.append(f"  {_kernel(record, first + '_a', '_k')}")
    lines += [
        f" except Exception: return {leave}",
        f" _s = {first}._s",
        f" if _s is None: {first}._s = Storage(1)",
        " else: _s.version += 1",
        f" return {first}",
    ]
    return "\n".join(lines) + "\n"
