# SPDX-License-Identifier: MIT OR Apache-2.0
"""A driver whose device is given wrong addresses harms nobody, and the system says whose it was."""

import re

import pytest
import vm
from guest import Guest, machine_for
from test_faults import cells


def second_drive(tmp_path):
    """QEMU's options for another drive."""
    path = tmp_path / "second.img"
    vm.make_disk(path, 16 << 20)
    drive = f"if=none,id=disk1,format=raw,file={path}"
    return ["-drive", drive, "-device", "nvme,serial=hallows1,drive=disk1"]


@pytest.mark.parametrize("iommu", sorted(vm.IOMMUS))
def test_wrong_dma_addresses_harm_nothing(disk, tmp_path, iommu):
    machine = machine_for("dmarogue", disk, iommu=iommu, extra=second_drive(tmp_path))
    with Guest(machine) as guest:
        with guest.client() as client:
            values = {f"key:{number}": b"%d" % number * 500 for number in range(200)}
            for key, value in values.items():
                assert client("SET", key, value) == "OK"
            guest.vm.wait_for("dmarogue: 40 wrong addresses given", 120)
            for key, value in values.items():
                assert client("GET", key) == value
            assert client("SET", "after", "2") == "OK"
        said = re.findall(r"supervisor: (\w+): its device (\S+) may not (\w+) \w+ address (\w+)",
                          guest.vm.serial)
        assert said and {cell for cell, *_ in said} == {"dmarogue"}
        assert len({device for _, device, *_ in said}) == 1
        assert {"read", "write"} == {access for _, _, access, _ in said}
        assert int(said[0][3], 16) == 0x200000
        assert len(said) <= 8  # a stream of faults does not flood the console
        status = cells(guest)
        assert status["kvstore"]["restarts"] == 0
        assert guest.shut_down() == 0


@pytest.mark.parametrize("iommu", [None, *sorted(vm.IOMMUS)])
def test_the_kernel_says_what_confines_devices(disk, iommu):
    with Guest(machine_for("reference", disk, iommu=iommu)) as guest:
        modes = {"legacy": "legacy mode", "scalable": "scalable mode, second level",
                 "first-level": "scalable mode, first level"}
        if iommu:
            assert f"hallows: IOMMU: VT-d, {modes[iommu]}, interrupts remapped" in guest.vm.serial
            assert "trusted" not in guest.vm.serial
        else:
            assert "hallows: WARNING: no IOMMU" in guest.vm.serial


def test_other_iommus_are_named(disk):
    machine = machine_for("reference", disk, iommu=None, extra=["-device", "amd-iommu"])
    with Guest(machine) as guest:
        assert "hallows: IOMMU: AMD-Vi is not supported" in guest.vm.serial
        assert "hallows: WARNING: no IOMMU" in guest.vm.serial
