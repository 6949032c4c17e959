# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tests of ./hallows fuzz without running a fuzzer."""

import fuzz

GOOD = "#2 INITED cov: 3 ft: 4 corp: 1/1b\n#90\tDONE   cov: 62 ft: 98 corp: 51/3673b lim: 8192\n"
BAD = """#7 NEW    cov: 5 ft: 6 corp: 2/2b
lib/a.c:18: x == y
==1== ERROR: libFuzzer: deadly signal
artifact_prefix='build/'; Test unit written to build/fuzz/crashes/lib-a-crash-1
"""


def test_targets_are_the_files():
    names = fuzz.targets()
    assert "lib/net/frames" in names and names == sorted(names)
    assert fuzz.targets("lib/elf") == ["lib/elf/elf"]


def test_what_libfuzzer_says():
    outcome = fuzz.parse("lib/a", 0, GOOD)
    assert outcome.good and (outcome.inputs, outcome.edges, outcome.corpus) == (90, 62, 51)
    outcome = fuzz.parse("lib/a", 77, BAD)
    assert not outcome.good
    assert outcome.details == ("lib/a.c:18: x == y", "==1== ERROR: libFuzzer: deadly signal",
                               "repeat: build/fuzz/lib/a_fuzz build/fuzz/crashes/lib-a-crash-1")
    assert not fuzz.parse("lib/a", 0, "").good  # it ran nothing
