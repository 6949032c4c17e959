# SPDX-License-Identifier: MIT OR Apache-2.0
"""Starts and drives one QEMU machine: serial console, QMP, deadlines. Used by `./hallows run`, the
system tests and the benchmarks.

Every wait has a deadline and ends early when QEMU ends. close() ends the process that start()
started and no other.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import accept_queue
from qmp import Qmp, QmpError

QEMU = "qemu-system-x86_64"
READY = "hallows: system ready"
CLEAN = "hallows: clean shutdown"
# The kernel has given up; its last line after every kind of report.
STOPPED = r"^hallows: (?:.*; )?stopped$"
# A cell stays down for good, so the system will not get ready.
NOT_WHOLE = r"^supervisor: the system is not whole.*$"

# One raw file for the drive; sparse, so that it takes what was written.
DISK_BYTES = 1 << 30
ZONE_BYTES = 8 << 20

# VT-d as QEMU emulates it, by mode of its tables.
_VTD = "intel-iommu,intremap=on,eim=on,aw-bits=48"
IOMMUS = {
    "legacy": _VTD,
    "scalable": f"{_VTD},x-scalable-mode=on",
    "first-level": f"{_VTD},x-scalable-mode=on,x-flts=on",
}

NICS = {
    "virtio": "virtio-net-pci,disable-legacy=on,romfile=",
    "virtio-packed": "virtio-net-pci,disable-legacy=on,packed=on,romfile=",
    # Several queues, where the backend has them.
    "virtio-mq": "virtio-net-pci,disable-legacy=on,mq=on,romfile=",
    "virtio-rss": "virtio-net-pci,disable-legacy=on,mq=on,rss=on,romfile=",
    "virtio-rss-packed": "virtio-net-pci,disable-legacy=on,mq=on,rss=on,packed=on,romfile=",
    "igb": "igb,romfile=",
    "e1000e": "e1000e,romfile=",
}


class VmError(Exception):
    """The machine did not do what was asked; str() is for the user."""


def qemu_version():
    """QEMU's version as (major, minor), or None where there is no QEMU."""
    path = shutil.which(QEMU)
    if path is None:
        return None
    output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    match = re.search(r"version (\d+)\.(\d+)", output.stdout)
    return (int(match.group(1)), int(match.group(2))) if match else None


def has_device(name):
    """Whether this QEMU emulates the device."""
    output = subprocess.run(
        [QEMU, "-device", "help"], capture_output=True, text=True, timeout=60, check=False
    )
    return f'name "{name}"' in output.stdout


def make_disk(path, size=DISK_BYTES):
    """Creates an empty drive unless the file is there."""
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(size)


