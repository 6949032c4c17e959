# SPDX-License-Identifier: MIT OR Apache-2.0
"""An echo service on two CPUs of a guest on a tap device: run in a network namespace of its own by
test_cores.py.

usage: cores_guest.py <folder> <nic>[+split]
Prints what each thread served as JSON, and ends with a trace otherwise.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1] / "tools")]

import build  # noqa: E402
import vm  # noqa: E402

V4, V6 = "10.9.0.2", "fd09::2"
FLOWS = 32
DATA = bytes(i * 7 & 255 for i in range(20000))


def machine_in(folder, nic, split):
    """Two threads, a queue pair each; data set apart from its headers if the NIC is to do so."""
    shutil.copytree(build.ROOT / "systems", folder / "systems")
    cell = folder / "systems/echo/cells/echo.toml"
    text = cell.read_text(encoding="utf-8").replace("[cell]\n", "[cell]\nworkers = [1]\n")
    text = text.replace('dma = "16M"', 'dma = "32M"')  # a page for each buffer
    cell.write_text(text, encoding="utf-8")
    settings = [("echo", "address", f"{V4}/24"), ("echo", "address6", f"{V6}/64"),
                ("echo", "split_headers", "true" if split else "false")]
    _, bundle = build.make_bundle(folder / "systems/echo/system.toml", settings, folder / "bundle")
    return vm.Machine(kernel=build.KERNEL, bundle=bundle, nic=nic, cpus=2, memory_mib=256,
                      netdev="tap,id=net0,ifname=tap0,script=no,downscript=no" + queues_of(nic))


def queues_of(nic):
    """What a tap device for this NIC has more, as QEMU writes it."""
    return ",vnet_hdr=on,queues=2" if nic.startswith("virtio") else ""


def stream(address):
    """A connection that has had its data back once."""
    connection = socket.create_connection((address, 7), 30)
    connection.settimeout(30)
    again(connection)
    return connection


def again(connection):
    """The data there and back."""
    sender = threading.Thread(target=connection.sendall, args=(DATA,))
    sender.start()
    back = b""
    while len(back) < len(DATA):
        piece = connection.recv(65536)
        assert piece, "the connection was closed"
        back += piece
    sender.join()
    assert back == DATA


def datagram(family, address, size):
    """One datagram there and back, from a port of its own; exactly one answer."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 7))
        sock.settimeout(5)
        for _ in range(4):  # datagrams may be lost
            sock.send(DATA[:size])
            try:
                assert sock.recv(65536) == DATA[:size]
                break
            except TimeoutError:
                continue
        else:
            raise AssertionError(f"no answer to {size} bytes from {sock.getsockname()}")
        sock.settimeout(0.05)
        try:
            sock.recv(65536)
            raise AssertionError("two answers to one datagram")
        except TimeoutError:
            pass


def ping(*options):
    """What ping tells."""
    done = subprocess.run(["ping", "-c", "3", "-i", "0.2", *options], capture_output=True, text=True,
                          timeout=30, check=False)
    assert "3 received" in done.stdout and "DUP" not in done.stdout, done.stdout
    return True


def talk(guest):
    """Flows of all kinds, from many ports; connections outlive a link that goes down."""
    connections = [stream(V4) for _ in range(FLOWS)] + [stream(V6) for _ in range(FLOWS // 2)]
    for size in (1, 1000, 4000):
        for _ in range(FLOWS):
            datagram(socket.AF_INET, V4, size)
    for _ in range(FLOWS // 2):
        datagram(socket.AF_INET6, V6, 4000)
    ping(V4), ping("-s", "4000", V4), ping("-6", V6)
    guest.qmp("set_link", name="net0", up=False)
    guest.wait_for("network: link down", 30)
    guest.qmp("set_link", name="net0", up=True)
    guest.wait_for("network: link up", 30)
    for connection in connections:
        again(connection)
        connection.close()


def main():
    """Makes the tap device, boots, talks, shuts down."""
    folder = Path(sys.argv[1])
    nic, _, split = sys.argv[2].partition("+")
    several = " vnet_hdr multi_queue" if queues_of(nic) else ""
    for command in ("ip link set lo up", f"ip tuntap add dev tap0 mode tap{several}",
                    "ip address add 10.9.0.1/24 dev tap0",
                    "ip address add fd09::1/64 dev tap0 nodad", "ip link set tap0 up"):
        subprocess.run(command.split(), check=True)
    with vm.Vm(machine_in(folder, nic, split)) as guest:
        guest.wait_ready(90)
        assert ("sets data apart" in guest.serial) == bool(split), guest.serial
        talk(guest)
        guest.power_button()
        guest.wait_for(vm.CLEAN, 40)
        told = re.findall(r"thread (\d+) echoed (\d+) datagrams and (\d+) bytes", guest.serial)
        print(json.dumps({"pairs": re.search(r"(\d+) queue pairs", guest.serial)[1],
                          "threads": told}))


main()
