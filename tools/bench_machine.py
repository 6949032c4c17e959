# SPDX-License-Identifier: MIT OR Apache-2.0
"""The machines that `./hallows bench` measures, all under `-icount shift=0,sleep=off`, where one
TSC tick is one guest instruction: the kernel's own benchmarks, the storage benchmark cell, and
running systems under load from bench/load.

Each source returns text with `BENCH NAME VALUE UNIT` lines; the group's name goes before them.

A figure of the network or the key-value server is all guest instructions of the measured requests,
kernel and user (counted by bench/plugin), less the rounds of the cell's event loop that found
nothing to do (its own account in /status.json), divided by the requests. The wake-ups between
requests are therefore in it. `NAME.rate` is requests a second of wall-clock time on
this host, `NAME.STAGE` the part of one stage (bench_stages.py), counted in a run without idle polling.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_kernel
import bench_stages
import build
import vm

ROOT = build.ROOT
COUNT_PLUGIN = build.BUILD / "bench/count.so"
LOADGEN = build.BUILD / "bench/loadgen"
STATIC_ADDRESS = [("address", "10.77.0.2/24"), ("gateway", "10.77.0.1")]
BOOT_SECONDS = 240
LOAD_SECONDS = 240
SLEEPING_READS = (500, 4500)
RESTING_SECONDS = 0.7  # of the 2 s that the cell rests
SOCKET_QUEUE = Path("/proc/sys/net/unix/max_dgram_qlen")
SOCKET_QUEUE_WANTED = 512


class MachineError(Exception):
    """A machine or the load generator failed; str() is for the user."""


def widen_socket_queue():
    """Lets more frames wait in a Unix datagram socket, where the system allows it."""
    try:
        if int(SOCKET_QUEUE.read_text()) < SOCKET_QUEUE_WANTED:
            SOCKET_QUEUE.write_text(str(SOCKET_QUEUE_WANTED))
    except OSError:
        pass  # the queue stays short: senders wait, nothing is lost


class Loaded:
    """A running machine whose NIC is a Unix datagram socket, and its load generator."""

    status = False  # whether the guest tells its own account of time in /status.json

    def __init__(self, machine, folder, ready, nic="virtio", ranges=None):
        """`machine` lacks its NIC and the counting plugin; `folder` is removed at the end."""
        self.folder = folder
        base = Path(folder.name)
        self.host, self.guest = base / "host", base / "guest"
        self.count = base / "count"
        self.ready = ready
        ends = f"local.type=unix,local.path={self.guest},remote.type=unix,remote.path={self.host}"
        machine.nic = nic
        machine.netdev = f"dgram,id=net0,{ends}"
        machine.icount = True
        machine.icount_sleep = True  # else the idle guest's timers run as fast as they can
        machine.extra += ["-plugin", f"{COUNT_PLUGIN},socket={self.count}"
                          + (f",ranges={ranges}" if ranges else "")]
        self.vm = vm.Vm(machine)

    def __enter__(self):
        widen_socket_queue()
        self.vm.start()
        try:
            self.vm.wait_for(self.ready, BOOT_SECONDS)
        except vm.VmError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.vm.close()
        self.folder.cleanup()

    def report(self, name, mode, requests, **options):
        """What the load generator reports of `requests` of one kind, with `instructions`, those
        of one request."""
        command = [str(LOADGEN), "--local", str(self.host), "--remote", str(self.guest)]
        command += ["--deadline", str(LOAD_SECONDS), "--count", str(self.count)]
        command += ["--status"] if self.status else []
        command += ["--mode", mode, "--requests", str(requests)]
        for option, value in options.items():
            command += [f"--{option}", str(value)]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=LOAD_SECONDS + 60)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            tail = "\n".join(self.vm.serial.splitlines()[-5:])
            raise MachineError(f"{name}: {' '.join(last) or done.returncode}; the console ends"
                               f" with:\n{tail}")
        report = json.loads(done.stdout)
        total = report["kernel_instructions"] + report["user_instructions"]
        report["instructions"] = (total - self.idle(report)) / report["requests"]
        return report

    def idle(self, report):
        """Instructions of rounds of the guest's event loop that found nothing to do."""
        return (report["status_after"]["loop"]["spin_ticks"]
                - report["status_before"]["loop"]["spin_ticks"]) if self.status else 0


