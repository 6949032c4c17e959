# SPDX-License-Identifier: MIT OR Apache-2.0
"""Contracts on a real drive (QEMU's): admission, fairness, and a neighbour that takes all it gets.
Shown by the cell tests/cells/tenants. The host's scheduling is in every latency of an emulated drive, so
bounds are wide, but where the drive's time is made on the guest's own clock."""

import re

import drives
import pytest
import storage
import vm
from guest import Guest, machine_for

DONE = r"tenants done: success"
DECLARED = "parallel = {}\nread_us = 100\nwrite_us = 100\nread_mb_s = 400\nwrite_mb_s = 400\n"
ZONED = ",nsid=1,zoned=true,zoned.zone_size=64M,zoned.max_active=14,zoned.max_open=14"


def table(**tenants):
    """[contract.NAME] tables and the [config] with each tenant's load."""
    lines, loads = [], []
    for name, (contract, load) in tenants.items():
        lines += [f"[contract.{name}]", *contract]
        loads += [f"load.{name}.{line}" for line in load]
    return "\n".join([*lines, "[config]", *(f"{line}" for line in loads)])


def config(text, **more):
    """With dotted keys written as TOML wants them in [config]."""
    head, loads = text.split("[config]")
    keys = [line.split(" = ") for line in loads.split("\n") if line]
    keys += [(key, str(value)) for key, value in more.items()]
    return head + "[config]\n" + "".join(f'"{key}" = {value}\n' for key, value in keys)


def run(tmp_path, manifest, declared, option=",nsid=1", **machine):
    """The console of the cell on a drive."""
    bundle = drives.bundle_of(tmp_path, "tenants", manifest, drives.DEVICE + declared)
    return drives.run(bundle, drives.namespaces(tmp_path, "", option, size=2 << 30), DONE, **machine)


def test_noisy_neighbour(tmp_path):
    """A reader with a latency contract keeps going beside a writer that always has 32 x 128 KiB under
    way, and waits less (in the median: what is slower is the host) than without contracts."""
    tenants = table(
        victim=(["iops = 2000", 'class = "latency"', 'capacity = "16M"'],
                ["depth = 4", "bytes = 4096", "pause_us = 1000", "alone = true"]),
        noisy=(["mb_s = 50", 'capacity = "32M"'],
               ["write = true", "depth = 32", "bytes = 131072"]))
    figures = {}
    for unmanaged in ("false", "true"):
        folder = tmp_path / unmanaged
        folder.mkdir()
        text = run(folder, config(tenants, run_ms=3000, unmanaged=unmanaged), DECLARED.format(2))
        for what, p50, p99 in re.findall(r"(alone|together) victim: p50 (\d+) ns, p99 (\d+)", text):
            figures[unmanaged, what] = int(p50), int(p99)
        got = {(what, name): int(iops)
               for what, name, iops in re.findall(r"(alone|together) (\w+): (\d+) IOPS", text)}
        assert got["together", "noisy"] > 0
        assert got["together", "victim"] > got["alone", "victim"] / 3
    print(figures)
    assert figures["false", "together"][0] < 0.7 * figures["true", "together"][0]


def test_tail_beside_a_noisy_neighbour(tmp_path):
    """The reader's p99.9 beside the writer is at most 1.2 times its solo figure.

    On a clock that counts instructions, where a drive takes the time that is declared of it
    (tests/cells/tenants/paced.h): 8 requests at a time, 100 ms each and 131 ms more for 128 KiB. So slow,
    because the host's delays are still in it, as a few milliseconds of that clock; idle time is skipped.
    Without contracts the same reader waits several times as long.
    """
    declared = "parallel = 8\nread_us = 100000\nwrite_us = 100000\nread_mb_s = 8\nwrite_mb_s = 8\n"
    tenants = table(
        victim=(["iops = 10", 'class = "latency"', 'capacity = "16M"'],
                ["depth = 4", "bytes = 4096", "pause_us = 125000", "alone = true"]),
        noisy=(["mb_s = 1", 'capacity = "32M"'],
               ["write = true", "depth = 32", "bytes = 131072"]))
    seconds, ratios = 400, {}
    for unmanaged in ("false", "true"):
        folder = tmp_path / unmanaged
        folder.mkdir()
        manifest = config(tenants, run_ms=seconds * 1000, unmanaged=unmanaged, paced="true")
        text = run(folder, manifest, declared, icount=True)
        tail = {what: int(ns) for what, ns in
                re.findall(r"(alone|together) victim: .*, p99\.9 (\d+) ns", text)}
        reads, writes = (int(re.search(rf"together {name}: (\d+) IOPS", text)[1])
                         for name in ("victim", "noisy"))
        print(unmanaged, tail, reads, writes, re.search("the drive below took .*", text)[0])
        assert reads * seconds > 1000  # one in a thousand is one at least
        assert writes > 20  # of 35 that the drive can do
        ratios[unmanaged] = tail["together"] / tail["alone"]
    print(ratios)
    assert ratios["false"] <= 1.2 and ratios["true"] > 2


