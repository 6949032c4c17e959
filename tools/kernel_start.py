# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes the part of the kernel's linker script that names the functions which only its start runs.

usage: kernel_start.py ELF OUT

ELF is a first link with everything in .text, beside its map (ELF.map). Run-time code is what entry code
and the table of system calls reach; the rest of the sections of functions goes into OUT. The last link
fails if something that stays names one of them (kernel/arch/x86_64/start_only.ld).
"""

import re
import sys
from pathlib import Path

import kernel_code

PIECE = re.compile(r"^ (\.text\S*)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S+\.o)$", re.MULTILINE)

# What was optimised at the link comes from one object with a name of chance.
LINKED = re.compile(r"^/.*\.ltrans\d*\.ltrans\.o$")


def pieces(text):
    """(section, first address, end, object file) of each part of the code in a link map."""
    # A long section name stands on a line of its own.
    text = re.sub(r"^( \.text\S*)\n\s+", r"\1 ", text, flags=re.MULTILINE)
    for section, address, size, name in PIECE.findall(text):
        if int(size, 16):
            yield section, int(address, 16), int(address, 16) + int(size, 16), name


def start_only(code, parts):
    """The parts that nothing reaches once the start is over."""
    stays = [code.functions[name].address for name in code.reachable(code.entries())]
    for section, first, end, name in parts:
        if first >= kernel_code.UPPER and not any(first <= address < end for address in stays):
            yield section, LINKED.sub(".ltrans.o", name)


if __name__ == "__main__":
    found = list(pieces(Path(f"{sys.argv[1]}.map").read_text(encoding="utf-8")))
    lines = [f"*{name}({section})" for section, name in start_only(kernel_code.Code(sys.argv[1]), found)]
    Path(sys.argv[2]).write_text("\n".join(lines) + "\n", encoding="utf-8")
