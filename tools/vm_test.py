# SPDX-License-Identifier: MIT OR Apache-2.0
"""Unit tests of the QEMU driver with a guest of twenty instructions that prints one line."""

import os
import signal
import socket
import subprocess
import time

import pytest
import vm

# A PVH kernel (note type 18, XEN_ELFNOTE_PHYS32_ENTRY): prints and halts.
GUEST = """
    .section .note.pvh, "a", @note
    .long 4, 4, 18
    .asciz "Xen"
    .long start
    .text
    .code32
start:
    movw $0x3f8, %dx
    movl $text, %esi
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  hlt
    jmp 2b
text: .asciz "hello from the guest\\r\\n"
"""


@pytest.fixture(scope="module", name="kernel")
def _kernel(tmp_path_factory):
    if vm.qemu_version() is None:
        pytest.skip("QEMU is not installed")
    folder = tmp_path_factory.mktemp("guest")
    (folder / "guest.S").write_text(GUEST)
    subprocess.run(["as", "--32", "guest.S", "-o", "guest.o"], cwd=folder, check=True)
    link = ["ld", "-m", "elf_i386", "-Ttext=0x100000", "-e", "start", "guest.o", "-o", "guest.elf"]
    subprocess.run(link, cwd=folder, check=True)
    return folder / "guest.elf"


def test_console_reset_and_end(kernel, tmp_path):
    disk = tmp_path / "disk, with comma.img"
    vm.make_disk(disk, 16 << 20)
    with vm.Vm(vm.Machine(kernel=kernel, memory_mib=64, disk=disk)) as guest:
        guest.wait_for("hello from the guest$", 30)
        assert set(guest.ports) == {6379, 80} and len(set(guest.ports.values())) == 2
        mark = guest.mark()
        guest.reset()
        guest.wait_for("hello from the guest$", 30, since=mark)
        assert guest.qmp("query-status")["status"] == "running"
        with pytest.raises(vm.VmError, match="no 'never' within"):
            guest.wait_for("never", 0.1)
        with pytest.raises(vm.VmError, match="refuses 'no-such-command'"):
            guest.qmp("no-such-command")
        os.kill(guest.process.pid, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(vm.VmError, match="QEMU ended before"):
            guest.wait_for("never", 60)
        assert time.monotonic() - start < 30


def test_zoned_drive_is_accepted(kernel, tmp_path):
    disk = tmp_path / "disk.img"
    vm.make_disk(disk, 64 << 20)
    with vm.Vm(vm.Machine(kernel=kernel, memory_mib=64, disk=disk, zoned=True)) as guest:
        guest.wait_for("hello", 30)


@pytest.mark.parametrize("nic", vm.NICS)
def test_each_nic_is_accepted(kernel, nic):
    with vm.Vm(vm.Machine(kernel=kernel, memory_mib=64, nic=nic, cpus=2)) as guest:
        guest.wait_for("hello", 30)


def test_icount_is_accepted(kernel):
    with vm.Vm(vm.Machine(kernel=kernel, memory_mib=64, nic=None, icount=True)) as guest:
        guest.wait_for("hello", 30)


def test_reset_can_end_the_machine(kernel):
    with vm.Vm(vm.Machine(kernel=kernel, memory_mib=64, nic=None, exit_on_reset=True)) as guest:
        guest.wait_for("hello", 30)
        guest.reset()
        assert guest.wait_exit(30) == 0


def test_what_qemu_refuses_is_one_line(kernel, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(vm.VmError, match="QEMU did not start: .*forward") as caught:
            vm.Vm(vm.Machine(kernel=kernel, port=port)).start()
    assert "\n" not in str(caught.value)
    with pytest.raises(vm.VmError, match="QEMU did not start: .*none.img"):
        vm.Vm(vm.Machine(kernel=kernel, disk=tmp_path / "none.img")).start()


def test_drive_in_use_is_one_line(kernel, tmp_path):
    disk = tmp_path / "disk.img"
    vm.make_disk(disk, 16 << 20)
    machine = vm.Machine(kernel=kernel, memory_mib=64, nic=None, disk=disk)
    with vm.Vm(machine) as guest:
        guest.wait_for("hello", 30)
        with pytest.raises(vm.VmError, match="another process using the image"):
            vm.Vm(machine).start()
