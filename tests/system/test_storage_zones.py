# SPDX-License-Identifier: MIT OR Apache-2.0
"""Zones of more bytes than 32 bits count, on QEMU's zoned drive."""

import drives
import pytest
import storage
from guest import Guest, machine_for

GIB = 1 << 30


@pytest.mark.parametrize("zone_gib", [3, 8])
def test_large_zones(tmp_path, zone_gib):
    """The key-value server on such zones, before and after a loss of power."""
    machine = machine_for("reference", tmp_path / "unused.img")
    machine.disk = None
    option = (f",nsid=1,zoned=true,zoned.zone_size={zone_gib}G,zoned.zone_capacity={zone_gib}G,"
              "zoned.max_open=8,zoned.max_active=8")
    machine.extra = drives.namespaces(tmp_path, "", option, size=6 * zone_gib * GIB)
    with Guest(machine) as guest:
        with guest.client() as client:
            for number in range(200):
                assert client("SET", f"key{number}", str(number) * 1000) == "OK"
        told, = storage.fetch_all(guest.http_port)
        assert told["space"]["extent_bytes"] == zone_gib * GIB and told["space"]["extents"] == 4
        assert told["logs"][0]["capacity_bytes"] == 4 * zone_gib * GIB
        guest.power_cut()
        with guest.client_when_up() as client:
            assert client("DBSIZE") == 200 and client("GET", "key199") == b"199" * 1000
        guest.shut_down()
