# SPDX-License-Identifier: MIT OR Apache-2.0
"""A running Hallows system for the tests: built, booted, reachable on free ports of 127.0.0.1."""

import hashlib
import re
import shutil
import time
from pathlib import Path

import build
import vm
from resp import Client

ROOT = build.ROOT
READY_SECONDS = 90
SHUTDOWN_SECONDS = 40
SYSTEMS = {
    "reference": ROOT / "systems/reference/system.toml",
    "shared": ROOT / "systems/shared/system.toml",
    "virtual": ROOT / "systems/virtual/system.toml",
    "echo": ROOT / "systems/echo/system.toml",
    "iperf3": ROOT / "systems/iperf3/system.toml",
}
# Systems with one test cell more: which system, and the cell's manifest.
EXTENDED = {
    "faulty": (
        "reference",
        """# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "faulty"

[restart]
policy = "on-fault"
max = 3
window_s = 3600

[config]
times = 1
""",
    ),
    "reaper": (
        "shared",
        """# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "reaper"
priority = 130
manage = true

[config]
target = "nic"
times = 10
every_ms = 300
""",
    ),
    "dmarogue": (
        "reference",
        """# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "dmarogue"
priority = 90
dma = "2M"
devices = ["nvme1"]

[config]
targets = 40
""",
    ),
    "vfrogue": (
        "virtual",
        """# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "vfrogue"
priority = 90
dma = "2M"
devices = ["vf2"]

[config]
targets = 24
""",
    ),
    "pfreaper": (
        "virtual",
        """# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "reaper"
priority = 130
manage = true

[config]
target = "nicpf"
times = 10
every_ms = 3000
""",
    ),
    "rogue": (
        "reference",
        """# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "rogue"
priority = 50

[config]
calls = 200000
""",
    ),
}

# A cell that takes all CPU time it is given, and what limits it.
EXTENDED |= {
    f"spinner-{name}": (
        "reference",
        f"""# SPDX-License-Identifier: MIT OR Apache-2.0
[cell]
program = "spinner"
priority = 200
{limit}
""",
    )
    for name, limit in {"free": "", "budget": "budget_us = 3000\nperiod_us = 10000",
                        "cpu1": "cpu = 1", "cpu5": "cpu = 5",
                        "windows": 'partition = "spinner"'}.items()
}

# Systems whose key-value server has contracts: what the drive declares, and what is promised.
CONTRACTS = {
    "contracts": (
        "parallel = 8\nread_us = 100\nwrite_us = 100\nread_mb_s = 1000\nwrite_mb_s = 500\n",
        '[contract.log]\niops = 2000\nmb_s = 20\nclass = "latency"\ncapacity = "512M"\n'
        "[contract.spare]\niops = 500\n",
    ),
    "contracts-measured": ("", "[contract.log]\niops = 1\n"),
    "contracts-too-much": ("", "[contract.log]\niops = 1000000000\n"),
}

_bundles = {}


def contract_system(name):
    """The reference system with contracts."""
    declared, contracts = CONTRACTS[name]
    folder = build.BUILD / "tests/system" / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "systems", folder)
    path = folder / "reference/system.toml"
    text = path.read_text(encoding="utf-8").replace('kind = "nvme"\n', f'kind = "nvme"\n{declared}')
    path.write_text(text, encoding="utf-8")
    cell = folder / "reference/cells/kvstore.toml"
    cell.write_text(f"{cell.read_text(encoding='utf-8')}\n{contracts}", encoding="utf-8")
    return path


def extended_system(name):
    """The description of a system with the test cell `name` behind its own cells."""
    base, manifest = EXTENDED[name]
    folder = build.BUILD / "tests/system" / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "systems", folder)
    path = folder / base / "system.toml"
    text = path.read_text(encoding="utf-8")
    last = re.search(r'"(\w+)"\]', text).group(1)
    if "nvme1" in manifest:
        text += '\n[device.nvme1]\nkind = "nvme"\nindex = 1\nirqs = 1\n'
    if "vf2" in manifest:
        text += '\n[device.vf2]\nkind = "net"\nof = "net0"\nindex = 2\nirqs = 2\n'
    if "partition" in manifest:
        text += '\n[schedule.first]\nwindows = ["system 3000", "spinner 2000"]\n'
    path.write_text(text.replace(f'"{last}"]', f'"{last}", "{name}"]'), encoding="utf-8")
    (folder / base / f"cells/{name}.toml").write_text(manifest, encoding="utf-8")
    return path


def bundle_of(system, settings=()):
    """The bundle of a system, built once for each set of settings; (system, path)."""
    key = (system, tuple(settings))
    if key not in _bundles:
        # Named by what is in it: other processes make bundles there, too (tap_guest.py).
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:12]
        output = build.BUILD / f"tests/system/{system}-{digest}.bundle"
        if system in CONTRACTS:
            description = contract_system(system)
        else:
            description = extended_system(system) if system in EXTENDED else SYSTEMS[system]
        _bundles[key] = build.make_bundle(description, settings, output)
    return _bundles[key]


def machine_for(system, disk, settings=(), **options):
    """The Machine of a system with one drive."""
    description, path = bundle_of(system, settings)
    memory = options.pop("memory_mib", description.memory >> 20)
    return vm.Machine(
        kernel=build.KERNEL, bundle=path, disk=Path(disk), memory_mib=memory, **options
    )


class Guest:
    """One machine with its system; a context manager that boots it and ends it."""

    def __init__(self, machine):
        self.machine = machine
        self.vm = vm.Vm(machine)

    def __enter__(self):
        if self.machine.disk is not None:
            vm.make_disk(self.machine.disk)
        self.vm.start()
        try:
            self.wait_ready()
        except vm.VmError:
            self.vm.close()
            raise
        return self

    def __exit__(self, *_):
        self.vm.close()

    def wait_ready(self, since=0):
        """Waits until the system serves."""
        self.vm.wait_ready(READY_SECONDS, since)

    def wait_serving(self, since):
        """Waits until the server has started again, with the machine or without."""
        wrong = f"{vm.STOPPED}|{vm.NOT_WHOLE}"
        self.vm.wait_for("^supervisor: kvstore ready", READY_SECONDS, since, unless=wrong)

    @property
    def port(self):
        """Host port of the key-value server."""
        return self.vm.ports[6379]

    @property
    def http_port(self):
        """Host port of the status page."""
        return self.vm.ports[80]

    def client(self, timeout=20):
        """A connection to the key-value server."""
        return Client(self.port, timeout)

    def client_when_up(self, timeout=30):
        """A connection that has answered PING, for use after a restart of the server."""
        deadline = time.monotonic() + timeout
        while True:
            connection = None
            try:
                connection = Client(self.port, 3)
                assert connection("PING") == "PONG"
                connection.socket.settimeout(20)
                return connection
            except (OSError, ValueError):
                if connection:
                    connection.close()
                if time.monotonic() > deadline:
                    raise

    def shut_down(self):
        """Presses the power button and waits for the clean end."""
        self.vm.power_button()
        self.vm.wait_for(vm.CLEAN, SHUTDOWN_SECONDS)
        return self.vm.wait_exit(SHUTDOWN_SECONDS)

    def power_cut(self):
        """Cuts the power and boots again; returns once the system is ready."""
        mark = self.vm.mark()
        self.vm.reset()
        self.wait_ready(mark)
