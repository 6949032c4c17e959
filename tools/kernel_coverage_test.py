# SPDX-License-Identifier: MIT OR Apache-2.0
"""What llvm-cov says is read as it is meant."""

import json

import kernel_coverage


def test_summary_of_each_file():
    lines = {"covered": 3, "count": 4}
    branches = {"covered": 1, "count": 2}
    files = [{"filename": "/x/kernel/a.c", "summary": {"lines": lines, "branches": branches}}]
    text = json.dumps({"data": [{"files": files}]})
    assert kernel_coverage.summary(text, "/x") == {
        "kernel/a.c": {"lines": (3, 4), "branches": (1, 2), "mcdc": (0, 0)}}


def test_nothing_to_reach_is_no_percentage():
    assert kernel_coverage.percent(1, 2).strip() == "50.0%"
    assert kernel_coverage.percent(0, 0).strip() == ""
