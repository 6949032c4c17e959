# SPDX-License-Identifier: MIT OR Apache-2.0
"""A cell that faults is reported and restarted while the rest runs on; a kernel that panics says
so in a readable report.
"""

import json
import random
import urllib.request

import pytest
import vm
from conftest import variant_machine
from guest import Guest, machine_for
from resp import RespError
from test_powercut import one_cut

FAULTS = ["read", "write", "execute", "kernel", "opcode", "privileged", "ports", "divide",
          "noncanonical", "stack", "assertion", "exit"]


def cells(guest):
    """The cells of status.json by name."""
    url = f"http://127.0.0.1:{guest.http_port}/status.json"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return {cell["name"]: cell for cell in json.load(answer)["cells"]}


@pytest.mark.parametrize("fault", [
    pytest.param(fault, marks=() if fault in ("read", "stack") else pytest.mark.slow)
    for fault in FAULTS
])
def test_faulting_cell_is_restarted_and_the_rest_runs_on(disk, fault):
    machine = machine_for("faulty", disk, [("faulty", "fault", fault)])
    with Guest(machine) as guest:
        with guest.client() as client:
            mark = guest.vm.serial.index("life 0")
            assert client("SET", "before", "1") == "OK"
            guest.vm.wait_for("faulty: life 1", 30, since=mark)
            guest.vm.wait_for("faulty: stays up", 30, since=mark)
            # The same connection, so the server was never away.
            assert client("GET", "before") == b"1"
            assert client("SET", "after", "2") == "OK"
        report = guest.vm.serial[mark:]
        assert "faulty" in report
        if fault not in ("exit", "assertion"):
            assert "program_entry" in report or "overflow_stack" in report, "no symbols"
            assert "rip" in report.lower() or " ip " in report.lower(), "no registers"
        status = cells(guest)
        assert status["faulty"]["restarts"] == 1 and status["faulty"]["state"] == "ready"
        assert status["kvstore"]["restarts"] == 0
        assert guest.shut_down() == 0


def test_cell_that_goes_on_faulting_stays_down(disk):
    machine = machine_for("faulty", disk, [("faulty", "times", "99"), ("faulty", "delay_ms", "50")])
    with Guest(machine) as guest:
        guest.vm.wait_for("faulty: life 3", 60)
        with guest.client() as client:
            for _ in range(200):
                state = cells(guest)["faulty"]["state"]
                assert client("PING") == "PONG"
                if state == "failed":
                    break
            assert state == "failed"
        assert "faulty: life 4" not in guest.vm.serial
        assert guest.shut_down() == 0


@pytest.mark.parametrize("variant", ["direct", "shared", "zoned"])
def test_server_that_faults_loses_nothing(disk, variant):
    settings = [("kvstore", "debug_command", "true"), ("kvstore", "format", "true")]
    with Guest(variant_machine(variant, disk, settings)) as guest:

        def fault():
            with guest.client() as client:
                client.send("DEBUG", "SEGFAULT")
                guest.vm.wait_for("supervisor: kvstore faulted", 30)

        states, source = [{} for _ in range(3)], random.Random(7)
        for life in range(1, 4):
            states, acknowledged = one_cut(guest, states, source, fault)
            assert acknowledged > 0 and cells(guest)["kvstore"]["restarts"] == life
        assert guest.shut_down() == 0


def test_debug_command_is_off_unless_allowed(server):
    with server.client() as client:
        with pytest.raises(RespError, match="DEBUG command not allowed"):
            client("DEBUG", "SEGFAULT")


def test_kernel_panic_report(disk):
    with Guest(machine_for("reference", disk)) as guest:
        mark = guest.vm.mark()
        guest.vm.qmp("inject-nmi")
        guest.vm.wait_for(vm.STOPPED, 30, since=mark)
        report = guest.vm.serial[mark:]
        assert "hallows: PANIC: NMI" in report
        for word in ("rax", "rip" if "rip" in report else "at", "cr3", "rsp", "backtrace"):
            assert word in report