class LoadedSystem(Loaded):
    """A running system of ours."""

    status = True

    def __init__(self, system_file, cell, nic="virtio", disk=False, functions=False):
        folder = tempfile.TemporaryDirectory(prefix="hallows-bench-")
        base = Path(folder.name)
        settings = [(cell, key, value) for key, value in STATIC_ADDRESS]
        if functions:  # count functions, not polling
            settings.append((cell, "poll_us", "0"))
        _, bundle_path = build.make_bundle(ROOT / system_file, settings, output=base / "bundle")
        if disk:
            vm.make_disk(base / "disk")
        machine = vm.Machine(kernel=build.KERNEL, bundle=bundle_path,
                             disk=base / "disk" if disk else None)
        if functions:  # the kernel's functions are counted where its file has them
            machine.command_line = "nokaslr"
        ranges = base / "ranges" if functions else None
        if functions:
            bench_stages.write_ranges(ranges, cell)
        super().__init__(machine, folder, vm.READY, nic, ranges)

    def measure(self, name, mode, requests, **options):
        """BENCH lines for `requests` of one kind."""
        print(f"  {name}", file=sys.stderr, flush=True)
        report = self.report(name, mode, requests, **options)
        return (f"BENCH {name} {report['instructions']:.0f} instr\n"
                f"BENCH {name}.rate {report['requests_per_second']:.0f} req/s\n")

    def measure_stages(self, name, mode, requests, **options):
        """BENCH lines for the stages of such a request."""
        print(f"  {name}, stages", file=sys.stderr, flush=True)
        report = self.report(name, mode, requests, **options)
        return "".join(f"BENCH {name}.{stage} {count:.0f} instr\n"
                       for stage, count in bench_stages.stages(report).items())


def bench_tools():
    """Builds the host's side."""
    build.make("all", *(str(path.relative_to(ROOT)) for path in (COUNT_PLUGIN, LOADGEN)))


def _rows(system_file, cell, disk, rows):
    """Every row on a system of its own kind, then the stages of those with many outstanding."""
    bench_tools()
    with LoadedSystem(system_file, cell, disk=disk) as system:
        text = "".join(system.measure(*row, **options) for row, options in rows)
    with LoadedSystem(system_file, cell, disk=disk, functions=True) as system:
        return text + "".join(system.measure_stages(*row, **options)
                              for row, options in rows if options)


def checked_sums():
    """Echoes through a NIC that checks received sums: QEMU's virtio-net does so on tap devices only."""
    with LoadedSystem("systems/echo/system.toml", "echo", "igb") as system:
        return "".join(system.measure(f"{mode}-igb-{size}", mode, 20000, outstanding=32, bytes=size)
                       for mode in ("udp-echo", "tcp-echo") for size in (64, 1400))


def network():
    """Rings, forwarding on either NIC, UDP and TCP echo on virtio-net, and on the 82576."""
    return below_the_stack() + checked_sums() + _rows("systems/echo/system.toml", "echo", False, [
        (("udp-echo-1", "udp-echo", 10000), {}),
        (("udp-echo-32", "udp-echo", 40000), {"outstanding": 32}),
        (("tcp-echo-1", "tcp-echo", 10000), {}),
        (("tcp-echo-32", "tcp-echo", 40000), {"outstanding": 32}),
    ])


