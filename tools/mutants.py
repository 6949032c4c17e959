# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows mutants`: plants one fault at a time into the kernel's C and says which test or proof
kills it. Faults are chosen by a seed, the same number of each kind (tools/mutate.py); those that the
compiler refuses are replaced by others. What is found is kept in build/mutants/, so that a run can
be ended and goes on later: a killed fault stays killed while its file is as it was, a survivor while
nothing that could kill it has changed. Survivors that docs/assurance/mutants.md explains are named
apart.
"""

import functools
import hashlib
import json
import random
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import build
import mutant_killers
import mutate
import proof_tools

ROOT = build.ROOT
RESULTS = build.BUILD / "mutants/results.jsonl"
EXPLAINED = ROOT / "docs/assurance/mutants.md"
JOBS = 2
FOLDERS = ("kernel", "kernel/object")
# What can kill: a survivor is tried again when any of it has changed.
KILLERS = ("kernel", "lib/base", "tests/check.c", "tests/kernel", "proofs", "tools/mutate.py",
           "tools/mutant_killers.py")


@dataclass
class Mutant:
    """A fault and what became of it."""

    file: str
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int
    text: str
    function: str = ""
    killer: str | None = None
    seconds: float = 0.0

    @property
    def row(self):
        """How docs/assurance/mutants.md names it."""
        return f"{self.file} {self.function}: {self.before} -> {self.after}"

    def planted(self):
        """The file's text with it."""
        return mutate.plant(_text(self.file), mutate.Fault(self.kind, self.start, self.end,
                                                           self.text))


@functools.cache  # as it was when its faults were chosen
def _text(file):
    return (ROOT / file).read_text("utf-8")


def _digest(files):
    state = hashlib.sha256()
    for file in files:
        state.update(file.encode() + b"\0" + (ROOT / file).read_bytes())
    return state.hexdigest()[:16]


def killers_digest():
    """Of everything that could kill a fault."""
    files = []
    for name in KILLERS:
        path = ROOT / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [f.relative_to(ROOT).as_posix() for f in found if f.is_file()]
    return _digest(files)


def sources(wanted=""):
    """The files that faults are planted into: what ships of the kernel's core."""
    out = []
    for folder in FOLDERS:
        for path in sorted([*(ROOT / folder).glob("*.c"), *(ROOT / folder).glob("*.h")]):
            name = path.relative_to(ROOT).as_posix()
            ships = not path.stem.endswith(("_test", "_fake")) and "/invariants" not in name
            if ships and wanted in name:
                out.append(name)
    return out


def every_mutant(file):
    """All faults of a file."""
    text = _text(file)
    for fault in mutate.faults_of(text):
        line, before, after = mutate.describe(text, fault)
        yield Mutant(file, line, fault.kind, before, after, fault.start, fault.end, fault.after,
                     mutate.function_of(text, fault))


def choose(host, wanted, count, seed, pool):
    """`count` faults that compile, as many of each kind, the same ones for the same seed."""
    by_kind = {kind: [] for kind in mutate.KINDS}
    for file in sources(wanted):
        for mutant in every_mutant(file):
            by_kind[mutant.kind].append(mutant)
    out = []
    for number, kind in enumerate(mutate.KINDS):
        quota = count // len(mutate.KINDS) + (number < count % len(mutate.KINDS))
        candidates = by_kind[kind]
        random.Random(f"{seed}/{kind}").shuffle(candidates)
        good = []
        for at in range(0, len(candidates), 8):
            some = candidates[at:at + 8]
            good += [m for m, ok in zip(some, pool.map(lambda m: _accepts(host, m), some)) if ok]
            if len(good) >= quota:
                break
        out += good[:quota]
    random.Random(seed).shuffle(out)
    return out


def _overlay(folder, mutant):
    path = Path(folder) / mutant.file
    path.parent.mkdir(parents=True)
    path.write_text(mutant.planted(), "utf-8")
    return Path(folder)


def _accepts(host, mutant):
    with tempfile.TemporaryDirectory(prefix="hallows-mutant-") as work:
        return host.accepts(_overlay(work, mutant), mutant.file)