@dataclass
class Machine:
    """What the machine is made of."""

    kernel: Path | None = None
    bundle: Path | None = None
    command_line: str = ""
    iso: Path | None = None
    firmware: tuple = ()  # OVMF code and variables; () for SeaBIOS
    nic: str | None = "virtio"
    cpus: int = 1
    cpu: str = "max"  # QEMU's name of the emulated model
    memory_mib: int = 512
    disk: Path | None = None
    disk_faults: Path | None = None  # rules of QEMU's blkdebug: errors to inject
    zoned: bool = False
    # Host ports to the guest's 6379 and 80; 0 lets QEMU choose.
    port: int = 0
    http_port: int = 0
    netdev: str | None = None  # replaces user networking
    pcap: Path | None = None  # every frame between NIC and host goes there too
    iommu: str | None = "legacy"  # a key of IOMMUS; None: none
    kvm: bool = False
    icount: bool = False
    icount_sleep: bool = False  # idle time passes in real time instead of being skipped
    exit_on_reset: bool = False
    extra: list = field(default_factory=list)

    def arguments(self):
        """QEMU's command line without the consoles."""
        args = [QEMU, "-nodefaults", "-no-user-config", "-display", "none"]
        # Interrupt remapping wants the I/O APIC in QEMU, not in KVM.
        machine = "q35,kernel-irqchip=split" if self.iommu else "q35"
        args += ["-machine", machine, "-smp", str(self.cpus), "-m", str(self.memory_mib)]
        args += ["-device", IOMMUS[self.iommu]] if self.iommu else []
        # Nothing draws on it; without one SeaBIOS 1.16 hangs in its console after a system_reset.
        args += ["-device", "VGA"]
        if self.kvm:
            args += ["-accel", "kvm", "-cpu", "host"]
        elif self.icount:
            sleep = "on" if self.icount_sleep else "off"
            args += ["-accel", "tcg", "-icount", f"shift=0,sleep={sleep}", "-cpu", self.cpu]
        else:
            args += ["-accel", "tcg,thread=multi", "-cpu", self.cpu]
        if self.iso:
            args += ["-cdrom", str(self.iso), "-boot", "d"]
        else:
            args += ["-kernel", str(self.kernel)]
            args += ["-initrd", str(self.bundle)] if self.bundle else []
            args += ["-append", self.command_line] if self.command_line else []
        for unit, (path, writable) in enumerate(zip(self.firmware, (False, True))):
            readonly = "off" if writable else "on"
            args += ["-drive", f"if=pflash,unit={unit},format=raw,readonly={readonly},file={path}"]
        return args + self._nic() + self._disk() + self._rest()

    def _nic(self):
        if self.nic is None:
            return []
        forward = (
            f"hostfwd=tcp:127.0.0.1:{self.port}-:6379,hostfwd=tcp:127.0.0.1:{self.http_port}-:80"
        )
        netdev = self.netdev or f"user,id=net0,{forward}"
        # Without iommu_platform QEMU's virtio devices go past the IOMMU.
        platform = ",iommu_platform=on" if self.iommu and self.nic.startswith("virtio") else ""
        args = ["-netdev", netdev, "-device", f"{NICS[self.nic]},netdev=net0{platform}"]
        if self.pcap:
            path = str(self.pcap).replace(",", ",,")
            args += ["-object", f"filter-dump,id=pcap0,netdev=net0,maxlen=65536,file={path}"]
        return args

    def _disk(self):
        if self.disk is None:
            return []
        file = str(self.disk).replace(",", ",,")
        if self.disk_faults:
            file = f"blkdebug:{self.disk_faults}:{file}"
        drive = f"if=none,id=disk0,format=raw,discard=unmap,detect-zeroes=off,file={file}"
        if not self.zoned:
            return ["-drive", drive, "-device", "nvme,serial=hallows0,drive=disk0"]
        zones = f"zoned=true,zoned.zone_size={ZONE_BYTES},zoned.max_open=16,zoned.max_active=32"
        return [
            *("-drive", drive),
            *("-device", "nvme,serial=hallows0,id=nvme0"),
            *("-device", f"nvme-ns,drive=disk0,bus=nvme0,nsid=1,{zones}"),
        ]

    def _rest(self):
        reset = ["-no-reboot"] if self.exit_on_reset else []
        return reset + list(self.extra)


