# SPDX-License-Identifier: MIT OR Apache-2.0
"""The key-value server's host program for the tests, and a client that speaks RESP3 as well."""

import signal
import subprocess

import build
from resp import Client, RespError

PROGRAM = build.BUILD / "host/kvstore"


class Client3(Client):
    """A connection that understands both versions of the protocol."""

    def reply(self):
        mark = self.file.peek(1)[:1]
        if mark not in (b"%", b"~", b"_", b"#", b"=", b","):
            return super().reply()
        rest = self._line()[1:]
        if mark == b"%":
            return {self.reply(): self.reply() for _ in range(int(rest))}
        if mark == b"~":
            return [self.reply() for _ in range(int(rest))]
        if mark == b"=":
            return self.file.read(int(rest) + 2)[4:-2]
        return {b"_": lambda: None, b"#": lambda: rest == b"t", b",": lambda: float(rest)}[mark]()

    def try_(self, *words):
        """One command's reply; an error is returned, not raised."""
        self.send(*words)
        return self.reply()


class Host:
    """The host program with its own port and log file; a context manager."""

    def __init__(self, folder, *options):
        self.command = [str(PROGRAM), "--port", "0", "--log", str(folder / "log"), *options]
        self.process = None
        self.port = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Starts it and waits until it serves."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("ready on port "):
                self.port = int(line.split()[-1])
                return
        raise AssertionError(f"kvstore ended with status {self.process.wait()}")

    def stop(self):
        """Ends it in order; it must not have failed."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.process.stdout.close()
        self.process = None
        assert status == 0, f"kvstore ended with status {status}"

    def kill(self):
        """Ends it at once, as a loss of power would."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def client(self, timeout=20):
        """A connection."""
        return Client3(self.port, timeout)


__all__ = ["Client3", "Host", "RespError"]
