# SPDX-License-Identifier: MIT OR Apache-2.0
"""What can kill a planted fault, cheap ones first: the kernel's unit tests and the system-call fuzzer
on the host (one program, of which only what the fault changes is compiled anew), the proofs that name
the file, and the kernel tests inside QEMU on a checked kernel.
"""

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import build
import proofs
import vm

ROOT = build.ROOT
COPIED = ("include", "kernel", "lib", "proofs")
CPU_SECONDS = 60  # of a host program; without a fault they take 10
WALL_SECONDS = 240
KERNEL_TEST_SECONDS = 90
CALLS = 20000  # random calls with every invariant asked after each
CALLS_LONG = 300000  # the same, all asked after each 64
# The compiler's opinions are no test; only what cannot be meant is refused.
UNWANTED = re.compile(r"^-W(all|extra|error|shadow|conversion|missing-|strict-|vla|undef)")
REFUSED = ["-Werror=incompatible-pointer-types", "-Werror=int-conversion",
           "-Werror=implicit-function-declaration"]
QUIET_COMPILER = dict(os.environ, CCACHE_DISABLE="1")


class KillerError(Exception):
    """The tests fail without a fault, or nothing could be built."""


def make_variables(names, variables=()):
    """Values of the Makefile's variables, as lists of words."""
    show = ["--eval", "show-%: ; $(info $($*)) @:"]
    out = {}
    for name in names:
        command = ["make", "-C", str(ROOT), "-s", "--no-print-directory", *variables, *show]
        done = subprocess.run([*command, f"show-{name}"], capture_output=True, text=True, check=True)
        out[name] = shlex.split(done.stdout)
    return out


def users_of(file, tree):
    """The sources below build/`tree` that were compiled with a file, by the compiler's lists."""
    if file.endswith(".c"):
        return [file]
    out = []
    folder = build.BUILD / tree
    for path in sorted(folder.rglob("*.d")):
        if re.search(rf"(?m)[ \t]{re.escape(file)}(?=[ \t\\:]|$)", path.read_text("utf-8")):
            out.append(path.relative_to(folder).as_posix().removesuffix(".d"))
    return out


