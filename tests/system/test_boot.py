# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every kind of system boots, serves, shuts down cleanly and has its data in the next run."""

import subprocess

import build
import bundle
import layout
import pytest
import vm
from conftest import VARIANTS, require_command, variant_machine
from guest import Guest, bundle_of, machine_for


@pytest.mark.parametrize("variant", VARIANTS)
def test_boots_serves_and_shuts_down(variant, disk):
    with Guest(variant_machine(variant, disk)) as guest:
        with guest.client() as client:
            assert client("PING") == "PONG"
            assert client("SET", "key", "value of " + variant) == "OK"
            assert client("GET", "key") == ("value of " + variant).encode()
        if subprocess.run(["which", "redis-cli"], capture_output=True, check=False).returncode == 0:
            answer = subprocess.run(
                ["redis-cli", "-p", str(guest.port), "GET", "key"],
                capture_output=True, text=True, timeout=30, check=True,
            )
            assert answer.stdout == f"value of {variant}\n"
        assert guest.shut_down() == 0


@pytest.mark.parametrize("variant", ["direct", "shared"])
def test_data_is_there_in_the_next_run(variant, disk):
    big = bytes(range(256)) * 4096
    with Guest(variant_machine(variant, disk)) as guest:
        with guest.client() as client:
            for number in range(500):
                client.send("SET", f"key:{number}", f"value {number}")
            assert [client.receive() for _ in range(500)] == ["OK"] * 500
            assert client("SET", "big", big) == "OK"
            assert client("SET", "short-lived", "x", "EX", "100000") == "OK"
            assert client("INCRBY", "counter", 41) == 41
            assert client("DEL", "key:7") == 1
        guest.shut_down()
    with Guest(variant_machine(variant, disk)) as guest:
        with guest.client() as client:
            assert client("DBSIZE") == 502
            assert client("GET", "key:499") == b"value 499"
            assert client("GET", "key:7") is None
            assert client("GET", "big") == big
            assert client("INCR", "counter") == 42
            assert 0 < client("TTL", "short-lived") <= 100000


def test_zones_survive_a_power_cut(disk):
    with Guest(variant_machine("zoned", disk)) as guest:
        with guest.client() as client:
            assert client("SET", "key", "value") == "OK"
        guest.power_cut()
        with guest.client_when_up() as client:
            assert client("GET", "key") == b"value"


def test_foreign_disk_is_left_alone_until_format(disk):
    content = b"somebody else's data " * 100_000
    disk.write_bytes(content + bytes(vm.DISK_BYTES // 4 - len(content)))
    machine = machine_for("reference", disk)
    with vm.Vm(machine) as guest:
        guest.wait_for(r"(?i)format", 60)
        with pytest.raises(vm.VmError):
            guest.wait_for(vm.READY, 5)
    with open(disk, "rb") as file:
        assert file.read(len(content)) == content
    with Guest(machine_for("reference", disk, [("kvstore", "format", "true")])) as guest:
        with guest.client() as client:
            assert client("SET", "key", "value") == "OK"
        guest.shut_down()
    with Guest(machine) as guest:
        with guest.client() as client:
            assert client("GET", "key") == b"value"


def test_no_bundle_is_a_clear_line():
    with vm.Vm(vm.Machine(kernel=build.KERNEL, nic=None, memory_mib=128)) as guest:
        guest.wait_for(vm.STOPPED, 30)


@pytest.mark.parametrize("part", ["magic", "version", "entries", "supervisor", "kvstore"])
def test_damaged_bundle_is_a_clear_line(disk, tmp_path, part):
    data = bytearray(bundle_of("reference")[1].read_bytes())
    places = {"magic": 0, "version": 9, "entries": layout.size("bundle_header") + 30}
    if part not in places:
        content = next(content for kind, name, content in bundle.unpack_bundle(data)
                       if name == part and kind != layout.BUNDLE_SYMBOLS)
        places[part] = data.index(content) + len(content) // 2
    data[places[part]] ^= 0x40
    damaged = tmp_path / "damaged.bundle"
    damaged.write_bytes(data)
    vm.make_disk(disk)
    machine = vm.Machine(kernel=build.KERNEL, bundle=damaged, disk=disk)
    with vm.Vm(machine) as guest:
        guest.wait_for(r"(?i)(bundle|checksum|damaged|crc)", 60)
        assert vm.READY not in guest.serial


@pytest.fixture(scope="module", name="iso")
def _iso(tmp_path_factory):
    for tool in ("grub-mkrescue", "xorriso", "mformat"):
        require_command(tool)
    return build.make_iso(bundle_of("reference")[1], tmp_path_factory.mktemp("iso") / "hallows.iso")


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_iso_boots(iso, disk, tmp_path, firmware):
    files = ()
    if firmware == "uefi":
        files = vm.ovmf_files(tmp_path)
        if files is None:
            pytest.skip("OVMF is not installed")
    machine = machine_for("reference", disk, iso=iso, firmware=files, memory_mib=768)
    with Guest(machine) as guest:
        with guest.client() as client:
            assert client("PING") == "PONG"
        assert guest.shut_down() == 0
