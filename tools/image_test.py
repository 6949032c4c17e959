# SPDX-License-Identifier: MIT OR Apache-2.0
"""Unit tests of the image tool: layouts against the headers, manifests good and bad, bundles."""

import shutil
import subprocess
from pathlib import Path

import bundle
import image
import layout
import pytest
from system_description import ManifestError, compile_system, load_system
from toml_source import key_lines

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = sorted(path.parent.name for path in (ROOT / "systems").glob("*/system.toml"))


def test_layout_is_that_of_the_headers(tmp_path):
    lines = ["#include <hallows/cell.h>", "#include <hallows/ring.h>", "#include <stdio.h>"]
    lines += ["int main(void) {"]
    for name in layout.CONSTANTS:
        lines.append(f'printf("{name} %llu\\n", (unsigned long long){name});')
    for kind, fields in layout.STRUCTS.items():
        lines.append(f'printf("{kind} %zu\\n", sizeof(struct {kind}));')
        for field, _, _ in fields:
            lines.append(f'printf("{kind}.{field} %zu\\n", offsetof(struct {kind}, {field}));')
    source = tmp_path / "layout.c"
    source.write_text("\n".join(lines + ["return 0; }"]))
    program = tmp_path / "layout"
    subprocess.run(["gcc", f"-I{ROOT}/include", str(source), "-o", str(program)], check=True)
    output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    ours = {name: getattr(layout, name) for name in layout.CONSTANTS}
    for kind, fields in layout.STRUCTS.items():
        ours[kind] = layout.size(kind)
        for field, _, _ in fields:
            ours[f"{kind}.{field}"] = layout.offset(kind, field)
    theirs = {line.split()[0]: int(line.split()[1]) for line in output.splitlines()}
    assert theirs == ours


def test_crc32c_check_value():
    # RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and 0..31.
    assert bundle.crc32c(bytes(32)) == 0x8A9136AA
    assert bundle.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert bundle.crc32c(bytes(range(32))) == 0x46DD794E


def test_key_lines_see_through_strings_and_arrays():
    text = 'a = 1\n[t]\nb = [\n "x", # ] no\n "y = 3",\n]\nc = """\nd = 4\n"""\n[t.u]\ne.f = 2\n'
    assert key_lines(text) == {
        ("a",): 1, ("t",): 2, ("t", "b"): 3, ("t", "c"): 7, ("t", "u"): 10, ("t", "u", "e", "f"): 11,
    }


@pytest.mark.parametrize("name", SYSTEMS)
def test_provided_system_compiles(name):
    system = load_system(ROOT / f"systems/{name}/system.toml", ROOT)
    data = compile_system(system)
    header = layout.unpack("system_header", data)
    assert header["total_bytes"] == len(data) and header["name"] == name
    assert header["cell_count"] == len(system.cells)
    for index, cell in enumerate(system.cells):
        packed = layout.unpack(
            "system_cell", data, header["cells_offset"] + index * layout.size("system_cell")
        )
        assert packed["name"] == cell.name and packed["heap_bytes"] == cell.heap
        config = data[packed["config_offset"] :][: packed["config_bytes"]]
        pairs = dict(item.split(b"=", 1) for item in config.split(b"\0") if item)
        assert pairs.items() >= {k.encode(): v.encode() for k, v in cell.config.items()}.items()
        told = [one for one in system.loglets.values() if one["server"] == cell.name]
        assert len(pairs) == len(cell.config) or told


@pytest.fixture(name="shared")
def shared_system(tmp_path):
    """A copy of the shared system that a test may spoil."""
    shutil.copytree(ROOT / "systems", tmp_path / "systems")
    return tmp_path / "systems/shared"


def spoil(folder, file, old, new):
    """Replaces `old` by `new` in one file and returns the message and the line of `new`."""
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestError) as caught:
        load_system(folder / "system.toml", folder.parent.parent)
    for problem in caught.value.problems:
        assert "; fix: " in problem
    return caught.value.problems


