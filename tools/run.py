# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows run`: boots a system in QEMU, says when and how it can be reached, and shuts it down
cleanly on Ctrl-C.
"""

import errno
import fcntl
import os
import queue
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import build
import vm
from system_description import load_system, show_size

ROOT = build.ROOT
READY_SECONDS = 120
SHUTDOWN_SECONDS = 30
KEEPERS = ("kvstore", "storage")  # programs that keep logs on a drive
SOCKET_PATH_BYTES_MAX = 107  # sun_path of unix(7), less its end


class RunError(Exception):
    """`./hallows run` cannot go on; str() is one line for the user."""


def state_folder():
    """Where drives lie between runs (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "hallows"


def control_socket(port):
    """QEMU's control socket of the run whose key-value server has this port."""
    return state_folder() / f"run-{port}.qmp"


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--nic", choices=sorted(vm.NICS), default="virtio",
                        help="the emulated network card (%(default)s)")
    parser.add_argument("--cpus", type=int, default=1, metavar="N",
                        help="virtual CPUs (%(default)s); cells run where their manifests say")
    parser.add_argument("--memory", metavar="M",
                        help="memory in MiB, or with M or G (default: what the system asks for)")
    parser.add_argument("--disk", type=Path, metavar="FILE",
                        help="the drive's backing file (default: one in the user's state folder,"
                        " kept from run to run; created when it is missing)")
    parser.add_argument("--zoned", action="store_true",
                        help="a zoned namespace; QEMU forgets zone states when it exits, so it"
                        " starts empty each time (a --disk of your own needs --format)")
    parser.add_argument("--format", action="store_true",
                        help="format the drive even if it holds something else (all is lost)")
    parser.add_argument("--port", type=int, default=6379, metavar="N",
                        help="port on 127.0.0.1 for the key-value server (%(default)s)")
    parser.add_argument("--http-port", type=int, default=8080, metavar="N",
                        help="port on 127.0.0.1 for the status page (%(default)s)")
    parser.add_argument("--system", type=Path, metavar="FILE",
                        default=ROOT / "systems/reference/system.toml",
                        help="the system description (systems/reference/system.toml)")
    parser.add_argument("--iso", action="store_true", help="boot the ISO instead of the kernel")
    parser.add_argument("--no-iommu", action="store_true",
                        help="a machine without an IOMMU: cells that drive devices are trusted")
    parser.add_argument("--pcap", type=Path, metavar="FILE",
                        help="write every frame between the emulated NIC and the host to FILE, as"
                        " tcpdump and Wireshark read it")
    parser.add_argument("--gdb", type=int, nargs="?", const=1234, metavar="PORT",
                        help="let GDB attach on 127.0.0.1 (port 1234); says how")
    parser.add_argument("--kvm", action="store_true", help="use KVM instead of emulation (TCG)")


def _memory_mib(text, system):
    if text is None:
        return system.memory >> 20
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "M")
    if not digits.isdigit() or unit not in "MG":
        raise RunError(f"--memory {text}: not a size; write 512, 512M or 1G")
    mib = int(digits) * (1024 if unit == "G" else 1)
    if mib << 20 < system.memory:
        raise RunError(f"--memory {text}: the system '{system.name}' needs"
                       f" {show_size(system.memory)} ({system.source.name})")
    return mib


def _check_port(option, port):
    if not 1 <= port <= 65535:
        raise RunError(f"{option} {port}: not a port; choose 1 to 65535")
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
        probe.listen(1)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise RunError(f"port {port} needs root; choose one above 1023 with {option}") from error
        raise RunError(f"port {port} on 127.0.0.1 is in use; choose another with {option}") from error
    finally:
        probe.close()


