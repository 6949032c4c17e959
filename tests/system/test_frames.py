# SPDX-License-Identifier: MIT OR Apache-2.0
"""Malformed Ethernet frames straight to the running system's NIC: it goes on answering ARP, ping and
TCP, and its server stays up.
"""

import random
import socket
import struct
import time

import pytest
import vm
from conftest import require_device
from guest import machine_for

GUEST_IP = bytes([10, 77, 0, 2])
OUR_IP = bytes([10, 77, 0, 1])
OUR_MAC = bytes.fromhex("020000000001")
BROADCAST = b"\xff" * 6
SETTINGS = [("kvstore", "address", "10.77.0.2/24")]
PORT = 6379


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(destination, kind, payload):
    """A frame, padded to the least length."""
    return (destination + OUR_MAC + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def arp(operation, mac=b"\0" * 6):
    """An ARP packet from us about the guest (RFC 826)."""
    return struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + OUR_MAC + OUR_IP + mac + GUEST_IP


def ipv4(protocol, payload, options=b""):
    """An IPv4 packet from us to the guest (RFC 791)."""
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 1, 0x4000, 64,
                       protocol, 0) + OUR_IP + GUEST_IP + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def with_sum(protocol, segment, at):
    """A TCP or UDP segment with its checksum at offset `at`."""
    pseudo = OUR_IP + GUEST_IP + struct.pack(">BBH", 0, protocol, len(segment))
    return segment[:at] + struct.pack(">H", checksum(pseudo + segment)) + segment[at + 2 :]


def tcp(port, flags, sequence=1, acknowledge=0, data=b"", options=b""):
    """A TCP segment from our `port` to the server's (RFC 9293)."""
    offset = (20 + len(options)) // 4 << 4
    head = struct.pack(">HHIIBBHHH", port, PORT, sequence, acknowledge, offset, flags, 8192, 0, 0)
    return with_sum(6, head + options + data, 16)


def udp(source, target, data):
    """A UDP datagram (RFC 768)."""
    return with_sum(17, struct.pack(">HHHH", source, target, 8 + len(data), 0) + data, 6)


def icmp_echo(number):
    """An echo request (RFC 792)."""
    body = struct.pack(">BBHHH", 8, 0, 0, 77, number) + b"payload of a ping"
    return body[:2] + struct.pack(">H", checksum(body)) + body[4:]


class Wire:
    """The other end of the guest's cable."""

    def __init__(self, folder):
        self.ours, self.theirs = str(folder / "ours"), str(folder / "theirs")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.ours)
        self.mac = BROADCAST
        self.pings = 0

    def netdev(self):
        """QEMU's option for it; one datagram is one frame."""
        return (f"dgram,id=net0,local.type=unix,local.path={self.theirs},"
                f"remote.type=unix,remote.path={self.ours}")

    def send(self, frame):
        """Sends one frame; waits while the guest is slow. Drops what has come in, so that the
        guest can go on sending."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536) is not None:
                pass
        except BlockingIOError:
            pass
        self.socket.settimeout(20)
        self.socket.sendto(frame, self.theirs)

    def ask(self, frame, accept, tries=20):
        """Sends a frame until an answer is accepted; returns what `accept` returned."""
        for _ in range(tries):
            self.send(frame)
            deadline = time.monotonic() + 2
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                try:
                    answer = accept(self.socket.recv(65536))
                except TimeoutError:
                    break
                if answer:
                    return answer
        raise AssertionError("the guest does not answer")

    def resolve(self):
        """Finds the guest's MAC address by ARP."""

        def accept(frame):
            ours = frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02"
            return frame[22:28] if ours and frame[28:32] == GUEST_IP else None

        self.mac = self.ask(ethernet(BROADCAST, 0x0806, arp(1)), accept)

    def answer_arp(self, frame):
        """Tells the guest who we are when it asks."""
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x01" and frame[38:42] == OUR_IP:
            self.send(ethernet(self.mac, 0x0806, arp(2, self.mac)))

    def ping(self):
        """The guest answers an echo request."""
        self.pings += 1
        number = struct.pack(">H", self.pings)

        def accept(frame):
            self.answer_arp(frame)
            return frame[12:14] == b"\x08\0" and frame[34:36] == b"\0\0" and frame[40:42] == number

        assert self.ask(ethernet(self.mac, 0x0800, ipv4(1, icmp_echo(self.pings))), accept)

    def handshake(self, port):
        """The server accepts a connection, and takes its end."""

        def accept(frame):
            self.answer_arp(frame)
            fits = frame[23:24] == b"\x06" and frame[36:38] == struct.pack(">H", port)
            return frame[47] & 0x12 == 0x12 and frame[38:42] if fits else None

        answer = self.ask(ethernet(self.mac, 0x0800, ipv4(6, tcp(port, 2))), accept)
        sequence = struct.unpack(">I", answer)[0]
        reset = tcp(port, 0x14, 2, (sequence + 1) & 0xFFFFFFFF)
        self.send(ethernet(self.mac, 0x0800, ipv4(6, reset)))