BAD = [
    # file, old text, new text, place and words of the message
    ("system.toml", 'memory = "512M"', 'memroy = "512M"', ":7: ", "did you mean 'memory'?"),
    ("system.toml", "[device.net0]", "[devise.net0]", ":10: ", "did you mean 'device'?"),
    ("system.toml", 'kind = "net"', 'kind = "nett"', ":11: ", "did you mean 'net'?"),
    ("system.toml", "irqs = 2", "irqs = 9", ":12: ", "outside 1 to 8"),
    ("system.toml", "irqs = 2", 'irqs = "2"', ":12: ", "is text, not a whole number"),
    ("system.toml", "irqs = 2", "irqs = true", ":12: ", "is a boolean, not a whole number"),
    ("system.toml", 'server = "nic"', 'server = "nik"', ":20: ", "no cell of this system (did you mean 'nic'?)"),
    ("system.toml", 'server = "nic"', 'server = "kvstore"', ":20: ", "same cell at both ends"),
    ("system.toml", 'server = "nic"\n', "", ":18: ", "missing key 'server'"),
    ("system.toml", "entries = 256", "entries = 200", ":21: ", "not a power of two"),
    ("system.toml", "buffer_bytes = 2048", "buffer_bytes = 8192", ":23: ", "outside 64 to 4096"),
    ("system.toml", '"nic", ', '"nid", ', ":8: ", "cell 'nid' has no manifest (did you mean 'nic'?)"),
    ("system.toml", '"nic", ', '"nic", "nic", ', ":8: ", "stands twice"),
    ("system.toml", '"pci", "nic", ', '"nic", "pci", ', ":8: ", "no PCI service starts before it"),
    ("system.toml", 'name = "shared"', 'name = "' + "s" * 24 + '"', ":6: ", "24 characters, more than 23"),
    ("system.toml", 'name = "shared"', 'name = "Shared!"', ":6: ", "is not a name"),
    ("system.toml", 'memory = "512M"', 'memory = "128M"', ":7: ", "more than memory = 128M"),
    ("system.toml", 'memory = "512M"', 'memory = "lots"', ":7: ", "'lots' is no size"),
    ("system.toml", "[ring.net]", "[device.net1]\nkind = 'net'\nindex = 1\n[ring.net]", ":18: ", "belongs to no cell"),
    ("system.toml", 'kind = "net"\n', 'kind = "net"\nof = "nvme0"\n', ":12: ", "cannot be a virtual function of 'nvme0'"),
    ("system.toml", 'kind = "net"\n', 'kind = "net"\nof = "nte0"\n', ":12: ", "which is no device of this system"),
    ("system.toml", 'kind = "net"\n', 'kind = "net"\nvfs = 65\n', ":12: ", "outside 0 to 64"),
    ("system.toml", 'kind = "nvme"\n', 'kind = "nvme"\nvfs = 1\n[device.nvme1]\nof = "nvme0"\nkind = "nvme"\nindex = 1\n', ":18: ", "no number 1"),
    ("system.toml", "[ring.net]", "[ring.net", ":18: ", "not TOML"),
    ("system.toml", 'kind = "nvme"\n', 'kind = "nvme"\nparallel = 4\n', ":16: ", "declares parallel"),
    ("cells/nic.toml", "[restart]", "[contract.a]\niops = 5\n[restart]", ":11: ", "has contracts, but no drive"),
    ("cells/kvstore.toml", "[config]", '[contract.log]\nclass = "fast"\n[config]', ":13: ", "is no class"),
    ("cells/nic.toml", 'devices = ["net0"]', 'devices = ["net1"]', ":9: ", "device 'net1' is not in"),
    ("cells/nic.toml", 'devices = ["net0"]', 'devices = ["net0", "nvme0"]', "kvstore.toml:10: ", "already belongs to cell 'nic'"),
    ("cells/nic.toml", 'heap = "2M"', 'heap = "3M"', ":6: ", 'heap = "4M"'),
    ("cells/nic.toml", "priority = 110", "priority = 255", ":8: ", "outside 1 to 254"),
    ("cells/nic.toml", "priority = 110", "priority = 110\ncpu = 64", ":9: ", "outside 0 to 63"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nbudget_us = 5", ":9: ", "less time than it takes"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nbudget_us = 20000", ":9: ", "more than the period of 10000"),
    ("cells/nic.toml", "priority = 110", 'priority = 110\npartition = "net"', ":9: ", "CPU 0 has no schedule"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nworkers = 1", ":9: ", "not a list of whole numbers"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nworkers = [1, 64]", ":9: ", "'workers' is 64, outside 0 to 63"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nworkers = [1, 1]", ":9: ", "two threads on CPU 1"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nworkers = [0]", ":9: ", "two threads on CPU 0"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nworkers = [1, 2, 3, 4, 5, 6, 7, 8]", ":9: ", "8 workers, more than 7"),
    ("cells/nic.toml", "priority = 110", "priority = 110\nworkers = [1]\nbudget_us = 100", ":10: ", "a budget and workers"),
    ("system.toml", "[ring.net]", '[schedule.a]\nwindows = ["system 10", "flight 10"]\n[ring.net]', ":19: ", "no cell on CPU 0 is in the partition 'flight'"),
    ("system.toml", "[ring.net]", '[schedule.a]\nwindows = [\n "system 10",\n "flight 1s",\n]\n[ring.net]', ":21: ", "'flight 1s' is no window"),
    ("system.toml", "[ring.net]", '[schedule.a]\nwindows = ["system 5"]\n[ring.net]', ":19: ", "a window of 5 us, outside 10 to"),
    ("system.toml", "[ring.net]", '[schedule.a]\nwindows = []\n[ring.net]', ":19: ", "has no window"),
    ("system.toml", "[ring.net]", '[schedule.a]\nwindows = [1]\n[ring.net]', ":19: ", "is a list, not a list of texts"),
    ("system.toml", "[ring.net]", '[schedule.a]\nwindows = ["system 60000000", "system 10"]\n[ring.net]', ":19: ", "is longer than"),
    ("system.toml", "[ring.net]", '[schedule.a]\nwindows = ["system 10"]\n[schedule.b]\nwindows = ["system 10"]\n[ring.net]', ":20: ", "has the schedule 'a' already"),
    ("cells/nic.toml", 'policy = "on-fault"', 'policy = "always"', ":12: ", "use one of: on-fault, never"),
    ("cells/nic.toml", 'program = "nic"', "program = 3", ":5: ", "is a number, not a name"),
    ("cells/nic.toml", "[cell]", "[cel]", ":4: ", "did you mean 'cell'?"),
    ("cells/kvstore.toml", "port = 6379", "port = [6379]", ":14: ", "neither text, number nor boolean"),
    ("cells/kvstore.toml", "[config]", "[config]\nBAD = 1", ":13: ", "no config key"),
]


SCHEDULED = '[schedule.a]\nwindows = ["system 2000", "net 1000"]\n[schedule.b]\ncpu = 1\nwindows = ["log 500"]\n'


def scheduled(folder, partition="net", more=""):
    """The system with a schedule, and its NIC's cell in a partition."""
    system, nic = folder / "system.toml", folder / "cells/nic.toml"
    system.write_text(system.read_text() + SCHEDULED)
    place = f'priority = 110\npartition = "{partition}"{more}'
    nic.write_text(nic.read_text().replace("priority = 110", place))
    kvstore = folder / "cells/kvstore.toml"
    kvstore.write_text(kvstore.read_text().replace("[cell]", '[cell]\ncpu = 1\npartition = "log"'))
    return folder / "system.toml"


def test_windows_are_compiled(shared):
    data = compile_system(load_system(scheduled(shared), shared.parent.parent))
    header = layout.unpack("system_header", data)
    found = [layout.unpack("system_window", data, header["windows_offset"] + 16 * i)
             for i in range(header["window_count"])]
    assert [(w["cpu"], w["domain"], w["length_us"]) for w in found] == [
        (0, 0, 2000), (0, 1, 1000), (1, 1, 500)]
    cells = [layout.unpack("system_cell", data, header["cells_offset"] + i * layout.size("system_cell"))
             for i in range(header["cell_count"])]
    assert {cell["name"]: cell["domain"] for cell in cells} == {"pci": 0, "nic": 1, "kvstore": 1}


@pytest.mark.parametrize("partition,more,words", [
    ("nit", "", "never runs: the schedule of CPU 0 has no window of 'nit' (did you mean 'net'?)"),
    ("net", "\nbudget_us = 4000", "more than the windows of 'net' give: 1000 of each 3000"),
    ("net", "\ncpu = 1", "has no window of 'net'"),
    ("system", "\ncpu = 1", "has no window of 'system'"),
    ("system", "\nworkers = [1]", "schedule of CPU 1 has no window of 'system'"),
    ("net", "\nworkers = [2]", "run outside the partition 'net'"),
])
def test_cells_without_their_windows_are_named(shared, partition, more, words):
    with pytest.raises(ManifestError) as caught:
        load_system(scheduled(shared, partition, more), shared.parent.parent)
    assert any("cells/nic.toml:" in line and words in line and "; fix: " in line
               for line in caught.value.problems)


@pytest.mark.parametrize("file,old,new,place,words", BAD, ids=[f"{row[0]}:{row[4]}" for row in BAD])
def test_bad_manifest_is_named_by_line(shared, file, old, new, place, words):
    problems = spoil(shared, file, old, new)
    named = place if not place.startswith(":") else Path(file).name + place
    assert any(named in problem and words in problem for problem in problems), problems


def test_all_mistakes_are_shown_at_once(shared):
    text = (shared / "system.toml").read_text()
    (shared / "system.toml").write_text(text.replace("irqs = 2", "irqs = 0"))
    problems = spoil(shared, "cells/nic.toml", "priority = 110", "priority = 0")
    assert len(problems) == 3


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(ManifestError) as caught:
        load_system(tmp_path / "none.toml", ROOT)
    assert "none.toml:1: cannot read the file" in str(caught.value)


def test_same_function_twice(shared):
    problems = spoil(
        shared, "system.toml", "[device.nvme0]\nkind = \"nvme\"", "[device.nvme0]\nkind = \"net\""
    )
    assert any("name the same PCI function" in problem for problem in problems)


def test_settings_override_config():
    path = ROOT / "systems/reference/system.toml"
    system = load_system(path, ROOT, [("kvstore", "port", "1234")])
    assert b"port=1234\0" in compile_system(system)
    with pytest.raises(ManifestError, match="did you mean 'kvstore'"):
        load_system(path, ROOT, [("kvstor", "port", "1")])


def build_program(folder, name):
    """A tiny static ELF of two functions."""
    source = folder / f"{name}.c"
    source.write_text("int helper(void) { return 3; } void _start(void) { helper(); for (;;); }")
    program = folder / f"{name}.elf"
    subprocess.run(
        ["gcc", "-O0", "-g", "-ffreestanding", "-nostdlib", "-static", "-no-pie", str(source),
         "-o", str(program)],
        check=True,
    )
    return program


@pytest.fixture(name="cells")
def cell_programs(tmp_path):
    """Programs for the reference system."""
    folder = tmp_path / "cells"
    folder.mkdir()
    for name in ("supervisor", "pci", "kvstore"):
        build_program(folder, name)
    return folder


def test_bundle_holds_everything(tmp_path, cells):
    output = tmp_path / "out/reference.bundle"
    assert image.main(["--cells", str(cells), "-o", str(output)]) == 0
    data = output.read_bytes()
    entries = bundle.unpack_bundle(data)
    kinds = [(kind, name) for kind, name, _ in entries]
    assert kinds == [
        (layout.BUNDLE_INITIAL_CELL, "supervisor"), (layout.BUNDLE_SYSTEM, "reference"),
        (layout.BUNDLE_CELL, "pci"), (layout.BUNDLE_CELL, "kvstore"),
        (layout.BUNDLE_SYMBOLS, "supervisor"), (layout.BUNDLE_SYMBOLS, "pci"),
        (layout.BUNDLE_SYMBOLS, "kvstore"),
    ]
    assert b".debug" not in entries[0][2]
    symbols = entries[-1][2]
    head = layout.unpack("symbol_table", symbols)
    at, names = layout.size("symbol_table"), []
    start = at + head["count"] * layout.size("symbol_entry")
    addresses = []
    for index in range(head["count"]):
        entry = layout.unpack("symbol_entry", symbols, at + index * layout.size("symbol_entry"))
        addresses.append(entry["address"])
        text = symbols[start + entry["name_offset"] :]
        names.append(text[: text.index(b"\0")].decode())
    assert "helper" in names and "_start" in names and addresses == sorted(addresses)
    assert len(symbols) == start + head["names_bytes"]


@pytest.mark.parametrize("at,words", [(0, "wrong magic"), (8, "version"), (40, "entries"), (5000, "checksum")])
def test_damaged_bundle_is_refused(cells, at, words):
    system = load_system(ROOT / "systems/reference/system.toml", ROOT)
    data = bytearray(image.build_bundle(system, cells))
    data[at] ^= 1
    with pytest.raises(bundle.BundleError, match=words):
        bundle.unpack_bundle(bytes(data))
    with pytest.raises(bundle.BundleError):
        bundle.unpack_bundle(bytes(data[:100]))
    with pytest.raises(bundle.BundleError):
        bundle.unpack_bundle(bytes(data[: -bundle.TAIL_BYTES - 1]))


def test_missing_program_names_the_manifest(cells, capsys):
    (cells / "kvstore.elf").unlink()
    assert image.main(["--cells", str(cells)]) == 1
    error = capsys.readouterr().err
    assert "systems/reference/cells/kvstore.toml:5: program" in error and "fix: run make" in error


def test_wrong_elf_is_refused(cells):
    (cells / "kvstore.elf").write_bytes(b"\x7fELF\x01\x01" + bytes(60))
    system = load_system(ROOT / "systems/reference/system.toml", ROOT)
    with pytest.raises(ManifestError, match="no x86-64 ELF"):
        image.build_bundle(system, cells)


DRIVE = "parallel = 4\nread_us = 100\nwrite_us = 50\nread_mb_s = 400\nwrite_mb_s = 200\n"


def test_contracts_fit_the_declared_drive(shared):
    system = shared / "system.toml"
    system.write_text(system.read_text().replace('kind = "nvme"\n', 'kind = "nvme"\n' + DRIVE, 1))
    cell = shared / "cells/kvstore.toml"
    text = cell.read_text()
    contracts = '[contract.log]\niops = 10000\nclass = "latency"\n[contract.scan]\nmb_s = 120\n[config]'
    cell.write_text(text.replace("[config]", contracts, 1))
    loaded = load_system(system, ROOT)
    data = compile_system(loaded)
    # 10,000 x 100 us; 120 MB at 4 x 1 s / 200 MB: 1 s and 2.4 s of 3.6 s.
    for setting in (b"contracts=log scan", b"contract.log.iops=10000", b"contract.log.class=latency",
                    b"contract.scan.mb_s=120", b"drive.units=4", b"drive.write_byte_ps=20000"):
        assert setting + b"\0" in data
    problems = spoil(shared, "cells/kvstore.toml", "mb_s = 120", "mb_s = 140")
    assert "contract 'scan' needs 2800 ms of drive time a second, 2600 of 3600 are left" in problems[0]
    assert "kvstore.toml:15" in problems[0]


@pytest.mark.parametrize("change,message", [
    (('client = "second"', 'client = "thrid"'), "which is no cell of this system"),
    (('server = "storage"', 'server = "first"'), "drives no drive; fix: name a cell that has a device"),
    (('capacity = "64M"\n', ""), "has no capacity; fix:"),
    (("iops = 500", "iops = 500000"), "loglet 'first' needs 50160 ms of drive time a second"),
    (("\nmb_s = 10", '\nrights = ["raed"]'), "'raed' is no right (did you mean 'read'?)"),
    (("\nmb_s = 10", '\nof = "second"'), "which has the contract"),
    (("\nmb_s = 10", '\nof = "thing"'), "which is no loglet with a log of its own"),
    (("[loglet.second]", "[ring.first]\nclient = \"first\"\nserver = \"pci\"\n[loglet.second]"),
     "'first' is a ring of this system as well"),
])
def test_wrong_loglets_are_named(tmp_path, change, message):
    shutil.copytree(ROOT / "systems", tmp_path / "systems")
    path = tmp_path / "systems/storage/system.toml"
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        load_system(path, ROOT)
    assert any(message in line for line in caught.value.problems), caught.value.problems
