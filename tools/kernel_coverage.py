# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows coverage`: which lines, branches and conditions of the kernel's core its unit tests and
random system calls reach, file by file. Conditions (MC/DC) are measured by clang 19 or newer; with an
older clang the column is empty. The annotated source is written to build/coverage/.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import build

ROOT = build.ROOT
FOLDER = build.BUILD / "coverage"
CALLS = 200000
LEFT_OUT = r"(_test|_fake)\.c$|/arch/host/|/invariants|/tests/|/lib/|/include/"
VERSIONS = ("-22", "-21", "-20", "-19", "", "-16", "-15", "-14")


class CoverageError(Exception):
    """No compiler that can, or a run failed; str() is for the user."""


def find_tools():
    """(clang, llvm-profdata, llvm-cov, major version) of one release, the newest there is."""
    for suffix in VERSIONS:
        names = [shutil.which(f"{tool}{suffix}") for tool in ("clang", "llvm-profdata", "llvm-cov")]
        if all(names):
            text = subprocess.run([names[0], "--version"], capture_output=True, text=True,
                                  check=True).stdout
            return *names, int(re.search(r"version (\d+)", text)[1])
    raise CoverageError("clang with llvm-profdata and llvm-cov is missing (apt: clang-19, llvm-19)")


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--calls", type=int, default=CALLS,
                        help=f"random system calls besides the unit tests ({CALLS})")


def measure(calls):
    """Builds, runs, and returns {file: {"lines", "branches", "mcdc"}}, each (reached, all)."""
    clang, profdata, cov, version = find_tools()
    flags = "-fcoverage-mcdc" if version >= 18 else ""
    build.make("kernel-coverage", variables=(f"COVERAGE_CC={clang}", f"COVERAGE_FLAGS={flags}"))
    program = str(build.BUILD / "coverage-obj" / Path(clang).name / "units")
    FOLDER.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, LLVM_PROFILE_FILE=str(FOLDER / "run.profraw"),
                       HALLOWS_FUZZ_CALLS=str(calls), HALLOWS_FUZZ_CHECK_EVERY="64")
    done = subprocess.run([program], env=environment, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise CoverageError("the tests fail: " + "; ".join(done.stdout.splitlines()[-3:]))
    subprocess.run([profdata, "merge", "-sparse", str(FOLDER / "run.profraw"), "-o",
                    str(FOLDER / "run.profdata")], check=True)
    shared = [program, f"-instr-profile={FOLDER / 'run.profdata'}",
              f"-ignore-filename-regex={LEFT_OUT}"]
    show = ["-show-branches=count", *(["-show-mcdc"] if flags else [])]
    with (FOLDER / "source.txt").open("w", encoding="utf-8") as out:
        subprocess.run([cov, "show", *shared, *show], stdout=out, check=True)
    text = subprocess.run([cov, "export", *shared, "-summary-only"], stdout=subprocess.PIPE,
                          text=True, check=True).stdout
    return summary(text, str(ROOT))


def summary(text, root):
    """What llvm-cov's JSON says, by file."""
    out = {}
    for entry in json.loads(text)["data"][0]["files"]:
        counts = entry["summary"]
        out[Path(entry["filename"]).as_posix().removeprefix(root + "/")] = {
            kind: (counts.get(kind, {}).get("covered", 0), counts.get(kind, {}).get("count", 0))
            for kind in ("lines", "branches", "mcdc")}
    return out


def percent(reached, count):
    """A column."""
    return f"{100 * reached / count:5.1f}%" if count else "      "


def main(options):
    """The verb: returns the exit status."""
    files = measure(options.calls)
    print(f"{'file':36} {'lines':>6} {'branches':>9} {'conditions':>11}")
    total = {kind: [0, 0] for kind in ("lines", "branches", "mcdc")}
    for name, counts in sorted(files.items()):
        print(f"{name:36} {percent(*counts['lines'])} {percent(*counts['branches']):>9}"
              f" {percent(*counts['mcdc']):>11}")
        for kind, (reached, count) in counts.items():
            total[kind][0] += reached
            total[kind][1] += count
    print(f"{'all':36} {percent(*total['lines'])} {percent(*total['branches']):>9}"
          f" {percent(*total['mcdc']):>11}")
    print(f"source with counts: {(FOLDER / 'source.txt').relative_to(ROOT)}")
    return 0
