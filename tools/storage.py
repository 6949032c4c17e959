# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows storage`: what a running system's cells say of their drives: controllers, namespaces,
zones, logs and contracts; and erasing namespaces' images, so that the next system to start formats
them.

The running system is asked over HTTP (/storage.json): the key-value server tells of its own drive,
and it and the cell apps/accounts pass on what the storage services tell that they have rings to.
"""

import fcntl
import json
import struct
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

CHUNK_BYTES = 4 << 20
UNIT_BYTES = 512000
SUPER_MAGIC = b"HALLOGSB"
SUPER_BYTES = 4096
SUPER_ALIGNMENT = 512
SEEN_BYTES = 16 << 20
ASK_SECONDS = 20
ASK_AGAIN_SECONDS = 0.1
ZONES_TOLD = 256
WARNINGS = ["spare space is low", "temperature", "reliability is degraded", "read only",
            "volatile memory backup failed", "persistent memory is read only"]
# Status codes of commands (NVM Express Base 4.6.1.2, status code type << 8 | status code).
ERRORS = {0x002: "invalid field in command", 0x004: "data transfer error", 0x006: "internal error",
          0x080: "block out of range", 0x081: "capacity exceeded", 0x1B9: "zone is full",
          0x1BC: "invalid write to a zone", 0x280: "write fault", 0x281: "unrecovered read error",
          0x285: "compare failure", 0x286: "access denied", 0x287: "deallocated block read"}


class StorageError(Exception):
    """What was asked for cannot be done; str() is for the user."""


def _size(count):
    """Bytes for people."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"


def fetch_all(port, asks=20):
    """The accounts once each has what its drive is asked for in the background: health, namespaces
    and zones."""
    for _ in range(asks):
        told = fetch(port)
        if told and all(_is_whole(one) for one in told):
            break
        time.sleep(ASK_AGAIN_SECONDS)
    return told


def _is_whole(account):
    drive = account["drive"]
    return bool(account["health"] and drive["answers"]
                and len(account["zones"]) >= min(drive["zones"], ZONES_TOLD))


def fetch(port):
    """The running system's accounts, one for each cell that drives a drive."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/storage.json",
                                    timeout=ASK_SECONDS) as answer:
            told = json.load(answer)
        return told["accounts"] + [json.loads(text) for text in told["told"]]
    except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError) as error:
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


def _errors(drive):
    """The newest entries of the drive's error log."""
    return [f"  error {one['number']:<5} {ERRORS.get(one['status'], 'an error')}"
            f" ({one['status']:#05x}), namespace {one['namespace']}, block {one['block']}, queue"
            f" {one['queue']}" for one in drive["error_log"]]


