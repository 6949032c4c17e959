# SPDX-License-Identifier: MIT OR Apache-2.0
"""Constants and structures of include/hallows/{boot,system}.h, as the image tool writes them.

Nothing is parsed out of the headers: image_test.py compiles a C program against them that
compares every constant, offset and size in this file.
"""

import struct

PAGE_BYTES = 4096
SEGMENT_BYTES = 0x200000

BUNDLE_MAGIC = 0x444E425357484C48
BUNDLE_VERSION = 1
BUNDLE_ENTRIES_MAX = 64
BUNDLE_NAME_BYTES = 40
BUNDLE_INITIAL_CELL = 1
BUNDLE_SYSTEM = 2
BUNDLE_CELL = 3
BUNDLE_SYMBOLS = 4
BUNDLE_FILE = 5

SYSTEM_MAGIC = 0x4D54535953484C48
SYSTEM_VERSION = 4
SYSTEM_NAME_BYTES = 24
SYSTEM_CELLS_MAX = 32
SYSTEM_DEVICES_MAX = 16
SYSTEM_RINGS_MAX = 32
SYSTEM_VIRTUAL_FUNCTIONS_MAX = 64
SYSTEM_CPUS_MAX = 64
SYSTEM_CPU_WINDOWS_MAX = 124
SYSTEM_DOMAINS_MAX = 16
SYSTEM_WINDOW_MIN_US = 10
SYSTEM_BUDGET_MIN_US = 10
SYSTEM_PERIOD_MAX_US = 60000000
CELL_DEVICES_MAX = 4
CELL_WORKERS_MAX = 7
CELL_RINGS_MAX = 8
SYSTEM_NONE = 0xFFFFFFFF
SYSTEM_DEVICE_NET = 1
SYSTEM_DEVICE_NVME = 2
SYSTEM_RING_NET = 0
SYSTEM_RING_LOG = 1
SYSTEM_RESTART_NEVER = 0
SYSTEM_RESTART_ON_FAULT = 1
CELL_FLAG_PCI = 1
CELL_FLAG_START_READY = 2
CELL_FLAG_MANAGE = 4

# From other public headers: limits that a manifest must keep.
CELL_IRQS_MAX = 8
RING_ENTRIES_MIN = 8
RING_ENTRIES_MAX = 4096

# Names of the above that the test compares with the headers.
CONSTANTS = [name for name in list(globals()) if name.isupper()]

# Field: (name, struct format character, array length or 1). "s" counts bytes.
STRUCTS = {
    "bundle_header": [
        ("magic", "Q", 1),
        ("version", "I", 1),
        ("entry_count", "I", 1),
        ("total_bytes", "Q", 1),
        ("entries_crc32c", "I", 1),
        ("reserved", "I", 1),
    ],
    "bundle_entry": [
        ("name", "s", BUNDLE_NAME_BYTES),
        ("kind", "I", 1),
        ("crc32c", "I", 1),
        ("offset", "Q", 1),
        ("bytes", "Q", 1),
    ],
    "symbol_entry": [
        ("address", "Q", 1),
        ("name_offset", "I", 1),
        ("bytes", "I", 1),
    ],
    "symbol_table": [
        ("count", "I", 1),
        ("names_bytes", "I", 1),
    ],
    "system_header": [
        ("magic", "Q", 1),
        ("version", "I", 1),
        ("total_bytes", "I", 1),
        ("name", "s", SYSTEM_NAME_BYTES),
        ("cell_count", "I", 1),
        ("cells_offset", "I", 1),
        ("device_count", "I", 1),
        ("devices_offset", "I", 1),
        ("ring_count", "I", 1),
        ("rings_offset", "I", 1),
        ("window_count", "I", 1),
        ("windows_offset", "I", 1),
    ],
    "system_device": [
        ("name", "s", SYSTEM_NAME_BYTES),
        ("kind", "I", 1),
        ("pci_vendor", "H", 1),
        ("pci_device", "H", 1),
        ("index", "I", 1),
        ("irq_count", "I", 1),
        ("virtual_functions", "I", 1),
        ("parent", "I", 1),
    ],
    "system_ring": [
        ("name", "s", SYSTEM_NAME_BYTES),
        ("client_cell", "I", 1),
        ("server_cell", "I", 1),
        ("entries", "I", 1),
        ("buffer_count", "I", 1),
        ("buffer_bytes", "I", 1),
        ("kind", "I", 1),
    ],
    "system_cell": [
        ("name", "s", SYSTEM_NAME_BYTES),
        ("program", "s", 40),
        ("heap_bytes", "Q", 1),
        ("dma_bytes", "Q", 1),
        ("stack_bytes", "Q", 1),
        ("priority", "I", 1),
        ("cpu", "I", 1),
        ("budget_us", "I", 1),
        ("period_us", "I", 1),
        ("flags", "I", 1),
        ("restart", "I", 1),
        ("restarts_max", "I", 1),
        ("restart_window_s", "I", 1),
        ("device_count", "I", 1),
        ("devices", "I", CELL_DEVICES_MAX),
        ("config_offset", "I", 1),
        ("config_bytes", "I", 1),
        ("domain", "I", 1),
        ("worker_count", "I", 1),
        ("worker_cpus", "I", CELL_WORKERS_MAX),
    ],
    "system_window": [
        ("cpu", "I", 1),
        ("domain", "I", 1),
        ("length_us", "I", 1),
        ("reserved", "I", 1),
    ],
}


def _format(kind):
    """The struct format; the fields are naturally aligned, so no padding is written."""
    return "<" + "".join(
        f"{count}{char}" if char == "s" or count > 1 else char
        for _, char, count in STRUCTS[kind]
    )


def size(kind):
    """Bytes of struct `kind`."""
    return struct.calcsize(_format(kind))


def offset(kind, field):
    """Offset of `field` in struct `kind`."""
    total = 0
    for name, char, count in STRUCTS[kind]:
        if name == field:
            return total
        total += struct.calcsize("<" + char) * count
    raise KeyError(field)


def pack(kind, /, **values):
    """Struct `kind` as bytes. Text is encoded and NUL-padded; every field must be given."""
    flat = []
    for name, char, count in STRUCTS[kind]:
        value = values.pop(name)
        if char == "s":
            data = value.encode() if isinstance(value, str) else value
            if len(data) >= count:
                raise ValueError(f"{kind}.{name}: {value!r} needs {len(data) + 1} bytes of {count}")
            flat.append(data)
        elif count > 1:
            flat.extend(value)
        else:
            flat.append(value)
    if values:
        raise KeyError(f"{kind} has no {sorted(values)}")
    return struct.pack(_format(kind), *flat)


def unpack(kind, data, at=0):
    """Struct `kind` at offset `at` of `data` as a dict; text without its padding."""
    flat = list(struct.unpack_from(_format(kind), data, at))
    out = {}
    for name, char, count in STRUCTS[kind]:
        if char == "s":
            out[name] = flat.pop(0).split(b"\0", 1)[0].decode("utf-8", "replace")
        elif count > 1:
            out[name] = [flat.pop(0) for _ in range(count)]
        else:
            out[name] = flat.pop(0)
    return out
