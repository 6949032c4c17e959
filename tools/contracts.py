# SPDX-License-Identifier: MIT OR Apache-2.0
"""Contracts of logs and tenants of a drive: [contract.NAME] of a cell's manifest, what system.toml
declares of the drive, and whether the one fits the other. They become settings of the cell, as
lib/block/contract.h reads them; the arithmetic is that of lib/block/share.c.
"""

from toml_fields import Field

TENANTS_MAX = 64
PROMISED_PERCENT = 90
SECOND_NS = 1_000_000_000

CONTRACT_FIELDS = {
    "iops": Field("int", 0, low=0, high=1 << 31),
    "mb_s": Field("int", 0, low=0, high=1 << 20),
    "class": Field("choice", "normal", choices=("normal", "latency")),
    "capacity": Field("size", 0, low=0, high=1 << 50),
    "whole": Field("bool", False),
}
# Of a device; all or none.
DRIVE_FIELDS = {
    "parallel": Field("int", 0, low=2, high=1024),
    "read_us": Field("int", 0, low=1, high=1_000_000),
    "write_us": Field("int", 0, low=1, high=1_000_000),
    "read_mb_s": Field("int", 0, low=1, high=1 << 20),
    "write_mb_s": Field("int", 0, low=1, high=1 << 20),
}


def drive_settings(device):
    """What is declared of a drive as settings; {} where nothing is."""
    if not device["parallel"]:
        return {}
    units = device["parallel"]
    return {
        "drive.units": units,
        "drive.read_ns": device["read_us"] * 1000,
        "drive.write_ns": device["write_us"] * 1000,
        # Each of `units` carries its part of the whole rate.
        "drive.read_byte_ps": max(1, units * 1_000_000 // device["read_mb_s"]),
        "drive.write_byte_ps": max(1, units * 1_000_000 // device["write_mb_s"]),
    }


def promise_ns(contract, drive):
    """Drive time a second that a contract needs."""
    request_ns = max(drive["drive.read_ns"], drive["drive.write_ns"])
    return (contract["iops"] * request_ns
            + contract["mb_s"] * 1_000_000 // 1000 * drive["drive.write_byte_ps"])


def check_device(reader, name, device):
    """A drive's figures stand together, and belong to a drive."""
    given = [key for key in DRIVE_FIELDS if device[key]]
    if given and (device["kind"] != "nvme" or len(given) != len(DRIVE_FIELDS)):
        reader.add(
            ("device", name, given[0]),
            f"device '{name}' declares {', '.join(given)}",
            f"a drive (kind = \"nvme\") declares all of {', '.join(DRIVE_FIELDS)}, or none and is"
            " measured when its cell starts",
        )


def check_cell(cell, devices, reader):
    """Whether the cell's contracts fit what is declared of its drive."""
    drives = [devices[name] for name in cell.devices or [] if name in devices
              and devices[name]["kind"] == "nvme"]
    values = [contract[key] for contract in cell.contracts.values() for key in contract]
    if not cell.contracts or None in values:
        return
    if not drives:
        reader.problems.add(cell.source, ("contract",), f"cell '{cell.name}' has contracts, but no"
                            " drive", 'give it a device of kind "nvme"')
        return
    if None in drives[0].values() or not drives[0]["parallel"]:
        return
    drive = drive_settings(drives[0])
    can = drive["drive.units"] * SECOND_NS // 100 * PROMISED_PERCENT
    promised = 0
    for name, contract in cell.contracts.items():
        wanted = promise_ns(contract, drive)
        if wanted > can - promised:
            reader.problems.add(
                cell.source, ("contract", name),
                f"contract '{name}' needs {wanted // 1_000_000} ms of drive time a second,"
                f" {(can - promised) // 1_000_000} of {can // 1_000_000} are left",
                "lower iops or mb_s, or those of the contracts before it")
            return
        promised += wanted


def settings(cell, devices):
    """The settings that tell the cell of its contracts and its drive."""
    if not cell.contracts:
        return {}
    out = {"contracts": " ".join(cell.contracts)}
    for name, contract in cell.contracts.items():
        for key, value in contract.items():
            if value != CONTRACT_FIELDS[key].default:
                out[f"contract.{name}.{key}"] = "true" if value is True else value
    for name in cell.devices:
        if devices[name]["kind"] == "nvme":
            out |= drive_settings(devices[name])
            break
    return {key: str(value) for key, value in out.items()}
