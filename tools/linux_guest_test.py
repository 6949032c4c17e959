# SPDX-License-Identifier: MIT OR Apache-2.0
"""Unit tests of the Linux guest's maker: what needs no kernel package."""

import shutil
import subprocess

import linux_guest
import pytest


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is missing")
def test_archive_is_what_cpio_reads(tmp_path):
    archive = linux_guest.Archive()
    archive.add("/a/b/file", b"12345", 0o644)
    archive.add("a/b/file", b"not taken twice")
    archive.add("/a/odd", b"x" * 1023)
    subprocess.run(["cpio", "-id", "--quiet"], cwd=tmp_path, input=archive.bytes(), check=True)
    assert (tmp_path / "a/b/file").read_bytes() == b"12345"
    assert len((tmp_path / "a/odd").read_bytes()) == 1023


def module(path, depends):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0license=GPL\0depends=" + depends + b"\0name=x\0")


def test_modules_are_loaded_after_what_they_need(tmp_path):
    module(tmp_path / "kernel/virtio_net.ko", b"net_failover")
    module(tmp_path / "kernel/net_failover.ko", b"failover")
    module(tmp_path / "kernel/core/failover.ko", b"")
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    order = linux_guest.load_order(tmp_path, ["virtio", "virtio-net"])
    assert [name for name, _ in order] == ["failover", "net_failover", "virtio_net"]
    with pytest.raises(linux_guest.GuestError, match="igb"):
        linux_guest.load_order(tmp_path, ["igb"])
