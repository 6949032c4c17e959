# SPDX-License-Identifier: MIT OR Apache-2.0
"""Gets the model checker (CBMC 6). Where the distribution has it, through its packages; on Debian 12
from Debian 13's, into a folder of the user's cache, so that nothing of the system changes: apt is
given lists and cache of its own and a source entry derived from the machine's, verifies the packages
as ever, and they are unpacked there, run with their own C library."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import packages

SUITE = "trixie"
PACKAGES = ("cbmc", "minisat", "libc6", "libgcc-s1", "gcc-14-base", "libstdc++6")
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib")
LOADER = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
VERSION_WANTED = 6


class ToolError(Exception):
    """CBMC cannot be had; str() says why."""


def cache_folder():
    """Where the private copy lies."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hallows/proof-tools"


def _version(command):
    try:
        done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60,
                              check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _usable(command):
    major = _version(command).split(".")[0]
    return major.isdigit() and int(major) >= VERSION_WANTED


def find():
    """(path of cbmc, its version) or None."""
    own = shutil.which("cbmc")
    for command in ([own] if own else []) + [str(cache_folder() / "bin/cbmc")]:
        if _usable(command):
            return command, _version(command)
    return None


def _apt(folder, *arguments):
    settings = {
        "Dir::Etc::SourceList": folder / "apt/source.list",
        "Dir::Etc::SourceParts": folder / "apt/parts",
        "Dir::State::Lists": folder / "apt/lists",
        "Dir::Cache": folder / "apt/cache",
        "Dir::State::status": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    command = ["apt-get"]
    for key, value in settings.items():
        command += ["-o", f"{key}={value}"]
    done = subprocess.run(command + list(arguments), cwd=folder / "deb", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=900, check=False)
    if done.returncode:
        raise ToolError(f"apt-get {arguments[0]} failed: " + done.stdout.strip()[-400:])


def fetch():
    """Unpacks CBMC into the cache folder and writes wrappers and SHA256SUMS."""
    codename = packages.release()[1]
    derived = packages.derive_source(codename, SUITE)
    if shutil.which("apt-get") is None or derived is None:
        raise ToolError("CBMC 6 is not installed, and there is no apt source to derive one from")
    folder = cache_folder()
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("apt/parts", "apt/lists/partial", "apt/cache/archives/partial", "deb", "bin"):
        (folder / part).mkdir(parents=True)
    name, text = derived
    # apt wants the ending that says which style the entry is in.
    place = folder / "apt/parts" / name
    place.write_text(text, encoding="utf-8")
    (folder / "apt/source.list").write_text("", encoding="utf-8")
    _apt(folder, "update")
    _apt(folder, "download", *PACKAGES)
    sums = []
    for path in sorted((folder / "deb").glob("*.deb")):
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
        subprocess.run(["dpkg", "-x", str(path), str(folder / "root")], check=True)
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    root = folder / "root"
    libraries = ":".join(str(root / part) for part in LIBRARIES)
    wrapper = folder / "bin/cbmc"
    wrapper.write_text(
        f'#!/bin/sh\nexec "{root / LOADER}" --argv0 cbmc --library-path "{libraries}"'
        f' "{root}/usr/bin/cbmc" "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    return folder


def ensure(install=True):
    """(cbmc, version), fetching it when it is not there."""
    found = find()
    if found or not install:
        return found
    if packages.release()[1] != "bookworm" and packages.has_candidate("cbmc"):
        raise ToolError("cbmc is not installed; ./hallows proofs without --no-install does that")
    print(f"CBMC {VERSION_WANTED} is missing; unpacking Debian {SUITE}'s into {cache_folder()}",
          flush=True)
    fetch()
    found = find()
    if found is None:
        raise ToolError("the CBMC that was unpacked does not run")
    return found
