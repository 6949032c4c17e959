# SPDX-License-Identifier: MIT OR Apache-2.0
"""The shared object's interface for the script runner (drill.py), and a script's system calls."""
import ctypes
import errno
import re
import select
import socket
import struct

CALLS = ("free socket bind listen accept connect read readv recv recvfrom recvmsg write writev send"
         " sendto sendmsg fcntl ioctl close shutdown getsockopt setsockopt poll netdev_send"
         " netdev_receive usleep gettimeofday epoll_create epoll_ctl epoll_wait pipe splice").split()
TCP_INFO = 11
INFO_FIELDS = ("rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_data_sent"
               " last_ack_sent last_data_recv last_ack_recv pmtu rcv_ssthresh rtt rttvar"
               " snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans").split()
STATES = {"TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4,
          "TCP_FIN_WAIT2": 5, "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8,
          "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11}
SYMBOLS = {"O_RDWR": 2, "O_NONBLOCK": 0o4000, "F_GETFL": 3, "F_SETFL": 4, "SOL_TCP": 6,
           "TCP_NODELAY": 1, "TCP_KEEPIDLE": 4, "TCP_INFO": TCP_INFO, "SHUT_RD": 0, "SHUT_WR": 1,
           "SHUT_RDWR": 2}
for module, prefixes in ((socket, ("AF_", "PF_", "SOCK_", "IPPROTO_", "SO_", "SOL_")),
                         (select, ("POLL",))):
    SYMBOLS.update({n: int(getattr(module, n)) for n in dir(module) if n.startswith(prefixes)})
SYMBOLS["PF_INET"], SYMBOLS["PF_INET6"] = int(socket.AF_INET), int(socket.AF_INET6)
LOCAL_PORT, REMOTE_PORT = 8080, 8081


class _Interface(ctypes.Structure):
    _fields_ = [("userdata", ctypes.c_void_p)] + [(name, ctypes.c_void_p) for name in CALLS]


class Stack:
    """One world behind packetdrill_interface_init."""

    def __init__(self, library, flags):
        self.library = ctypes.CDLL(str(library), use_errno=True)
        self.interface = _Interface()
        self.library.packetdrill_interface_init(flags.encode(), ctypes.byref(self.interface))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call("free")

    def call(self, name, *arguments):
        """The function's result, and errno if it is -1."""
        address = getattr(self.interface, name)
        assert address, f"the shared object has no {name}"
        kind = ctypes.CFUNCTYPE(ctypes.c_ssize_t if name in ("read", "recv", "recvfrom", "write",
                                                             "send", "sendto") else ctypes.c_int,
                                ctypes.c_void_p, *(ctypes.c_size_t if isinstance(a, int) else
                                                   ctypes.c_void_p for a in arguments),
                                use_errno=True)
        values = [a if isinstance(a, int) else ctypes.cast(a, ctypes.c_void_p) if a is not None
                  else None for a in arguments]
        result = kind(address)(self.interface.userdata, *values)
        return result, ctypes.get_errno() if result == -1 else 0

    def now_us(self):
        """Virtual time."""
        now = (ctypes.c_long * 2)()
        self.call("gettimeofday", now, None)
        return now[0] * 1000000 + now[1]

    def sleep_us(self, us):
        """Lets virtual time pass."""
        self.call("usleep", us)

    def send(self, packet):
        """From the wire to the stack."""
        data = ctypes.create_string_buffer(packet, len(packet))
        assert self.call("netdev_send", data, len(packet))[0] == 0, "the stack took no packet"

    def receive(self):
        """The next packet of the stack's and its time, however long that takes; None: none."""
        data, size = ctypes.create_string_buffer(2048), ctypes.c_size_t(2048)
        at_us = ctypes.c_longlong()
        result, _ = self.call("netdev_receive", data, ctypes.pointer(size), ctypes.pointer(at_us))
        return (data.raw[:size.value], at_us.value) if result == 0 else (None, 0)

    def pending(self):
        """Packets that nobody has read; ours alone, packetdrill knows nothing of it."""
        self.library.drill_pending.argtypes = [ctypes.c_void_p]
        return self.library.drill_pending(self.interface.userdata)


def _split(text):
    """Arguments at the top level."""
    parts, depth, part = [], 0, ""
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += c
    return parts + [part.strip()] if part.strip() or parts else []


def _number(text):
    """A constant expression of names and numbers joined by |."""
    return sum({int(p, 0) if p.lstrip("-")[:1].isdigit() else SYMBOLS[p]
                for p in (q.strip() for q in text.split("|"))})


def _fields(text):
    return {k.strip(): v.strip() for k, v in (f.split("=") for f in _split(text.strip("{}")))}


class Calls:
    """Runs a script's system calls."""

    def __init__(self, stack, local, remote, script):
        self.stack, self.local, self.remote, self.script = stack, local, remote, script
        self.port, self.remote_port = LOCAL_PORT, REMOTE_PORT
        self.info_fd = 3
        self.sent, self.got = {}, {}  # bytes of the stream, by descriptor; the first is number 1

    def run(self, statement):
        """name(arguments) = result [ERRNO (text)]"""
        found = re.match(r"(\w+)\((.*)\)\s*=\s*(-?\d+)\s*(\w+)?\s*(\(.*\))?$", statement)
        assert found, "not understood"
        name, wanted = found[1], int(found[3])
        method = getattr(self, "call_" + name, None)
        assert method, f"no such call: {name}"
        result, error = method(_split(found[2]))
        seen = f"{result}" + (f" {errno.errorcode.get(error, error)}" if error else "")
        expected = f"{wanted}" + (f" {found[4]}" if found[4] else "")
        assert seen == expected, f"returned {seen}"

    def tcp_info(self):
        """Variables for a script's Python."""
        data, size = ctypes.create_string_buffer(256), ctypes.c_uint32(256)
        result, _ = self.stack.call("getsockopt", self.info_fd, 6, TCP_INFO, data,
                                    ctypes.pointer(size))
        if result != 0:
            return dict(STATES)
        names = {f"tcpi_{n}": v for n, v in
                 zip(INFO_FIELDS, struct.unpack("<24I", data.raw[8:104]))}
        return {**STATES, **names, "tcpi_state": data.raw[0]}

    # ---- Addresses ----

    def _address(self, host, port):
        if ":" in host:
            data = struct.pack("<H", socket.AF_INET6) + struct.pack(">HI", port, 0) + \
                socket.inet_pton(socket.AF_INET6, host) + struct.pack("<I", 0)
        else:
            data = struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + \
                socket.inet_aton(host) + b"\0" * 8
        return ctypes.create_string_buffer(data, len(data)), len(data)

    # ---- Calls ----

    def call_socket(self, a):
        """socket(..., SOCK_STREAM, IPPROTO_TCP)"""
        family = socket.AF_INET6 if ":" in self.local else socket.AF_INET
        return self.stack.call("socket", int(family) if a[0] == "..." else _number(a[0]),
                               _number(a[1]), _number(a[2]))

    def call_bind(self, a):
        """bind(3, ..., ...)"""
        return self.stack.call("bind", int(a[0]), *self._address(self.local, self.port))

    def call_listen(self, a):
        """listen(3, 1)"""
        return self.stack.call("listen", int(a[0]), int(a[1]))

    def call_accept(self, a):
        """accept(3, ..., ...)"""
        data, size = ctypes.create_string_buffer(28), ctypes.c_uint32(28)
        result = self.stack.call("accept", int(a[0]), data, ctypes.pointer(size))
        if result[0] >= 0:
            self.info_fd = result[0]
        return result

    def call_connect(self, a):
        """connect(3, ..., ...)"""
        fd = int(a[0])
        if fd not in self.sent:
            self.sent[fd] = 0
            self.script.opened(0, self.remote_port)
            self.info_fd = fd
        return self.stack.call("connect", fd, *self._address(self.remote, self.remote_port))

    def _write(self, name, a, *more):
        from drill import pattern
        fd, count = int(a[0]), int(a[2])
        start = self.sent.get(fd, 0) + 1 if name != "sendto" else 0
        data = ctypes.create_string_buffer(pattern(start, count), max(count, 1))
        result = self.stack.call(name, fd, data, count, *more)
        self.sent[fd] = self.sent.get(fd, 0) + max(result[0], 0)
        return result

    def call_write(self, a):
        """write(4, ..., 1000)"""
        return self._write("write", a)

    def call_send(self, a):
        """send(4, ..., 1000, 0)"""
        return self._write("send", a, _number(a[3]))

    def call_sendto(self, a):
        """sendto(3, ..., 100, 0, ..., ...)"""
        return self._write("sendto", a, _number(a[3]),
                           *self._address(self.remote, self.remote_port))

    def _read(self, name, a, *more):
        from drill import pattern
        fd, count = int(a[0]), int(a[2])
        data = ctypes.create_string_buffer(max(count, 1))
        result = self.stack.call(name, fd, data, count, *more)
        start = self.got.get(fd, 0) + 1 if name != "recvfrom" else 0
        done = max(result[0], 0)
        assert data.raw[:done] == pattern(start, done), "wrong bytes"
        self.got[fd] = self.got.get(fd, 0) + done
        return result

    def call_read(self, a):
        """read(4, ..., 1000)"""
        return self._read("read", a)

    def call_recv(self, a):
        """recv(4, ..., 1000, 0)"""
        return self._read("recv", a, _number(a[3]))

    def call_recvfrom(self, a):
        """recvfrom(3, ..., 1000, 0, ..., ...)"""
        data, size = ctypes.create_string_buffer(28), ctypes.c_uint32(28)
        return self._read("recvfrom", a, _number(a[3]), data, ctypes.pointer(size))

    def call_fcntl(self, a):
        """fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)"""
        return self.stack.call("fcntl", int(a[0]), *(_number(v) for v in a[1:]))

    def call_close(self, a):
        """close(4)"""
        return self.stack.call("close", int(a[0]))

    def call_shutdown(self, a):
        """shutdown(4, SHUT_WR)"""
        return self.stack.call("shutdown", int(a[0]), _number(a[1]))

    def _value(self, text):
        if text.startswith("{"):
            fields = _fields(text)
            return struct.pack("<ii", int(fields["onoff"]), int(fields["linger"]))
        return struct.pack("<i", _number(text.strip("[]")))

    def call_setsockopt(self, a):
        """setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4)"""
        data = self._value(a[3])
        return self.stack.call("setsockopt", int(a[0]), _number(a[1]), _number(a[2]),
                               ctypes.create_string_buffer(data, len(data)), len(data))

    def call_getsockopt(self, a):
        """getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4])"""
        value, size = ctypes.c_int(), ctypes.c_uint32(4)
        result = self.stack.call("getsockopt", int(a[0]), _number(a[1]), _number(a[2]),
                                 ctypes.pointer(value), ctypes.pointer(size))
        wanted = a[3].strip("[]")
        code = getattr(errno, wanted) if wanted.startswith("E") else _number(wanted)
        assert result[0] != 0 or value.value == code, f"value {value.value}"
        return result

    def call_poll(self, a):
        """poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0)"""
        entries = [_fields(e) for e in _split(a[0][1:-1])]
        data = b"".join(struct.pack("<ihh", int(e["fd"]), _number(e["events"]), 0) for e in entries)
        buffer = ctypes.create_string_buffer(data, len(data))
        result = self.stack.call("poll", buffer, len(entries), _number(a[2]))
        for i, entry in enumerate(entries):
            seen = struct.unpack("<ihh", buffer.raw[8 * i:8 * i + 8])[2]
            wanted = _number(entry["revents"])
            assert seen == wanted, f"revents {seen:#x}, not {wanted:#x}"
        return result
