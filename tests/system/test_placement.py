# SPDX-License-Identifier: MIT OR Apache-2.0
"""Budgets and CPUs in manifests, with a cell of the highest priority that never stops by itself."""

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
