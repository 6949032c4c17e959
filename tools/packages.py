# SPDX-License-Identifier: MIT OR Apache-2.0
"""Installs what a verb needs through the system's package manager (apt), saying what and why.

QEMU 10 has what every test uses. Where the distribution's own is older and its backports have it,
the backports are enabled by copying the machine's own apt entry under another suite name, pinned
so low that nothing else comes from there.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import vm

HERE = Path(__file__).resolve().parent
APT = Path("/etc/apt")
QEMU_PACKAGE = "qemu-system-x86"
QEMU_WANTED = 10
PIN = 100


class PackageError(Exception):
    """Something is missing and stays so; str() is for the user."""


@dataclass
class Need:
    """One line of packages.toml."""

    package: str
    why: str
    verbs: list
    command: str = ""
    python: str = ""
    file: str = ""
    optional: bool = False

    def present(self):
        """Whether it is there, wherever it came from."""
        if self.command:
            return find_command(self.command) is not None
        if self.python:
            code = f"import importlib.util as u,sys; sys.exit(u.find_spec('{self.python}') is None)"
            return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
        return Path(self.file).exists()


def find_command(name):
    """Path of a program; also looks where a user's PATH may not."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def needs_of(verb):
    """All that a verb needs."""
    data = tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))
    return [need for need in (Need(**row) for row in data["need"]) if verb in need.verbs]


# ---- apt's own files -----------------------------------------------------------------------------


def release(path="/etc/os-release"):
    """(id, codename) of the distribution."""
    values = {}
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            key, equals, value = line.partition("=")
            if equals:
                values[key] = value.strip("\"'")
    except OSError:
        pass  # not a distribution that we know; the caller says so
    return values.get("ID", ""), values.get("VERSION_CODENAME", "")


def _deb822_entries(text):
    """The stanzas of a .sources file, each a list of (key, value)."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = []
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t" and fields:
                fields[-1][1] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                fields.append([key.strip(), value.strip()])
        if fields:
            yield fields


def _one_line_entries(text):
    """The entries of a .list file as (type, options, uri, suite, components)."""
    for line in text.splitlines():
        match = re.match(r"(deb)\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+?)\s*(?:#.*)?$", line.strip())
        if match:
            yield tuple((part or "").strip() for part in match.groups())


def _source_files(apt):
    files = [apt / "sources.list"] if (apt / "sources.list").is_file() else []
    folder = apt / "sources.list.d"
    if folder.is_dir():
        files += sorted(p for p in folder.iterdir() if p.suffix in (".list", ".sources"))
    return files


def suites(apt=APT):
    """Every suite that the machine's sources name."""
    found = set()
    for path in _source_files(apt):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".sources":
            for fields in _deb822_entries(text):
                keys = {key.lower(): value for key, value in fields}
                if keys.get("enabled", "yes").lower() not in ("no", "false", "0"):
                    found.update(keys.get("suites", "").split())
        else:
            found.update(entry[3] for entry in _one_line_entries(text))
    return found


def derive_source(codename, suite, apt=APT):
    """(file name, text) of a source entry for `suite`, copied from the machine's entry for
    `codename`; None if there is no such entry."""
    for path in _source_files(apt):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".sources":
            for fields in _deb822_entries(text):
                keys = {key.lower(): value for key, value in fields}
                if keys.get("enabled", "yes").lower() in ("no", "false", "0"):
                    continue
                if "deb" in keys.get("types", "").split() and codename in keys.get(
                    "suites", ""
                ).split():
                    changed = {"types": "deb", "suites": suite, "components": "main"}
                    lines = [f"{k}: {changed.get(k.lower(), v)}" for k, v in fields]
                    return f"hallows-{suite}.sources", "\n".join(lines) + "\n"
        else:
            for kind, options, uri, found, components in _one_line_entries(text):
                if found == codename and "main" in components.split():
                    parts = [kind, options, uri, suite, "main"]
                    return f"hallows-{suite}.list", " ".join(p for p in parts if p) + "\n"
    return None


def preferences(suite):
    """Keeps everything in `suite` from being chosen unless it is asked for."""
    return f"Package: *\nPin: release n={suite}\nPin-Priority: {PIN}\n"


# ---- Plans ---------------------------------------------------------------------------------------


@dataclass
class Plan:
    """What is to be done, in order: files to write and commands to run, and why."""

    reasons: list
    files: list
    commands: list
    optional: bool = False
    fallback: list = field(default_factory=list)  # plans to try when this one fails

    def show(self):
        """The plan as a user would do it by hand."""
        for reason in self.reasons:
            print("  " + reason)
        for path, text in self.files:
            print(f"  write {path}:")
            print("".join(f"      {line}\n" for line in text.splitlines()), end="")
        for command in self.commands:
            print("  run: " + " ".join(command))


def _candidate_major(package):
    """Major version of what apt would install, or 0."""
    if shutil.which("apt-cache") is None:
        return 0
    output = subprocess.run(
        ["apt-cache", "policy", package], capture_output=True, text=True, timeout=60, check=False
    ).stdout
    match = re.search(r"Candidate:\s*(?:\d+:)?(\d+)\.", output)
    return int(match.group(1)) if match else 0


def has_candidate(package):
    """Whether apt offers the package at all."""
    if shutil.which("apt-cache") is None:
        return False
    output = subprocess.run(
        ["apt-cache", "policy", package], capture_output=True, text=True, timeout=60, check=False
    ).stdout
    match = re.search(r"Candidate:\s*(\S+)", output)
    return bool(match) and match.group(1) != "(none)"


