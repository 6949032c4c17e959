# SPDX-License-Identifier: MIT OR Apache-2.0
"""Reads system.toml with its cell manifests, checks the whole system, and compiles it into the
bytes of include/hallows/system.h. docs/manifest.md explains every key to its writer.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import contracts
import layout
import loglets
import partitions
import workers
from toml_fields import Field, Reader, show_size
from toml_source import ManifestError, Problems, Source, nearest

# What the system needs beside the cells' own memory: kernel, supervisor, page tables.
KERNEL_BYTES = 16 << 20
SUPERVISOR_BYTES = 16 << 20
TABLES_SHARE = 128  # one byte in so many goes to page tables and segments

SYSTEM_FIELDS = {
    "name": Field("name"),
    "cells": Field("names", high=layout.SYSTEM_CELLS_MAX),
    "memory": Field("size", 512 << 20, low=64 << 20, high=1 << 40, multiple=1 << 20),
}
DEVICE_FIELDS = {
    "kind": Field("choice", choices=("net", "nvme")),
    "index": Field("int", 0, low=0, high=255),
    "vendor": Field("int", 0, low=0, high=0xFFFF),
    "device": Field("int", 0, low=0, high=0xFFFF),
    "irqs": Field("int", 1, low=1, high=layout.CELL_IRQS_MAX),
    "vfs": Field("int", 0, low=0, high=layout.SYSTEM_VIRTUAL_FUNCTIONS_MAX),
    "of": Field("name", ""),
    **contracts.DRIVE_FIELDS,
}
RING_FIELDS = {
    "client": Field("name"),
    "server": Field("name"),
    "entries": Field(
        "int", 256, low=layout.RING_ENTRIES_MIN, high=layout.RING_ENTRIES_MAX, power_of_two=True
    ),
    "buffers": Field("int", 512, low=1, high=1 << 16),
    "buffer_bytes": Field("int", 2048, low=64, high=layout.PAGE_BYTES, power_of_two=True),
}
CELL_FIELDS = {
    "program": Field("name", longest=39),
    "heap": Field("size", 2 << 20, low=0, high=1 << 38, multiple=layout.SEGMENT_BYTES),
    "dma": Field("size", 0, low=0, high=1 << 29, multiple=layout.SEGMENT_BYTES),
    "stack": Field("size", 64 << 10, low=16 << 10, high=1 << 20, multiple=layout.PAGE_BYTES),
    "priority": Field("int", 100, low=1, high=254),
    "cpu": Field("int", 0, low=0, high=layout.SYSTEM_CPUS_MAX - 1),
    "budget_us": Field("int", 0, low=0, high=layout.SYSTEM_PERIOD_MAX_US),
    "period_us": Field("int", 10000, low=layout.SYSTEM_BUDGET_MIN_US,
                       high=layout.SYSTEM_PERIOD_MAX_US),
    "devices": Field("names", [], high=layout.CELL_DEVICES_MAX),
    "pci": Field("bool", False),
    "start_ready": Field("bool", True),
    "manage": Field("bool", False),
    **partitions.CELL_FIELDS,
    **workers.CELL_FIELDS,
}
RESTART_FIELDS = {
    "policy": Field("choice", "on-fault", choices=("on-fault", "never")),
    "max": Field("int", 5, low=0, high=1000),
    "window_s": Field("int", 60, low=1, high=86400),
}

CONFIG_KEY = re.compile(r"[a-z][a-z0-9_.]*\Z")


@dataclass
class Cell:
    """A checked cell manifest."""

    name: str
    source: Source
    program: str
    heap: int
    dma: int
    stack: int
    priority: int
    cpu: int
    budget_us: int
    period_us: int
    devices: list
    pci: bool
    start_ready: bool
    manage: bool
    partition: str
    workers: list
    restart: dict
    contracts: dict
    config: dict


@dataclass
class System:
    """A checked system: what compile_system writes."""

    source: Source
    name: str
    memory: int
    cells: list = field(default_factory=list)
    devices: dict = field(default_factory=dict)
    rings: dict = field(default_factory=dict)  # those of loglets as well
    loglets: dict = field(default_factory=dict)
    windows: dict = field(default_factory=dict)  # of each CPU: [(partition, us)]

    def cell_index(self, name):
        """Position of the cell of that name."""
        return [cell.name for cell in self.cells].index(name)


def _config(reader):
    """The cell's own settings as text; any scalar is allowed, the cell judges its meaning."""
    out = {}
    for key, value in reader.subtable(reader.source.data, (), "config").items():
        path = ("config", key)
        if not CONFIG_KEY.match(key):
            reader.add(path, f"'{key}' is no config key", "use a-z, 0-9, '_' and '.'")
        elif isinstance(value, bool):
            out[key] = "true" if value else "false"
        elif isinstance(value, (int, str)):
            if "\0" in str(value):
                reader.add(path, f"'{key}' holds a NUL", "remove it")
            out[key] = str(value)
        else:
            reader.add(path, f"'{key}' is neither text, number nor boolean", f'write {key} = "..."')
    return out


