# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows test`: checks, host unit tests under sanitizers, kernel tests inside QEMU, tests of the
tools, and system tests with the real clients; ends with what passed, failed and was skipped.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

import build
import check
import fuzz
import proof_tools
import proofs
import vm
from results import Results

ROOT = build.ROOT
KERNEL_TESTS = build.BUILD / "tests/kernel"
KERNEL_TEST_SECONDS = 180
FUZZ_PROCESSES = 2
FUZZ_INPUTS = 20000
FUZZ_TARGET_SECONDS = 180


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--quick", action="store_true",
                        help="fewer power cuts and no firmware boots: a few minutes")
    parser.add_argument("filter", nargs="?", default="",
                        help="only tests whose name contains this (check/, host/, fuzz/, proofs/,"
                        " kernel/, tools/, system/ start the names)")


def _reaches(prefix, wanted):
    """Whether a group of tests can hold what was asked for."""
    return not wanted or "/" not in wanted or wanted.startswith(prefix)


def _within(prefix, wanted):
    """The filter without the group's name."""
    return wanted.removeprefix(prefix)


def host_tests(results, wanted):
    """`make host-tests`: a line for each test program."""
    if not _reaches("host/", wanted):
        return
    results.section("host unit tests, under address and undefined-behaviour sanitizers")
    jobs = str(os.cpu_count() or 1)
    command = ["make", "-C", str(ROOT), "--no-print-directory", "-k", "-Otarget", f"-j{jobs}"]
    command += [f"PYTHON={sys.executable}", "host-tests"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    programs = _programs(done.stdout)
    for program, verdict, details in programs:
        name = f"host/{program}"
        if wanted and wanted not in name:
            continue
        count = re.match(r"(\d+) passed", verdict)
        if count and not verdict.startswith("FAILED"):
            results.ok(name, verdict, count=int(count.group(1)))
        else:
            results.fail(name, details[-30:])
    if not programs or (done.returncode and not results.failed):
        results.fail("host/build", done.stdout.splitlines()[-30:])


def _programs(output):
    """(program, verdict, lines that follow) of each line of `make host-tests`."""
    out = []
    for line in output.splitlines():
        match = re.match(r"(\S+_test)\s+(.*)", line)
        if match:
            out.append((match.group(1), match.group(2), []))
        elif out:
            out[-1][2].append(line)
    return out


def fuzz_long(results, options):
    """Ten million random system calls (HALLOWS_FUZZ_CALLS: another number), on two CPUs."""
    name = "host/kernel/fuzz_long"
    if not _reaches("host/", options.filter) or options.filter not in name:
        return
    results.section("random system calls, without sanitizers")
    build.make("fuzz-long")
    calls = int(os.environ.get("HALLOWS_FUZZ_CALLS", 10**6 if options.quick else 10**7))
    first = int(os.environ.get("HALLOWS_FUZZ_SEED", "1"), 0)
    runs = []
    for seed in range(first, first + FUZZ_PROCESSES):
        environment = dict(os.environ, HALLOWS_FUZZ_CALLS=str(calls // FUZZ_PROCESSES),
                           HALLOWS_FUZZ_SEED=str(seed), HALLOWS_FUZZ_CHECK_EVERY="64")
        runs.append(subprocess.Popen([build.BUILD / "host/kernel/fuzz_long"], env=environment,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    outputs = [run.communicate()[0].splitlines() for run in runs]
    if all(run.returncode == 0 for run in runs):
        results.ok(name, f"{calls} calls, no invariant broken")
    else:
        results.fail(name, [line for output in outputs for line in output[-10:]])


def fuzz_tests(results, options):
    """Each parser of untrusted bytes under libFuzzer: a fixed number of inputs."""
    if not _reaches("fuzz/", options.filter):
        return
    names = fuzz.targets(_within("fuzz/", options.filter))
    if not names:
        return
    results.section("parsers under libFuzzer")
    if shutil.which("clang") is None:
        results.skip("fuzz", "clang is missing")
        return
    limits = [f"-runs={FUZZ_INPUTS}", "-seed=1"]
    for outcome in fuzz.run_all(names, limits, FUZZ_TARGET_SECONDS):
        if outcome.good:
            results.ok(f"fuzz/{outcome.name}", f"{outcome.inputs} inputs, {outcome.edges} edges")
        else:
            results.fail(f"fuzz/{outcome.name}", outcome.details)


def proof_tests(results, wanted):
    """The proofs that are quick."""
    if not _reaches("proofs/", wanted):
        return
    chosen = [proof for proof in proofs.find_proofs(_within("proofs/", wanted)) if proof.quick]
    if not chosen:
        return
    results.section("proofs")
    try:
        outcomes = proofs.prove_all(chosen, show=lambda line: None)
    except proof_tools.ToolError as reason:
        results.skip("proofs", str(reason))
        return
    for outcome in outcomes:
        name = f"proofs/{outcome.name}"
        if outcome.good:
            results.ok(name, f"{outcome.properties} properties")
        else:
            results.fail(name, [outcome.verdict, *outcome.details])


def kernel_tests(results, wanted):
    """Test kernels inside QEMU: each prints `PASS name`, `FAIL name: why`, `SKIP name: why`."""
    if not _reaches("kernel/", wanted):
        return
    images = sorted(KERNEL_TESTS.glob("*.elf"))
    if not images:
        return
    results.section("kernel tests inside QEMU")
    build.make_checked_kernel()
    for path in images:
        kernel_machines(results, path, _within("kernel/", wanted))


def kernel_machines(results, path, wanted):
    """Runs one test kernel on every machine that makes a difference to it; on two of them with a
    checked kernel, which asks its invariants after every entry (kernel/invariants.h)."""
    bundle_path = path.with_suffix(".bundle")
    kinds = [(1, iommu, False, "max") for iommu in (None, *vm.IOMMUS)]
    kinds += [(2, None, False, "max,-x2apic,vendor=GenuineIntel"), (4, None, False, "max")]
    kinds += [(1, "legacy", True, "max"), (2, None, True, "max")]
    for cpus, iommu, checked, cpu in kinds:
        kernel = build.CHECKED_KERNEL if checked else build.KERNEL
        machine = vm.Machine(
            kernel=kernel if bundle_path.exists() else path,
            bundle=bundle_path if bundle_path.exists() else None,
            nic=None,
            iommu=iommu,
            cpus=cpus,
            cpu=cpu,
            memory_mib=256,
            exit_on_reset=True,
            extra=["-global", "hpet.msi=on", "-device", "edu"],
        )
        suffix = f"-vtd-{iommu}" if iommu else f"-{cpus}-cpus" if cpus > 1 else ""
        # An Intel that does not say RDCL_NO gets isolated page tables.
        suffix += "-xapic-isolated" if "GenuineIntel" in cpu else ""
        suffix += "-checked" if checked else ""
        kernel_test(results, f"kernel/{path.stem}{suffix}", machine, wanted)


def kernel_test(results, group, machine, wanted):
    """Runs one test kernel and takes its verdicts from the console."""
    with vm.Vm(machine) as guest:
        try:
            guest.wait_for(r"^TESTS DONE.*$", KERNEL_TEST_SECONDS)
            ended = None
        except vm.VmError as error:
            ended = str(error).splitlines()
        text = guest.serial
    for line in text.splitlines():
        match = re.match(r"(PASS|FAIL|SKIP) ([^:]+)(?:: (.*))?$", line.strip())
        if not match or (wanted and wanted not in match.group(2)):
            continue
        name, why = f"{group}/{match.group(2)}", match.group(3) or ""
        if match.group(1) == "PASS":
            results.ok(name)
        elif match.group(1) == "FAIL":
            results.fail(name, [why])
        else:
            results.skip(name, why)
    done = re.search(r"^TESTS DONE .* (\d+) failed", text, re.MULTILINE)
    if done and int(done.group(1)) != len(re.findall(r"^FAIL ", text, re.MULTILINE)):
        ended = [f"{done.group(1)} tests failed, not all of them with a line that says so"]
    if ended:
        results.fail(group, ended)


def pytest_tests(results, group, folder, options):
    """Runs pytest on a folder and counts what it reports."""
    prefix = f"{group}/"
    if not _reaches(prefix, options.filter):
        return
    results.section(f"{group} tests")
    with tempfile.TemporaryDirectory(prefix="hallows-") as work:
        report = Path(work) / "report.xml"
        command = [sys.executable, "-B", "-m", "pytest", str(ROOT / folder), "-v", "--tb=short"]
        command += ["--no-header", "--no-summary", f"--junitxml={report}"]
        command += ["--rootdir", str(ROOT), "-c", str(ROOT / "pytest.ini")]
        environment = dict(os.environ, HALLOWS_QUICK="1" if options.quick else "")
        # Names hold characters that -k does not take: all their words must be there.
        keyword = " and ".join(re.findall(r"\w+", _within(prefix, options.filter)))
        if keyword:
            command += ["-k", keyword]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
        if not report.exists():
            results.fail(f"{group}/pytest", [f"pytest ended with status {done.returncode}"])
            return
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            name = f"{group}/{case.get('classname').split('.')[-1]}::{case.get('name')}"
            broken = case.find("failure")
            broken = case.find("error") if broken is None else broken
            if broken is not None:
                results.fail(name, (broken.text or "").splitlines()[-60:])
            elif case.find("skipped") is not None:
                results.skip(name, case.find("skipped").get("message", ""), show=False)
            else:
                results.ok(name, show=False)


def main(options):
    """The verb: returns the exit status."""
    results = Results()
    wanted = options.filter
    if _reaches("check/", wanted):
        results.section("checks")
        check.run_checks(results, wanted)
    build_needed = any(_reaches(group, wanted) for group in ("kernel/", "system/"))
    if build_needed:
        results.section("build")
        build.make("all")
    host_tests(results, wanted)
    fuzz_long(results, options)
    fuzz_tests(results, options)
    proof_tests(results, wanted)
    kernel_tests(results, wanted)
    pytest_tests(results, "tools", "tools", options)
    pytest_tests(results, "system", "tests/system", options)
    return results.finish()
