#!/usr/bin/env python3
"""Every task of this repository behind one command that needs nothing but Python 3.11 or newer.

    python3 dev.py quickstart          a network learns handwritten digits
    python3 dev.py tests               every test; what follows goes to pytest: dev.py tests -k view
    python3 dev.py SESSION [ARGS...]   any session of noxfile.py with its arguments
    python3 dev.py --list              the sessions; an option first hands everything to nox as it is

The first call makes .venv beside this file, installs nox there and hands over to it.
"""

# Syntax and imports stay within what any Python 3 has, so that an old one reaches the message in main().
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
OLDEST = (3, 11)
NOX = "nox>=2025.5.1"


def main(argv):
    version = "%d.%d" % sys.version_info[:2]
    if sys.version_info[:2] < OLDEST:
        return fail(
            "flambeau needs Python %d.%d or newer and this is %s (%s): run dev.py with a newer one, "
            "for example python3.12 dev.py tests." % (OLDEST + (version, sys.executable))
        )
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(__doc__)
        return 0
    python = os.path.join(
        VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python"))
    )
    if not has_nox(python):
        problem = make_environment(python, version)
        if problem:
            return fail(problem)
    command = [python, "-m", "nox", "--noxfile", os.path.join(ROOT, "noxfile.py")]
    if argv[0].startswith("-"):
        command += argv
    else:
        command += ["--session", argv[0]] + (["--"] + argv[1:] if argv[1:] else [])
    try:
        return subprocess.call(command, cwd=ROOT)
    except KeyboardInterrupt:
        return 130


def has_nox(python):
    """Whether .venv works: it may be of a Python since removed, or of a folder since moved."""
    try:
        with open(os.devnull, "w") as nowhere:
            return not subprocess.call(
                [python, "-c", "import sys, nox; sys.exit(sys.version_info[:2] < (3, 11))"],
                stdout=nowhere,
                stderr=nowhere,
            )
    except OSError:
        return False


def make_environment(python, version):
    """Make .venv with nox in it; return what went wrong, or None."""
    try:
        import ensurepip  # Debian ships venv without it, and venv then fails half-way
        import venv
    except ImportError:
        return (
            "This Python cannot make virtual environments yet: install the Debian package "
            "python%s-venv (sudo apt-get install python%s-venv) and run the same command again."
            % (version, version)
        )
    del ensurepip
    sys.stderr.write("dev.py: making .venv with nox in it (once)\n")
    try:
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=os.name != "nt").create(VENV)
    except (OSError, subprocess.CalledProcessError) as error:
        return "Could not make the environment %s: %s" % (VENV, error)
    quiet = ["--quiet", "--disable-pip-version-check"]
    if subprocess.call([python, "-m", "pip", "install"] + quiet + [NOX]):
        return "pip could not install nox into %s; its message above says why." % VENV
    return None


def fail(message):
    sys.stderr.write("dev.py: " + message + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