def _end_with_parent():
    """In the child: a signal when the parent ends, so that no machine outlives its owner."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, prctl(2)


class Vm:
    """One running machine."""

    def __init__(self, machine, on_serial=None):
        self.machine = machine
        self.on_serial = on_serial
        self.process = None
        self._qmp = None
        self._folder = None
        self._text = ""
        self._ended = False
        self._changed = threading.Condition()
        self._reader = None
        self._errors = None
        self.ports = {}

    # ---- Life ------------------------------------------------------------------------------

    def start(self, timeout=30):
        """Starts QEMU and connects to it."""
        self._folder = tempfile.TemporaryDirectory(prefix="hallows-vm-")
        qmp_path = os.path.join(self._folder.name, "qmp")
        arguments = self.machine.arguments()
        arguments += ["-chardev", "stdio,id=console0,signal=off", "-serial", "chardev:console0"]
        arguments += ["-qmp", f"unix:{qmp_path},server=on,wait=off"]
        self._errors = open(os.path.join(self._folder.name, "stderr"), "w+b")
        try:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        except FileNotFoundError as error:
            raise VmError(f"{QEMU} is missing") from error
        self._reader = threading.Thread(target=self._read_serial, daemon=True)
        self._reader.start()
        try:
            self._connect(qmp_path, time.monotonic() + timeout)
        except VmError as error:
            try:
                self.process.wait(2)  # it may be about to end, with a reason of its own
                raise VmError(self._why_ended()) from error
            except subprocess.TimeoutExpired:
                raise error from None
            finally:
                self.close()
        return self

    def _connect(self, path, deadline):
        while True:
            if self.process.poll() is not None:
                raise VmError(self._why_ended())
            try:
                self._qmp = Qmp(path, max(0.1, deadline - time.monotonic()))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise VmError("QEMU did not open its control socket in time") from None
                with self._changed:
                    self._changed.wait(0.02)
            except (OSError, QmpError) as error:
                raise VmError(str(error)) from error
        if self.machine.nic and (self.machine.netdev or "user,").startswith("user,"):
            self._find_ports()

    def _find_ports(self):
        info = self.qmp("human-monitor-command", command_line="info usernet")
        pattern = r"HOST_FORWARD\S*\s+(\d+)\s+\S+\s+(\d+)\s+\S+\s+(\d+)"
        forwards = [tuple(map(int, found)) for found in re.findall(pattern, info)]
        self.ports.update((guest, host) for _, host, guest in forwards)
        accept_queue.lengthen(self.process.pid, [descriptor for descriptor, _, _ in forwards])

    def close(self):
        """Ends the machine at once, as a power cut would; safe to call twice."""
        if self._qmp:
            self._qmp.close()
            self._qmp = None
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(timeout=30)
            self._reader.join(timeout=30)
            self.process.stdout.close()
        if self._errors:
            self._errors.close()
            self._errors = None
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # ---- Serial console --------------------------------------------------------------------

    def _read_serial(self):
        pipe = self.process.stdout
        while True:
            data = os.read(pipe.fileno(), 65536)
            with self._changed:
                if data:
                    self._text += data.decode("utf-8", "replace").replace("\r", "")
                else:
                    self._ended = True
                self._changed.notify_all()
            if not data:
                return
            if self.on_serial:
                self.on_serial(data.decode("utf-8", "replace").replace("\r", ""))

    @property
    def serial(self):
        """Everything the console has printed."""
        with self._changed:
            return self._text

    def mark(self):
        """A position in the console's output, for wait_for's `since`."""
        with self._changed:
            return len(self._text)

    def wait_for(self, pattern, timeout, since=0, unless=None):
        """Waits until the console prints `pattern` (a regular expression); returns the match.
        Fails when the machine ends, time is up, or `unless` is printed."""
        deadline = time.monotonic() + timeout
        wanted = re.compile(pattern, re.MULTILINE)
        unwanted = re.compile(unless, re.MULTILINE) if unless else None
        with self._changed:
            while True:
                match = wanted.search(self._text, since)
                if match:
                    return match
                left = deadline - time.monotonic()
                wrong = unwanted.search(self._text, since) if unwanted else None
                if wrong:
                    raise VmError(f"'{wrong[0]}' instead of '{pattern}'{self._tail(since)}")
                if self._ended:
                    raise VmError(f"QEMU ended before '{pattern}'{self._tail(since)}")
                if left <= 0:
                    raise VmError(f"no '{pattern}' within {timeout} s{self._tail(since)}")
                self._changed.wait(left)

    def _tail(self, since=0):
        lines = self._text[since:].rstrip().splitlines()[-25:]
        return "; the console ends with:\n" + "\n".join("  | " + line for line in lines)

    def wait_exit(self, timeout):
        """Waits for QEMU to end by itself; returns its exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            with self._changed:
                raise VmError(f"the machine still runs after {timeout} s{self._tail()}") from error

    def wait_end(self):
        """Waits, without a deadline, until QEMU has ended and its console is read to the end."""
        self.process.wait()
        self._reader.join()

    def _why_ended(self):
        self.process.wait(timeout=10)
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace").strip()
        lines = [line for line in text.splitlines() if "warning:" not in line]
        last = lines[-1] if lines else f"exit status {self.process.returncode}"
        return "QEMU did not start: " + last.removeprefix(QEMU + ": ")

    def wait_ready(self, timeout, since=0):
        """Waits until the system serves."""
        self.wait_for(READY, timeout, since, unless=f"{STOPPED}|{NOT_WHOLE}")

    # ---- QMP -------------------------------------------------------------------------------

    def qmp(self, command, **arguments):
        """Sends one QMP command and returns its result."""
        try:
            return self._qmp.execute(command, **arguments)
        except QmpError as error:
            raise VmError(str(error)) from error

    def power_button(self):
        """Presses the ACPI power button."""
        self.qmp("system_powerdown")

    def reset(self):
        """A power cut followed at once by power-on. Zone states of a zoned drive survive it.

        The CPUs stand still meanwhile: QEMU 10.0 sometimes crashes (segmentation fault) when a
        doorbell of a running guest meets the reset of its device.
        """
        self.qmp("stop")
        self.qmp("system_reset")
        if not self.machine.exit_on_reset:
            self.qmp("cont")


def ovmf_files(folder):
    """OVMF's code and a fresh copy of its variables in `folder`, or None where it is missing."""
    for suffix in ("_4M", ""):
        code = Path(f"/usr/share/OVMF/OVMF_CODE{suffix}.fd")
        variables = Path(f"/usr/share/OVMF/OVMF_VARS{suffix}.fd")
        if code.exists() and variables.exists():
            copy = Path(folder) / "OVMF_VARS.fd"
            shutil.copyfile(variables, copy)
            return code, copy
    return None
