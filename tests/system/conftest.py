# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fixtures of the system tests: running systems of each kind, shared by the tests of a module."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import vm  # noqa: E402
from guest import Guest, machine_for  # noqa: E402

VARIANTS = {
    "direct": ("reference", {}),
    "shared": ("shared", {}),
    "igb": ("reference", {"nic": "igb"}),
    "virtio-packed": ("reference", {"nic": "virtio-packed"}),
    "e1000e": ("reference", {"nic": "e1000e"}),
    "zoned": ("reference", {"zoned": True}),
    "scalable-iommu": ("reference", {"iommu": "scalable"}),
    "first-level-iommu": ("shared", {"iommu": "first-level"}),
    "no-iommu": ("reference", {"iommu": None}),
    "no-iommu-shared": ("shared", {"iommu": None}),
}
QUICK = bool(os.environ.get("HALLOWS_QUICK"))


def pytest_configure(config):
    """Declares the marks."""
    config.addinivalue_line("markers", "slow: left out of ./hallows test --quick")


def pytest_collection_modifyitems(items):
    """Skips slow tests when asked to be quick."""
    for item in items:
        if QUICK and "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="--quick"))


def require_command(name):
    """Skips the test where a program is missing."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def require_device(name):
    """Skips the test where QEMU does not emulate a device."""
    if not vm.has_device(name):
        version = vm.qemu_version()
        pytest.skip(f"QEMU {version[0]}.{version[1]} has no {name}")


def variant_machine(name, disk, settings=()):
    """The machine of one of VARIANTS; skips where QEMU cannot be it."""
    system, options = VARIANTS[name]
    if options.get("nic") and not options["nic"].startswith("virtio"):
        require_device(options["nic"])
    return machine_for(system, disk, settings, **options)


@pytest.fixture(scope="session", name="session_folder")
def _session_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("drives")


@pytest.fixture(scope="session")
def direct(session_folder):
    """The reference system, shared by every test that leaves it as it was."""
    with Guest(variant_machine("direct", session_folder / "direct.img")) as guest:
        yield guest


@pytest.fixture
def server(direct):
    """The shared reference system with an empty data set, its port and a client."""
    with direct.client() as client:
        assert client("FLUSHALL") == "OK"
    return direct


@pytest.fixture(name="disk")
def _disk(tmp_path):
    """A path for a fresh drive."""
    return tmp_path / "disk.img"
