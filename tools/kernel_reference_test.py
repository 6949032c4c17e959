# SPDX-License-Identifier: MIT OR Apache-2.0
"""Unit tests of the reference of calls."""

import kernel_reference

KNOWN = {
    "call": ("", "return find(k) == STATUS_MISSING_TABLE ? STATUS_NOT_MAPPED : wait(k);"),
    "find": ("", "if (x) { return STATUS_MISSING_TABLE; }\nreturn find(k) ? STATUS_BUSY : STATUS_OK;"),
    "wait": ("", "return CALL_BLOCKED;"),
}


def test_statuses_come_from_below_less_those_that_are_turned_into_others():
    assert kernel_reference.answers("call", KNOWN) == {
        "NOT_MAPPED", "BUSY", "OK", "TIMED_OUT", "CANCELLED"}
    assert kernel_reference.answers("unknown", KNOWN) == set()


def test_every_call_has_what_it_requires_and_may_answer():
    page = kernel_reference.reference()
    for _, name, *_ in kernel_reference.calls():
        part = page[page.index(f"\n### {name} ("):].split("\n### ")[1]
        assert "May answer: OK" in part
        assert name in ("yield", "upcall_quantum") or "Requires: " in part, name
