# SPDX-License-Identifier: MIT OR Apache-2.0
"""Branches of the linked kernel whose target the CPU would have to guess (docs/decisions/011): after the
start there is none but the retpoline through which system calls are dispatched.

usage: kernel_branches.py [ELF]     prints what is wrong
"""

import sys

import build
import kernel_code

THUNK = "__x86_indirect_thunk_rax"
DISPATCH = "kernel_syscall_slow"


def problems(code):
    """What is wrong with the functions that can run once the start is over."""
    out = []
    for name in sorted(code.reachable(code.entries())):
        for number, instruction in enumerate(code.functions[name].instructions):
            where = f"{name}, {instruction.address:x}: {instruction.name} {instruction.operands}"
            branches = instruction.name.startswith(("j", "call", "ljmp", "lcall"))
            if branches and instruction.target is None:
                out.append(f"{where} goes where a register or memory says")
            to = code.at(instruction.target) if branches and instruction.target else None
            if to is not None and to.name != name and "thunk" in to.name and (name, to.name) != (DISPATCH, THUNK):
                out.append(f"{where} is a call through a pointer; only {DISPATCH} has one")
            if instruction.name == "ret" and "thunk" in name and not retpoline(code.functions[name], number):
                out.append(f"{where} is no retpoline")
    return out


def retpoline(function, number):
    """Whether that RET is preceded by a store over its return address, and the place where the CPU guesses
    that it goes, behind the first CALL, waits for ever."""
    words = [(i.name, i.operands.replace(" ", "")) for i in function.instructions]
    first = function.instructions[0]
    waits = [name for name, _ in words[1:number - 1]]
    return (words[number - 1] == ("mov", "%rax,(%rsp)") and first.name == "call" and
            first.target == function.instructions[number - 1].address and
            waits == ["pause", "lfence", "jmp"] and
            function.instructions[number - 2].target == function.instructions[1].address)


if __name__ == "__main__":
    found = problems(kernel_code.Code(*sys.argv[1:2] or [build.KERNEL]))
    print("\n".join(found) or "no branch but the dispatch of system calls takes its target from a register")
    sys.exit(bool(found))
