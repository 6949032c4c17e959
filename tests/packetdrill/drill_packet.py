# SPDX-License-Identifier: MIT OR Apache-2.0
"""IP packets for the script runner (drill.py): building, taking apart, and how scripts write them."""
import re
import socket
import struct
from dataclasses import dataclass, field

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FLAG_BITS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128}
ECN_BITS = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}


@dataclass
class Segment:
    """A TCP segment or datagram as a script writes it, or as it was on the wire."""
    protocol: int = TCP
    flags: int = 0
    sequence: int = 0
    length: int = 0
    acknowledgment: int | None = None
    window: int | None = None
    options: list | None = field(default_factory=list)  # None: any
    ecn: int | None = None
    payload: bytes = b""
    source: tuple = ()
    destination: tuple = ()

    def text(self):
        """As in a script."""
        if self.protocol == UDP:
            return f"udp ({self.length})"
        flags = "".join(c for c, bit in FLAG_BITS.items() if self.flags & bit) or "-"
        text = f"{flags} {self.sequence}:{self.sequence + self.length}({self.length})"
        if self.acknowledgment is not None:
            text += f" ack {self.acknowledgment}"
        if self.window is not None:
            text += f" win {self.window}"
        options = "..." if self.options is None else ",".join(" ".join(map(str, o))
                                                              for o in self.options)
        return f"{text} <{options}>" if options else text


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def _pseudo(source, destination, protocol, length):
    if ":" in source:
        return (socket.inet_pton(socket.AF_INET6, source) +
                socket.inet_pton(socket.AF_INET6, destination) + struct.pack(">II", length, protocol))
    return socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(">HH", protocol,
                                                                                  length)


