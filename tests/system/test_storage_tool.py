# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows storage` on systems with several controllers, namespaces and loglets; the whole command,
as people call it."""

import json
import re
import shutil
import socket
import subprocess

import build
import drives
import storage
import vm

HALLOWS = build.ROOT / "hallows"
# The key-value server with its own drive, and the storage service's system beside it.
CONTROLLER = """
[device.nvme1]
kind = "nvme"
index = 1
irqs = 2
parallel = 8
read_us = 100
write_us = 100
read_mb_s = 1000
write_mb_s = 500
"""


def hallows_storage(*options):
    """Exit status, output and errors of the command."""
    done = subprocess.run([HALLOWS, "storage", "--no-install", *map(str, options)], text=True,
                          capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def boot(bundle, extra):
    """A machine with a NIC and these drives, once all its cells are ready."""
    machine = vm.Machine(kernel=build.KERNEL, bundle=bundle, memory_mib=768, extra=extra)
    return vm.Vm(machine)


def both_systems(tmp_path):
    """The bundle of a system in which the key-value server is told of the service's loglets."""
    shutil.copytree(build.ROOT / "systems", tmp_path / "systems")
    folder = tmp_path / "systems/storage"
    path = folder / "system.toml"
    text = path.read_text(encoding="utf-8")
    text = text.replace('"accounts", "first"', '"kvstore", "first"').replace('"256M"', '"768M"')
    head, rest = text.split("[device.nvme0]")
    text = head + '[device.nvme0]\nkind = "nvme"\nirqs = 2\n' + CONTROLLER
    text += "\n[loglet.first]" + rest.split("[loglet.first]", 1)[1]
    path.write_text(text.replace('client = "accounts"', 'client = "kvstore"'), encoding="utf-8")
    service = folder / "cells/storage.toml"
    service.write_text(service.read_text(encoding="utf-8").replace("nvme0", "nvme1"),
                       encoding="utf-8")
    shutil.copy(tmp_path / "systems/reference/cells/kvstore.toml", folder / "cells/kvstore.toml")
    return build.make_bundle(path, output=tmp_path / "bundle")[1]


def contract_of(account, name):
    """The contract of that name."""
    return next(one for one in account["contracts"] if one["name"] == name)


def test_every_controller_and_namespace_is_shown(tmp_path):
    """Two controllers with five namespaces, in two cells; one of them tells of the other's."""
    extra = drives.namespaces(
        tmp_path, "", ",nsid=1", ",nsid=2,logical_block_size=4096,physical_block_size=4096",
        ",nsid=7,zoned=true,zoned.zone_size=4M,zoned.max_active=9,zoned.max_open=9", size=256 << 20)
    extra += drives.namespaces(
        tmp_path, "", ",nsid=3,zoned=true,zoned.zone_size=8M,zoned.max_active=12,zoned.max_open=12",
        ",nsid=4", size=512 << 20, index=1)
    with boot(both_systems(tmp_path), extra) as running:
        running.wait_ready(120)
        running.wait_for(r"first: kept \d+ records", 120, unless=f"{vm.STOPPED}|FAILED")
        port = running.ports[80]
        status, output, errors = hallows_storage("--http-port", port, "--json")
        assert status == 0, errors
        own, service = json.loads(output)
        assert (own["cell"], service["cell"]) == ("kvstore", "storage")
        assert (own["drive"]["serial"], service["drive"]["serial"]) == ("hallows0", "hallows1")
        seen = {(one["id"], one["block_bytes"], one["blocks"] * one["block_bytes"] >> 20,
                 one["zone_blocks"] * one["block_bytes"] >> 20, one["max_active_zones"])
                for one in own["drive"]["namespaces"] + service["drive"]["namespaces"]}
        assert seen == {(1, 512, 256, 0, 0), (2, 4096, 256, 0, 0), (7, 512, 256, 4, 9),
                        (3, 512, 512, 8, 12), (4, 512, 512, 0, 0)}
        assert [one["name"] for one in own["logs"]] == ["kvstore"]
        assert sorted(one["name"] for one in service["logs"]) == ["first", "second"]
        first = contract_of(service, "first")
        assert (first["log"], first["iops"], first["bytes_per_second"]) == ("first", 500, 10_000_000)
        assert first["requests"] > 0 and first["capacity_bytes"] == 64 << 20
        assert own["drive"]["error_log"] == [] == service["drive"]["error_log"]
        assert service["health"]["media_errors"] == 0 and len(service["zones"]) == 64
        logs = {one["name"]: one for one in service["logs"]}
        assert logs["first"]["capacity_bytes"] == 64 << 20 and logs["first"]["append_bytes"] > 0
        status, text, errors = hallows_storage("--http-port", port)
        assert status == 0, errors
    print(text)
    assert len(re.findall("^  namespace", text, re.M)) == 5 and text.count("with the logs below") == 2
    assert "namespace 7   256 MiB in blocks of 512 bytes, zoned, 64 zones of 4.0 MiB" in text
    assert re.search(r"first +first +normal +500 +10 ", text)
    assert re.search(r"^storage: QEMU NVMe Ctrl  serial hallows1", text, re.M)


