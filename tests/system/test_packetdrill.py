# SPDX-License-Identifier: MIT OR Apache-2.0
"""Our packetdrill scripts against the stack, in virtual time (tests/packetdrill/drill.py)."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/packetdrill"
sys.path.insert(0, str(FOLDER))
import drill  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def library():
    """The stack as packetdrill loads it."""
    subprocess.run(["make", "-j2", str(drill.LIBRARY.relative_to(ROOT))], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.pkt")), ids=lambda p: p.stem)
def test_script(script):
    """What the script says is what happens."""
    drill.Script(script).run()


@pytest.mark.parametrize("old, new, error", [
    ("501:501(0) ack 1002", "501:501(0) ack 1003", "sent"),
    ("mss 1460", "mss 1461", "sent"),
    ("+.04 >", "+.4  >", "sent at"),
    ("write(4, ..., 500) = 500", "write(4, ..., 500) = 400", "returned 500"),
    ("+0   > F. 501:501(0) ack 1002\n", "", "at the end, not expected"),
])
def test_a_script_that_is_wrong_fails(tmp_path, old, new, error):
    """A script that expects something else does not pass."""
    text = (FOLDER / "handshake_passive.pkt").read_text()
    assert old in text
    wrong = tmp_path / "wrong.pkt"
    wrong.write_text(text.replace(old, new).replace("+.1  < . 1002:1002(0) ack 502 win 32792", "")
                     if not new else text.replace(old, new))
    with pytest.raises(drill.ScriptError, match=error):
        drill.Script(wrong).run()
