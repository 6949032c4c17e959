# SPDX-License-Identifier: MIT OR Apache-2.0
"""QEMU's control protocol over a local socket (QEMU's docs/interop/qmp-spec)."""

import json
import socket


class QmpError(Exception):
    """QEMU does not answer, or refuses; str() is for the user."""


class Qmp:
    """One connection, ready for commands once it is made. Every wait ends at `timeout` seconds."""

    def __init__(self, path, timeout):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))  # its OSError tells the caller whether to try again
            self._file = connection.makefile("rwb")
        finally:
            connection.close()  # the file keeps the socket open
        try:
            self._file.readline()
        except OSError as error:
            raise QmpError("QEMU does not answer on its control socket") from error
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        """Sends one command and returns its result; `_` in a name stands for `-`."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        try:
            self._file.write(json.dumps(message).encode() + b"\n")
            self._file.flush()
            while True:
                line = self._file.readline()
                if not line:
                    raise QmpError(f"QEMU ended during '{command}'")
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise QmpError(f"QEMU refuses '{command}': {answer['error']['desc']}")
        except (OSError, ValueError) as error:
            raise QmpError(f"QEMU does not answer '{command}': {error}") from error

    def close(self):
        """Ends the connection; safe when the peer went first."""
        try:
            self._file.close()
        except OSError:
            pass
