# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes struct symbol_table (include/hallows/boot.h) of an ELF program's functions to a file.

usage: kernel_symbols.py ELF OUT    the functions of ELF
       kernel_symbols.py OUT        an empty table, for the first of the kernel's two links
"""

import struct
import sys
from pathlib import Path

import bundle

if __name__ == "__main__":
    empty = struct.pack("<II", 0, 1) + b"\0"
    table = bundle.symbol_table(sys.argv[1]) if len(sys.argv) == 3 else empty
    Path(sys.argv[-1]).write_bytes(table)
