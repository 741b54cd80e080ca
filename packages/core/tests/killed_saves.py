"""Kills processes that save one value after another, and loads what they leave: FORMAT KILLS SEED FOLDER.

A program of its own, because it forks: its writers start from an interpreter that has everything imported and no
threads. Every file must hold the last value whose save returned, or the next one, whole.
"""

import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import flambeau as fb
from flambeau import _atomic
from flambeau.serialization import safetensors

SIZES = (20, 3_000, 300_000, 1_000_000, 70_000)
LONGEST = 0.02  # seconds until a kill
#: Where a save can be: from each call to the next (the data are written between open and fsync).
PLACES = ("start", "open", "fsync", "link", "replace", "end")
#: What a writer tells: the last value whose save returned, where it is now, behind which call it ends itself.
DONE, PLACE, LAST = range(3)


def make(i):
    return {"i": fb.tensor(i), "w": fb.full((SIZES[i % len(SIZES)],), float(i))}


FORMATS = {
    "save": (fb.save, fb.load),
    "safetensors": (safetensors.save_file, safetensors.load_file),
    "save to a named file": (fb.save, fb.load),  # as where there are no unnamed ones
}


def check(value):
    """The number of a value that must be whole."""
    i = int(value["i"])
    if value["w"].shape != (SIZES[i % len(SIZES)],) or not bool((value["w"] == i).all()):
        raise SystemExit(f"value {i} is not whole")
    return i


def watch(name, told):
    """Exchange a function of the module os for one that tells where the save is, and may end the process behind it."""
    call, here = getattr(os, name), PLACES.index(name)

    def watched(*args, **kwargs):
        told[PLACE] = here if told[PLACE] <= here else len(PLACES) - 1
        result = call(*args, **kwargs)
        if told[LAST] == here:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, name, watched)


def write(save, path, i, told, last=0):
    """Save endlessly; with a last place, until that call has returned in one of the first saves."""
    for name in PLACES[1:-1]:
        if hasattr(os, name):
            watch(name, told)
    turning = i + 1 + i % 3
    while True:
        i += 1
        told[PLACE], told[LAST] = 0, last * (i == turning)
        save(make(i), path)
        told[DONE] = i


def forked(save, path, i, told, rng, last):
    """A writer that is killed after a random time, or by itself behind a call."""
    told[DONE], told[PLACE], told[LAST] = i, -1, 0
    pid = os.fork()
    if not pid:
        try:
            write(save, path, i, told, last)
        finally:
            os._exit(1)
    if not last:
        deadline = time.monotonic() + 10
        while told[PLACE] < 0 and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(rng.random() ** 2 * LONGEST)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise SystemExit(f"the writer ended by itself with status {status}")


def started(kind, path, i, rng):
    """The same without fork: a fresh interpreter, which cannot tell how far it is."""
    words = [sys.executable, __file__, kind, "write", str(i), path]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        time.sleep(rng.random() * 0.05)
        writer.kill()


def has_unnamed(folder):
    handle = _atomic._open_unnamed(folder)
    if handle is not None:
        os.close(handle)
    return handle is not None


def run(kind, kills, seed, folder):
    if "named" in kind:
        _atomic._UNNAMED = 0
    path, rng = os.path.join(folder, "x.file"), random.Random(seed)
    told = memoryview(mmap.mmap(-1, 24)).cast("q")
    (save, load), fork, unnamed = FORMATS[kind], hasattr(os, "fork"), has_unnamed(folder)
    ends = [
        PLACES.index(name) for name in ("fsync", "link", "replace") if unnamed or name != "link"
    ]
    if not fork:
        kills = min(kills, 10)
        print(f"this system cannot fork: {kills} kills, each of a fresh interpreter")
    save(make(0), path)
    i, timed, ended, left = 0, Counter(), Counter(), 0
    for kill in range(kills):
        last = rng.choice(ends) if fork and kill % 4 == 3 else 0
        if fork:
            forked(save, path, i, told, rng, last)
        else:
            started(kind, path, i, rng)
        found = check(load(path))
        if found < i or (fork and not told[DONE] <= found <= told[DONE] + 1):
            raise SystemExit(
                f"kill {kill}, seed {seed}: value {found}, after {told[DONE]} was saved ({i} was there before)"
            )
        i = found
        (ended if last else timed)[PLACES[told[PLACE]] if fork else "unknown"] += 1
        for name in set(os.listdir(folder)) - {"x.file"}:
            left += not last
            os.unlink(os.path.join(folder, name))
    print(
        f"{kills} kills of {kind}, seed {seed}, {i} values saved. At random times: {dict(timed)}, "
        f"{left} temporary files left; right behind a call: {dict(ended)}"
    )
    if fork and kills >= 100 and not (timed["open"] and ended["fsync"] and ended["replace"]):
        raise SystemExit("no kill fell into the writing, or none around the renaming")
    if unnamed and left > 2 + kills // 10:
        raise SystemExit("temporary files are left behind")


if __name__ == "__main__":
    kind, what, number, where = sys.argv[1:]
    if what == "write":
        print("ready", flush=True)
        write(FORMATS[kind][0], where, int(number), [0, 0, 0])
    else:
        run(kind, int(what), int(number), where)
