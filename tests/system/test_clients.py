# SPDX-License-Identifier: MIT OR Apache-2.0
"""The distribution's own clients, unchanged, against the running system."""

import csv
import json
import subprocess

import netstat
import pytest
from conftest import require_command

BENCHMARKS = "ping_inline,ping_mbulk,set,get,incr,mset"


def redis_cli(server, *words, stdin=None):
    """Output of one redis-cli."""
    command = [require_command("redis-cli"), "-p", str(server.port), *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_redis_cli(server):
    assert redis_cli(server, "PING") == "PONG\n"
    assert redis_cli(server, "SET", "greeting", "hello world") == "OK\n"
    assert redis_cli(server, "GET", "greeting") == "hello world\n"
    assert redis_cli(server, "-3", "GET", "greeting") == "hello world\n"
    assert redis_cli(server, "INCR", "n") == "1\n"
    assert "redis_version" in redis_cli(server, "INFO")
    script = "".join(f"SET k{n} v{n}\n" for n in range(100)) + "DBSIZE\n"
    assert redis_cli(server, stdin=script).splitlines()[-1] == "102"
    assert set(redis_cli(server, "--scan", "--pattern", "k9*").split()) == {
        "k9", *(f"k9{n}" for n in range(10))
    }


def test_redis_cli_pipe(server):
    script = b"".join(b"*3\r\n$3\r\nSET\r\n$5\r\np%04d\r\n$1\r\nx\r\n" % n for n in range(2000))
    command = [require_command("redis-cli"), "-p", str(server.port), "--pipe"]
    done = subprocess.run(command, input=script, capture_output=True, timeout=120, check=True)
    assert b"errors: 0, replies: 2000" in done.stdout


@pytest.mark.parametrize("options", [
    ["-c", "1", "-n", "500"],
    ["-c", "20", "-n", "3000"],
    ["-c", "20", "-n", "10000", "-P", "16"],
    ["-c", "4", "-n", "500", "-d", "16384"],
], ids=["1 client", "20 clients", "pipeline", "16 KiB"])
def test_redis_benchmark(server, options):
    command = [require_command("redis-benchmark"), "-p", str(server.port), "--csv"]
    command += ["-t", BENCHMARKS, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == len(BENCHMARKS.split(",")), done.stdout
    assert all(float(row["rps"]) > 0 for row in rows)
    assert "error" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("protocol", [2, 3])
def test_python_client(server, protocol):
    redis = pytest.importorskip("redis", reason="python3-redis is not installed")
    try:
        client = redis.Redis(port=server.port, socket_timeout=20, protocol=protocol)
    except TypeError:
        if protocol == 3:
            pytest.skip("this python3-redis speaks RESP2 only")
        client = redis.Redis(port=server.port, socket_timeout=20)
    with client:
        assert client.ping()
        assert client.set("a", "1", ex=100) and client.get("a") == b"1"
        assert 0 < client.ttl("a") <= 100
        assert client.mset({"b": "2", "c": "3"}) and client.mget("a", "b", "none") == [b"1", b"2", None]
        assert client.incr("n", 5) == 5 and client.incrbyfloat("n", 0.5) == 5.5
        assert client.append("a", "23") == 3 and client.getrange("a", 1, 2) == b"23"
        pipe = client.pipeline(transaction=False)
        for number in range(200):
            pipe.set(f"p{number}", number)
        assert pipe.execute() == [True] * 200
        assert sorted(client.scan_iter(match="p19*")) == sorted(
            [b"p19", *(b"p19%d" % n for n in range(10))]
        )
        assert client.delete("a", "b") == 2 and client.exists("a") == 0
        assert "redis_version" in client.info()
        big = bytes(8 << 20)
        assert client.set("big", big) and client.get("big") == big


def http(server, path, *options):
    """(status, headers, body) by curl."""
    command = [require_command("curl"), "-s", "-S", "-i", "--max-time", "30", *options]
    command.append(f"http://127.0.0.1:{server.http_port}{path}")
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


def test_status_page(server):
    status, headers, body = http(server, "/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert body.lstrip().lower().startswith(b"<!doctype html>")
    for word in (b"kvstore", b"pci"):
        assert word in body


def test_status_json(server):
    with server.client() as client:
        client("SET", "x", "y")
    status, headers, body = http(server, "/status.json")
    assert status == 200 and headers["content-type"].startswith("application/json")
    data = json.loads(body)
    for key in ("cells", "memory", "connections", "operations", "log"):
        assert key in data, f"{key} is missing in {data}"
    names = {cell["name"] for cell in data["cells"]}
    assert {"pci", "kvstore"} <= names
    assert all(cell["state"] == "ready" for cell in data["cells"])


def test_netstat(server):
    """Counters by MIB names, listeners and this very connection; the verb shows them aligned."""
    with server.client() as client:
        client("PING")
        told = netstat.fetch(server.http_port)
        lines = netstat.sockets(told)
    assert told["mib"]["Tcp"]["PassiveOpens"] > 0 and told["mib"]["Tcp"]["CurrEstab"] >= 2
    assert {entry["port"] for entry in told["listeners"]} >= {80, 6379}
    states = {c["state"] for c in told["connections"]}
    assert "ESTABLISHED" in states and told["connections_total"] >= len(told["connections"])
    assert any("LISTEN" in line and "*:6379" in line for line in lines)
    data = json.loads(http(server, "/status.json")[2])
    assert data["network"]["mib"]["Ip"]["InReceives"] > 0


@pytest.mark.parametrize("path,options,expected", [
    ("/none", (), 404),
    ("/../etc/passwd", ("--path-as-is",), 404),
    ("/", ("-X", "POST", "-d", "x"), 405),
    ("/", ("-I",), 200),
])
def test_http_statuses(server, path, options, expected):
    assert http(server, path, *options)[0] == expected
