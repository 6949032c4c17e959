# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows bench storage --linux`: the storage benchmark cell and fio in Debian's Linux, on the same
emulated drive, alternated.

Linux: all instructions that the guest executed, kernel and user (bench/plugin), of a long run of fio
less those of a short one, divided by the difference in requests, so that what fio does before and
after cancels. Ours: what the cell counts itself under -icount (it makes no system call; polling that
found nothing is left out). IOPS: of both in QEMU without -icount and with the counting plugin, by
their own clocks, so on this host. fio reads and writes the raw device with O_DIRECT; its appends are
sequential writes with O_DSYNC, as durable as a log's records when they are acknowledged.
"""

import json
import re
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import bench_machine
import build
import linux_guest
import vm

DEVICE = "/dev/nvme0n1"
DRIVE_BYTES = 1 << 30
URING = "--ioengine=io_uring --fixedbufs=1 --registerfiles=1"
# fio begins so much later: the moment at which the counters are read.
DELAY_SECONDS = 2
RUN_SECONDS = 600

# Name of ours: (fio's options by engine, requests of the short and the long run).
ROWS = {
    "nvme-read-1": ({"io_uring": f"{URING} --iodepth=1 --rw=randread",
                     "psync": "--ioengine=psync --rw=randread"}, 500, 3000),
    "nvme-read-32": ({"io_uring": f"{URING} --iodepth=32 --rw=randread"}, 2000, 14000),
    "nvme-mixed-32": ({"io_uring": f"{URING} --iodepth=32 --rw=randrw --rwmixread=70"},
                      2000, 14000),
    "log-append-1": ({"io_uring": f"{URING} --iodepth=1 --rw=write --sync=dsync",
                      "psync": "--ioengine=psync --rw=write --sync=dsync"}, 300, 1500),
    "log-append-32": ({"io_uring": f"{URING} --iodepth=32 --rw=write --sync=dsync"}, 1000, 6000),
}


def jobs(wanted):
    """(row, engine, requests) of every run of fio, in order."""
    return [(name, engine, count) for name, (engines, *counts) in ROWS.items() if wanted in name
            for engine in engines for count in counts]


def script(runs):
    """What the guest's shell does."""
    lines = []
    for index, (name, engine, count) in enumerate(runs):
        options = ROWS[name][0][engine]
        lines += [f"echo run {index} begins",
                  f"/bin/fio --name=x --filename={DEVICE} --direct=1 --bs=4k {options}"
                  f" --number_ios={count} --size=900m --startdelay={DELAY_SECONDS} --randseed=7"
                  " --norandommap --output-format=terse --terse-version=3"]
    return "\n".join([*lines, f"echo run {len(runs)} begins", "exec 0</dev/null",
                      "while :; do read x </proc/kmsg; done", ""])


def iops(text):
    """Requests a second in fio's terse output, version 3: read and write."""
    fields = re.findall(r"^3;fio-\S*;.*$", text, re.MULTILINE)[-1].split(";")
    return float(fields[7]) + float(fields[48])


class Counter:
    """The counting plugin's socket."""

    def __init__(self, path):
        self.path = path

    def total(self):
        """Instructions since the start."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(b"?")
            words = connection.makefile().readline().split()
        return int(words[1]) + int(words[3])


def run_linux(wanted):
    """({(row, engine): (instructions, IOPS)}, version)."""
    runs = jobs(wanted)
    with tempfile.TemporaryDirectory(prefix="hallows-fio-") as folder:
        base = Path(folder)
        (base / "jobs.sh").write_text(script(runs))
        guest = linux_guest.make(["nvme"], ["/bin/sh /jobs.sh"],
                                 {"/bin/sh": "/bin/dash", "/bin/fio": "/usr/bin/fio",
                                  "/jobs.sh": base / "jobs.sh"}, base)
        vm.make_disk(base / "disk", DRIVE_BYTES)
        machine = vm.Machine(kernel=guest.kernel, bundle=guest.initramfs, cpu=linux_guest.CPU,
                             nic=None, disk=base / "disk", memory_mib=1024,
                             command_line=linux_guest.COMMAND_LINE,
                             extra=["-plugin", f"{bench_machine.COUNT_PLUGIN},socket={base}/count"])
        counter = Counter(base / "count")
        marks, rates = [], []
        with vm.Vm(machine) as running:
            for index in range(len(runs) + 1):
                running.wait_for(rf"^run {index} begins", RUN_SECONDS)
                if index:
                    rates.append(iops(running.serial))
                    print(f"  linux: {' '.join(map(str, runs[index - 1]))}", file=sys.stderr,
                          flush=True)
                time.sleep(DELAY_SECONDS / 2)  # fio has started and waits
                marks.append(counter.total())
    results = {}
    for index in range(0, len(runs), 2):
        name, engine, few = runs[index]
        more = runs[index + 1][2]
        short, long = (marks[at + 1] - marks[at] for at in (index, index + 1))
        results[name, engine] = ((long - short) / (more - few), rates[index + 1])
    return results, guest.version


def run_ours(icount):
    """What the cell's console says."""
    with tempfile.TemporaryDirectory(prefix="hallows-bench-") as folder:
        base = Path(folder)
        _, bundle = build.make_bundle(build.ROOT / "systems/bench-storage/system.toml",
                                      output=base / "bundle")
        vm.make_disk(base / "disk", DRIVE_BYTES)
        extra = [] if icount else ["-plugin", f"{bench_machine.COUNT_PLUGIN},socket={base}/count"]
        machine = vm.Machine(kernel=build.KERNEL, bundle=bundle, nic=None, disk=base / "disk",
                             icount=icount, extra=extra)
        with vm.Vm(machine) as running:
            running.wait_for(r"bench ended: ", bench_machine.BOOT_SECONDS)
            return running.serial


def compare(wanted, rounds):
    """A result for every row and engine."""
    bench_machine.bench_tools()
    linux, counts, rates, version = {}, {}, {}, ""
    for _ in range(rounds):
        for name, value in re.findall(r"^BENCH (\S+) (\d+) instr", run_ours(True), re.MULTILINE):
            counts.setdefault(name, []).append(int(value))
        for name, value in re.findall(r"RATE (\S+) (\d+)", run_ours(False)):
            rates.setdefault(name, []).append(int(value))
        got, version = run_linux(wanted)
        for key, value in got.items():
            linux.setdefault(key, []).append(value)
    results = []
    for (name, engine), values in linux.items():
        instructions, rate = (statistics.median(column) for column in zip(*values))
        ours = statistics.median(counts[name])
        our_rate = statistics.median(rates[name])
        results.append({
            "name": f"{name} ({engine})", "linux": version,
            "hallows_instructions": round(ours), "linux_instructions": round(instructions),
            "instructions_ratio": round(instructions / ours, 1),
            "hallows_requests_per_second": round(our_rate),
            "linux_requests_per_second": round(rate), "rate_ratio": round(our_rate / rate, 1),
        })
    return results


def main(wanted, json_path, rounds, table):
    """Prints the table; returns the exit status."""
    if not Path("/usr/bin/fio").exists():
        raise bench_machine.MachineError("fio is missing (Debian package fio)")
    results = compare(wanted, rounds)
    if not results:
        raise bench_machine.MachineError(f"no row is named like {wanted}")
    print(f"Linux {results[0]['linux']} and Hallows, medians of {rounds}, alternated")
    print("\n".join(table(results)))
    if json_path:
        json_path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0
