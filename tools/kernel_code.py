# SPDX-License-Identifier: MIT OR Apache-2.0
"""The kernel's code as it was linked, read from objdump's listing: functions, their instructions, and
who reaches whom. The checks of tools/kernel_stack.py and tools/kernel_branches.py ask it.

Assembly without a type or a size of its own (traps.S) has a symbol an entry point; everything from one
symbol to the next counts as a function that goes on into the next one.
"""

import bisect
import re
import struct
import subprocess
from dataclasses import dataclass, field

import build

LINE = re.compile(r"^\s*([0-9a-f]+):\t(?:(?:cs|ds|data16) )*(\S+)\s*(.*?)\s*$")
HEAD = re.compile(r"^([0-9a-f]+) <(.+)>:$")
TARGET = re.compile(r"^([0-9a-f]+) <")
IMMEDIATE = re.compile(r"\$0x([0-9a-f]{16})\b")
RELATIVE = re.compile(r"# ([0-9a-f]+)(?: <|$)")
UPPER = 1 << 63


@dataclass
class Instruction:
    """One instruction: what objdump prints, and where it branches to, if that is a constant."""

    address: int
    name: str
    operands: str
    target: int | None


@dataclass
class Function:
    """What lies between two symbols of the code."""

    name: str
    address: int
    instructions: list = field(default_factory=list)
    falls_into: str | None = None  # the next symbol, where the last instruction goes on

    def ends(self):
        """The address behind the last instruction's start."""
        return self.instructions[-1].address + 1


class Code:
    """The functions of one linked kernel, by name and by address."""

    def __init__(self, elf=build.KERNEL):
        self.functions = {}
        self.elf = str(elf)
        listing = self._run("objdump", "-dw", "--no-show-raw-insn", self.elf)
        function = None
        for line in listing.splitlines():
            head = HEAD.match(line)
            if head:
                function = self._new(head.group(2), int(head.group(1), 16))
                continue
            match = LINE.match(line)
            if match and function is not None and match.group(2) != "(bad)":
                target = TARGET.match(match.group(3))
                function.instructions.append(Instruction(
                    int(match.group(1), 16), match.group(2), match.group(3),
                    int(target.group(1), 16) if target else None))
        self.functions = {n: f for n, f in self.functions.items() if f.instructions}
        self.order = sorted(self.functions.values(), key=lambda f: f.address)
        self.starts = [f.address for f in self.order]
        self.compiled = {address for address, size, kind, _ in self.symbols() if kind == "FUNC" and size}
        for function, following in zip(self.order, self.order[1:]):
            # What the compiler made and ends with a call is not returned to.
            if not leaves(function.instructions[-1]) and function.address not in self.compiled:
                function.falls_into = following.name

    def _new(self, name, address):
        # A static function's name may be another file's, too.
        name = name if name not in self.functions else f"{name}@{address:x}"
        self.functions[name] = Function(name, address)
        return self.functions[name]

    @staticmethod
    def _run(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def at(self, address):
        """The function that an address lies in, or None."""
        number = bisect.bisect_right(self.starts, address) - 1
        if number < 0:
            return None
        function = self.order[number]
        return function if address < function.ends() else None

    def references(self, function):
        """Names of the functions that a function calls, jumps to, goes on into, or has the address of."""
        out = set()
        for instruction in function.instructions:
            words = [instruction.target] if instruction.target else []
            words += [int(word, 16) for word in IMMEDIATE.findall(instruction.operands)]
            words += [int(word, 16) for word in RELATIVE.findall(instruction.operands)]
            for word in words:
                other = self.at(word)
                if other is not None and (other.address == word or instruction.target):
                    out.add(other.name)
        if function.falls_into:
            out.add(function.falls_into)
        return out - {function.name}

    def reachable(self, roots):
        """Names of what can run once the roots can."""
        seen, todo = set(), list(roots)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.references(self.functions[name])
        return seen

    def entries(self):
        """Names of what runs once the start is over: entry code, what it calls by table, and what the
        start ends with."""
        first, end = self.symbol("text_start"), self.symbol("entry_text_end")
        names = [f.name for f in self.order if first <= f.address < end]
        return [*names, "paging_leave_start"] + [self.at(word).name for word in self.words("handlers") if word]

    def symbols(self):
        """(address, size, type, name) of every symbol."""
        out = []
        for line in self._run("readelf", "-sW", self.elf).splitlines():
            words = line.split()
            if len(words) >= 8 and words[0].rstrip(":").isdigit():
                out.append((int(words[1], 16), int(words[2], 0), words[3], words[7]))
        return out

    def symbol(self, name):
        """A symbol's address."""
        return next(address for address, _, _, found in self.symbols() if found == name)

    def words(self, name):
        """The 64-bit words of a constant table."""
        address, size = next((a, s) for a, s, _, found in self.symbols() if found == name)
        for line in self._run("readelf", "-lW", self.elf).splitlines():
            words = line.split()
            if words[:1] == ["LOAD"]:
                offset, virtual, filled = (int(words[n], 16) for n in (1, 2, 4))
                if virtual <= address < virtual + filled:
                    with open(self.elf, "rb") as file:
                        file.seek(offset + address - virtual)
                        return struct.unpack(f"<{size // 8}Q", file.read(size))
        return ()


def leaves(instruction):
    """Whether nothing after the instruction runs because of it."""
    return instruction.name in ("jmp", "ret", "iretq", "sysretq", "hlt", "ud2")
