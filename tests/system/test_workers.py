# SPDX-License-Identifier: MIT OR Apache-2.0
"""`workers` in manifests: a cell's threads on CPUs of their own."""

import build
import vm

SYSTEM = """[system]
name = "workers"
memory = "256M"
cells = ["several"]
"""
CELL = """[cell]
program = "workers"
workers = {workers}
"""


def machine_of(folder, workers, cpus):
    (folder / "cells").mkdir()
    (folder / "system.toml").write_text(SYSTEM, encoding="utf-8")
    (folder / "cells/several.toml").write_text(CELL.format(workers=workers), encoding="utf-8")
    _, bundle = build.make_bundle(folder / "system.toml", (), folder / "workers.bundle")
    return vm.Machine(kernel=build.KERNEL, bundle=bundle, nic=None, cpus=cpus, memory_mib=256)


def test_threads_run_side_by_side_and_end_together(tmp_path):
    with vm.Vm(machine_of(tmp_path, [1], 2)) as guest:
        guest.wait_for("several: 2000 turns of 2 threads", 60)
        guest.wait_for("several: 100 wake-ups", 60)
        guest.wait_for(r"several \(worker on CPU 1\) faulted: .*read", 60)
        guest.wait_for("cell_worker", 10)
        again = guest.wait_for("several restarts", 60).end()
        guest.wait_for("several: 100 wake-ups", 60, again)
        guest.wait_for("hallows: system ready", 60)
        guest.power_button()
        guest.wait_for(vm.CLEAN, 40)


def test_a_worker_without_its_cpu_is_said(tmp_path):
    with vm.Vm(machine_of(tmp_path, [1], 1)) as guest:
        guest.wait_for("several wants CPU 1, and the machine runs 1; give it more", 60)
        guest.wait_for("the system is not whole", 60)
