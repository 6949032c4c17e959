# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs packetdrill scripts against build/tests/libdrill.so, in virtual time.

Understands the part of packetdrill's language that our scripts use: times (absolute, +relative,
ranges), socket calls, TCP segments and datagrams both ways, ICMP errors from the wire,
%{ python }% on TCP_INFO, and the options --ip_version, --tolerance_usecs, --so_flags on lines of
their own. The shared object is the one that packetdrill's --so_filename loads. Beyond
packetdrill it compares every payload byte, and at the end nothing may be left unread.

    python3 tests/packetdrill/drill.py SCRIPT...
"""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import drill_packet as wire  # noqa: E402
from drill_calls import Calls, Stack  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build/tests/libdrill.so"
REMOTE_ISN = 0x7ffffff0  # so that numbers wrap early
TOLERANCE_US = 10000
TIMESTAMP_TOLERANCE = 20
ADDRESSES = {"ipv4": ("192.168.0.1", "192.0.2.1"), "ipv6": ("fd3d:fa7b:d17d::1", "2001:db8::1")}


class ScriptError(Exception):
    """What went otherwise than the script says."""


class Connection:
    """How the script's numbers translate to those on the wire, for one connection."""

    def __init__(self, remote_port, local_port):
        self.remote_port, self.local_port = remote_port, local_port
        self.local_start = None  # what the script calls 0 of ours
        self.timestamp_start = None
        self.syn = None  # the script's first SYN from the wire

    def inbound(self, segment):
        """Script to wire."""
        segment.sequence += REMOTE_ISN
        if segment.acknowledgment is not None:
            segment.acknowledgment += self.local_start or 0
        options = []
        for option in segment.options:
            if option[0] == "TS" and option[2] != 0:
                option = ("TS", option[1], option[2] + (self.timestamp_start or 0))
            elif option[0] == "sack":
                option = ("sack", *(v + (self.local_start or 0) for v in option[1:]))
            options.append(option)
        segment.options = options

    def outbound(self, segment, expected):
        """Wire to script."""
        if segment.protocol != wire.TCP:
            return
        if segment.flags & 2:
            self.local_start = (segment.sequence - expected.sequence) & 0xffffffff
        segment.sequence = (segment.sequence - (self.local_start or 0)) & 0xffffffff
        if segment.acknowledgment is not None:
            segment.acknowledgment = (segment.acknowledgment - REMOTE_ISN) & 0xffffffff
        wanted = [o for o in expected.options or [] if o[0] == "TS"]
        options = []
        for option in segment.options:
            if option[0] == "TS" and wanted:
                if self.timestamp_start is None or segment.flags & 2:
                    self.timestamp_start = (option[1] - wanted[0][1]) & 0xffffffff
                value = (option[1] - self.timestamp_start) & 0xffffffff
                if abs(value - wanted[0][1]) <= TIMESTAMP_TOLERANCE:
                    value = wanted[0][1]
                option = ("TS", value, option[2])
            elif option[0] == "sack":
                option = ("sack", *((v - REMOTE_ISN) & 0xffffffff for v in option[1:]))
            options.append(option)
        segment.options = options


def pattern(sequence, length):
    """The payload that both sides send at that place of the stream."""
    return bytes((at * 7 + (at >> 8)) & 0xff for at in range(sequence, sequence + length))


