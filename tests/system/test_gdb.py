# SPDX-License-Identifier: MIT OR Apache-2.0
"""GDB with our commands on a running system, through QEMU's gdbstub."""

import re
import subprocess

import build
from conftest import require_command
from guest import Guest, machine_for
from kernel_code import Code

SCRIPT = build.ROOT / "tools/gdb/hallows.py"


def gdb(socket, *commands):
    """What GDB prints for the commands."""
    arguments = ["gdb", "-nx", "-batch", build.KERNEL, "-x", SCRIPT]
    for command in ("set pagination off", f"target remote {socket}", *commands, "detach"):
        arguments += ["-ex", command]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    assert "Error" not in done.stderr, done.stderr
    return done.stdout


def test_commands_on_a_running_system(disk, tmp_path):
    require_command("gdb")
    socket = tmp_path / "gdb"
    machine = machine_for("shared", disk, extra=["-gdb", f"unix:{socket},server=on,wait=off"])
    with Guest(machine) as guest:
        with guest.client() as client:
            assert client("SET", "key", "value") == "OK"
            cells = gdb(socket, "hallows cells")
            aspaces = re.findall(r"^cell aspace (\w+)  tables (\w+)$", cells, re.MULTILINE)
            assert len(aspaces) == 4  # supervisor, pci, nic, kvstore
            assert len(re.findall(r"^  thread \w+  \w+.*priority \d+", cells, re.MULTILINE)) == 4
            threads = gdb(socket, "hallows threads", "hallows queues", "hallows io", "hallows")
            assert re.search(r"^thread \w+  receiving on (\w+)", threads, re.MULTILINE)
            assert re.search(r"^endpoint \w+  receiving: \w+", threads, re.MULTILINE)
            assert re.search(r"^cpu 0  current \w+", threads, re.MULTILINE)
            assert len(re.findall(r"^iospace \w+  domain \d+  functions 00:", threads,
                                  re.MULTILINE)) == 2
            assert "hallows walk SPACE ADDRESS" in threads
            table = gdb(socket, "hallows caps", *(f"hallows caps {name}" for _, name in aspaces))
            assert re.search(r"^ +1  console +rw", table, re.MULTILINE)
            assert re.search(r"untyped .* original", table)
            walks = [gdb(socket, f"hallows walk {aspace} 400000", f"hallows walk {aspace} 1000")
                     for aspace, _ in aspaces]
            assert all(re.search(r"^physical [1-9a-f]\w*000$", walk, re.MULTILINE)
                       and "nothing is there" in walk for walk in walks)
            shown = re.findall(r"^([0-9a-f]+)\.\.([0-9a-f]+)  (...)", gdb(socket, "hallows image"),
                               re.MULTILINE)
            # Code of the start, and the guard below its stack, are there no more.
            assert [what for _, _, what in shown] == ["r-x", "r--", "rw-", "rw-"]
            code = Code()
            slide = int(shown[0][0], 16) - code.symbol("text_start")
            assert slide > 0 and slide % 4096 == 0
            assert int(shown[0][1], 16) == code.symbol("text_end") + slide
            assert code.symbol("x86_64_start") < code.symbol("start_end") <= code.symbol("text_start")
            assert "0 events; off" in gdb(socket, "hallows trace")
            gdb(socket, "set kernel_state.cpus[0].trace.on = 1")
            for _ in range(50):
                assert client("PING") == "PONG"
            trace = gdb(socket, "hallows trace")
            assert re.search(r"^ +\d+ +[\d.]+ us  thread \w+  irq \w+", trace, re.MULTILINE)
            assert "; on" in trace
            space = re.search(r"^iospace (\w+) ", threads, re.MULTILINE)[1]
            assert "physical" in gdb(socket, f"hallows walk {space} 100000000")
            assert client("GET", "key") == b"value"  # it runs on
        assert guest.shut_down() == 0
