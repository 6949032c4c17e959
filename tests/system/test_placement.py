# SPDX-License-Identifier: MIT OR Apache-2.0
"""Budgets and CPUs in manifests, with a cell of the highest priority that never stops by itself."""

import shutil

import build
import pytest
import vm
from guest import Guest, machine_for


def answers(guest, timeout):
    """Whether the key-value server answers in time."""
    try:
        with guest.client(timeout=timeout) as client:
            return client("PING") == "PONG"
    except OSError:
        return False


def test_without_a_limit_nobody_else_runs(disk):
    with Guest(machine_for("spinner-free", disk)) as guest:
        assert not answers(guest, 5)


def test_a_budget_leaves_time_to_the_others(disk):
    with Guest(machine_for("spinner-budget", disk)) as guest:
        assert all(answers(guest, 60) for _ in range(5))
        assert guest.shut_down() == 0


def test_another_cpu_leaves_all_of_this_one(disk):
    with Guest(machine_for("spinner-cpu1", disk, cpus=2)) as guest:
        assert all(answers(guest, 60) for _ in range(5))
        assert guest.shut_down() == 0


def test_a_cpu_that_is_not_there_is_said(disk):
    machine = machine_for("spinner-cpu5", disk, cpus=2)
    vm.make_disk(disk)
    with vm.Vm(machine) as guest:
        guest.wait_for("spinner-cpu5 wants CPU 5, and the machine runs 2; give it more", 90)
        guest.wait_for("the system is not whole", 90)


@pytest.mark.parametrize("iommu", ["legacy", None])
def test_interrupts_follow_a_driver_to_its_cpu(disk, tmp_path, iommu):
    shutil.copytree(build.ROOT / "systems", tmp_path / "systems")
    cell = tmp_path / "systems/reference/cells/kvstore.toml"
    text = cell.read_text(encoding="utf-8").replace("[cell]\n", "[cell]\ncpu = 1\n")
    cell.write_text(text, encoding="utf-8")
    system = tmp_path / "systems/reference/system.toml"
    settings = [("kvstore", "poll_us", "0")]  # it sleeps until an interrupt wakes it
    _, bundle = build.make_bundle(system, settings, tmp_path / "cpu1.bundle")
    machine = vm.Machine(kernel=build.KERNEL, bundle=bundle, disk=disk, memory_mib=512, cpus=2,
                         iommu=iommu)
    with Guest(machine) as guest:
        with guest.client(timeout=60) as client:
            assert all(client("SET", f"k{i}", "v") == "OK" for i in range(20))
        assert guest.shut_down() == 0
