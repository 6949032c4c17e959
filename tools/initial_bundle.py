# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes a bundle that holds an initial cell, its symbols and nothing else: how kernel tests boot.

usage: initial_bundle.py PROGRAM.elf OUT
"""

import sys
from pathlib import Path

import bundle
import layout

if __name__ == "__main__":
    program, out = Path(sys.argv[1]), Path(sys.argv[2])
    entry = (layout.BUNDLE_INITIAL_CELL, program.stem, bundle.read_program(program))
    symbols = (layout.BUNDLE_SYMBOLS, program.stem, bundle.symbol_table(program))
    out.write_bytes(bundle.pack_bundle([entry, symbols]))
