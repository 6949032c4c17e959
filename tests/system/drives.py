# SPDX-License-Identifier: MIT OR Apache-2.0
"""Machines with drives of any kind, and systems of one test cell that owns them."""

from pathlib import Path

import build
import vm

SYSTEM = """# SPDX-License-Identifier: MIT OR Apache-2.0
[system]
name = "test-drives"
memory = "256M"
cells = ["pci", {cells}]

{devices}
"""
DEVICE = '[device.nvme0]\nkind = "nvme"\nirqs = 4\n'
CELL = """# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "{program}"
dma = "8M"
devices = ["{device}"]

start_ready = {ready}
{own}

[restart]
policy = "never"

{rest}
"""


def bundle_of(folder, program, rest="", devices=DEVICE, more=(), own=""):
    """The bundle of a system with one cell that drives nvme0; `rest` is the end of its manifest, `own` more of its [cell]. With
    `more` devices each has a cell of the same program that starts after it."""
    folder = Path(folder)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    pci = build.ROOT / "systems/cells/pci.toml"
    (folder / "cells/pci.toml").write_text(pci.read_text(encoding="utf-8"), encoding="utf-8")
    cells = {program: ("nvme0", rest)} | {f"{program}-{device}": (device, "") for device in more}
    for cell, (device, end) in cells.items():
        text = CELL.format(program=program, device=device, rest=end, own=own,
                           ready="true" if more and device == "nvme0" else "false")
        (folder / f"cells/{cell}.toml").write_text(text, encoding="utf-8")
    names = ", ".join(f'"{cell}"' for cell in cells)
    (folder / "system.toml").write_text(SYSTEM.format(cells=names, devices=devices),
                                        encoding="utf-8")
    return build.make_bundle(folder / "system.toml", output=folder / "bundle")[1]


def namespaces(folder, controller, *options, size=64 << 20, index=0):
    """QEMU's arguments for controller `index` with one namespace for each of `options`."""
    args = ["-device", f"nvme,id=nvme{index},serial=hallows{index}{controller}"]
    for number, option in enumerate(options):
        name = f"{index}-{number}"
        path = Path(folder) / f"namespace{name}.img"
        vm.make_disk(path, size)
        args += ["-drive", f"if=none,id=ns{name},format=raw,file={path}"]
        args += ["-device", f"nvme-ns,drive=ns{name},bus=nvme{index}{option}"]
    return args


def run(bundle, extra, until, seconds=180, **options):
    """Boots, waits for the line `until`, returns the console."""
    machine = vm.Machine(kernel=build.KERNEL, bundle=bundle, nic=None, memory_mib=256, extra=extra,
                         **options)
    with vm.Vm(machine) as running:
        running.wait_for(until, seconds, unless=f"{vm.STOPPED}|FAILED")
        return running.serial
