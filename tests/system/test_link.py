# SPDX-License-Identifier: MIT OR Apache-2.0
"""A cable that is pulled out and plugged in again: the system says so, and connections outlive it."""

import time

import pytest
from conftest import variant_machine
from guest import Guest


MODELS = {"direct": "virtio-net, split queues", "igb": "Intel 82576", "e1000e": "Intel 82574L",
          "virtio-packed": "virtio-net, packed queues"}


@pytest.mark.parametrize("variant", ["direct", "shared", "igb", "e1000e", "virtio-packed"])
def test_connections_outlive_a_link_that_goes_down_and_up(disk, variant):
    with Guest(variant_machine(variant, disk)) as guest:
        if variant != "shared":
            assert f"network: {MODELS[variant]}, 1 queue pair;" in guest.vm.serial
        with guest.client(timeout=60) as client:
            for number in range(3):
                assert client("SET", "before", str(number)) == "OK"
                mark = guest.vm.mark()
                guest.vm.qmp("set_link", name="net0", up=False)
                guest.vm.wait_for("kvstore: network: link down", 30, mark)
                client.send("SET", "during", number)  # lost at first
                time.sleep(0.5)  # longer than the first retransmission
                guest.vm.qmp("set_link", name="net0", up=True)
                guest.vm.wait_for("kvstore: network: link up", 30, mark)
                assert client.receive() == "OK"
                assert client("GET", "during") == str(number).encode()
        assert "resets" not in guest.vm.serial
        assert guest.shut_down() == 0
