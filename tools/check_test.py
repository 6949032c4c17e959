# SPDX-License-Identifier: MIT OR Apache-2.0
"""Unit tests of ./hallows check: each check finds what it is there for, and nothing in good files."""

import shutil

import check
import pytest

SPDX = "// SPDX-License-Identifier: MIT OR Apache-2.0\n"
GOOD = {
    "lib/base/a.h": SPDX + "#include <stdint.h>\n",
    "lib/base/a.c": SPDX + '#include "lib/base/a.h"\n\n#include <hallows/x.h>\n',
    "lib/base/a_test.c": SPDX + '#include <stdio.h>\n\n#include "tests/check.h"\n',
    "include/hallows/x.h": SPDX + "#include <stdbool.h>\n",
    "tests/check.h": SPDX,
    "kernel/arch.h": SPDX,
    "kernel/arch/x86_64/cpu.h": SPDX,
    "kernel/arch/x86_64/cpu.c": SPDX + '#include "kernel/arch/x86_64/cpu.h"\n',
    "drivers/nvme/n.c": SPDX + '#include "lib/base/a.h"\n',
    "services/pci/main.c": SPDX + '#include "lib/base/a.h"\n',
    "README.md": "see [a](lib/base/a.h) and [web](https://example.org)\n",
    "x.sh": "#!/bin/sh\n# SPDX-License-Identifier: MIT OR Apache-2.0\necho ok\n",
    "tools/t.py": "# SPDX-License-Identifier: MIT OR Apache-2.0\nprint(1)\n",
}


@pytest.fixture(name="tree")
def _tree(tmp_path, monkeypatch):
    for name, text in GOOD.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    return tmp_path


NEEDS = {"format": "clang-format-14", "shell": "shellcheck"}


def outcome(name):
    """What a check finds; skips where its tool is missing."""
    if name in NEEDS and shutil.which(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    return check.CHECKS[name]()


@pytest.mark.parametrize("name", check.CHECKS)
def test_good_tree_passes(tree, name):
    assert outcome(name) == []


@pytest.mark.parametrize("name,file,text,place", [
    ("format", "lib/base/a.c", SPDX + "int  x;\n", "lib/base/a.c: not formatted"),
    ("licence", "lib/base/a.c", "int x;\n", "lib/base/a.c:1"),
    ("licence", "tools/t.py", "print(1)\n", "tools/t.py:1"),
    ("layers", "lib/base/a.c", '#include "drivers/nvme/n.h"\n', None),
    ("layers", "lib/base/a.c", '#include "kernel/arch.h"\n', "is not for lib/"),
    ("layers", "lib/base/a.c", "#include <stdio.h>\n", "no freestanding header"),
    ("layers", "lib/base/a.c", "#ifdef HALLOWS_HOST\n#include <stdio.h>\n#endif\n", None),
    ("layers", "lib/base/a.c", "#ifndef HALLOWS_HOST\n#include <stdio.h>\n#endif\n", "no freestanding"),
    ("layers", "lib/base/a.c", "#include <hallows/none.h>\n", "does not exist"),
    ("layers", "drivers/nvme/n.c", '#include "services/pci/main.c"\n', "is not for drivers/"),
    ("layers", "kernel/ipc.c", '#include "kernel/arch/x86_64/cpu.h"\n', "one machine's private"),
    ("layers", "services/nic/m.c", '#include "services/pci/main.c"\n', "is not for services/"),
    ("headers", "lib/base/a.h", SPDX + "unknown_t x;\n", "a.h"),
    ("lengths", "lib/base/a.c", SPDX + "\n" * 600, "601 lines"),
    ("shell", "x.sh", "#!/bin/sh\ncd $1\n", "x.sh:2"),
    ("python", "tools/t.py", "print(\n", "tools/t.py:1"),
    ("paths", "lib/base/a.c", "// /" + "home/someone/x\n", "lib/base/a.c:1"),
    ("manifests", "systems/s/system.toml", "[system]\n", "missing key 'name'"),
    ("links", "README.md", "[gone](gone.md)\n", "README.md:1"),
])
def test_mistake_is_found(tree, name, file, text, place):
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text)
    found = outcome(name)
    if place is None:
        assert not found
    else:
        assert any(place in line for line in found), found


def test_kernel_size_counts_code_only(tree, monkeypatch):
    monkeypatch.setattr(check, "KERNEL_LINES_MAX", 4)
    (tree / "kernel/few.c").write_text(SPDX + "/* one\n two */\n\nint x;\nint y; // z\n")
    assert check.CHECKS["kernel-size"]() == []
    (tree / "kernel/few_test.c").write_text("int x;\n" * 9)
    (tree / "kernel/invariants_more.c").write_text("int x;\n" * 9)
    assert check.CHECKS["kernel-size"]() == []
    (tree / "kernel/more.c").write_text("int z;\n")
    assert "4 lines of code" in check.CHECKS["kernel-size"]()[0]
