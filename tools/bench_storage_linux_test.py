# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tests of the comparison's own arithmetic."""

import bench_storage_linux as bench


def test_every_row_runs_short_then_long():
    runs = bench.jobs("")
    for short, long in zip(runs[::2], runs[1::2]):
        assert short[:2] == long[:2] and short[2] < long[2]
    assert [run[:2] for run in bench.jobs("read-1")] == [
        ("nvme-read-1", "io_uring")] * 2 + [("nvme-read-1", "psync")] * 2
    assert bench.jobs("nosuch") == []


def test_script_marks_each_run_and_the_end():
    text = bench.script(bench.jobs("nvme-read-32"))
    assert text.count("/bin/fio") == 2
    assert text.index("run 0 begins") < text.index("number_ios=2000") < text.index("run 1 begins")
    assert "run 2 begins" in text


def test_iops_are_those_of_reads_and_writes():
    fields = ["3", "fio-3.33", "x", "0", "0", "4000", "100", "25"] + ["0"] * 40 + ["50"] + ["0"] * 60
    first = ";".join(fields)
    last = first.replace(";25;", ";75;")
    assert bench.iops(f"noise\n{first}\n") == 75
    assert bench.iops(f"{first}\nrun 1 begins\n{last}\n") == 125
