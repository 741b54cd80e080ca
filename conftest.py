"""What every test of the workspace shares: the backend option, the seed, and where examples in docstrings are run."""

from __future__ import annotations

from collections.abc import Generator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule

ROOT = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        metavar="NAME",
        help="run tests that ask for `backend_name` on this backend only (repeatable; default: every installed one)",
    )


def pytest_configure(config: pytest.Config) -> None:
    found = installed_backends()
    for name in config.getoption("--backend") or ():
        if name not in found:
            raise pytest.UsageError(f"--backend {name}: not installed here; there is {found}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"flambeau backends: {', '.join(chosen_backends(config)) or 'none installed'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" in metafunc.fixturenames:
        metafunc.parametrize("backend_name", chosen_backends(metafunc.config))


def installed_backends() -> list[str]:
    return sorted({entry.name for entry in entry_points(group="flambeau.backends")})


def chosen_backends(config: pytest.Config) -> list[str]:
    return config.getoption("--backend") or installed_backends()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path,
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Docstring examples are run in the packages' sources alone.

    Collecting one imports the file, and importing a script of examples/ would run it.
    """
    collected = yield
    sources = file_path.is_relative_to(ROOT / "packages") and "src" in file_path.parts
    return [each for each in collected if sources or not isinstance(each, DoctestModule)]


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random state."""
    import flambeau

    flambeau.manual_seed(0)