def _check_budget(reader, values):
    budget, period = values["budget_us"], values["period_us"]
    if 0 < budget < layout.SYSTEM_BUDGET_MIN_US:
        reader.add(("cell", "budget_us"), f"'budget_us' is {budget}: less time than it takes to hand"
                   " it out", f"write at least {layout.SYSTEM_BUDGET_MIN_US}, or 0 for no budget")
    elif budget > period:
        reader.add(("cell", "budget_us"), f"'budget_us' is {budget}, more than the period of {period}",
                   "lower budget_us or raise period_us")


def _load_cell(name, system, reader, root):
    """Reads the manifest of one cell: cells/NAME.toml beside system.toml, else ../cells."""
    folder = system.source.path.parent
    places = [folder / "cells" / f"{name}.toml", folder.parent / "cells" / f"{name}.toml"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        shown = " or ".join(str(_shown(place, root)) for place in places)
        others = [p.stem for place in places if place.parent.is_dir() for p in place.parent.iterdir()]
        reader.add(
            ("system", "cells"),
            f"cell '{name}' has no manifest{nearest(name, others)}",
            f"create {shown}",
            name,
        )
        return None
    source = Source(found, _shown(found, root))
    cell_reader = Reader(source, reader.problems)
    cell_reader.unknown((), source.data, ("cell", "restart", "contract", "config"))
    cell_table = cell_reader.subtable(source.data, (), "cell")
    values = cell_reader.fields(cell_table, ("cell",), CELL_FIELDS)
    _check_budget(cell_reader, values)
    restart_table = cell_reader.subtable(source.data, (), "restart")
    restart = cell_reader.fields(restart_table, ("restart",), RESTART_FIELDS)
    promised = _load_named(cell_reader, "contract", contracts.CONTRACT_FIELDS,
                           contracts.TENANTS_MAX)
    return Cell(name=name, source=source, restart=restart, contracts=promised,
                config=_config(cell_reader), **values)


def _shown(path, root):
    try:
        return path.resolve().relative_to(root)
    except ValueError:
        return path


def _load_named(reader, key, fields, highest):
    """The tables [KEY.NAME], checked one by one."""
    out = {}
    for name, table in reader.subtable(reader.source.data, (), key).items():
        path = (key, name)
        if not isinstance(table, dict):
            reader.add(path, f"'{key}.{name}' is not a table", f"write [{key}.{name}]")
            continue
        reader.check_name(path, name)
        out[name] = reader.fields(table, path, fields)
    if len(out) > highest:
        reader.add((key,), f"{len(out)} of [{key}.*], more than {highest}", "use fewer")
    return out


def _check_devices(system, reader):
    """Every device has exactly one cell, and no two devices are the same function."""
    owner = {}
    for cell in system.cells:
        for name in cell.devices or []:
            if name not in system.devices:
                reader.problems.add(
                    cell.source,
                    ("cell", "devices"),
                    f"device '{name}' is not in {system.source.name}{nearest(name, system.devices)}",
                    f"add [device.{name}] there or correct the name",
                    name,
                )
            elif name in owner:
                reader.problems.add(
                    cell.source,
                    ("cell", "devices"),
                    f"device '{name}' already belongs to cell '{owner[name]}'",
                    "a device has one owner; use a ring to that cell, or another device",
                    name,
                )
            else:
                owner[name] = cell.name
    same = {}
    for name, device in system.devices.items():
        if name not in owner:
            reader.add(
                ("device", name),
                f"device '{name}' belongs to no cell",
                f'add it to the devices of a cell, or remove [device.{name}]',
            )
        if None in device.values():
            continue
        if device["of"]:
            _check_virtual(system, reader, name)
        identity = (device["kind"], device["vendor"], device["device"], device["index"],
                    device["of"])
        if identity in same:
            reader.add(
                ("device", name, "index"),
                f"devices '{same[identity]}' and '{name}' name the same PCI function",
                "give one of them another index, vendor or device",
            )
        same.setdefault(identity, name)


def _check_virtual(system, reader, name):
    """A virtual function has a physical one that makes it and whose cell starts before."""
    device, path = system.devices[name], ("device", name)
    parent = system.devices.get(device["of"])
    if parent is None:
        reader.add(
            path + ("of",),
            f"'{name}' is a virtual function of '{device['of']}', which is no device of this system"
            f"{nearest(device['of'], system.devices)}",
            "name a device that has vfs",
        )
        return
    if device["vfs"] or parent["of"] or parent["kind"] != device["kind"]:
        reader.add(
            path + ("of",),
            f"'{name}' cannot be a virtual function of '{device['of']}'",
            "both are of the same kind, only the physical one has vfs, only the other has of",
        )
    elif parent["vfs"] is not None and device["index"] >= parent["vfs"]:
        reader.add(
            path + ("of",),
            f"'{device['of']}' has {parent['vfs']} virtual functions, no number {device['index']}",
            f"write vfs = {device['index'] + 1} in [device.{device['of']}] or a lower index here",
        )
    owners = [cell.name for cell in system.cells for own in cell.devices or []
              if own in (name, device["of"])]
    last = [cell.name for cell in system.cells if device["of"] in (cell.devices or [])]
    if len(set(owners)) == 2 and owners[0] not in last:
        reader.add(
            ("system", "cells"),
            f"cell '{owners[0]}' drives a virtual function of '{device['of']}', but starts before "
            f"the cell '{owners[1]}' that drives that",
            f"put '{owners[1]}' before it in cells",
            owners[0],
        )


def _check_rings(system, reader):
    """Both ends exist and differ, and no cell has too many."""
    names = [cell.name for cell in system.cells]
    ends = {}
    for name, ring in system.rings.items():
        for role in ("client", "server"):
            peer = ring[role]
            if peer is None:
                continue
            ends[peer] = ends.get(peer, 0) + 1
            if peer not in names:
                reader.add(
                    ("ring", name, role),
                    f"ring '{name}' has the {role} '{peer}', which is no cell of this system"
                    f"{nearest(peer, names)}",
                    f"use one of: {', '.join(names)}",
                )
        if ring["client"] is not None and ring["client"] == ring["server"]:
            reader.add(
                ("ring", name, "server"),
                f"ring '{name}' has the same cell at both ends",
                "name two different cells",
            )
    for cell, count in ends.items():
        if count > layout.CELL_RINGS_MAX:
            reader.add(
                ("ring",),
                f"cell '{cell}' has {count} rings, more than {layout.CELL_RINGS_MAX}",
                "split the cell",
            )


def _check_pci(system, reader):
    """Devices need a PCI service, which starts before their drivers."""
    services = [index for index, cell in enumerate(system.cells) if cell.pci]
    if len(services) > 1:
        cell = system.cells[services[1]]
        reader.problems.add(
            cell.source,
            ("cell", "pci"),
            f"cell '{system.cells[services[0]].name}' is the PCI service already",
            "set pci = true in one cell only",
        )
    for index, cell in enumerate(system.cells):
        if cell.devices and (not services or index < services[0]):
            reader.add(
                ("system", "cells"),
                f"cell '{cell.name}' drives a device, but no PCI service starts before it",
                'put a cell with pci = true (such as "pci") before it in cells',
                cell.name,
            )
    if services and not system.cells[services[0]].start_ready:
        reader.problems.add(
            system.cells[services[0]].source,
            ("cell", "start_ready"),
            "the PCI service must be ready before drivers start",
            "write start_ready = true",
        )


def memory_needed(system, program_bytes=None):
    """Upper estimate in bytes of what the system takes; program_bytes maps programs to sizes."""
    total = KERNEL_BYTES + SUPERVISOR_BYTES
    for cell in system.cells:
        program = (program_bytes or {}).get(cell.program, layout.SEGMENT_BYTES)
        total += cell.heap + cell.dma + cell.stack + program + layout.SEGMENT_BYTES
    for ring in system.rings.values():
        shared = ring["buffers"] * ring["buffer_bytes"] + 2 * 64 * ring["entries"]
        total += -(-shared // layout.SEGMENT_BYTES) * layout.SEGMENT_BYTES
    return total + total // TABLES_SHARE


def _check_memory(system, reader):
    for name, ring in system.rings.items():
        if None in ring.values():
            return
    if any(None in (cell.heap, cell.dma, cell.stack) for cell in system.cells):
        return
    needed = memory_needed(system)
    if system.memory is not None and needed > system.memory:
        largest = max(system.cells, key=lambda cell: cell.heap + cell.dma)
        up = -(-needed // (1 << 20)) << 20
        reader.add(
            ("system", "memory"),
            f"the cells need {show_size(up)}, more than memory = {show_size(system.memory)}"
            f" (largest: '{largest.name}' with {show_size(largest.heap)} heap"
            f" and {show_size(largest.dma)} dma)",
            f'raise memory to "{show_size(up)}" or make heaps smaller',
        )


def load_system(path, root=Path.cwd(), settings=()):
    """Reads and checks a whole system. `settings` are (cell, key, value) that override config.

    Raises ManifestError with every mistake found.
    """
    source = Source(Path(path), _shown(Path(path), root))
    problems = Problems()
    reader = Reader(source, problems)
    reader.unknown((), source.data, ("system", "device", "ring", "loglet", "schedule"))
    top = reader.fields(reader.subtable(source.data, (), "system"), ("system",), SYSTEM_FIELDS)
    system = System(source=source, name=top["name"], memory=top["memory"])
    system.devices = _load_named(reader, "device", DEVICE_FIELDS, layout.SYSTEM_DEVICES_MAX)
    system.rings = _load_named(reader, "ring", RING_FIELDS, layout.SYSTEM_RINGS_MAX)
    system.loglets = _load_named(reader, "loglet", loglets.LOGLET_FIELDS, layout.SYSTEM_RINGS_MAX)
    schedules = _load_named(reader, "schedule", partitions.SCHEDULE_FIELDS, layout.SYSTEM_CPUS_MAX)
    system.windows = partitions.read(schedules, reader)
    if top["cells"] == []:
        reader.add(("system", "cells"), "the system has no cell", 'write cells = ["pci", ...]')
    for name in top["cells"] or []:
        try:
            cell = _load_cell(name, system, reader, root)
        except ManifestError as error:
            problems.lines.extend(error.problems)
            continue
        if cell:
            system.cells.append(cell)
    if top["cells"] and len(system.cells) == len(top["cells"]):
        _check_devices(system, reader)
        for name, device in system.devices.items():
            contracts.check_device(reader, name, device)
        for cell in system.cells:
            contracts.check_cell(cell, system.devices, reader)
        loglets.check(system, system.loglets, reader)
        system.rings |= loglets.rings(system.loglets)
        partitions.check(system, schedules, reader)
        workers.check(system, problems)
        _check_rings(system, reader)
        _check_pci(system, reader)
        _check_memory(system, reader)
    problems.stop_if_any()
    _apply_settings(system, settings)
    return system


def _apply_settings(system, settings):
    names = [cell.name for cell in system.cells]
    for cell, key, value in settings:
        if cell not in names:
            raise ManifestError(
                [f"--set {cell}.{key}: no cell '{cell}'{nearest(cell, names)}; fix: use one of: "
                 f"{', '.join(names)}"]
            )
        if not CONFIG_KEY.match(key) or "\0" in value:
            raise ManifestError([f"--set {cell}.{key}: not a config key; fix: use a-z, 0-9, '_'"])
        system.cells[system.cell_index(cell)].config[key] = value


def _pack_cell(system, cell, config_offset, config):
    devices = [list(system.devices).index(name) for name in cell.devices]
    flags = (
        (layout.CELL_FLAG_PCI if cell.pci else 0)
        | (layout.CELL_FLAG_START_READY if cell.start_ready else 0)
        | (layout.CELL_FLAG_MANAGE if cell.manage else 0)
    )
    on_fault = cell.restart["policy"] == "on-fault"
    return layout.pack(
        "system_cell",
        name=cell.name,
        program=cell.program,
        heap_bytes=cell.heap,
        dma_bytes=cell.dma,
        stack_bytes=cell.stack,
        priority=cell.priority,
        cpu=cell.cpu,
        budget_us=cell.budget_us,
        period_us=cell.period_us if cell.budget_us else 0,
        flags=flags,
        restart=layout.SYSTEM_RESTART_ON_FAULT if on_fault else layout.SYSTEM_RESTART_NEVER,
        restarts_max=cell.restart["max"],
        restart_window_s=cell.restart["window_s"],
        device_count=len(devices),
        devices=devices + [layout.SYSTEM_NONE] * (layout.CELL_DEVICES_MAX - len(devices)),
        config_offset=config_offset,
        config_bytes=len(config),
        domain=partitions.domain(system, cell.cpu, cell.partition),
        **workers.packed(cell),
    )


def compile_system(system):
    """The bytes of struct system_header and what follows it."""
    header_bytes = layout.size("system_header")
    cells_offset = header_bytes
    devices_offset = cells_offset + layout.size("system_cell") * len(system.cells)
    rings_offset = devices_offset + layout.size("system_device") * len(system.devices)
    windows_offset = rings_offset + layout.size("system_ring") * len(system.rings)
    windows = partitions.pack(system)
    config_offset = windows_offset + len(windows)

    cells, config = b"", b""
    for cell in system.cells:
        text = b"".join(f"{k}={v}".encode() + b"\0" for k, v in
                        (contracts.settings(cell, system.devices) | loglets.settings(cell, system)
                         | cell.config).items())
        cells += _pack_cell(system, cell, config_offset + len(config), text)
        config += text
    kinds = {"net": layout.SYSTEM_DEVICE_NET, "nvme": layout.SYSTEM_DEVICE_NVME}
    devices = b"".join(
        layout.pack(
            "system_device",
            name=name,
            kind=kinds[device["kind"]],
            pci_vendor=device["vendor"],
            pci_device=device["device"],
            index=device["index"],
            irq_count=device["irqs"],
            virtual_functions=device["vfs"],
            parent=list(system.devices).index(device["of"]) + 1 if device["of"] else 0,
        )
        for name, device in system.devices.items()
    )
    rings = b"".join(
        layout.pack(
            "system_ring",
            name=name,
            client_cell=system.cell_index(ring["client"]),
            server_cell=system.cell_index(ring["server"]),
            entries=ring["entries"],
            buffer_count=ring["buffers"],
            buffer_bytes=ring["buffer_bytes"],
            kind=ring.get("kind", layout.SYSTEM_RING_NET),
        )
        for name, ring in system.rings.items()
    )
    header = layout.pack(
        "system_header",
        magic=layout.SYSTEM_MAGIC,
        version=layout.SYSTEM_VERSION,
        total_bytes=config_offset + len(config),
        name=system.name,
        cell_count=len(system.cells),
        cells_offset=cells_offset,
        device_count=len(system.devices),
        devices_offset=devices_offset,
        ring_count=len(system.rings),
        rings_offset=rings_offset,
        window_count=len(windows) // layout.size("system_window"),
        windows_offset=windows_offset,
    )
    return header + cells + devices + rings + windows + config


def programs(system):
    """The programs that the system needs, the supervisor not counted, in order."""
    return list(dict.fromkeys(cell.program for cell in system.cells))


__all__ = [
    "ManifestError",
    "System",
    "compile_system",
    "load_system",
    "memory_needed",
    "programs",
    "show_size",
]
