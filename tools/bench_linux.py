# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows bench net --linux`: our systems and Debian's Linux in the same QEMU, with the same NIC,
memory, CPU count and load generator, alternated row by row in one run.

Instructions are all that the guest executed in the measured time, kernel and user, divided by the
requests (bench/plugin). Of ours, polling that found nothing is left out by the cell's own account;
Linux halts when idle. Linux runs with Debian's defaults, mitigations on. In the rows `get` and `set`
redis-server keeps nothing, which is its cheapest, while every SET of ours is on the drive before its
answer leaves; in the rows `set-durable` both do the same: redis-server appends each SET to its file
(appendfsync always) in ext4 on an emulated drive like ours.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bench_machine
import build
import linux_guest
import vm

ADDRESS = bench_machine.STATIC_ADDRESS[0][1].split("/")[0]
ECHO = build.BUILD / "bench/linux/echo"
# Debian has the server's binary under this name in redis-tools.
REDIS = "redis-check-rdb"
REDIS_LINE = (f"/bin/redis-server --port 6379 --bind {ADDRESS} --protected-mode no --save --dir /tmp"
              " --logfile /tmp/log")
# The drive is there a little after its driver; ext4 lies on all of it.
DURABLE_SCRIPT = f"""until [ -b /dev/nvme0n1 ]; do :; done
/bin/mount -t ext4 /dev/nvme0n1 /tmp && exec {REDIS_LINE} --appendonly yes --appendfsync always
"""
# What ext4 asks modprobe for is loaded beforehand: there is no modprobe.
DRIVE_MODULES = ["nvme", "crc32c_generic", "ext4"]
MODULES = {"virtio": ["virtio_net"], "igb": ["igb"]}
ECHO_SYSTEM = ("systems/echo/system.toml", "echo", False)
KV_SYSTEM = ("systems/reference/system.toml", "kvstore", True)


@dataclass
class Row:
    """One kind of load."""

    name: str
    mode: str
    requests: int
    outstanding: int = 1
    pipeline: int = 1

    def run(self, machine, nic):
        """The load generator's report from that machine."""
        return machine.report(f"{nic}/{self.name}", self.mode, self.requests,
                              outstanding=self.outstanding, pipeline=self.pipeline)


@dataclass
class Group:
    """Rows that run on the same two machines."""

    system: tuple
    rows: list[Row]
    durable: bool = False  # Linux has a drive, and redis-server keeps what it acknowledges


GROUPS = [
    Group(ECHO_SYSTEM, [
        Row("udp-echo-1", "udp-echo", 5000),
        Row("udp-echo-32", "udp-echo", 20000, 32),
        Row("tcp-echo-1", "tcp-echo", 5000),
        Row("tcp-echo-32", "tcp-echo", 20000, 32),
    ]),
    Group(KV_SYSTEM, [
        Row("get-1", "kv-get", 5000),
        Row("get-32", "kv-get", 20000, 32),
        Row("get-32x16", "kv-get", 50000, 32, 16),
        Row("set-1", "kv-set", 5000),
        Row("set-32", "kv-set", 20000, 32),
        Row("set-32x16", "kv-set", 50000, 32, 16),
    ]),
    Group(KV_SYSTEM, [
        Row("set-durable-1", "kv-set", 1000),
        Row("set-durable-32", "kv-set", 5000, 32),
        Row("set-durable-32x16", "kv-set", 20000, 32, 16),
    ], durable=True),
]


def _programs(folder, durable):
    """The Linux guest's programs and files."""
    redis = shutil.which(REDIS)
    if redis is None:
        raise bench_machine.MachineError("redis-server is missing; it comes with redis-tools")
    files = {"/bin/redis-server": redis}
    if not durable:
        return ["/bin/echo-server", REDIS_LINE], {**files, "/bin/echo-server": ECHO}
    script = folder / "durable.sh"
    script.write_text(DURABLE_SCRIPT, encoding="ascii")
    return ["/bin/sh /durable.sh"], {**files, "/bin/sh": "/bin/dash", "/bin/mount": "/bin/mount",
                                     "/durable.sh": script}


def _make_ext4(path):
    """A drive like ours with an empty file system on it."""
    vm.make_disk(path)
    done = subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", str(path)], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise bench_machine.MachineError(f"mkfs.ext4: {done.stderr.strip()}")