def frames(nic):
    """Ring no-ops, and frames forwarded, by a cell that measures itself."""
    with LoadedSystem("systems/bench-net/system.toml", "netbench", nic) as system:
        command = [str(LOADGEN), "--local", str(system.host), "--remote", str(system.guest)]
        command += ["--mode", "udp-echo", "--outstanding", "128", "--requests", "10000000"]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            system.vm.wait_for(r"bench ended: ", LOAD_SECONDS)
        finally:
            load.kill()
            load.wait()
        return system.vm.serial


def below_the_stack():
    """The rows of both NICs; the ring's once."""
    bench_tools()
    text = ""
    for nic in ("virtio", "igb"):
        print(f"  ring and forwarding, {nic}", file=sys.stderr, flush=True)
        lines = frames(nic).splitlines()
        text += "".join(line.replace("BENCH forward", f"BENCH forward-{nic}") + "\n"
                        for line in lines if line.startswith("BENCH forward")
                        or (line.startswith("BENCH ring") and nic == "virtio"))
    return text


def kvstore():
    """GET and SET against the reference system."""
    return _rows("systems/reference/system.toml", "kvstore", True, [
        (("get-1", "kv-get", 10000), {}),
        (("set-1", "kv-set", 5000), {}),
        (("get-32", "kv-get", 40000), {"outstanding": 32}),
        (("get-pipeline-16", "kv-get", 80000), {"outstanding": 32, "pipeline": 16}),
    ])


def _console(machine, end, seconds):
    """What a machine prints until `end`."""
    with vm.Vm(machine) as guest:
        guest.wait_for(end, seconds)
        return guest.serial


def storage():
    """The storage benchmark cell, on a drive of its own."""
    with tempfile.TemporaryDirectory(prefix="hallows-bench-") as folder:
        base = Path(folder)
        _, bundle_path = build.make_bundle(
            ROOT / "systems/bench-storage/system.toml", output=base / "bundle"
        )
        vm.make_disk(base / "disk")
        machine = vm.Machine(kernel=build.KERNEL, bundle=bundle_path, nic=None,
                             disk=base / "disk", icount=True)
        text = _console(machine, r"bench ended: ", BOOT_SECONDS)
    return text + storage_asleep()


def storage_asleep():
    """What a read costs that sleeps until the drive's interrupt: all guest instructions, kernel and
    user, of a long run less those of a short one, divided by the difference."""
    bench_tools()
    print("  nvme-read-asleep", file=sys.stderr, flush=True)
    totals = []
    for reads in SLEEPING_READS:
        with tempfile.TemporaryDirectory(prefix="hallows-bench-") as folder:
            base = Path(folder)
            settings = [("storagebench", "sleeping_reads", str(reads))]
            _, bundle_path = build.make_bundle(ROOT / "systems/bench-storage/system.toml", settings,
                                               output=base / "bundle")
            vm.make_disk(base / "disk")
            machine = vm.Machine(kernel=build.KERNEL, bundle=bundle_path, nic=None,
                                 disk=base / "disk",
                                 extra=["-plugin", f"{COUNT_PLUGIN},socket={base}/count"])
            with vm.Vm(machine) as running:
                marks = []
                for moment in ("before", "after"):
                    running.wait_for(f"resting {moment}", BOOT_SECONDS)
                    time.sleep(RESTING_SECONDS)  # it halts now, so that the count stands still
                    marks.append(read_count(base / "count"))
                running.wait_for("bench ended: success", BOOT_SECONDS, unless="bench ended: [^s]")
                totals.append(marks[1] - marks[0])
    cost = (totals[1] - totals[0]) / (SLEEPING_READS[1] - SLEEPING_READS[0])
    return f"BENCH nvme-read-asleep {cost:.0f} instr\n"


def read_count(path):
    """Instructions since the start, kernel and user, as the counting plugin tells them."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"?")
        words = connection.makefile().readline().split()
    return int(words[1]) + int(words[3])


SOURCES = {"kernel": bench_kernel.measure, "net": network, "kvstore": kvstore, "storage": storage}
