# SPDX-License-Identifier: MIT OR Apache-2.0
"""Unit tests of the benchmark table."""

import bench
import bench_kernel
import pytest
import vm

OUTPUT = """noise
BENCH syscall 60 instr
BENCH net/udp-echo-1 601.5 instr
BENCH unknown 7 ns
BENCH broken x instr
"""


def test_lines_become_figures_with_targets():
    targets = {"kernel/syscall": (70, "cheapest"), "net/udp-echo-1": (600, "echo")}
    figures = bench.parse("kernel", OUTPUT, targets)
    assert [figure.as_json() for figure in figures] == [
        {"name": "kernel/syscall", "value": 60, "unit": "instr", "target": 70, "met": True},
        {"name": "net/udp-echo-1", "value": 601.5, "unit": "instr", "target": 600, "met": False},
        {"name": "kernel/unknown", "value": 7, "unit": "ns", "target": None, "met": None},
    ]
    lines = bench.table(figures, [("kernel/irq", 260)])
    assert lines[1].split() == ["kernel/syscall", "60", "instr", "70", "met"]
    assert lines[2].endswith("missed") and lines[3].endswith("-")
    assert lines[4].endswith("not measured")


def test_targets_are_well_formed():
    targets = bench.load_targets()
    assert targets["kernel/call-reply-0"][0] == 260 and len(targets) >= 20
    assert all(value > 0 and what for value, what in targets.values())


def test_figures_of_other_systems_stand_beside_ours():
    figures = bench.parse("kernel", "BENCH syscall 60 instr\n", {})
    lines = bench.table(figures, [], {"kernel/syscall": {"sel4": "252"}})
    assert lines[0].split()[-1] == "sel4" and lines[1].split()[-1] == "252"


def test_anchors_belong_to_rows_and_name_their_source():
    sources, rows = bench_kernel.load_anchors()
    targets = bench.load_targets()
    assert set(sources) == set(bench_kernel.SYSTEMS)
    for name, row in rows.items():
        assert name in targets and row and set(row) <= set(sources)


def test_events_go_to_the_row_that_was_reported():
    console = "BENCH kernel/boot 9 instr\nBENCH kernel/call 8 instr\n"
    assert bench_kernel.events_of(console, ["none", "kernel 8 user 2 cr3 1"]) == {
        "kernel/call": {"kernel": 8, "user": 2, "cr3": 1}}
    with pytest.raises(vm.VmError):
        bench_kernel.events_of(console, ["none"])
