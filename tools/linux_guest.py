# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes the Linux guest that benchmarks compare with: Debian's own generic kernel and an initramfs
with the modules, programs and libraries that a benchmark asks for, and bench/linux/init_host.c as
its first process. Nothing is installed on this machine; the kernel's package is downloaded by apt
(which checks its signature) into build/linux/ and unpacked there.

    guest = linux_guest.make(modules=["virtio_net"], programs=["/bin/echo-server"],
                             files={"/bin/echo-server": path}, output=folder)
    machine = vm.Machine(kernel=guest.kernel, bundle=guest.initramfs, cpu=linux_guest.CPU,
                         command_line=linux_guest.COMMAND_LINE + " hallows.address=10.77.0.2")

The console says READY once every program has been started.
"""

import lzma
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import build

FOLDER = build.BUILD / "linux"
INIT = build.BUILD / "bench/linux/init"
PACKAGE = "linux-image-amd64"
READY = r"^linux: ready"
FAILED = r"^linux: (failed|cannot|a program ended)|Kernel panic"
# Without the string instructions that make Linux's copies look dearer than they are when each
# repetition counts as an instruction.
CPU = "max,-erms,-fsrm"
COMMAND_LINE = "console=ttyS0 quiet rdinit=/init net.ifnames=0 tsc=reliable panic=-1"


class GuestError(Exception):
    """There is no Linux to compare with; str() is for the user."""


@dataclass
class Guest:
    """What QEMU boots."""

    kernel: Path
    initramfs: Path
    version: str


# ---- The kernel's package ------------------------------------------------------------------------


def _run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise GuestError(f"{command[0]}: {' '.join(last) or done.returncode}")
    return done.stdout


def _newest(versions):
    """The newest of Debian versions."""
    best = versions[0]
    for version in versions[1:]:
        if subprocess.run(["dpkg", "--compare-versions", version, "gt", best],
                          check=False).returncode == 0:
            best = version
    return best


def kernel_package():
    """Name of the newest generic kernel's package that apt offers."""
    if shutil.which("apt-cache") is None:
        raise GuestError(f"{PACKAGE} comes through apt, which is not here")
    text = _run(["apt-cache", "madison", PACKAGE])
    versions = [line.split("|")[1].strip() for line in text.splitlines() if line.count("|") >= 2]
    if not versions:
        raise GuestError(f"apt does not offer {PACKAGE}; run apt-get update")
    shown = _run(["apt-cache", "show", f"{PACKAGE}={_newest(versions)}"])
    match = re.search(r"^Depends: (linux-image-\S+)", shown, re.MULTILINE)
    if match is None:
        raise GuestError(f"{PACKAGE} names no kernel")
    return match[1]


def fetch_kernel():
    """(vmlinuz, folder of its modules, version); downloads the package once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    package = kernel_package()
    tree = FOLDER / package
    if not tree.exists():
        print(f"downloading {package} into {FOLDER.relative_to(build.ROOT)}/ (the Linux to"
              " compare with; it is not installed)", flush=True)
        download = FOLDER / "download"
        shutil.rmtree(download, ignore_errors=True)
        download.mkdir()
        # apt drops its rights to a user that may write here.
        download.chmod(0o777)
        _run(["apt-get", "download", package], cwd=download)
        part = FOLDER / (package + ".part")
        shutil.rmtree(part, ignore_errors=True)
        _run(["dpkg-deb", "-x", str(next(download.glob("*.deb"))), str(part)])
        part.rename(tree)
        shutil.rmtree(download)
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    modules = next(path for path in (tree / "lib/modules" / version,
                                     tree / "usr/lib/modules" / version) if path.is_dir())
    return kernel, modules, version


def _module_bytes(path):
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _depends(data):
    match = re.search(rb"\0depends=([^\0]*)\0", data)
    return [name for name in match[1].decode().split(",") if name] if match else []


def load_order(folder, wanted):
    """(name, contents) of the modules in `wanted` and all they need, in the order to load them.
    Names that are built into the kernel are left out."""
    found = {}
    for path in folder.rglob("*.ko*"):
        found[path.name.split(".")[0].replace("-", "_")] = path
    builtin = {Path(line).stem.replace("-", "_")
               for line in (folder / "modules.builtin").read_text().split()}
    order = {}

    def add(name):
        name = name.replace("-", "_")
        if name in order or name in builtin:
            return
        if name not in found:
            raise GuestError(f"the kernel has no module {name}")
        data = _module_bytes(found[name])
        for other in _depends(data):
            add(other)
        order[name] = data

    for name in wanted:
        add(name)
    return list(order.items())


# ---- The initramfs -------------------------------------------------------------------------------


def libraries(program):
    """Shared libraries and the loader that a program of this machine needs."""
    output = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if output.returncode:
        return []  # statically linked
    return re.findall(r"(?:=> )?(/\S+) \(0x", output.stdout)


class Archive:
    """A cpio archive in the "newc" format that the kernel unpacks (its
    Documentation/driver-api/early-userspace/buffer-format)."""

    def __init__(self):
        self._parts = []
        self._names = set()

    def _entry(self, name, mode, data):
        fields = [len(self._names) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        self._parts += [header, bytes(-len(header) % 4), data, bytes(-len(data) % 4)]

    def _folders(self, name):
        for parent in reversed(Path(name).parents):
            text = str(parent)
            if text != "." and text not in self._names:
                self._names.add(text)
                self._entry(text, stat.S_IFDIR | 0o755, b"")

    def add(self, name, data, mode=0o755):
        """A file; its folders come with it."""
        name = name.lstrip("/")
        if name not in self._names:
            self._folders(name)
            self._names.add(name)
            self._entry(name, stat.S_IFREG | mode, data)

    def add_program(self, name, path):
        """A program of this machine, with its libraries where it looks for them."""
        self.add(name, Path(path).read_bytes())
        for library in libraries(path):
            self.add(library, Path(os.path.realpath(library)).read_bytes())

    def bytes(self):
        """The finished archive."""
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self._parts)


def make(modules, programs, files, output):
    """Makes a guest in the folder `output`. `modules`: kernel modules by name; `programs`: command
    lines that the guest starts; `files`: path in the guest -> program on this machine."""
    build.make(str(INIT.relative_to(build.ROOT)))
    kernel, folder, version = fetch_kernel()
    archive = Archive()
    archive.add_program("/init", INIT)
    names = []
    for name, data in load_order(folder, modules):
        names.append(f"/modules.d/{name}.ko")
        archive.add(names[-1], data, 0o644)
    archive.add("/modules", "".join(f"{name}\n" for name in names).encode(), 0o644)
    archive.add("/programs", "".join(f"{line}\n" for line in programs).encode(), 0o644)
    for name, path in files.items():
        archive.add_program(name, path)
    initramfs = Path(output) / "initramfs"
    initramfs.write_bytes(archive.bytes())
    return Guest(kernel, initramfs, version)
