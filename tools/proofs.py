# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows proofs`: every `void prove_name(void)` below proofs/, run by CBMC.

A file whose comment has lines "Goal name: options" proves a whole operation of the kernel
(docs/decisions/031): each of its functions is run once for each goal, with those options.
`./hallows test` runs only the goals that begin with "Quick goal", and all proofs without goals.
Two jobs each: the proof, with CBMC's own checks (bounds, pointers, overflow, shifts) and complete
loops, and the reachability of its end, which must be *refuted* in a run of its own. A job that takes
longer than its deadline is red. Results are kept by the hash of what was checked: the preprocessed
text, the options and the tool's version.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import build
import proof_tools

ROOT = build.ROOT
PROOFS = ROOT / "proofs"
CACHE = build.BUILD / "proofs/cache"
# Of CPU: four times what the slowest takes here, since machines differ and a proof has no surprises.
DEADLINE_S = 240
JOBS = 2
# Compiling and waiting for a busy machine count for less than the checker's own time.
WALL_PER_DEADLINE = 10
WHOLE = ["-DHALLOWS_PROOF", "--no-standard-checks", "--object-bits", "12"]
FLAGS = ["-I.", "-Iinclude", "-DHALLOWS_KERNEL"]
CHECKS = ["--bounds-check", "--pointer-check", "--pointer-overflow-check", "--div-by-zero-check",
          "--signed-overflow-check", "--undefined-shift-check"]
OPTIONS = ["--nondet-static", "--drop-unused-functions", "--slice-formula", "--unwind", "8",
           "--unwinding-assertions"]


@dataclass
class Proof:
    """One function of one file."""

    name: str  # ring/hostile_peer/take
    file: str
    function: str
    goal: tuple = ()  # options of a whole operation's goal
    quick: bool = True  # also run by ./hallows test


@dataclass
class Outcome:
    """What a job said."""

    name: str
    verdict: str  # proved, FAILED, TIMEOUT, VACUOUS, ERROR
    properties: int = 0
    seconds: float = 0.0
    details: tuple = ()

    @property
    def good(self):
        """Whether it counts."""
        return self.verdict == "proved"


def find_proofs(wanted="", root=ROOT):
    """All proofs whose name contains `wanted`, in order."""
    out = []
    for path in sorted((root / "proofs").rglob("*.c")):
        stem = path.relative_to(root / "proofs").with_suffix("").as_posix()
        text = path.read_text("utf-8")
        goals = re.findall(r"^ \* (Goal|Quick goal) (\w+): (.+)$", text, re.M)
        for function in re.findall(r"^void prove_(\w+)\(void\)", text, re.M):
            for kind, goal, options in goals or [("Quick goal", "", "")]:
                name = f"{stem}/{function}" + (f"/{goal}" if goal else "")
                if wanted in name:
                    out.append(Proof(name, path.relative_to(root).as_posix(), f"prove_{function}",
                                     tuple(options.split()), kind == "Quick goal"))
    return out


def sources_of(file, root=ROOT):
    """The files of the system that a harness says it proves."""
    text = (root / file).read_text("utf-8")
    return re.findall(r"\bOf: (\S+)", text)


