# SPDX-License-Identifier: MIT OR Apache-2.0
"""A RESP2 client of a few lines, for tests that need to know exactly what was sent and which
replies came: every receive has a deadline, a broken connection is an exception.
"""

import io
import socket


class RespError(Exception):
    """The server answered with an error; str() is its text."""


class Closed(ConnectionError):
    """The connection ended in the middle of a reply."""


def encode(*words):
    """A command as an array of bulk strings."""
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(out)


class Reader:
    """Reads replies from a file."""

    def __init__(self, file):
        self.file = file

    def receive(self):
        """One reply; errors inside arrays stay RespError objects, one on top is raised."""
        value = self.reply()
        if isinstance(value, RespError):
            raise value
        return value

    def _line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Closed("the connection ended")
        return line[:-2]

    def reply(self):
        """One reply; errors are RespError objects."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RespError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            data = self.file.read(size + 2)
            if len(data) != size + 2:
                raise Closed("the connection ended")
            return data[:-2]
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self.reply() for _ in range(count)]
        raise ValueError(f"not RESP2: {line[:80]!r}")


class Client(Reader):
    """One connection."""

    def __init__(self, port, timeout=10, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(self.socket.makefile("rb"))

    def close(self):
        """Closes the connection; safe to call twice."""
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *words):
        """Sends one command."""
        self.socket.sendall(encode(*words))

    def send_raw(self, data):
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def __call__(self, *words):
        """Sends one command and returns its reply."""
        self.send(*words)
        return self.receive()


def replies(data):
    """All replies in `data`, which must hold whole ones and nothing else."""
    reader, out = Reader(io.BytesIO(data)), []
    while reader.file.tell() < len(data):
        out.append(reader.reply())
    return out
