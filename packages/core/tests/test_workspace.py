"""The repository around the packages: versions, licences, dev.py, and the documents."""

import ast
import doctest
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import flambeau

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PACKAGES = {path.parent.name: path for path in sorted(ROOT.glob("packages/*/pyproject.toml"))}
LIBRARIES = {"nn": "nn", "optim": "optim", "data": "utils/data"}
DOCUMENTS = [
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "packages/*/*.md",
        "benchmarks/*.md",
        "examples/**/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
]
READMES = [ROOT / "README.md", *(path.with_name("README.md") for path in PACKAGES.values())]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(
    not (ROOT / "dev.py").is_file(), reason="needs the checkout: dev.py is not above this test"
)


def pyproject(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))


def name_of(path):
    return path.relative_to(ROOT).as_posix() if isinstance(path, Path) else str(path)


# Packages


def test_all_packages_carry_cores_version():
    version = flambeau.__version__
    assert "version" in pyproject(PACKAGES["core"])["project"]["dynamic"]
    for path in [ROOT / "pyproject.toml", *PACKAGES.values()]:
        project = pyproject(path)["project"]
        extras = project.get("optional-dependencies", {}).values()
        ours = [
            need
            for needs in [project["dependencies"], *extras]
            for need in needs
            if need.startswith("flambeau-")
        ]
        assert project.get("version", version) == version, path
        assert all(need.endswith(f"=={version}") for need in ours), (path, ours)


@pytest.mark.parametrize("folder", PACKAGES)
def test_package_is_complete(folder):
    path = PACKAGES[folder].parent
    project = pyproject(PACKAGES[folder])["project"]
    assert project["requires-python"] == ">=3.11"
    assert (path / "README.md").read_text(encoding="utf-8").startswith(f"# {project['name']}\n")
    assert (path / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert len(list(path.glob("src/**/py.typed"))) == 1


@pytest.mark.parametrize("folder", LIBRARIES)
def test_library_leaves_the_folders_above_to_core(folder):
    source = ROOT / "packages" / folder / "src" / "flambeau"
    top = source / LIBRARIES[folder]
    assert (top / "__init__.py").is_file()
    outside = [name_of(file) for file in source.rglob("*.py") if not file.is_relative_to(top)]
    assert outside == []


def test_backends_are_declared_as_entry_points():
    declared = {
        name: target
        for path in PACKAGES.values()
        for name, target in pyproject(path)["project"]
        .get("entry-points", {})
        .get("flambeau.backends", {})
        .items()
    }
    assert declared["cpu"] == "flambeau_cpu.plugin"
    for target in declared.values():
        module = target.replace(".", "/")
        assert list(ROOT.glob(f"packages/*/src/{module}.py")), target


# dev.py


def run_dev(folder, *arguments, before=""):
    """A copy of dev.py in a folder of its own, after some Python that changes what it finds."""
    script = folder / "dev.py"
    script.write_bytes((ROOT / "dev.py").read_bytes())
    code = (
        f"import runpy, sys\n{before}\n"
        f"sys.argv = {['dev.py', *arguments]!r}\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_dev_parses_on_old_pythons():
    tree = ast.parse((ROOT / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 4))
    new = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Match, ast.AsyncFunctionDef)
    assert [ast.dump(node) for node in ast.walk(tree) if isinstance(node, new)] == []
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported <= set(sys.stdlib_module_names)


def test_dev_names_the_python_it_needs(tmp_path):
    result = run_dev(tmp_path, "tests", before="sys.version_info = (3, 8, 10, 'final', 0)")
    assert result.returncode == 1
    assert "flambeau needs Python 3.11 or newer and this is 3.8" in result.stderr


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_dev_names_the_debian_package_where_venv_is_missing(tmp_path, module):
    result = run_dev(tmp_path, "tests", before=f"sys.modules[{module!r}] = None")
    package = "python{}.{}-venv".format(*sys.version_info)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"install the Debian package {package} " in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()


def test_dev_without_a_task_says_what_there_is(tmp_path):
    result = run_dev(tmp_path)
    assert result.returncode == 0
    assert "python3 dev.py tests" in result.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for .venv's Python is a shell script")
@pytest.mark.parametrize(
    ("given", "handed_on"),
    [
        (["tests"], "--session tests"),
        (["tests", "-k", "view"], "--session tests -- -k view"),
        (["-s", "lint", "types"], "-s lint types"),
    ],
)
def test_dev_hands_over_to_nox(tmp_path, given, handed_on):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$@"\nexit 7\n')
    python.chmod(0o755)
    result = run_dev(tmp_path, *given)
    assert result.stdout.strip() == f"-m nox --noxfile {tmp_path / 'noxfile.py'} {handed_on}"
    assert result.returncode == 7


# Documents


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_document_links_lead_somewhere(path):
    text = re.sub("`[^`]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [
        target for target in targets if "://" not in target and not target.startswith("mailto:")
    ]
    assert [target for target in local if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_document_examples_run(path, tmp_path, monkeypatch):
    """`>>>` examples anywhere; in the packages' READMEs every block marked python, in order."""
    monkeypatch.chdir(tmp_path)
    whole = path in READMES
    globals_ = {"__name__": "document"}
    for number, (language, body) in enumerate(FENCE.findall(path.read_text(encoding="utf-8")), 1):
        if ">>> " in body:
            name = f"{name_of(path)}, block {number}"
            test = doctest.DocTestParser().get_doctest(body, globals_, name, name, 0)
            flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
            failed, _ = doctest.DocTestRunner(optionflags=flags).run(test, clear_globs=False)
            assert failed == 0
            globals_ = test.globs
        elif language == "python" and whole:
            exec(compile(body, f"{name_of(path)}, block {number}", "exec"), globals_)
