# SPDX-License-Identifier: MIT OR Apache-2.0
"""iperf3's server on two CPUs of a guest on a tap device: run in a network namespace of its own by
test_cores.py.

usage: iperf_guest.py <folder> <nic>
Prints what iperf3 and the guest told as JSON, and ends with a trace otherwise.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1] / "tools")]

import build  # noqa: E402
import vm  # noqa: E402

ADDRESS = "10.9.0.2"


def machine_in(folder, nic):
    """Two threads, a queue pair each."""
    shutil.copytree(build.ROOT / "systems", folder / "systems")
    cell = folder / "systems/iperf3/cells/iperf3.toml"
    text = cell.read_text(encoding="utf-8").replace("[cell]\n", "[cell]\nworkers = [1]\n")
    cell.write_text(text.replace('dma = "16M"', 'dma = "32M"'), encoding="utf-8")
    settings = [("iperf3", "address", f"{ADDRESS}/24")]
    _, bundle = build.make_bundle(folder / "systems/iperf3/system.toml", settings,
                                  folder / "bundle")
    queues = ",vnet_hdr=on,queues=2" if nic.startswith("virtio") else ""
    return vm.Machine(kernel=build.KERNEL, bundle=bundle, nic=nic, cpus=2, memory_mib=256,
                      netdev=f"tap,id=net0,ifname=tap0,script=no,downscript=no{queues}")


def iperf3(*options):
    """One test; its own account of both ends."""
    done = subprocess.run(["iperf3", "-c", ADDRESS, "-t", "1", "-J", *options],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["end"]


def main():
    """Makes the tap device, boots, measures, shuts down."""
    folder, nic = Path(sys.argv[1]), sys.argv[2]
    several = " vnet_hdr multi_queue" if nic.startswith("virtio") else ""
    for command in ("ip link set lo up", f"ip tuntap add dev tap0 mode tap{several}",
                    "ip address add 10.9.0.1/24 dev tap0", "ip link set tap0 up"):
        subprocess.run(command.split(), check=True)
    with vm.Vm(machine_in(folder, nic)) as guest:
        guest.wait_ready(90)
        told = {"tests": [iperf3("-P", "8"), iperf3("-P", "8", "-R"), iperf3(), iperf3("-R"),
                          iperf3("-P", "8")]}
        iperf3()  # begins when the server knows that the last of those is over
        guest.power_button()
        guest.wait_for(vm.CLEAN, 40)
        told["streams"] = [int(n) for n in re.findall(r"has had (\d+) streams", guest.serial)]
        told["served"] = re.search(r"served (\d+) tests, refused (\d+)", guest.serial).groups()
    print(json.dumps(told))


main()
