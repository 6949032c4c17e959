# SPDX-License-Identifier: MIT OR Apache-2.0
"""The kernel alone: bad boot modules end in one clear line, a panic in a readable report."""

import re
import struct
import time

import build
import bundle
import layout
import pytest
import vm
from kernel_code import Code

SECONDS = 60
SEMANTICS = build.BUILD / "tests/kernel/semantics.elf"


@pytest.fixture(name="program", scope="module")
def _program():
    build.make("all")
    return bundle.read_program(SEMANTICS)


def console(tmp_path, data, wanted, **options):
    """The match of `wanted` on the console of a machine that boots the module `data`."""
    path = None
    if data is not None:
        path = tmp_path / "module"
        path.write_bytes(data)
    machine = vm.Machine(kernel=build.KERNEL, bundle=path, nic=None, memory_mib=128, **options)
    with vm.Vm(machine) as guest:
        return guest.wait_for(wanted, SECONDS)


def pack(program, kind=layout.BUNDLE_INITIAL_CELL):
    """A bundle of one program, without what may follow its last entry."""
    data = bundle.pack_bundle([(kind, "test", bytes(program))])
    return bytearray(data[: layout.unpack("bundle_header", data)["total_bytes"]])


def refusal(tmp_path, data):
    return console(tmp_path, data, r"^hallows: (.*); stopped$").group(1)


def test_no_module(tmp_path):
    assert refusal(tmp_path, None).startswith("boot module: there is none")


def test_random_bytes(tmp_path):
    data = bytes(number * 7 % 251 for number in range(9000))
    assert "magic" in refusal(tmp_path, data)


def test_another_version(tmp_path, program):
    data = pack(program)
    data[8:12] = struct.pack("<I", layout.BUNDLE_VERSION + 1)
    assert "version" in refusal(tmp_path, data)


def test_cut_off(tmp_path, program):
    assert "cut off" in refusal(tmp_path, pack(program)[:-100])


def test_damaged_table(tmp_path, program):
    data = pack(program)
    data[layout.size("bundle_header") + 2] ^= 1
    assert "checksum" in refusal(tmp_path, data)


