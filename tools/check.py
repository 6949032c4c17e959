# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows check`: format, licence lines, include layers, headers that stand alone, file lengths,
scripts, manifests and links. Reads the tree, changes nothing.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import build
import kernel_reference
from results import Results
from system_description import ManifestError, load_system

ROOT = build.ROOT
LINES_MAX = 600
# Code lines of the kernel that ships, C and assembly with headers: its promise is to stay below.
# The executable invariants are its specification: the release image holds none of them.
KERNEL_LINES_MAX = 10_000
KERNEL_SPECIFICATION = re.compile(r"^kernel/(arch/x86_64/)?invariants[a-z_]*\.[ch]$")

# Compiler headers that a freestanding implementation has (C11 4p6), and intrinsics.
FREESTANDING = {
    "float.h", "iso646.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h",
    "stddef.h", "stdint.h", "stdnoreturn.h", "immintrin.h", "nmmintrin.h", "smmintrin.h",
    "x86intrin.h", "cpuid.h",
}
# Which top folders the code of a top folder may include; its own part of it is allowed anyway.
LAYERS = {
    "include": set(),
    "lib": {"lib"},
    "kernel": {"lib", "kernel"},
    "runtime": {"lib", "runtime"},
    "drivers": {"lib", "runtime", "drivers"},
    "services": {"lib", "runtime", "drivers"},
    "apps": {"lib", "runtime", "drivers"},
}
# Libraries of a top folder's members, for all of them.
SHARED = ("drivers/net/cell/",)
# Code that runs on the host: any header of the C library.
HOST_ONLY = re.compile(r"(_test|_fake|_host|_fuzz|_bench)\.[ch]$|^kernel/arch/host/|^tests/|^bench/|^proofs/")
# What stands in for the machine and its memory in a proof; only the model checker reads it.
PROOF_MACHINE = "proofs/kernel/"
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
# Paths that name the machine of whoever wrote them; split, so that this file does not match.
MACHINE_PATHS = re.compile("|".join(["/" + "work/", "/" + "home/[a-z]", "/" + "root/"]))
SPDX = "SPDX-License-Identifier: MIT OR Apache-2.0"


class Skip(Exception):
    """This check cannot run here; str() says why."""


def tracked(*endings):
    """Files that git knows or would add, by ending; all, where there is no git or no repository."""
    names = None
    if shutil.which("git"):
        done = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )
        names = done.stdout.splitlines() if done.returncode == 0 else None
    if names is None:
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
        names = [n for n in names if not re.search(r"^(build|\.git)/|__pycache__", n)]
    return sorted(n for n in set(names) if n.endswith(endings) and (ROOT / n).is_file())


def read(name):
    """A file's text."""
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def check_format():
    """clang-format 14 leaves every C file as it is"""
    tool = "clang-format-14"
    if shutil.which(tool) is None:
        raise Skip(f"{tool} is not installed")
    files = tracked(".c", ".h")
    done = subprocess.run(
        [tool, "--dry-run", "-Werror", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if "error:" in line})
    return [f"{name}: not formatted; run {tool} -i {name}" for name in wrong]


def check_licence():
    """every source file has its SPDX line"""
    files = tracked(".c", ".h", ".S", ".ld", ".py", ".sh", ".toml", ".ini", "Makefile", ".mk")
    files += [name for name in ("hallows", ".ci/run") if (ROOT / name).exists()]
    out = []
    for name in files:
        head = read(name).splitlines()[:3]
        if not any(SPDX in line for line in head):
            out.append(f"{name}:1: no line '{SPDX}'")
    return out


def _includes(name):
    """(line, quote, header, on the host only) of each include."""
    host = []
    for number, line in enumerate(read(name).splitlines(), start=1):
        if re.match(r"\s*#\s*if", line):
            host.append("HALLOWS_HOST" in line and "ifndef" not in line and "!" not in line)
        elif re.match(r"\s*#\s*el", line) and host:
            host[-1] = False
        elif re.match(r"\s*#\s*endif", line) and host:
            host.pop()
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2), any(host)


def _layer_problem(name, header):
    """Why `name` may not include the project's `header`, or None."""
    top, target = name.split("/")[0], header.split("/")[0]
    if top not in LAYERS:
        return None
    if not (ROOT / header).exists():
        return "is not rooted at the repository" if "/" not in header else None
    if HOST_ONLY.search(name) and target == "tests":
        return None
    if header.startswith(PROOF_MACHINE) and name in ("kernel/arch.h", "kernel/state.h"):
        return None
    own = "/".join(name.split("/")[:2])
    if header.startswith(own + "/"):
        return None
    if target not in LAYERS[top] and not (target == top and header.startswith(SHARED)):
        return f"is not for {top}/"
    if top == "kernel" and header.startswith("kernel/arch/"):
        parts = header.split("/")
        if len(parts) > 3 and not name.startswith("/".join(parts[:3])):
            chooses = name == "kernel/arch.h" or name.startswith("kernel/boot/")
            if not chooses and not HOST_ONLY.search(name):
                return "is one machine's private header; use kernel/arch.h"
    if HOST_ONLY.search(header) and not HOST_ONLY.search(name) and name != "kernel/arch.h":
        return "is for host tests"
    return None


