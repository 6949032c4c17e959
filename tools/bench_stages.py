# SPDX-License-Identifier: MIT OR Apache-2.0
"""Where the instructions of a request go: the counting plugin counts each function of the kernel
and of the measured cell, and this module sums them up by the stages of a request.

A function that the compiler inlined counts for its caller: the short way in, TCP's included, is in
"demultiplex". Polling that found nothing is in the
functions that polled (event loop, driver receive).
"""

import re
import subprocess

import build

# First match counts. `driver` and so on are parts of function names in the cells.
STAGES = (
    ("driver-receive", r"^(virtio_net|intel_nic|ringdev)_receive|^(reap|advance|advance_receive"
                       r"|receive_.*|virtio_net_refill|publish_rx|lend|refill.*)$"),
    ("driver-send", r"^(virtio_net|intel_nic|ringdev)_transmit|^transmit|^fill_descriptor"),
    ("driver-wake", r"^(virtio_net|intel_nic|ringdev)_(arm|disarm)|^(arm|disarm)(_device|_all"
                    r"|_first)?$|^sleep$|^take_word$|^next_deadline$|^.*_deadline$"),
    ("loop", r"^event_loop|^main$|^poll_.*|^clock|^stack_tick$|^serve$|^cell_main$"),
    ("demultiplex", r"^(stack_|ethernet_|ipv4_|ipv6_|udp_|arp_|icmp_|checksum|input_(burst|split)$)"),
    ("tcp-in", r"^tcp_(input|decode|lookup|ack|receive|deliver|congestion|bucket)|^(rtt_|congestion_"
               r"|input_|sack_input|set_send_window|take_)"),
    ("tcp-out", r"^(tcp_|sendable_|sack_output|sent_)"),
)


def functions(path, end=None):
    """[(low, high, name)] of an ELF file's functions, ascending, without overlaps."""
    text = subprocess.run(["nm", "-n", "--defined-only", str(path)], capture_output=True, text=True,
                          check=True).stdout
    found = [(int(at, 16), name) for at, kind, name in
             (line.split(maxsplit=2) for line in text.splitlines()) if kind in "tTwW"]
    found = [(at, name) for at, name in found if end is None or at >= end]
    spans = []
    for (low, name), (high, _) in zip(found, found[1:] + [(found[-1][0] + 64, "")]):
        if high > low:
            spans.append((low, high, name[:39]))
    return spans


def write_ranges(path, cell):
    """The plugin's file of ranges for the kernel and one cell."""
    kernel = [(low, high, "k:" + name[:37])
              for low, high, name in functions(build.KERNEL, end=1 << 63)]
    lines = [f"{low:x} {high:x} {re.sub(r'[^!-~]', '_', name)}\n"
             for low, high, name in functions(build.CELLS / f"{cell}.elf") + kernel]
    path.write_text("".join(lines), encoding="ascii")


def stage_of(name):
    """The stage that a function belongs to."""
    if name.startswith("k:"):
        return "kernel"
    for stage, pattern in STAGES:
        if re.search(pattern, name):
            return stage
    return "application"


def stages(report):
    """{stage: instructions a request} of a load generator's report, in the order of a request."""
    sums = dict.fromkeys([stage for stage, _ in STAGES] + ["application", "kernel"], 0)
    for name, count in report["ranges"].items():
        sums[stage_of(name)] += count
    return {stage: count / report["requests"] for stage, count in sums.items()}


def profile(report, lines=40):
    """The dearest functions as text."""
    counts = sorted(report["ranges"].items(), key=lambda item: -item[1])[:lines]
    return "".join(f"  {count / report['requests']:9.1f}  {name}\n" for name, count in counts)
