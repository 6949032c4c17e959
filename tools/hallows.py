# SPDX-License-Identifier: MIT OR Apache-2.0
"""The verbs of ./hallows."""

import argparse
import sys
from pathlib import Path

import bench
import build
import check
import fuzz
import fuzz_calls
import kernel_coverage
import mutants
import netstat
import packages
import pcap
import proof_tools
import proofs
import run
import storage
import suite

ROOT = build.ROOT


def _image_options(parser):
    parser.add_argument("--system", type=Path, metavar="FILE",
                        default=ROOT / "systems/reference/system.toml",
                        help="the system description (systems/reference/system.toml)")
    parser.add_argument("--iso", action="store_true",
                        help="also an ISO that boots under BIOS and UEFI")


def _image(options):
    system, path = build.make_bundle(options.system)
    print(f"kernel  {build.KERNEL.relative_to(ROOT)}")
    print(f"bundle  {path.relative_to(ROOT)} ({path.stat().st_size} bytes)")
    if options.iso:
        iso = build.make_iso(path, path.with_suffix(".iso"))
        print(f"ISO     {iso.relative_to(ROOT)} ({iso.stat().st_size} bytes)")
    print(f"system  '{system.name}': {', '.join(cell.name for cell in system.cells)}")
    return 0


VERBS = {
    # verb: (what it does, adds options, does it)
    "run": ("boot the system in QEMU and say how to reach it", run.add_options, run.main),
    "test": ("run every test and say what passed, failed and was skipped",
             suite.add_options, suite.main),
    "bench": ("measure instructions for each operation, beside their targets",
              bench.add_options, bench.main),
    "check": ("format, headers, layers and scripts", check.add_options, check.main),
    "proofs": ("run the proofs and print what each came to", proofs.add_options, proofs.main),
    "mutants": ("plant faults into the kernel and say what kills each", mutants.add_options,
                mutants.main),
    "fuzz": ("run libFuzzer on every parser of untrusted bytes", fuzz.add_options, fuzz.main),
    "fuzz-calls": ("random system calls against the kernel on the host, as many as wanted",
                   fuzz_calls.add_options, fuzz_calls.main),
    "coverage": ("what of the kernel's core its unit tests and random calls reach",
                 kernel_coverage.add_options, kernel_coverage.main),
    "storage": ("show what a running system's drive holds and how it is, or erase an image",
                storage.add_options, storage.main),
    "netstat": ("a running system's connections, listeners and protocol counters",
                netstat.add_options, netstat.main),
    "pcap": ("write the frames of a running system's network interface", pcap.add_options,
             pcap.main),
    "image": ("build kernel and bundle, and an ISO when asked for", _image_options, _image),
}


def make_parser():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="./hallows",
        description="Builds, runs and checks Hallows. What is missing is installed through the"
        " system's package manager first; --no-install only prints what that would be.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, (text, add_options, _) in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        verb.add_argument("--no-install", action="store_true",
                          help="install nothing, only print what is missing")
        add_options(verb)
    verbs.add_parser("help", help="show this text")
    return parser


def main(arguments):
    """Entry: returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.verb in (None, "help"):
        parser.print_help()
        return 0
    try:
        packages.ensure(options.verb, install=not options.no_install)
        return VERBS[options.verb][2](options)
    except (packages.PackageError, kernel_coverage.CoverageError, proof_tools.ToolError, run.RunError, bench.BenchError,
            fuzz.FuzzError, storage.StorageError, netstat.NetstatError, pcap.PcapError,
            *build.USER_ERRORS) as error:
        print(f"hallows: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