class LoadedLinux(bench_machine.Loaded):
    """The Linux guest with its servers."""

    def __init__(self, nic, durable=False):
        build.make(str(ECHO.relative_to(build.ROOT)))
        folder = tempfile.TemporaryDirectory(prefix="hallows-linux-")
        base = Path(folder.name)
        guest = linux_guest.make(MODULES[nic] + (DRIVE_MODULES if durable else []),
                                 *_programs(base, durable), base)
        self.version = guest.version
        if durable:
            _make_ext4(base / "disk")
        machine = vm.Machine(
            kernel=guest.kernel, bundle=guest.initramfs, cpu=linux_guest.CPU,
            disk=base / "disk" if durable else None,
            command_line=f"{linux_guest.COMMAND_LINE} hallows.address={ADDRESS}",
            iommu=None,  # in Linux's favour: no mapping and unmapping of buffers
        )
        super().__init__(machine, folder, linux_guest.READY, nic)


def _alternate(row, nic, machines, rounds):
    """Medians over the rounds: {system: (instructions, requests a second)}."""
    reports = {name: [] for name in machines}
    for _ in range(rounds):
        for name, machine in machines.items():
            reports[name].append(row.run(machine, nic))
    return {
        name: tuple(statistics.median(report[key] for report in some)
                    for key in ("instructions", "requests_per_second"))
        for name, some in reports.items()
    }


def _compare_group(group, nic, wanted, rounds):
    """A result for every row of the group whose NIC/name contains `wanted`."""
    rows = [row for row in group.rows if wanted in f"{nic}/{row.name}"]
    results = []
    if not rows:
        return results
    path, cell, disk = group.system
    print(f"booting both with {nic} ...", file=sys.stderr, flush=True)
    with (LoadedLinux(nic, group.durable) as linux,
          bench_machine.LoadedSystem(path, cell, nic, disk) as ours):
        for row in rows:
            print(f"  {nic}/{row.name}", file=sys.stderr, flush=True)
            both = _alternate(row, nic, {"hallows": ours, "linux": linux}, rounds)
            results.append(_result(f"{nic}/{row.name}", both, linux.version))
    return results


def compare(nics, groups, wanted="", rounds=3):
    """A result for every row of those groups whose NIC/name contains `wanted`."""
    bench_machine.bench_tools()
    return [result for nic in nics for group in groups
            for result in _compare_group(group, nic, wanted, rounds)]


def _result(name, both, version):
    (instructions, rate), (linux_instructions, linux_rate) = both["hallows"], both["linux"]
    return {
        "name": name,
        "hallows_instructions": round(instructions),
        "linux_instructions": round(linux_instructions),
        "instructions_ratio": round(linux_instructions / instructions, 1),
        "hallows_requests_per_second": round(rate),
        "linux_requests_per_second": round(linux_rate),
        "rate_ratio": round(rate / linux_rate, 1),
        "linux": version,
    }


def table(results):
    """The rows as lines of text."""
    lines = [f"{'':24}{'instructions a request':^32}{'requests a second (this host)':^34}",
             f"{'':24}{'Hallows':>10}{'Linux':>11}{'ratio':>9}{'Hallows':>14}{'Linux':>11}"
             f"{'ratio':>9}"]
    for row in results:
        lines.append(
            f"{row['name']:24}{row['hallows_instructions']:>10,}{row['linux_instructions']:>11,}"
            f"{row['instructions_ratio']:>8.1f}x{row['hallows_requests_per_second']:>14,}"
            f"{row['linux_requests_per_second']:>11,}{row['rate_ratio']:>8.1f}x")
    return lines


def main(group, wanted, json_path, rounds):
    """The verb's --linux: prints the table; returns the exit status. Without a group or with "net"
    every row; "kvstore": only the key-value server's."""
    groups = [some for some in GROUPS if group != "kvstore" or some.system == KV_SYSTEM]
    results = compare(MODULES, groups, wanted, rounds)
    if not results:
        raise bench_machine.MachineError(f"no row is named like {wanted}")
    print(f"Linux {results[0]['linux']} and Hallows, medians of {rounds}, alternated")
    print("\n".join(table(results)))
    if json_path:
        json_path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0
