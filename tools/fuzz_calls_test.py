# SPDX-License-Identifier: MIT OR Apache-2.0
"""Long runs of random system calls go on where they stopped, and begin anew with another kernel."""

import fuzz_calls


def test_goes_on_with_the_same_program_only(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_calls, "STATE", tmp_path / "fuzz/calls.json")
    assert fuzz_calls.load("a") == 0
    fuzz_calls.save("a", 7)
    assert fuzz_calls.load("a") == 7
    assert fuzz_calls.load("b") == 0
    assert fuzz_calls.load("a", again=True) == 0


def test_a_piece_says_what_failed(tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "seed $HALLOWS_FUZZ_SEED"\n[ "$HALLOWS_FUZZ_SEED" = 1 ]\n')
    program.chmod(0o755)
    monkeypatch.setattr(fuzz_calls, "PROGRAM", program)
    assert fuzz_calls.run_piece(1) is None
    assert fuzz_calls.run_piece(2) == ["seed 2"]
