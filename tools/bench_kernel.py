# SPDX-License-Identifier: MIT OR Apache-2.0
"""The kernel's part of `./hallows bench`: its operations measured by the test kernel's bench mode,
what they do beside ordinary instructions (bench/plugin/events_host.c), the kernel's size, and the
figures of other systems (bench/anchors.toml).
"""

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

import build
import check
import vm

ROOT = build.ROOT
EVENTS_PLUGIN = build.BUILD / "bench/events.so"
REPORT = re.compile(r"^BENCH (\S+) -?\d", re.MULTILINE)
RUN_SECONDS = 300
SYSTEMS = ("sel4", "linux", "other")
# The plugin's words, and what they are; its first two are instructions.
EVENTS = {
    "cr3": "CR3", "cr0": "CR0.TS", "cr4": "CR4", "tlb": "TLB", "timer": "timer", "ipi": "IPI",
    "eoi": "EOI", "msr": "other MSR", "port": "port", "mmio": "MMIO",
}
LEGEND = ("CR3: loads of the page-table root (a flush too); TLB: INVLPG, INVPCID; timer: APIC timer or TSC"
          " deadline; IPI: writes of the interrupt command register; EOI: ends of interrupt")


class Events:
    """Privileged events by row: filled by `measure`."""

    rows = {}


def _machine(plugin_output):
    return vm.Machine(
        kernel=build.KERNEL,
        bundle=build.BUILD / "tests/kernel/semantics.bundle",
        command_line="bench",
        nic=None,
        iommu=None,  # the interrupt that is measured is the HPET's, which goes past it
        memory_mib=256,
        icount=True,
        exit_on_reset=True,
        extra=["-plugin", f"{EVENTS_PLUGIN},output={plugin_output}"],
    )


def events_of(console, lines):
    """Maps rows to their events: the plugin wrote one line for each that the console shows."""
    names = REPORT.findall(console)
    if len(names) != len(lines):
        raise vm.VmError(f"{len(names)} figures on the console, {len(lines)} from the plugin")
    rows = {}
    for name, line in zip(names, lines):
        words = line.split()
        if words != ["none"]:
            rows[name] = dict(zip(words[::2], map(int, words[1::2])))
    return rows


def text_bytes(elf=build.KERNEL):
    """Size of the kernel's code, in whole pages."""
    done = subprocess.run(["size", "-A", "-d", str(elf)], capture_output=True, text=True, check=True)
    sizes = dict(re.findall(r"^(\.\S+)\s+(\d+)", done.stdout, re.MULTILINE))
    return int(sizes[".text"])


def measure():
    """BENCH lines; leaves the events in Events.rows."""
    build.make("all", str(EVENTS_PLUGIN.relative_to(ROOT)))
    with tempfile.TemporaryDirectory(prefix="hallows-bench-") as folder:
        output = Path(folder) / "events"
        with vm.Vm(_machine(output)) as guest:
            guest.wait_for(r"^BENCH DONE", RUN_SECONDS)
            console = guest.serial
        Events.rows = events_of(console, output.read_text(encoding="utf-8").splitlines())
    return (f"{console}\nBENCH kernel/code-lines {check.kernel_lines()} lines\n"
            f"BENCH kernel/text-bytes {text_bytes()} bytes\n")


def load_anchors(path=ROOT / "bench/anchors.toml"):
    """(sources, rows): what other systems need, by row."""
    data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    return data["sources"], {f"kernel/{name}": row for name, row in data["rows"].items()}


def events_table():
    """Rows of cells: the events of each operation, with its instructions."""
    cells = [("operation", "kernel instr", *EVENTS.values())]
    for name, events in Events.rows.items():
        cells.append((name, f"{events['kernel']:,}",
                      *(str(events[event] or "") for event in EVENTS)))
    return cells