def test_equals_get_equal_shares_of_14_zones(tmp_path):
    """64 equal tenants append to 14 active zones as much as they can.

    They want different amounts, but each has more waiting than the drive takes of it between two
    looks of its loop: who wants less than its share gets less.
    """
    tenants = {
        f"t{index}": (["mb_s = 1", "whole = true"],
                      ["write = true", "bytes = 4096", f"depth = {(32, 24, 20, 16)[index % 4]}"])
        for index in range(64)}
    manifest = config(table(**tenants), run_ms=3000, zones=14)
    text = run(tmp_path, manifest, DECLARED.format(14), ZONED)
    fairness = int(re.search(r"together: 64 tenants, \d+ KiB/s, Jain (\d+)", text)[1])
    print(fairness)
    assert fairness >= 99000


def test_refused_at_start(tmp_path):
    """A measured drive cannot promise what no drive can: the cell says so and serves nobody."""
    manifest = config(table(greedy=(["iops = 100000000"], [])))
    bundle = drives.bundle_of(tmp_path, "tenants", manifest)
    text = drives.run(bundle, drives.namespaces(tmp_path, "", ",nsid=1"), "tenants done: .*")
    assert "measured the drive: success" in text
    assert re.search(r"contract greedy: needs \d+ ms of drive time a second, \d+ of \d+ are left; "
                     "lower iops or mb_s", text)
    assert "tenants done: success" not in text


@pytest.mark.parametrize("zoned", [False, True], ids=["plain", "zoned"])
def test_log_under_contract(tmp_path, zoned):
    """The key-value server's log as a tenant: served, shown by ./hallows storage, and kept."""
    machine = machine_for("contracts", tmp_path / "disk.img", zoned=zoned)
    with Guest(machine) as guest:
        with guest.client() as client:
            for number in range(300):
                assert client("SET", f"key{number}", "v" * 500) == "OK"
        accounts = storage.fetch_all(guest.http_port)
        told, = accounts
        text = "\n".join(storage.describe(accounts))
        print(text)
        log, spare = told["contracts"]
        assert (log["name"], log["iops"], log["class"]) == ("log", 2000, "latency")
        assert log["log"] == "kvstore" and spare["log"] is None
        assert log["capacity_bytes"] == 512 << 20 and spare["capacity_bytes"] == 512 << 20
        assert log["requests"] >= 300 and spare["requests"] == 0
        # 2,000 x 100 us and 20 MB at 8 x 1 s / 500 MB; 500 x 100 us.
        assert told["promises"]["promised_ns"] == 570_000_000
        assert "570 of 7200 ms of drive time a second promised" in text
        if zoned:
            assert len(told["zones"]) == told["drive"]["zones"]
            assert any(zone["state"] == "open" and zone["written"] for zone in told["zones"])
            assert "zone 0 " in text
        guest.power_cut()
        with guest.client_when_up() as client:
            assert client("DBSIZE") == 300
        guest.shut_down()


def test_contract_on_a_measured_drive(tmp_path):
    """Without figures in system.toml the drive is measured by reading."""
    with Guest(machine_for("contracts-measured", tmp_path / "disk.img")) as guest:
        assert "drive measured: " in guest.vm.serial
        with guest.client() as client:
            assert client("SET", "key", "value") == "OK"
        guest.shut_down()


def test_contract_that_no_drive_keeps(tmp_path):
    """The server does not start, and says why."""
    machine = machine_for("contracts-too-much", tmp_path / "disk.img")
    vm.make_disk(machine.disk)
    with vm.Vm(machine) as running:
        running.wait_for(r"contract log: needs \d+ ms of drive time a second, \d+ of \d+ are left; "
                         "lower iops or mb_s", 90, unless=f"^{vm.READY}")