def browse(port):
    """What else browsers may ask of the cell that tells accounts: it answers, and goes on."""
    for request, answer in ((b"GET / HTTP/1.1", b"404"), (b"POST /storage.json HTTP/1.1", b"405"),
                            (b"GET /storage.jsonx HTTP/1.1", b"404"), (b"nonsense", b"400"),
                            (b"HEAD /storage.json HTTP/1.1", b"200"),
                            (b"GET /" + b"x" * 20000 + b" HTTP/1.1", b"414")):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(request + b"\r\nHost: x\r\n\r\n")
            got = connection.recv(100)
            assert got.startswith(b"HTTP/1.1 " + answer), (request[:40], got)
    idle = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(12)]
    for connection in idle:
        connection.close()
    assert storage.fetch(port)


def test_a_system_of_loglets(tmp_path):
    """systems/storage, whose cell for that sees no record; while it runs, and its images after that."""
    bundle = build.make_bundle(build.ROOT / "systems/storage/system.toml",
                               output=tmp_path / "bundle")[1]
    images = [tmp_path / f"namespace0-{number}.img" for number in (0, 1)]
    extra = drives.namespaces(tmp_path, "", ",nsid=1", ",nsid=2", size=512 << 20)
    with boot(bundle, extra) as running:
        running.wait_ready(120)
        running.wait_for(r"second: kept \d+ records", 120, unless=f"{vm.STOPPED}|FAILED")
        status, output, errors = hallows_storage("--http-port", running.ports[80], "--json")
        assert status == 0, errors
        account, = json.loads(output)
        assert account["cell"] == "storage" and len(account["drive"]["namespaces"]) == 2
        assert {one["name"] for one in account["contracts"]} == {"(service)", "first", "second"}
        # 100 requests of the service's own and 500 of each, 100 us each; 10 MB of each at 500 MB/s.
        assert account["promises"]["promised_ns"] == 100 * 100_000 + 2 * (500 * 100_000 + 160_000_000)
        status, _, errors = hallows_storage("--format", images[0], "--yes")
        assert status != 0 and "is in use" in errors
        browse(running.ports[80])
        running.power_button()
        running.wait_for(vm.CLEAN, 60)
    status, output, errors = hallows_storage("--format", *images)
    assert status != 0 and "It holds logs (format" in output and "first, second" in output
    with images[0].open("rb") as image:
        assert b"HALLOGSB" in image.read(1 << 20)  # nobody confirmed
    status, _, errors = hallows_storage("--format", *images, "--yes")
    assert status == 0, errors
    for path in images:
        with path.open("rb") as image:
            assert not any(image.read(2 << 20))


def test_contracts_change_what_logs_have(tmp_path):
    """The same drive with another manifest: one log has more room then, the other less."""
    extra = drives.namespaces(tmp_path, "", ",nsid=1", size=512 << 20)
    shutil.copytree(build.ROOT / "systems", tmp_path / "systems")
    path = tmp_path / "systems/storage/system.toml"
    for first, second in ((64, 64), (96, 48)):
        head, one, other = path.read_text(encoding="utf-8").split("capacity = ")
        path.write_text(f"{head}capacity = \"{first}M\"\n{one.partition(chr(10))[2]}"
                        f"capacity = \"{second}M\"\n{other.partition(chr(10))[2]}",
                        encoding="utf-8")
        bundle = build.make_bundle(path, output=tmp_path / f"bundle{first}")[1]
        with boot(bundle, extra) as running:
            running.wait_ready(120)
            running.wait_for(r"first: kept \d+ records", 120, unless=f"{vm.STOPPED}|FAILED")
            status, output, errors = hallows_storage("--http-port", running.ports[80], "--json")
            assert status == 0, errors
            account, = json.loads(output)
            found = {log["name"]: log["capacity_bytes"] >> 20 for log in account["logs"]}
            assert found == {"first": first, "second": second}
            assert account["space"]["promised"] == first + second
            running.power_button()
            running.wait_for(vm.CLEAN, 60)
