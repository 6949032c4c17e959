# SPDX-License-Identifier: MIT OR Apache-2.0
"""One NIC shared by cells that do not trust each other: each has a virtual function of its own."""

import re
import socket
import time

import pytest
import vm
from conftest import require_device
from guest import Guest, machine_for
from test_restarts import cells

ECHO = "10.0.2.16"
NOBODY = "10.0.2.77"


def machine(system, disk, settings=(), **options):
    """An igb whose host forwards a port to the echo server too."""
    require_device("igb")
    netdev = ("user,id=net0,hostfwd=tcp:127.0.0.1:0-:6379,hostfwd=tcp:127.0.0.1:0-:80,"
              f"hostfwd=tcp:127.0.0.1:0-{ECHO}:7,hostfwd=tcp:127.0.0.1:0-{NOBODY}:9")
    return machine_for(system, disk, settings, nic="igb", netdev=netdev, **options)


def echo(guest, text):
    """What the echo server sends back."""
    with socket.create_connection(("127.0.0.1", guest.vm.ports[7]), 30) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while data := connection.recv(65536):
            got += data
        return got


@pytest.mark.parametrize("iommu", sorted(vm.IOMMUS))
def test_two_cells_serve_tcp_on_a_virtual_function_each(disk, iommu):
    with Guest(machine("virtual", disk, iommu=iommu)) as guest:
        with guest.client(timeout=60) as client:
            for number in range(200):
                assert client("SET", f"key:{number}", str(number) * 100) == "OK"
                assert client("GET", f"key:{number}") == str(number).encode() * 100
            text = bytes(range(256)) * 400
            assert echo(guest, text) == text
        assert "3 virtual functions: success" in guest.vm.serial
        assert "runs as 02:56:00:" in guest.vm.serial and "runs as 02:56:01:" in guest.vm.serial
        assert "may not" not in guest.vm.serial
        assert guest.shut_down() == 0


def broadcast(guest):
    """Makes the host ask all for an address that nobody has."""
    with socket.create_connection(("127.0.0.1", guest.vm.ports[9]), 30):
        pass


@pytest.mark.parametrize("iommu", sorted(vm.IOMMUS))
def test_a_hostile_virtual_function_harms_nobody(disk, iommu):
    with Guest(machine("vfrogue", disk, iommu=iommu)) as guest:
        with guest.client(timeout=60) as client:
            number = 0
            deadline = time.monotonic() + 120
            while "24 wrong addresses given" not in guest.vm.serial:
                assert client("SET", f"key:{number % 100}", str(number) * 200) == "OK"
                assert client("GET", f"key:{number % 100}") == str(number).encode() * 200
                if number % 20 == 0:
                    broadcast(guest)
                    assert echo(guest, b"x" * 5000) == b"x" * 5000
                number += 1
                assert time.monotonic() < deadline
            assert number > 100
        said = re.findall(r"supervisor: (\w+): its device (\S+) may not (\w+) \w+ address",
                          guest.vm.serial)
        assert said and {cell for cell, *_ in said} == {"vfrogue"}
        assert len({device for _, device, _ in said}) == 1
        assert {"read", "write"} == {access for *_, access in said}
        status = cells(guest)
        assert all(cell["restarts"] == 0 and cell["faults"] == 0 for cell in status.values())
        assert guest.shut_down() == 0


def test_connections_outlive_the_physical_functions_cell(disk):
    settings = [("pfreaper", "times", "5")]
    with Guest(machine("pfreaper", disk, settings)) as guest:
        with guest.client(timeout=60) as client:
            number = 0
            deadline = time.monotonic() + 200
            while "nicpf ended 5 times: success" not in guest.vm.serial:
                assert client("SET", "n", str(number)) == "OK"
                assert client("GET", "n") == str(number).encode()
                number += 1
                assert time.monotonic() < deadline
            assert number > 10
            assert echo(guest, b"still here") == b"still here"
        status = cells(guest)
        assert status["nicpf"]["restarts"] == 5
        assert status["kvstore"]["restarts"] == 0 and status["echo"]["restarts"] == 0
        assert guest.shut_down() == 0
