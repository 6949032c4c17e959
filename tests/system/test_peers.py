# SPDX-License-Identifier: MIT OR Apache-2.0
"""Stock network programs against the running system: ping, nc, iperf3. (redis-cli,
redis-benchmark, curl: test_clients.py.)"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require_command
from test_linux_tcp import namespace


@pytest.fixture(scope="module", name="told")
def _told(tmp_path_factory):
    """What each program said; one boot of each system for all tests."""
    for name in ("ping", "nc", "iperf3"):
        require_command(name)
    script = Path(__file__).with_name("peers_guest.py")
    disk = tmp_path_factory.mktemp("peers") / "disk.img"
    done = subprocess.run([*namespace(), sys.executable, str(script), str(disk)],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name, count", [("ping", 3), ("ping large", 2), ("ping6", 3)])
def test_ping(told, name, count):
    """Every request is answered; the large ones in fragments."""
    assert re.search(rf"{count} packets transmitted, {count} received, 0% packet loss", told[name])


@pytest.mark.parametrize("name", ["nc", "nc6"])
def test_nc(told, name):
    """200,000 bytes come back over TCP, a datagram over UDP."""
    assert told[name] is True
    assert told[name + " udp"] == "datagram"


@pytest.mark.parametrize("name", ["forward", "reverse", "parallel", "v6"])
def test_iperf3(told, name):
    """Both ends agree on what arrived, and it is not nothing."""
    sent, received = told[name]["sum_sent"]["bytes"], told[name]["sum_received"]["bytes"]
    assert 1 << 19 < received <= sent
    assert len(told[name]["streams"]) == (4 if name == "parallel" else 1)


def test_iperf3_is_told_what_is_not_served(told):
    """UDP is refused by name, not left hanging."""
    assert told["udp"]
