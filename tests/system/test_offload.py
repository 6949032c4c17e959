# SPDX-License-Identifier: MIT OR Apache-2.0
"""NICs that sum and cut TCP segments, and check or spare received sums: the same bytes arrive, and few
packets carry them."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from conftest import require_device
from guest import Guest, machine_for
from test_linux_tcp import namespace
from test_virtual_functions import machine as virtual_machine


def counters(guest):
    """The guest's network counters."""
    url = f"http://127.0.0.1:{guest.http_port}/status.json"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)["network"]


def check(network):
    """Most of what was sent went in large packets."""
    stack, device = network["stack"], network["device"]
    assert stack["tcp_large_out"] > 100, stack
    assert device["tx_bytes"] / stack["tcp_large_out"] > 2000
    assert device["tx_errors"] == 0 and device["resets"] == 0
    assert stack["tcp_bad_checksum"] == 0


@pytest.mark.parametrize("system", ["reference", "virtual"])
def test_igb_sums_and_cuts(disk, system):
    require_device("igb")
    make = virtual_machine if system == "virtual" else machine_for
    with Guest(make(system, disk, **({} if system == "virtual" else {"nic": "igb"}))) as guest:
        with guest.client(timeout=60) as client:
            for number in range(2):
                value = bytes((i * 7 + number) & 255 for i in range(1 << 20)) * 2
                assert client("SET", "large", value) == "OK"
                for _ in range(3):
                    assert client("GET", "large") == value
        check(counters(guest))
        assert "checks received sums: yes" in guest.vm.serial
        assert guest.shut_down() == 0


def test_igb_sets_data_apart(disk):
    require_device("igb")
    settings = [("kvstore", "split_headers", "true")]
    with Guest(machine_for("reference", disk, settings, nic="igb")) as guest:
        with guest.client(timeout=60) as client:
            for number in range(3):
                value = bytes((i * 7 + number) & 255 for i in range(1 << 20)) * 2
                assert client("SET", "large", value) == "OK"
                assert client("GET", "large") == value
        network = counters(guest)
        # Over a million bytes of each value came in pages of their own.
        assert network["stack"]["tcp_split_in"] > 2000, network
        assert network["device"]["rx_errors"] == 0 and network["device"]["resets"] == 0
        assert guest.shut_down() == 0


@pytest.mark.parametrize("nic", ["virtio", "virtio-packed", "igb"])
def test_offloads_over_a_tap_device(disk, nic):
    if nic == "igb":
        require_device(nic)
    script = Path(__file__).with_name("tap_guest.py")
    done = subprocess.run([*namespace(), sys.executable, str(script), str(disk), nic],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    check(json.loads(done.stdout.splitlines()[-1]))
