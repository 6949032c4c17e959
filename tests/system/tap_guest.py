# SPDX-License-Identifier: MIT OR Apache-2.0
"""A guest on a tap device against Linux's own TCP/IP: run in a network namespace of its own by
test_offload.py.

usage: tap_guest.py <drive> <nic>
Prints the guest's network counters as JSON, and ends with a trace otherwise.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1] / "tools")]

import vm  # noqa: E402
from guest import machine_for  # noqa: E402
from resp import Client  # noqa: E402

ADDRESS = "10.9.0.2"
NETDEV = "tap,id=net0,ifname=tap0,script=no,downscript=no,vnet_hdr=on"


def talk():
    """Large and small values both ways; returns the guest's counters."""
    with Client(6379, 60, ADDRESS) as client:
        for number in range(3):
            value = bytes((i * 7 + number) & 255 for i in range(1 << 20)) * 2
            assert client("SET", "large", value) == "OK"
            for _ in range(3):
                assert client("GET", "large") == value
            for size in (1, 500, 1447, 1448, 1449, 3000, 20000):
                assert client("SET", "small", value[:size]) == "OK"
                assert client("GET", "small") == value[:size]
    with urllib.request.urlopen(f"http://{ADDRESS}/status.json", timeout=20) as answer:
        return json.load(answer)["network"]


def main():
    """Makes the tap device, boots, talks, shuts down."""
    drive, nic = Path(sys.argv[1]), sys.argv[2]
    for command in ("ip link set lo up", "ip tuntap add dev tap0 mode tap vnet_hdr",
                    "ip address add 10.9.0.1/24 dev tap0", "ip link set tap0 up"):
        subprocess.run(command.split(), check=True)
    vm.make_disk(drive)
    settings = [("kvstore", "address", f"{ADDRESS}/24")]
    with vm.Vm(machine_for("reference", drive, settings, nic=nic, netdev=NETDEV)) as guest:
        guest.wait_ready(90)
        # Linux leaves the sums of what it sends here open, so that nothing but this lets it through.
        assert "checks received sums: yes" in guest.serial, guest.serial
        counters = talk()
        guest.power_button()
        guest.wait_for(vm.CLEAN, 40)
    print(json.dumps(counters))


main()