def good_frames(mac):
    """Valid frames of each kind, to be spoiled."""
    options = b"\x02\x04\x05\xb4\x01\x03\x03\x07\x04\x02\x08\x0a" + bytes(8)
    dhcp = struct.pack(">BBBBIHH", 2, 1, 6, 0, 1, 0, 0) + bytes(224) + b"\x63\x82\x53\x63\x35\x01\x02\xff"
    packets = [
        ipv4(1, icmp_echo(0)), ipv4(6, tcp(5000, 2, options=options)), ipv4(17, udp(67, 68, dhcp)),
        ipv4(6, tcp(5001, 0x18, 7, 9, b"*1\r\n$4\r\nPING\r\n")), ipv4(17, udp(9, 7, b"echo")),
        ipv4(6, tcp(5002, 0x10), options=b"\x07\x07\x04\0\0\0\0\0"), ipv4(200, b"unknown"),
    ]
    frames = [ethernet(mac, 0x0800, packet) for packet in packets]
    return frames + [ethernet(mac, 0x0806, arp(1)), ethernet(mac, 0x86DD, bytes(40))]


def spoiled_frames(mac, source):
    """Frames cut short, bits flipped, fields at their limits, and noise."""
    good = good_frames(mac)
    for frame in good:
        for length in range(1, len(frame), 3):  # QEMU takes an empty one for the end
            yield frame[:length]
    for _ in range(1500):
        frame = bytearray(source.choice(good))
        for _ in range(source.choice((1, 1, 2, 8))):
            at = source.randrange(12, len(frame))
            frame[at] = source.choice((0, 0xFF, 0x7F, frame[at] ^ 1 << source.randrange(8)))
        yield bytes(frame)
    for _ in range(300):
        kind = source.choice((0x0800, 0x0806, 0x86DD, 0x8100, source.randrange(65536)))
        yield ethernet(mac, kind, source.randbytes(source.randrange(0, 1500)))


@pytest.mark.parametrize("system,nic", [("reference", "virtio"), ("shared", "virtio"),
                                        ("reference", "igb"), ("reference", "e1000e")])
def test_malformed_frames(disk, tmp_path, system, nic):
    version = vm.qemu_version()
    if version < (7, 2):
        pytest.skip(f"QEMU {version[0]}.{version[1]} has no dgram network back end")
    if nic != "virtio":
        require_device(nic)
    wire = Wire(tmp_path)
    vm.make_disk(disk)
    machine = machine_for(system, disk, SETTINGS, nic=nic, netdev=wire.netdev())
    source = random.Random(5)
    with vm.Vm(machine) as guest:
        guest.wait_ready(90)
        wire.resolve()
        wire.ping()
        wire.handshake(4000)
        for number, frame in enumerate(spoiled_frames(wire.mac, source)):
            wire.send(frame)
            if number % 200 == 199:
                wire.ping()
        wire.ping()
        wire.handshake(4001)
        assert "faulted" not in guest.serial and "restarts" not in guest.serial
        guest.power_button()
        guest.wait_for(vm.CLEAN, 40)
