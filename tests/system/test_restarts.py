# SPDX-License-Identifier: MIT OR Apache-2.0
"""Cells that are ended under load come back without harm to others, and a hostile cell harms nobody
but itself.
"""

import json
import os
import time
import urllib.request

from guest import Guest, machine_for


def cells(guest):
    """The cells of status.json by name."""
    url = f"http://127.0.0.1:{guest.http_port}/status.json"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return {cell["name"]: cell for cell in json.load(answer)["cells"]}


# As many ends of the driver cell as fit into the suite; HALLOWS_NET_KILLS=1000 asks for more.
KILLS = int(os.environ.get("HALLOWS_NET_KILLS", "150"))
KILL_EVERY_MS = 200


def test_network_driver_restarts_under_load_and_no_connection_is_lost(disk):
    settings = [("reaper", "times", str(KILLS)), ("reaper", "every_ms", str(KILL_EVERY_MS))]
    with Guest(machine_for("reaper", disk, settings)) as guest:
        with guest.client(timeout=60) as client, guest.client(timeout=60) as other:
            n = 0
            deadline = time.monotonic() + 120 + 5 * KILLS
            while f"nic ended {KILLS} times: success" not in guest.vm.serial:
                assert client("SET", f"key{n % 5000}", str(n)) == "OK"
                assert other("GET", f"key{n % 5000}") == str(n).encode()
                n += 1
                assert time.monotonic() < deadline
            assert n > KILLS, "there was no load"
        status = cells(guest)
        assert status["nic"]["restarts"] == KILLS
        assert status["kvstore"]["restarts"] == 0
        assert guest.shut_down() == 0


def test_server_restarts_under_load_and_loses_no_acknowledged_write(disk):
    settings = [("reaper", "target", "kvstore"), ("reaper", "times", "5"),
                ("reaper", "every_ms", "700")]
    with Guest(machine_for("reaper", disk, settings)) as guest:
        acknowledged, n = [], 0
        client = guest.client_when_up()
        deadline = time.monotonic() + 180
        while "kvstore ended 5 times: success" not in guest.vm.serial:
            assert time.monotonic() < deadline
            try:
                client.socket.settimeout(3)
                if client("SET", f"key{n}", str(n)) == "OK":
                    acknowledged.append(n)
            except (OSError, ValueError):
                client.close()
                client = guest.client_when_up()
            n += 1
        client.close()
        # The last end is followed by one more start.
        ended = guest.vm.serial.index("kvstore ended 5 times")
        guest.vm.wait_for("supervisor: kvstore ready", 60, since=ended)
        client = guest.client_when_up()
        assert len(acknowledged) > 50
        lost = [i for i in acknowledged if client("GET", f"key{i}") != str(i).encode()]
        assert not lost
        client.close()
        assert guest.shut_down() == 0


def test_hostile_cell_harms_nobody(disk):
    with Guest(machine_for("rogue", disk)) as guest:
        with guest.client(timeout=60) as client:
            n = 0
            deadline = time.monotonic() + 120
            while "200000 random calls made" not in guest.vm.serial:
                assert client("SET", "n", str(n)) == "OK"
                assert client("GET", "n") == str(n).encode()
                n += 1
                assert time.monotonic() < deadline
        status = cells(guest)
        assert all(cell["restarts"] == 0 and cell["faults"] == 0 for cell in status.values())
        assert guest.shut_down() == 0