def ip_packet(source, destination, protocol, payload, ecn=0, do_not_fragment=True):
    """The IPv4 or IPv6 packet around `payload`."""
    if ":" in source:
        return (struct.pack(">IHBB", 6 << 28 | ecn << 20, len(payload), protocol, 64) +
                socket.inet_pton(socket.AF_INET6, source) +
                socket.inet_pton(socket.AF_INET6, destination) + payload)
    header = struct.pack(">BBHHHBBH4s4s", 0x45, ecn, 20 + len(payload), 0,
                         0x4000 if do_not_fragment else 0, 64, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def option_bytes(options):
    """What a script's option list is on the wire, filled up with zeros."""
    data = b""
    for kind, *values in options:
        if kind == "nop":
            data += b"\1"
        elif kind == "eol":
            data += b"\0"
        elif kind == "mss":
            data += struct.pack(">BBH", 2, 4, values[0])
        elif kind == "wscale":
            data += struct.pack(">BBB", 3, 3, values[0])
        elif kind == "sackOK":
            data += b"\4\2"
        elif kind == "sack":
            data += struct.pack(">BB", 5, 2 + 4 * len(values))
            data += b"".join(struct.pack(">I", v & 0xffffffff) for v in values)
        elif kind == "TS":
            data += struct.pack(">BBII", 8, 10, values[0] & 0xffffffff, values[1] & 0xffffffff)
    return data + b"\0" * (-len(data) % 4)


def build(segment, source, destination):
    """The IP packet of a segment with its live numbers."""
    if segment.protocol == UDP:
        head = struct.pack(">HHHH", source[1], destination[1], 8 + segment.length, 0)
        at = 6
    else:
        options = option_bytes(segment.options)
        head = struct.pack(">HHIIHHHH", source[1], destination[1], segment.sequence & 0xffffffff,
                           (segment.acknowledgment or 0) & 0xffffffff,
                           (20 + len(options)) << 10 | segment.flags, segment.window or 0, 0, 0)
        head += options
        at = 16
    data = head + segment.payload
    total = checksum(_pseudo(source[0], destination[0], segment.protocol, len(data)) + data)
    data = data[:at] + struct.pack(">H", total) + data[at + 2:]
    return ip_packet(source[0], destination[0], segment.protocol, data, segment.ecn or 0)


def _parse_options(data):
    options = []
    while data:
        kind = data[0]
        if kind == 0:
            break
        if kind == 1:
            options.append(("nop",))
            data = data[1:]
            continue
        length = data[1]
        body = data[2:length]
        data = data[length:]
        if kind == 2:
            options.append(("mss", struct.unpack(">H", body)[0]))
        elif kind == 3:
            options.append(("wscale", body[0]))
        elif kind == 4:
            options.append(("sackOK",))
        elif kind == 5:
            options.append(("sack", *struct.unpack(f">{len(body) // 4}I", body)))
        elif kind == 8:
            options.append(("TS", *struct.unpack(">II", body)))
        else:
            options.append(("unknown", kind))
    return options


def take_apart(packet):
    """The segment in an IP packet; an ICMP message as its protocol and payload. Checks all sums."""
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        assert checksum(packet[:header]) == 0, "IPv4 checksum"
        ecn, protocol = packet[1] & 3, packet[9]
        source, destination = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        data = packet[header:struct.unpack(">H", packet[2:4])[0]]
    else:
        ecn, protocol = packet[1] >> 4 & 3, packet[6]
        source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
        destination = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        data = packet[40:]
    if protocol not in (TCP, UDP):
        return Segment(protocol=protocol, payload=data, length=len(data), ecn=ecn)
    assert checksum(_pseudo(source, destination, protocol, len(data)) + data) == 0, "checksum"
    ports = struct.unpack(">HH", data[:4])
    ends = {"source": (source, ports[0]), "destination": (destination, ports[1]), "ecn": ecn}
    if protocol == UDP:
        return Segment(protocol=UDP, payload=data[8:], length=len(data) - 8, **ends)
    sequence, ack, bits, window = struct.unpack(">IIHH", data[4:16])
    header = (bits >> 12) * 4
    return Segment(flags=bits & 0xff, sequence=sequence, length=len(data) - header,
                   acknowledgment=ack if bits & 16 else None, window=window,
                   options=_parse_options(data[20:header]), payload=data[header:], **ends)


# ---- How scripts write them ------------------------------------------------------------------

_TCP = re.compile(r"""(?:\[(?P<ecn>\w+)\]\s*)?(?P<flags>[FSRPEWU.]+|-)\s+
    (?P<seq>\d+):(?P<end>\d+)\((?P<length>\d+)\)(?:\s+ack\s+(?P<ack>\d+))?(?:\s+win\s+(?P<win>\d+))?
    (?:\s+<(?P<options>[^>]*)>)?$""", re.X)


def _parse_option(text):
    words = text.split()
    if words[0] == "TS":
        assert words[1] == "val" and words[3] == "ecr", text
        return ("TS", int(words[2]), int(words[4]))
    if words[0] == "sack":
        return ("sack", *(int(v) for pair in words[1:] for v in pair.split(":")))
    assert words[0] in ("nop", "eol", "mss", "wscale", "sackOK"), f"option {text}"
    return (words[0], *map(int, words[1:]))


def parse(text):
    """A script's "S. 0:0(0) ack 1 <mss 1460>" or "udp (100)" as a segment."""
    datagram = re.match(r"udp\s*\((\d+)\)$", text)
    if datagram:
        return Segment(protocol=UDP, length=int(datagram[1]))
    found = _TCP.match(text)
    assert found, f"not a packet: {text}"
    sequence, end, length = (int(found[k]) for k in ("seq", "end", "length"))
    assert end - sequence == length, f"{end} is not {sequence} + {length}"
    options = found["options"] or ""
    return Segment(
        flags=sum(FLAG_BITS[c] for c in found["flags"] if c != "-"), sequence=sequence,
        length=length, acknowledgment=int(found["ack"]) if found["ack"] else None,
        window=int(found["win"]) if found["win"] else None,
        options=None if options == "..." else [_parse_option(o) for o in options.split(",") if o],
        ecn=ECN_BITS[found["ecn"]] if found["ecn"] else None)


def icmp(source, destination, kind, code, value, quoted):
    """An ICMP or ICMPv6 error with the packet that it is about."""
    message = struct.pack(">BBHI", kind, code, 0, value) + quoted[:548]
    v6 = ":" in source
    pseudo = _pseudo(source, destination, ICMP6, len(message)) if v6 else b""
    message = message[:2] + struct.pack(">H", checksum(pseudo + message)) + message[4:]
    return ip_packet(source, destination, ICMP6 if v6 else ICMP, message)