def _lock_disk(path):
    """Creates the drive if need be and locks it for this run; returns the open file."""
    try:
        vm.make_disk(path)
        file = open(path, "r+b")
    except OSError as error:
        raise RunError(f"--disk {path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RunError(f"the drive {path} is in use by another run; give another --disk") from error
    return file


def _control_arguments(path):
    """QEMU's arguments for a control socket at `path`, where `./hallows pcap` finds it."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        print(f"hallows: ./hallows pcap will not find this run: {path} is too long for the name of"
              " a socket", file=sys.stderr)
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    escaped = str(path).replace(",", ",,")
    return ["-qmp", f"unix:{escaped},server=on,wait=off"]


def _check_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise RunError("--kvm: /dev/kvm is missing or not accessible; run without --kvm")


class Session:
    """One run, from the start of the machine to its end."""

    def __init__(self, machine, options, programs):
        self.machine = machine
        self.options = options
        self.programs = programs
        self.events = queue.Queue()
        self.vm = vm.Vm(machine, on_serial=self._serial)

    def _serial(self, text):
        sys.stdout.write(text)
        sys.stdout.flush()
        self.events.put("serial")

    def _watch_exit(self):
        def wait():
            self.vm.wait_end()
            self.events.put("exit")

        threading.Thread(target=wait, daemon=True).start()

    def run(self):
        """Runs until the system ends; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.events.put("stop"))
        self.vm.start()
        try:
            self._watch_exit()
            why = self._until(vm.READY, READY_SECONDS)
            if why != "seen":
                return self._not_ready(why)
            self._announce()
            if self._until(None, None) == "panic":
                print("\nhallows: the kernel stopped; its report is above", file=sys.stderr)
                return 1
            return self._shut_down()
        finally:
            self.vm.close()

    def _until(self, line, seconds):
        """Waits for a line on the console (None: for ever); "seen", or what came instead: "stop"
        (asked to), "exit" (QEMU ended), "panic" (the kernel gave up), "broken" (a cell stays down), "late"."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            text = self.vm.serial
            if line is not None and line in text:
                return "seen"
            if re.search(vm.STOPPED, text, re.MULTILINE):
                return "panic"
            if line == vm.READY and re.search(vm.NOT_WHOLE, text, re.MULTILINE):
                return "broken"
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                event = self.events.get(timeout=left)
            except queue.Empty:
                return "late"
            if event != "serial" and (line is None or line not in self.vm.serial):
                return event

    def _not_ready(self, why):
        reasons = {
            "stop": "stopped before the system was ready",
            "panic": "the kernel stopped; its report is above",
            "broken": "a cell could not start; the console above says why",
            "exit": "the machine ended before the system was ready; the console above says why",
            "late": f"the system was not ready within {READY_SECONDS} s; the console is above",
        }
        reason = reasons[why]
        if "the drive holds other data" in self.vm.serial:
            reason = f"the drive {self.machine.disk} holds other data, which was left as it is;"
            reason += " --format overwrites it, --disk FILE takes another"
        print(f"\nhallows: {reason}", file=sys.stderr)
        return 1

    def _announce(self):
        ways = []
        if "kvstore" in self.programs:
            ways += [f"redis-cli -p {self.options.port}",
                     f"http://127.0.0.1:{self.options.http_port}/"]
        elif "accounts" in self.programs:
            ways += [f"./hallows storage --http-port {self.options.http_port}"]
        print("\nHallows is ready." + (" Reach it with:" if ways else ""))
        for way in ways:
            print(f"    {way}")
        print(f"Data: {self.machine.disk}. Ctrl-C shuts down.\n", flush=True)

    def _shut_down(self):
        if self.vm.process.poll() is None:
            print("\nShutting down (Ctrl-C again: at once) ...", flush=True)
            self.vm.power_button()
        if self._until(vm.CLEAN, SHUTDOWN_SECONDS) == "seen":
            self.vm.wait_exit(10)
            print(f"Shut down cleanly; the data is in {self.machine.disk}.")
            return 0
        print("hallows: stopped without a clean shutdown; acknowledged writes are in the log and"
              " are replayed at the next start", file=sys.stderr)
        return 1


def main(options):
    """The verb: returns the exit status."""
    if options.cpus < 1 or options.cpus > 64:
        raise RunError(f"--cpus {options.cpus}: choose 1 to 64")
    _check_port("--port", options.port)
    _check_port("--http-port", options.http_port)
    if options.port == options.http_port:
        raise RunError("--port and --http-port must differ")
    if options.kvm:
        _check_kvm()
    system = load_system(options.system, ROOT)
    memory_mib = _memory_mib(options.memory, system)
    disk = options.disk or state_folder() / ("zoned.img" if options.zoned else "disk.img")
    with _lock_disk(disk) as drive:
        if options.zoned and not options.disk:
            # QEMU has forgotten the zones' states, so what the file holds is of no use.
            drive.truncate(0)
            drive.truncate(vm.DISK_BYTES)
        print("Building ...", flush=True)
        settings = [(cell.name, "format", "true") for cell in system.cells
                    if options.format and cell.program in KEEPERS]
        output = build.BUILD / f"image/run-{options.port}.bundle"
        _, bundle_path = build.make_bundle(options.system, settings, output)
        machine = vm.Machine(
            kernel=build.KERNEL,
            bundle=bundle_path,
            nic=options.nic,
            cpus=options.cpus,
            memory_mib=memory_mib,
            disk=disk,
            zoned=options.zoned,
            port=options.port,
            http_port=options.http_port,
            iommu=None if options.no_iommu else "legacy",
            kvm=options.kvm,
            pcap=options.pcap,
            exit_on_reset=True,
        )
        machine.extra += _control_arguments(control_socket(options.port))
        if options.gdb:
            machine.extra += ["-gdb", f"tcp:127.0.0.1:{options.gdb}"]
            print(f"GDB: gdb {build.KERNEL.relative_to(ROOT)} -x tools/gdb/hallows.py"
                  f" -ex 'target remote 127.0.0.1:{options.gdb}', then: hallows", flush=True)
        if options.iso:
            machine.iso = build.make_iso(bundle_path, output.with_suffix(".iso"))
        print(f"Starting '{system.name}' in QEMU ({memory_mib} MiB, {options.cpus} CPU,"
              f" {options.nic}, drive {disk}) ...\n", flush=True)
        try:
            return Session(machine, options, {cell.program for cell in system.cells}).run()
        finally:
            control_socket(options.port).unlink(missing_ok=True)
