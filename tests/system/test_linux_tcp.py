# SPDX-License-Identifier: MIT OR Apache-2.0
"""Our TCP/IP stack, as a Linux program on a tap device, against Linux's own, with and without loss.

Both live in a fresh network namespace; nothing of the machine's own network is touched.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require_command

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/host/lib/net/tap_host"


def namespace():
    """The command that runs another in a network namespace of its own; skips without one."""
    for command in ("ip", "unshare", "curl"):
        require_command(command)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun cannot be opened")
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    probe = [*unshare, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap"]
    if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("no network namespace with a tap device can be made here")
    return unshare


@pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("lost", [0, 20], ids=["no loss", "2% lost each way"])
def test_linux_tcp(lost, family):
    unshare = namespace()
    subprocess.run(["make", "-j2", str(PROGRAM.relative_to(ROOT))], cwd=ROOT, check=True,
                   capture_output=True, timeout=300)
    peer = Path(__file__).with_name("linux_peer.py")
    done = subprocess.run([*unshare, sys.executable, str(peer), str(PROGRAM), str(lost),
                           str(family)],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
