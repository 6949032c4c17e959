# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes the table of system calls in docs/kernel.md from include/hallows/syscall.h, the one
description.

usage: kernel_reference.py
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/kernel.md"
HEADER = ROOT / "include/hallows/syscall.h"
START, END = "<!-- calls: tools/kernel_reference.py writes this -->", "<!-- end of calls -->"
CALL = re.compile(r"X\((\w+),\s*(\d+),((?:\s*\"[^\"]*\"\s*,?)+)\)")


def calls():
    """(number, name, arguments, values, summary) of every call, by number."""
    text = HEADER.read_text(encoding="utf-8").replace("\\\n", "\n")
    table = text[text.index("#define HALLOWS_SYSCALL_TABLE"):]
    table = re.sub(r"\"\s*\n\s*\"", "", table[: table.index("#define HALLOWS_SYSCALL_ENUM")])
    found = []
    for name, number, strings in CALL.findall(table):
        found.append((int(number), name, *re.findall(r"\"([^\"]*)\"", strings)))
    return sorted(found)


def reference():
    """The table as Markdown."""
    lines = [START, "| call | number | arguments | values | what |", "|---|---:|---|---|---|"]
    for number, name, *texts in calls():
        cells = " | ".join(text.replace("|", "\\|") for text in texts)
        lines.append(f"| `{name}` | {number} | {cells} |")
    return "\n".join([*lines, END])


def updated(page):
    """The page with the table as it should be."""
    return page[: page.index(START)] + reference() + page[page.index(END) + len(END):]


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
