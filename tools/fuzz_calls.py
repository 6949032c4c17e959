# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows fuzz-calls`: random system calls against the kernel on the host (kernel/fuzz_test.c), for
as long as wanted. Work is done in pieces of a million calls, one seed each, two at a time; the seeds
done are kept in build/fuzz/calls.json, so that a later run goes on from there. A kernel that has
changed begins anew.
"""

import concurrent.futures
import hashlib
import json
import os
import subprocess
import time

import build

PROGRAM = build.BUILD / "host/kernel/fuzz_long"
STATE = build.BUILD / "fuzz/calls.json"
PIECE_CALLS = 10**6
CHECK_EVERY = 64
JOBS = 2


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--calls", type=lambda text: int(float(text)), default=10**9,
                        help="how many in all, those of earlier runs included (1e9)")
    parser.add_argument("--again", action="store_true", help="forget what earlier runs did")


def run_piece(seed, calls=PIECE_CALLS):
    """One seed: None, or the last lines of what it said."""
    environment = dict(os.environ, HALLOWS_FUZZ_CALLS=str(calls), HALLOWS_FUZZ_SEED=str(seed),
                       HALLOWS_FUZZ_CHECK_EVERY=str(CHECK_EVERY))
    done = subprocess.run([str(PROGRAM), "random_calls"], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    return None if done.returncode == 0 else done.stdout.splitlines()[-10:]


def load(digest, again=False):
    """How many seeds, from 1 on, have been done with this program."""
    if again or not STATE.exists():
        return 0
    state = json.loads(STATE.read_text("utf-8"))
    return state["done"] if state["program"] == digest else 0


def save(digest, done):
    """Keeps it."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    STATE.write_text(json.dumps({"program": digest, "done": done}), "utf-8")


def main(options):
    """The verb: returns the exit status."""
    build.make("fuzz-long")
    digest = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()
    first = load(digest, options.again)
    last = -(-options.calls // PIECE_CALLS)
    print(f"{first * PIECE_CALLS:,} of {last * PIECE_CALLS:,} calls done before", flush=True)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        # A few ahead, so that what is done is always the seeds up to one.
        for seed in range(first + 1, last + 1, JOBS):
            seeds = range(seed, min(seed + JOBS, last + 1))
            for number, failed in zip(seeds, pool.map(run_piece, seeds)):
                if failed:
                    print(f"seed {number} fails:", *failed, sep="\n  ")
                    print(f"repeat: HALLOWS_FUZZ_SEED={number} HALLOWS_FUZZ_CALLS={PIECE_CALLS}"
                          f" HALLOWS_FUZZ_CHECK_EVERY={CHECK_EVERY} {PROGRAM.relative_to(build.ROOT)}")
                    return 1
            save(digest, seeds[-1])
            rate = (seeds[-1] - first) * PIECE_CALLS / (time.monotonic() - start)
            left = (last - seeds[-1]) * PIECE_CALLS / rate
            print(f"{seeds[-1] * PIECE_CALLS:,} calls, no invariant broken ({rate:,.0f} a second,"
                  f" {left / 60:.0f} minutes to go)", flush=True)
    return 0
