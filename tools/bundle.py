# SPDX-License-Identifier: MIT OR Apache-2.0
"""The bundle, the one boot module (include/hallows/boot.h): writing it, checking it, and the
symbol tables that it carries for backtraces.
"""

import os
import struct
import subprocess
import tempfile
from pathlib import Path

import layout
from layout import PAGE_BYTES


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    """CRC-32C of `data` (RFC 3720, appendix B.4)."""
    crc, table = 0xFFFFFFFF, _CRC
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


# Zeros behind the bundle in its file. QEMU puts the file at the top of RAM, and SeaBIOS may take up
# to 96 KiB of its end for tables of its own (256 KiB at most, of which QEMU leaves 160 free).
TAIL_BYTES = 128 << 10


class BundleError(Exception):
    """A bundle or a program that cannot be used; str() says why and how to mend it."""


def pack_bundle(entries):
    """A bundle of (kind, name, data) triples."""
    if len(entries) > layout.BUNDLE_ENTRIES_MAX:
        raise BundleError(f"{len(entries)} bundle entries, more than {layout.BUNDLE_ENTRIES_MAX}")
    offset = layout.size("bundle_header") + layout.size("bundle_entry") * len(entries)
    table, body = b"", []
    for kind, name, data in entries:
        start = -(-offset // PAGE_BYTES) * PAGE_BYTES
        body.append(bytes(start - offset) + data)
        offset = start + len(data)
        table += layout.pack(
            "bundle_entry",
            name=name,
            kind=kind,
            crc32c=crc32c(data),
            offset=start,
            bytes=len(data),
        )
    header = layout.pack(
        "bundle_header",
        magic=layout.BUNDLE_MAGIC,
        version=layout.BUNDLE_VERSION,
        entry_count=len(entries),
        total_bytes=offset,
        entries_crc32c=crc32c(table),
        reserved=0,
    )
    return header + table + b"".join(body) + bytes(TAIL_BYTES)


def unpack_bundle(data):
    """The (kind, name, data) triples of a bundle, everything checked."""
    head = layout.size("bundle_header")
    if len(data) < head:
        raise BundleError("not a bundle: shorter than its header")
    header = layout.unpack("bundle_header", data)
    if header["magic"] != layout.BUNDLE_MAGIC:
        raise BundleError("not a bundle: wrong magic number")
    if header["version"] != layout.BUNDLE_VERSION:
        raise BundleError(f"bundle version {header['version']}, not {layout.BUNDLE_VERSION}")
    count, step = header["entry_count"], layout.size("bundle_entry")
    if count > layout.BUNDLE_ENTRIES_MAX or header["total_bytes"] > len(data):
        raise BundleError("damaged bundle: its header does not fit its length")
    table = data[head : head + count * step]
    if crc32c(table) != header["entries_crc32c"]:
        raise BundleError("damaged bundle: checksum of the entries differs")
    out = []
    for index in range(count):
        entry = layout.unpack("bundle_entry", table, index * step)
        end = entry["offset"] + entry["bytes"]
        if entry["offset"] % PAGE_BYTES or end > len(data):
            raise BundleError(f"damaged bundle: '{entry['name']}' lies outside")
        content = data[entry["offset"] : end]
        if crc32c(content) != entry["crc32c"]:
            raise BundleError(f"damaged bundle: checksum of '{entry['name']}' differs")
        out.append((entry["kind"], entry["name"], content))
    return out


def program_bytes(data):
    """Bytes of memory that the loadable segments of an ELF64 program cover."""
    total = 0
    offset, _, _, _, size, count = struct.unpack_from("<QQIHHH", data, 32)
    for index in range(count):
        kind, _, _, _, _, _, memory, _ = struct.unpack_from("<IIQQQQQQ", data, offset + index * size)
        if kind == 1:
            total += memory
    return total


def read_program(path, build_hint="run make"):
    """A cell's ELF64 without its debug information."""
    path = Path(path)
    try:
        head = path.read_bytes()[:20]
    except OSError as error:
        raise BundleError(f"program {path} is missing; fix: {build_hint}") from error
    # ELF gABI, figure 4-3: 64-bit, little-endian; e_machine 62 is x86-64.
    if len(head) < 20 or head[:6] != b"\x7fELF\x02\x01" or head[18:20] != b"\x3e\x00":
        raise BundleError(f"{path} is no x86-64 ELF program; fix: {build_hint}")
    with tempfile.TemporaryDirectory(prefix="hallows-") as folder:
        stripped = os.path.join(folder, "program")
        _tool(["objcopy", "--strip-all", str(path), stripped])
        return Path(stripped).read_bytes()


def symbol_table(path):
    """struct symbol_table of a program's functions, from its ELF symbols."""
    functions = {}
    output = _tool(["nm", "-n", "-S", "--defined-only", str(path)])
    for line in output.splitlines():
        parts = line.split()
        if len(parts) == 4:
            address, size, kind, name = parts
        elif len(parts) == 3:
            (address, kind, name), size = parts, "0"
        else:
            continue
        if kind in "tTwW":
            known = functions.get(int(address, 16))
            if known is None or known[0] == 0:
                # Of what the compiler made of a function ("name.isra.0") its name in the source.
                plain = name.split(".")[0] or name
                functions[int(address, 16)] = (min(int(size, 16), 0xFFFFFFFF), plain)
    names, entries = b"", b""
    for address, (size, name) in sorted(functions.items()):
        entries += layout.pack("symbol_entry", address=address, name_offset=len(names), bytes=size)
        names += name.encode() + b"\0"
    return layout.pack("symbol_table", count=len(functions), names_bytes=len(names)) + entries + names


def _tool(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except FileNotFoundError as error:
        raise BundleError(f"{command[0]} is missing; fix: install binutils") from error
    except subprocess.CalledProcessError as error:
        raise BundleError(f"{command[0]} failed: {error.stderr.strip()}") from error
    return done.stdout
