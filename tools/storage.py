# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows storage`: what a running system says of its drive, and erasing a drive's image so that
the next system to start formats it.

The running system is asked over HTTP (/storage.json of the key-value server).
"""

import fcntl
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

CHUNK_BYTES = 4 << 20
UNIT_BYTES = 512000
ASK_SECONDS = 20
ASK_AGAIN_SECONDS = 0.1
ZONES_TOLD = 256
WARNINGS = ["spare space is low", "temperature", "reliability is degraded", "read only",
            "volatile memory backup failed", "persistent memory is read only"]


class StorageError(Exception):
    """What was asked for cannot be done; str() is for the user."""


def _size(count):
    """Bytes for people."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"


def fetch_all(port, asks=10):
    """The account once it has what the drive is asked for in the background: health and zones."""
    for _ in range(asks):
        told = fetch(port)
        if told["health"] and len(told["zones"]) >= min(told["drive"]["zones"], ZONES_TOLD):
            break
        time.sleep(ASK_AGAIN_SECONDS)
    return told


def fetch(port):
    """The running system's account."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/storage.json",
                                    timeout=ASK_SECONDS) as answer:
            return json.load(answer)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise StorageError(f"no system answers on port {port}: {error}; start one with"
                           " ./hallows run, or name its port with --http-port") from error


def _health(health):
    if health is None:
        return ["  health     not told yet; ask again"]
    bits = [text for bit, text in enumerate(WARNINGS) if health["critical_warning"] >> bit & 1]
    return [
        f"  health     {', '.join(bits) or 'good'}; {health['temperature_kelvin'] - 273} C,"
        f" {health['used_percent']} % of its life used, {health['spare_percent']} % spare",
        f"  lifetime   {_size(health['written_units'] * UNIT_BYTES)} written,"
        f" {_size(health['read_units'] * UNIT_BYTES)} read, {health['unsafe_shutdowns']} unsafe"
        f" shutdowns, {health['media_errors']} media errors,"
        f" {health['error_log_entries']} entries in the error log",
    ]


def _contracts(told):
    """Contracts, with what each has had so far."""
    promises = told["promises"]
    if promises is None:
        return ["  contracts  none: the log has the whole drive"]
    lines = [f"  contracts  {promises['promised_ns'] / 1e6:.0f} of {promises['most_ns'] / 1e6:.0f} ms of"
             f" drive time a second promised; the drive works on {promises['parallel']} requests at a"
             f" time, {promises['read_ns'] / 1000:.0f} us a read, {promises['write_ns'] / 1000:.0f} us"
             " a write",
             f"  {'contract':20} {'class':10} {'iops':>10} {'MB/s':>10} {'capacity':>10}"
             f" {'requests':>10} {'moved':>10}"]
    for one in told["contracts"]:
        lines.append(f"  {one['name']:20} {one['class']:10} {one['iops']:>10}"
                     f" {one['bytes_per_second'] / 1e6:>10.0f} {_size(one['capacity_bytes']):>10}"
                     f" {one['requests']:>10} {_size(one['bytes']):>10}")
    return lines


def _zones(told, block_bytes):
    """Zones by state; each that is neither empty nor full with its write pointer."""
    zones = told["zones"]
    if not zones:
        return []
    states = {}
    for zone in zones:
        states[zone["state"]] = states.get(zone["state"], 0) + 1
    lines = ["  zones      " + ", ".join(f"{count} {state}" for state, count in states.items())]
    lines += [f"  zone {number:<6} {zone['state']}, {_size(zone['written'] * block_bytes)} of"
              f" {_size(zone['capacity'] * block_bytes)} written"
              for number, zone in enumerate(zones) if zone["state"] not in ("empty", "full")]
    return lines


def _wear(told):
    """How often extents were begun (a zone is reset each time but the first), and how much more was
    written than given: headers, padding, superblocks, what zones finished early leave unused."""
    space = told["space"]
    counts = {}
    for uses in space["uses"]:
        if uses >= 0:
            counts[uses] = counts.get(uses, 0) + 1
    kinds = sorted(counts.items())
    shown = [f"{count} begun {uses} times" for uses, count in kinds[:3] + kinds[3:][-3:]]
    name = "zones" if told["drive"]["zones"] else "extents"
    lines = [f"  wear       {space['uses_least']} to {space['uses_most']} times: {name} "
             + ", ".join(shown)]
    if told["drive"]["zones"]:
        resets = sum(max(0, uses - 1) for uses in space["uses"])
        lines[0] += f"; {resets} resets, {space['active']} zones active"
    if space["append_bytes"]:
        extra = space["frame_bytes"] + space["super_bytes"] + space["wasted_bytes"]
        lines.append(f"  amplified  x{extra / space['append_bytes']:.3f} since start:"
                     f" {_size(space['append_bytes'])} given, {_size(space['frame_bytes'])} in frames,"
                     f" {_size(space['super_bytes'])} in superblocks,"
                     f" {_size(space['wasted_bytes'])} left unused")
    return lines


def describe(told):
    """The account as lines of text."""
    drive, space, written = told["drive"], told["space"], told["written"]
    kind = (f"zoned, {drive['zones']} zones of {_size(drive['zone_blocks'] * drive['block_bytes'])},"
            f" at most {drive['max_active_zones'] or 'any number'} active"
            if drive["zones"] else "plain")
    lines = [
        f"{drive['model']}  serial {drive['serial']}  firmware {drive['firmware']}"
        f"  NVMe {drive['nvme_version']}  {drive['state']}",
        f"  namespace {drive['namespace']}  {_size(drive['blocks'] * drive['block_bytes'])} in blocks"
        f" of {drive['block_bytes']} bytes, {kind}",
        *_health(told["health"]),
        f"  faults     {drive['errors']} errors, {drive['timeouts']} timeouts, {drive['resets']}"
        f" resets, {drive['violations']} violations of the protocol",
        f"  extents    {space['extents']} of {_size(space['extent_bytes'])}: {space['free']} free,"
        f" {space['promised']} promised, {space['dead']} dead; start {space['epoch']}",
        *_wear(told),
    ]
    if written["append_bytes"]:
        lines.append(f"  writes     {_size(written['append_bytes'])} appended,"
                     f" {_size(written['frame_bytes'])} written"
                     f" (x{written['frame_bytes'] / written['append_bytes']:.2f}, padding"
                     f" {_size(written['padding_bytes'])}), {written['retries']} retries")
    lines += _contracts(told)
    lines += _zones(told, drive["block_bytes"])
    lines.append(f"  {'log':20} {'state':10} {'used':>10} {'capacity':>10} {'free':>10}")
    for log in told["logs"]:
        lines.append(f"  {log['name']:20} {log['state']:10} {_size(log['used_bytes']):>10}"
                     f" {_size(log['capacity_bytes']):>10} {_size(log['free_bytes']):>10}")
    return lines


def erase(path, progress=sys.stderr):
    """Overwrites the whole image with zeroes; a system formats an empty drive when it starts."""
    with open(path, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(f"{path} is in use") from error
        size = file.seek(0, 2)
        file.seek(0)
        for at in range(0, size, CHUNK_BYTES):
            file.write(bytes(min(CHUNK_BYTES, size - at)))
            print(f"\r{path}: {100 * min(at + CHUNK_BYTES, size) // size} %", end="",
                  file=progress, flush=True)
    print(file=progress)


def confirm(path, read=input):
    """Whether the user means it."""
    print(f"Everything on {path} ({_size(path.stat().st_size)}) will be lost.")
    return read("Type the file's name to go on: ").strip() == path.name


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--http-port", type=int, default=8080, metavar="N",
                        help="where the running system serves its status page (8080)")
    parser.add_argument("--json", action="store_true", help="print what the system says as it is")
    parser.add_argument("--format", type=Path, metavar="IMAGE",
                        help="erase a drive's image, after asking; a system formats it at its start")
    parser.add_argument("--yes", action="store_true", help="with --format: do not ask")


def main(options):
    """The verb: returns the exit status."""
    if options.format:
        if not options.format.is_file():
            raise StorageError(f"{options.format} is no file")
        if not options.yes and not confirm(options.format):
            print("nothing was changed")
            return 1
        erase(options.format)
        return 0
    told = fetch_all(options.http_port)
    print(json.dumps(told, indent=2) if options.json else "\n".join(describe(told)))
    return 0
