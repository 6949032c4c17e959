# SPDX-License-Identifier: MIT OR Apache-2.0
"""Linux's TCP/IP against ours: run in a network namespace of its own by test_linux_tcp.py.

usage: linux_peer.py <tap_host program> <frames lost of 1000> <4 or 6>
Prints one line for each thing that went right, and ends with a trace otherwise.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

V6 = sys.argv[3] == "6"
ADDRESS = "fd09::2" if V6 else "10.9.0.2"
FAMILY = socket.AF_INET6 if V6 else socket.AF_INET
CHARGEN_BYTES = 8 << 20


def run(command):
    """Runs a command of words."""
    subprocess.run(command.split(), check=True)


def connect(port, timeout=60):
    """A connection to a service of tap_host."""
    return socket.create_connection((ADDRESS, port), timeout=timeout)


def read_all(connection):
    """Everything up to the end of the stream."""
    data = bytearray()
    while chunk := connection.recv(1 << 16):
        data += chunk
    return bytes(data)


def echo(size):
    """Sends `size` bytes while reading them back; half-closes when all are sent."""
    data = os.urandom(size)
    with connect(7) as connection:

        def send():
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = read_all(connection)
        sender.join()
    assert got == data, f"{len(got)} of {size} bytes came back, or other ones"


def chargen(receive_buffer=None):
    """Reads 8 MiB, with a slow start and a small buffer where asked."""
    with connect(19) as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            time.sleep(0.5)  # the window fills and closes
        got = read_all(connection)
    expected = bytes((i ^ i >> 8 ^ i >> 16) & 255 for i in range(CHARGEN_BYTES))
    assert got == expected, f"{len(got)} bytes, or wrong ones"


def many():
    """30 clients at once, 200 connections of all sizes."""
    failures = []

    def client(number):
        try:
            for size in (0, 1, 1460, 5000, 100_000, number * 97, 64):
                echo(size)
        except (OSError, AssertionError) as error:
            failures.append(error)

    clients = [threading.Thread(target=client, args=(n,)) for n in range(30)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert not failures, failures


def http():
    """curl gets the page."""
    done = subprocess.run(["curl", "-sS", "-m", "30", f"http://{f'[{ADDRESS}]' if V6 else ADDRESS}/"], capture_output=True,
                          text=True, check=True)
    assert done.stdout == "hello, Hallows", done.stdout


def refused():
    """Closed ports answer for TCP and UDP."""
    try:
        connect(81, 10)
        raise AssertionError("a closed port accepted")
    except ConnectionRefusedError:
        pass
    with socket.socket(FAMILY, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(10)
        datagrams.connect((ADDRESS, 9))
        datagrams.send(b"x")
        try:
            datagrams.recv(10)
            raise AssertionError("a closed UDP port answered")
        except ConnectionRefusedError:
            pass


def datagrams_echo():
    """UDP comes back unchanged."""
    with socket.socket(FAMILY, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(10)
        datagrams.connect((ADDRESS, 7))
        # The last two travel in fragments both ways.
        for size in (0, 1, 600, 1452 if V6 else 1472, 1700, 40_000):
            data = os.urandom(size)
            datagrams.send(data)
            assert datagrams.recv(65536) == data, size


def ping():
    """Echo requests of several sizes are answered; also waits until the address is in use."""
    if not shutil.which("ping"):
        return
    for size in (0, 56, 1400, 4000, 20000):
        command = ["ping", "-c", "1", "-w", "10", "-s", str(size), ADDRESS]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def wait_for_address():
    """A new IPv6 address is tried for a second before it is used."""
    deadline = time.monotonic() + 10
    while True:
        try:
            connect(81, 2)
        except ConnectionRefusedError:
            return
        except OSError:
            assert time.monotonic() < deadline, "the address never came up"
            time.sleep(0.1)


def reset():
    """A reset from here ends a connection there; the service goes on."""
    connection = connect(19)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.recv(10)
    connection.close()
    echo(1000)


def main():
    """Sets the tap device up, runs everything, and looks for what was left behind."""
    program, lost = sys.argv[1:3]
    for command in ("ip link set lo up", "ip tuntap add dev tap0 mode tap",
                    "ip addr add 10.9.0.1/24 dev tap0", "ip link set tap0 up",
                    "ip addr add fd09::1/64 dev tap0 nodad"):
        run(command)
    steps = [wait_for_address, http, chargen, lambda: echo(CHARGEN_BYTES), many, reset]
    if lost == "0":
        steps += [ping, refused, datagrams_echo, lambda: chargen(4096)]
    with subprocess.Popen([program, "tap0", "10.9.0.2/24", lost], stdout=subprocess.PIPE,
                          text=True) as stack:
        try:
            for step in steps:
                start = time.monotonic()
                step()
                print(f"ok {step.__name__} {time.monotonic() - start:.2f} s", flush=True)
        finally:
            stack.send_signal(signal.SIGTERM)
            report = stack.stdout.read()
    print(report)
    assert stack.returncode == 0, f"tap_host ended with {stack.returncode}"


main()
