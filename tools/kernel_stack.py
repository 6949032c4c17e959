# SPDX-License-Identifier: MIT OR Apache-2.0
"""How much of its stack the kernel can use after its start: the longest way through the calls of the
linked kernel, with what each function has on the stack where it calls. There must be no recursion.

usage: kernel_stack.py [ELF]     prints that way

Each function's use is followed through its instructions, branch by branch. What writes to the stack
pointer in a way that is not known here is an error, and so are two depths at one place. Entry code
begins with an empty stack of the CPU, a panic with what it finds: it comes once (panic.c stops at a
second), so that it may be reached from what it calls itself.
"""

import re
import sys
from dataclasses import dataclass

import build
import kernel_code

DISPATCH = "kernel_syscall_slow"  # calls one of `handlers`, and nobody else calls indirectly
THUNK = "__x86_indirect_thunk_rax"
PANICS = ("panic", "assertion_failed", "panic_trap")
ADDS = {"push": 8, "pushq": 8, "pushf": 8, "pushfq": 8, "pop": -8, "popq": -8, "popf": -8, "popfq": -8}
# Instructions that name the stack pointer last without writing to it.
READS = re.compile(r"^(cmp|test)")
MOVES = {"sub": 1, "subq": 1, "add": -1, "addq": -1}
BY = re.compile(r"^\$(-?0x[0-9a-f]+),%rsp$")
LEA = re.compile(r"^(-?0x[0-9a-f]+)\(%rsp\),%rsp$")
ALIGN = "$0xfffffffffffffff0,%rsp"  # takes 15 bytes at most
FRESH = re.compile(r"^%gs:\S+,%rsp$")  # the CPU's stack from its top, or the user's registers


class StackError(Exception):
    """Code whose use of the stack is not known."""


@dataclass
class Way:
    """The deepest way from a function on."""

    size: int
    calls: tuple  # names, this function's first


def signed(text):
    """A number as objdump prints it: 64 bits."""
    value = int(text, 16)
    return value - (1 << 64) if value >= 1 << 63 else value


def after(instruction, depth):
    """The depth behind an instruction that neither calls nor returns."""
    name, operands = instruction.name, instruction.operands
    if name in ADDS and not operands.endswith("%rsp"):
        return depth + ADDS[name]
    if not operands.endswith("%rsp") or READS.match(name):
        return depth
    if name in MOVES and BY.match(operands):
        return depth + MOVES[name] * signed(BY.match(operands).group(1))
    if name == "lea" and LEA.match(operands):
        return depth - signed(LEA.match(operands).group(1))
    if name in ("and", "andq") and operands == ALIGN:
        return depth + 15
    if name in ("mov", "movq") and (FRESH.match(operands) or "(" in operands):
        return 0
    if name in ("push", "pushq", "pop", "popq"):
        return depth + ADDS[name]
    raise StackError(f"{instruction.address:x}: {name} {operands}")


def uses(code, function):
    """(deepest, {name of a callee: depth where it begins}) of a function with an empty stack."""
    inside = {i.address: n for n, i in enumerate(function.instructions)}
    depths, todo, calls = {}, [(0, 0)], {}
    deepest = 0

    def leads(name, depth):
        calls[name] = max(calls.get(name, 0), depth)

    while todo:
        number, depth = todo.pop()
        if number == len(function.instructions):
            if function.falls_into:
                leads(function.falls_into, depth)
            continue
        if number in depths:
            if depths[number] != depth and function.name not in code.assembly:
                raise StackError(f"{function.name}: two depths at {function.instructions[number].address:x}")
            if depths[number] >= depth:
                continue
        depths[number] = depth
        instruction = function.instructions[number]
        jump, call = instruction.name.startswith("j"), instruction.name.startswith("call")
        if instruction.target in inside and jump:
            todo.append((inside[instruction.target], depth))
        elif instruction.target and (jump or call):
            leads(code.at(instruction.target).name, depth + (8 if call else 0))
        elif jump or call:
            raise StackError(f"{function.name}: {instruction.name} {instruction.operands}")
        if not kernel_code.leaves(instruction):
            depth = depth if jump or call else after(instruction, depth)
            deepest = max(deepest, depth + (8 if call else 0))
            todo.append((number + 1, depth))
    return deepest, calls


class Stack:
    """The use of the stack by a linked kernel."""

    def __init__(self, code):
        self.code = code
        code.assembly = {f.name for f in code.order if f.address not in code.compiled}
        self.ways = {}
        self.open = []

    def callees(self, name):
        """As `uses`; what is called by table is named."""
        if name == THUNK:
            return 16, {}
        deepest, calls = uses(self.code, self.code.functions[name])
        if THUNK in calls and name == DISPATCH:
            for word in self.code.words("handlers"):
                if word:
                    calls[self.code.at(word).name] = calls[THUNK]
        elif THUNK in calls:
            raise StackError(f"{name} calls through a pointer")
        return deepest, calls

    def way(self, name, cut=()):
        """The deepest way from a function on, without what begins in `cut`."""
        if name in self.open:
            raise StackError("recursion: " + " > ".join([*self.open[self.open.index(name):], name]))
        if name not in self.ways:
            self.open.append(name)
            size, calls = self.callees(name)
            found = Way(size, (name,))
            for callee, depth in calls.items():
                if callee in cut or callee == name:
                    continue
                below = self.way(callee, cut)
                if depth + below.size > found.size:
                    found = Way(depth + below.size, (name, *below.calls))
            self.open.pop()
            self.ways[name] = found
        return self.ways[name]

    def panics(self):
        """The ways of the end: what they call ends in no other."""
        found = {}
        for name in PANICS:
            self.ways = {}
            found[name] = self.way(name, PANICS)
        self.ways = found
        return found

    def deepest(self):
        """The deepest way from an entry on. Jumps of entry code go round: each part of it that begins
        afresh is looked at by itself."""
        self.panics()
        assembly = [n for n in self.code.entries() if n in self.code.assembly]
        best = Way(0, ())
        for name in assembly:
            size, calls = self.callees(name)
            best = max(best, Way(size, (name,)), key=lambda way: way.size)
            for callee, depth in calls.items():
                if callee not in self.code.assembly:
                    below = self.way(callee)
                    if depth + below.size > best.size:
                        best = Way(depth + below.size, (name, *below.calls))
        return best


def bound(elf=build.KERNEL):
    """(the deepest way from an entry, the deepest of a panic)."""
    stack = Stack(kernel_code.Code(elf))
    ends = stack.panics()
    return stack.deepest(), max(ends.values(), key=lambda way: way.size)


if __name__ == "__main__":
    for deep in bound(*sys.argv[1:2]):
        print(f"{deep.size} bytes: {' > '.join(deep.calls)}")
