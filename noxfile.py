"""The tasks of this repository: `python3 dev.py SESSION`, or `nox -s SESSION` where nox is installed.

None of our packages is looked up anywhere: every session installs them from this checkout, in one pip command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.reuse_venv = "yes"
# Cheapest first; `bench`, `fuzz`, `parity` and `tests-all` are asked for by name.
nox.options.sessions = [
    "lint",
    "size",
    "layers",
    "types",
    "minimal",
    "tests",
    "seeds",
    "build",
    "quickstart",
]

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
PYTHONS = ["3.11", "3.12", "3.13"]
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]
BACKEND_TOOLS = ["hatchling>=1.27", "editables>=0.5"]
TRY_TEMPLATE = (
    "import flambeau as fb\n"
    "x = fb.arange(6.0, device='toy').reshape(2, 3).requires_grad_()\n"
    "(x @ x.T).exp().mean().backward()\n"
    "print('backend-template:', x.device, x.grad.sum().item())"
)
LIST_BACKENDS = (
    "from importlib.metadata import entry_points\n"
    "print(*sorted(e.name for e in entry_points(group='flambeau.backends')))"
)


def install(
    session: nox.Session, *requirements: str, editable: bool = False, extras: str = ""
) -> None:
    """Install every package from the checkout, as wheels or as links to the sources."""
    # Without isolation pip needs no fresh build environment per package: seconds instead of tens.
    session.install("--quiet", *BACKEND_TOOLS)
    ours = [
        f"{path}[{extras}]" if path.name == "backend-cpu" and extras else f"{path}"
        for path in PACKAGES
    ]
    if editable:
        ours = [word for path in ours for word in ("--editable", path)]
    session.install("--quiet", "--no-build-isolation", *ours, *requirements)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff's rules, ruff's format, and the length of modules and functions."""
    session.install("--quiet", *GROUPS["lint"])
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("python", "scripts/size.py", "--check")


@nox.session
def size(session: nox.Session) -> None:
    """Lines of code per package and module, and the installed size of core + cpu."""
    session.install("--quiet", *BACKEND_TOOLS)
    target = Path(session.create_tmp()) / "installed"
    shutil.rmtree(target, ignore_errors=True)
    session.install(
        *("--quiet", "--no-build-isolation", "--no-deps", "--no-compile", "--target", f"{target}"),
        *(f"{ROOT / 'packages' / name}" for name in ("core", "backend-cpu")),
    )
    session.run("python", "scripts/size.py", "--installed", f"{target}", *session.posargs)


