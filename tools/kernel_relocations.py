# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes where the kernel's image holds absolute addresses of its own (kernel/arch/x86_64/slide.c).

usage: kernel_relocations.py ELF OUT    ELF was linked with --emit-relocs
       kernel_relocations.py OUT        an empty table, for the first of the kernel's links

One 32-bit word each: distance from KERNEL_PHYSICAL in memory; the highest bit if 64 bits lie there.
"""

import re
import struct
import subprocess
import sys
from pathlib import Path

KERNEL_VIRTUAL = 0xFFFFFFFF80000000  # kernel/arch/x86_64/layout.h
KERNEL_PHYSICAL = 0x200000
IMAGE_MAX = 1 << 30
WORD_64 = 1 << 31
# Sections whose references lie at the same place in every later link: what follows moves.
SECTIONS = (".boot", ".start", ".start.data", ".text", ".rodata")
HEAD = re.compile(r"^Relocation section '\.rela(\S+)'")
ENTRY = re.compile(r"^([0-9a-f]+)\s+[0-9a-f]+\s+R_X86_64_(\w+)\s+([0-9a-f]+)\s+\S+\s+([+-])\s+([0-9a-f]+)")


class RelocationError(Exception):
    """A reference that the kernel could not change at start."""


def in_image(address):
    """Whether an address may be one of the image, linked where it is."""
    return 0 <= address - KERNEL_VIRTUAL < IMAGE_MAX


def table(listing):
    """The words, from `readelf -rW`."""
    out, section = [], None
    for line in listing.splitlines():
        head = HEAD.match(line)
        if head:
            section = head.group(1)
        entry = ENTRY.match(line)
        if not entry or section.startswith(".debug"):
            continue
        at, kind = int(entry.group(1), 16), entry.group(2)
        symbol = int(entry.group(3), 16)
        value = (symbol + int(entry.group(4) + entry.group(5), 16)) % (1 << 64)
        # What is relative moves with its target; the code before the slide computes physical addresses.
        if kind in ("PC32", "PLT32", "PC64") or not in_image(symbol):
            continue
        if section == ".boot" and not in_image(value):
            continue
        # Where the compiler computed with an address, nobody can say what the sum has to become.
        if kind not in ("32S", "64") or section not in SECTIONS or not in_image(value):
            raise RelocationError(f"{section}, {at:x}: R_X86_64_{kind} of {symbol:x} as {value:x}")
        place = at - KERNEL_VIRTUAL if at >= KERNEL_VIRTUAL else at
        out.append(place - KERNEL_PHYSICAL | (WORD_64 if kind == "64" else 0))
    return sorted(out, key=lambda word: word & ~WORD_64)


if __name__ == "__main__":
    words = []
    if len(sys.argv) == 3:
        words = table(subprocess.run(["readelf", "-rW", sys.argv[1]], capture_output=True, text=True,
                                     check=True).stdout)
    Path(sys.argv[-1]).write_bytes(struct.pack(f"<{len(words)}I", *words))
