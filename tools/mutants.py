# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows mutants`: plants one fault at a time into the code that a proof names ("Of: file") and
says which proof finds it. A fault that no proof finds is a survivor: it changes nothing that
matters, or a property is missing. Work is done on a copy of the tree.
"""

import random
import re
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import build
import proof_tools
import proofs

ROOT = build.ROOT
COPIED = ("include", "kernel", "lib", "proofs")
# (what, pattern, replacement). Patterns match in code only; each place is a fault of its own.
OPERATORS = [
    ("operand", r" <= ", " < "), ("operand", r" >= ", " > "), ("operand", r" < ", " <= "),
    ("operand", r" > ", " >= "), ("operand", r" == ", " != "), ("operand", r" != ", " == "),
    ("operand", r" && ", " || "), ("operand", r" \+ ", " - "), ("operand", r" - ", " + "),
    ("operand", r" & ", " | "), ("operand", r" \| ", " & "), ("operand", r" \^ ", " | "),
    ("constant", r"\b1u\b", "2u"), ("constant", r"\b6u\b", "5u"), ("constant", r"\b63u\b", "64u"),
    ("check", r"if \((.+)\)( \{)?$", r"if (0 && (\1))\2"),
    ("statement", r"^(\s+)[\w.>\[\]()*-]+ (?:[|&]?=) .*;$", r"\1;"),
    ("statement", r"^(\s+)[\w>-]+\+\+;$", r"\1;"),
]


@dataclass
class Mutant:
    """One fault."""

    file: str
    line: int
    kind: str
    before: str
    after: str


def _code_lines(text):
    """Numbers of lines inside function bodies, comments left out."""
    inside = False
    for number, line in enumerate(text.splitlines()):
        if line.startswith("{"):
            inside = True
        elif line.startswith("}"):
            inside = False
        elif inside and line.strip() and not line.strip().startswith(("/*", "*", "//")):
            yield number, line


def find_mutants(file, root=ROOT):
    """All faults that the operators make in a file."""
    out = []
    for number, line in _code_lines((root / file).read_text("utf-8")):
        code = line.split("/*")[0].rstrip()
        for kind, pattern, replacement in OPERATORS:
            for match in re.finditer(pattern, code):
                changed = code[:match.start()] + match.expand(replacement) + code[match.end():]
                declares = re.match(r"\s+(?:const )?(?:struct \w+|\w+) \*?\w+ = ", code)
                if changed != code and not (kind == "statement" and declares):
                    out.append(Mutant(file, number, kind, code.strip(), changed))
    return out


def _plant(folder, mutant):
    path = folder / mutant.file
    lines = path.read_text("utf-8").splitlines()
    lines[mutant.line] = mutant.after
    path.write_text("\n".join(lines) + "\n", "utf-8")


def try_mutant(tool, mutant, deadline=proofs.DEADLINE_S):
    """The name of the first proof that finds it, or None. What does not compile counts as None's
    opposite only when the compiler says so: `compiler`."""
    with tempfile.TemporaryDirectory(prefix="hallows-mutant-") as work:
        folder = Path(work)
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name)
        _plant(folder, mutant)
        for proof in proofs.find_proofs(root=folder):
            if mutant.file not in proofs.sources_of(proof.file, folder):
                continue
            outcome, _ = proofs.prove(tool, proof, deadline, folder, cache=None)
            if outcome.verdict == "ERROR":
                return "compiler"
            if not outcome.good:
                return proof.name
    return None


def add_options(parser):
    """The verb's options."""
    parser.add_argument("filter", nargs="?", default="", help="only files with this in the path")
    parser.add_argument("--count", type=int, default=200, help="how many, chosen by --seed (200)")
    parser.add_argument("--seed", type=int, default=1)


def choose(wanted="", count=200, seed=1):
    """Some of the faults in files that a proof names."""
    files = sorted({f for p in proofs.find_proofs() for f in proofs.sources_of(p.file)})
    every = [m for f in files if wanted in f for m in find_mutants(f)]
    random.Random(seed).shuffle(every)
    return every[:count]


def main(options):
    """The verb: returns the exit status; survivors are no error, they are listed."""
    tool = proof_tools.ensure(not options.no_install)
    if tool is None:
        raise proof_tools.ToolError("CBMC 6 is not installed")
    chosen = choose(options.filter, options.count, options.seed)
    start, survivors = time.monotonic(), []
    with ThreadPoolExecutor(proofs.JOBS) as pool:
        for mutant, killer in zip(chosen, pool.map(lambda m: try_mutant(tool, m), chosen)):
            place = f"{mutant.file}:{mutant.line + 1}"
            print(f"{'killed' if killer else 'SURVIVED':9} {place:40} {mutant.kind:10}"
                  f" {killer or mutant.after.strip()}", flush=True)
            if killer is None:
                survivors.append(mutant)
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} killed"
          f" ({time.monotonic() - start:.0f} s)")
    for mutant in survivors:
        print(f"survivor {mutant.file}:{mutant.line + 1}: {mutant.before}  ->  "
              f"{mutant.after.strip()}")
    return 0