@nox.session
def layers(session: nox.Session) -> None:
    """Imports point one way: libraries and backends to core, never back or sideways."""
    # On installed wheels, since import-linter does not follow a package across editable source folders.
    install(session, *GROUPS["layers"])
    cache = Path(session.create_tmp()) / "import_linter"
    session.run("lint-imports", "--cache-dir", f"{cache}", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """The generated stubs are current; mypy --strict over the installed wheels of every package."""
    # On installed wheels, since mypy does not follow a package across editable source folders.
    install(session, *GROUPS["types"])
    session.run("python", "scripts/make_stubs.py", "--check")
    cache = Path(session.create_tmp()) / "mypy"
    session.run(
        *("mypy", "--strict", "--cache-dir", f"{cache}", "-p", "flambeau", "-p", "flambeau_cpu"),
        *session.posargs,
    )


@nox.session(reuse_venv=False)
def minimal(session: nox.Session) -> None:
    """core + cpu alone: they import, compute, and name the package that brings what is missing."""
    session.install("--quiet", *(f"{ROOT / 'packages' / name}" for name in ("core", "backend-cpu")))
    session.run("python", "scripts/check_minimal.py")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test on the running interpreter: tests [--backend NAME] [PYTEST ARGS...]."""
    install(session, *GROUPS["test"], editable=True, extras="bf16")
    session.run("pytest", *session.posargs)


@nox.session(name="tests-all", venv_backend="none")
def tests_all(session: nox.Session) -> None:
    """Every test on each Python found, once per backend."""
    problems = {version: unusable(version) for version in PYTHONS}
    for version, problem in problems.items():
        if problem:
            session.warn(f"Python {version} is skipped: {problem}")
        else:
            session.notify(f"tests-on-{version}", session.posargs)
    if all(problems.values()):
        session.error("none of these Pythons can be used")


@nox.session(name="tests-on", python=PYTHONS, default=False)
def tests_on(session: nox.Session) -> None:
    """Every test on one Python, once per backend (tests-all asks for these)."""
    install(session, *GROUPS["test"], editable=True, extras="bf16")
    backends = str(session.run("python", "-c", LIST_BACKENDS, silent=True)).split()
    for backend in backends:
        session.log(f"Python {session.python}, backend {backend}")
        session.run("pytest", "--backend", backend, *session.posargs)


def unusable(version: str) -> str | None:
    """Why pythonX.Y cannot be used, or None. Version managers put commands on the path that only fail."""
    command = f"python{version}"
    if shutil.which(command) is None:
        return f"no {command} on the path"
    probe = [command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    result = subprocess.run(probe, capture_output=True, text=True, check=False)
    if result.returncode or result.stdout.strip() != version:
        lines = (result.stderr or result.stdout).strip().splitlines()
        return f"{command} does not run: {lines[0] if lines else 'no output'}"
    return None


@nox.session
def seeds(session: nox.Session) -> None:
    """The acceptance script's listings of PyTorch code, where it stands beside the clone."""
    script = ROOT.parent / "shared" / "acceptance" / "seeds.py"
    if not script.is_file():
        session.log("seeds: no ../shared/acceptance/seeds.py beside this clone; nothing to run")
        return
    install(session, editable=True)
    session.run("python", f"{script}", *session.posargs)


@nox.session
def quickstart(session: nox.Session) -> None:
    """A network learns handwritten digits, with a progress bar, saved weights and a picture."""
    install(session, *GROUPS["quickstart"])
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The table of timings beside PyTorch, which is installed in this session only."""
    install(session, *GROUPS["bench"])
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """The readers of checkpoints meet 100,000 damaged files (FLAMBEAU_FUZZ_FILES), the writers 200 kills."""
    install(session, *GROUPS["test"], editable=True)
    tests = [f"packages/core/tests/test_{name}.py" for name in ("checkpoint_fuzz", "atomic")]
    files = {"FLAMBEAU_FUZZ_FILES": os.environ.get("FLAMBEAU_FUZZ_FILES", "100000")}
    session.run("pytest", "-q", "-s", *tests, *session.posargs, env=files)


@nox.session
def parity(session: nox.Session) -> None:
    """Layers, losses, optimizers, schedulers and files beside PyTorch's, which is installed in this session only."""
    install(session, *GROUPS["test"], editable=True, extras="bf16")
    try:
        session.install("--quiet", *GROUPS["bench"], *GROUPS["parity"])
    except nox.command.CommandFailed:
        session.warn("PyTorch cannot be installed here: every test below is skipped")
    session.run("pytest", "parity", *session.posargs)


@nox.session(reuse_venv=False)
def build(session: nox.Session) -> None:
    """The source archive and the wheel of every package, the wheels installed together and imported."""
    out = ROOT / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.install("--quiet", "build>=1.2", *BACKEND_TOOLS)
    for path in (*PACKAGES, ROOT):
        session.run(
            *("python", "-m", "build", "--no-isolation", "--outdir", f"{out}", f"{path}"),
            silent=True,
        )
    wheels = sorted(f"{wheel}" for wheel in out.glob("*.whl"))
    session.install("--quiet", *wheels)
    session.run("python", "scripts/check_wheels.py", *wheels)
    # A stranger's backend, installed as any package is, must be found and compute.
    template = ROOT / "examples" / "backend-template"
    session.install("--quiet", "--no-deps", "--no-build-isolation", f"{template}")
    session.run("python", "-c", TRY_TEMPLATE)
