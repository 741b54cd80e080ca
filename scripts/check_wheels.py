"""Wheels given on the command line, which are installed here: their tags, files, and every module imports."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import sys
import zipfile
from collections import Counter
from pathlib import Path


def main(wheels: list[Path]) -> int:
    problems = [problem for wheel in wheels for problem in look(wheel)]
    names = Counter(name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist())
    problems += [f"{name} is in more than one wheel" for name, n in names.items() if n > 1]
    roots = sorted(
        {name.split("/")[0] for name in names if not name.split("/")[0].endswith("-info")}
    )
    modules = 0
    for root in roots:
        for module in every_module(root):
            try:
                importlib.import_module(module)
                modules += 1
            except Exception as error:
                problems.append(f"import {module}: {type(error).__name__}: {error}")
    for problem in problems:
        print(f"build: {problem}")
    if not problems:
        size = sum(wheel.stat().st_size for wheel in wheels)
        print(f"build: {len(wheels)} wheels, {size / 1e3:.0f} kB, {modules} modules imported")
    return bool(problems)


def look(wheel: Path) -> list[str]:
    problems = []
    if not wheel.name.endswith("-py3-none-any.whl"):
        problems.append(f"{wheel.name} is not py3-none-any")
    names = zipfile.ZipFile(wheel).namelist()
    code = [name for name in names if name.endswith(".py")]
    if code and sum(name.endswith("/py.typed") for name in names) != 1:
        problems.append(f"{wheel.name} needs one py.typed")
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        problems.append(f"{wheel.name} lacks the licence")
    if any("/tests/" in name or "__pycache__" in name for name in names):
        problems.append(f"{wheel.name} carries tests or byte code")
    return problems


def every_module(root: str) -> list[str]:
    package = importlib.import_module(root)
    if "site-packages" not in str(package.__file__):
        raise SystemExit(f"build: {root} was imported from {package.__file__}, not from its wheel")
    found = pkgutil.walk_packages(package.__path__, f"{root}.")
    return [root, *(module.name for module in found if not module.name.endswith("__main__"))]


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
