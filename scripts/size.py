"""Lines of code per package and module, without docstrings, comments and blank lines.

Counts src/ of every package; a line counts when a token other than a comment or a docstring stands on it.
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE_LIMIT = 600  # lines of a file, all counted
FUNCTION_LIMIT = 60  # lines of code in one function
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True, slots=True)
class Module:
    """What one source file amounts to."""

    path: Path
    lines: int
    code: int
    tokens: int
    long_functions: tuple[str, ...]


def measure(path: Path) -> Module:
    """Count one file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    silent = docstring_lines(tree)
    occupied: set[int] = set()
    tokens = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT and token.start[0] not in silent:
            tokens += 1
            occupied.update(range(token.start[0], token.end[0] + 1))
    long = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = len(occupied & set(range(node.lineno, (node.end_lineno or 0) + 1)))
            if length > FUNCTION_LIMIT:
                long.append(f"{node.name} ({length} lines, line {node.lineno})")
    return Module(path, text.count("\n"), len(occupied), tokens, tuple(long))


def docstring_lines(tree: ast.Module) -> set[int]:
    """The lines of docstrings, those below an assignment included."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }


def report(packages: dict[str, list[Module]], modules: bool) -> None:
    """Print the table."""
    print(f"{'package':44} {'code':>6} {'tokens/line':>12} {'files':>6} {'longest':>8}")
    for name, found in packages.items():
        code = sum(m.code for m in found)
        density = sum(m.tokens for m in found) / max(code, 1)
        longest = max((m.lines for m in found), default=0)
        print(f"{name:44} {code:6} {density:12.1f} {len(found):6} {longest:8}")
        for m in sorted(found, key=lambda m: -m.code) if modules else ():
            place = m.path.relative_to(ROOT / "packages" / name / "src")
            print(f"  {place!s:42} {m.code:6} {m.tokens / max(m.code, 1):12.1f} {'':6} {m.lines:8}")


def breaches(packages: dict[str, list[Module]]) -> list[str]:
    """What is longer than the style guide allows."""
    found = []
    for m in (m for each in packages.values() for m in each):
        place = m.path.relative_to(ROOT)
        if m.lines > MODULE_LIMIT:
            found.append(f"{place}: {m.lines} lines, more than {MODULE_LIMIT}: split it")
        found += [f"{place}: {f}, more than {FUNCTION_LIMIT}: split it" for f in m.long_functions]
    return found


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only fail on what is too long")
    parser.add_argument("--packages", action="store_true", help="one line a package, no modules")
    parser.add_argument("--installed", type=Path, help="folder of installed files to weigh")
    options = parser.parse_args()
    packages = {
        path.name: [measure(file) for file in sorted(path.glob("src/**/*.py"))]
        for path in sorted(ROOT.glob("packages/*"))
        if (path / "pyproject.toml").is_file()
    }
    if not options.check:
        report(packages, not options.packages)
    if options.installed:
        weight = sum(file.stat().st_size for file in options.installed.rglob("*") if file.is_file())
        print(f"installed size of core + cpu, besides their dependencies: {weight / 1e6:.2f} MB")
    problems = breaches(packages)
    for problem in problems:
        print(problem)
    return bool(problems) and options.check


if __name__ == "__main__":
    sys.exit(main())
