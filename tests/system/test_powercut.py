# SPDX-License-Identifier: MIT OR Apache-2.0
"""Power cuts at random moments under write load: every acknowledged write is there afterwards, in
order, and nothing that was never written.

Each writer has its own keys and pipelines commands over its own connection, so the server executes
them in the order sent. After a cut its keys must show exactly what its first n commands make of
them, for one n between the number acknowledged and the number sent.
"""

import random
import threading
import time

import pytest
from conftest import QUICK, variant_machine
from guest import Guest
from resp import Client, RespError, encode

CUTS = 10 if QUICK else 102  # of each kind of drive
WRITERS = 3
KEYS = 12
WINDOW = 24  # commands in flight of one writer
# A fixed address saves the second in which DHCP makes sure that nobody else has it.
SETTINGS = [("kvstore", "address", "10.0.2.15/24"), ("kvstore", "gateway", "10.0.2.2")]
DISK_BYTES = 192 << 20  # small, so that the log has to reuse its space


class Writer(threading.Thread):
    """Writes until its connection breaks; knows what was sent and what was acknowledged."""

    def __init__(self, name, port, seed, state):
        super().__init__(daemon=True)
        self.prefix = name
        self.random = random.Random(seed)
        self.state = dict(state)  # what the acknowledged commands made
        self.pending = []  # commands sent and not acknowledged
        self.acknowledged = 0
        self.problem = None
        self.client = Client(port, 60)
        # QEMU's user networking accepts by itself and keeps what is sent until the guest accepts,
        # across a reset if need be: without this, commands of before a cut could run after it.
        assert self.client("PING") == "PONG"

    def _command(self, number):
        key = f"{self.prefix}:{self.random.randrange(KEYS)}"
        kind = self.random.random()
        if kind < 0.70:
            size = self.random.choice((8, 100, 1000, 4096, 20_000))
            return ("SET", key, f"{number}:".encode() + self.random.randbytes(size))
        if kind < 0.85:
            return ("APPEND", key, f"+{number}")
        if kind < 0.95:
            return ("DEL", key)
        return ("INCRBY", f"{self.prefix}:count", number)

    def run(self):
        number = 0
        try:
            while True:
                while len(self.pending) < WINDOW:
                    number += 1
                    command = self._command(number)
                    self.pending.append(command)
                    self.client.socket.sendall(encode(*command))
                self.client.receive()
                apply(self.state, self.pending.pop(0))
                self.acknowledged += 1
        except (OSError, ValueError):
            return  # the power is gone
        except RespError as error:
            self.problem = str(error)

    def check(self, client):
        """Compares the server with what was written; returns the state that was found."""
        assert self.problem is None, self.problem
        names = [f"{self.prefix}:{n}" for n in range(KEYS)] + [f"{self.prefix}:count"]
        found = dict(zip(names, client("MGET", *names)))
        found = {key: value for key, value in found.items() if value is not None}
        state = dict(self.state)
        for more in range(len(self.pending) + 1):
            if state == found:
                return state
            if more < len(self.pending):
                apply(state, self.pending[more])
        lost = [key for key in names if self.state.get(key) != found.get(key)]
        pytest.fail(
            f"{self.prefix}: after {self.acknowledged} acknowledged and {len(self.pending)} pending"
            f" commands no prefix fits; differing keys: "
            + ", ".join(f"{k}: {brief(self.state.get(k))} -> {brief(found.get(k))}" for k in lost)
        )


def brief(value):
    """The start of a value."""
    return "absent" if value is None else f"{value[:12]!r} of {len(value)}"


def apply(state, command):
    """What a command makes of a writer's keys."""
    verb, key = command[0], command[1]
    if verb == "SET":
        state[key] = command[2]
    elif verb == "APPEND":
        state[key] = state.get(key, b"") + command[2].encode()
    elif verb == "DEL":
        state.pop(key, None)
    else:
        state[key] = str(int(state.get(key, b"0")) + command[2]).encode()


def one_cut(guest, states, source, cut):
    """Lets writers write, calls `cut` at a random moment, and checks what is there when the system
    serves again. Returns the new states and the number of acknowledged writes."""
    writers = [
        Writer(f"w{index}", guest.port, source.random(), state)
        for index, state in enumerate(states)
    ]
    for writer in writers:
        writer.start()
    # The random moment; a writer that ends early ends the wait.
    writers[0].join(source.uniform(0.02, 0.6))
    mark = guest.vm.mark()
    cut()
    for writer in writers:
        writer.client.socket.shutdown(2)
    for writer in writers:
        writer.join(60)
        writer.client.close()
    guest.wait_serving(mark)
    with guest.client_when_up() as client:
        states = [writer.check(client) for writer in writers]
        assert client("DBSIZE") == sum(len(state) for state in states)
    return states, sum(writer.acknowledged for writer in writers)


def cut_many(variant, disk, cuts, seed, report):
    """Boots once and cuts the power `cuts` times under load."""
    source = random.Random(seed)
    machine = variant_machine(variant, disk, SETTINGS)
    with open(disk, "wb") as file:
        file.truncate(DISK_BYTES)
    with Guest(machine) as guest:
        states = [{} for _ in range(WRITERS)]
        total = 0
        for cut in range(cuts):
            states, acknowledged = one_cut(guest, states, source, guest.vm.reset)
            total += acknowledged
            report.append((variant, cut, total))
        guest.shut_down()


def test_every_acknowledged_write_survives(tmp_path, capsys):
    report, failures = [], []
    start = time.monotonic()

    def run(variant, seed):
        try:
            cut_many(variant, tmp_path / f"{variant}.img", CUTS, seed, report)
        except BaseException as error:  # pytest.fail() raises one that is no Exception
            failures.append((variant, error))

    threads = [threading.Thread(target=run, args=row) for row in (("direct", 11), ("zoned", 12))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for variant in ("direct", "zoned"):
        rows = [row for row in report if row[0] == variant]
        total = rows[-1][2] if rows else 0
        with capsys.disabled():
            print(f"\n{variant}: {len(rows)} cuts, {total} acknowledged writes checked"
                  f" ({time.monotonic() - start:.0f} s)", end=" ")
        assert any(failed == variant for failed, _ in failures) or total > len(rows)
    for variant, error in failures:
        raise AssertionError(f"{variant}: {error}") from error
