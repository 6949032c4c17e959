# SPDX-License-Identifier: MIT OR Apache-2.0
"""Stock programs against guests on a tap device: run in a network namespace of its own by
test_peers.py.

usage: peers_guest.py <drive>
Prints what each program said as JSON, and ends with a trace otherwise.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1] / "tools")]

import vm  # noqa: E402
from guest import machine_for  # noqa: E402

V4, V6 = "10.9.0.2", "fd09::2"
NETDEV = "tap,id=net0,ifname=tap0,script=no,downscript=no,vnet_hdr=on"
SECONDS = 30


def ask(*command, stdin=None):
    """What a program prints; its failure is ours."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def boot(system, drive):
    """A guest of that system, with both addresses."""
    settings = [(system, "address", f"{V4}/24"), (system, "address6", f"{V6}/64")]
    return vm.Vm(machine_for(system, drive, settings, netdev=NETDEV))


def iperf3(*options):
    """One test; its own account of both ends."""
    return json.loads(ask("iperf3", "-c", V4, "-t", "1", "-J", *options))["end"]


def measure():
    """iperf3 both ways, in parallel, over IPv6, and what it is refused."""
    told = {"forward": iperf3(), "reverse": iperf3("-R"), "parallel": iperf3("-P", "4")}
    told["v6"] = json.loads(ask("iperf3", "-c", V6, "-t", "1", "-J"))["end"]
    udp = subprocess.run(["iperf3", "-c", V4, "-u", "-t", "1", "-J"], capture_output=True,
                         timeout=SECONDS, check=False)
    told["udp"] = json.loads(udp.stdout).get("error", "")
    return told


def echo():
    """ping and nc over both families."""
    data = bytes(i * 7 & 255 for i in range(200000))
    told = {"ping": ask("ping", "-c", "3", "-i", "0.2", V4).decode(),
            "ping large": ask("ping", "-c", "2", "-i", "0.2", "-s", "4000", V4).decode(),
            "ping6": ask("ping", "-6", "-c", "3", "-i", "0.2", V6).decode()}
    for name, address in (("nc", V4), ("nc6", V6)):
        told[name] = ask("nc", "-N", "-w", "10", address, "7", stdin=data) == data
        told[name + " udp"] = ask("nc", "-u", "-w", "1", address, "7", stdin=b"datagram").decode()
    return told


def main():
    """Makes the tap device, boots each system once, talks, shuts down."""
    drive = Path(sys.argv[1])
    for command in ("ip link set lo up", "ip tuntap add dev tap0 mode tap vnet_hdr",
                    "ip address add 10.9.0.1/24 dev tap0",
                    "ip address add fd09::1/64 dev tap0 nodad", "ip link set tap0 up"):
        subprocess.run(command.split(), check=True)
    vm.make_disk(drive)
    told = {}
    for system, talk in (("echo", echo), ("iperf3", measure)):
        with boot(system, drive) as guest:
            guest.wait_ready(90)
            told.update(talk())
            guest.power_button()
            guest.wait_for(vm.CLEAN, 40)
    print(json.dumps(told))


main()
