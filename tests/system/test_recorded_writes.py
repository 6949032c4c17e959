# SPDX-License-Identifier: MIT OR Apache-2.0
"""Crash safety of the running system: QEMU's blklogwrites records every write and flush that reaches
the drive's file, and lib/loglet/cutlog_host.c lets the power go after each of them. Whatever a client
was told by then has to be there."""

import os
import struct
import subprocess

import build
import vm
from conftest import variant_machine
from guest import Guest

DRIVE_BYTES = 32 << 20
SECTOR = 512
FILL = 200
CUTS = int(os.environ.get("HALLOWS_CUTS", "1000"))


class Recording:
    """How many entries a recording has, while it grows."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.at = SECTOR
        self.entries = 0

    def count(self):
        """Entries that are complete now."""
        while True:
            self.file.seek(self.at)
            header = self.file.read(32)
            if len(header) < 32:
                return self.entries
            _, sectors, flags, _ = struct.unpack("<4Q", header)
            if sectors == 0 and flags == 0:
                return self.entries
            self.entries += 1
            self.at += SECTOR + (0 if flags & 4 else sectors * SECTOR)


def value(number):
    """What cutlog expects of value `number`."""
    return f"#{number}#" + "".join(chr(97 + (number + at) % 26) for at in range(FILL))


def drive(folder):
    """QEMU's arguments for a drive whose writes are recorded."""
    for name in ("drive.img", "recording"):
        vm.make_disk(folder / name, DRIVE_BYTES if name == "drive.img" else 0)
    return ["-blockdev", f"driver=file,node-name=base,filename={folder}/drive.img",
            "-blockdev", f"driver=file,node-name=recording,filename={folder}/recording",
            "-blockdev", "driver=blklogwrites,node-name=disk0,file=base,log=recording,"
            f"log-sector-size={SECTOR}",
            "-device", "nvme,serial=hallows0,drive=disk0"]


def test_every_write_may_be_the_last(tmp_path):
    """One after the other, then many at once, then a clean end: no cut loses what was acknowledged."""
    machine = variant_machine("direct", tmp_path / "unused")
    machine.disk = None
    machine.extra += drive(tmp_path)
    guest = Guest(machine)
    known = []
    with guest.vm:
        guest.wait_ready()
        recording = Recording(tmp_path / "recording")
        with guest.client() as client:
            for number in range(150):
                assert client("SET", f"key{number}", value(number)) == "OK"
                known.append((recording.count(), number))
            for first in range(150, 950, 16):
                words = [word for number in range(first, first + 16)
                         for word in (f"key{number}", value(number))]
                assert client("MSET", *words) == "OK"
                known.append((recording.count(), first + 15))
        guest.shut_down()
    (tmp_path / "known").write_text("".join(f"{at} {number}\n" for at, number in known))
    build.make("build/tests/cutlog")
    done = subprocess.run([build.BUILD / "tests/cutlog", tmp_path / "recording", str(DRIVE_BYTES),
                           tmp_path / "known", str(CUTS)],
                          capture_output=True, text=True, check=False, timeout=900)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split("\n")[1].split()[0]) >= CUTS
