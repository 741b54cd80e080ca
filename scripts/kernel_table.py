"""The last table of docs/kernels.md: kernels of operations that have a default, as the operations are declared.

python scripts/kernel_table.py           print it
python scripts/kernel_table.py --write   put it into the page
python scripts/kernel_table.py --check   fail if the page's is another
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "kernels.md"
START, END = "<!-- kernel_table: start -->", "<!-- kernel_table: end -->"
RESULT = {
    "same": "T", "promote": "T", "inexact": "T (float)", "floating": "T (float)", "boolean": "bool", "compare": "bool",
    "int64": "int64",
    "real": "T (complex: its real type)", "complex": "T's complex type",
}  # fmt: skip


def rows() -> list[str]:
    """A row for each kernel that is not in the page's other tables."""
    import flambeau  # noqa: F401

    for library in ("nn", "optim"):
        if importlib.util.find_spec(f"flambeau.{library}"):
            importlib.import_module(f"flambeau.{library}")
    from flambeau.ops._op import OPS

    above = PAGE.read_text(encoding="utf-8").split(START)[0]
    found: dict[str, str] = {}
    for name, function in sorted(OPS.items(), key=lambda item: (item[0][0] == "_", item[0])):
        record = function.op
        if record.body is None or record.kernel in found or f"`{record.kernel}(" in above:
            continue
        found[record.kernel] = row(name, record)
    return [found[kernel] for kernel in sorted(found)]


def row(name: str, record: Any) -> str:
    """One kernel: its call, its result's dtype, what it computes."""
    operands = [
        p.name + {"optional": "?", "index": ": i64", "mask": ": bool"}.get(p.kind, "")
        for p in record.operands
    ]
    if record.swap:
        operands.reverse()
    arguments = operands + [p.name for p in record.attrs] + (["out="] if record.elementwise else [])
    does = (
        (record.fn.__doc__ or f"see `{name.strip('_')}`")
        .strip()
        .splitlines()[0]
        .replace("|", r"\|")
    )
    return (
        f"| `{record.kernel}({', '.join(arguments)})` | {RESULT.get(record.dtype, 'T')} | {does} |"
    )


def main(argv: list[str]) -> int:
    """Print, write or compare."""
    table = "\n".join(["| kernel | result | what |", "|---|---|---|", *rows()])
    text = PAGE.read_text(encoding="utf-8")
    head, tail = text.split(START)[0], text.split(END)[1]
    page = f"{head}{START}\n{table}\n{END}{tail}"
    if "--write" in argv:
        PAGE.write_text(page, encoding="utf-8")
    elif "--check" in argv:
        if page != text:
            print("docs/kernels.md is not current. Hint: python scripts/kernel_table.py --write")
            return 1
    else:
        print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
