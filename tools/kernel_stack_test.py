# SPDX-License-Identifier: MIT OR Apache-2.0
"""The linked kernel's use of its stack, and that what is wrong is found."""

import re
import subprocess

import pytest

import build
import kernel_branches
import kernel_code
import kernel_stack

LAYOUT = (build.ROOT / "kernel/arch/x86_64/layout.h").read_text(encoding="utf-8")
# What the CPU and the entry stubs push before any function runs, and the registers that a panic saves.
BEFORE_BYTES = 256


def layout(name):
    """A size of kernel/arch/x86_64/layout.h."""
    return int(re.search(rf"#define {name} (\d+)", LAYOUT).group(1))


def code_of(tmp_path, **functions):
    """Functions of given instructions, linked where the kernel is."""
    text = "".join(f".type {name}, @function\n{name}: {body}\n.size {name}, . - {name}\n"
                   for name, body in functions.items())
    (tmp_path / "code.s").write_text(text, encoding="utf-8")
    linked = ["-nostdlib", "-static", "-Wl,-e,0", "-Wl,-Ttext=0xffffffff80200000", "-Wl,--build-id=none"]
    subprocess.run(["gcc", *linked, "-o", "code.elf", "code.s"], cwd=tmp_path, check=True)
    code = kernel_code.Code(tmp_path / "code.elf")
    code.entries = lambda: ["first"]
    code.assembly = set()
    return code


def test_the_kernel_stays_within_its_stacks():
    build.make(build.KERNEL.relative_to(build.ROOT))
    entry, panic = kernel_stack.bound()
    assert entry.size + BEFORE_BYTES <= layout("KERNEL_STACK_BYTES"), entry
    assert panic.size + BEFORE_BYTES <= layout("IST_STACK_BYTES"), panic
    assert entry.size > panic.size > 256 and "panic" in entry.calls


def test_the_kernel_has_no_branch_to_guess_but_the_dispatch():
    build.make(build.KERNEL.relative_to(build.ROOT))
    assert not kernel_branches.problems(kernel_code.Code())


def test_the_deepest_way_is_found_with_what_each_function_has_on_the_stack(tmp_path):
    code = code_of(tmp_path, first="push %rbx; je 1f; call small; 1: sub $0x20,%rsp; call large; add $0x20,%rsp; pop %rbx; ret",
                   small="sub $0x8,%rsp; add $0x8,%rsp; ret", large="push %rax; jmp last", last="push %rax; ret")
    way = kernel_stack.Stack(code).way("first")
    assert (way.size, way.calls) == (8 + 0x20 + 8 + 8 + 8, ("first", "large", "last"))


@pytest.mark.parametrize("body, says", [
    ("call second; ret", "recursion: first > second > first"),
    ("mov %rax,%rsp; ret", "mov %rax,%rsp"),
    ("sub %rax,%rsp; ret", "sub %rax,%rsp"),
    ("je 1f; push %rax; 1: ret", "two depths"),
    ("call *%rax; ret", "call "),
])
def test_a_use_of_the_stack_that_has_no_bound_is_refused(tmp_path, body, says):
    code = code_of(tmp_path, first=body, second="call first; ret")
    with pytest.raises(kernel_stack.StackError, match=re.escape(says)):
        kernel_stack.Stack(code).way("first")


@pytest.mark.parametrize("body", ["jmp *%rax", "call *8(%rbx); ret", "call __x86_indirect_thunk_rax; ret"])
def test_a_branch_to_guess_is_found(tmp_path, body):
    good = "call 2f; 1: pause; lfence; jmp 1b; 2: mov %rax,(%rsp); ret"
    code = code_of(tmp_path, first=body, __x86_indirect_thunk_rax=good)
    assert len(kernel_branches.problems(code)) == 1


def test_a_retpoline_is_one(tmp_path):
    body = "call __x86_indirect_thunk_rax; ret"
    good = "call 2f; 1: pause; lfence; jmp 1b; 2: mov %rax,(%rsp); ret"
    for thunk, wrong in ((good, 0), (good.replace("lfence; ", ""), 1), (good.replace("mov %rax,(%rsp); ", ""), 1)):
        code = code_of(tmp_path, first="jmp kernel_syscall_slow", kernel_syscall_slow=body,
                       __x86_indirect_thunk_rax=thunk)
        assert len(kernel_branches.problems(code)) == wrong, thunk
