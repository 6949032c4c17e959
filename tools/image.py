#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The image tool: checks a system description with its manifests and packs it, the programs and
their symbols into the bundle that boots (include/hallows/boot.h).
"""

import argparse
import os
import sys
import threading
from pathlib import Path

import bundle
import layout
from system_description import (
    ManifestError,
    compile_system,
    load_system,
    memory_needed,
    programs,
    show_size,
)

ROOT = Path(__file__).resolve().parent.parent
SUPERVISOR = "supervisor"


def build_bundle(system, cells_folder, files=()):
    """The bundle's bytes: supervisor, description, programs, symbols, then `files` (name, path)."""
    entries, missing, sizes = [], [], {}
    wanted = [(layout.BUNDLE_INITIAL_CELL, SUPERVISOR)]
    wanted += [(layout.BUNDLE_CELL, name) for name in programs(system)]
    for kind, name in wanted:
        path = cells_folder / f"{name}.elf"
        try:
            entries.append((kind, name, bundle.read_program(path)))
        except bundle.BundleError as error:
            user = next((cell for cell in system.cells if cell.program == name), None)
            at = f"{user.source.name}:{user.source.line(('cell', 'program'))}: " if user else ""
            missing.append(at + str(error))
            continue
        sizes[name] = bundle.program_bytes(entries[-1][2])
    if missing:
        raise ManifestError(missing)
    entries.insert(1, (layout.BUNDLE_SYSTEM, system.name, compile_system(system)))
    for _, name in wanted:
        symbols = bundle.symbol_table(cells_folder / f"{name}.elf")
        entries.append((layout.BUNDLE_SYMBOLS, name, symbols))
    for name, path in files:
        entries.append((layout.BUNDLE_FILE, name, Path(path).read_bytes()))
    data = bundle.pack_bundle(entries)
    needed = memory_needed(system, sizes) + len(data)
    if needed > system.memory:
        line = system.source.line(("system", "memory"))
        up = show_size(-(-needed // (1 << 20)) << 20)
        raise ManifestError(
            [f"{system.source.name}:{line}: with its programs the system needs {up},"
             f' more than memory = {show_size(system.memory)}; fix: write memory = "{up}"']
        )
    return data


def parse_setting(text):
    """CELL.KEY=VALUE as a triple."""
    name, equals, value = text.partition("=")
    cell, dot, key = name.partition(".")
    if not (equals and dot and cell and key):
        raise argparse.ArgumentTypeError(f"'{text}' is not CELL.KEY=VALUE")
    return cell, key, value


def write_file(path, data):
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + f".{os.getpid()}.{threading.get_ident()}.part")
    part.write_bytes(data)
    part.replace(path)


def show(path):
    """Lists a bundle."""
    kinds = {value: name[7:].lower() for name, value in vars(layout).items()
             if name in ("BUNDLE_INITIAL_CELL", "BUNDLE_SYSTEM", "BUNDLE_CELL", "BUNDLE_SYMBOLS",
                         "BUNDLE_FILE")}
    for kind, name, data in bundle.unpack_bundle(Path(path).read_bytes()):
        print(f"{kinds.get(kind, kind):13} {name:24} {len(data):9} bytes")


def main(arguments=None):
    """Entry: returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/image.py", description=__doc__)
    parser.add_argument("--system", type=Path, default=ROOT / "systems/reference/system.toml",
                        metavar="FILE", help="the system description (%(default)s)")
    parser.add_argument("--cells", type=Path, default=ROOT / "build/cells", metavar="DIR",
                        help="where the programs lie as NAME.elf")
    parser.add_argument("--set", type=parse_setting, action="append", default=[], dest="settings",
                        metavar="CELL.KEY=VALUE", help="override one line of a cell's [config]")
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="the bundle to write")
    parser.add_argument("--check", action="store_true", help="check the description only")
    parser.add_argument("--show", type=Path, metavar="BUNDLE", help="check a bundle and list it")
    options = parser.parse_args(arguments)
    try:
        if options.show:
            show(options.show)
            return 0
        system = load_system(options.system, ROOT, options.settings)
        if options.check:
            print(f"{system.source.name}: ok, {len(system.cells)} cells")
            return 0
        output = options.output or ROOT / f"build/image/{system.name}.bundle"
        data = build_bundle(system, options.cells)
        write_file(output, data)
        print(f"{output}: {len(data)} bytes, {len(system.cells)} cells")
        return 0
    except (ManifestError, bundle.BundleError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tools/image.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
