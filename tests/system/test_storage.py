# SPDX-License-Identifier: MIT OR Apache-2.0
"""The storage service: two cells with a loglet each on one drive, one of them hostile, while the
service is ended again and again; what was acknowledged is there, each time.
"""

import re
import shutil

import build
import drives
import pytest
import vm

KILLS = 6
REAPER = f"""# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "reaper"
priority = 130
manage = true

[config]
target = "storage"
times = {KILLS}
every_ms = 300
"""


def bundle(tmp_path, hostile):
    """The system of systems/storage with a reaper, and the second cell as the hostile one."""
    shutil.copytree(build.ROOT / "systems", tmp_path / "systems")
    path = tmp_path / "systems/storage/system.toml"
    text = path.read_text(encoding="utf-8").replace('"second"]', '"second", "reaper"]')
    path.write_text(text, encoding="utf-8")
    (path.parent / "cells/reaper.toml").write_text(REAPER, encoding="utf-8")
    settings = [("second", "role", "hostile")] if hostile else []
    return build.make_bundle(path, settings, tmp_path / "bundle")[1]


@pytest.mark.parametrize("option,hostile", [(",nsid=1", True),
                                            (",nsid=1,zoned=true,zoned.zone_size=8M", False)],
                         ids=["plain-hostile", "zoned"])
def test_loglets_of_a_service(tmp_path, option, hostile):
    machine = vm.Machine(kernel=build.KERNEL, bundle=bundle(tmp_path, hostile), memory_mib=256,
                         extra=drives.namespaces(tmp_path, "", option, size=512 << 20))
    with vm.Vm(machine) as running:
        wrong = f"{vm.STOPPED}|FAILED"
        running.wait_for(rf"storage ended {KILLS} times: success", 120, unless=wrong)
        mark = running.mark()
        running.wait_for(r"first: kept \d+ records", 120, mark, unless=wrong)
        if hostile:
            running.wait_for("second: did its worst", 120, unless=wrong)
        else:
            running.wait_for(r"second: kept \d+ records", 120, mark, unless=wrong)
        running.power_button()
        running.wait_for(vm.CLEAN, 60, mark)
        text = running.serial
    print(text[-3000:])
    records, checked, sessions = map(int, re.search(
        r"first: (\d+) records acknowledged, (\d+) read back, (\d+) sessions", text).groups())
    assert sessions > KILLS and checked > 0 and records > 0
    assert "loglet first: success" in text and "first: FAILED" not in text
    if hostile:
        assert re.search(r"storage: second: \d+ appends, \d+ reads, [1-9]\d* refused", text)