def check_layers():
    """includes flow one way, and freestanding code takes no header of the C library"""
    out = []
    for name in tracked(".c", ".h"):
        freestanding = name.split("/")[0] in LAYERS and not HOST_ONLY.search(name)
        for number, quote, header, host in _includes(name):
            if quote == '"':
                problem = _layer_problem(name, header)
                if problem:
                    out.append(f'{name}:{number}: "{header}" {problem}')
            elif header.startswith("hallows/"):
                if not (ROOT / "include" / header).exists():
                    out.append(f"{name}:{number}: <{header}> does not exist")
            elif freestanding and not host and header not in FREESTANDING:
                out.append(f"{name}:{number}: <{header}> is no freestanding header")
    return out


def check_headers():
    """every header compiles alone"""
    if shutil.which("gcc") is None:
        raise Skip("gcc is not installed")
    groups = {}
    for name in tracked(".h"):
        if name.startswith(PROOF_MACHINE):
            continue
        if HOST_ONLY.search(name):
            flags = ("-DHALLOWS_HOST", "-D_GNU_SOURCE", "-msse4.2")
        elif name.startswith("kernel/"):
            flags = ("-ffreestanding", "-DHALLOWS_KERNEL", "-mgeneral-regs-only")
        else:
            flags = ("-ffreestanding", "-msse4.2")
        groups.setdefault(flags, []).append(name)
    out = []
    for flags, names in groups.items():
        command = ["gcc", "-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-I.", "-Iinclude"]
        command += [*flags, "-x", "c", *names]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        # A lone header leaves its static functions and constants unused.
        out += [line for line in done.stderr.splitlines() if " error: " in line]
    return out


def check_lengths():
    """no source file has more than 600 lines"""
    files = tracked(".c", ".h", ".S", ".py")
    lengths = ((name, read(name).count("\n")) for name in files)
    return [f"{name}: {n} lines, more than {LINES_MAX}" for name, n in lengths if n > LINES_MAX]


def code_lines(text):
    """How many lines hold code: no blank ones, no comments."""
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match.group().count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    return sum(1 for line in text.splitlines() if line.strip())


def kernel_lines():
    """Lines of code of the kernel that ships."""
    files = [n for n in tracked(".c", ".h", ".S") if n.startswith("kernel/")]
    files = [n for n in files if not HOST_ONLY.search(n) and not KERNEL_SPECIFICATION.search(n)]
    return sum(code_lines(read(name)) for name in files)


def check_kernel_size():
    """the kernel that ships has fewer than 10,000 lines of code"""
    total = kernel_lines()
    if total < KERNEL_LINES_MAX:
        return []
    return [f"kernel/: {total} lines of code; it has to stay below {KERNEL_LINES_MAX}"]


def check_shell():
    """shellcheck finds nothing"""
    if shutil.which("shellcheck") is None:
        raise Skip("shellcheck is not installed")
    files = tracked(".sh") + [n for n in ("hallows", ".ci/run") if (ROOT / n).exists()]
    done = subprocess.run(
        ["shellcheck", "-f", "gcc", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()


def check_python():
    """every Python file compiles"""
    out = []
    for name in tracked(".py"):
        try:
            compile(read(name), name, "exec", dont_inherit=True)
        except SyntaxError as error:
            out.append(f"{name}:{error.lineno}: {error.msg}")
    return out


def check_paths():
    """no file names a path of somebody's machine"""
    out = []
    for name in tracked(""):
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE_PATHS.search(line):
                out.append(f"{name}:{number}: a machine's own path: {line.strip()[:80]}")
    return out


def check_manifests():
    """every system description is valid"""
    out = []
    for name in tracked("system.toml"):
        try:
            load_system(ROOT / name, ROOT)
        except ManifestError as error:
            out += error.problems
    return out


def check_links():
    """links in the documents lead somewhere"""
    out = []
    for name in tracked(".md"):
        for number, line in enumerate(read(name).splitlines(), start=1):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
                if "://" not in target and not target.startswith("mailto:"):
                    if not (ROOT / Path(name).parent / target).exists():
                        out.append(f"{name}:{number}: link to '{target}', which does not exist")
    return out


def check_reference():
    """docs/kernel-reference.md is what tools/kernel_reference.py writes"""
    if kernel_reference.PAGE.read_text(encoding="utf-8") == kernel_reference.reference():
        return []
    return ["docs/kernel-reference.md: not what the sources say; run tools/kernel_reference.py"]


CHECKS = {
    "format": check_format,
    "licence": check_licence,
    "layers": check_layers,
    "headers": check_headers,
    "lengths": check_lengths,
    "kernel-size": check_kernel_size,
    "shell": check_shell,
    "python": check_python,
    "paths": check_paths,
    "manifests": check_manifests,
    "links": check_links,
    "reference": check_reference,
}


def run_checks(results, wanted=""):
    """Runs the checks whose name contains `wanted`."""
    for name, function in CHECKS.items():
        title = f"check/{name}"
        if wanted and wanted not in title:
            continue
        try:
            problems = function()
        except Skip as reason:
            results.skip(title, str(reason))
            continue
        if problems:
            results.fail(title, problems[:40] + ([f"... {len(problems)} in all"] * (len(problems) > 40)))
        else:
            results.ok(title, function.__doc__)


def add_options(parser):
    """The verb's options."""
    parser.add_argument("name", nargs="?", default="", help="only the checks with this in the name")


def main(options):
    """The verb: returns the exit status."""
    os.chdir(ROOT)
    results = Results()
    run_checks(results, options.name)
    return results.finish()
