# SPDX-License-Identifier: MIT OR Apache-2.0
"""Drives that fail (QEMU's blkdebug): errors are told, never returned as data, and what was
acknowledged before survives."""

import vm
from conftest import variant_machine
from guest import Guest
from kvhost import RespError

FIRST_EXTENT_SECTOR = 2048  # byte 1,048,576 (docs/storage-format.md)
VALUE = "v" * 1000


def faults(path, kind, sector):
    """Rules that let every access of one kind to one sector fail."""
    path.write_text(f'[inject-error]\nevent = "none"\niotype = "{kind}"\nsector = "{sector}"\n'
                    'errno = "5"\nonce = "off"\n')
    return path


def set_until_refused(guest, most):
    """How many SETs were acknowledged before the first that was not."""
    with guest.client() as client:
        for number in range(most):
            try:
                assert client("SET", f"key{number}", f"{number}{VALUE}") == "OK"
            except (RespError, OSError, EOFError, ValueError):
                return number
    return most


def test_write_errors_are_told_and_lose_nothing(tmp_path):
    """The log cannot go past a block that cannot be written: changes are refused, reads go on."""
    disk = tmp_path / "disk.img"
    machine = variant_machine("direct", disk)
    machine.disk_faults = faults(tmp_path / "rules", "write", FIRST_EXTENT_SECTOR + 600)
    with Guest(machine) as guest:
        done = set_until_refused(guest, 2000)
        assert 20 < done < 2000
        with guest.client() as client:
            for number in range(done):
                assert client("GET", f"key{number}") == f"{number}{VALUE}".encode()
            try:
                client("SET", "more", "x")
                raise AssertionError("a change was accepted")
            except RespError as error:
                assert str(error).startswith("MISCONF")
            assert b"aof_last_write_status:err" in client("INFO", "persistence")
    with Guest(variant_machine("direct", disk)) as guest:
        with guest.client() as client:
            for number in range(done):
                assert client("GET", f"key{number}") == f"{number}{VALUE}".encode()


def test_read_errors_are_told(tmp_path):
    """A log that cannot be read is not served in part."""
    disk = tmp_path / "disk.img"
    with Guest(variant_machine("direct", disk)) as guest:
        assert set_until_refused(guest, 300) == 300
    machine = variant_machine("direct", disk)
    machine.disk_faults = faults(tmp_path / "rules", "read", FIRST_EXTENT_SECTOR + 100)
    with vm.Vm(machine) as running:
        running.wait_for(r"recovery stopped after \d+ records: |cannot be read", 120,
                         unless=r"^supervisor: kvstore ready")
    with Guest(variant_machine("direct", disk)) as guest:
        with guest.client() as client:
            assert client("DBSIZE") == 300
