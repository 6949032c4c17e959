# SPDX-License-Identifier: MIT OR Apache-2.0
"""Partition schedules in system.toml: cells run in their windows and nowhere else."""

import time

import build
import vm
from guest import Guest, machine_for

SYSTEM = """[system]
name = "windows"
memory = "256M"
cells = ["greedy", "modest"]

[schedule.second]
cpu = 1
windows = ["greedy 4000", "modest 8000"]
"""
CELL = """[cell]
program = "windows"
priority = {priority}
cpu = 1
partition = "{name}"
"""
TRIES_SECONDS = 60


def test_cells_have_their_windows_whatever_their_priorities(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "system.toml").write_text(SYSTEM, encoding="utf-8")
    for name, priority in (("greedy", 200), ("modest", 50)):
        manifest = CELL.format(name=name, priority=priority)
        (tmp_path / f"cells/{name}.toml").write_text(manifest, encoding="utf-8")
    _, bundle = build.make_bundle(tmp_path / "system.toml", (), tmp_path / "windows.bundle")
    machine = vm.Machine(kernel=build.KERNEL, bundle=bundle, nic=None, cpus=2, memory_mib=256,
                         icount=True)  # so that a busy host takes no time from either
    with vm.Vm(machine) as guest:
        end = time.monotonic() + TRIES_SECONDS
        seen = 0
        while time.monotonic() < end:
            greedy, modest = (int(guest.wait_for(rf"^{name}: ran (\d+) of 1000", 60, seen)[1])
                              for name in ("greedy", "modest"))
            seen = len(guest.serial)
            if 320 <= greedy <= 350 and 640 <= modest <= 685:
                return
        raise AssertionError(guest.serial[-2000:])


def test_a_cell_that_never_stops_leaves_the_other_windows(disk):
    with Guest(machine_for("spinner-windows", disk)) as guest:
        with guest.client(timeout=60) as client:
            assert all(client("SET", f"k{i}", "v") == "OK" for i in range(20))
            assert client("GET", "k7") == b"v"
        assert guest.shut_down() == 0
