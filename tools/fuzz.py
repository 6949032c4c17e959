# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows fuzz`: runs libFuzzer on every parser of untrusted bytes (each *_fuzz.c is one target).

A corpus is kept for each target under build/fuzz/corpus, so that a later run goes on from there; an
input that breaks something is kept under build/fuzz/crashes, with the command that repeats it.
"""

import concurrent.futures
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import build

ROOT = build.ROOT
PROGRAMS = build.BUILD / "fuzz"
INPUT_BYTES_MAX = 8192
GRACE_S = 60  # beyond the time that libFuzzer was given
JOBS = 2


class FuzzError(Exception):
    """There is nothing to run, or no way; str() is for the user."""


@dataclass
class Outcome:
    """How one target fared."""

    name: str
    good: bool
    inputs: int = 0
    edges: int = 0  # of its code that were reached
    corpus: int = 0
    details: tuple = ()


def targets(wanted="", root=ROOT):
    """Names of the targets that contain `wanted`: the files' paths without _fuzz.c."""
    paths = [path.relative_to(root) for path in Path(root).rglob("*_fuzz.c")]
    names = sorted(path.as_posix().removesuffix("_fuzz.c") for path in paths
                   if path.parts[0] != build.BUILD.name)
    return [name for name in names if wanted in name]


def parse(name, status, text):
    """libFuzzer's output as an Outcome."""
    counts = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+)", text, re.MULTILINE)
    inputs, edges, corpus = map(int, counts[-1]) if counts else (0, 0, 0)
    if status == 0 and counts:
        return Outcome(name, True, inputs, edges, corpus)
    wrong = re.findall(r"^.*(?:ERROR:|runtime error:|\.[ch]:\d+: ).*$", text, re.MULTILINE)[:3]
    kept = re.search(r"Test unit written to (\S+)", text)
    repeat = [f"repeat: build/fuzz/{name}_fuzz {kept[1]}"] if kept else []
    return Outcome(name, False, inputs, edges, corpus, (*(wrong or [f"status {status}"]), *repeat))


def run_target(name, limits, timeout):
    """Runs one target; `limits` are libFuzzer's options that end it."""
    corpus, crashes = PROGRAMS / "corpus" / name, PROGRAMS / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    command = [str(PROGRAMS / f"{name}_fuzz"), *limits, f"-max_len={INPUT_BYTES_MAX}", "-timeout=10",
               f"-artifact_prefix={crashes}/{name.replace('/', '-')}-", str(corpus)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(name, False, details=(f"did not end within {timeout:.0f} s",))
    return parse(name, done.returncode, done.stdout)


def run_all(names, limits, timeout, show=lambda outcome: None):
    """Builds and runs the targets, JOBS at a time; the outcomes in order."""
    if not names:
        raise FuzzError("no target of that name; ./hallows fuzz --list names them")
    if shutil.which("clang") is None:
        raise FuzzError("clang is missing; libFuzzer comes with it (run without --no-install)")
    build.make(*(f"{PROGRAMS.relative_to(ROOT)}/{name}_fuzz" for name in names))
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for outcome in pool.map(lambda name: run_target(name, limits, timeout), names):
            show(outcome)
            outcomes.append(outcome)
    return outcomes


def add_options(parser):
    """The verb's options."""
    parser.add_argument("target", nargs="?", default="",
                        help="only targets whose name contains this (all)")
    parser.add_argument("--seconds", type=int, default=60, metavar="S",
                        help="for each target (%(default)s)")
    parser.add_argument("--list", action="store_true", help="name the targets and do nothing")


def main(options):
    """The verb: returns the exit status."""
    names = targets(options.target)
    if options.list:
        print("\n".join(names))
        return 0
    if options.seconds < 1:
        raise FuzzError(f"--seconds {options.seconds}: give at least 1")
    rounds = (len(names) + JOBS - 1) // JOBS
    print(f"{len(names)} targets, {options.seconds} s each, {JOBS} at a time: about"
          f" {rounds * options.seconds} s after the build", flush=True)
    print(f"{'target':32} {'inputs':>12} {'edges':>6} {'corpus':>7}  result")

    def show(outcome):
        print(f"{outcome.name:32} {outcome.inputs:12} {outcome.edges:6} {outcome.corpus:7}"
              f"  {'ok' if outcome.good else 'BROKEN'}", flush=True)
        for line in outcome.details:
            print(f"    {line}")

    outcomes = run_all(names, [f"-max_total_time={options.seconds}"], options.seconds + GRACE_S, show)
    return 0 if all(outcome.good for outcome in outcomes) else 1