def _preprocessed(proof, defines, root):
    defines = [*defines, *proof.goal, *(["-DHALLOWS_PROOF"] if proof.goal else [])]
    command = ["gcc", "-E", "-P", "-D__CPROVER", *FLAGS, *defines, proof.file]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _run(command, root, deadline):
    """Status (None: over the deadline, in seconds of CPU), output, seconds of CPU."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (deadline, deadline))

    end = time.monotonic() + deadline * WALL_PER_DEADLINE
    with tempfile.TemporaryFile("w+") as out:
        # Waited for with wait4 below, which says what it used.
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            command, cwd=root, stdout=out, stderr=subprocess.STDOUT, preexec_fn=limit)
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        while not done:
            time.sleep(0.02)
            if time.monotonic() > end:
                process.kill()
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = usage.ru_utime + usage.ru_stime
        if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            return None, "", seconds
        out.seek(0)
        return process.returncode, out.read(), seconds


def _check(cbmc, proof, reach, deadline, root):
    command = [cbmc, proof.file, *FLAGS, "--function", proof.function, *OPTIONS]
    command += [*WHOLE, *proof.goal] if proof.goal else [] if reach else CHECKS
    command += CHECKS if "-DPROOF_CELLS" in proof.goal and not reach else []
    command += ["-DPROOF_REACH", "--no-standard-checks"] if reach else []
    status, output, seconds = _run(command, root, deadline)
    if status is None:
        return Outcome(proof.name, "TIMEOUT", 0, seconds)
    missing = [name for name in re.findall(r"no body for (?:function|callee) (\S+)", output)
               if not name.startswith("nondet_")]
    if missing:
        return Outcome(proof.name, "ERROR", 0, seconds, (f"no body for {missing[0]}",))
    count = re.search(r"\*\* \d+ of (\d+) failed", output)
    properties = int(count.group(1)) if count else 0
    failures = tuple(re.findall(r"^\[.*: FAILURE$", output, re.M)[:6])
    if status not in (0, 10):
        return Outcome(proof.name, "ERROR", 0, seconds, tuple(output.splitlines()[-6:]))
    if reach:
        reached = status == 10 and failures and all("reached" in line for line in failures)
        return Outcome(proof.name, "proved" if reached else "VACUOUS", properties, seconds, failures)
    if status == 10:
        return Outcome(proof.name, "FAILED", properties, seconds, failures)
    verdict = "proved" if properties else "ERROR"
    return Outcome(proof.name, verdict, properties, seconds, () if properties else ("no property",))


def prove(tool, proof, deadline=DEADLINE_S, root=ROOT, cache=CACHE):
    """Both jobs of a proof; (outcome, whether it was kept from before)."""
    cbmc, version = tool
    text = _preprocessed(proof, [], root)
    if text is None:
        return Outcome(proof.name, "ERROR", details=("does not compile",)), False
    key = hashlib.sha256("\0".join([version, proof.name, text, *FLAGS, *CHECKS, *OPTIONS])
                         .encode()).hexdigest()
    kept = cache / f"{key}.json" if cache else None
    if kept and kept.exists():
        return Outcome(**json.loads(kept.read_text("utf-8"))), True
    outcome = _check(cbmc, proof, False, deadline, root)
    if outcome.good:
        end = _check(cbmc, proof, True, deadline, root)
        outcome.seconds += end.seconds
        if not end.good:
            outcome.verdict, outcome.details = end.verdict, end.details
    if kept and outcome.good:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(asdict(outcome)), "utf-8")
        part.replace(kept)
    return outcome, False


def prove_all(proofs, jobs=JOBS, deadline=DEADLINE_S, show=print, cache=CACHE, install=True):
    """Every outcome, in the order given."""
    tool = proof_tools.ensure(install)
    if tool is None:
        raise proof_tools.ToolError("CBMC 6 is not installed")
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(prove, tool, proof, deadline, ROOT, cache) for proof in proofs]
        for done, task in enumerate(tasks, start=1):
            outcome, kept = task.result()
            outcomes.append(outcome)
            show(f"[{done}/{len(tasks)}] {outcome.verdict:8} {outcome.name}"
                 + (" (kept)" if kept else ""))
            for line in outcome.details if not outcome.good else ():
                show(f"        {line}")
    return outcomes


def add_options(parser):
    """The verb's options."""
    parser.add_argument("filter", nargs="?", default="", help="only proofs with this in the name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table there")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"at once ({JOBS})")
    parser.add_argument("--deadline", type=int, default=DEADLINE_S, metavar="S",
                        help=f"seconds for one job; longer is a failure ({DEADLINE_S})")
    parser.add_argument("--fresh", action="store_true", help="keep and use no earlier result")


def main(options):
    """The verb: returns the exit status."""
    proofs = find_proofs(options.filter)
    if not proofs:
        print(f"no proof has '{options.filter}' in its name")
        return 1
    start = time.monotonic()
    cache = None if options.fresh else CACHE
    outcomes = prove_all(proofs, options.jobs, options.deadline, cache=cache,
                         install=not options.no_install)
    print(f"\n{'operation':44} {'properties':>10} {'CPU s':>8}  result")
    for outcome in outcomes:
        print(f"{outcome.name:44} {outcome.properties:>10} {outcome.seconds:>8.1f}"
              f"  {outcome.verdict}")
    bad = [outcome for outcome in outcomes if not outcome.good]
    print(f"{len(outcomes) - len(bad)} proved, {len(bad)} not ({time.monotonic() - start:.0f} s);"
          " docs/assurance/proofs.md says of what")
    if options.json:
        options.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n", "utf-8")
    return 1 if bad else 0
