# SPDX-License-Identifier: MIT OR Apache-2.0
"""How the running key-value server keeps its data: appendfsync, BGSAVE, INFO persistence."""

import time

import pytest
import storage
from conftest import variant_machine
from guest import Guest
from kvhost import Client3


@pytest.fixture(name="kv")
def _kv(direct):
    with Client3(direct.port, 30) as client:
        assert client("FLUSHALL") == "OK"
        yield client


def persistence(kv):
    """The fields of INFO persistence."""
    lines = kv("INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def test_appendfsync_modes_reach_the_drive_differently(kv):
    """always: durable with the reply. everysec: within about a second. no: not before it has to."""
    assert kv("CONFIG", "SET", "appendfsync", "no") == "OK"
    before = persistence(kv)
    for number in range(50):
        kv("SET", f"lazy{number}", "x")
    deadline = time.monotonic() + 30
    while int(persistence(kv)["log_accepted"]) <= int(before["log_durable"]):
        assert time.monotonic() < deadline
    lazy = persistence(kv)
    assert lazy["aof_pending_bio_fsync"] == "1" and lazy["log_flushes"] == before["log_flushes"]
    assert kv("CONFIG", "SET", "appendfsync", "everysec") == kv("SET", "second", "1") == "OK"
    while persistence(kv)["aof_pending_bio_fsync"] != "0":
        assert time.monotonic() < deadline
    assert int(persistence(kv)["log_flushes"]) > int(before["log_flushes"])
    assert kv("CONFIG", "SET", "appendfsync", "always") == kv("SET", "strict", "1") == "OK"
    strict = persistence(kv)
    assert strict["aof_pending_bio_fsync"] == "0"
    assert int(strict["log_durable"]) > int(lazy["log_durable"])


def test_bgsave_rewrites_the_log(kv):
    """Asked for, it runs beside other commands and ends; nothing is lost."""
    for number in range(200):
        kv("SET", f"key{number}", "v" * 100)
    assert kv("SET", "meanwhile", "0") == "OK"
    before = persistence(kv)
    assert kv("BGSAVE") == "Background saving started"
    deadline = time.monotonic() + 30
    while persistence(kv)["rdb_saves"] == before["rdb_saves"]:
        assert time.monotonic() < deadline
        assert kv("SET", "meanwhile", "1") == "OK"
    after = persistence(kv)
    assert after["rdb_last_bgsave_status"] == after["aof_last_bgrewrite_status"] == "ok"
    assert int(after["rdb_last_bgsave_time_sec"]) >= 0 > int(after["rdb_current_bgsave_time_sec"])
    assert 0 < int(after["aof_base_size"]) <= int(after["aof_current_size"])
    assert after["rdb_bgsave_in_progress"] == "0" and after["aof_rewrite_in_progress"] == "0"
    assert kv("BGREWRITEAOF") == "Background append only file rewriting started"
    while int(persistence(kv)["rdb_saves"]) < int(after["rdb_saves"]) + 1:
        assert time.monotonic() < deadline
    assert kv("DBSIZE") == 201 and kv("LASTSAVE") > 0


def test_shadow_doorbells(tmp_path):
    """With shadow doorbells the drive forgets no write either."""
    disk = tmp_path / "disk.img"
    settings = [("kvstore", "shadow_doorbells", "true")]
    with Guest(variant_machine("direct", disk, settings)) as guest:
        with guest.client() as client:
            for number in range(300):
                assert client("SET", f"key{number}", str(number)) == "OK"
    with Guest(variant_machine("direct", disk, settings)) as guest:
        with guest.client() as client:
            assert client("DBSIZE") == 300 and client("GET", "key299") == b"299"


@pytest.mark.parametrize("variant", ["direct", "zoned"])
def test_storage_tool(variant, tmp_path):
    """What the system tells of its drive, as ./hallows storage prints it."""
    with Guest(variant_machine(variant, tmp_path / "disk.img")) as guest:
        with guest.client() as client:
            for number in range(100):
                assert client("SET", f"key{number}", "v" * 1000) == "OK"
        accounts = storage.fetch_all(guest.http_port)
        told, = accounts
        assert told["drive"]["state"] == "ready" and told["drive"]["serial"] == "hallows0"
        assert (told["drive"]["zones"] > 0) == told["space"]["zoned"] == (variant == "zoned")
        assert told["health"]["media_errors"] == 0 and told["health"]["temperature_kelvin"] > 200
        assert told["logs"][0]["name"] == "kvstore" and told["logs"][0]["used_bytes"] > 0
        assert told["logs"][0]["append_bytes"] >= 100 * 1000
        assert told["space"]["free"] < told["space"]["extents"]
        assert max(told["space"]["uses"]) == told["space"]["uses_most"] == 1
        text = "\n".join(storage.describe(accounts))
        assert "  wear       0 to 1 times" in text and "  amplified  x" in text
        assert ("zones active" in text) == (variant == "zoned")
        assert "kvstore" in text and "QEMU NVMe" in text and ", 0 media errors" in text