def test_damaged_program(tmp_path, program):
    data = pack(program)
    data[len(data) // 2] ^= 1
    assert refusal(tmp_path, data) == "bundle: the initial cell's program fails its checksum"


def test_no_initial_cell(tmp_path, program):
    data = pack(program, layout.BUNDLE_FILE)
    assert refusal(tmp_path, data) == "bundle: it holds no initial cell"


def test_program_that_is_no_elf(tmp_path):
    assert refusal(tmp_path, pack(b"#!/bin/sh\n" * 100)).startswith(
        "bundle: the initial cell's program: "
    )


def test_program_in_the_kernels_half(tmp_path, program):
    damaged = bytearray(program)
    offset = struct.unpack_from("<Q", damaged, 32)[0]
    struct.pack_into("<Q", damaged, offset + 16, 0xFFFFFFFF80000000)
    assert refusal(tmp_path, pack(damaged)).startswith("bundle: the initial cell's program: ")


def test_program_that_is_too_large(tmp_path, program):
    damaged = bytearray(program)
    offset, _, _, _, size, count = struct.unpack_from("<QQIHHH", damaged, 32)
    for index in range(count):
        at = offset + index * size
        if struct.unpack_from("<I", damaged, at)[0] == 1:
            last = at
    struct.pack_into("<Q", damaged, last + 40, 0x30000000)
    assert "memory" in refusal(tmp_path, pack(damaged))


def test_old_cpu(tmp_path, program):
    extra = ["-cpu", "qemu64"]
    line = console(tmp_path, pack(program), r"^hallows: CPU: (.*); stopped$", extra=extra)
    assert "SSE4.2" in line.group(1)


def wait_until_halted(guest):
    """Until the CPU has nothing to do: the cell says IDLE a little before it waits."""
    end = time.monotonic() + SECONDS
    command = {"command-line": "info registers"}
    while "HLT=1" not in guest.qmp("human-monitor-command", **command):
        assert time.monotonic() < end, "the CPU does not halt"


def nmi_report(tmp_path, program, command_line="idle", cpu="max"):
    """What the kernel says when an NMI comes."""
    path = tmp_path / "module"
    path.write_bytes(pack(program))
    machine = vm.Machine(kernel=build.KERNEL, bundle=path, nic=None, memory_mib=128, cpu=cpu,
                         command_line=command_line)
    with vm.Vm(machine) as guest:
        guest.wait_for(r"^IDLE$", SECONDS)
        wait_until_halted(guest)
        guest.qmp("inject-nmi")
        guest.wait_for(r"^hallows: stopped$", SECONDS)
        text = guest.serial
    return text[text.index("hallows: PANIC: NMI") :]


def test_nmi_makes_a_readable_panic(tmp_path, program):
    report = nmi_report(tmp_path, program)
    assert "rax " in report and "cr3 " in report and "backtrace:" in report
    assert "idle" in report or "user_return" in report


# With a random number of the CPU's, and with nothing but the TSC and the loader's data.
@pytest.mark.parametrize("cpu", ["max", "max,-rdrand,-rdseed"])
def test_the_image_lies_elsewhere_at_each_start(tmp_path, program, cpu):
    seen = set()
    for _ in range(3):
        report = nmi_report(tmp_path, program, cpu=cpu)
        at, name = re.search(r"error 0\) at\n  ([0-9a-f]+) (\w+)\+", report).groups()
        slide = int(re.search(r"the image lies ([0-9a-f]+) higher", report)[1], 16)
        assert slide % 4096 == 0 and 2 << 20 <= slide < 1 << 30
        linked = Code(build.KERNEL).at(int(at, 16) - slide)
        assert linked is not None and re.split("[@.]", linked.name)[0] == name
        seen.add(slide)
    assert len(seen) > 1


def test_an_option_keeps_the_image_where_it_was_linked(tmp_path, program):
    report = nmi_report(tmp_path, program, "idle nokaslr")
    assert "hallows: the image lies 0 higher than linked" in report


def test_a_crash_of_the_initial_cell_is_reported():
    path = SEMANTICS.with_suffix(".bundle")
    machine = vm.Machine(kernel=build.KERNEL, bundle=path, nic=None, memory_mib=128,
                         command_line="crash")
    with vm.Vm(machine) as guest:
        guest.wait_for(r"^hallows: that was the initial cell", SECONDS)
        text = guest.serial
    assert "page fault (vector 14, error 6, address " in text
    assert "program_entry+0x" in text


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_grub_starts_it(tmp_path, program, firmware):
    path = tmp_path / "module"
    path.write_bytes(pack(program))
    iso = build.make_iso(path, tmp_path / "hallows.iso")
    files = ()
    if firmware == "uefi":
        files = vm.ovmf_files(tmp_path)
        if not files:
            pytest.skip("OVMF is not installed")
    machine = vm.Machine(iso=iso, firmware=files, nic=None, memory_mib=512)
    with vm.Vm(machine) as guest:
        guest.wait_for(r"^hallows: kernel for x86-64, started by Multiboot2$", 3 * SECONDS)
        assert guest.wait_for(r"^TESTS DONE.* (\d+) failed", SECONDS).group(1) == "0"


@pytest.mark.parametrize("memory", [64, 3000, 5000])
def test_sizes_of_memory(tmp_path, program, memory):
    path = tmp_path / "module"
    path.write_bytes(pack(program))
    machine = vm.Machine(kernel=build.KERNEL, bundle=path, nic=None, memory_mib=memory)
    with vm.Vm(machine) as guest:
        assert guest.wait_for(r"^TESTS DONE.* (\d+) failed", SECONDS).group(1) == "0"


@pytest.mark.parametrize("cpu", ["max,-x2apic", "max,-fsgsbase,-smap,-smep,-umip", "Nehalem"])
def test_cpus_with_less(tmp_path, program, cpu):
    path = tmp_path / "module"
    path.write_bytes(pack(program))
    machine = vm.Machine(kernel=build.KERNEL, bundle=path, nic=None, memory_mib=128,
                         extra=["-cpu", cpu])
    with vm.Vm(machine) as guest:
        assert guest.wait_for(r"^TESTS DONE.* (\d+) failed", SECONDS).group(1) == "0"
