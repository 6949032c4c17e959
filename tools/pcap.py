# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows pcap`: writes the frames of a running system's network interface, from now until Ctrl-C,
as tcpdump and Wireshark read them.

QEMU copies the frames (its filter-dump object) between its backend and the emulated NIC, so that
the system neither knows nor pays. The control socket is the one of `./hallows run`.
"""

import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import run
from qmp import Qmp, QmpError

ANSWER_SECONDS = 10
LOOK_SECONDS = 0.1  # how often the capture is looked at while it grows
FRAME_BYTES = 65536


class PcapError(Exception):
    """There is nothing to capture; str() is for the user."""


def connect(port):
    """The control connection of the run whose key-value server has this port."""
    path = run.control_socket(port)
    try:
        return Qmp(path, ANSWER_SECONDS)
    except OSError as error:
        raise PcapError(f"no running system at port {port} ({path}: {error.strerror}); start one"
                        " with ./hallows run, or name its port with --port") from error


def interfaces(qmp):
    """QEMU's names of the network backends, in order."""
    told = qmp.execute("human-monitor-command", command_line="info network")
    return sorted(set(re.findall(r"(?:^| \\ )(net\d+): index=", told, re.MULTILINE)))


class Capture:
    """Frames go to `path` as long as this is open."""

    def __init__(self, qmp, interface, path):
        self._qmp = qmp
        self._name = f"tap-{interface}"
        qmp.execute("object-add", qom_type="filter-dump", id=self._name, netdev=interface,
                    file=str(Path(path).absolute()), maxlen=FRAME_BYTES)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._qmp.execute("object-del", id=self._name)
        except QmpError:
            pass  # the machine has ended, and the capture with it


def _alive(qmp):
    try:
        qmp.execute("query-status")
        return True
    except QmpError:
        return False


def _follow(qmp, path, output, until):
    """Copies what is written to `path` to `output` (None: nowhere) until `until` says so or the
    machine ends. Returns the bytes seen."""
    seen = 0
    with open(path, "rb") as file:
        while True:
            last = until() or not _alive(qmp)
            if output is None:
                seen = path.stat().st_size
            else:
                chunk = file.read()
                seen += len(chunk)
                output.write(chunk)
                output.flush()
            if last:
                return seen
            time.sleep(LOOK_SECONDS)


def add_options(parser):
    """The verb's options."""
    parser.add_argument("file", metavar="FILE",
                        help="where to; - writes to standard output, for tcpdump -r -")
    parser.add_argument("--port", type=int, default=6379, metavar="N",
                        help="the key-value server's port of the run to listen to (%(default)s)")
    parser.add_argument("--interface", metavar="NAME",
                        help="which network interface; --interface list names them (the first)")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="end after so long (default: at Ctrl-C)")


def _choose(qmp, wanted):
    known = interfaces(qmp)
    if not known:
        raise PcapError("the running system has no network interface")
    if wanted is not None and wanted not in known:
        raise PcapError(f"no interface '{wanted}'; there are: {', '.join(known)}")
    return wanted or known[0]


def _capture(qmp, interface, options):
    asked = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, lambda *_: asked.append(True))
    end = None if options.seconds is None else time.monotonic() + options.seconds

    def until():
        return bool(asked) or (end is not None and time.monotonic() >= end)

    to_pipe = options.file == "-"
    folder = tempfile.mkdtemp(prefix="hallows-pcap-") if to_pipe else None
    path = Path(folder) / "frames" if folder else Path(options.file)
    try:
        with Capture(qmp, interface, path):
            print(f"Capturing {interface}; Ctrl-C ends.", file=sys.stderr, flush=True)
            seen = _follow(qmp, path, sys.stdout.buffer if to_pipe else None, until)
        print(f"{seen} bytes", file=sys.stderr)
    except BrokenPipeError:
        pass  # the reader has seen enough
    finally:
        if folder:
            shutil.rmtree(folder)


def main(options):
    """The verb: returns the exit status."""
    qmp = connect(options.port)
    try:
        if options.interface == "list":
            print("\n".join(interfaces(qmp)))
        else:
            _capture(qmp, _choose(qmp, options.interface), options)
    except QmpError as error:
        raise PcapError(str(error)) from error
    finally:
        qmp.close()
    return 0
