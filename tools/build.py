# SPDX-License-Identifier: MIT OR Apache-2.0
"""Builds the tree with make and makes images."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bundle
import image
import vm
from system_description import load_system

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
KERNEL = BUILD / "kernel/hallows.elf"
CHECKED_KERNEL = BUILD / "checked/kernel/hallows.elf"
CELLS = BUILD / "cells"


class BuildError(Exception):
    """make or an image tool failed; str() is for the user."""


def make(*targets, variables=(), quiet=True):
    """Runs make; shows its output only when it fails or quiet is False."""
    jobs = str(os.cpu_count() or 1)
    command = ["make", "-C", str(ROOT), "--no-print-directory", f"-j{jobs}"]
    command += [f"PYTHON={sys.executable}", *variables, *map(str, targets)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        if quiet:
            sys.stderr.write(done.stdout)
        raise BuildError(f"make {' '.join(map(str, targets))} failed (status {done.returncode})")
    return done.stdout


def make_checked_kernel():
    """Builds the kernel with assertions and invariants beside the one that ships."""
    kernel = CHECKED_KERNEL.relative_to(ROOT)
    make(kernel, variables=(f"BUILD={kernel.parent.parent}", "CHECKED=1"))


def make_bundle(system_file, settings=(), output=None):
    """Builds the tree and the bundle of a system; returns (system, path of the bundle)."""
    system = load_system(Path(system_file), ROOT, settings)
    make("all")
    if not KERNEL.exists():
        raise BuildError(f"{KERNEL} was not built")
    output = output or BUILD / f"image/{system.name}.bundle"
    image.write_file(output, image.build_bundle(system, CELLS))
    return system, output


GRUB_CONFIG = """set timeout=0
set default=0
serial --unit=0 --speed=115200
terminal_output console serial
menuentry "Hallows" {
    multiboot2 /boot/hallows.elf {command_line}
    module2 /boot/system.bundle
    boot
}
"""


def make_iso(bundle_path, output, command_line=""):
    """An ISO that boots under BIOS and UEFI through GRUB."""
    folder = output.parent / (output.name + ".tree")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "boot/grub").mkdir(parents=True)
    subprocess.run(
        ["objcopy", "--strip-debug", str(KERNEL), str(folder / "boot/hallows.elf")], check=True
    )
    shutil.copyfile(bundle_path, folder / "boot/system.bundle")
    config = GRUB_CONFIG.replace("{command_line}", command_line)
    (folder / "boot/grub/grub.cfg").write_text(config, encoding="utf-8")
    for tool in ("grub-mkrescue", "xorriso", "mformat"):
        if shutil.which(tool) is None:
            raise BuildError(f"{tool} is missing; run ./hallows image --iso without --no-install")
    part = output.with_name(output.name + ".part")
    done = subprocess.run(
        ["grub-mkrescue", "-o", str(part), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"grub-mkrescue failed: {done.stdout.strip().splitlines()[-1]}")
    part.replace(output)
    shutil.rmtree(folder)
    return output


USER_ERRORS = (BuildError, bundle.BundleError, image.ManifestError, vm.VmError)