def install_command(packages, suite=None):
    """apt-get's command line."""
    target = ["-t", suite] if suite else []
    return ["apt-get", "install", "-y", "--no-install-recommends", *target, *packages]


def qemu_plan(apt=None):
    """How to get QEMU 10 where the distribution's own candidate is older; None if there is no
    way. The backports' entry is derived from the machine's own."""
    apt = apt or APT
    distribution, codename = release()
    if distribution != "debian" or not codename:
        return None
    suite = f"{codename}-backports"
    reason = f"{QEMU_PACKAGE} {QEMU_WANTED}: from {suite}, the tests use what came with it"
    if suite in suites(apt):
        return Plan([reason], [], [install_command([QEMU_PACKAGE], suite)], optional=True)
    derived = derive_source(codename, suite, apt)
    if derived is None:
        return None
    name, text = derived
    files = [
        (str(apt / "sources.list.d" / name), text),
        (str(apt / "preferences.d" / f"hallows-{suite}"), preferences(suite)),
    ]
    commands = [["apt-get", "update"], install_command([QEMU_PACKAGE], suite)]
    return Plan([reason], files, commands, optional=True)


def make_plans(verb):
    """What to do so that `verb` has all it needs, as a list of plans; [] when nothing is missing."""
    missing = {}
    for need in needs_of(verb):
        if not need.present():
            missing.setdefault(need.package, need)
    wants_qemu = any(need.package == QEMU_PACKAGE for need in needs_of(verb))
    qemu = missing.pop(QEMU_PACKAGE, None)
    plans = []
    for optional in (False, True):
        some = [need for need in missing.values() if need.optional == optional]
        if optional and not _apt_lists_empty():
            # Not every release has every package; the tests that need it are skipped by name.
            some = [need for need in some if has_candidate(need.package)]
        if some:
            reasons = [f"{need.package}: {need.why}" for need in some]
            command = install_command([need.package for need in some])
            plans.append(Plan(reasons, [], [command], optional))
    version = vm.qemu_version()
    if wants_qemu and (version is None or version[0] < QEMU_WANTED):
        plans += _qemu_plans(qemu, version)
    return plans


def _qemu_plans(need, version):
    own = Plan(
        [f"{QEMU_PACKAGE}: the machine that the system runs on"],
        [],
        [install_command([QEMU_PACKAGE])],
    )
    codename = release()[1]
    if codename == "bookworm":
        newer = qemu_plan()
        if newer:
            newer.fallback = [own] if need else []
            return [newer]
    if version is None:
        return [own]
    if _candidate_major(QEMU_PACKAGE) >= QEMU_WANTED:
        own.reasons = [f"{QEMU_PACKAGE} {QEMU_WANTED}: the tests use what came with it"]
        own.optional = True
        return [own]
    return []


# ---- Doing it ------------------------------------------------------------------------------------


def _as_root(command):
    if os.geteuid() == 0:
        return command
    if shutil.which("sudo") is None:
        raise PackageError("packages are missing, and this is neither root nor is there sudo;"
                           " run as root once: " + " ".join(command))
    return ["sudo", *command]


def _carry_out(plan):
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for path, text in plan.files:
        write = _as_root(["tee", path])
        done = subprocess.run(write, input=text.encode(), stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            return False
    for command in plan.commands:
        print("+ " + " ".join(command), flush=True)
        done = subprocess.run(_as_root(command), env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            lines = done.stdout.decode("utf-8", "replace").splitlines()
            print("\n".join("    " + line for line in lines if line.startswith(("E:", "W:"))))
            return False
    return True


def _apt_lists_empty():
    lists = Path("/var/lib/apt/lists")
    return not lists.is_dir() or not any(p.is_file() and "Packages" in p.name for p in lists.iterdir())


def ensure(verb, install=True):
    """Makes sure that `verb` has what it needs. With install=False only prints what would be done.

    Raises PackageError when something required stays missing. What is optional and cannot be had
    is named, and the tests that need it are skipped.
    """
    plans = make_plans(verb)
    if not plans:
        return
    if not install:
        print(f"./hallows {verb} would install (apt, as root or through sudo):")
        for plan in plans:
            plan.show()
        still = [need for need in needs_of(verb) if not need.optional and not need.present()]
        if still:
            raise PackageError("missing and not installed: "
                               + ", ".join(sorted({need.package for need in still})))
        return
    if shutil.which("apt-get") is None:
        _without_apt(verb)
        return
    print(f"./hallows {verb} needs packages that are not installed:", flush=True)
    if _apt_lists_empty():
        _carry_out(Plan([], [], [["apt-get", "update"]]))
    for plan in plans:
        plan.show()
        if _carry_out(plan):
            continue
        for other in plan.fallback:
            print("  falling back to the distribution's own:")
            _carry_out(other)
        if not plan.files:
            _one_by_one(plan)
    still = [need for need in needs_of(verb) if not need.present()]
    for need in still:
        if need.optional:
            print(f"note: {need.package} cannot be had here ({need.why})")
    required = sorted({need.package for need in still if not need.optional})
    if required:
        raise PackageError("could not install " + ", ".join(required))


def _one_by_one(plan):
    """One package that does not exist makes apt refuse all: tries those that it offers."""
    packages = [word for word in plan.commands[-1][4:] if not word.startswith("-")]
    offered = [package for package in packages if has_candidate(package)]
    if offered and offered != packages:
        _carry_out(Plan([], [], [install_command(offered)]))


def _without_apt(verb):
    still = [need for need in needs_of(verb) if not need.present() and not need.optional]
    if still:
        words = ", ".join(f"{need.command or need.python or need.file}" for need in still)
        raise PackageError(f"missing: {words}; there is no apt here, install them by hand")