def _contracts(told):
    """Contracts, with what each has had so far."""
    promises = told["promises"]
    if promises is None:
        return ["  contracts  none: the logs have the whole drive"]
    lines = [f"  contracts  {promises['promised_ns'] / 1e6:.0f} of {promises['most_ns'] / 1e6:.0f} ms of"
             f" drive time a second promised; the drive works on {promises['parallel']} requests at a"
             f" time, {promises['read_ns'] / 1000:.0f} us a read, {promises['write_ns'] / 1000:.0f} us"
             " a write",
             f"  {'contract':20} {'log':20} {'class':8} {'iops':>8} {'MB/s':>8} {'capacity':>10}"
             f" {'requests':>10} {'moved':>10}"]
    for one in told["contracts"]:
        lines.append(f"  {one['name']:20} {one['log'] or '':20} {one['class']:8} {one['iops']:>8}"
                     f" {one['bytes_per_second'] / 1e6:>8.0f} {_size(one['capacity_bytes']):>10}"
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


def _namespaces(drive):
    """Every namespace of the controller; the account goes on with the one that the logs are in."""
    lines = []
    for one in drive["namespaces"]:
        line = f"  namespace {one['id']:<3}"
        if not one["known"]:
            lines.append(f"{line} not told yet; ask again")
        elif not one["usable"]:
            lines.append(f"{line} of a kind that this system does not use")
        else:
            size = one["block_bytes"]
            kind = (f"zoned, {one['blocks'] // one['zone_blocks']} zones of"
                    f" {_size(one['zone_blocks'] * size)}, at most"
                    f" {one['max_active_zones'] or 'any number'} active"
                    if one["zone_blocks"] else "plain")
            use = ("with the logs below" if one["id"] == drive["namespace"]
                   else "in use" if one["ports"] else "not in use")
            lines.append(f"{line} {_size(one['blocks'] * size)} in blocks of {size} bytes, {kind};"
                         f" {use}")
    return lines


def _logs(told):
    lines = [f"  {'log':20} {'state':10} {'used':>10} {'capacity':>10} {'free':>10} {'appended':>10}"
             f" {'written':>8} {'padding':>10} {'retries':>8}"]
    for log in told["logs"]:
        given = log["append_bytes"]
        times = f"x{log['frame_bytes'] / given:.2f}" if given else ""
        lines.append(f"  {log['name']:20} {log['state']:10} {_size(log['used_bytes']):>10}"
                     f" {_size(log['capacity_bytes']):>10} {_size(log['free_bytes']):>10}"
                     f" {_size(given):>10} {times:>8} {_size(log['padding_bytes']):>10}"
                     f" {log['retries']:>8}")
    return lines


def describe(told):
    """The accounts as lines of text."""
    return [line for one in told for line in _describe_one(one)]


def _describe_one(told):
    drive, space = told["drive"], told["space"]
    lines = [
        f"{told['cell']}: {drive['model']}  serial {drive['serial']}  firmware {drive['firmware']}"
        f"  NVMe {drive['nvme_version']}  {drive['state']}",
        *_health(told["health"]),
        f"  faults     {drive['errors']} errors, {drive['timeouts']} timeouts, {drive['resets']}"
        f" resets, {drive['violations']} violations of the protocol",
        *_errors(drive),
        *_namespaces(drive),
        f"  extents    {space['extents']} of {_size(space['extent_bytes'])}: {space['free']} free,"
        f" {space['promised']} promised, {space['dead']} dead; start {space['epoch']}",
        *_wear(told),
    ]
    lines += _contracts(told)
    lines += _zones(told, drive["block_bytes"])
    lines += _logs(told)
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


def contents(path):
    """What is on a namespace's image, in words: the logs of the newest superblock near its beginning
    (docs/storage-format.md), where plain drives keep theirs and zoned ones append them."""
    with open(path, "rb") as file:
        data = file.read(SEEN_BYTES)
    newest, at = None, data.find(SUPER_MAGIC)
    while at >= 0:
        block = data[at:at + SUPER_BYTES]
        if at % SUPER_ALIGNMENT == 0 and len(block) == SUPER_BYTES:
            number = struct.unpack_from("<Q", block, 16)[0]
            newest = max(newest or (0, block), (number, block))
        at = data.find(SUPER_MAGIC, at + 1)
    if newest is None:
        return "data that is not this system's" if any(data) else "nothing at its beginning"
    block = newest[1]
    logs = [block[at:at + 32].split(b"\0")[0].decode("ascii", "replace")
            for at in range(256, 256 + 16 * 128, 128) if any(block[at + 40:at + 44])]
    return f"logs (format {struct.unpack_from('<I', block, 8)[0]}): {', '.join(logs) or 'none'}"


def confirm(path, read=input):
    """Whether the user means it."""
    print(f"Everything on {path} ({_size(path.stat().st_size)}) will be lost. It holds"
          f" {contents(path)}.")
    try:
        return read("Type the file's name to go on: ").strip() == path.name
    except EOFError:
        return False


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--http-port", type=int, default=8080, metavar="N",
                        help="where the running system serves its status page (8080)")
    parser.add_argument("--json", action="store_true", help="print what the system says as it is")
    parser.add_argument("--format", type=Path, metavar="IMAGE", nargs="+",
                        help="erase namespaces' images, after asking for each; a system formats them"
                        " at its start")
    parser.add_argument("--yes", action="store_true", help="with --format: do not ask")


def _format(options):
    """Each image by itself: what was not confirmed is left as it is."""
    for path in options.format:
        if not path.is_file():
            raise StorageError(f"{path} is no file")
    kept = 0
    for path in options.format:
        if options.yes or confirm(path):
            erase(path)
        else:
            print(f"{path}: nothing was changed")
            kept += 1
    return 1 if kept else 0


def main(options):
    """The verb: returns the exit status."""
    if options.format:
        return _format(options)
    told = fetch_all(options.http_port)
    print(json.dumps(told, indent=2) if options.json else "\n".join(describe(told)))
    return 0
