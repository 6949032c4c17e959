# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows run` as a user meets it: ready, reachable, Ctrl-C, and one clear line for each mistake."""

import os
import re
import signal
import socket
import struct
import subprocess
import threading

import build
import pytest
from resp import Client

HALLOWS = str(build.ROOT / "hallows")


def free_port():
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Run:
    """One ./hallows run in the background."""

    def __init__(self, state, *options):
        self.port, self.http_port = free_port(), free_port()
        command = [HALLOWS, "run", "--no-install", "--port", str(self.port)]
        command += ["--http-port", str(self.http_port), *options]
        environment = dict(os.environ, XDG_STATE_HOME=str(state), PYTHONUNBUFFERED="1")
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.text = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.text += line
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, words, timeout=120):
        """Waits until the output holds `words`."""
        with self._changed:
            self._changed.wait_for(lambda: words in self.text or not self._reader.is_alive(), timeout)
            assert words in self.text, self.text

    def interrupt(self):
        """Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(90)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
        self._reader.join(30)
        self.process.stdout.close()


def test_run_says_how_to_reach_it_and_keeps_data(tmp_path):
    with Run(tmp_path) as run:
        run.wait_for("Ctrl-C shuts down")
        assert f"redis-cli -p {run.port}" in run.text
        assert f"http://127.0.0.1:{run.http_port}/" in run.text
        with Client(run.port) as client:
            assert client("SET", "kept", "yes") == "OK"
        second = Run(tmp_path)
        with second:
            assert second.process.wait(60) == 1
        assert re.fullmatch(r"(Building .*\n)?hallows: the drive \S+ is in use.*\n", second.text)
        assert run.interrupt() == 0
        assert "Shut down cleanly" in run.text
    with Run(tmp_path) as run:
        run.wait_for("Ctrl-C shuts down")
        with Client(run.port) as client:
            assert client("GET", "kept") == b"yes"
        assert run.interrupt() == 0


def tcp_ports(capture):
    """The TCP ports in a capture file (libpcap's format, Ethernet)."""
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", capture)
    assert magic == 0xA1B2C3D4 and link == 1
    at, ports = 24, set()
    while at + 16 <= len(capture):
        kept, whole = struct.unpack_from("<II", capture, at + 8)
        frame = capture[at + 16 : at + 16 + kept]
        assert len(frame) == kept == whole
        if frame[12:14] == b"\x08\x00" and frame[23] == 6:
            ports.update(struct.unpack_from(">HH", frame, 14 + (frame[14] & 15) * 4))
        at += 16 + kept
    return ports


def test_frames_are_captured(tmp_path):
    capture = tmp_path / "frames, all.pcap"
    with Run(tmp_path, "--pcap", str(capture)) as run:
        run.wait_for("Ctrl-C shuts down")
        with Client(run.port) as client:
            assert client("PING") == "PONG"
        assert run.interrupt() == 0
    assert 6379 in tcp_ports(capture.read_bytes())


def test_frames_of_a_running_system_are_captured(tmp_path):
    capture, state = tmp_path / "frames.pcap", tmp_path / "s"
    environment = dict(os.environ, XDG_STATE_HOME=str(state))
    with Run(state) as run:
        command = [HALLOWS, "pcap", "--no-install", "--port", str(run.port)]
        run.wait_for("Ctrl-C shuts down")
        named = subprocess.run([*command, "--interface", "list", "-"], env=environment, timeout=60,
                               capture_output=True, text=True, check=True)
        assert named.stdout == "net0\n"
        wrong = subprocess.run([*command, "--interface", "net7", str(capture)], env=environment,
                               timeout=60, capture_output=True, text=True, check=False)
        assert wrong.returncode == 1 and "no interface 'net7'; there are: net0" in wrong.stderr
        assert not capture.exists()
        for target in (str(capture), "-"):  # the second time in vain unless the first has let go
            with subprocess.Popen([*command, target], env=environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as tap:
                assert tap.stderr.readline() == b"Capturing net0; Ctrl-C ends.\n"
                with Client(run.port) as client:
                    assert client("PING") == "PONG"
                tap.send_signal(signal.SIGINT)
                output, errors = tap.communicate(timeout=60)
                assert tap.returncode == 0, errors
            assert 6379 in tcp_ports(output if target == "-" else capture.read_bytes())
        assert run.interrupt() == 0
    late = subprocess.run([*command, str(capture)], env=environment, timeout=60,
                          capture_output=True, text=True, check=False)
    assert late.returncode == 1 and f"no running system at port {run.port}" in late.stderr


def test_run_says_how_to_look_at_a_system_of_loglets(tmp_path):
    """Nothing of the key-value server where there is none; --format is for whoever keeps logs."""
    drive = tmp_path / "drive.img"
    drive.write_bytes(b"not ours " * 10_000 + bytes(512 << 20))
    system = ["--system", str(build.ROOT / "systems/storage/system.toml"), "--disk", str(drive)]
    with Run(tmp_path, *system) as run:
        assert run.process.wait(120) == 1
    assert "the drive holds data of an unknown kind" in run.text
    with Run(tmp_path, *system, "--format") as run:
        run.wait_for("Ctrl-C shuts down")
        assert "redis-cli" not in run.text
        command = f"./hallows storage --http-port {run.http_port}"
        assert command in run.text
        told = subprocess.run(command.split(), cwd=build.ROOT, text=True, capture_output=True,
                              timeout=60, check=True).stdout
        assert "storage: QEMU NVMe" in told and re.search("first +first +normal +500", told)
        assert run.interrupt() == 0


def test_foreign_drive_needs_format(tmp_path):
    drive = tmp_path / "foreign.img"
    drive.write_bytes(b"not ours " * 10_000 + bytes(256 << 20))
    with Run(tmp_path, "--disk", str(drive)) as run:
        assert run.process.wait(120) == 1
    assert "holds other data, which was left as it is; --format overwrites it" in run.text
    assert drive.read_bytes()[:9] == b"not ours "
    with Run(tmp_path, "--disk", str(drive), "--format") as run:
        run.wait_for("Ctrl-C shuts down")
        assert run.interrupt() == 0


def test_zoned_drive_starts_empty_each_time(tmp_path):
    for _ in range(2):
        with Run(tmp_path, "--zoned") as run:
            run.wait_for("Ctrl-C shuts down")
            with Client(run.port) as client:
                assert client("DBSIZE") == 0 and client("SET", "key", "value") == "OK"
            assert run.interrupt() == 0


def one_line(*options):
    """Exit status and output of a run that is to be refused."""
    done = subprocess.run([HALLOWS, "run", "--no-install", *options], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_busy_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in one_line("--port", str(port))


@pytest.mark.parametrize("options,words", [
    (["--port", "70000"], "not a port"),
    (["--nic", "ne2000"], "invalid choice: 'ne2000'"),
    (["--cpus", "0"], "choose 1 to 64"),
    (["--memory", "lots"], "not a size"),
    (["--memory", "16M"], "needs 512M"),
    (["--system", "none.toml"], "none.toml:1: cannot read the file"),
    (["--disk", "/"], "Is a directory"),
    (["--nonsense"], "unrecognized arguments: --nonsense"),
])
def test_bad_option_is_one_line(tmp_path, options, words):
    ports = ["--port", str(free_port()), "--http-port", str(free_port())]
    disk = ["--disk", str(tmp_path / "disk.img")]
    assert words in one_line(*disk, *ports, *options)