class Script:
    """One script and the world it runs in."""

    def __init__(self, path):
        self.path = Path(path)
        self.options = {"ip_version": "ipv4", "tolerance_usecs": str(TOLERANCE_US), "so_flags": ""}
        self.statements = []  # (line number, time text, statement)
        self.connection = None
        self.next_port = 40000
        self.last_datagram = None
        self._read()

    # ---- Reading ----

    def _read(self):
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), self.path.read_text(),
                      flags=re.S)
        pending, first = "", 0
        for number, line in enumerate(text.split("\n"), 1):
            line = re.sub(r"(//|(?<!\w)#).*", "", line).strip()
            option = re.match(r'--(\w+)="?([^"\s]*)"?$', line)
            if option and not pending:
                if option[1] not in self.options:
                    raise ScriptError(f"{self.path.name}:{number}: option {option[1]}")
                self.options[option[1]] = option[2]
                continue
            first = first if pending else number
            pending = f"{pending}\n{line}" if pending else line
            python = "%{" in pending
            if pending and (("}%" in pending) if python else
                            pending.count("(") == pending.count(")")):
                found = re.match(r"([+*]?[\d.]*(?:~[+]?[\d.]+)?)\s+(.*)$", pending, re.S)
                time, rest = (found[1], found[2]) if found and found[1] else ("+0", pending)
                self.statements.append((first, time, rest if python else rest.replace("\n", " ")))
                pending = ""
        if pending:
            raise ScriptError(f"{self.path.name}:{first}: not closed: {pending}")

    # ---- Running ----

    def run(self):
        """Runs it all; ScriptError says where it went wrong."""
        self.local, self.remote = ADDRESSES[self.options["ip_version"]]
        with Stack(LIBRARY, self.options["so_flags"]) as self.stack:
            self.calls = Calls(self.stack, self.local, self.remote, self)
            self.start_us = self.stack.now_us()
            self.at_us = 0
            for number, time, statement in self.statements:
                try:
                    self._step(time, statement)
                except (ScriptError, AssertionError) as error:
                    raise ScriptError(f"{self.path.name}:{number}: {statement.strip()}\n"
                                      f"    {error}") from None
            if self.stack.pending():
                raise ScriptError(f"{self.path.name}: at the end, not expected: "
                                  f"{self._receive(wire.Segment())[0].text()}")

    def _times(self, text):
        """The span of time, in us, that a statement's time means."""
        if text == "*":
            return 0, 10**12
        low, _, high = text.partition("~")
        base = self.at_us if low.startswith("+") else 0
        first = base + round(float(low.lstrip("+") or 0) * 1e6)
        if not high:
            return first, first
        base = self.at_us if high.startswith("+") else 0
        return first, base + round(float(high.lstrip("+")) * 1e6)

    def _step(self, time, statement):
        first, last = self._times(time)
        if statement.startswith(">"):
            self._expect(wire.parse(statement[1:].strip()), first, last)
            return
        self.at_us = first
        now = self.stack.now_us() - self.start_us
        if first > now:
            self.stack.sleep_us(first - now)
        elif now > first + int(self.options["tolerance_usecs"]):
            raise ScriptError(f"it is {now / 1e6:.6f} s already")
        if statement.startswith("<"):
            self._inject(statement[1:].strip())
        elif statement.startswith("%{"):
            self._python(statement[2:statement.rindex("}%")])
        else:
            self.calls.run(statement)

    def _python(self, code):
        lines = code.split("\n")
        indent = min((len(l) - len(l.lstrip()) for l in lines if l.strip()), default=0)
        body = "\n".join(l[indent:] for l in lines) if len(lines) > 1 else code.strip()
        exec(body, self.calls.tcp_info())  # pylint: disable=exec-used

    # ---- Packets ----

    def opened(self, local_port, remote_port):
        """A connect call begins a connection."""
        self.connection = Connection(remote_port, local_port)

    def _connection_for(self, segment):
        """A SYN from the wire that is none of the present connection begins another one."""
        at = self.connection
        syn = segment.flags & 0x12 == 2
        if at is None or (syn and at.syn is not None and at.syn != segment.sequence) or \
                (syn and at.syn is None and at.local_start is None):
            at = Connection(self.next_port, self.calls.port)
            self.next_port += 1
        if syn and at.syn is None:
            at.syn = segment.sequence
        self.connection = at
        return at

    def _inject(self, text):
        quoted = re.match(r"icmp(?:v6)?\s+(.*?)\s*\[([^\]]*)\]$", text)
        if quoted:
            self._inject_icmp(wire.parse("- " + quoted[2] if quoted[2][0].isdigit()
                                         else quoted[2]), quoted[1])
            return
        segment = wire.parse(text)
        if segment.protocol == wire.UDP:
            ports = self.last_datagram or (self.calls.port, self.calls.remote_port)
            segment.payload = pattern(0, segment.length)
        else:
            connection = self._connection_for(segment)
            ports = (connection.local_port, connection.remote_port)
            segment.payload = pattern(segment.sequence, segment.length)
            connection.inbound(segment)
        self.stack.send(wire.build(segment, (self.remote, ports[1]), (self.local, ports[0])))

    def _inject_icmp(self, quoted, what):
        """An error about a packet of ours, as a router on the way sends it."""
        words = what.split()
        mtu = int(words[words.index("mtu") + 1]) if "mtu" in words else 0
        if quoted.protocol == wire.UDP:
            local, remote = self.last_datagram
            quoted.payload = b"\0" * 8
        else:
            local, remote = self.connection.local_port, self.connection.remote_port
            quoted.sequence += self.connection.local_start or 0
            quoted.options = []
        inner = wire.build(quoted, (self.local, local), (self.remote, remote))
        if self.options["ip_version"] == "ipv6":
            kind, code = {"packet_too_big": (2, 0), "port_unreachable": (1, 4),
                          "addr_unreachable": (1, 3)}[words[0] if words[0] != "unreachable"
                                                      else words[1]]
        else:
            kind, code = 3, {"net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2,
                             "port_unreachable": 3, "frag_needed": 4}[words[1]]
        self.stack.send(wire.icmp(self.remote, self.local, kind, code, mtu, inner))

    def _receive(self, expected):
        packet, at_us = self.stack.receive()
        if packet is None:
            raise ScriptError(f"nothing was sent; expected {expected.text()}")
        segment = wire.take_apart(packet)
        if segment.protocol == wire.UDP:
            self.last_datagram = (segment.source[1], segment.destination[1])
        elif segment.protocol == wire.TCP and self.connection is not None:
            if self.connection.local_port == 0:
                self.connection.local_port = segment.source[1]
            if (segment.source[1], segment.destination[1]) != (self.connection.local_port,
                                                               self.connection.remote_port):
                raise ScriptError(f"of another connection: {segment.text()}")
            self.connection.outbound(segment, expected)
        return segment, at_us - self.start_us

    def _expect(self, expected, first, last):
        segment, at_us = self._receive(expected)
        tolerance = int(self.options["tolerance_usecs"])
        seen = segment.text()
        if expected.protocol == wire.TCP and segment.protocol == wire.TCP:
            if expected.window is None:
                segment.window = None
            if expected.acknowledgment is None and expected.flags & 16:
                segment.acknowledgment = None
            if expected.options is None:
                segment.options = None
        if segment.text() != expected.text():
            raise ScriptError(f"sent {seen} at {at_us / 1e6:.6f} s")
        if expected.ecn is not None and segment.ecn != expected.ecn:
            raise ScriptError(f"ECN bits {segment.ecn}")
        data = pattern(0 if segment.protocol == wire.UDP else segment.sequence, segment.length)
        if segment.payload != data and not (segment.length == 1 and segment.flags == 16):
            raise ScriptError("wrong bytes")  # but for a keep-alive's one
        if not first - tolerance <= at_us <= last + tolerance:
            raise ScriptError(f"sent at {at_us / 1e6:.6f} s, not at {first / 1e6:.6f}"
                              f" to {last / 1e6:.6f}")
        self.at_us = first if first == last else at_us


def main(paths):
    """Runs scripts; the exit status counts those that failed."""
    failed = 0
    for path in paths:
        try:
            Script(path).run()
            print(f"ok    {Path(path).stem}")
        except ScriptError as error:
            failed += 1
            print(f"FAIL  {error}")
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
