# SPDX-License-Identifier: MIT OR Apache-2.0
"""What drives can have beside one plain namespace: tried by the cell tests/cells/drives."""

import drives
import pytest

DONE = r"drives done: success, 0 failed"


def test_namespaces_of_each_kind(tmp_path):
    """Blocks of 512 and 4096 bytes and zones with limits, on one controller, each a drive of its own;
    two queue pairs on the first, each with an interrupt of its own."""
    extra = drives.namespaces(
        tmp_path, "", ",nsid=1",
        ",nsid=2,logical_block_size=4096,physical_block_size=4096",
        ",nsid=5,zoned=true,zoned.zone_size=4M,zoned.max_active=4,zoned.max_open=2")
    bundle = drives.bundle_of(tmp_path, "drives", "[config]\nqueues = 2\nactive = 4\nopen = 2\n")
    text = drives.run(bundle, extra, DONE)
    assert "3 namespaces, 4 ports" in text
    assert "namespace 2: 16384 blocks of 4096, 0 zones" in text
    assert "namespace 5: 131072 blocks of 512, 16 zones, 4 active, 2 open" in text
    assert text.count("copied in namespace 1") == 2 and "copied in namespace 2" in text
    assert "zone limits hold in namespace 5" in text


@pytest.mark.parametrize("iommu", [None, "legacy"])
def test_two_cpus_use_a_drive_at_once(tmp_path, iommu):
    """Each with a queue pair and an interrupt of its own, and no lock between."""
    bundle = drives.bundle_of(tmp_path, "drives", own="workers = [1]")
    text = drives.run(bundle, drives.namespaces(tmp_path, "", ",nsid=1"), DONE, cpus=2, iommu=iommu)
    assert "1 namespaces, 2 ports" in text
    for thread in (0, 1):
        assert f"thread {thread}: 4000 requests, 0 wrong" in text


def test_placement_handles(tmp_path):
    """Flexible data placement: each of a namespace's handles takes writes."""
    extra = ["-device", "nvme-subsys,id=subsys0,fdp=on,fdp.runs=1M,fdp.nruh=4"]
    extra += drives.namespaces(tmp_path, ",subsys=subsys0", ",nsid=1,fdp.ruhs=0-3")
    text = drives.run(drives.bundle_of(tmp_path, "drives"), extra, DONE)
    assert "placed with 4 handles" in text


def test_virtual_functions(tmp_path):
    """Two virtual functions, each in a cell of its own behind its own I/O space, read and write the
    namespace that they share with the physical one."""
    extra = ["-device", "nvme-subsys,id=subsys0"]
    extra += drives.namespaces(
        tmp_path, ",subsys=subsys0,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,"
        "max_ioqpairs=8,msix_qsize=8", ",nsid=1,shared=on")
    devices = drives.DEVICE + "vfs = 2\n" + "".join(
        f'[device.vf{index}]\nkind = "nvme"\nof = "nvme0"\nindex = {index}\n' for index in (0, 1))
    bundle = drives.bundle_of(tmp_path, "drives", "[config]\nvirtual = 2\n", devices, ("vf0", "vf1"))
    text = drives.run(bundle, extra, "(?s)" + ".*".join(
        rf"drives{cell}: drives done: success, 0 failed" for cell in ("", "-vf[01]", "-vf[01]")))
    assert "drives-vf0: drives done" in text and "drives-vf1: drives done" in text


def test_controller_memory(tmp_path):
    """The controller's memory buffer holds the submission queues of two ports, and data."""
    extra = drives.namespaces(tmp_path, ",cmb_size_mb=2", ",nsid=1")
    bundle = drives.bundle_of(tmp_path, "drives", "[config]\nqueues = 2\nmemory = true\n")
    text = drives.run(bundle, extra, DONE)
    assert text.count("queues and 2040 KiB of data in the controller") == 2
