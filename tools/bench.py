# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows bench`: guest instructions for each operation, beside the targets of
bench/targets.toml. A benchmark prints lines `BENCH NAME VALUE UNIT`, on the console of a bench
kernel or on the load generator's output; this module starts them, and makes the table.
"""

import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import bench_kernel
import bench_linux
import bench_storage_linux
import bench_machine
import build
import linux_guest
import vm

ROOT = build.ROOT
LINE = re.compile(r"^BENCH (\S+) (-?\d+(?:\.\d+)?) (\S+)\s*$", re.MULTILINE)


class BenchError(Exception):
    """Nothing could be measured; str() is for the user."""


@dataclass
class Figure:
    """One measured value with its target, if it has one."""

    name: str
    value: float
    unit: str
    target: float | None = None
    what: str = ""

    @property
    def met(self):
        """Whether the target is reached; None without a target."""
        return None if self.target is None else self.value <= self.target

    def as_json(self):
        """What --json writes."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "met": self.met,
        }


def load_targets(path=ROOT / "bench/targets.toml"):
    """Maps GROUP/NAME to (target, what)."""
    data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    return {
        f"{group}/{name}": (row["target"], row["what"])
        for group, rows in data.items()
        for name, row in rows.items()
    }


def parse(group, text, targets):
    """The figures in a benchmark's output; a name without a group is of `group`."""
    out = []
    for name, value, unit in LINE.findall(text):
        name = name if "/" in name else f"{group}/{name}"
        number = float(value)
        target, what = targets.get(name, (None, ""))
        out.append(Figure(name, int(number) if number.is_integer() else number, unit, target, what))
    return out


def columns(rows):
    """Rows of cells as lines: the second and fourth column to the right, as numbers are."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:{'>' if column in (1, 3) else '<'}{width}}"
                      for column, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def table(figures, unmeasured=(), anchors=None):
    """The figures as lines of text, with those of other systems where there are any."""
    systems = [system for system in bench_kernel.SYSTEMS
               if any(system in (anchors or {}).get(figure.name, {}) for figure in figures)]
    rows = [("benchmark", "value", "unit", "target", "", *systems)]
    for figure in figures:
        target = "-" if figure.target is None else f"{figure.target:,}"
        verdict = {True: "met", False: "missed", None: ""}[figure.met]
        others = (anchors or {}).get(figure.name, {})
        rows.append((figure.name, f"{figure.value:,}", figure.unit, target, verdict,
                     *(others.get(system, "") for system in systems)))
    rows += [(name, "-", "", f"{target:,}", "not measured", *("" for _ in systems))
             for name, target in unmeasured]
    return columns(rows)


def print_kernel_notes(sources):
    """What the columns of other systems are, and the table of privileged events."""
    print()
    print("\n".join(f"{system}: {text}" for system, text in sources.items()))
    print(f"\nPrivileged events of one operation. {bench_kernel.LEGEND}.")
    print("\n".join(columns(bench_kernel.events_table())))


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--linux", action="store_true",
                        help="net, kvstore, storage: alternate with Debian's Linux in the same QEMU, print"
                        " both and the ratio")
    parser.add_argument("--rounds", type=int, default=3, metavar="N",
                        help="with --linux: runs of each row, of which the median counts (3)")
    parser.add_argument("filter", nargs="?", default="",
                        help="only benchmarks whose name contains this (kernel/, net/, kvstore/,"
                        " storage/ start the names; with --linux net/virtio/..., net/igb/...)")


def _against_linux(options):
    group, _, row = options.filter.partition("/")
    if group not in ("", "net", "kvstore", "storage"):
        raise BenchError(f"no comparison with Linux for {group}")
    try:
        if group == "storage":
            return bench_storage_linux.main(row, options.json, options.rounds, bench_linux.table)
        return bench_linux.main(group, row, options.json, options.rounds)
    except (vm.VmError, bench_machine.MachineError, linux_guest.GuestError) as error:
        raise BenchError(str(error)) from error


def main(options):
    """The verb: returns the exit status."""
    if options.linux:
        return _against_linux(options)
    targets = load_targets()
    figures, failures = [], []
    for group, run in bench_machine.SOURCES.items():
        if not (options.filter + "/").startswith(group + "/") and options.filter not in group:
            continue
        print(f"measuring {group} ...", file=sys.stderr, flush=True)
        try:
            figures += parse(group, run(), targets)
        except (vm.VmError, bench_machine.MachineError) as error:
            failures.append(f"{group}: {error}")
    figures = [figure for figure in figures if options.filter in figure.name]
    measured = {figure.name for figure in figures}
    missing = [(name, target) for name, (target, _) in targets.items()
               if name not in measured and options.filter in name]
    sources, anchors = bench_kernel.load_anchors()
    print("\n".join(table(figures, missing, anchors)))
    if bench_kernel.Events.rows:
        print_kernel_notes(sources)
    if options.json:
        rows = [{**figure.as_json(), "elsewhere": anchors.get(figure.name, {}),
                 "events": bench_kernel.Events.rows.get(figure.name)} for figure in figures]
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if failures:
        raise BenchError("; ".join(failures))
    if not figures:
        raise BenchError("nothing was measured")
    return 0