class Laboratory:
    """Tries faults, with what was found before at hand."""

    def __init__(self, host, machine, tool, again=False):
        self.host, self.machine, self.tool = host, machine, tool
        self.lock = threading.Lock()
        self.digest = killers_digest() + ("m" if machine else "") + ("p" if tool else "")
        self.known = {}
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        if RESULTS.exists() and not again:
            for line in RESULTS.read_text("utf-8").splitlines():
                result = json.loads(line)
                self.known[result["key"]] = result

    def _key(self, mutant):
        return hashlib.sha256(f"{_digest([mutant.file])} {mutant.start} {mutant.end} {mutant.text}"
                              .encode()).hexdigest()[:24]

    def attempt(self, mutant):
        """Fills in the killer; returns the mutant."""
        key = self._key(mutant)
        before = self.known.get(key)
        if before and (before["killer"] or before["digest"] == self.digest):
            mutant.killer, mutant.seconds = before["killer"], before["seconds"]
            return mutant
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="hallows-mutant-") as work:
            overlay = _overlay(work, mutant)
            mutant.killer, _ = self.host.kill(overlay, mutant.file)
            if mutant.killer is None and self.tool:
                mutant.killer = mutant_killers.killing_proof(self.tool, mutant.file,
                                                             mutant.planted())
                # CBMC may refuse what the compiler takes: that is no proof.
                mutant.killer = None if mutant.killer == "compiler" else mutant.killer
            if mutant.killer is None and self.machine:
                mutant.killer = self.machine.kill(overlay, mutant.file)
        mutant.seconds = time.monotonic() - start
        with self.lock, RESULTS.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"key": key, "digest": self.digest, **asdict(mutant)}) + "\n")
        return mutant


def survivors_before(known, wanted=""):
    """The faults that survived last time, where the code still has the place for them."""
    rows = {Mutant(**{f: r[f] for f in Mutant.__dataclass_fields__ if f in r}).row
            for r in known.values() if not r["killer"]}
    every = (m for file in sources(wanted) for m in every_mutant(file))
    return [m for m in every if m.row in rows]


def explanations():
    """Rows of docs/assurance/mutants.md that name a survivor: what stands in ``double quotes``."""
    text = EXPLAINED.read_text("utf-8") if EXPLAINED.exists() else ""
    return {part.strip() for part in text.split("``")[1::2]}


def laboratory(machine=True, prove=True, again=False, install=True):
    """Builds what is needed and checks that the tests pass without a fault."""
    host = mutant_killers.Host()
    with tempfile.TemporaryDirectory(prefix="hallows-mutant-") as work:
        failed, _ = host.kill(Path(work), "kernel/no_such_file.c")
    if failed:
        raise mutant_killers.KillerError(f"without a fault: {failed}")
    tool = proof_tools.ensure(install) if prove else None
    return Laboratory(host, mutant_killers.Machine() if machine else None, tool, again)


def add_options(parser):
    """The verb's options."""
    parser.add_argument("filter", nargs="?", default="", help="only files with this in the path")
    parser.add_argument("--count", type=int, default=200, help="how many, chosen by --seed (200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--host-only", action="store_true",
                        help="unit tests and fuzzer only: no proofs, no kernel tests inside QEMU")
    parser.add_argument("--survivors", action="store_true",
                        help="only those that survived before, instead of a choice")
    parser.add_argument("--again", action="store_true", help="forget what was found before")


def report(mutants, seconds):
    """Prints the sums and the survivors; returns the survivors without an explanation."""
    killers = {}
    for mutant in mutants:
        if mutant.killer:
            group = mutant.killer.split(":")[0].split()[0]
            killers[group] = killers.get(group, 0) + 1
    for group, number in sorted(killers.items(), key=lambda item: -item[1]):
        print(f"{number:5} killed by {group}")
    explained, known = [], explanations()
    survivors = [m for m in mutants if not m.killer]
    explained = [m for m in survivors if m.row in known]
    print(f"{sum(killers.values())} of {len(mutants)} killed, {len(explained)} survivors explained,"
          f" {len(survivors) - len(explained)} not ({seconds:.0f} s)")
    return [m for m in survivors if m.row not in known]


def main(options):
    """The verb: returns the exit status: 1 if a survivor is not explained."""
    try:
        lab = laboratory(not options.host_only, not options.host_only, options.again,
                         not options.no_install)
    except mutant_killers.KillerError as reason:
        print(f"hallows: {reason}")
        return 1
    start = time.monotonic()
    with ThreadPoolExecutor(JOBS) as pool:
        chosen = survivors_before(lab.known, options.filter) if options.survivors else choose(
            lab.host, options.filter, options.count, options.seed, pool)
        done = []
        for mutant in pool.map(lab.attempt, chosen):
            done.append(mutant)
            place = f"{mutant.file}:{mutant.line}"
            verdict = "killed" if mutant.killer else "SURVIVED"
            print(f"{len(done):4}/{len(chosen)} {verdict:8} {mutant.kind:9} {place:36}"
                  f" {mutant.killer or mutant.after}", flush=True)
    print()
    unexplained = report(done, time.monotonic() - start)
    for mutant in unexplained:
        print(f"survivor ``{mutant.row}``")
    return 1 if unexplained else 0
