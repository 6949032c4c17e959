# SPDX-License-Identifier: MIT OR Apache-2.0
"""[loglet.NAME] of system.toml: a loglet that a storage service hands to a cell. It becomes a ring of
that name between the two and settings of the service (services/storage/storage.c reads them).
"""

import contracts
import layout
from toml_fields import Field
from toml_source import nearest

RIGHTS = {"read": 1, "append": 2, "trim": 4, "account": 8}
OWN_IOPS = 100  # that the service promises itself (STORAGE_OWN_IOPS)
MIB = 1 << 20

LOGLET_FIELDS = {
    "client": Field("name"),
    "server": Field("name"),
    "of": Field("name", ""),
    "rights": Field("names", ["read", "append", "trim"], high=len(RIGHTS)),
    "capacity": Field("size", 0, low=0, high=1 << 50),
    "iops": contracts.CONTRACT_FIELDS["iops"],
    "mb_s": contracts.CONTRACT_FIELDS["mb_s"],
    "class": contracts.CONTRACT_FIELDS["class"],
    "entries": Field("int", 64, low=layout.RING_ENTRIES_MIN, high=layout.RING_ENTRIES_MAX,
                     power_of_two=True),
    "pool": Field("size", MIB, low=64 << 10, high=256 * MIB, multiple=layout.PAGE_BYTES),
}


def rings(loglets):
    """The rings that they are, as [ring.NAME] would describe them."""
    return {
        name: {
            "client": one["client"],
            "server": one["server"],
            "entries": one["entries"],
            "buffers": None if one["pool"] is None else one["pool"] // layout.PAGE_BYTES,
            "buffer_bytes": layout.PAGE_BYTES,
            "kind": layout.SYSTEM_RING_LOG,
        }
        for name, one in loglets.items()
    }


def _check_same(loglets, reader, name):
    """A loglet that is another one's log, seen with fewer rights, say."""
    one, other = loglets[name], loglets.get(loglets[name]["of"])
    if other is None or other["of"]:
        reader.add(("loglet", name, "of"),
                   f"loglet '{name}' is the log of '{one['of']}', which is no loglet with a log of its"
                   f" own{nearest(one['of'], loglets)}", "name one that has no 'of'")
    elif other["server"] != one["server"]:
        reader.add(("loglet", name, "server"),
                   f"loglet '{name}' is the log of '{one['of']}', whose server is another",
                   f"write server = \"{other['server']}\"")
    elif one["capacity"] or one["iops"] or one["mb_s"]:
        reader.add(("loglet", name),
                   f"loglet '{name}' is the log of '{one['of']}', which has the contract",
                   "remove capacity, iops and mb_s here")


def check(system, loglets, reader):
    """Names, rights, servers with drives, and contracts that fit what is declared of the drive."""
    drives = {}
    for cell in system.cells:
        for device in cell.devices or []:
            if system.devices.get(device, {}).get("kind") == "nvme":
                drives.setdefault(cell.name, system.devices[device])
    promised = {}
    for name, one in loglets.items():
        path = ("loglet", name)
        if None in one.values():
            continue
        if name in system.rings:
            reader.add(path, f"'{name}' is a ring of this system as well", "take another name")
        for right in one["rights"]:
            if right not in RIGHTS:
                reader.add(path + ("rights",), f"'{right}' is no right{nearest(right, RIGHTS)}",
                           f"use some of: {', '.join(RIGHTS)}", right)
        if one["server"] not in drives:
            reader.add(path + ("server",),
                       f"loglet '{name}' has the server '{one['server']}', which drives no drive",
                       'name a cell that has a device of kind "nvme"')
            continue
        if one["of"]:
            _check_same(loglets, reader, name)
            continue
        if not one["capacity"]:
            reader.add(path, f"loglet '{name}' has no capacity", 'write capacity = "64M", say')
        drive = drives[one["server"]]
        if None in drive.values() or not drive["parallel"]:
            continue
        figures = contracts.drive_settings(drive)
        can = figures["drive.units"] * contracts.SECOND_NS // 100 * contracts.PROMISED_PERCENT
        before = promised.setdefault(one["server"], contracts.promise_ns(
            {"iops": OWN_IOPS, "mb_s": 0}, figures))
        wanted = contracts.promise_ns(one, figures)
        if wanted > can - before:
            reader.add(path, f"loglet '{name}' needs {wanted // 1_000_000} ms of drive time a second,"
                       f" {(can - before) // 1_000_000} of {can // 1_000_000} are left",
                       "lower iops or mb_s, or those of the loglets before it")
            continue
        promised[one["server"]] = before + wanted


def settings(cell, system):
    """The settings that tell a service of its loglets and its drive."""
    mine = {name: one for name, one in system.loglets.items() if one["server"] == cell.name}
    if not mine:
        return {}
    out = {"contracts": " ".join(mine)}
    for name, one in mine.items():
        out[f"loglet.{name}.rights"] = sum(RIGHTS[right] for right in one["rights"])
        if one["of"]:
            out[f"loglet.{name}.of"] = one["of"]
        for key in ("iops", "mb_s", "class", "capacity"):
            if one[key] != LOGLET_FIELDS[key].default:
                out[f"contract.{name}.{key}"] = one[key]
    for name in cell.devices:
        if system.devices[name]["kind"] == "nvme":
            out |= contracts.drive_settings(system.devices[name])
            break
    return {key: str(value) for key, value in out.items()}