def _limit():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Host:
    """Unit tests and fuzzer of the kernel in one program."""

    def __init__(self):
        build.make("kernel-units", "fuzz-long")
        values = make_variables(["FUZZ_LONG_FLAGS", "KERNEL_UNITS_SOURCES"])
        self.flags = [f for f in values["FUZZ_LONG_FLAGS"] if not UNWANTED.match(f)
                      and f not in ("-MMD", "-MP")]
        self.objects = {f: build.BUILD / f"fuzz-long-obj/{f}.o" for f in values["KERNEL_UNITS_SOURCES"]}
        # Last, so that quick tests go first.
        for slow in ("kernel/fuzz_test.c", "kernel/fastpath_test.c"):
            self.objects.pop(slow, None)
            self.objects[slow] = build.BUILD / f"fuzz-long-obj/{slow}.o"

    def accepts(self, overlay, file):
        """Whether the compiler takes it."""
        users = [f for f in users_of(file, "fuzz-long-obj") if f in self.objects]
        return bool(users) and self._compile(overlay, users[0], None)

    def _compile(self, overlay, file, output):
        source = overlay / file
        command = ["gcc", f"-I{overlay}", *self.flags, *REFUSED]
        command += ["-c", str(source if source.exists() else file)]
        command += ["-o", str(output)] if output else ["-fsyntax-only"]
        done = subprocess.run(command, cwd=ROOT, env=QUIET_COMPILER, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def link(self, overlay, file):
        """The program with the fault; None: the compiler refused it."""
        objects = dict(self.objects)
        for number, user in enumerate(f for f in users_of(file, "fuzz-long-obj") if f in objects):
            objects[user] = overlay / f"{number}.o"
            if not self._compile(overlay, user, objects[user]):
                return None
        program = overlay / "program"
        command = ["gcc", *self.flags, *map(str, objects.values()), "-o", str(program)]
        done = subprocess.run(command, cwd=ROOT, env=QUIET_COMPILER, stderr=subprocess.PIPE,
                              check=False)
        return program if done.returncode == 0 else None

    def run(self, program, only="", calls=CALLS, every=1):
        """The test that fails, with its first words, or None."""
        environment = dict(os.environ, HALLOWS_TEST_FIRST_FAILURE="1",
                           HALLOWS_FUZZ_CALLS=str(calls), HALLOWS_FUZZ_CHECK_EVERY=str(every))
        try:
            done = subprocess.run([str(program), *([only] if only else [])], env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  preexec_fn=_limit, timeout=WALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return "host/kernel: does not end"
        if done.returncode == 0:
            return None
        output = done.stdout.decode("utf-8", "replace")
        test = ([""] + re.findall(r"^RUN (\w+)", output, re.M))[-1]
        what = "fuzzer" if test == "random_calls" else f"host/kernel {test}"
        said = re.search(r"^  \S+:\d+: (.*)", output, re.M)
        ended = {-signal.SIGXCPU: "does not end", -signal.SIGKILL: "does not end"}.get(
            done.returncode, f"ends with status {done.returncode}")
        return f"{what}: {said.group(1)[:80] if said else ended}"

    def kill(self, overlay, file):
        """(name of the killer or None, whether it compiled)."""
        program = self.link(overlay, file)
        if program is None:
            return "compiler", False
        killer = self.run(program) or self.run(program, "random_calls", CALLS_LONG, 64)
        return killer, True


class Machine:
    """The kernel tests inside QEMU, on a checked kernel."""

    def __init__(self):
        build.make_checked_kernel()
        build.make("kernel-test-image")
        here = build.CHECKED_KERNEL.parent.parent
        variables = (f"BUILD={here.relative_to(ROOT)}", "CHECKED=1")
        values = make_variables(["KERNEL_FLAGS", "KERNEL_OBJECTS", "link_kernel"],
                                variables)
        self.flags = [f for f in values["KERNEL_FLAGS"] if not UNWANTED.match(f)
                      and f not in ("-MMD", "-MP")]
        # As the first link of a build: nothing set apart, so that no table of addresses is needed.
        whole = (build.CHECKED_KERNEL.parent / "whole").relative_to(ROOT)
        self.link = [f"-L{whole}" if word == "-L" else word for word in values["link_kernel"]]
        self.tree = here.relative_to(build.BUILD) / "kernel-obj"
        self.objects = {o.split("/kernel-obj/")[1].removesuffix(".o"): ROOT / o
                        for o in values["KERNEL_OBJECTS"]}
        self.symbols = build.CHECKED_KERNEL.parent / "empty.symbols.o"
        self.bundle = build.BUILD / "tests/kernel/semantics.bundle"

    def kernel(self, overlay, file):
        """The kernel with the fault, or None."""
        objects = dict(self.objects)
        for number, user in enumerate(f for f in users_of(file, self.tree) if f in objects):
            objects[user] = overlay / f"k{number}.o"
            source = overlay / user
            command = ["gcc", f"-I{overlay}", *self.flags]
            command += ["-c", str(source if source.exists() else user), "-o", str(objects[user])]
            done = subprocess.run(command, cwd=ROOT, env=QUIET_COMPILER,
                                  stderr=subprocess.DEVNULL, check=False)
            if done.returncode:
                return None
        output = overlay / "kernel.elf"
        subprocess.run([*self.link, "-o", str(output), str(self.symbols),
                        *map(str, objects.values())], cwd=ROOT, check=True)
        return output

    def run(self, kernel, cpus):
        """The first test that fails, or None."""
        machine = vm.Machine(kernel=kernel, bundle=self.bundle, nic=None, cpus=cpus, memory_mib=256,
                             iommu="legacy" if cpus == 1 else None, exit_on_reset=True, command_line="nokaslr",
                             extra=["-global", "hpet.msi=on", "-device", "edu"])
        with vm.Vm(machine) as guest:
            try:
                guest.wait_for(r"^TESTS DONE.*$", KERNEL_TEST_SECONDS, unless=r"^FAIL \w+.*$")
                return None
            except vm.VmError:
                text = guest.serial
        found = re.search(r"^FAIL (\w+)", text, re.M)
        if found:
            return f"kernel {found.group(1)}"
        found = re.search(r"^.*(assertion|invariant|panic|PANIC).*$", text, re.M)
        return f"checked kernel: {found.group(0)[:80]}" if found else "kernel: does not end"

    def kill(self, overlay, file):
        """The killer's name, or None. Tests have deadlines: what failed once must fail twice."""
        kernel = self.kernel(overlay, file)
        for cpus in (1, 2) if kernel else ():
            if self.run(kernel, cpus):
                again = self.run(kernel, cpus)
                if again:
                    return again
        return None


def killing_proof(tool, file, text, deadline=CPU_SECONDS):
    """The name of the first proof that does not hold with this text of a file, or None; `compiler`
    if it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="hallows-mutant-") as work:
        folder = Path(work)
        concerned = [p for p in proofs.find_proofs() if file in proofs.sources_of(p.file)]
        if concerned:
            for name in COPIED:
                shutil.copytree(ROOT / name, folder / name)
            (folder / file).write_text(text, "utf-8")
        for proof in concerned:
            outcome, _ = proofs.prove(tool, proof, deadline, folder, cache=None)
            if outcome.verdict == "ERROR":
                return "compiler"
            if not outcome.good and outcome.verdict != "TIMEOUT":  # undecided is not found
                return f"proof {proof.name}"
    return None
